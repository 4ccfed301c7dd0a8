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
