"""Every reason for which the ledger says no, as one tree split by what the caller can do.

``RuleViolation``: do not retry, the request breaks a rule. ``Conflict``: the request met other
facts than it assumed; another attempt may succeed. ``NotFound``: what it names does not exist.
Leaves are facts: they carry a stable ``code`` and the values that were seen, and never echo free
text of the caller's. This module knows nothing of HTTP.
"""

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping


class LedgerError(Exception):
    """Root of the tree: a refusal with a stable code, a sentence and the values seen."""

    code: ClassVar[str] = "ledger_error"
    sentence: ClassVar[str] = "The ledger refused the request."

    def __init__(self, **seen: object) -> None:
        """Keep what was seen; it is shown to the caller, so it holds no free text."""
        super().__init__(self.code)
        self.seen: Mapping[str, object] = seen

    def __str__(self) -> str:
        """Say the sentence and the figures behind it."""
        figures = ", ".join(f"{name}={value}" for name, value in self.seen.items())
        return f"{self.sentence} ({figures})" if figures else self.sentence


class RuleViolation(LedgerError):  # noqa: N818 - a refusal is a fact
    """The request breaks a rule: retrying it unchanged cannot help."""


class Conflict(LedgerError):  # noqa: N818 - a refusal is a fact
    """The request met other facts than it assumed: another attempt may succeed."""


class NotFound(LedgerError):  # noqa: N818 - a refusal is a fact
    """The request names something that does not exist in this ledger."""


class ValidationFailed(RuleViolation):
    """A field is malformed: ``field`` names it, ``rule`` says what it must be."""

    code = "validation_error"
    sentence = "A field does not have the form that it must have."

    def __init__(self, field: str, rule: str) -> None:
        """Name the field and the rule; the offending value is not repeated."""
        super().__init__(field=field, rule=rule)
        self.field = field
        self.rule = rule


class UnknownCurrency(RuleViolation):
    """The currency is neither in ISO 4217 nor registered as a unit of this ledger."""

    code = "unknown_currency"
    sentence = "The currency is neither in ISO 4217 nor a registered unit of this ledger."


class SameAccount(RuleViolation):
    """A transfer names one account on both sides."""

    code = "same_account"
    sentence = "Debit and credit account must differ."


class CurrencyMismatch(RuleViolation):
    """An account is kept in another currency than the posting."""

    code = "currency_mismatch"
    sentence = "The account is kept in another currency."


class Unbalanced(RuleViolation):
    """Debits and credits of an entry differ in some currency."""

    code = "unbalanced"
    sentence = "Debits and credits of the entry must be equal in every currency."


class InsufficientFunds(RuleViolation):
    """The movement would take the account below its limit."""

    code = "insufficient_funds"
    sentence = "The available balance does not cover the movement."


class AccountIsClosed(RuleViolation):
    """The account is closed and takes no postings or changes."""

    code = "account_closed"
    sentence = "The account is closed."


class AccountIsBlocked(RuleViolation):
    """A block on the account forbids this side of the entry."""

    code = "account_blocked"
    sentence = "A block on the account forbids this side of the entry."


class AccountNotEmpty(RuleViolation):
    """An account closes only at zero and with no open hold."""

    code = "account_not_empty"
    sentence = "An account closes only at a balance of zero and with no open hold."


class AccountNotClosed(RuleViolation):
    """Only a closed account can be reopened."""

    code = "account_not_closed"
    sentence = "Only a closed account can be reopened."


class BlockNotFound(NotFound):
    """The account has no block with that cause."""

    code = "block_not_found"
    sentence = "The account has no block with that cause."


class LinkNotFound(NotFound):
    """The customer is not linked to the account."""

    code = "link_not_found"
    sentence = "The customer is not linked to the account."


class AlreadyReversed(RuleViolation):
    """The entry was reversed before; an entry is reversed at most once."""

    code = "already_reversed"
    sentence = "The entry has been reversed already."


class NotReversible(RuleViolation):
    """The entry is itself a reversal, or is not a settled journal entry."""

    code = "not_reversible"
    sentence = "Only a settled entry that is not itself a reversal can be reversed."


