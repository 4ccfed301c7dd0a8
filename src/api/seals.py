"""What an exported range of the log is sealed with: its root, checkpoints, public keys, proofs.

The notary signs only what continues what it signed before. Where it refuses, the log is exported
all the same, as it stands and with the checkpoints that there are: that is evidence, too.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import msgspec

from api import log_lines, notary, signing_keys
from api.notary import NotaryStoppedError
from api.runtime import Runtime
from ledger_core import merkle, proofs, tiles
from ledger_core.log import Connection
from ledger_core.merkle import HASH_SIZE, Frontier
from ledger_core.proofs import Node

_NO_HASH = bytes(HASH_SIZE)


class Seals(msgspec.Struct, frozen=True):
    """The seals of the first ``size`` events; ``keys`` is the document ``keys.json``.

    ``stopped`` says why the notary signs nothing of this log, if it does not; then ``note``, the
    checkpoint of that size, is ``None``.
    """

    origin: str
    size: int
    root: bytes
    keys: bytes
    note: str | None
    stopped: str | None


def of(runtime: Runtime, ledger_id: int, ledger: str, size: int) -> Seals:
    """The seals of the first ``size`` events, with a checkpoint that is signed now if need be."""
    origin = notary.origin_of(runtime.settings, ledger)
    document = signing_keys.load(runtime.settings).public(origin)
    keys = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    try:
        signed = runtime.notary.at(ledger_id, size=size)
    except NotaryStoppedError as problem:
        root = merkle.root(_frontier_of_leaves(runtime, ledger_id, size))
        return Seals(origin, size, root, keys, None, str(problem))
    return Seals(origin, size, bytes(signed.root), keys, signed.note, None)


def frontier_at(runtime: Runtime, ledger_id: int, size: int, seals: Seals) -> Frontier:
    """The tree of the first ``size`` events, which the seals cover."""
    if seals.stopped is not None:
        return _frontier_of_leaves(runtime, ledger_id, size)
    with runtime.connect("ledger_reader") as connection, snapshot(connection):
        nodes = tiles.Tree(connection, ledger_id).nodes_at(proofs.subtrees(0, size))
    return Frontier(size, tuple(nodes))


def inclusions(
    connection: Connection, ledger_id: int, positions: Sequence[int], size: int
) -> list[tuple[bytes, ...]]:
    """For each position, the proof that its event is in the tree of the first ``size`` events.

    What all of them need of the tree is read at once, in the connection's transaction.
    """
    wanted: dict[Node, bytes] = {}

    def note(nodes: Sequence[Node]) -> list[bytes]:
        """Take note of what is asked for."""
        wanted.update(dict.fromkeys(nodes, _NO_HASH))
        return [_NO_HASH] * len(nodes)

    def known(nodes: Sequence[Node]) -> list[bytes]:
        """What was read."""
        return [wanted[node] for node in nodes]

    for position in positions:
        proofs.inclusion_path(position - 1, size, note)
    asked = list(wanted)
    hashes = tiles.Tree(connection, ledger_id).nodes_at(asked)
    wanted.update(zip(asked, hashes, strict=True))
    return [proofs.inclusion_path(position - 1, size, known) for position in positions]


def newest_until(
    connection: Connection, ledger_id: int, sizes: tuple[int, int], signed_until: datetime
) -> tuple[int, str] | None:
    """The largest checkpoint with a size from one to another, signed by a moment: size and note."""
    row = connection.execute(
        "SELECT size, note FROM audit.checkpoints WHERE ledger_id = %s AND log = 'events'"
        " AND size BETWEEN %s AND %s AND signed_at <= %s ORDER BY size DESC LIMIT 1",
        (ledger_id, *sizes, signed_until),
    ).fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


@contextmanager
def snapshot(connection: Connection) -> Iterator[None]:
    """One transaction that sees one moment."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield


def _frontier_of_leaves(runtime: Runtime, ledger_id: int, size: int) -> Frontier:
    """The tree over the leaf hashes as they are stored: slow, and sure."""
    frontier = merkle.EMPTY
    with runtime.connect("ledger_reader") as connection:
        for hashes in log_lines.hashes_between(connection, ledger_id, 1, size):
            leaves = [hashes[at : at + HASH_SIZE] for at in range(0, len(hashes), HASH_SIZE)]
            frontier = merkle.extend(frontier, leaves)
    return frontier
