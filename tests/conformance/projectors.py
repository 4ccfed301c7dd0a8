"""What a case asks of the projections themselves: make them again, stop them, go on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.conformance import views
from tests.conformance.cases import Json
from tests.conformance.happenings import position_of
from tests.conformance.house import Desk
from tests.conformance.seen import Answer, Replay, Seen

from projections import runner
from projections.registry import PROJECTIONS

if TYPE_CHECKING:
    from tests.conformance.adapter import Adapter

_NAMES = tuple(projection.name for projection in PROJECTIONS)


def _rebuild(adapter: "Adapter", op: Json) -> Answer:
    """Make a projection again beside the live one; is it the same?"""
    asked = str(op.get("name", ""))
    names = (asked,) if asked in _NAMES else _NAMES
    differing = 0
    for desk in adapter.desks.values():
        desk.catch_up()
        with adapter.house.runtime.connect("ledger_projector") as connection:
            for name in names:
                differing += runner.rebuild(connection, desk.ledger_id, name).differing_rows
    words = ("differs",) if differing else ("identical", "unchanged", "replayed")
    return Answer(status="done", words=words, detail=f"{differing} rows differ")


def _replay(adapter: "Adapter", op: Json) -> Replay:
    """Apply the log once more: nothing may count twice; the balances then, or at a moment."""
    answer = _rebuild(adapter, op)
    moment: Json = {}
    for name in ("to", "at", "until"):
        if isinstance(op.get(name), str):
            moment["as_of_position"] = position_of(adapter, op[name])
    return Replay(answer, views.vectors(adapter, **moment))


def _snapshot(adapter: "Adapter", op: Json) -> Answer:
    """Have the projections stand at a position: they are the ledger's snapshot of themselves."""
    for desk in adapter.desks.values():
        desk.catch_up()
        reached = _reached(adapter, desk)
        wanted = position_of(adapter, op["at"]) if op.get("at") else reached
        assert reached >= wanted, f"the projections stand at {reached}, not at {wanted}"
    return Answer(status="done")


def _resume(adapter: "Adapter", op: Json) -> Answer:
    """Have a runner go on that remembers an older position than the projections stand at.

    It must begin where they stand: what lies between may not count twice.
    """
    cursor = position_of(adapter, op["cursor"])
    before = views.vectors(adapter)
    for desk in adapter.desks.values():
        stood = _reached(adapter, desk)
        with adapter.house.runtime.connect("ledger_projector") as connection:
            cache = runner.RunnerCache()
            runner.advance(connection, desk.ledger_id, cache=cache)
            for memory in cache.memories.values():
                memory.position = cursor
            runner.advance(connection, desk.ledger_id, cache=cache)
        if _reached(adapter, desk) != stood:
            return Answer(status="done", words=("moved",))
    if views.vectors(adapter) != before:
        return Answer(status="done", words=("applied_twice",))
    return Answer(status="done", words=("restart_from_snapshot_position",))


def _reached(adapter: "Adapter", desk: Desk) -> int:
    """The position that all projections of a ledger reflect."""
    with adapter.house.runtime.connect("ledger_projector") as connection:
        return min(place for place, _ in runner.positions(connection, desk.ledger_id).values())


PROJECTORS: dict[str, Callable[["Adapter", Json], Seen]] = {
    "rebuild_projection": _rebuild,
    "replay_projection": _replay,
    "snapshot_projection": _snapshot,
    "resume_projection": _resume,
}