class CustomerErasedAlready(RuleViolation):
    """The customer's key was destroyed; the person can no longer be written to."""

    code = "customer_erased"
    sentence = "The customer's personal data has been erased."


class LimitExceeded(RuleViolation):
    """The movement would take the account or group above its ceiling."""

    code = "limit_exceeded"
    sentence = "The movement would take the balance beyond its limit."


class PeriodIsClosed(RuleViolation):
    """The value date lies in a closed period, and the ledger refuses late postings."""

    code = "period_closed"
    sentence = "The value date lies in a closed period."


class VersionConflict(RuleViolation):
    """An account has another version than the caller assumed."""

    code = "version_conflict"
    sentence = "The account has changed since the version that the caller assumed."


class ConditionFailed(RuleViolation):
    """A balance would not be as the caller demanded."""

    code = "condition_failed"
    sentence = "A balance would not meet the condition that the caller set."


class NotAHold(RuleViolation):
    """The id names a journal entry, not a hold."""

    code = "not_a_hold"
    sentence = "The id names a journal entry, not a hold."


class HoldMismatch(RuleViolation):
    """What the caller says of the hold is not what it is."""

    code = "hold_mismatch"
    sentence = "The hold is not as the request says."


class ExceedsHold(RuleViolation):
    """More was asked for than the hold still holds."""

    code = "exceeds_hold"
    sentence = "More was asked for than the hold still holds."


class HoldAlreadyCaptured(RuleViolation):
    """The hold was captured; it resolves once."""

    code = "hold_already_captured"
    sentence = "The hold has been captured already."


class HoldAlreadyVoided(RuleViolation):
    """The hold was voided; it resolves once."""

    code = "hold_already_voided"
    sentence = "The hold has been voided already."


class HoldHasExpired(RuleViolation):
    """The hold expired at its due time."""

    code = "hold_expired"
    sentence = "The hold has expired."


class KycNotCleared(RuleViolation):
    """The customer's identity is not cleared, so no account is opened."""

    code = "kyc_not_cleared"
    sentence = "The customer's identification is not cleared."


class OrderEnded(RuleViolation):
    """The standing order is cancelled or has run for the last time."""

    code = "order_ended"
    sentence = "The standing order is cancelled or has run for the last time."


class ApprovalNeeded(RuleViolation):
    """A command of an atomic batch would have to wait for approval, so it is not all or nothing."""

    code = "approval_needed"
    sentence = "The command needs approval, which cannot be waited for in an atomic batch."


class MakerCannotApprove(RuleViolation):
    """Who made a request may withdraw it, but not approve it."""

    code = "maker_cannot_approve"
    sentence = "Whoever made the request may not approve it."


class AlreadyVoted(RuleViolation):
    """The person has voted on the request; a person has one vote."""

    code = "already_voted"
    sentence = "This person has voted on the request already."


class NotPermitted(RuleViolation):
    """The person holds none of the permissions that the request needs."""

    code = "not_permitted"
    sentence = "The person holds none of the permissions that are needed."


class AmountAboveAuthority(RuleViolation):
    """The caller's roles do not allow that much to be moved by one command."""

    code = "amount_above_authority"
    sentence = "Your roles do not allow that much to be moved by one command."


class AlreadyCompleted(RuleViolation):
    """The request was approved by all who had to, and its command has run."""

    code = "already_completed"
    sentence = "The request is completed already."


class AlreadyRejected(RuleViolation):
    """The request was rejected."""

    code = "already_rejected"
    sentence = "The request has been rejected already."


class AlreadyWithdrawn(RuleViolation):
    """The request was withdrawn by its maker."""

    code = "already_withdrawn"
    sentence = "The request has been withdrawn already."


class RateMissing(RuleViolation):
    """A report in another currency needs a rate that was not given."""

    code = "rate_missing"
    sentence = "A rate that the report needs was not given."


class AccountExists(Conflict):
    """Another account has that id."""

    code = "account_exists"
    sentence = "An account with that id exists already, with other content."


class CustomerExists(Conflict):
    """Another customer has that id."""

    code = "customer_exists"
    sentence = "A customer with that id exists already, with other content."


class UnitExists(Conflict):
    """A unit with that code exists with another scale."""

    code = "unit_exists"
    sentence = "A unit with that code exists already, with another scale."


