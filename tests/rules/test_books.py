"""The books: savepoints, catching up, snapshots, and what is remembered of a transaction."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import decide, deposited, given, opened, transfer
from tests.rules.machine_commands import commands
from tests.strategies import START

from ledger_core.account_limits import SetLimit
from ledger_core.blocks import FreezeAccount
from ledger_core.books import Books, Event
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.errors import (
    AccountNotFound,
    CustomerErasedAlready,
    EntryExists,
    LedgerError,
    ReferenceConflict,
)
from ledger_core.reversals import ReverseEntry

BASE: tuple[Command, ...] = (
    opened("A"),
    opened("B", account_type="asset"),
    opened("C", limit="50"),
    deposited("A", 500, entry_id="e1", reference="r1"),
    RegisterCustomer(customer_id="c1", profile={"name": "Ann"}),
)


def contents(books: Books) -> tuple[object, ...]:
    """Everything that can be seen of the books."""
    return (
        books.position,
        dict(books.accounts),
        dict(books.customers),
        dict(books.units),
        dict(books.entries),
        dict(books.references),
    )


def events_of(happened: list[Command]) -> list[Event]:
    """The log of what these commands come to; refused ones come to nothing."""
    books = Books()
    books.recorded_at = START
    log: list[Event] = []
    for command in happened:
        for event in _decided(books, command):
            books.record(event)
            log.append(event)
    return log


def _decided(books: Books, command: Command) -> tuple[Event, ...]:
    """The command's events, none where it is refused."""
    try:
        return decide(books, command)
    except LedgerError:
        return ()


@draw(st.lists(commands, max_size=12), st.lists(commands, max_size=12))
def test_a_rollback_restores_the_books_exactly(before: list[Command], after: list[Command]) -> None:
    """Whatever was recorded since the savepoint leaves no trace."""
    books = Books()
    books.recorded_at = START
    for command in (*BASE, *before):
        for event in _decided(books, command):
            books.record(event)
    savepoint, expected = books.savepoint(), contents(books)
    for command in after:
        for event in _decided(books, command):
            books.record(event)
    books.rollback(savepoint)
    assert contents(books) == expected


@draw(st.lists(commands, max_size=12), st.lists(commands, max_size=12))
def test_savepoints_nest(one: list[Command], two: list[Command]) -> None:
    """What a later submission takes back is not what an earlier one keeps."""
    case = given(*BASE)
    for command in one:
        case.when(command)
    middle, kept = case.books.savepoint(), contents(case.books)
    for command in two:
        for event in _decided(case.books, command):
            case.books.record(event)
    case.books.rollback(middle)
    assert contents(case.books) == kept


@draw(st.lists(commands, max_size=25))
def test_catching_up_comes_to_the_same_as_deciding(happened: list[Command]) -> None:
    """One writer decides, another reads: accounts, units and erasures agree."""
    recorded, followed = Books(), Books()
    recorded.recorded_at = START
    for position, event in enumerate(events_of([*BASE, *happened]), start=1):
        recorded.record(event)
        followed.catch_up(event, position, START)
    assert followed.position == recorded.position
    assert followed.accounts == recorded.accounts
    assert followed.units == recorded.units
    assert {name: item.erased for name, item in followed.customers.items()} == {
        name: item.erased for name, item in recorded.customers.items()
    }


@draw(st.lists(commands, max_size=15), st.data())
def test_what_a_snapshot_counts_is_not_counted_again(
    happened: list[Command], data: st.DataObject
) -> None:
    """What is loaded as of any later position takes in only what is newer than it is."""
    log = events_of([*BASE, *happened])
    at = [Books()]
    for position, event in enumerate(log, start=1):
        books = Books()
        books.accounts.update(at[-1].accounts)
        books.customers.update(at[-1].customers)
        books.units.update(at[-1].units)
        books.states.update(at[-1].states)
        books.catch_up(event, position, START)
        at.append(books)
    start = data.draw(st.integers(0, len(log)))
    loaded = Books()
    loaded.units.update(at[start].units)
    loaded.customers.update(at[-1].customers)
    for name, account in at[-1].accounts.items():
        newer = data.draw(st.integers(start, len(log)))
        snapshot = at[newer].accounts.get(name)
        if snapshot is not None:
            loaded.accounts[name] = snapshot
        else:
            assert account.terms.account_no > newer
    for place in at[-1].states:
        newer = data.draw(st.integers(start, len(log)))
        if place in at[newer].states:
            loaded.keep(place, at[newer].states[place])
    for position, event in enumerate(log[start:], start=start + 1):
        loaded.catch_up(event, position, START)
    assert loaded.accounts == at[-1].accounts
    assert loaded.states == at[-1].states


def test_names_are_taken_for_the_rest_of_the_transaction() -> None:
    """Ids and references of what was just recorded count at once, and not after a rollback."""
    books = given(opened("A"), opened("B"), deposited("A", 9)).books
    savepoint = books.savepoint()
    for event in decide(books, transfer("A", "B", 1, entry_id="e", reference="r")):
        books.record(event)
    with pytest.raises(EntryExists):
        decide(books, transfer("A", "B", 1, entry_id="e"))
    with pytest.raises(ReferenceConflict):
        decide(books, transfer("A", "B", 1, reference="r"))
    for event in decide(books, ReverseEntry(reverses="e")):
        books.record(event)
    assert books.entries["e"].is_reversed
    books.rollback(savepoint)
    assert decide(books, transfer("A", "B", 1, entry_id="e", reference="r"))


def test_what_is_settled_stays() -> None:
    """After the commit there is nothing to take back, and names are asked of the database."""
    books = given(*BASE).books
    before = books.savepoint()
    books.settle()
    assert books.savepoint() == (0, before[1])
    assert not books.entries
    assert not books.references
    books.rollback(books.savepoint())
    assert books.accounts["A"].posted_minor == 500


def test_another_writers_events_cannot_be_taken_back() -> None:
    """They are in the log: a rollback goes back to where they were taken in."""
    books = given(*BASE).books
    books.settle()
    event = decide(books, SetLimit(account_id="A", limit="7"))[0]
    books.catch_up(event, books.position + 1, START)
    books.rollback(books.savepoint())
    assert books.accounts["A"].terms.limit_minor == 7


@pytest.mark.parametrize(
    ("ask", "kind"),
    [
        (lambda books: books.account("x"), AccountNotFound),
        (lambda books: books.customer("c1"), CustomerErasedAlready),
    ],
)
def test_books_say_what_they_do_not_have(
    ask: Callable[[Books], Any], kind: type[LedgerError]
) -> None:
    """As facts, not as keys of a dictionary."""
    books = given(*BASE, EraseCustomer(customer_id="c1", reason="asked")).books
    with pytest.raises(kind):
        ask(books)


def test_the_booking_date_is_the_utc_day_of_recording() -> None:
    """Whatever the day is elsewhere."""
    assert given().books.today == START.date()


def test_versions_count_the_events_that_touched_an_account() -> None:
    """Events of others leave it alone; positions say which was the last."""
    books = given(
        *BASE,
        FreezeAccount(account_id="C", cause="court"),
        transfer("A", "B", 1),
        ChangeProfile(customer_id="c1", changes={"phone": "1"}, reason="asked"),
    ).books
    account = books.accounts["C"]
    assert (account.version, account.last_position) == (2, 7)
    assert books.accounts["A"].last_position == 8
    assert books.position == 9
