"""Routes of allocations."""

from api.command_routes import CommandRoute
from ledger_core.allocations import Allocate
from ledger_core.journal import JournalEntryPosted

COMMANDS = (
    CommandRoute(
        path="/v1/allocations",
        command=Allocate,
        event=JournalEntryPosted,
        summary="Split an amount over several sources and destinations, to the last minor unit",
        example={
            "amount": "10001",
            "currency": "EUR",
            "sources": [{"account_id": "anna-current"}],
            "destinations": [
                {"account_id": "fees", "share": "2.5%"},
                {"account_id": "ben-current", "share": "remaining"},
            ],
            "description": "Sale on the market place",
        },
    ),
)
