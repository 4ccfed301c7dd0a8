"""Routes that link customers to accounts."""

from api.command_routes import CommandRoute
from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.accounts import AccountHolderLinked, AccountHolderUnlinked

COMMANDS = (
    CommandRoute(
        path="/v1/accounts/{account_id}/holders",
        command=LinkCustomer,
        event=AccountHolderLinked,
        path_field="account_id",
        summary="Give a customer a role on an account",
        example={"customer_id": "ben", "role": "joint"},
    ),
    CommandRoute(
        path="/v1/accounts/{account_id}/holders/unlink",
        command=UnlinkCustomer,
        event=AccountHolderUnlinked,
        path_field="account_id",
        summary="Take a role on an account away from a customer",
        example={"customer_id": "ben", "role": "joint"},
    ),
)
