"""Routes of transfers."""

from api.command_routes import CommandRoute
from ledger_core.journal import JournalEntryPosted
from ledger_core.transfers import Transfer

COMMANDS = (
    CommandRoute(
        path="/v1/transfers",
        command=Transfer,
        event=JournalEntryPosted,
        summary="Move money from the debited to the credited account",
        example={
            "debit_account_id": "anna-current",
            "credit_account_id": "ben-current",
            "amount": "1250",
            "currency": "EUR",
            "description": "Rent for May",
        },
    ),
)
