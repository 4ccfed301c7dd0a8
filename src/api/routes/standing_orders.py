"""Routes of standing orders and scheduled entries."""

from api.command_routes import CommandRoute
from ledger_core.standing_order import (
    StandingOrderCancelled,
    StandingOrderChanged,
    StandingOrderCreated,
)
from ledger_core.standing_orders import CancelOrder, ChangeOrder, CreateOrder

COMMANDS = (
    CommandRoute(
        path="/v1/standing-orders",
        command=CreateOrder,
        event=StandingOrderCreated,
        summary="Carry out a money movement on the days of a schedule",
        example={
            "order_id": "anna-rent",
            "name": "Rent",
            "schedule": {"first_date": "2026-06-30", "unit": "month", "adjust": "following"},
            "command": {
                "type": "transfer",
                "debit_account_id": "anna-current",
                "credit_account_id": "ben-current",
                "amount": "85000",
                "currency": "EUR",
                "description": "Rent",
            },
        },
    ),
    CommandRoute(
        path="/v1/standing-orders/{order_id}/change",
        command=ChangeOrder,
        event=StandingOrderChanged,
        path_field="order_id",
        summary="Change an order's movement or days from a day on",
        example={"from_date": "2026-09-01", "amount": "87000"},
    ),
    CommandRoute(
        path="/v1/standing-orders/{order_id}/cancel",
        command=CancelOrder,
        event=StandingOrderCancelled,
        path_field="order_id",
        summary="Run an order no more",
        example={"reason": "Moved out"},
    ),
)
