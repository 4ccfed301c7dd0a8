"""What an account's activity tells of a movement: nearly always, that it raises no flag.

The rules that look back need numbers and sums first, and ``memory.Activity`` has them; only where
these leave it open are the movements themselves looked at (``risk_rules.detect``). It may be left
open in vain, but no movement that raises a flag is passed over.
"""

from collections.abc import Container
from datetime import date

from ledger_core.accounts import Terms
from ledger_core.risk_rules import WINDOW_MOVEMENTS
from projections.memory import Activity
from projections.risk_rules import NEVER, Thresholds, days_before, flag_id_of


def suspected(  # noqa: PLR0913, PLR0917 - the rules, the past, and one movement
    limits: Thresholds,
    terms: Terms,
    activity: Activity,
    value_date: date,
    amount_minor: int,
    is_incoming: bool,  # noqa: FBT001 - as in a Movement
) -> list[str]:
    """The rules that a movement may break, for all that the activity before it tells."""
    rules: list[str] = []
    if amount_minor >= limits.dormant_minor:
        if amount_minor >= limits.large_minor:
            rules.append("large_movement")
        quiet_since = activity.day if activity.booked else terms.opened_at.date()
        if (value_date - quiet_since).days >= limits.dormant_days:
            rules.append("dormant_account_woken")
    elif amount_minor >= limits.large_minor:
        rules.append("large_movement")
    if is_incoming:
        if limits.structuring_floor_minor <= amount_minor < limits.structuring_below_minor:
            rules.append("structuring")
        return rules
    counted = activity.within(days_before(value_date, limits.velocity_days - 1), value_date)
    if counted is None or counted[0] + 1 > limits.velocity_count:
        rules.append("velocity")
    moved = activity.within(days_before(value_date, limits.rapid_days), value_date)
    if activity.before_minor >= 0:  # All that the rule looks back on came after.
        may_be_rapid = activity.in_minor - activity.before_minor >= limits.rapid_minor
    else:
        may_be_rapid = moved is None or (
            moved[1] >= limits.rapid_minor
            and (
                # Of more movements than the rule looks back on, some of the sum may be gone.
                activity.booked > WINDOW_MOVEMENTS
                or (moved[2] + amount_minor) * 100 >= moved[1] * limits.rapid_share_percent
            )
        )
    if may_be_rapid:
        rules.append("rapid_in_and_out")
    return rules


def is_calm(activity: Activity) -> bool:
    """Whether one more movement out on the activity's day can break no rule on what it adds to."""
    return activity.out_count < activity.calm_count and activity.in_minor < activity.calm_minor


def calm(limits: Thresholds, terms: Terms, activity: Activity, raised: Container[str]) -> None:
    """Note how far the activity is from breaking a rule on money going out on its day.

    A rule whose flag of that day is in ``raised`` cannot raise it again.
    """
    day = activity.day
    activity.calm_count = activity.calm_minor = 0
    counted = activity.within(days_before(day, limits.velocity_days - 1), day)
    if counted is not None:
        activity.calm_count = activity.out_count + limits.velocity_count - counted[0]
    if (
        activity.out_count >= activity.calm_count
        and flag_id_of("velocity", terms, day, 0) in raised
    ):
        activity.calm_count = NEVER
    moved = activity.within(days_before(day, limits.rapid_days), day)
    if activity.before_minor >= 0:
        activity.calm_minor = activity.before_minor + limits.rapid_minor
    elif moved is not None:
        activity.calm_minor = activity.in_minor + limits.rapid_minor - moved[1]
    if (
        activity.in_minor >= activity.calm_minor
        and flag_id_of("rapid_in_and_out", terms, day, 0) in raised
    ):
        activity.calm_minor = NEVER
