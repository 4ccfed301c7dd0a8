"""Alarms: which accesses of whom raise which alarm, and why.

Pure and deterministic: the same access log under the same rules always raises the same alarms.
Each rule counts something of each actor's accesses within the last minutes (``log_in_guessing`` of
all actors together), and raises an alarm when it has counted enough, unless it raised one about the
same actor within as many minutes. A rule that is set begins to count anew. Knows no table.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from ledger_core.access_log import LEDGER
from ledger_core.risk_rules import ALARMS, DEFAULTS, AlarmName
from projections.memory import Rule

EVERYBODY = "*"
"""The actor of an alarm about all actors together."""
COUNTS_MAX = 50_000
"""Beyond so many counts, those with nothing left within a day are let go."""

DENIED = frozenset({403, 404})
"""Statuses of what somebody may not see, or guessed at in vain."""
SEARCH = "search_customers"
"""What tells whether somebody is a customer; that nobody was found is as good as denied."""
UNPROVEN = 401
_REFUSED = 400
_CUSTOMER = "customer:"
# What is no account, and nothing that is booked on one.
_SENSITIVE = ("customer:", "key:", "person:", "role:")
_SATURDAY = 5
_LONGEST = timedelta(days=1)

# What these show of the ledger as a whole are figures, or what was found of it: no customers.
FIGURES = frozenset(
    {
        "get_trial_balance",
        "export_trial_balance",
        "get_totals",
        "get_revaluation",
        "list_risk_flags",
        "list_risk_rules",
        "list_audits",
        "list_accesses",
        "list_alarms",
        "acknowledge_alarm",
    }
)

DEFAULT_ALARM_RULES: Mapping[AlarmName, Rule] = {name: Rule(DEFAULTS[name]) for name in ALARMS}


class Seen(msgspec.Struct, frozen=True):
    """What the rules look at of an access."""

    number: int
    at: datetime
    actor: str
    operation: str
    subjects: Sequence[str]
    status: int


class RuleUsed(msgspec.Struct, frozen=True):
    """A rule as an event of the ledger set it, and the first access that it counted for."""

    rule: AlarmName
    position: int
    from_number: int
    parameters: dict[str, int]
    enabled: bool


class Alarm(msgspec.Struct, frozen=True):
    """A pattern that was seen: by which access, about whom, how much, and what was enough.

    ``first_number`` is the oldest access that was counted; ``rule_position`` the event that set the
    rule (0: its defaults).
    """

    number: int
    rule: AlarmName
    actor: str
    raised_at: datetime
    first_number: int
    first_at: datetime
    count: int
    threshold: int
    rule_position: int
    reason: str

    @property
    def alarm_id(self) -> str:
        """The alarm's id: one access raises each rule once at most."""
        return f"alarm_{self.rule}_{self.number}"


class _Count(msgspec.Struct):
    """What a rule has counted of an actor: when each was last seen, the longest ago first."""

    seen: dict[int | str, tuple[datetime, int]]
    raised_at: datetime | None = None


