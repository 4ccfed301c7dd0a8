"""General journal entries: balance, net effect, and the bounds of an entry."""

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened, with_field
from tests.strategies import balanced_postings

from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import (
    AccountNotFound,
    CurrencyMismatch,
    EntryExists,
    InsufficientFunds,
    Unbalanced,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.journal import (
    POSTINGS_MAX,
    JournalEntryPosted,
    Posting,
    Side,
    mirrored,
    require_balanced,
)


def line(account_id: str, side: Side, amount_minor: int, currency: str = "EUR") -> PostingLine:
    """One leg as a caller writes it."""
    return PostingLine(
        account_id=account_id, side=side, amount=str(amount_minor), currency=currency
    )


def entry(*lines: PostingLine, **fields: str) -> PostEntry:
    """A journal entry of these legs."""
    return PostEntry(postings=lines, **fields)  # type: ignore[arg-type]


def bank() -> Given:
    """A with 100 and a limit of nothing, two accounts without limits, one in yen."""
    return given(
        opened("A"),
        opened("income", account_type="income"),
        opened("cash", account_type="asset"),
        opened("yen", account_type="asset", currency="JPY"),
        deposited("A", 100),
    )


def test_an_entry_of_many_legs_is_one_event() -> None:
    """Two currencies, each balanced, in the caller's order."""
    bank().when(
        entry(
            line("A", "debit", 30),
            line("income", "credit", 10),
            line("cash", "credit", 20),
            line("yen", "debit", 5, "JPY"),
            line("yen", "credit", 5, "JPY"),
            description="fees",
        )
    ).then(
        JournalEntryPosted(
            "journal",
            (
                Posting("A", "debit", 30, "EUR"),
                Posting("income", "credit", 10, "EUR"),
                Posting("cash", "credit", 20, "EUR"),
                Posting("yen", "debit", 5, "JPY"),
                Posting("yen", "credit", 5, "JPY"),
            ),
            description="fees",
        )
    )


def test_every_currency_must_balance() -> None:
    """The currency at fault is named with its difference; the others do not make up for it."""
    bank().when(
        entry(line("A", "debit", 30), line("cash", "credit", 29), line("yen", "credit", 1, "JPY"))
    ).then_refuses(Unbalanced, currency="EUR", debits_minus_credits_minor="1")
    bank().when(
        entry(line("A", "debit", 30), line("cash", "credit", 30), line("yen", "credit", 1, "JPY"))
    ).then_refuses(Unbalanced, currency="JPY", debits_minus_credits_minor="-1")


@pytest.mark.parametrize("currency", ["", "eur", "PTS", "secret text" * 50_000])
def test_a_currency_that_is_none_is_refused_before_the_balance(currency: str) -> None:
    """Whatever was sent for it is not repeated, be the entry balanced or not."""
    for credit_minor in (30, 29):
        answer = bank().when(
            entry(line("A", "debit", 30), line("nobody", "credit", credit_minor, currency))
        )
        answer.then_refuses(UnknownCurrency)
        assert answer.error is not None
        assert answer.error.seen == {}


@pytest.mark.parametrize("count", [0, POSTINGS_MAX + 1])
def test_an_entry_has_two_to_a_thousand_legs(count: int) -> None:
    """Fewer cannot balance, more are several entries."""
    bank().when(entry(*[line("A", "debit", 1)] * count)).then_refuses(
        ValidationFailed, field="postings"
    )


def test_a_single_leg_is_not_balanced() -> None:
    """There is nothing on the other side."""
    bank().when(entry(line("A", "debit", 1))).then_refuses(
        Unbalanced, currency="EUR", debits_minus_credits_minor="1"
    )


def test_a_thousand_legs_are_booked() -> None:
    """The documented maximum itself is allowed."""
    legs = [line("A", "debit", 1), line("cash", "credit", 1)] * (POSTINGS_MAX // 2)
    answer = bank().when(
        entry(*legs[:200], *[line("cash", "debit", 1), line("cash", "credit", 1)] * 400)
    )
    assert answer.error is None
    assert answer.books.accounts["A"].posted_minor == 0


def test_a_leg_at_fault_is_named_with_its_index() -> None:
    """Missing account, other currency, malformed amount."""
    good = line("A", "debit", 1)
    bank().when(entry(good, line("nobody", "credit", 1))).then_refuses(
        AccountNotFound, field="postings[1].account_id"
    )
    bank().when(entry(good, line("", "credit", 1))).then_refuses(
        ValidationFailed, field="postings[1].account_id"
    )
    bank().when(entry(good, line("cash", "credit", 0))).then_refuses(
        ValidationFailed, field="postings[1].amount"
    )
    bank().when(entry(line("A", "debit", 1, "JPY"), line("yen", "credit", 1, "JPY"))).then_refuses(
        CurrencyMismatch, account_id="A"
    )


def test_a_chosen_id_is_taken_once() -> None:
    """Another entry of that id is refused, with the position of the first."""
    one = entry(line("A", "debit", 1), line("cash", "credit", 1), entry_id="e")
    books = bank().when(one).books
    Given(books).when(with_field(one, "description", "other")).then_refuses(
        EntryExists, position=books.position
    )


def test_only_the_net_effect_counts_against_the_limit() -> None:
    """Legs in and out of one account are judged together, in whatever order they stand."""
    legs = [line("A", "debit", 150), line("A", "credit", 60), line("cash", "credit", 90)]
    for order in (legs, legs[::-1]):
        answer = bank().when(entry(*order))
        assert answer.error is None
        account = answer.books.accounts["A"]
        assert account.posted_minor == 10
        assert account.version == 3  # Opened, deposited to, and one entry, however many legs.
    legs = [line("A", "debit", 161), line("A", "credit", 60), line("cash", "credit", 101)]
    for order in (legs, legs[::-1]):
        bank().when(entry(*order)).then_refuses(InsufficientFunds, needed_minor="101")


@draw(balanced_postings())
def test_what_balances_is_accepted_and_its_mirror_too(postings: tuple[Posting, ...]) -> None:
    """Exchanging the sides keeps the balance, and doing so twice changes nothing."""
    require_balanced(postings)
    require_balanced(mirrored(postings))
    assert mirrored(mirrored(postings)) == postings


@draw(balanced_postings(), st.data())
def test_an_amount_off_by_any_figure_is_found(
    postings: tuple[Posting, ...], data: st.DataObject
) -> None:
    """No other leg hides it: the difference named is the difference made."""
    at = data.draw(st.integers(0, len(postings) - 1))
    off = data.draw(st.integers(1, 10**30))
    leg = postings[at]
    changed = Posting(leg.account_id, leg.side, leg.amount_minor + off, leg.currency)
    with pytest.raises(Unbalanced) as refusal:
        require_balanced((*postings[:at], changed, *postings[at + 1 :]))
    signed = off if leg.side == "debit" else -off
    assert refusal.value.seen == {
        "currency": leg.currency,
        "debits_minus_credits_minor": str(signed),
    }
