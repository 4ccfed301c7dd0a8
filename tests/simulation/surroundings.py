"""What the product meets in a simulation instead of the real thing: all of it is listed here."""

from collections.abc import Callable
from types import ModuleType

from tests.simulation.tasks import AtOnce, Hub, Threading
from tests.simulation.view_statements import SIMULATED

from ledger_core import appending, ledger, loading, transaction, writer
from projections import batches, memory, runner, writing

Place = tuple[ModuleType | type, str, object]

SMALL: list[Place] = [
    (writer, "TRANSACTION_COMMANDS_MAX", 8),
    (writer, "QUEUE_COMMANDS_MAX", 16),
    (ledger, "STATEMENT_EVENTS_MAX", 2),
    (appending, "STATEMENT_EVENTS_MAX", 2),
    (appending, "STREAM_EVENTS", 4),
    (transaction, "STREAM_EVENTS", 4),
    (loading, "ACCOUNTS_CACHED_MAX", 3),
    (loading, "ACCOUNTS_PACKED_MAX", 1),
    (loading, "STATES_CACHED_MAX", 2),
    (batches, "PART_EVENTS_MAX", 3),
    (memory, "ACCOUNTS_MAX", 3),
    (memory, "PACKED_MAX", 1),
    (memory, "STATES_MAX", 1),
]
"""Bounds that take a large bank to reach, so small that a few accounts and events reach them."""


def places(hub: Hub, connect: Callable[[str, str], object]) -> list[Place]:
    """The names that stand for something else; ``connect`` is the projector's way to connect."""
    return [
        (writer, "threading", Threading(hub)),
        (writing, "ThreadPoolExecutor", AtOnce),
        (runner, "connect", connect),
        (runner, "PROJECTIONS", SIMULATED),
        (batches, "PROJECTIONS", SIMULATED),
    ]
