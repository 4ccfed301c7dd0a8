"""The registry of routes: one module a capability, one line in each table."""

from api.routes import (
    account_holders,
    account_terms,
    balances,
    blocks,
    customer_360,
    customers,
    deposits,
    entries,
    events,
    info,
    reversals,
    risk_flags,
    risk_rules,
    statements,
    transfers,
    trial_balance,
    units,
)

# In the order in which addresses are matched: the busiest first.
COMMANDS = (
    *transfers.COMMANDS,
    *deposits.COMMANDS,
    *entries.COMMANDS,
    *reversals.COMMANDS,
    *account_terms.COMMANDS,
    *blocks.COMMANDS,
    *account_holders.COMMANDS,
    *customers.COMMANDS,
    *units.COMMANDS,
    *risk_rules.COMMANDS,
)
VIEWS = (
    *balances.VIEWS,
    *statements.VIEWS,
    *trial_balance.VIEWS,
    *customer_360.VIEWS,
    *risk_flags.VIEWS,
    *entries.VIEWS,
    *events.VIEWS,
    *info.VIEWS,
)
