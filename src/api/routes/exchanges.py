"""Routes of exchanges."""

from api.command_routes import CommandRoute
from ledger_core.exchanges import Exchange
from ledger_core.journal import JournalEntryPosted

COMMANDS = (
    CommandRoute(
        path="/v1/exchanges",
        command=Exchange,
        event=JournalEntryPosted,
        summary="Sell one currency for another at a stated rate",
        example={
            "debit_account_id": "anna-current",
            "credit_account_id": "anna-dollars",
            "amount": "10000",
            "currency": "EUR",
            "counter_currency": "USD",
            "rate": "1.0842",
        },
    ),
)
