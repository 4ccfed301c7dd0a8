"""One batch of the log, taken in by some projections; and a memory made from the log alone."""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from ledger_core.events import Recorded
from ledger_core.log import Connection
from projections import balances, kept, risk_flags
from projections.feed import PIECES, Piece, decode
from projections.folding import (
    Batch,
    UnfoldableError,
    fold_kept,
    fold_known,
    require_known,
    unknown_accounts,
    unknown_states,
)
from projections.memory import Memory
from projections.registry import PROJECTIONS
from projections.tables import SCHEMA
from projections.writing import Lane, Projection, Slot, lane

BATCH_EVENTS_MAX = 20_000
"""Of a transaction: half a second's work. An account's row is written once in it."""
PART_EVENTS_MAX = 5_000
"""Of a part, which is folded while the database takes in the part before."""
PART_CHARACTERS = 2_000_000
"""Of a part's data, as far as the part before tells: entries may have a thousand postings."""
BATCH_CHARACTERS_MAX = 4 * PART_CHARACTERS
"""After that, a batch takes no further part."""
STORES = frozenset({"balances", "statements", "kept"})
"""What a memory holds can be read back from these; without them, it must be complete."""
_NEVER = datetime.min.replace(tzinfo=UTC)


def ensure_registered(connection: Connection, ledger_id: int) -> None:
    """Give every projection that the ledger does not have yet a live slot at position 0."""
    connection.execute(
        "INSERT INTO views.projections (ledger_id, name, slot, position, recorded_at, live)"
        " SELECT %s, n.name, 0, 0, NULL, true FROM unnest(%s::text[]) AS n(name)"
        " WHERE NOT EXISTS (SELECT 1 FROM views.projections p"
        " WHERE p.ledger_id = %s AND p.name = n.name)"
        " ON CONFLICT DO NOTHING",
        (ledger_id, [projection.name for projection in PROJECTIONS], ledger_id),
    )


def replay(connection: Connection, ledger_id: int, to_position: int) -> Memory:
    """A complete memory of the ledger up to a position, from the log alone.

    Raises:
        As ``runner.advance``.
    """
    memory = Memory(is_complete=True)
    while memory.position < to_position:
        last = min(memory.position + memory.part_events, to_position)
        pieces = connection.execute(PIECES.encode(), (ledger_id, memory.position, last)).fetchall()
        recorded = decode(pieces, memory.position)
        _size_parts(memory, pieces, len(recorded))
        require_known(memory.accounts, unknown_accounts(memory.accounts, recorded))
        part = _folded(memory, recorded)
        risk_flags.raise_flags(memory, part)
        memory.position = part.last
    return memory


def take_batch(  # noqa: PLR0913 - which events, and where they are taken in
    connection: Connection,
    ledger_id: int,
    targets: Sequence[tuple[Projection, int]],
    memory: Memory,
    limit: int,
    *,
    schema: str = SCHEMA,
) -> int:
    """Read up to ``limit`` events after the memory's position and write the targets' slots.

    In the caller's transaction, which has locked the targets' positions. ``schema`` is where the
    tables of the targets are, if not among the live views.

    Raises:
        As ``runner.advance``.
    """
    memory.trim()
    first, goal = memory.position, memory.position + limit
    with _without_collections(), lane(connection, schema) as opened:
        slots = [(projection, Slot(opened, ledger_id, slot_no)) for projection, slot_no in targets]
        batch = Batch(first + 1, first, _NEVER)
        characters = 0
        rows = _ask(opened, ledger_id, first, min(first + memory.part_events, goal))
        while pieces := rows():
            recorded = decode(pieces, memory.position)
            characters += _size_parts(memory, pieces, len(recorded))
            if characters > BATCH_CHARACTERS_MAX:
                goal = recorded[-1].position
            # The next part is read before this one is written, which takes the database longer.
            after = recorded[-1].position
            rows = _ask(opened, ledger_id, after, min(after + memory.part_events, goal))
            _load(opened, ledger_id, memory, recorded)
            part = _folded(memory, recorded)
            for projection, slot in slots:
                if not projection.coalesces:
                    projection.apply(slot, part, memory)
            batch.absorb(part)
            memory.position = part.last
        if batch.last > first:
            for projection, slot in slots:
                if projection.coalesces:
                    projection.apply(slot, batch, memory)
            _move(opened, ledger_id, targets, batch)
        else:
            _require_end(opened, ledger_id, first)
    return batch.last - first


@contextmanager
def _without_collections() -> Iterator[None]:
    """Look for no cyclic garbage meanwhile: a batch makes none, and memory is large to walk."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _ask(opened: Lane, ledger_id: int, after: int, last: int) -> Callable[[], list[Piece]]:
    """Begin to read the events after a position up to another; call for the answer."""
    return opened.ask(PIECES, (ledger_id, after, last)) if after < last else list


def _require_end(opened: Lane, ledger_id: int, after: int) -> None:
    """The log ends there: positions that were asked for and are not there come at its end alone.

    Raises:
        UnfoldableError: there are later ones.
    """
    rows = opened.read(
        "SELECT min(position) FROM ledger.events WHERE ledger_id = %s AND position > %s",
        (ledger_id, after),
    )
    if rows[0][0] is not None and rows[0][0] != after + 1:
        raise UnfoldableError(rows[0][0], f"position {after + 1} was expected")


def _size_parts(memory: Memory, pieces: Sequence[Piece], count: int) -> int:
    """Note how many such events a part may have; how many characters these are."""
    characters = sum(len(piece[-1]) for piece in pieces)
    memory.part_events = max(1, min(PART_EVENTS_MAX, PART_CHARACTERS * count // characters))
    return characters


def _folded(memory: Memory, recorded: Sequence[Recorded]) -> Batch:
    """What these events change, taken in by the memory."""
    part = Batch(recorded[0].position, recorded[-1].position, recorded[-1].recorded_at)
    fold_known(part, memory.accounts, recorded)
    fold_kept(part, memory.states, recorded)
    return part


def _load(opened: Lane, ledger_id: int, memory: Memory, recorded: Sequence[Recorded]) -> None:
    """Read back the accounts and kept states that the events need and the memory does not have."""
    unknown = unknown_accounts(memory.accounts, recorded)
    if unknown and not memory.is_complete:
        slot = Slot(opened, ledger_id, memory.slots["balances"])
        forgotten = memory.unpack(unknown)
        for account in balances.load(slot, forgotten) if forgotten else ():
            memory.accounts[account.terms.account_id] = account
    require_known(memory.accounts, unknown)
    if memory.is_complete:
        return
    missing = unknown_states(memory.states, recorded)
    if missing:
        memory.states.update(kept.load(Slot(opened, ledger_id, memory.slots["kept"]), missing))


def _move(
    opened: Lane,
    ledger_id: int,
    targets: Sequence[tuple[Projection, int]],
    batch: Batch,
) -> None:
    """Record that the targets have taken in the batch."""
    opened.execute(
        "UPDATE views.projections p SET position = %s, recorded_at = %s"
        " FROM unnest(%s::text[], %s::smallint[]) AS v(name, slot)"
        " WHERE p.ledger_id = %s AND p.name = v.name AND p.slot = v.slot",
        (
            batch.last,
            batch.recorded_at,
            [projection.name for projection, _ in targets],
            [slot_no for _, slot_no in targets],
            ledger_id,
        ),
    )