class EntryExists(Conflict):
    """Another journal entry has that id."""

    code = "entry_exists"
    sentence = "A journal entry with that id exists already."


class HoldExists(Conflict):
    """Another hold has that id."""

    code = "hold_exists"
    sentence = "A hold with that id exists already, with other content."


class GroupExists(Conflict):
    """Another group has that id."""

    code = "group_exists"
    sentence = "A group with that id exists already, with other content."


class OrderExists(Conflict):
    """Another standing order has that id."""

    code = "order_exists"
    sentence = "A standing order with that id exists already, with other content."


class ApprovalExists(Conflict):
    """Another approval request has that id."""

    code = "approval_exists"
    sentence = "An approval request with that id exists already, with other content."


class ReferenceConflict(Conflict):
    """The business reference is taken by another entry of this ledger."""

    code = "reference_conflict"
    sentence = "The business reference is taken by another entry of this ledger."


class IdempotencyConflict(RuleViolation):
    """The key was used before for a command with other content."""

    code = "idempotency_conflict"
    sentence = "The idempotency key was used before for a command with other content."


class BatchFailed(RuleViolation):
    """Another item of the same atomic batch failed; nothing of the batch was kept."""

    code = "batch_failed"
    sentence = "Another item of the same atomic batch was refused, so nothing was kept."


class RepeatedInBatch(RuleViolation):
    """Two items of one atomic batch are the same command: one key or chosen id, twice."""

    code = "repeated_in_batch"
    sentence = "An earlier item of the same atomic batch has this key or id."


class NotAttempted(RuleViolation):
    """An earlier item of the batch was refused and the batch stops on the first refusal."""

    code = "not_attempted"
    sentence = "An earlier item of the batch was refused, so this one was not attempted."


class AccountNotFound(NotFound):
    """No such account in this ledger."""

    code = "account_not_found"
    sentence = "There is no such account in this ledger."


class CustomerNotFound(NotFound):
    """No such customer in this ledger."""

    code = "customer_not_found"
    sentence = "There is no such customer in this ledger."


class EntryNotFound(NotFound):
    """No such journal entry in this ledger."""

    code = "entry_not_found"
    sentence = "There is no such journal entry in this ledger."


class HoldNotFound(NotFound):
    """No such hold in this ledger."""

    code = "hold_not_found"
    sentence = "There is no such hold in this ledger."


class TemplateNotFound(NotFound):
    """No such posting template in this ledger."""

    code = "template_not_found"
    sentence = "There is no such posting template in this ledger."


class GroupNotFound(NotFound):
    """No such account group in this ledger."""

    code = "group_not_found"
    sentence = "There is no such account group in this ledger."


class OrderNotFound(NotFound):
    """No such standing order in this ledger."""

    code = "order_not_found"
    sentence = "There is no such standing order in this ledger."


class RoleNotFound(NotFound):
    """No such role in this ledger."""

    code = "role_not_found"
    sentence = "There is no such role in this ledger."


class PolicyNotFound(NotFound):
    """No such approval policy in this ledger."""

    code = "policy_not_found"
    sentence = "There is no such approval policy in this ledger."


class ApprovalNotFound(NotFound):
    """No such approval request in this ledger."""

    code = "approval_not_found"
    sentence = "There is no such approval request in this ledger."


class FlagNotFound(NotFound):
    """No risk flag has that id."""

    code = "flag_not_found"
    sentence = "There is no such risk flag in this ledger."


class RefusalNotFound(NotFound):
    """No refusal was recorded there, or under that key."""

    code = "refusal_not_found"
    sentence = "No refusal is recorded there in this ledger."


class LedgerNotFound(NotFound):
    """No ledger has that name."""

    code = "ledger_not_found"
    sentence = "There is no ledger with that name."


class LedgerBusy(Conflict):
    """The ledger cannot take the command now: queue full or snapshots too far behind."""

    code = "ledger_busy"
    sentence = "The ledger is too busy to take the command now."


def leaves() -> tuple[type[LedgerError], ...]:
    """Every concrete refusal, for the tables that must cover them all."""
    branches = (RuleViolation, Conflict, NotFound)
    return tuple(leaf for branch in branches for leaf in branch.__subclasses__())
