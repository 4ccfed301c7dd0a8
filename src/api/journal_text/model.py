"""What a plain-text journal says once it is read: balanced entries of exact decimal amounts."""

from datetime import date
from decimal import Decimal
from typing import Literal

import msgspec

State = Literal["", "!", "*"]

CONVERSION_ACCOUNT = "Import:Conversion"
"""Position account that takes what one commodity gives for another, and what rounding leaves.

It holds every commodity, one line each. ``Import`` is reserved: a journal with an account of its
own in it is refused.
"""

RESERVED_ROOT = "Import"

TEXT_LENGTH_MAX = 16 * 1024 * 1024
"""Characters in one journal, includes counted: some 150,000 entries."""

LINE_LENGTH_MAX = 4096
"""Characters in one line, the limit ledger itself had."""

NAME_LENGTH_MAX = 512
"""Characters in one account or commodity name."""

POSTINGS_MAX = 10_000
"""Postings in one entry."""

EXPRESSION_DEPTH_MAX = 32
"""Parentheses within each other in one amount expression."""

AMOUNT_DIGITS_MAX = 60
"""Digits in one amount after computing, decimals included."""

INCLUDE_DEPTH_MAX = 16
"""Files including each other."""


class JournalRefused(ValueError):  # noqa: N818 - a refusal, named as the ledger's refusals are.
    """A journal that cannot be read exactly, so nothing of it may be imported.

    ``line`` counts from 1 in the text given; what an included file holds is refused at the line
    that includes it. ``reason`` names accounts and commodities at most, never a payee or a note.
    """

    def __init__(self, *, line: int, reason: str) -> None:
        self.line = line
        self.reason = reason
        super().__init__(f"line {line}: {reason}")


class UnreadableError(Exception):
    """A reason to refuse, raised where the line is not known; never leaves this package."""


class JournalPosting(msgspec.Struct, frozen=True):
    """One leg of an entry: a signed amount, debit positive, never zero.

    ``commodity`` is empty for a bare number. ``virtual`` marks legs that the journal itself keeps
    outside its books; ``conversion`` marks legs on this importer's own position account.
    """

    account: str
    amount: Decimal
    commodity: str
    virtual: bool = False
    conversion: bool = False


class JournalEntry(msgspec.Struct, frozen=True):
    """One entry as it is to be booked: at least two postings, each commodity summing to zero.

    ``value_date`` is the entry's auxiliary date, else its booking date; dates of single postings
    are not kept. ``virtual_postings`` are what the journal noted in ``(…)`` or ``[…]`` beside the
    books: not part of any balance, not to be booked, kept for whoever wants to see them.
    """

    line: int
    booking_date: date
    value_date: date
    state: State
    code: str | None
    payee: str
    postings: tuple[JournalPosting, ...]
    virtual_postings: tuple[JournalPosting, ...] = ()


class Journal(msgspec.Struct, frozen=True):
    """A whole journal in the order of its text.

    ``commodities`` gives for each commodity in ``postings`` the number of decimals that hold all
    its amounts as integers.
    """

    entries: tuple[JournalEntry, ...]
    commodities: dict[str, int]
