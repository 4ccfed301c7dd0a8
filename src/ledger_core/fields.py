"""The form of every field that a caller fills in: one rule a kind of field, named when broken.

Limits are documented bounds, not tuning: an id fits in an index entry, a description on a
statement line, metadata in a page.
"""

import re

from ledger_core.errors import ValidationFailed

ID_CHARACTERS_MAX = 200
KEY_CHARACTERS_MAX = 255
TEXT_CHARACTERS_MAX = 500
METADATA_ENTRIES_MAX = 20
METADATA_KEY_CHARACTERS_MAX = 40

# Control characters, surrogates, line and paragraph separators, bidirectional overrides, and what
# shows nothing at all (soft hyphen, fillers, noncharacters): none can be typed on purpose, all can
# make a statement line lie, or one id look like another.
_UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    r"\u00ad\u115f\u1160\u180e\u200b\u200e\u200f\u2060-\u2064\u3164\ufdd0-\ufdef\ufeff\ufffe\uffff"
)
_FORBIDDEN = re.compile(f"[{_UNSEEN}]")
# Names in Persian and Indic scripts need the joiners; ids do without.
_FORBIDDEN_IN_IDS = re.compile(f"[{_UNSEEN}\u200c\u200d]")
_POSITION = re.compile(r"[1-9][0-9]{0,17}")
_SIMPLE = re.compile(r"[A-Za-z0-9._:\-]+")
_DOTS = frozenset({".", ".."})
"""Steps in a path, not names: a client takes them out of a URL before it asks."""

# Ids that the ledger derives from a position; a caller may not choose one of that form.
ENTRY_PREFIX = "jrn_"
ACCOUNT_PREFIX = "acc_"
CUSTOMER_PREFIX = "cus_"
HOLD_PREFIX = "hld_"
GROUP_PREFIX = "grp_"
ORDER_PREFIX = "ord_"
APPROVAL_PREFIX = "apr_"
# Accounts of the bank that the ledger opens itself.
SYSTEM_PREFIX = "bank:"


def is_key(key: str) -> bool:
    """Whether this can be an idempotency key: 1 to 255 printable ASCII characters, no blanks."""
    return (
        key.isascii()
        and key.isprintable()
        and " " not in key
        and 0 < len(key) <= KEY_CHARACTERS_MAX
    )


def require_key(key: str) -> None:
    """An idempotency key: 1 to 255 printable ASCII characters without blanks.

    Raises:
        ValidationFailed: any other form.
    """
    if not is_key(key):
        raise ValidationFailed("key", "1 to 255 printable ASCII characters without blanks")


def require_id(value: str, *, field: str) -> None:
    """An id that names something that should exist: 1 to 200 characters, all of them visible.

    Raises:
        ValidationFailed: any other form.
    """
    if value in _DOTS:
        raise ValidationFailed(field, "an id other than . and ..")
    if len(value) <= ID_CHARACTERS_MAX and _SIMPLE.fullmatch(value) is not None:
        return
    if (
        not 1 <= len(value) <= ID_CHARACTERS_MAX
        or value != value.strip()
        or _FORBIDDEN_IN_IDS.search(value)
    ):
        raise ValidationFailed(
            field,
            f"1 to {ID_CHARACTERS_MAX} characters, no control or invisible characters,"
            " no outer blanks",
        )


def require_new_id(value: str | None, *, field: str, prefix: str) -> None:
    """An id chosen by the caller for something new: not of the form the ledger uses itself.

    Raises:
        ValidationFailed: malformed, or reserved.
    """
    if value is None:
        return
    require_id(value, field=field)
    if value.startswith((prefix, SYSTEM_PREFIX)):
        raise ValidationFailed(field, f"an id may not start with {prefix} or {SYSTEM_PREFIX}")


def can_exist(name: str) -> bool:
    """Whether something can have that name: PostgreSQL itself takes no NUL and no surrogate."""
    return _FORBIDDEN.search(name) is None


def require_text(value: str | None, *, field: str) -> None:
    """Free text on one line: at most 500 characters, none of them control or invisible.

    Raises:
        ValidationFailed: too long, empty or blank, or with such characters.
    """
    if value is None:
        return
    if len(value) > TEXT_CHARACTERS_MAX or _is_unfit(value):
        raise ValidationFailed(
            field,
            f"1 to {TEXT_CHARACTERS_MAX} characters, not only blanks,"
            " no control or invisible characters",
        )


def require_metadata(metadata: dict[str, str] | None) -> None:
    """At most 20 short names with one-line values.

    Raises:
        ValidationFailed: too many, or a malformed name or value.
    """
    if metadata is None:
        return
    if len(metadata) > METADATA_ENTRIES_MAX:
        raise ValidationFailed("metadata", f"at most {METADATA_ENTRIES_MAX} entries")
    for name, value in metadata.items():
        if len(name) > METADATA_KEY_CHARACTERS_MAX or _is_unfit(name):
            raise ValidationFailed(
                "metadata", f"names of 1 to {METADATA_KEY_CHARACTERS_MAX} plain characters"
            )
        require_text(value, field="metadata")


def _is_unfit(text: str) -> bool:
    """Whether the text shows nothing, or holds what is forbidden everywhere."""
    return not text.strip() or _FORBIDDEN.search(text) is not None


def position_of(identifier: str, prefix: str) -> int | None:
    """The position behind an id that the ledger derived from it, or ``None``."""
    digits = identifier.removeprefix(prefix)
    if digits == identifier or _POSITION.fullmatch(digits) is None:
        return None
    return int(digits)
