"""Receipts: one event, its place in the log, and the proof that a signed checkpoint covers it.

A receipt proves itself to whoever has the ledger's public keys: its leaf leads, by the hashes of
the proof, to the root that the checkpoint signs. What the event says stands in the leaf, with
personal fields sealed as in the log.
"""

import base64
from collections.abc import Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import psycopg
import sqlalchemy

from api.notary import BeyondLogError, NotaryStoppedError, Signed, name_of, origin_of
from api.problems import FieldError, Kind, Problem, malformed
from api.sql import driver_connection
from ledger_core import log, proofs, tiles
from ledger_core.errors import LedgerBusy
from ledger_core.log import Connection, StoredEvent, leaf_of, micros
from ledger_core.merkle import Frontier, leaf_hash
from ledger_core.tiles import LogName, TreeDamagedError

if TYPE_CHECKING:
    from api.context import Context
    from api.settings import Settings

FORMAT = "ledger-receipt/1"
TEXT_FORMAT = "c2sp.org/tlog-proof@v1"
HEADER = b"ledger-receipt"
# So many receipts are made in one transaction, from few statements: what all need is read at once.
PROVEN_AT_ONCE = 256
# Of all receipts in one answer: an event may have 125 kB, whatever size its command had.
LEAVES_BYTES_MAX = 16_777_216

TREE_DAMAGED = Kind(
    503, "tree_damaged", "What is stored of the log's tree does not fit together; verify it."
)
NOTARY_STOPPED = Kind(
    503, "notary_stopped", "The log does not continue what was signed: nothing more is signed."
)


class Receipt(msgspec.Struct, frozen=True):
    """An event's place in the log, proven.

    ``leaf`` is the event as it was hashed, ``proof`` the hashes from the leaf's sibling to the
    root's child in base64, for leaf ``position - 1`` in the tree that ``checkpoint``, a signed
    note, names.
    """

    format: str
    origin: str
    position: int
    leaf: str
    proof: tuple[str, ...]
    checkpoint: str


_encode = msgspec.json.Encoder().encode

# Whatever keeps a command that has taken effect from being proven just now.
_NOT_NOW = (
    Problem,
    LedgerBusy,
    NotaryStoppedError,
    TreeDamagedError,
    BeyondLogError,
    psycopg.Error,
)


