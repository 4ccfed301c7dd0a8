"""Routes of holds: place, capture, void; reading them is in ``kept``."""

from api.command_routes import CommandRoute
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted

COMMANDS = (
    CommandRoute(
        path="/v1/holds",
        command=PlaceHold,
        event=HoldPlaced,
        summary="Reserve an amount, to be captured, voided, or to expire",
        example={
            "hold_id": "hotel-4711",
            "debit_account_id": "anna-current",
            "credit_account_id": "ben-current",
            "amount": "18000",
            "currency": "EUR",
            "timeout_s": 604800,
        },
    ),
    CommandRoute(
        path="/v1/holds/{hold_id}/capture",
        command=CaptureHold,
        event=JournalEntryPosted,
        path_field="hold_id",
        summary="Book what a hold reserved, or part of it",
        example={"amount": "16500", "description": "Two nights"},
    ),
    CommandRoute(
        path="/v1/holds/{hold_id}/void",
        command=VoidHold,
        event=HoldReleased,
        path_field="hold_id",
        summary="Free all that a hold still holds",
        example={"reason": "Cancelled"},
    ),
)
