"""Routes of proofs (RFC 9162): that an event is in the log, and that the log only grew."""

import base64
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import msgspec
import sqlalchemy
from fastapi import Path, Query, Request
from fastapi.responses import Response
from pydantic import Field

from api import parameters, receipts
from api.notary import BeyondLogError
from api.parameters import Position
from api.problems import NOT_FOUND, FieldError, Problem, malformed
from api.receipts import TREE_DAMAGED, Receipt, tree_of
from api.routes.checkpoints import TEXT, signing
from api.sql import driver_connection
from api.views import Reader, ReaderOf, ViewRoute
from ledger_core import proofs, tiles
from ledger_core.tiles import LogName, TreeDamagedError

_Reading = Callable[[sqlalchemy.Connection], msgspec.Struct]


class InclusionQuery(parameters.Query):
    """Which event, in the tree of which size."""

    position: Position = Field(description="The event's position.")
    size: Position | None = Field(
        default=None, description="Of the tree; left out, that of a checkpoint which covers it."
    )
    log: LogName = Field(default="events", description="Of the events, or of the access log.")


class ConsistencyQuery(parameters.Query):
    """Between the trees of which two sizes."""

    first: Position = Field(description="Size of the earlier tree.")
    second: Position = Field(description="Size of the later tree.")
    log: LogName = Field(default="events", description="Of the events, or of the access log.")


class ReceiptQuery(parameters.Query):
    """Nothing may be asked."""


class InclusionAnswer(msgspec.Struct, frozen=True):
    """The proof that a leaf is in a tree: hashes in base64, from the leaf's sibling upwards."""

    position: int
    leaf_index: int
    leaf_hash: str
    size: int
    root: str
    proof: tuple[str, ...]


class ConsistencyAnswer(msgspec.Struct, frozen=True):
    """The proof that the second tree begins with the first: hashes in base64."""

    first: int
    second: int
    first_root: str
    second_root: str
    proof: tuple[str, ...]


async def get_inclusion_proof(
    reader: ReaderOf, query: Annotated[InclusionQuery, Query()]
) -> Response:
    """The proof that an event is in the log."""
    position, ledger_id = query.position, reader.ledger_id
    if query.size is not None and not 1 <= position <= query.size:
        raise malformed(FieldError("from 1 to size", "position"))
    if query.size is None:
        if position < 1:
            raise malformed(FieldError("1 or more", "position"))
        try:
            signed = await signing(
                reader,
                lambda: reader.context.runtime.notary.covering(ledger_id, position, query.log),
            )
        except BeyondLogError:
            raise Problem(NOT_FOUND) from None
        size = signed.size
    else:
        size = query.size

    def prove(connection: sqlalchemy.Connection) -> InclusionAnswer:
        """Leaf, path and root, checked against each other."""
        tree, head = tree_of(connection, ledger_id, query.log)
        _require_within(size, head.size, "size")
        raw = driver_connection(connection)
        leaf = tiles.leaf_hashes(raw, ledger_id, query.log, position - 1, position)
        tree.read_ahead(
            partial(proofs.inclusion_path, position - 1, size),
            partial(proofs.root_at, size),
            partial(proofs.consistency_path, size, head.size),
        )
        root = tree.root_within(head, size)
        path = receipts.checked_path(tree, (position - 1, leaf), (size, root))
        return InclusionAnswer(
            position, position - 1, _text(leaf), size, _text(root), tuple(map(_text, path))
        )

    return await _answer(reader, prove)


async def get_consistency_proof(
    reader: ReaderOf, query: Annotated[ConsistencyQuery, Query()]
) -> Response:
    """The proof that the log only grew between two sizes."""
    first, second = query.first, query.second
    if first > second:
        raise malformed(FieldError("not larger than second", "first"))

    def prove(connection: sqlalchemy.Connection) -> ConsistencyAnswer:
        """Both roots and the path, checked against each other."""
        tree, head = tree_of(connection, reader.ledger_id, query.log)
        _require_within(second, head.size, "second")
        tree.read_ahead(
            *(partial(proofs.root_at, size) for size in (first, second)),
            *(partial(proofs.consistency_path, size, head.size) for size in (first, second)),
            partial(proofs.consistency_path, first, second),
        )
        first_root, second_root = (tree.root_within(head, size) for size in (first, second))
        path = proofs.consistency_path(first, second, tree.nodes_at)
        if not proofs.verify_consistency(first, second, first_root, second_root, path):
            raise TreeDamagedError(f"the tree of {second} does not begin with that of {first}")
        return ConsistencyAnswer(
            first, second, _text(first_root), _text(second_root), tuple(map(_text, path))
        )

    return await _answer(reader, prove)


async def get_receipt(
    reader: ReaderOf,
    position: Annotated[Position, Path()],
    query: Annotated[ReceiptQuery, Query()],
    request: Request,
) -> Response:
    """The receipt of an event: JSON, or the text of c2sp.org/tlog-proof."""
    del query  # It has no parameter: whatever is asked is refused.
    if position < 1:
        raise Problem(NOT_FOUND)
    try:
        receipt = await receipts.of_event(reader.context, reader.ledger_id, position)
    except BeyondLogError:
        raise Problem(NOT_FOUND) from None
    vary = {"Vary": "accept"}
    if wants_text(request.headers.getlist("accept")):
        return Response(receipts.text_of(receipt), media_type=TEXT, headers=vary)
    return Response(msgspec.json.encode(receipt), media_type="application/json", headers=vary)


def wants_text(accepted: Sequence[str]) -> bool:
    """Whether the caller names plain text, and JSON not before it."""
    kinds = [item.partition(";")[0].strip().lower() for item in ",".join(accepted).split(",")]
    named = [kind for kind in kinds if kind in {"text/plain", "application/json"}]
    return named[:1] == ["text/plain"]


async def _answer(reader: Reader, prove: _Reading) -> Response:
    """What a reading transaction proves.

    Raises:
        Problem: what is stored of the tree is damaged.
    """
    try:
        answer = await reader.run(prove)
    except TreeDamagedError:
        raise Problem(TREE_DAMAGED) from None
    return Response(msgspec.json.encode(answer), media_type="application/json")


def _require_within(size: int, head: int, field: str) -> None:
    """The log has that many entries.

    Raises:
        Problem: it has not.
    """
    if size > head:
        raise malformed(FieldError(f"not beyond the log's end, which is {head}", field))


def _text(hash_: bytes) -> str:
    """A hash as it stands in an answer."""
    return base64.b64encode(hash_).decode()


VIEWS = (
    ViewRoute(
        path="/v1/proofs/inclusion",
        operation="get_inclusion_proof",
        endpoint=get_inclusion_proof,
        summary="The proof that an event is in the log",
        answer=InclusionAnswer,
    ),
    ViewRoute(
        path="/v1/proofs/consistency",
        operation="get_consistency_proof",
        endpoint=get_consistency_proof,
        summary="The proof that the log only grew",
        answer=ConsistencyAnswer,
    ),
    ViewRoute(
        path="/v1/events/{position}/receipt",
        operation="get_receipt",
        endpoint=get_receipt,
        summary="An event with the proof that it is in the log",
        answer=Receipt,
        media=("text/plain",),
    ),
)
