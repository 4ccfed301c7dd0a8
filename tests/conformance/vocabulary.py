"""The cases' words and this ledger's: one table each for refusals, fields and kinds of event.

Nothing here knows a case. A word that no table has stands for itself.
"""

from collections.abc import Iterable

from ledger_core.money import AMOUNT_DIGITS_MAX

AMOUNT_MAX = 10**AMOUNT_DIGITS_MAX - 1
"""What ``max`` stands for: the largest amount that the documentation allows."""

# A case's refusal -> the codes that say the same here, beside the word itself.
_REFUSALS: dict[str, frozenset[str]] = {
    "insufficient_funds": frozenset({"limit_exceeded"}),
    "limit_exceeded": frozenset({"insufficient_funds"}),
    # A bad field has a more exact code here; so has a key that comes back with other content.
    "validation_error": frozenset(
        {
            "unknown_currency",
            "idempotency_conflict",
            "idempotency_key_required",
            "idempotency_key_mismatch",
            "malformed_json",
            "duplicate_member",
            "body_too_large",
        }
    ),
    "in_progress": frozenset({"ledger_busy", "idempotency_in_progress", "key_in_flight"}),
    # Within one atomic group, a repetition is that item's fault.
    "replayed": frozenset({"repeated_in_batch"}),
    "transfer_not_found": frozenset({"entry_not_found"}),
}
_CONFLICTS = frozenset({"idempotency_conflict", "reference_conflict"})

# A field that a case names -> the fields that this ledger's refusal may name instead.
_KIND = (
    "type account_type limit ceiling balancing multi_capture force kind on_original_date hold_id"
    " reverses"
)
_FIELDS: dict[str, str] = {
    "kind": _KIND,
    "flags": _KIND,
    "type": _KIND,
    "pending": "type",
    "limit": "limit ceiling account_type",
    "overdraft": "limit account_type",
    "bounds": "limit ceiling",
    "amount": "amount postings",
    "amt": "amount postings",
    "dr": "debit_account_id postings account_id",
    "debit_account": "debit_account_id postings account_id",
    "debit_account_id": "debit_account_id postings",
    "source": "debit_account_id postings sources",
    "cr": "credit_account_id postings account_id",
    "credit_account": "credit_account_id postings account_id",
    "credit_account_id": "credit_account_id postings",
    "destination": "credit_account_id postings destinations",
    "accounts": "debit_account_id credit_account_id postings",
    "account": "account_id debit_account_id credit_account_id",
    "legs": "postings",
    "entries": "postings",
    "postings": "postings debit_account_id credit_account_id amount",
    "currency": "currency postings",
    "unit": "currency postings",
    "book": "currency postings",
    "ledger": "currency postings",
    "asset": "currency postings",
    "code": "code",
    "metadata": "metadata",
    "attrs": "metadata",
    "user_data": "metadata",
    "timeout": "timeout_s expires_at",
    "timeout_s": "timeout_s expires_at",
    "expires_at": "timeout_s expires_at",
    "reference": "reference",
    "ref": "reference",
    "description": "description",
    "effective": "value_date on_original_date",
    "effective_h": "value_date on_original_date",
    "effective_at": "value_date on_original_date",
    "timestamp": "value_date",
    "value_date": "value_date on_original_date",
    "of": "hold_id reverses",
    "hold": "hold_id",
    "pending_id": "hold_id",
    "id": "entry_id hold_id account_id",
    "balancing": "balancing type",
    "force": "force",
    "at_effective": "on_original_date",
    "if_version": "if_version",
    "if_balance": "if_balance",
    "multi_capture": "multi_capture",
    "kyc": "profile changes",
}

# What happened, in the cases' words -> one word.
_EVENTS: dict[str, str] = {
    word: kind
    for kind, words in {
        "posted": "created single_phase entry entry_posted journal_entry_posted committed transfer"
        " committed_transaction committed_transactions new_transaction posting",
        "pending": "hold held hold_placed hold_created two_phase_pending inflight",
        "captured": "capture hold_captured two_phase_posted",
        "voided": "void hold_voided two_phase_voided released hold_released",
        "expired": "expire expiry hold_expired two_phase_expired",
        "reversed": "reverse reversal reverted reverted_transaction entry_reversed",
        "opened": "open account_opened account_created",
    }.items()
    for word in (kind, *words.split())
}

_DEBITS = frozenset({"debits", "debit", "dr", "total_debits", "debits_posted", "total_debit"})
_CREDITS = frozenset({"credits", "credit", "cr", "total_credits", "credits_posted", "total_credit"})


def says_same(word: str, code: str) -> bool:
    """Whether a refusal's code is what the case's word means."""
    if word == code or code in _REFUSALS.get(word, ()):
        return True
    if word == "not_found":
        return code.endswith("_not_found")
    if word == "conflict":
        return is_conflict(code)
    return word in {"refused", "rejected_by_rule", "error", "failed"}


def is_conflict(code: str) -> bool:
    """Whether a refusal says that the same id or key stands for other content."""
    return code in _CONFLICTS or code.endswith("_exists")


def fields_meant(field: str) -> frozenset[str]:
    """The fields of this ledger that a case may mean by a field's name."""
    return frozenset({field, *_FIELDS.get(field, "").split()})


def event_kind(word: str) -> str:
    """The one word for what a case calls an event."""
    return _EVENTS.get(word.lower(), word.lower())


def alternatives(word: str) -> tuple[str, ...]:
    """The answers that ``one_or_other`` leaves open."""
    return tuple(word.split("_or_"))


def totals_side(word: str) -> str | None:
    """Whether a member of a total is its debits or its credits."""
    if word in _DEBITS:
        return "debits"
    return "credits" if word in _CREDITS else None


def amount_text(amount: object) -> str | None:
    """An amount as a command writes it; ``max`` and ``max-5`` are reckoned from ``AMOUNT_MAX``."""
    if amount is None:
        return None
    text = str(amount)
    if text == "all" or not text.startswith("max"):
        return text
    return str(AMOUNT_MAX + int(text.removeprefix("max").replace(" ", "") or 0))


def figure(value: object) -> object:
    """A figure of an expectation: ``max`` and ``max-5`` as their numbers."""
    if isinstance(value, str) and value.startswith("max"):
        digits = amount_text(value)
        return None if digits is None else int(digits)
    return value


def figures(values: Iterable[object]) -> list[object]:
    """Figures of an expectation."""
    return [figure(value) for value in values]
