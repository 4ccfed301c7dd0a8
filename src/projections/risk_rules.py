"""Risk rules: which movement of a customer's account raises which flag, and why.

Pure and deterministic: the same log always raises the same flags. The rules see at most the
newest ``WINDOW_MOVEMENTS`` movements of the account that were booked before the one at hand, so
counts go no further and sums are sums over those. ``structuring`` also sees as many of the newest
deposits that count for it, however many movements were booked since. The day of a movement is its
value date. The typologies follow the FATF's indicators (see ``ledger_core.risk_rules`` for the
thresholds).

``large_movement`` and ``dormant_account_woken`` flag each movement that qualifies; the three
others, which look at many movements, flag an account once a value date: the first time.
"""

from collections.abc import Callable, Container, Mapping, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from itertools import dropwhile

import msgspec

from ledger_core.accounts import Terms
from ledger_core.fields import SYSTEM_PREFIX
from ledger_core.money import decimal_text
from ledger_core.risk_rules import DEFAULTS, RiskRuleSet
from projections.memory import Movement, Rule

NEVER = 10**100
"""More than any amount or count."""

DEFAULT_RULES: Mapping[str, Rule] = {name: Rule(values) for name, values in DEFAULTS.items()}


class Flag(msgspec.Struct, frozen=True):
    """A pattern that was seen: the rule, a sentence with the figures, and the events behind it."""

    flag_id: str
    rule: str
    account_id: str
    account_no: int
    currency: str
    raised_position: int
    raised_at: datetime
    value_date: date
    status: str
    reason: str
    figures: dict[str, str]
    positions: tuple[int, ...]


class _Finding(msgspec.Struct, frozen=True):
    """What a rule found: why, with which figures, in which movements."""

    reason: str
    figures: dict[str, str]
    movements: Sequence[Movement]


def is_watched(terms: Terms) -> bool:
    """Whether the rules look at the account: a customer's, so a liability and not the bank's."""
    return terms.account_type == "liability" and not terms.account_id.startswith(SYSTEM_PREFIX)


def rule_set(event: RiskRuleSet, position: int) -> Rule:
    """The rule from that event on; parameters that it does not name have their default."""
    return Rule({**DEFAULTS[event.rule], **event.parameters}, event.enabled, position)


