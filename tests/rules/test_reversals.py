"""Reversals: the mirror of an entry, once, within limits unless forced."""

from datetime import date

import pytest
from tests.rules.harness import Given, deposited, given, opened, transfer
from tests.strategies import START

from ledger_core.account_terms import CloseAccount
from ledger_core.blocks import FreezeAccount
from ledger_core.errors import (
    AccountIsBlocked,
    AccountIsClosed,
    AlreadyReversed,
    EntryExists,
    EntryNotFound,
    InsufficientFunds,
    NotReversible,
    ValidationFailed,
)
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.reversals import ReverseEntry

PAID = (
    opened("A"),
    opened("B"),
    deposited("A", 100),
    transfer("A", "B", 40, entry_id="rent", value_date=date(2026, 1, 31)),
)


def reverse(original: str = "rent", **fields: object) -> ReverseEntry:
    """Reverse an entry."""
    return ReverseEntry(reverses=original, **fields)  # type: ignore[arg-type]


def test_a_reversal_mirrors_every_leg() -> None:
    """A new entry with the sides exchanged, today; both stay in the sums."""
    books = (
        given(*PAID)
        .when(reverse(description="paid twice"))
        .then(
            JournalEntryPosted(
                "reversal",
                (Posting("A", "credit", 40, "EUR"), Posting("B", "debit", 40, "EUR")),
                description="paid twice",
                reverses="rent",
            )
        )
    )
    account = books.accounts["A"]
    assert (account.debits_posted_minor, account.credits_posted_minor) == (40, 140)


@pytest.mark.parametrize(
    ("entry_id", "expected"), [("rent", date(2026, 1, 31)), ("jrn_4", START.date())]
)
def test_it_counts_from_the_originals_value_date_if_asked(entry_id: str, expected: date) -> None:
    """The date that was given to the original, or else the day on which it was recorded."""
    answer = given(*PAID).when(reverse(entry_id, on_original_date=True, force=True))
    event = answer.events[0]
    assert isinstance(event, JournalEntryPosted)
    assert (event.value_date, event.on_original_date) == (expected, True)


def test_it_counts_from_a_date_of_its_own() -> None:
    """A value date that was asked for is kept, but not together with the original's."""
    day = date(2026, 2, 2)
    event = given(*PAID).when(reverse(value_date=day)).events[0]
    assert isinstance(event, JournalEntryPosted)
    assert event.value_date == day
    given(*PAID).when(reverse(value_date=day, on_original_date=True)).then_refuses(
        ValidationFailed, field="value_date"
    )


def test_an_entry_is_reversed_once() -> None:
    """The second time says which entry; a reversal is not reversed."""
    given(*PAID, reverse(entry_id="back")).when(reverse()).then_refuses(AlreadyReversed, position=5)
    given(*PAID, reverse(entry_id="back")).when(reverse("back")).then_refuses(
        NotReversible, position=6
    )


def test_only_what_is_there_is_reversed() -> None:
    """Ids of nothing, and of events that are no entries."""
    for entry_id in ("nothing", "jrn_99", "jrn_1"):
        given(*PAID).when(reverse(entry_id)).then_refuses(EntryNotFound, field="reverses")


def test_limits_hold_unless_forced() -> None:
    """Money that moved on is not taken back below the limit, except by force."""
    spent = (*PAID, opened("C"), transfer("B", "C", 1))
    given(*spent).when(reverse()).then_refuses(
        InsufficientFunds, account_id="B", available_minor="39", needed_minor="40"
    )
    answer = given(*spent).when(reverse(force=True))
    assert answer.books.accounts["B"].posted_minor == -1
    event = answer.events[0]
    assert isinstance(event, JournalEntryPosted)
    assert event.forced


@pytest.mark.parametrize("force", [False, True])
def test_force_passes_neither_blocks_nor_closure(*, force: bool) -> None:
    """Only the limits can be forced."""
    frozen = (*PAID, FreezeAccount(account_id="B", cause="court", effect="debit"))
    given(*frozen).when(reverse(force=force)).then_refuses(AccountIsBlocked, account_id="B")
    closed = (*PAID, transfer("B", "A", 40), CloseAccount(account_id="B"))
    given(*closed).when(reverse(force=force)).then_refuses(AccountIsClosed, account_id="B")


def test_a_chosen_id_must_be_free() -> None:
    """The reversal is an entry like others."""
    books = given(*PAID).books
    Given(books).when(reverse(entry_id="rent")).then_refuses(EntryExists, position=5)
