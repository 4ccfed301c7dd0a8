"""Limits of accounts: floors and ceilings, what holds do to them, and changes that are to come."""

from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened, transfer, with_field, withdrawn
from tests.strategies import START, account_types, dates, limits_minor, reasons, sides

from ledger_core import account_limits, commands
from ledger_core.account_limits import LimitChange, LimitChangeScheduled, SetLimit
from ledger_core.account_terms import CloseAccount
from ledger_core.accounts import (
    Account,
    AccountOpened,
    AccountType,
    LimitSet,
    Terms,
    evolve,
    normal_side,
    posted,
    require_within_limit,
)
from ledger_core.books import Books
from ledger_core.errors import (
    AccountIsClosed,
    AccountNotFound,
    InsufficientFunds,
    LedgerError,
    LimitExceeded,
    ValidationFailed,
)
from ledger_core.holds import CaptureHold, PlaceHold
from ledger_core.journal import Posting, Side
from ledger_core.reversals import ReverseEntry

TODAY = START.date()
TOMORROW = TODAY + timedelta(days=1)
YESTERDAY = TODAY - timedelta(days=1)
MIDNIGHT = datetime(2026, 3, 3, tzinfo=UTC)


def _hold(debit: str, credit: str, amount_minor: int, hold_id: str) -> PlaceHold:
    """A hold in euro."""
    return PlaceHold(
        debit_account_id=debit,
        credit_account_id=credit,
        amount=str(amount_minor),
        currency="EUR",
        hold_id=hold_id,
    )


# Floors and ceilings -----------------------------------------------------------------------------


def test_a_minimum_balance_must_stay() -> None:
    """A negative limit is a floor above zero: to it exactly, not below; up to it from below."""
    case = given(opened("A", limit="-100"), opened("X", limit=None))
    assert case.books.accounts["A"].available_minor == -100
    assert case.when(deposited("A", 40)).error is None
    case.when(withdrawn("A", 1)).then_refuses(
        InsufficientFunds, available_minor="-60", limit_minor="-100"
    )
    assert case.when(deposited("A", 100)).error is None
    assert case.when(withdrawn("A", 40)).error is None
    case.when(transfer("A", "X", 1)).then_refuses(InsufficientFunds, available_minor="0")


def test_a_ceiling_is_the_most_that_the_balance_may_be() -> None:
    """Reached exactly it is kept; incoming holds count; a capture of them is no more than they."""
    case = given(opened("A", ceiling="100"), opened("X", limit=None))
    assert case.when(_hold("X", "A", 30, "h")).error is None
    case.when(deposited("A", 71)).then_refuses(
        LimitExceeded,
        account_id="A",
        posted_minor="0",
        held_minor="30",
        ceiling_minor="100",
        reached_minor="101",
    )
    assert case.when(deposited("A", 70, entry_id="in")).error is None
    case.when(_hold("X", "A", 1, "i")).then_refuses(LimitExceeded)
    assert case.when(CaptureHold(hold_id="h")).error is None
    assert case.when(withdrawn("A", 100, entry_id="out")).error is None
    assert case.when(deposited("A", 100)).error is None
    case.when(ReverseEntry(reverses="out")).then_refuses(LimitExceeded, reached_minor="200")
    assert case.when(ReverseEntry(reverses="out", force=True)).error is None


def test_a_ceiling_below_what_is_there_lets_the_balance_fall() -> None:
    """From beyond, whatever does not take it further is allowed."""
    lower = SetLimit(account_id="A", limit="0", ceiling="50")
    case = given(opened("A"), opened("X"), deposited("A", 100), lower)
    case.when(deposited("A", 1)).then_refuses(LimitExceeded, ceiling_minor="50")
    assert case.when(withdrawn("A", 20)).error is None
    assert case.when(transfer("A", "X", 5)).error is None


