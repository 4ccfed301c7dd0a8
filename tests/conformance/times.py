"""The hours of a case as days of this ledger.

A case dates entries in hours from now; a value date here is a day. So time is stretched: every
moment that a case speaks of gets a day of its own, in the same order, with now being today. Order
and equality are all that a case can ask of effective time, and both are kept exactly; how many
days lie between two moments has no meaning.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from fractions import Fraction

from tests.conformance.cases import Case, Json

SECONDS_IN = {"seconds": 1, "minutes": 60, "hours": 3_600, "days": 86_400}
_HOUR_S = 3_600


def seconds_of(op: Json) -> int:
    """How many seconds a tick lets pass."""
    return sum(int(op[unit]) * size for unit, size in SECONDS_IN.items() if op.get(unit))


def hours_of(op: Json) -> Iterable[object]:
    """Every hour that an operation or a setup names."""
    return (value for name, value in op.items() if name.endswith("_h") and value is not None)


class Calendar:
    """Which day stands for a moment of the case: seconds gone by, and hours from then."""

    def __init__(self, moments: Iterable[Fraction], today: date) -> None:
        """Give each moment a day: the beginning is ``today``, others follow in their order."""
        ordered = sorted({Fraction(0), *moments})
        now = ordered.index(Fraction(0))
        self._days = {moment: today + timedelta(days=at - now) for at, moment in enumerate(ordered)}

    def day(self, elapsed_s: int, hours: object = 0) -> date:
        """The day of so many hours from now, after so many seconds of the case."""
        return self._days[moment_of(elapsed_s, hours)]


def moment_of(elapsed_s: int, hours: object) -> Fraction:
    """A moment in hours from the beginning of the case, exactly."""
    return Fraction(elapsed_s, _HOUR_S) + Fraction(str(hours))


def calendar_of(case: Case, today: date) -> Calendar:
    """The days for all moments that a case speaks of."""
    elapsed_s = 0
    moments = [moment_of(0, hours) for hours in hours_of(case.period or {})]
    moments += _moments(case.ops, elapsed_s)[0]
    return Calendar(moments, today)


def _moments(ops: list[Json], elapsed_s: int) -> tuple[list[Fraction], int]:
    """The moments of operations in their order, and how much time has gone by after them."""
    found: list[Fraction] = []
    for op in ops:
        if op.get("op") == "tick":
            elapsed_s += seconds_of(op)
        found.append(moment_of(elapsed_s, 0))
        found += [moment_of(elapsed_s, hours) for hours in hours_of(op)]
        inner = list(op.get("items") or [])
        if isinstance(op.get("command"), dict):
            inner.append(op["command"])
        below, elapsed_s = _moments(inner, elapsed_s)
        found += below
    return found, elapsed_s