class Thresholds(msgspec.Struct, frozen=True):
    """The rules for accounts of one scale: what they compare with, in minor units and days.

    A rule that is off has amounts and counts that nothing reaches. Below ``glance_minor`` an amount
    alone breaks no rule on the day of the movement before it.
    """

    rules: Mapping[str, Rule]
    large_minor: int
    structuring_below_minor: int
    structuring_floor_minor: int
    rapid_minor: int
    rapid_share_percent: int
    rapid_days: int
    dormant_minor: int
    dormant_days: int
    velocity_count: int
    velocity_days: int
    glance_minor: int

    @classmethod
    def of(cls, rules: Mapping[str, Rule], scale: int) -> "Thresholds":
        """The thresholds that the rules amount to."""
        unit = 10**scale
        large, structuring, rapid, dormant, velocity = (rules[name] for name, _ in _FINDERS)
        below_minor = structuring.parameters["amount"] * unit
        large_minor = large.parameters["amount"] * unit if large.enabled else NEVER
        dormant_minor = dormant.parameters["amount"] * unit if dormant.enabled else NEVER
        share_percent = 100 - structuring.parameters["margin_percent"]
        floor_minor = -(-below_minor * share_percent // 100) if structuring.enabled else NEVER
        return cls(
            rules,
            large_minor=large_minor,
            structuring_below_minor=below_minor if structuring.enabled else 0,
            structuring_floor_minor=floor_minor,
            rapid_minor=rapid.parameters["amount"] * unit if rapid.enabled else NEVER,
            rapid_share_percent=rapid.parameters["share_percent"],
            rapid_days=rapid.parameters["days"],
            dormant_minor=dormant_minor,
            dormant_days=dormant.parameters["days"],
            velocity_count=velocity.parameters["count"] if velocity.enabled else NEVER,
            velocity_days=velocity.parameters["days"],
            glance_minor=min(large_minor, floor_minor),
        )

    def is_just_below(self, movement: Movement) -> bool:
        """Whether the movement is a deposit that counts as structuring."""
        return (
            movement.is_incoming
            and movement.kind == "deposit"
            and self.structuring_floor_minor <= movement.amount_minor < self.structuring_below_minor
        )


def detect(  # noqa: PLR0913, PLR0917 - the rules, the past, and one movement in its place
    thresholds: Thresholds,
    terms: Terms,
    recent: Sequence[Movement],
    movement: Movement,
    recorded_at: datetime,
    raised: Container[str] = (),
    deposits: Sequence[Movement] = (),
) -> list[Flag]:
    """The flags that a movement raises, given those booked before it, oldest first.

    ``deposits`` are those that count as structuring, in and before ``recent``. Flags whose ids are
    in ``raised`` are left out. Nearly every movement raises none, so each rule is first held
    against the little that decides most cases; only what passes is looked at in full.
    """
    suspected: list[str] = []
    amount_minor = movement.amount_minor
    if amount_minor >= thresholds.large_minor:
        suspected.append("large_movement")
    if amount_minor >= thresholds.dormant_minor and not (
        recent and (movement.value_date - recent[-1].value_date).days < thresholds.dormant_days
    ):
        suspected.append("dormant_account_woken")
    if not movement.is_incoming:
        suspected += _suspected_outflow(thresholds, recent, movement)
    elif thresholds.is_just_below(movement):
        suspected.append("structuring")
    flags: list[Flag] = []
    for name in suspected:
        flag_id = flag_id_of(name, terms, movement.value_date, movement.position)
        if flag_id in raised:
            continue
        past = _with_earlier(deposits, recent) if name == "structuring" else recent
        found = _FINDER[name](thresholds, terms, past, movement)
        if found is not None:
            flags.append(_flag(flag_id, name, terms, movement, recorded_at, found))
    return flags


def _suspected_outflow(
    thresholds: Thresholds, recent: Sequence[Movement], movement: Movement
) -> list[str]:
    """The rules on money going out that a movement out may break: one pass over the window."""
    last = movement.value_date
    rapid_first = days_before(last, thresholds.rapid_days)
    velocity_first = days_before(last, thresholds.velocity_days - 1)
    in_minor, out_minor, out_count = 0, movement.amount_minor, 1
    for seen in recent:
        value_date = seen.value_date
        if value_date > last:
            continue
        if seen.is_incoming:
            if value_date >= rapid_first:
                in_minor += seen.amount_minor
            continue
        if value_date >= rapid_first and in_minor:
            out_minor += seen.amount_minor
        if value_date >= velocity_first:
            out_count += 1
    suspected: list[str] = []
    if (
        in_minor >= thresholds.rapid_minor
        and out_minor * 100 >= in_minor * thresholds.rapid_share_percent
    ):
        suspected.append("rapid_in_and_out")
    if out_count > thresholds.velocity_count:
        suspected.append("velocity")
    return suspected


def _large_movement(
    thresholds: Thresholds, terms: Terms, _recent: Sequence[Movement], movement: Movement
) -> _Finding | None:
    """One movement of at least the amount."""
    threshold_minor = thresholds.large_minor
    amount, threshold = _money(terms, movement.amount_minor), _money(terms, threshold_minor)
    direction = "came in" if movement.is_incoming else "went out"
    return _Finding(
        f"{amount} {direction} in one movement; the threshold is {threshold}.",
        {"amount_minor": str(movement.amount_minor), "threshold_minor": str(threshold_minor)},
        (movement,),
    )


def _structuring(
    thresholds: Thresholds, terms: Terms, recent: Sequence[Movement], movement: Movement
) -> _Finding | None:
    """Several deposits just under the amount within some days, this one the last."""
    parameters = thresholds.rules["structuring"].parameters
    below_minor = thresholds.structuring_below_minor
    last = movement.value_date
    first = days_before(last, parameters["days"] - 1)
    deposits = [
        seen
        for seen in recent
        if first <= seen.value_date <= last and thresholds.is_just_below(seen)
    ]
    deposits.append(movement)
    if len(deposits) < parameters["count"]:
        return None
    total_minor = sum(seen.amount_minor for seen in deposits)
    return _Finding(
        f"{len(deposits)} deposits of together {_money(terms, total_minor)} within"
        f" {parameters['days']} days, each at most {parameters['margin_percent']} % below"
        f" {_money(terms, below_minor)}.",
        {
            "count": str(len(deposits)),
            "total_minor": str(total_minor),
            "threshold_minor": str(below_minor),
        },
        deposits,
    )


def _rapid_in_and_out(
    thresholds: Thresholds, terms: Terms, recent: Sequence[Movement], movement: Movement
) -> _Finding | None:
    """Most of a sum that came in leaves again within some days.

    What leaves is counted from the first movement in of those days on.
    """
    last = movement.value_date
    first = days_before(last, thresholds.rapid_days)
    within = (seen for seen in recent if first <= seen.value_date <= last)
    flow = [*dropwhile(lambda seen: not seen.is_incoming, within), movement]
    in_minor = sum(seen.amount_minor for seen in flow if seen.is_incoming)
    out_minor = sum(seen.amount_minor for seen in flow if not seen.is_incoming)
    return _Finding(
        f"Of {_money(terms, in_minor)} that came in, {_money(terms, out_minor)} left within"
        f" {thresholds.rapid_days} days; the threshold is {thresholds.rapid_share_percent} % of"
        f" {_money(terms, thresholds.rapid_minor)} or more.",
        {
            "in_minor": str(in_minor),
            "out_minor": str(out_minor),
            "threshold_minor": str(thresholds.rapid_minor),
        },
        flow,
    )


def _dormant_account_woken(
    thresholds: Thresholds, terms: Terms, recent: Sequence[Movement], movement: Movement
) -> _Finding | None:
    """A movement of at least the amount after a long time without any, or since the opening."""
    before = max((seen.value_date for seen in recent), default=terms.opened_at.date())
    quiet_days = (movement.value_date - before).days
    if quiet_days < thresholds.dormant_days:
        return None
    return _Finding(
        f"{_money(terms, movement.amount_minor)} moved after {quiet_days} days without a movement;"
        f" the threshold is {thresholds.dormant_days} days and"
        f" {_money(terms, thresholds.dormant_minor)}.",
        {
            "amount_minor": str(movement.amount_minor),
            "quiet_days": str(quiet_days),
            "quiet_since": before.isoformat(),
            "threshold_minor": str(thresholds.dormant_minor),
        },
        (movement,),
    )


def _velocity(
    thresholds: Thresholds, terms: Terms, recent: Sequence[Movement], movement: Movement
) -> _Finding | None:
    """More movements out than the count within some days."""
    last = movement.value_date
    first = days_before(last, thresholds.velocity_days - 1)
    outgoing = [
        seen for seen in recent if not seen.is_incoming and first <= seen.value_date <= last
    ]
    outgoing.append(movement)
    total_minor = sum(seen.amount_minor for seen in outgoing)
    return _Finding(
        f"{len(outgoing)} movements out, together {_money(terms, total_minor)}, within"
        f" {thresholds.velocity_days} days; the threshold is {thresholds.velocity_count}.",
        {"count": str(len(outgoing)), "total_minor": str(total_minor)},
        outgoing,
    )


_Finder = Callable[[Thresholds, Terms, Sequence[Movement], Movement], _Finding | None]
_FINDERS: tuple[tuple[str, _Finder], ...] = (
    ("large_movement", _large_movement),
    ("structuring", _structuring),
    ("rapid_in_and_out", _rapid_in_and_out),
    ("dormant_account_woken", _dormant_account_woken),
    ("velocity", _velocity),
)
_FINDER: Mapping[str, _Finder] = dict(_FINDERS)
_ONCE_A_DAY = frozenset({"structuring", "rapid_in_and_out", "velocity"})


def _with_earlier(deposits: Sequence[Movement], recent: Sequence[Movement]) -> list[Movement]:
    """The recent movements, and before them the deposits that are no longer among them."""
    first = recent[0].position if recent else 0
    return [*(seen for seen in deposits if seen.position < first), *recent]


def flag_id_of(rule: str, terms: Terms, value_date: date, position: int) -> str:
    """The flag's id, which names what the flag may be raised once for."""
    occasion = value_date if rule in _ONCE_A_DAY else position
    return f"flag_{rule}_{terms.account_no}_{occasion}"


def _flag(  # noqa: PLR0913, PLR0917 - everything that a flag is made of
    flag_id: str,
    rule: str,
    terms: Terms,
    movement: Movement,
    recorded_at: datetime,
    found: _Finding,
) -> Flag:
    """The flag for what a rule found."""
    return Flag(
        flag_id=flag_id,
        rule=rule,
        account_id=terms.account_id,
        account_no=terms.account_no,
        currency=terms.currency,
        raised_position=movement.position,
        raised_at=recorded_at,
        value_date=movement.value_date,
        status="open",
        reason=found.reason,
        figures=found.figures,
        positions=tuple(dict.fromkeys(seen.position for seen in found.movements)),
    )


@lru_cache(maxsize=10_000)
def days_before(day: date, days: int) -> date:
    """The day that many days earlier, or the first day there is."""
    return day - timedelta(days) if days < day.toordinal() else date.min


def _money(terms: Terms, amount_minor: int) -> str:
    """An amount in the account's currency, as people write it."""
    return f"{decimal_text(amount_minor, terms.scale)} {terms.currency}"
