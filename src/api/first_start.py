"""The first minutes of a newcomer: a sample bank, a key, and three calls to try."""

import os
from pathlib import Path

from api import api_keys, clock, demo
from api.runtime import Runtime
from ledger_core import log

KEY_FILE = "demo-key"


def prepare(runtime: Runtime, ledger_id: int) -> str:
    """Load the sample bank where the ledger is empty; the demo key, made on the first start.

    The key is kept beside the other secrets, outside the database, so that every start shows the
    same one.
    """
    with runtime.connect("ledger_reader") as connection:
        is_empty = log.read_head(connection, ledger_id).position == 0
    if is_empty:
        runtime.execute(ledger_id, demo.commands(clock.today()), "demo", "atomic")
    path = runtime.settings.data_dir / "keys" / f"{KEY_FILE}-{ledger_id}"
    if path.exists():
        key = path.read_text().strip()
        if _is_valid(runtime, key):
            return key
    return _new_key(runtime, ledger_id, path)


def greeting(key: str, host: str, port: int) -> str:
    """What to try first, ready to be pasted into another terminal."""
    base = f"http://{host}:{port}"
    return f"""
The ledger is served on {base} (documentation: {base}/docs).
A sample bank is loaded. Your key, valid for this machine's ledger only:

  export LEDGER_KEY={key}

Three calls to try:

  curl -s {base}/v1/accounts/alice-current -H "Authorization: Bearer $LEDGER_KEY"
  curl -s {base}/v1/transfers -H "Authorization: Bearer $LEDGER_KEY" -H "Idempotency-Key: first" \\
    -H "Content-Type: application/json" -d '{{"debit_account_id": "alice-current", \
"credit_account_id": "bruno-current", "amount": "1250", "currency": "EUR"}}'
  curl -s {base}/v1/accounts/alice-current/statement -H "Authorization: Bearer $LEDGER_KEY"

Ctrl-C stops the server; `ledger stop` stops the database.
"""


def _is_valid(runtime: Runtime, key: str) -> bool:
    """Whether the key still opens a ledger of this database."""
    with runtime.connect("ledger_reader") as connection:
        found = api_keys.authenticate(
            connection, key, server_secret=runtime.settings.server_secret, at=clock.now()
        )
    return found is not None


def _new_key(runtime: Runtime, ledger_id: int, path: Path) -> str:
    """A new key of role admin, kept in its file."""
    key = runtime.create_key(ledger_id, "admin", "demo")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
    return key
