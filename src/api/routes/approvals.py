"""Routes of approvals: ask for one, vote, withdraw; and the policies that demand them."""

from api.command_routes import CommandRoute
from ledger_core.approval_policies import ApprovalPolicySet, SetApprovalPolicy
from ledger_core.approvals import (
    ApprovalCompleted,
    ApprovalFailed,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
    ApproveRequest,
    RejectRequest,
    WithdrawRequest,
)
from ledger_core.commands import RequestApproval

COMMANDS = (
    CommandRoute(
        path="/v1/approvals",
        command=RequestApproval,
        event=ApprovalRequested,
        summary="Let a command wait until others approve it",
        example={
            "request_id": "move-office",
            "approvers": ["ops", "risk"],
            "command": {
                "type": "transfer",
                "debit_account_id": "anna-current",
                "credit_account_id": "ben-current",
                "amount": "500000",
                "currency": "EUR",
            },
        },
    ),
    CommandRoute(
        path="/v1/approvals/{request_id}/approve",
        command=ApproveRequest,
        event=ApprovalGiven,
        other_events=(ApprovalCompleted, ApprovalFailed),
        path_field="request_id",
        summary="Approve what somebody else asked for; the last approval runs the command",
        example={},
    ),
    CommandRoute(
        path="/v1/approvals/{request_id}/reject",
        command=RejectRequest,
        event=ApprovalRejected,
        path_field="request_id",
        summary="Reject a request for good",
        example={"reason": "Wrong payee"},
    ),
    CommandRoute(
        path="/v1/approvals/{request_id}/withdraw",
        command=WithdrawRequest,
        event=ApprovalWithdrawn,
        path_field="request_id",
        summary="Withdraw one's own request",
        example={"reason": "No longer needed"},
    ),
    CommandRoute(
        path="/v1/approval-policies",
        command=SetApprovalPolicy,
        event=ApprovalPolicySet,
        summary="Let commands of some types wait for approval, from now on",
        example={
            "policy_id": "large-payments",
            "commands": ["transfer", "withdraw"],
            "approvers": ["ops", "risk"],
            "currency": "EUR",
            "above": "1000000",
        },
    ),
)
