"""What the server tells the process of the self-audit, as one line on its standard input."""

from pathlib import Path
from typing import Any

import msgspec

from api.settings import Settings


class Order(msgspec.Struct, frozen=True):
    """Which database to audit, how often, and with which keys to sign."""

    database_url: str
    every_s: float
    settings: Settings


def encode(order: Order) -> bytes:
    """The order as one line; without what no audit does: changing tables, letting people in."""
    settings = msgspec.structs.replace(order.settings, migration_url=None, oidc=None, tls=None)
    told = msgspec.structs.replace(order, settings=settings)
    return msgspec.json.encode(told, enc_hook=_plain) + b"\n"


def decode(line: bytes) -> Order:
    """The order that ``encode`` wrote."""
    return msgspec.json.decode(line, type=Order, dec_hook=_made)


def _plain(value: object) -> str:
    """A folder as text."""
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError


def _made(kind: type, value: Any) -> object:  # noqa: ANN401 - whatever stands in the JSON
    """A folder from its text."""
    if kind is Path:
        return Path(value)
    raise NotImplementedError
