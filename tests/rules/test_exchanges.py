"""Exchanges: what a rate comes to in minor units, the bank's positions, and what is refused."""

from fractions import Fraction
from typing import Any, get_args

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened

from ledger_core.account_terms import CloseAccount
from ledger_core.accounts import AccountOpened
from ledger_core.blocks import FreezeAccount
from ledger_core.commands import Command, differing_fields
from ledger_core.errors import (
    AccountIsBlocked,
    AccountIsClosed,
    AccountNotFound,
    CurrencyMismatch,
    InsufficientFunds,
    LedgerError,
    SameAccount,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.exchanges import Exchange, position_account_id
from ledger_core.journal import JournalEntryPosted, Posting, require_balanced
from ledger_core.rounding import RoundingName
from ledger_core.units import RegisterUnit


def exchange(amount: int, **fields: Any) -> Exchange:  # noqa: ANN401
    """Euro of A sold for dollars of D at 1.0842, unless said otherwise."""
    return Exchange(
        **{
            "debit_account_id": "A",
            "credit_account_id": "D",
            "amount": str(amount),
            "currency": "EUR",
            "counter_currency": "USD",
            "rate": "1.0842",
            **fields,
        }
    )


def bank(*happened: Command) -> Given:
    """A has 1,000.00 euro; D is in dollars, J in yen, T in dinars of three decimals."""
    return given(
        opened("A"),
        opened("D", currency="USD"),
        opened("J", currency="JPY"),
        opened("T", currency="TND"),
        deposited("A", 100_000),
        *happened,
    )


def got(answer: Any) -> int:  # noqa: ANN401 - the harness's
    """The minor units that the exchange brought."""
    assert answer.error is None, answer.error
    entry = answer.events[-1]
    assert isinstance(entry, JournalEntryPosted)
    require_balanced(entry.postings)
    return entry.postings[-1].amount_minor


def test_one_entry_goes_through_both_positions() -> None:
    """The bank gets what the customer sells and gives what the customer gets; the rate is kept."""
    books = (
        bank()
        .when(exchange(10_000))
        .then(
            AccountOpened("asset", "EUR", 2, "bank:position:EUR", name="position"),
            AccountOpened("asset", "USD", 2, "bank:position:USD", name="position"),
            JournalEntryPosted(
                "exchange",
                (
                    Posting("A", "debit", 10_000, "EUR"),
                    Posting("bank:position:EUR", "credit", 10_000, "EUR"),
                    Posting("bank:position:USD", "debit", 10_842, "USD"),
                    Posting("D", "credit", 10_842, "USD"),
                ),
                rate="1.0842",
                asked={
                    "type": "exchange",
                    "debit_account_id": "A",
                    "credit_account_id": "D",
                    "amount": "10000",
                    "currency": "EUR",
                    "counter_currency": "USD",
                    "rate": "1.0842",
                },
            ),
        )
    )
    back = exchange(
        842,
        debit_account_id="D",
        credit_account_id="A",
        currency="USD",
        counter_currency="EUR",
        rate="0.92",
    )
    answer = Given(books).when(back)
    assert len(answer.events) == 1
    assert got(answer) == 775  # 842 x 0.92 = 774.64
    posted = {name: answer.books.accounts[name].posted_minor for name in books.accounts}
    assert (posted["A"], posted["D"]) == (90_775, 10_000)
    assert posted[position_account_id("EUR")] == -10_000 + 775
    assert posted[position_account_id("USD")] == 10_842 - 842


def test_scales_are_taken_into_account() -> None:
    """A rate is of whole units, whatever minor units they have."""
    yen = {"credit_account_id": "J", "counter_currency": "JPY", "rate": "161.37"}
    assert got(bank().when(exchange(10_000, **yen))) == 16_137
    dinars = {"credit_account_id": "T", "counter_currency": "TND", "rate": "3.4"}
    assert got(bank().when(exchange(10_000, **dinars))) == 340_000
    points = (RegisterUnit(code="PTS", scale=0), opened("P", currency="PTS"))
    to_points = {"credit_account_id": "P", "counter_currency": "PTS", "rate": "0.5"}
    assert got(bank(*points).when(exchange(700, **to_points))) == 4  # 3.5, to the even
    assert got(bank(*points).when(exchange(700, **to_points, rounding="down"))) == 3


def test_the_recorded_amount_counts_where_it_is_given() -> None:
    """The rate must give it within one minor unit, or is left out."""
    for counter in ("10841", "10842", "10843"):
        assert got(bank().when(exchange(10_000, counter_amount=counter))) == int(counter)
    for counter in ("10840", "10844"):
        bank().when(exchange(10_000, counter_amount=counter)).then_refuses(
            ValidationFailed, field="counter_amount"
        )
    answer = bank().when(exchange(10_000, counter_amount="7", rate=None))
    assert got(answer) == 7
    entry = answer.events[-1]
    assert isinstance(entry, JournalEntryPosted)
    assert entry.rate is None


def test_a_retry_is_compared_with_what_was_asked() -> None:
    """Another rate that comes to the same is another command."""
    entry = bank().when(exchange(100)).events[-1]
    assert differing_fields(exchange(100), entry, None) == ()
    assert differing_fields(exchange(100, rate="1.08420"), entry, None) == ("rate",)
    assert differing_fields(exchange(100, rounding="down"), entry, None) == ("rounding",)


@pytest.mark.parametrize(
    ("command", "kind", "seen"),
    [
        (exchange(0), ValidationFailed, {"field": "amount"}),
        (exchange(1, rate="0"), ValidationFailed, {"field": "rate"}),
        (exchange(1, rate="1.0000000000000000001"), ValidationFailed, {"field": "rate"}),
        (exchange(1, rate="-1"), ValidationFailed, {"field": "rate"}),
        (exchange(1, rate=None), ValidationFailed, {"field": "rate"}),
        (exchange(1, counter_amount="0"), ValidationFailed, {"field": "counter_amount"}),
        (exchange(1, rate="0.5"), ValidationFailed, {"field": "rate"}),
        (exchange(10**35, rate="10"), ValidationFailed, {"field": "rate"}),
        (exchange(1, debit_account_id=""), ValidationFailed, {"field": "debit_account_id"}),
        (exchange(1, credit_account_id=" "), ValidationFailed, {"field": "credit_account_id"}),
        (exchange(1, reference=""), ValidationFailed, {"field": "reference"}),
        (exchange(1, counter_currency="EUR"), ValidationFailed, {"field": "counter_currency"}),
        (exchange(1, debit_account_id="Z"), AccountNotFound, {"field": "debit_account_id"}),
        (exchange(1, credit_account_id="Z"), AccountNotFound, {"field": "credit_account_id"}),
        (exchange(1, credit_account_id="A"), SameAccount, {}),
        (exchange(1, currency="CHF"), CurrencyMismatch, {"account_id": "A"}),
        (exchange(1, counter_currency="CHF"), CurrencyMismatch, {"account_id": "D"}),
        (exchange(1, counter_currency="QQQ"), UnknownCurrency, {}),
        (exchange(100_001), InsufficientFunds, {"account_id": "A"}),
    ],
)
def test_what_does_not_fit_is_refused_and_named(
    command: Exchange, kind: type[LedgerError], seen: dict[str, object]
) -> None:
    """And no account is left behind that the entry would have opened."""
    answer = bank().when(command)
    answer.then_refuses(kind, **seen)
    assert position_account_id("EUR") not in answer.books.accounts


def test_the_bank_does_not_exchange_with_its_own_position() -> None:
    """Its position is the other side of every exchange."""
    books = bank().when(exchange(100)).books
    own = exchange(1, debit_account_id=position_account_id("EUR"))
    Given(books).when(own).then_refuses(SameAccount)


def test_accounts_must_take_their_side() -> None:
    """Blocked and closed accounts, on either end."""
    bank(FreezeAccount(account_id="A", cause="c", effect="debit")).when(exchange(1)).then_refuses(
        AccountIsBlocked, account_id="A"
    )
    bank(CloseAccount(account_id="D")).when(exchange(1)).then_refuses(
        AccountIsClosed, account_id="D"
    )


@draw(
    st.integers(1, 10**12),
    st.integers(1, 10**12),
    st.sampled_from(["USD", "JPY", "TND"]),
    st.sampled_from(get_args(RoundingName)),
)
def test_what_is_booked_is_the_rate_to_the_minor_unit(
    amount: int, rate_in_millionths: int, currency: str, rounding: RoundingName
) -> None:
    """Exact but for the named rounding, and balanced in both currencies."""
    rate = f"{rate_in_millionths // 10**6}.{rate_in_millionths % 10**6:06}"
    account_id = {"USD": "D", "JPY": "J", "TND": "T"}[currency]
    answer = bank().when(
        exchange(
            amount,
            credit_account_id=account_id,
            counter_currency=currency,
            rate=rate,
            rounding=rounding,
            force=True,
        )
    )
    scale = {"USD": 2, "JPY": 0, "TND": 3}[currency]
    exact = Fraction(amount, 100) * Fraction(rate) * 10**scale
    if answer.error is not None:
        assert exact < 1
        answer.then_refuses(ValidationFailed, field="rate")
        return
    assert abs(got(answer) - exact) < 1