class Watch:
    """The counts of one ledger, after the accesses up to ``number``."""

    def __init__(self, number: int = 0) -> None:
        """Begin after that access, with the default rules and nothing counted."""
        self.number = number
        self._rules: dict[AlarmName, Rule] = dict(DEFAULT_ALARM_RULES)
        self._counts: dict[tuple[AlarmName, str], _Count] = {}
        self._used: dict[AlarmName, int] = {}
        self._counts_max = COUNTS_MAX

    @property
    def longest(self) -> timedelta:
        """How far back the rules look."""
        return max(_window(rule) for rule in self._rules.values())

    def set(self, used: RuleUsed) -> None:
        """Set a rule, which begins to count anew."""
        if used.position <= self._used.get(used.rule, 0):
            return
        self._used[used.rule] = used.position
        parameters = {**DEFAULTS[used.rule], **used.parameters}
        self._rules[used.rule] = Rule(parameters, used.enabled, used.position)
        for name in [name for name in self._counts if name[0] == used.rule]:
            del self._counts[name]

    def position_of(self, rule: AlarmName) -> int:
        """The event by which a rule was set; 0: it has its defaults."""
        return self._rules[rule].position

    def note_raised(self, rule: AlarmName, actor: str, raised_at: datetime) -> None:
        """Take note of an alarm that was raised by somebody else's count."""
        self._count(rule, actor).raised_at = raised_at

    def forget_raised(self) -> None:
        """Forget which alarms were raised when."""
        for count in self._counts.values():
            count.raised_at = None

    def take(self, access: Seen) -> list[Alarm]:
        """Count an access: the alarms that it raises."""
        self.number = access.number
        alarms: list[Alarm] = []
        is_found = access.operation != SEARCH or access.status >= _REFUSED or access.subjects
        if access.status in DENIED or not is_found:
            self._add(alarms, "denied_reads", access.actor, access, (access.number,))
        elif access.status == UNPROVEN:
            self._add(alarms, "failed_log_ins", access.actor, access, (access.number,))
            self._add(alarms, "log_in_guessing", EVERYBODY, access, (access.number,))
        elif access.status < _REFUSED:
            self._take_answered(alarms, access)
        if len(self._counts) > self._counts_max:
            self._forget(access.at)
        return alarms

    def _take_answered(self, alarms: list[Alarm], access: Seen) -> None:
        """Count what was shown or done."""
        is_all = LEDGER in access.subjects and access.operation not in FIGURES
        if is_all:
            self._add(alarms, "ledger_reading", access.actor, access, (access.number,))
        customers = [name for name in access.subjects if name.startswith(_CUSTOMER)]
        if customers:
            self._add(alarms, "bulk_reading", access.actor, access, customers)
        if is_all or any(name.startswith(_SENSITIVE) for name in access.subjects):
            rule = self._rules["off_hours_access"]
            if is_off(access.at, rule.parameters):
                self._add(alarms, "off_hours_access", access.actor, access, (access.number,))

    def _add(
        self,
        alarms: list[Alarm],
        name: AlarmName,
        actor: str,
        access: Seen,
        items: Iterable[int | str],
    ) -> None:
        """Count items by a rule of an actor; add the alarm, if they are enough."""
        rule = self._rules[name]
        if not rule.enabled:
            return
        count, window = self._count(name, actor), _window(rule)
        for item in items:
            count.seen.pop(item, None)
            count.seen[item] = (access.at, access.number)
        since = access.at - window
        _drop(count.seen, since)
        threshold = _threshold(rule)
        is_enough = len(count.seen) >= threshold
        if is_enough and (count.raised_at is None or count.raised_at <= since):
            count.raised_at = access.at
            alarms.append(_alarm(name, rule, actor, access, count.seen))
        # No more is needed to tell whether it is enough.
        while len(count.seen) > threshold:
            del count.seen[next(iter(count.seen))]

    def _count(self, rule: AlarmName, actor: str) -> _Count:
        """What a rule has counted of an actor."""
        count = self._counts.get((rule, actor))
        if count is None:
            count = self._counts[rule, actor] = _Count({})
        return count

    def _forget(self, at: datetime) -> None:
        """Let go of counts that no longer count."""
        since = at - _LONGEST
        for name, count in list(self._counts.items()):
            _drop(count.seen, since)
            if not count.seen and (count.raised_at is None or count.raised_at <= since):
                del self._counts[name]
        self._counts_max = max(COUNTS_MAX, 2 * len(self._counts))


def is_off(at: datetime, parameters: Mapping[str, int]) -> bool:
    """Whether nobody works then: outside the hours of the day, or at the weekend, in UTC.

    Hours that open later than they close go on over midnight.
    """
    if parameters["weekend_is_off"] and at.weekday() >= _SATURDAY:
        return True
    opens, closes, hour = parameters["opens_hour"], parameters["closes_hour"], at.hour
    if opens < closes:
        return not opens <= hour < closes
    return closes <= hour < opens


def _alarm(
    name: AlarmName,
    rule: Rule,
    actor: str,
    access: Seen,
    seen: Mapping[int | str, tuple[datetime, int]],
) -> Alarm:
    """The alarm for what a rule has counted."""
    first_at, first_number = next(iter(seen.values()))
    threshold = _threshold(rule)
    return Alarm(
        number=access.number,
        rule=name,
        actor=actor,
        raised_at=access.at,
        first_number=first_number,
        first_at=first_at,
        count=len(seen),
        threshold=threshold,
        rule_position=rule.position,
        reason=_reason(name, rule, len(seen)),
    )


def _reason(name: AlarmName, rule: Rule, count: int) -> str:
    """A sentence with the figures; it names nobody."""
    within = f"within {_some(rule.parameters['minutes'], 'minute')}"
    enough = f"the threshold is {_threshold(rule)}."
    match name:
        case "off_hours_access":
            hours = f"{rule.parameters['opens_hour']} to {rule.parameters['closes_hour']} o'clock"
            if rule.parameters["weekend_is_off"]:
                hours += ", Monday to Friday"
            return f"{_some(count, 'access', 'accesses')} {within} outside {hours} UTC; {enough}"
        case "denied_reads":
            return (
                f"{_some(count, 'request')} {within} for what is not theirs or not there; {enough}"
            )
        case "bulk_reading":
            return f"{_some(count, 'customer')} read {within}; {enough}"
        case "ledger_reading":
            return f"The ledger as a whole was read {_some(count, 'time')} {within}; {enough}"
        case "failed_log_ins":
            return f"{_some(count, 'failed log-in')} {within}; {enough}"
        case "log_in_guessing":
            return f"{_some(count, 'failed log-in')} of all together {within}; {enough}"


def _some(count: int, one: str, many: str | None = None) -> str:
    """So many of something."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def _threshold(rule: Rule) -> int:
    """How many are enough."""
    return rule.parameters.get("customers") or rule.parameters["count"]


def _window(rule: Rule) -> timedelta:
    """How far back a rule looks."""
    return timedelta(minutes=rule.parameters["minutes"])


def _drop(seen: dict[int | str, tuple[datetime, int]], since: datetime) -> None:
    """Drop what was seen then or before."""
    while seen:
        first = next(iter(seen))
        if seen[first][0] > since:
            return
        del seen[first]
