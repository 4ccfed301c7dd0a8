"""Routes of reversals."""

from api.command_routes import CommandRoute
from ledger_core.journal import JournalEntryPosted
from ledger_core.reversals import ReverseEntry

COMMANDS = (
    CommandRoute(
        path="/v1/entries/{reverses}/reversal",
        command=ReverseEntry,
        event=JournalEntryPosted,
        path_field="reverses",
        summary="Book the mirror of an entry, once",
        example={"description": "Booked to the wrong account"},
    ),
)