def is_asked(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether the answer to a command is to have its receipt.

    Raises:
        Problem: the header says neither ``true`` nor ``false``, or is there twice.
    """
    given = [value for name, value in headers if name == HEADER]
    if not given:
        return False
    if len(given) > 1 or given[0] not in {b"true", b"false"}:
        raise malformed(FieldError("true or false, once", "Ledger-Receipt"))
    return given[0] == b"true"


async def attached(
    context: "Context", ledger_id: int, position: int | None, answer: bytes
) -> bytes:
    """A command's answer with its receipt as the member ``receipt``.

    ``position`` is ``None`` where nothing was recorded. The command has taken effect: where no
    receipt can be given now, the member is null, too.
    """
    try:
        receipt = None if position is None else await of_event(context, ledger_id, position)
    except _NOT_NOW:
        receipt = None
    return with_member(answer, receipt)


async def of_batch(
    context: "Context", ledger_id: int, positions: Collection[int]
) -> dict[int, Receipt]:
    """The receipts that can be given now, by position, all under one checkpoint.

    ``positions`` are those of events that a batch led to, which has taken effect.
    """
    found: dict[int, Receipt] = {}
    if not positions:
        return found
    wanted, left = sorted(set(positions)), LEAVES_BYTES_MAX
    settings = context.runtime.settings
    try:
        signed = await context.reads.off_loop(
            lambda: context.runtime.notary.covering(ledger_id, wanted[-1])
        )
        for start in range(0, len(wanted), PROVEN_AT_ONCE):
            some = wanted[start : start + PROVEN_AT_ONCE]
            prove = partial(_receipts, settings=settings, positions=some, signed=signed, most=left)
            receipts = await context.reads.ask(prove)
            found |= receipts
            left -= sum(len(receipt.leaf) for receipt in receipts.values())
    except _NOT_NOW:
        return found
    return found


def with_member(answer: bytes, receipt: Receipt | None) -> bytes:
    """A JSON object with one member more."""
    return b'%s,"receipt":%s}' % (answer[:-1], _encode(receipt))


async def of_event(context: "Context", ledger_id: int, position: int) -> Receipt:
    """The receipt of an event, under the newest checkpoint, or one that is signed now.

    Raises:
        Problem: the notary has stopped, or what is stored of the tree is damaged.
        LedgerBusy: tiles are behind.
        BeyondLogError: there is no such event.
    """
    try:
        signed = await context.reads.off_loop(
            lambda: context.runtime.notary.covering(ledger_id, position)
        )
        settings = context.runtime.settings
        return await context.reads.ask(
            lambda connection: receipt(connection, settings, position, signed)
        )
    except NotaryStoppedError:
        raise Problem(NOTARY_STOPPED) from None
    except TreeDamagedError:
        raise Problem(TREE_DAMAGED) from None


def receipt(connection: Connection, settings: "Settings", position: int, signed: Signed) -> Receipt:
    """The receipt of an event that a checkpoint covers.

    Raises:
        LedgerBusy: tiles are behind.
        TreeDamagedError: the event is not as it was sealed, or the tree's nodes are not.
    """
    found = log.events_at(connection, signed.ledger_id, [position])
    if not found:
        raise TreeDamagedError(f"event {position} is missing")
    tree = tiles.Tree(connection, signed.ledger_id, signed.log)
    origin = origin_of(settings, name_of(connection, signed.ledger_id))
    return _receipt(tree, origin, leaf_bytes(found[0]), position, signed)


def _receipts(
    connection: Connection,
    settings: "Settings",
    positions: Sequence[int],
    signed: Signed,
    most: int,
) -> dict[int, Receipt]:
    """The receipts of events that a checkpoint covers, as far as they can be proven.

    Their leaves have ``most`` bytes together, at most.

    Raises:
        LedgerBusy: tiles are behind.
        TreeDamagedError: a tile is missing.
    """
    tree = tiles.Tree(connection, signed.ledger_id, signed.log)
    tree.read_ahead(
        *(partial(proofs.inclusion_path, position - 1, signed.size) for position in positions)
    )
    origin = origin_of(settings, name_of(connection, signed.ledger_id))
    found: dict[int, Receipt] = {}
    for event in log.events_at(connection, signed.ledger_id, positions):
        leaf = leaf_bytes(event)
        most -= len(leaf)
        if most < 0:
            break
        try:
            found[event.position] = _receipt(tree, origin, leaf, event.position, signed)
        except TreeDamagedError:
            continue  # The others may be as they were sealed.
    return found


def _receipt(tree: tiles.Tree, origin: str, leaf: bytes, position: int, signed: Signed) -> Receipt:
    """The receipt of a leaf.

    Raises:
        LedgerBusy: tiles are behind.
        TreeDamagedError: the leaf is not as it was sealed, or the tree's nodes are not.
    """
    entry, covering = (position - 1, leaf_hash(leaf)), (signed.size, bytes(signed.root))
    proof = tuple(base64.b64encode(item).decode() for item in checked_path(tree, entry, covering))
    return Receipt(FORMAT, origin, position, leaf.decode(), proof, signed.note)


def checked_path(
    tree: tiles.Tree, entry: tuple[int, bytes], covering: tuple[int, bytes]
) -> tuple[bytes, ...]:
    """The proof that a leaf, by index and hash, is in a tree, by size and root; it was checked.

    Raises:
        LedgerBusy: tiles are behind.
        TreeDamagedError: there is no such proof.
    """
    (index, leaf), (size, root) = entry, covering
    path = proofs.inclusion_path(index, size, tree.nodes_at)
    if not proofs.verify_inclusion(leaf, index, size, path, root):
        raise TreeDamagedError(f"entry {index + 1} is not as it was sealed")
    return path


def leaf_bytes(event: StoredEvent) -> bytes:
    """An event as it was hashed."""
    return leaf_of(
        event.position,
        micros(event.recorded_at),
        event.type,
        event.version,
        event.command_key,
        event.actor,
        event.tags,
        event.data,
    )


def text_of(receipt: Receipt) -> str:
    """A receipt as c2sp.org/tlog-proof has it, with the leaf as its extra data."""
    leaf = base64.b64encode(receipt.leaf.encode()).decode()
    lines = [TEXT_FORMAT, f"extra {leaf}", f"index {receipt.position - 1}", *receipt.proof]
    return "\n".join(lines) + "\n\n" + receipt.checkpoint


def tree_of(
    connection: sqlalchemy.Connection, ledger_id: int, log_name: LogName
) -> tuple[tiles.Tree, Frontier]:
    """The tree as one reading transaction sees it, and the log's head."""
    raw = driver_connection(connection)
    return tiles.Tree(raw, ledger_id, log_name), tiles.head(raw, ledger_id, log_name)
