"""Care of the key store: a new key-encryption key, and erasures carried out once more.

An erasure destroys a data key in the database; copies of it, wrapped, may still lie in backups, in
PostgreSQL's write-ahead log and in dead rows. With the old wrapping key gone these are noise.
Personal data itself is not touched: only the data keys are wrapped anew.
"""

import os
from collections.abc import Callable
from typing import get_args

from api import clock
from api.settings import Settings, SettingsError, new_wrapping_key, wrapping_key_files
from ledger_core.database import Role, connect
from ledger_core.log import Connection
from ledger_core.vault import Vault

_OTHERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND application_name = ANY(%s)"
)


_FORGOTTEN = (
    "SELECT ledger_id, data->>'subject' AS subject, max(recorded_at) FROM ledger.events"
    " WHERE type IN ('CustomerErased', 'ApprovalRejected', 'ApprovalWithdrawn', 'ApprovalFailed',"
    " 'ApprovalCompleted') AND data->>'subject' IS NOT NULL GROUP BY 1, 2"
)


class RotationRefused(RuntimeError):  # noqa: N818 - like the other refusals of the command line
    """The key cannot be changed now; the message says why."""


def rotate(
    settings: Settings, database_url: str, random_bytes: Callable[[int], bytes] = clock.random_bytes
) -> int:
    """Wrap all data keys by a new key, put it in the place of the old one; how many there are.

    Interrupted, it may be called again: the new key is kept beside the old one until the end.

    Raises:
        RotationRefused: the key comes from the environment, or somebody works on the database.
        SettingsError: the new key cannot be written.
        VaultError: a data key opens with neither key; nothing was changed.
    """
    if os.environ.get("LEDGER_KEY_ENCRYPTION_KEY"):
        msg = "The key comes from LEDGER_KEY_ENCRYPTION_KEY: unset it, with the key in its file."
        raise RotationRefused(msg)
    current, fresh = wrapping_key_files(settings.data_dir)
    old = Vault(settings.key_encryption_key, "local", random_bytes)
    new = Vault(new_wrapping_key(fresh), "local", random_bytes)
    with connect(database_url, "ledger_writer") as connection, connection.transaction():
        _require_alone(connection)
        count = new.rewrap_all(connection, old)
    try:
        os.replace(fresh, current)  # noqa: PTH105 - says what happens: the old key is gone
    except OSError as error:
        msg = f"the new key is in force but cannot be put in the place of {current}: {error}"
        raise SettingsError(msg) from None
    return count


def destroy_erased(settings: Settings, database_url: str) -> int:
    """Destroy every key that the log says was destroyed; how many there still were.

    For after a key store was brought back from a copy that is older than an erasure.
    """
    vault = Vault(settings.key_encryption_key, "local", clock.random_bytes)
    with connect(database_url, "ledger_writer") as connection, connection.transaction():
        count = 0
        for ledger_id, subject, recorded_at in connection.execute(_FORGOTTEN).fetchall():
            exist, _ = vault.keys_that_open(connection, ledger_id, [subject])
            if exist:
                vault.destroy_subject(connection, ledger_id, subject, recorded_at)
                count += 1
    return count


def _require_alone(connection: Connection) -> None:
    """Nobody else works on the database: another program would go on with the old key.

    Raises:
        RotationRefused: somebody does.
    """
    found = connection.execute(_OTHERS, (list(get_args(Role)),)).fetchone()
    if found is None or found[0]:
        msg = "Other programs work on this database: stop every `ledger serve` first."
        raise RotationRefused(msg)
