"""Routes of deposits and withdrawals."""

from api.command_routes import CommandRoute
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.journal import JournalEntryPosted

COMMANDS = (
    CommandRoute(
        path="/v1/deposits",
        command=Deposit,
        event=JournalEntryPosted,
        summary="Credit an account against the account of a channel",
        example={
            "account_id": "anna-current",
            "amount": "100000",
            "currency": "EUR",
            "channel": "counter",
        },
    ),
    CommandRoute(
        path="/v1/withdrawals",
        command=Withdraw,
        event=JournalEntryPosted,
        summary="Debit an account against the account of a channel",
        example={
            "account_id": "anna-current",
            "amount": "5000",
            "currency": "EUR",
            "channel": "atm",
        },
    ),
)
