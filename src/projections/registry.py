"""The registry of projections: adding one adds its module and one line here.

Their order is that in which they are written within a transaction.
"""

from projections import (
    balances,
    customer_360,
    event_tags,
    kept,
    risk_flags,
    statements,
    trial_balance,
)
from projections.writing import Projection

PROJECTIONS: tuple[Projection, ...] = (
    event_tags.PROJECTION,
    balances.PROJECTION,
    kept.PROJECTION,
    statements.PROJECTION,
    trial_balance.PROJECTION,
    customer_360.PROJECTION,
    risk_flags.PROJECTION,
)
NAMES: frozenset[str] = frozenset(projection.name for projection in PROJECTIONS)
