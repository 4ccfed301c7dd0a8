"""Routes that register customers, change their profiles and forget them."""

from api.command_routes import CommandRoute
from ledger_core.customers import (
    ChangeProfile,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    EraseCustomer,
    RegisterCustomer,
)

COMMANDS = (
    CommandRoute(
        path="/v1/customers",
        command=RegisterCustomer,
        event=CustomerRegistered,
        summary="Register a person or organisation",
        example={"customer_id": "anna", "profile": {"name": "Anna Weber", "language": "de"}},
    ),
    CommandRoute(
        path="/v1/customers/{customer_id}/profile",
        command=ChangeProfile,
        event=CustomerProfileChanged,
        path_field="customer_id",
        summary="Set or clear fields of a profile, for a reason",
        example={"changes": {"email": "anna@example.org", "phone": None}, "reason": "Asked for"},
    ),
    CommandRoute(
        path="/v1/customers/{customer_id}/erasure",
        command=EraseCustomer,
        event=CustomerErased,
        path_field="customer_id",
        summary="Destroy the key of everything personal about a customer",
        example={"reason": "Request under Article 17 GDPR"},
    ),
)
