"""Who may do what: one table from each operation to the roles of the API keys that may call it.

An operation is a command (under its ``type``) or a view. What is not in the table is refused.
"""

from collections.abc import Mapping
from types import MappingProxyType

from api.problems import FORBIDDEN, Problem
from api.role_names import ROLES, Role
from ledger_core.commands import Command, RequestApproval, tag_of

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
        "allocate": _COUNTER,
        "post_template": _COUNTER,
        "exchange": _COUNTER,
        "place_hold": _COUNTER,
        "capture_hold": _COUNTER,
        "void_hold": _COUNTER,
        "open_account": _COUNTER,
        "set_limit": _COUNTER,
        "freeze_account": _COUNTER,
        "unfreeze_account": _COUNTER,
        "close_account": _COUNTER,
        "reopen_account": _COUNTER,
        "link_customer": _COUNTER,
        "unlink_customer": _COUNTER,
        "create_group": _COUNTER,
        "set_group_limit": _COUNTER,
        "add_to_group": _COUNTER,
        "remove_from_group": _COUNTER,
        "close_period": _ADMIN,
        "reopen_period": _ADMIN,
        "register_customer": _COUNTER,
        "change_profile": _COUNTER,
        "erase_customer": _ADMIN,
        "register_unit": _ADMIN,
        "set_risk_rule": _ADMIN,
        "create_order": _COUNTER,
        "change_order": _COUNTER,
        "cancel_order": _COUNTER,
        "run_business_day": _COUNTER,
        "define_template": _ADMIN,
        "retire_template": _ADMIN,
        "request_approval": _COUNTER,
        "approve_request": _COUNTER,
        "reject_request": _COUNTER,
        "withdraw_request": _COUNTER,
        "set_approval_policy": _ADMIN,
        "batch": _COUNTER,
        "list_accounts": _EVERYBODY,
        "get_account": _EVERYBODY,
        "get_balance": _EVERYBODY,
        "get_statement": _EVERYBODY,
        "get_trial_balance": _EVERYBODY,
        "list_groups": _EVERYBODY,
        "get_group": _EVERYBODY,
        "list_limit_changes": _EVERYBODY,
        "get_period": _EVERYBODY,
        "list_customers": _EVERYBODY,
        "get_customer": _EVERYBODY,
        "list_risk_flags": _EVERYBODY,
        "list_risk_rules": _EVERYBODY,
        "list_standing_orders": _EVERYBODY,
        "get_standing_order": _EVERYBODY,
        "get_entry": _EVERYBODY,
        "list_holds": _EVERYBODY,
        "get_hold": _EVERYBODY,
        "list_templates": _EVERYBODY,
        "get_template": _EVERYBODY,
        "list_entries": _EVERYBODY,
        "get_entry_effect": _EVERYBODY,
        "list_backdated": _EVERYBODY,
        "get_totals": _EVERYBODY,
        "get_revaluation": _EVERYBODY,
        "list_approvals": _EVERYBODY,
        "get_approval": _EVERYBODY,
        "list_approval_policies": _EVERYBODY,
        "get_approval_policy": _EVERYBODY,
        "get_balance_explanation": _EVERYBODY,
        "get_flag_explanation": _EVERYBODY,
        "get_diff": _EVERYBODY,
        "get_info": _EVERYBODY,
        "get_checkpoint": _EVERYBODY,
        "list_checkpoints": _EVERYBODY,
        "get_checkpoint_at": _EVERYBODY,
        "list_checkpoint_keys": _EVERYBODY,
        "sign_checkpoint": _AUDIT,
        "get_inclusion_proof": _EVERYBODY,
        "get_consistency_proof": _EVERYBODY,
        "get_receipt": _AUDIT,
        "get_tlog_checkpoint": _EVERYBODY,
        "get_tile": _EVERYBODY,
        "get_entry_bundle": _AUDIT,
        "list_audits": _AUDIT,
        "get_latest_audit": _AUDIT,
        "list_accesses": _AUDIT,
        "list_account_accesses": _AUDIT,
        "list_customer_accesses": _AUDIT,
        "list_events": _AUDIT,
        "get_event": _AUDIT,
        "export_log": _AUDIT,
        "get_refusal_explanation": _AUDIT,
    }
)


def is_allowed(role: Role, operation: str) -> bool:
    """Whether keys of that role may call the operation."""
    return role in ALLOWED.get(operation, ())


def may_send(role: Role, command: Command) -> bool:
    """Whether keys of that role may send the command, and what it wraps."""
    if isinstance(command, RequestApproval) and not is_allowed(role, tag_of(command.command)):
        return False
    return is_allowed(role, tag_of(command))


def require_may_send(role: Role, command: Command) -> None:
    """The role may send the command, and what it wraps.

    Raises:
        Problem: it may not.
    """
    if not may_send(role, command):
        raise Problem(FORBIDDEN)


def require_allowed(role: Role, operation: str) -> None:
    """The role may call the operation.

    Raises:
        Problem: it may not.
    """
    if not is_allowed(role, operation):
        raise Problem(FORBIDDEN)
