"""Trial balance: control totals by currency and type of account.

The totals are a second way to the same figures as the sum over all accounts; that both agree, and
that debits equal credits, is checked (see ``verification``). The queries are in
``trial_balance_queries``.
"""

from sqlalchemy import BigInteger, Column, Numeric, Text

from ledger_core.accounts import AccountOpened
from projections.folding import Batch
from projections.memory import Memory
from projections.tables import view
from projections.writing import Projection, Slot

trial_balance = view(
    "trial_balance",
    Column("currency", Text, primary_key=True),
    Column("account_type", Text, primary_key=True),
    Column("debits_posted_minor", Numeric, nullable=False),
    Column("credits_posted_minor", Numeric, nullable=False),
    Column("accounts", BigInteger, nullable=False),
)

Totals = dict[tuple[str, str], list[int]]


def add_to(totals: Totals, batch: Batch) -> None:
    """Add a batch to totals: debits, credits and number of accounts by currency and type."""
    for item in batch.others:
        if isinstance(item.event, AccountOpened):
            key = (item.event.currency, item.event.account_type)
            totals.setdefault(key, [0, 0, 0])[2] += 1
    sums: dict[tuple[str, str, str], int] = {}
    for line in batch.lines:
        terms, posting = line[0].terms, line[1]
        place = (terms.currency, terms.account_type, posting.side)
        sums[place] = sums.get(place, 0) + posting.amount_minor
    for (currency, account_type, side), amount_minor in sums.items():
        total = totals.setdefault((currency, account_type), [0, 0, 0])
        total[side == "credit"] += amount_minor


def total_rows(totals: Totals) -> list[dict[str, object]]:
    """The rows of totals."""
    return [
        {
            "currency": currency,
            "account_type": account_type,
            "debits_posted_minor": debits_minor,
            "credits_posted_minor": credits_minor,
            "accounts": count,
        }
        for (currency, account_type), (debits_minor, credits_minor, count) in totals.items()
    ]


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Add the batch to the totals."""
    totals: Totals = {}
    add_to(totals, batch)
    slot.insert(
        trial_balance,
        total_rows(totals),
        "DO UPDATE SET"
        " debits_posted_minor = trial_balance.debits_posted_minor + excluded.debits_posted_minor,"
        " credits_posted_minor = trial_balance.credits_posted_minor"
        " + excluded.credits_posted_minor,"
        " accounts = trial_balance.accounts + excluded.accounts",
    )


PROJECTION = Projection("trial_balance", (trial_balance,), apply)
