"""Adapters: how one ledger is asked for what every ledger can do. A file each, loaded by its path.

An adapter is a module with a ``KIND``, ``"http"`` or ``"sql"``, and these functions, of which only
the first two are needed:

``prepare(address, accounts)``
    Open the accounts, by whatever means; return the ledger's own id of each, ``{}`` if the same.
``transfer(command)``
    The request for one transfer: a ``Call`` for ``http``, a ``Statement`` for ``sql``. ``command``
    has ``key``, ``debit_account_id``, ``credit_account_id``, ``amount`` (minor units, as text) and
    ``currency``.
``batch(commands)``
    The request for many transfers at once.
``balance(account_id)``
    The request for one account's balance.
``credentials(address)``
    Headers that every request carries (``http`` alone).
"""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from benchmarks.workloads import Command


class Call(NamedTuple):
    """An HTTP request, without what is the same for all."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Statement(NamedTuple):
    """A statement and its parameters as text; each different text is prepared once a connection."""

    sql: str
    parameters: Sequence[str | None] = ()


Request = Call | Statement


class AdapterError(RuntimeError):
    """The file is no adapter; the message says what is missing."""


def load(path: Path) -> ModuleType:
    """The adapter in that file.

    Raises:
        AdapterError: it cannot be loaded, or lacks what an adapter must have.
    """
    spec = importlib.util.spec_from_file_location(f"adapter_{path.stem}", path)
    if spec is None or spec.loader is None:
        msg = f"{path} is no Python file"
        raise AdapterError(msg)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if getattr(module, "KIND", None) not in {"http", "sql"}:
        msg = f'{path}: KIND must be "http" or "sql"'
        raise AdapterError(msg)
    for name in ("prepare", "transfer"):
        if not callable(getattr(module, name, None)):
            msg = f"{path}: there is no function {name}"
            raise AdapterError(msg)
    return module


def renamed(command: Command, ids: Mapping[str, str]) -> Command:
    """The transfer with the ledger's own ids of its accounts."""
    if not ids:
        return command
    return {
        **command,
        "debit_account_id": ids[str(command["debit_account_id"])],
        "credit_account_id": ids[str(command["credit_account_id"])],
    }