@draw(
    account_types,
    st.none() | st.integers(-800, 800),
    st.none() | st.integers(-800, 800),
    st.tuples(*[st.integers(0, 900)] * 4),
    st.lists(st.tuples(sides, st.integers(1, 900)), min_size=1, max_size=3),
)
def test_no_movement_takes_an_account_further_beyond_its_limits(
    account_type: AccountType,
    limit: int | None,
    ceiling: int | None,
    sums: tuple[int, int, int, int],
    legs: list[tuple[Side, int]],
) -> None:
    """Below its floor or above its ceiling an entry takes it only from where it was already."""
    terms = Terms(
        "X",
        1,
        account_type,
        "EUR",
        2,
        normal_side(account_type),
        START,
        limit_minor=limit,
        ceiling_minor=ceiling,
    )
    before = after = Account(terms, *sums, 1, 1)
    for side, amount in legs:
        after = posted(after, Posting("X", side, amount, "EUR"), 2)
    sign = -1 if normal_side(account_type) == "credit" else 1
    balance = sign * (sums[0] - sums[1])
    goes, comes = (sums[2], sums[3]) if sign == -1 else (sums[3], sums[2])
    change = sum(amount if side == terms.normal_side else -amount for side, amount in legs)
    low, high = balance - goes, balance + comes
    expected: type[LedgerError] | None = None
    if ceiling is not None and high + change > max(ceiling, high):
        expected = LimitExceeded
    if limit is not None and low + change < min(-limit, low):
        expected = InsufficientFunds
    if expected is None:
        require_within_limit(before, after)
    else:
        with pytest.raises(expected):
            require_within_limit(before, after)


# Setting limits ----------------------------------------------------------------------------------


@draw(limits_minor, limits_minor)
def test_limits_are_kept_as_they_were_written(limit: int | None, ceiling: int | None) -> None:
    """From the opening and from a later setting alike, and a retry of either is the same."""
    texts = [None if minor is None else str(minor) for minor in (limit, ceiling)]
    opening = opened("A", limit=texts[0], ceiling=texts[1])
    answer = given().when(opening)
    event = answer.events[0]
    assert isinstance(event, AccountOpened)
    assert (event.limit_minor, event.ceiling_minor) == (limit, ceiling)
    assert commands.differing_fields(opening, event, None) == ()
    setting = SetLimit(account_id="A", limit=texts[0], ceiling=texts[1])
    Given(answer.books).when(setting).then_nothing()
    books = given(opened("A", limit="1", ceiling="77"), setting).books
    terms = books.accounts["A"].terms
    assert (terms.limit_minor, terms.ceiling_minor) == (limit, ceiling)
    assert terms.is_limited == ((limit, ceiling) != (None, None))


def test_a_ceiling_that_is_not_named_stays() -> None:
    """Only null takes it away; what was named and what was not are different commands."""
    case = given(opened("A", ceiling="70"))
    named = SetLimit(account_id="A", limit="5", ceiling="70")
    unnamed = SetLimit(account_id="A", limit="5")
    answer = case.when(unnamed)
    answer.then(LimitSet("A", 5, keeps_ceiling=True))
    assert answer.books.accounts["A"].terms.ceiling_minor == 70
    assert commands.differing_fields(unnamed, answer.events[0], None) == ()
    assert commands.differing_fields(named, answer.events[0], None) == ("ceiling",)
    none = with_field(named, "ceiling", None)
    assert commands.differing_fields(none, answer.events[0], None) == ("ceiling",)
    # As logs have it of before there were ceilings.
    assert commands.differing_fields(unnamed, LimitSet("A", 5), None) == ()
    assert commands.differing_fields(named, LimitSet("A", 5), None) == ("ceiling",)
    other = with_field(unnamed, "limit", "6")
    assert commands.differing_fields(other, LimitSet("A", 5), None) == ("limit",)
    case.when(named).then_nothing()
    books = case.when(with_field(named, "ceiling", None)).then(LimitSet("A", 5))
    assert books.accounts["A"].terms.ceiling_minor is None


@pytest.mark.parametrize("bad", ["", "-", "-0", "--1", "+1", "01", "-01", "1.0", " 1", "1" * 37])
@pytest.mark.parametrize("name", ["limit", "ceiling"])
def test_a_malformed_limit_is_refused(name: str, bad: str) -> None:
    """Wherever it is given; the field is named."""
    given().when(with_field(opened("A"), name, bad)).then_refuses(ValidationFailed, field=name)
    setting = SetLimit(account_id="A", limit="1", effective_date=TOMORROW)
    given(opened("A")).when(with_field(setting, name, bad)).then_refuses(
        ValidationFailed, field=name
    )


# Changes to come ---------------------------------------------------------------------------------


