"""One batch of the log, taken in by some projections; and a memory made from the log alone."""

from collections.abc import Sequence

from ledger_core import log
from ledger_core.events import Recorded
from ledger_core.log import Connection
from projections import balances, kept, risk_flags
from projections.folding import (
    Batch,
    batch_of,
    decode,
    fold,
    fold_kept,
    unknown_accounts,
    unknown_states,
)
from projections.memory import Memory
from projections.registry import PROJECTIONS
from projections.writing import Lane, Projection, Slot, lane

BATCH_EVENTS_MAX = 5_000


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
        most = min(BATCH_EVENTS_MAX, to_position - memory.position)
        rows = log.read_rows(connection, ledger_id, memory.position, most)
        batch = batch_of(rows)
        recorded = decode(rows, memory.position)
        fold(batch, memory.accounts, recorded)
        fold_kept(batch, memory.states, recorded)
        risk_flags.raise_flags(memory, batch)
        memory.position = batch.last
    return memory


def take_batch(
    connection: Connection,
    ledger_id: int,
    targets: Sequence[tuple[Projection, int]],
    memory: Memory,
    limit: int,
) -> int:
    """Read up to ``limit`` events after the memory's position and write the targets' slots.

    In the caller's transaction, which has locked the targets' positions.

    Raises:
        As ``runner.advance``.
    """
    rows = log.read_rows(connection, ledger_id, memory.position, limit)
    if not rows:
        return 0
    batch = batch_of(rows)
    memory.trim()
    with lane(connection) as opened:
        slots = [(projection, Slot(opened, ledger_id, slot_no)) for projection, slot_no in targets]
        for projection, slot in slots:
            if projection.stage == "log":
                projection.apply(slot, batch, memory)
        recorded = decode(rows, memory.position)
        _load(opened, ledger_id, memory, recorded)
        fold(batch, memory.accounts, recorded)
        fold_kept(batch, memory.states, recorded)
        for projection, slot in slots:
            if projection.stage == "events":
                projection.apply(slot, batch, memory)
        _move(opened, ledger_id, targets, batch)
    memory.position = batch.last
    return len(rows)


def _load(opened: Lane, ledger_id: int, memory: Memory, recorded: Sequence[Recorded]) -> None:
    """Read back the accounts and kept states that the events need and the memory does not have."""
    if memory.is_complete:
        return
    unknown = unknown_accounts(memory.accounts, recorded)
    if unknown:
        slot = Slot(opened, ledger_id, memory.slots["balances"])
        for account in balances.load(slot, list(unknown)):
            memory.accounts[account.terms.account_id] = account
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
