"""Who may do what: one table from each operation to the roles of the API keys that may call it.

An operation is a command (under its ``type``) or a view. What is not in the table is refused.
"""

from collections.abc import Mapping
from types import MappingProxyType

from api.problems import FORBIDDEN, Problem
from api.role_names import ROLES, Role

_EVERYBODY: frozenset[Role] = frozenset(ROLES)
_COUNTER: frozenset[Role] = frozenset({"teller", "admin"})
_AUDIT: frozenset[Role] = frozenset({"auditor", "admin"})
_ADMIN: frozenset[Role] = frozenset({"admin"})

ALLOWED: Mapping[str, frozenset[Role]] = MappingProxyType(
    {
        "transfer": _COUNTER,
        "deposit": _COUNTER,
        "withdraw": _COUNTER,
        "post_entry": _COUNTER,
        "reverse_entry": _COUNTER,
        "open_account": _COUNTER,
        "set_limit": _COUNTER,
        "freeze_account": _COUNTER,
        "unfreeze_account": _COUNTER,
        "close_account": _COUNTER,
        "reopen_account": _COUNTER,
        "link_customer": _COUNTER,
        "unlink_customer": _COUNTER,
        "register_customer": _COUNTER,
        "change_profile": _COUNTER,
        "erase_customer": _ADMIN,
        "register_unit": _ADMIN,
        "set_risk_rule": _ADMIN,
        "batch": _COUNTER,
        "list_accounts": _EVERYBODY,
        "get_account": _EVERYBODY,
        "get_balance": _EVERYBODY,
        "get_statement": _EVERYBODY,
        "get_trial_balance": _EVERYBODY,
        "list_customers": _EVERYBODY,
        "get_customer": _EVERYBODY,
        "list_risk_flags": _EVERYBODY,
        "get_entry": _EVERYBODY,
        "get_info": _EVERYBODY,
        "list_events": _AUDIT,
        "get_event": _AUDIT,
    }
)


def is_allowed(role: Role, operation: str) -> bool:
    """Whether keys of that role may call the operation."""
    return role in ALLOWED.get(operation, ())


def require_allowed(role: Role, operation: str) -> None:
    """The role may call the operation.

    Raises:
        Problem: it may not.
    """
    if not is_allowed(role, operation):
        raise Problem(FORBIDDEN)
