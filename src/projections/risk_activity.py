"""What an account's activity tells of a movement: nearly always, that it raises no flag.

The rules that look back need numbers and sums first, and ``memory.Activity`` has them; only where
these leave it open are the movements themselves looked at (``risk_rules.detect``). It may be left
open in vain, but no movement that raises a flag is passed over.
"""

from datetime import date

from ledger_core.accounts import Terms
from ledger_core.risk_rules import WINDOW_MOVEMENTS
from projections.memory import Activity
from projections.risk_rules import Thresholds, days_before


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
    if moved is None or (
        moved[1] >= limits.rapid_minor
        and (
            # Of more movements than the rule looks back on, some of the sum may be gone.
            activity.booked > WINDOW_MOVEMENTS
            or (moved[2] + amount_minor) * 100 >= moved[1] * limits.rapid_share_percent
        )
    ):
        rules.append("rapid_in_and_out")
    return rules
