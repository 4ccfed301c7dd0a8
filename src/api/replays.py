"""Replays for the command line: who may make the schema, and which position a time means.

Tables are made in the role ``ledger_replayer``, which may create schemas and nothing else; they are
filled in the projectors' role.
"""

from collections.abc import Callable

from api.runtime import Runtime
from ledger_core import log
from projections import replaying
from projections.reading import AsOf, position_at
from projections.replaying import Replay, ReplayRefused, Wanted


def make(  # noqa: PLR0913 - what to replay, and where to
    runtime: Runtime,
    ledger: str,
    as_of: AsOf,
    asked: str,
    schema: str,
    *,
    replace: bool,
    progress: Callable[[int, int], None] | None = None,
) -> Replay:
    """Replay a ledger up to a moment into a schema; the head of its log, if none is named.

    Raises:
        LedgerNotFound: no such ledger.
        ReplayRefused: the log ends before that position; else see ``projections.replaying``.
    """
    ledger_id = runtime.ledger_id(ledger)
    wanted = Wanted(
        schema=schema,
        ledger_id=ledger_id,
        ledger=ledger,
        position=_position(runtime, ledger_id, as_of),
        asked=asked,
        replace=replace,
    )
    with (
        runtime.connect("ledger_replayer") as owner,
        runtime.connect("ledger_projector") as projector,
    ):
        return replaying.replay_into(owner, projector, wanted, runtime.now(), progress)


def every(runtime: Runtime) -> list[Replay]:
    """Every replay in the database, of whichever ledger."""
    with runtime.connect("ledger_reader") as connection:
        return replaying.replays(connection)


def drop(runtime: Runtime, schema: str) -> None:
    """Drop a replay.

    Raises:
        ReplayRefused: see ``projections.replaying``.
    """
    with runtime.connect("ledger_replayer") as owner:
        replaying.drop(owner, schema)


def _position(runtime: Runtime, ledger_id: int, as_of: AsOf) -> int:
    """The last position of a moment.

    Raises:
        ReplayRefused: the log ends before the position that is named.
    """
    with runtime.connect("ledger_reader") as connection:
        head = log.read_head(connection, ledger_id).position
    if as_of.position is not None and as_of.position > head:
        msg = f"The log ends at position {head}."
        raise ReplayRefused(msg)
    if as_of.recorded_at is None:
        return head if as_of.position is None else as_of.position
    with runtime.engine.connect() as conn:
        return position_at(conn, ledger_id, as_of.recorded_at, head)
