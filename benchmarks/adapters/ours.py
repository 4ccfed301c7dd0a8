"""This project's own server, over HTTP. The address carries the API key: ``http://KEY@HOST:PORT``."""

import urllib.request
from collections.abc import Mapping, Sequence
from itertools import islice
from urllib.parse import quote, urlsplit

import msgspec

from benchmarks import workloads
from benchmarks.adapters import Call
from benchmarks.workloads import Command

KIND = "http"

PREPARED_AT_ONCE = 10_000

_encode = msgspec.json.Encoder().encode
# Where each type of command is sent, and which of its fields stand in the address.
_ROUTES: Mapping[str, tuple[str, str | None]] = {
    "transfer": ("/v1/transfers", None),
    "deposit": ("/v1/deposits", None),
    "withdraw": ("/v1/withdrawals", None),
    "place_hold": ("/v1/holds", None),
    "capture_hold": ("/v1/holds/{}/capture", "hold_id"),
    "freeze_account": ("/v1/accounts/{}/freeze", "account_id"),
    "unfreeze_account": ("/v1/accounts/{}/unfreeze", "account_id"),
    "change_profile": ("/v1/customers/{}/profile", "customer_id"),
}


def prepare(address: str, accounts: Sequence[str]) -> dict[str, str]:
    """Open the accounts, and what else W4 touches; those that are open stay as they are."""
    at = urlsplit(address)
    stream = workloads.opening(len(accounts))
    while chunk := list(islice(stream, PREPARED_AT_ONCE)):
        sent = urllib.request.Request(
            f"http://{at.hostname}:{at.port}/v1/batch",
            data=_encode({"commands": chunk}),
            headers={**credentials(address), "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(sent) as response:
            response.read()
    return {}


def credentials(address: str) -> dict[str, str]:
    """The key that the address carries."""
    return {"Authorization": f"Bearer {urlsplit(address).username}"}


def transfer(command: Command) -> Call:
    """One command, of any type, by its own route."""
    fields = dict(command)
    key = str(fields.pop("key"))
    path, field = _ROUTES[str(fields.pop("type"))]
    if field is not None:
        path = path.format(quote(str(fields.pop(field)), safe=""))
    return Call("POST", path, _encode(fields), {"Idempotency-Key": key})


def batch(commands: Sequence[Command]) -> Call:
    """Many commands, each with its key, in one request."""
    return Call("POST", "/v1/batch", _encode({"commands": commands}))


def balance(account_id: str) -> Call:
    """One account's balance."""
    return Call("GET", f"/v1/accounts/{account_id}/balance")
