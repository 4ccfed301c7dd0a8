"""The events of a log: their names and versions, and every field of those that move money.

What is not in here is a doubt: a field that this verifier does not know could mean anything.
"""

from collections.abc import Mapping
from types import MappingProxyType

VERSIONS: Mapping[str, frozenset[int]] = MappingProxyType(
    dict.fromkeys(
        (
            "AccountClosed",
            "AccountHolderLinked",
            "AccountHolderUnlinked",
            "AccountOpened",
            "AccountReopened",
            "ApprovalCompleted",
            "ApprovalFailed",
            "ApprovalGiven",
            "ApprovalPolicySet",
            "ApprovalRejected",
            "ApprovalRequested",
            "ApprovalWithdrawn",
            "BankStatementImported",
            "BlockLifted",
            "BlockPlaced",
            "CommandRefused",
            "CustomerErased",
            "CustomerProfileChanged",
            "CustomerRegistered",
            "GroupCreated",
            "GroupLimitSet",
            "GroupMemberAdded",
            "GroupMemberRemoved",
            "HoldPlaced",
            "HoldReleased",
            "JournalEntryPosted",
            "LimitChangeScheduled",
            "LimitSet",
            "NothingChanged",
            "PeriodClosed",
            "PeriodReopened",
            "RiskRuleSet",
            "RoleRetired",
            "RoleSet",
            "StandingOrderCancelled",
            "StandingOrderChanged",
            "StandingOrderCreated",
            "StandingOrderRan",
            "StandingOrderRunRefused",
            "TemplateDefined",
            "TemplateRetired",
            "UnitRegistered",
        ),
        frozenset({1}),
    )
)
"""The events that there are, with the versions whose meaning is known here."""

FIELDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "AccountOpened": frozenset(
            [
                "account_type",
                "currency",
                "scale",
                "account_id",
                "limit_minor",
                "code",
                "name",
                "customer_id",
                "metadata",
                "ceiling_minor",
            ]
        ),
        "JournalEntryPosted": frozenset(
            [
                "kind",
                "postings",
                "value_date",
                "entry_id",
                "reference",
                "description",
                "metadata",
                "channel",
                "reverses",
                "forced",
                "on_original_date",
                "code",
                "hold_id",
                "freed_minor",
                "original_value_date",
                "rate",
                "template",
                "asked",
            ]
        ),
        "HoldPlaced": frozenset(
            [
                "debit_account_id",
                "credit_account_id",
                "amount_minor",
                "currency",
                "hold_id",
                "expires_at",
                "multi_capture",
                "reference",
                "description",
                "metadata",
                "code",
                "forced",
                "asked",
            ]
        ),
        "HoldReleased": frozenset(
            [
                "hold_id",
                "debit_account_id",
                "credit_account_id",
                "amount_minor",
                "currency",
                "cause",
                "due_at",
                "reason",
                "asked",
            ]
        ),
    }
)
"""Every field of the events that open accounts, or move or reserve money."""

POSTING_FIELDS = frozenset({"account_id", "side", "amount_minor", "currency"})
KINDS = frozenset(
    [
        "deposit",
        "withdrawal",
        "transfer",
        "journal",
        "reversal",
        "capture",
        "allocation",
        "template",
        "exchange",
    ]
)
CAUSES = frozenset({"voided", "expired", "captured"})
ACCOUNT_TYPES = frozenset({"asset", "liability", "equity", "income", "expense"})
