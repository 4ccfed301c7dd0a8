"""Routes of the log as tiles (c2sp.org/tlog-tiles): for programs that check whole logs.

What they fetch is the same for everybody who may read the ledger, and never changes, but for the
checkpoint. An entry of more than 65,535 bytes does not fit into a bundle, whose lengths have two
bytes: such a bundle is refused, and its entries are read as events or from an export.
"""

import re
from typing import Annotated

import sqlalchemy
from fastapi import Path, Query
from fastapi.responses import Response

from api import parameters
from api.problems import NOT_FOUND, Kind, Problem
from api.receipts import TREE_DAMAGED, leaf_bytes, tree_of
from api.routes.checkpoints import CheckpointQuery, get_checkpoint
from api.sql import driver_connection
from api.views import Reader, ReaderOf, ViewRoute
from ledger_core import log
from ledger_core.tiles import HEIGHT, TILE, TreeDamagedError

BINARY = "application/octet-stream"
ENTRY_BYTES_MAX = 65_535
LEVEL_MAX = 7

# x001/x234/067, and .p/5 after it for the first five hashes of a tile that is not full.
_PLACE = re.compile(r"((?:x[0-9]{3}/)*)([0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_GROUPS_MAX = 6

ENTRY_TOO_LONG = Kind(
    422,
    "entry_too_long",
    "An entry of this bundle has more than 65,535 bytes: read it as an event or from an export.",
)


class TileQuery(parameters.Query):
    """Nothing may be asked."""


class TlogCheckpointQuery(parameters.Query):
    """Nothing may be asked."""


async def get_tlog_checkpoint(
    reader: ReaderOf, query: Annotated[TlogCheckpointQuery, Query()]
) -> Response:
    """The newest checkpoint as a signed note."""
    del query  # It has no parameter: whatever is asked is refused.
    return await get_checkpoint(reader, CheckpointQuery())


async def get_tile(
    reader: ReaderOf,
    level: Annotated[str, Path()],
    index: Annotated[str, Path()],
    query: Annotated[TileQuery, Query()],
) -> Response:
    """A tile of the tree: 256 hashes of a level, or the first of them."""
    del query  # It has no parameter: whatever is asked is refused.
    if level not in {str(number) for number in range(LEVEL_MAX + 1)}:
        raise Problem(NOT_FOUND)
    number, width = _place(index)

    def read(connection: sqlalchemy.Connection) -> bytes:
        """The tile's bytes."""
        tree, head = tree_of(connection, reader.ledger_id, "events")
        if number * TILE + width > head.size >> (HEIGHT * int(level)):
            raise Problem(NOT_FOUND)
        return tree.tile(int(level), number, width)

    try:
        found = await reader.run(read)
    except TreeDamagedError:
        raise Problem(TREE_DAMAGED) from None
    return Response(found, media_type=BINARY)


async def get_entry_bundle(
    reader: ReaderOf,
    index: Annotated[str, Path()],
    query: Annotated[TileQuery, Query()],
) -> Response:
    """The entries behind a tile of leaves, each with its length in two bytes before it."""
    del query  # It has no parameter: whatever is asked is refused.
    number, width = _place(index)
    entries = await reader.run(lambda connection: _entries(connection, reader, number, width))
    if any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise Problem(ENTRY_TOO_LONG)
    body = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)
    return Response(body, media_type=BINARY)


def _entries(
    connection: sqlalchemy.Connection, reader: Reader, number: int, width: int
) -> list[bytes]:
    """The leaves of a bundle.

    Raises:
        Problem: the log does not reach so far.
    """
    first = number * TILE
    found = log.read_events(driver_connection(connection), reader.ledger_id, first, width)
    if len(found) != width or found[-1].position != first + width:
        raise Problem(NOT_FOUND)
    return [leaf_bytes(event) for event in found]


def _place(text: str) -> tuple[int, int]:
    """The index of a tile, and how many of its hashes are asked for.

    Raises:
        Problem: no tile has such an address.
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        raise Problem(NOT_FOUND)
    groups = [*found[1].replace("x", "").split("/")[:-1], found[2]]
    width = TILE if found[3] is None else int(found[3])
    is_padded = len(groups) > 1 and groups[0] == "000"
    if is_padded or len(groups) > _GROUPS_MAX or (found[3] is not None and width >= TILE):
        raise Problem(NOT_FOUND)
    return int("".join(groups)), width


VIEWS = (
    ViewRoute(
        path="/v1/tlog/checkpoint",
        operation="get_tlog_checkpoint",
        endpoint=get_tlog_checkpoint,
        summary="The newest checkpoint, for clients of c2sp.org/tlog-tiles",
        media=("text/plain",),
    ),
    ViewRoute(
        path="/v1/tlog/tile/entries/{index:path}",
        operation="get_entry_bundle",
        endpoint=get_entry_bundle,
        summary="The entries behind a tile of leaves",
        keep="for_ever",
        media=(BINARY,),
    ),
    ViewRoute(
        path="/v1/tlog/tile/{level}/{index:path}",
        operation="get_tile",
        endpoint=get_tile,
        summary="A tile of the tree",
        keep="for_ever",
        media=(BINARY,),
    ),
)
