"""Deliberate bugs of the projector and of the reads: see ``bug_plants``."""

# ruff: noqa: ANN401, SLF001 - they reach inside, and stand in for functions of any type

from typing import Any

from tests.faults.bug_plants import Patches

from api import views
from ledger_core.accounts import AccountOpened
from ledger_core.events import Recorded
from ledger_core.journal import JournalEntryPosted
from projections import balances, batches, feed, registry, runner
from projections.folding import Batch
from projections.writing import Projection

SKIPPED = 7
"""A projector that skips events skips one in so many."""
FORGOTTEN = 3
"""A projector that forgets a part of a batch does so with one in so many; never where an account is
opened, whose row nothing goes without."""


def projector_skips_event(patches: Patches) -> None:
    """The projector leaves out a journal entry now and then."""
    original = feed.decode

    def decode(pieces: Any, after: int) -> list[Recorded]:
        """The events, but for some; never the last, whose position is kept."""
        recorded = original(pieces, after)
        return [
            item
            for item in recorded
            if item is recorded[-1]
            or item.position % SKIPPED
            or not isinstance(item.event, JournalEntryPosted)
        ]

    patches.put(batches, "decode", decode)


def position_not_stored(patches: Patches) -> None:
    """The views change, and the positions that they stand at do not."""

    def move(*_arguments: object) -> None:
        """Store nothing."""

    patches.put(batches, "_move", move)


def batch_taken_twice(patches: Patches) -> None:
    """Now and then the views change and their positions stay: the same events are taken again."""
    original = batches._move
    count = 0

    def move(opened: Any, ledger_id: int, targets: Any, batch: Batch) -> None:
        """Store the positions, mostly."""
        nonlocal count
        is_whole = _opens(batch)
        count += not is_whole
        if is_whole or count % FORGOTTEN:
            original(opened, ledger_id, targets, batch)

    patches.put(batches, "_move", move)


def position_without_change(patches: Patches) -> None:
    """Now and then the balances' position is stored and what changed is not."""
    count = 0

    def apply(slot: Any, batch: Batch, memory: Any) -> None:
        """Write the batch, mostly."""
        nonlocal count
        is_whole = _opens(batch)
        count += not is_whole
        if is_whole or count % FORGOTTEN:
            balances.PROJECTION.apply(slot, batch, memory)

    forgetful = Projection("balances", balances.PROJECTION.tables, apply, coalesces=True)
    changed = tuple(
        forgetful if item is balances.PROJECTION else item for item in registry.PROJECTIONS
    )
    patches.put(batches, "PROJECTIONS", changed)
    patches.put(runner, "PROJECTIONS", changed)


def min_position_ignored(patches: Patches) -> None:
    """A read is answered at once, however new it has to be."""

    async def until(*_arguments: object) -> None:
        """Wait for nothing."""

    patches.put(views.Reader, "_until", until)


def _opens(batch: Batch) -> bool:
    """Whether an account is opened in it."""
    return any(isinstance(item.event, AccountOpened) for item in batch.others)