def test_a_limit_can_be_set_for_a_day_to_come() -> None:
    """Until then nothing changes; on its day the account's own event follows."""
    setting = SetLimit(account_id="A", limit="50", effective_date=TOMORROW, reason="agreed")
    books = (
        given(opened("A", ceiling="9"))
        .when(setting)
        .then(LimitChangeScheduled("A", TOMORROW, 50, "agreed", keeps_ceiling=True))
    )
    change = _change(books, TOMORROW)
    assert change == LimitChange("A", TOMORROW, 50, None, True, "agreed", "scheduled", 2, 2)  # noqa: FBT003
    assert (change.due_at, change.tags) == (MIDNIGHT, ("account:A",))
    assert books.accounts["A"].terms.limit_minor == 0
    Given(books).when(setting).then_nothing()
    books.recorded_at = MIDNIGHT + timedelta(hours=5)
    due = account_limits.due(change)
    assert due == LimitSet("A", 50, "agreed", None, MIDNIGHT, keeps_ceiling=True)
    books.record(due)
    change = _change(books, TOMORROW)
    assert (change.status, change.due_at, change.last_position) == ("in_force", None, 3)
    terms = books.accounts["A"].terms
    assert (terms.limit_minor, terms.ceiling_minor) == (50, 9)


def test_a_second_change_for_a_day_takes_the_place_of_the_first() -> None:
    """One a day, also to call the first off; another day is another change."""
    first = SetLimit(account_id="A", limit="50", ceiling="90", effective_date=TOMORROW)
    later = with_field(first, "effective_date", TOMORROW + timedelta(days=1))
    books = given(opened("A"), first, later).when(with_field(first, "limit", "0")).books
    Given(books).when(with_field(first, "limit", "0")).then_nothing()
    for_another_reason = with_field(with_field(first, "limit", "0"), "reason", "r")
    Given(books).when(for_another_reason).then_nothing()
    assert _change(books, TOMORROW).limit_minor == 0
    assert _change(books, TOMORROW).ceiling_minor == 90
    assert _change(books, TOMORROW + timedelta(days=1)).limit_minor == 50
    assert sorted(books.due.values()) == [MIDNIGHT, MIDNIGHT + timedelta(days=1)]
    books = Given(books).when(with_field(first, "ceiling", msgspec.UNSET)).books
    assert _change(books, TOMORROW).keeps_ceiling


def test_today_is_at_once_and_yesterday_is_over() -> None:
    """A change for today is in force as it is recorded, and not from midnight on."""
    setting = SetLimit(account_id="A", limit="50", effective_date=TODAY)
    case = given(opened("A"))
    case.when(with_field(setting, "limit", "0")).then_nothing()
    books = case.when(setting).then(LimitSet("A", 50, None, None, START, keeps_ceiling=True))
    assert books.accounts["A"].terms.limit_minor == 50
    assert _change(books, TODAY).status == "in_force"
    assert not books.due
    over = with_field(setting, "effective_date", YESTERDAY)
    case.when(over).then_refuses(ValidationFailed, field="effective_date")


def test_a_change_needs_an_open_account_on_the_day_it_is_asked_for() -> None:
    """One that was closed meanwhile gets its limit nevertheless: it may be opened again."""
    setting = SetLimit(account_id="A", limit="50", effective_date=TOMORROW)
    given().when(setting).then_refuses(AccountNotFound)
    given(opened("A"), CloseAccount(account_id="A")).when(setting).then_refuses(AccountIsClosed)
    books = given(opened("A"), setting, CloseAccount(account_id="A")).books
    books.record(account_limits.due(_change(books, TOMORROW)))
    assert books.accounts["A"].terms.limit_minor == 50


@draw(
    st.builds(LimitChangeScheduled, st.just("A"), dates, limits_minor, reasons, limits_minor)
    | st.builds(
        LimitChangeScheduled,
        st.just("A"),
        dates,
        limits_minor,
        reasons,
        st.none(),
        st.just(value=True),
    )
)
def test_what_comes_into_force_is_what_was_scheduled(event: LimitChangeScheduled) -> None:
    """On its day, whatever the limits were before; the retry of the command is the same."""
    command = account_limits.command_of(event)
    assert command.effective_date == event.effective_date
    change = account_limits.evolve(None, event, 2, START)
    due = account_limits.due(change)
    assert change.due_at == due.due_at
    (change_id,) = account_limits.ids(event, 2)
    assert account_limits.ids(due, 3) == (change_id,)
    assert account_limits.evolve(change, due, 3, START) == msgspec.structs.replace(
        change, status="in_force", last_position=3
    )
    terms = Terms("A", 1, "asset", "EUR", 2, "debit", START, limit_minor=1, ceiling_minor=2)
    after = evolve(Account(terms, 0, 0, 0, 0, 1, 1), due, 3).terms
    assert after.limit_minor == event.limit_minor
    assert after.ceiling_minor == (2 if event.keeps_ceiling else event.ceiling_minor)


def _change(books: Books, effective_date: date) -> LimitChange:
    """The change of A's limits on that day."""
    change = books.kept("limit_change", f"A:{effective_date.isoformat()}")
    assert isinstance(change, LimitChange)
    return change
