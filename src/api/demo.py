"""A small sample bank, so that a newcomer has something to look at.

Ordinary commands with fixed keys: loading it twice changes nothing. All people are made up.
"""

from datetime import date, timedelta

from ledger_core.account_holders import LinkCustomer
from ledger_core.account_terms import OpenAccount
from ledger_core.blocks import FreezeAccount
from ledger_core.commands import Command
from ledger_core.customers import RegisterCustomer
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.transfers import Transfer

_CUSTOMERS = {
    "alice": {"name": "Alice Example", "email": "alice@example.org", "language": "en"},
    "bruno": {"name": "Bruno Beispiel", "email": "bruno@example.org", "language": "de"},
    "chloe": {"name": "Chloé Exemple", "phone": "+33 1 00 00 00 00", "language": "fr"},
}
_ACCOUNTS = (
    ("alice-current", "alice", "EUR", "50000"),
    ("alice-savings", "alice", "EUR", "0"),
    ("bruno-current", "bruno", "EUR", "0"),
    ("chloe-dollars", "chloe", "USD", "0"),
)
DAYS_OF_HISTORY = 10


def commands(today: date) -> list[Command]:
    """The sample bank as commands, its history value-dated over the days before ``today``."""
    made: list[Command] = [
        RegisterCustomer(key=f"demo-customer-{name}", customer_id=name, profile=dict(profile))
        for name, profile in _CUSTOMERS.items()
    ]
    made += [
        OpenAccount(
            key=f"demo-account-{account_id}",
            account_id=account_id,
            currency=currency,
            limit=limit,
            customer_id=owner,
        )
        for account_id, owner, currency, limit in _ACCOUNTS
    ]
    made += [
        OpenAccount(
            key="demo-account-fees", account_id="fees", account_type="income", currency="EUR"
        ),
        LinkCustomer(
            key="demo-link", account_id="alice-savings", customer_id="bruno", role="joint"
        ),
        FreezeAccount(
            key="demo-freeze",
            account_id="chloe-dollars",
            cause="compliance",
            effect="debit",
            reason="Documents awaited",
        ),
    ]
    return made + _history(today)


def _history(today: date) -> list[Command]:
    """Ten days of movements, ending with three deposits just under a threshold."""
    first = today - timedelta(days=DAYS_OF_HISTORY)
    made: list[Command] = [
        Deposit(
            key="demo-salary",
            account_id="alice-current",
            amount="325000",
            currency="EUR",
            channel="clearing",
            value_date=first,
            description="Salary",
        ),
        Deposit(
            key="demo-dollars",
            account_id="chloe-dollars",
            amount="120000",
            currency="USD",
            channel="clearing",
            value_date=first,
        ),
        Transfer(
            key="demo-saving",
            debit_account_id="alice-current",
            credit_account_id="alice-savings",
            amount="100000",
            currency="EUR",
            value_date=first + timedelta(days=1),
            description="Standing order: savings",
        ),
        PostEntry(
            key="demo-fee",
            postings=(
                _line("alice-current", "debit", "5250"),
                _line("bruno-current", "credit", "5000"),
                _line("fees", "credit", "250"),
            ),
            value_date=first + timedelta(days=2),
            description="Payment with fee",
        ),
    ]
    made += [
        Withdraw(
            key=f"demo-cash-{day}",
            account_id="alice-current",
            amount=str(2000 + 500 * day),
            currency="EUR",
            channel="atm",
            value_date=first + timedelta(days=3 + day),
        )
        for day in range(4)
    ]
    made += [
        Deposit(
            key=f"demo-structuring-{day}",
            account_id="bruno-current",
            amount="950000",
            currency="EUR",
            value_date=first + timedelta(days=6 + day),
            description="Cash",
        )
        for day in range(3)
    ]
    return made


def _line(account_id: str, side: str, amount: str) -> PostingLine:
    """A posting in euros."""
    return PostingLine(
        account_id=account_id,
        side="debit" if side == "debit" else "credit",
        amount=amount,
        currency="EUR",
    )
