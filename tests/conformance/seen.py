"""What the adapter saw of this ledger: one type a form of answer, in this ledger's own words."""

from typing import Any

import msgspec

Vector = tuple[int, int, int, int]
"""Debits held, debits posted, credits held, credits posted: minor units."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one command, or of one thing done to the ledger.

    ``status`` is ``recorded``, ``replayed``, ``unchanged``, ``refused`` or ``done``; a refusal has
    its ``code`` and the ``fields`` it names. ``amount`` is what was moved or held, in minor units.
    ``words`` are further names for what happened, such as ``completed``.
    """

    status: str
    code: str = ""
    fields: tuple[str, ...] = ()
    amount: int | None = None
    words: tuple[str, ...] = ()
    detail: str = ""


class Counts(msgspec.Struct, frozen=True):
    """How often each answer was given, by its word here."""

    by_word: dict[str, int]


class Vectors(msgspec.Struct, frozen=True):
    """The four sums of every account."""

    by_account: dict[str, Vector]


class Nets(msgspec.Struct, frozen=True):
    """Credits less debits, by account or by unit."""

    by_name: dict[str, int]


class Rows(msgspec.Struct, frozen=True):
    """Lines of a listing, each with the same columns; one column alone is a list of its values."""

    names: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Happenings(msgspec.Struct, frozen=True):
    """What happened, one after another; what is said of each."""

    items: tuple[dict[str, Any], ...]


class Trial(msgspec.Struct, frozen=True):
    """A trial balance: each account's net, and the totals (debits, credits) that may be meant.

    ``totals`` has everything posted and the balances by side, with and without the account that
    the adapter's own openings went against.
    """

    by_account: dict[str, int]
    totals: tuple[dict[str, tuple[int, int]], ...]


class Replay(msgspec.Struct, frozen=True):
    """A view made again from the log: whether it was the same, and the balances it then had."""

    answer: Answer
    balances: Vectors


Seen = Answer | list[Answer] | Counts | Vectors | Nets | Rows | Happenings | Trial | Replay | None
