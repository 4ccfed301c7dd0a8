"""What was held, at any position and at any time, is what the holds amount to."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import msgspec
import pytest
import sqlalchemy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, transfer

from ledger_core import database, events
from ledger_core.account_limits import SetLimit
from ledger_core.accounts import Account
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.holds import CaptureHold, Hold, PlaceHold, VoidHold
from projections.balance_queries import balance, balances
from projections.kept_queries import kept_item
from projections.reading import AsOf
from projections.total_queries import totals

_names = count(1)
_accounts = st.sampled_from("ABC")
_holds = st.sampled_from(["h1", "h2", "h3"])
_EUR = st.just("EUR")
_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        PlaceHold,
        debit_account_id=_accounts,
        credit_account_id=_accounts,
        amount=st.sampled_from(["5", "70"]),
        currency=_EUR,
        hold_id=_holds,
        timeout_s=st.none() | st.integers(1, 90),
        multi_capture=st.booleans(),
    ),
    st.builds(CaptureHold, hold_id=_holds, amount=st.sampled_from(["all", "0", "3"])),
    st.builds(VoidHold, hold_id=_holds),
    st.builds(transfer, debit=_accounts, credit=_accounts, amount_minor=st.sampled_from([1, 20])),
    st.builds(FreezeAccount, account_id=_accounts, cause=st.just("c"), effect=st.just("credit")),
    st.builds(UnfreezeAccount, account_id=_accounts, cause=st.just("c")),
)


@contextmanager
def _connection(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    engine = database.engine(database_url, "ledger_reader")
    with engine.connect() as conn:
        yield conn
    engine.dispose()


@pytest.fixture
def conn(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    with _connection(database_url) as conn:
        yield conn


def _moments(world: World) -> Iterator[tuple[int, datetime, dict[str, Account], list[Hold]]]:
    """Every position with the accounts and the holds as they are then, folded from the log."""
    books = Books()
    for item in world.stored():
        books.recorded_at = item.recorded_at
        books.record(events.decode(item.type, item.version, item.data))
        holds = [state for (kind, _), state in books.states.items() if kind == "hold"]
        yield item.position, item.recorded_at, dict(books.accounts), holds


def _figures(account: Account) -> tuple[object, ...]:
    """What a balance says, as the kernel has it."""
    return (
        account.posted_minor,
        account.outgoing_held_minor,
        account.incoming_held_minor,
        account.available_minor,
        account.version,
    )


def _shown(conn: sqlalchemy.Connection, ledger_id: int, as_of: AsOf) -> dict[str, Any]:
    """What the views say about every account at a moment."""
    return {
        item.account_id: (
            item.posted_minor,
            item.held_minor,
            item.incoming_held_minor,
            item.available_minor,
            item.version,
        )
        for item in balances(conn, ledger_id, as_of=as_of, limit=1_000).items
    }


def _without_expired(
    accounts: dict[str, Account], holds: list[Hold], moment: datetime
) -> dict[str, Account]:
    """The accounts without what was held by holds that had expired by then."""
    after = dict(accounts)
    for hold in holds:
        if hold.due_at is not None and hold.due_at <= moment:
            debit, credit = after[hold.debit_account_id], after[hold.credit_account_id]
            after[hold.debit_account_id] = msgspec.structs.replace(
                debit, debits_held_minor=debit.debits_held_minor - hold.remaining_minor
            )
            after[hold.credit_account_id] = msgspec.structs.replace(
                credit, credits_held_minor=credit.credits_held_minor - hold.remaining_minor
            )
    return after


# A history takes half a second: shrinking it would take minutes.
@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    commands=st.lists(_commands, min_size=5, max_size=25),
    pauses=st.lists(st.sampled_from([0, 0, 20, 60]), min_size=5, max_size=5),
)
def test_what_was_held_then_is_shown_as_of_then(
    database_url: str, commands: list[Command], pauses: list[int]
) -> None:
    """At every position, and at the times around each due time, however late it was recorded."""
    with World(database_url, f"held-{next(_names)}") as world, _connection(database_url) as conn:
        world.run(*(opened(name, key=name, limit="1000") for name in "ABC"))
        for number, command in enumerate(commands):
            world.now += timedelta(seconds=pauses[number % len(pauses)])
            world.run(msgspec.structs.replace(command, key=f"k{number}"))
        world.now += timedelta(hours=1)
        world.run(deposited("A", 1, key="last"))
        world.catch_up()
        moments = list(_moments(world))
        due = {hold.due_at for *_, holds in moments for hold in holds if hold.due_at is not None}
        for (position, recorded_at, accounts, holds), following in zip(
            moments, [*moments[1:], None], strict=True
        ):
            as_of = AsOf(position=position)
            folded = {name: _figures(account) for name, account in accounts.items()}
            assert _shown(conn, world.ledger_id, as_of) == folded
            end = world.now if following is None else following[1]
            between = {moment for moment in due if recorded_at <= moment < end}
            for moment in {*between, *(item - timedelta(microseconds=1) for item in between)}:
                if recorded_at <= moment:
                    right = _without_expired(accounts, holds, moment)
                    expected = {name: _figures(account) for name, account in right.items()}
                    asked = AsOf(recorded_at=moment)
                    assert _shown(conn, world.ledger_id, asked) == expected
                    (total,) = totals(conn, world.ledger_id, as_of=asked).totals
                    assert total.debits_held_minor == sum(
                        account.debits_held_minor for account in right.values()
                    )
                    assert total.credits_held_minor == total.debits_held_minor


def test_a_hold_that_expired_before_the_moment_no_longer_holds(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """Its expiry counts from its due time, which is inclusive, though it was recorded later."""
    placed = bank.run(
        PlaceHold(
            key="h",
            debit_account_id="A",
            credit_account_id="B",
            amount="300",
            currency="EUR",
            timeout_s=60,
        )
    )[0]
    due_at = placed.recorded_at + timedelta(seconds=60)
    bank.now += timedelta(days=1)
    assert answers(bank.run(transfer("A", "B", 1, key="later"))) == ["recorded"]
    bank.catch_up()
    ledger = bank.ledger_id
    held = balance(conn, ledger, "A", as_of=AsOf(position=placed.position))
    assert (held.held_minor, held.available_minor) == (300, 700)
    just_before = balance(
        conn, ledger, "A", as_of=AsOf(recorded_at=due_at - timedelta(microseconds=1))
    )
    assert (just_before.held_minor, just_before.position) == (300, placed.position)
    at = AsOf(recorded_at=due_at)
    freed = balance(conn, ledger, "A", as_of=at)
    assert (freed.held_minor, freed.available_minor) == (0, 1_000)
    assert (freed.position, freed.version) == (placed.position, held.version)
    assert balance(conn, ledger, "B", as_of=at).incoming_held_minor == 0
    hold_id = f"hld_{placed.position}"
    for as_of, status, resolved_at in (
        (AsOf(position=placed.position), "open", None),
        (AsOf(recorded_at=due_at - timedelta(microseconds=1)), "open", None),
        (at, "expired", due_at),
        (AsOf(), "expired", due_at),
    ):
        found = kept_item(conn, ledger, "hold", hold_id, as_of=as_of)
        assert found is not None
        assert (found.state.status, found.state.resolved_at) == (status, resolved_at)
    both = AsOf(position=placed.position, recorded_at=due_at)
    assert balance(conn, ledger, "A", as_of=both).held_minor == 0


def test_a_limit_counts_from_its_day_however_late_that_was_recorded(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """A scheduled limit counts from midnight; one that was set counts from when it was set."""
    tomorrow = (bank.now + timedelta(days=1)).date()
    bank.run(SetLimit(key="l", account_id="A", limit="500", effective_date=tomorrow))
    midnight = datetime.combine(tomorrow, datetime.min.time(), tzinfo=bank.now.tzinfo)
    bank.now = midnight + timedelta(hours=9)
    bank.run(transfer("A", "B", 1, key="t"))
    bank.run(SetLimit(key="m", account_id="A", limit="700", effective_date=tomorrow))
    bank.catch_up()
    limits = [
        balance(conn, bank.ledger_id, "A", as_of=AsOf(recorded_at=moment)).limit_minor
        for moment in (
            midnight - timedelta(microseconds=1),
            midnight,
            midnight + timedelta(hours=8),
            bank.now,
        )
    ]
    assert limits == [0, 500, 500, 700]
