"""Routes that open, limit, close and reopen accounts."""

from api.command_routes import CommandRoute
from ledger_core.account_limits import LimitChangeScheduled, SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount
from ledger_core.accounts import AccountClosed, AccountOpened, AccountReopened, LimitSet

COMMANDS = (
    CommandRoute(
        path="/v1/accounts",
        command=OpenAccount,
        event=AccountOpened,
        summary="Open an account in one currency",
        example={"account_id": "anna-current", "currency": "EUR", "customer_id": "anna"},
    ),
    CommandRoute(
        path="/v1/accounts/{account_id}/limit",
        command=SetLimit,
        event=LimitSet,
        path_field="account_id",
        other_events=(LimitChangeScheduled,),
        summary="Set how low and how high an account may go, at once or from a day on",
        example={"limit": "50000", "reason": "Salary arrives monthly"},
    ),
    CommandRoute(
        path="/v1/accounts/{account_id}/close",
        command=CloseAccount,
        event=AccountClosed,
        path_field="account_id",
        summary="Close an account that is at zero",
        example={"reason": "On the customer's request"},
    ),
    CommandRoute(
        path="/v1/accounts/{account_id}/reopen",
        command=ReopenAccount,
        event=AccountReopened,
        path_field="account_id",
        summary="Open a closed account again",
        example={"reason": "Closed by mistake"},
    ),
)
