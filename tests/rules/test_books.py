"""The books: savepoints, catching up, snapshots, and what is remembered of a transaction."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import (
    Given,
    captured,
    decide,
    deposited,
    given,
    held,
    opened,
    transfer,
    voided,
)
from tests.rules.machine_commands import commands
from tests.rules.test_commands import CHECKER, COMMANDS
from tests.strategies import START

from ledger_core.account_limits import SetLimit
from ledger_core.approvals import ApproveRequest, RejectRequest
from ledger_core.blocks import FreezeAccount
from ledger_core.books import NOBODY, Books, Caller, EntryFacts, Event
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.errors import (
    AccountNotFound,
    CustomerErasedAlready,
    EntryExists,
    LedgerError,
    ReferenceConflict,
)
from ledger_core.groups import AddToGroup, CreateGroup
from ledger_core.journal import JournalEntryPosted
from ledger_core.periods import ClosePeriod
from ledger_core.reversals import ReverseEntry

_SECOND = timedelta(seconds=1)

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
        dict(books.states),
        {kind: dict(states) for kind, states in books.residents.items() if states},
        dict(books.due),
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
    """One writer decides, another reads: after each event they have the same."""
    _require_followed([*BASE, *happened])


@pytest.mark.parametrize(
    ("happened", "command"), COMMANDS, ids=[type(command).__name__ for _, command in COMMANDS]
)
def test_every_kind_of_event_is_caught_up_with(
    happened: tuple[Command, ...], command: Command
) -> None:
    """Whatever a command leads to."""
    waits = isinstance(command, ApproveRequest | RejectRequest)
    _require_followed([*happened, command], CHECKER if waits else NOBODY)


def _require_followed(happened: list[Command], last: Caller = NOBODY) -> None:
    """Who takes in another's events one by one has what that other has; once more changes nothing.

    ``last`` is who sends the last command.
    """
    recorded, followed = Books(), Books()
    recorded.recorded_at = START
    for number, command in enumerate(happened, start=1):
        recorded.caller = last if number == len(happened) else NOBODY
        for event in _decided(recorded, command):
            position = recorded.record(event)
            for _ in range(2):
                followed.catch_up(event, position, START)
                assert _followable(followed) == _followable(recorded)
    moment = START + timedelta(days=400)
    followed.recorded_at = recorded.recorded_at = moment
    assert followed.next_due() == recorded.next_due()


def _followable(books: Books) -> tuple[object, ...]:
    """What outlasts a transaction, and so is the same for everybody."""
    return (
        books.position,
        books.recorded_at,
        books.accounts,
        books.has_groups,
        books.customers,
        books.units,
        books.states,
        {kind: states for kind, states in books.residents.items() if states},
        books.due,
    )


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


def test_a_name_is_taken_at_the_position_that_took_it() -> None:
    """By an entry or a hold of the same transaction; the refusal says where it is."""
    books = given(opened("A"), opened("B"), deposited("A", 99)).books
    for command in (
        transfer("A", "B", 1, entry_id="e", reference="r"),
        transfer("A", "B", 1, entry_id="only"),
        held("A", "B", 2, "h", reference="s"),
    ):
        for event in decide(books, command):
            books.record(event)
    assert books.position == 7
    for command, kind, position in (
        (transfer("A", "B", 1, entry_id="e"), EntryExists, 5),
        (transfer("A", "B", 1, entry_id="only"), EntryExists, 6),
        (transfer("A", "B", 1, entry_id="h"), EntryExists, 7),
        (transfer("A", "B", 1, reference="r"), ReferenceConflict, 5),
        (held("A", "B", 1, None, reference="s"), ReferenceConflict, 7),
    ):
        Given(books).when(command).then_refuses(kind, position=position)


def test_an_entry_with_any_name_can_be_reversed_in_its_transaction() -> None:
    """Under its own id, or the one that its position gives it; and then it is reversed."""
    books = given(opened("A"), opened("B"), deposited("A", 99)).books
    books.settle()
    for command, name in (
        (transfer("A", "B", 1, entry_id="e"), "e"),
        (transfer("A", "B", 1, reference="r"), "jrn_6"),
    ):
        (event,) = decide(books, command)
        position = books.record(event)
        assert isinstance(event, JournalEntryPosted)
        facts = EntryFacts(name, position, START, event, is_reversed=False)
        assert books.entries[name] == facts
    assert set(books.entries) == {"e", "jrn_6"}
    (reversal,) = decide(books, ReverseEntry(reverses="jrn_6"))
    position = books.record(reversal)
    assert books.entries["jrn_6"].is_reversed is True
    assert books.entries["e"].is_reversed is False
    assert set(books.entries) == {"e", "jrn_6", f"jrn_{position}"}


def test_a_plain_entry_takes_no_name() -> None:
    """Nobody can ask for it in its transaction: nothing is kept of it."""
    books = given(opened("A"), opened("B"), deposited("A", 99)).books
    books.settle()
    (event,) = decide(books, transfer("A", "B", 1))
    books.record(event)
    assert not books.entries


def test_a_reversal_is_taken_in_without_its_original() -> None:
    """Whoever only follows the log has not loaded it."""
    books = given(*BASE).books
    (event,) = decide(books, ReverseEntry(reverses="e1"))
    books.settle()
    position = books.record(event)
    assert set(books.entries) == {f"jrn_{position}"}


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


def test_books_that_were_just_begun_have_seen_nothing() -> None:
    """Nothing is in memory, nothing stored was looked through, and nothing was forgotten yet."""
    books = Books()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert contents(books) == (0, *[{}] * 8)
    assert books.packed == {}
    assert (books.recorded_at, books.due_known_until) == (epoch, epoch)
    assert books.due_after == (epoch, "", "")
    assert (books.evict_again_at, books.evicted_at) == (0, 0)
    assert books.has_groups is False
    assert not books.recent_keys.is_new("key")
    assert books.next_due() == []
    assert not books.is_any_due


def test_what_is_due_is_known_before_the_time_up_to_which_it_was_loaded() -> None:
    """What falls due at that very time may not be in memory."""
    books = given().books
    for until, expected in (
        (START - _SECOND, False),
        (START, False),
        (START + _SECOND, True),
    ):
        books.due_known_until = until
        assert books.is_due_known is expected


def test_something_is_due_from_its_very_time_on() -> None:
    """The earliest of what waits decides, in whatever order it came."""
    books = given(*BASE, held("A", "B", 1, "late", timeout_s=90)).books
    assert not books.is_any_due
    Given(books).when(held("A", "B", 1, "soon", timeout_s=60))
    for seconds, expected in ((59, False), (60, True), (61, True)):
        books.recorded_at = START + timedelta(seconds=seconds)
        assert books.is_any_due is expected
    assert books.next_due() == [("hold", "soon")]
    assert not books.is_any_due
    books.recorded_at = START + timedelta(seconds=90)
    assert books.is_any_due
    assert books.next_due() == [("hold", "late")]


def test_what_falls_due_does_so_once() -> None:
    """However often it was touched since it began to wait."""
    books = given(*BASE, held("A", "B", 9, "h", timeout_s=60, multi_capture=True)).books
    for _ in range(2):
        Given(books).when(captured("h", 2))
    Given(books).when(held("A", "B", 9, "other", timeout_s=60))
    books.recorded_at = START + timedelta(seconds=60)
    assert books.next_due() == [("hold", "h"), ("hold", "other")]


def test_books_know_whether_an_account_may_be_in_a_group() -> None:
    """From the first that joins one, whoever says so, and for good: then groups are needed."""
    joins = AddToGroup(group_id="g", account_id="A")
    bank = given(*BASE, CreateGroup(group_id="g", name="n", currency="EUR"))
    bank.when(FreezeAccount(account_id="C", cause="court"))
    assert bank.books.has_groups is False
    grouped = bank.when(joins).books
    assert grouped.has_groups is True
    account = grouped.accounts["A"]
    bank.when(FreezeAccount(account_id="C", cause="bank"))
    assert grouped.has_groups is True
    loaded = Books()
    loaded.hold(grouped.accounts["C"])
    assert loaded.has_groups is False
    loaded.hold(account)
    assert loaded.has_groups is True
    loaded.hold(grouped.accounts["C"])
    assert loaded.has_groups is True


def test_a_state_of_a_resident_kind_is_at_hand_by_its_kind() -> None:
    """Loaded or decided; what falls due no more waits no more."""
    closed = given(ClosePeriod(through=date(2026, 1, 31))).books
    place = ("period", next(iter(closed.residents["period"])))
    loaded = Books()
    loaded.keep(place, closed.states[place])
    assert loaded.residents == {"period": {place[1]: closed.states[place]}}
    assert loaded.kept_of("period") == closed.kept_of("period") == [closed.states[place]]
    bank = given(*BASE, held("A", "B", 1, "h", timeout_s=60))
    waits = bank.books.states["hold", "h"]
    resolved = bank.when(voided("h")).books.states["hold", "h"]
    loaded.keep(("hold", "h"), waits)
    assert loaded.due == {("hold", "h"): waits.expires_at}
    assert "hold" not in loaded.residents
    loaded.keep(("hold", "h"), resolved)
    assert loaded.due == {}


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
