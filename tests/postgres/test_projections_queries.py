"""Questions to the views: figures, pages, periods, customers, and moments that do not exist."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened, transfer, withdrawn

from ledger_core import database
from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.blocks import FreezeAccount
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import AccountNotFound, CustomerNotFound, LedgerNotFound
from projections.balance_queries import Filters, balance, balances
from projections.customer_queries import customer, customers
from projections.flag_queries import flags
from projections.reading import NOW, AsOf, PositionAhead
from projections.statement_queries import StatementLine, statement
from projections.trial_balance_queries import control_totals, trial_balance

if TYPE_CHECKING:
    from projections.statement_pages import LineKey

FIRST, SECOND, THIRD = date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 3)


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A customer with two accounts, and entries that count on three days, not in their order."""
    with World(database_url) as world:
        outcomes = world.run(
            RegisterCustomer(key="c", customer_id="ann", profile={"name": "Ann"}),
            opened("A", key="a", customer_id="ann", code="10", name="current"),
            opened("B", key="b", limit="500"),
            deposited("A", 1_000, key="1", value_date=SECOND, reference="r1"),
            transfer("A", "B", 300, key="2", value_date=THIRD, description="rent"),
            deposited("A", 50, key="3", value_date=FIRST, entry_id="e3"),
            withdrawn("B", 100, key="4", value_date=SECOND),
        )
        assert {item.status for item in outcomes} == {"recorded"}
        world.catch_up()
        yield world


@pytest.fixture
def conn(world: World) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    engine = database.engine(world.url, "ledger_reader")
    with engine.connect() as conn:
        yield conn
    engine.dispose()


def _fresh(world: World, conn: sqlalchemy.Connection) -> int:
    """Project everything, and look at it in a new transaction."""
    position = world.catch_up()
    conn.rollback()
    return position


def _when(world: World, position: int) -> datetime:
    """When an event was recorded."""
    return world.stored()[position - 1].recorded_at


def test_a_balance_now_then_and_by_value_date(world: World, conn: sqlalchemy.Connection) -> None:
    """Both times may be fixed, alone or together; the first entry stands at position 5."""
    ledger = world.ledger_id
    now = balance(conn, ledger, "A")
    assert (now.posted_minor, now.available_minor, now.held_minor) == (750, 750, 0)
    assert (now.debits_posted_minor, now.credits_posted_minor) == (300, 1_050)
    assert (now.position, now.recorded_at) == (8, _when(world, 8))
    assert (now.code, now.name, now.version) == ("10", "current", 4)
    assert balance(conn, ledger, "B").available_minor == 700
    assert balance(conn, ledger, "A", as_of=AsOf(position=5)).posted_minor == 1_000
    days = [balance(conn, ledger, "A", value_date=day) for day in (FIRST, SECOND, THIRD)]
    assert [item.posted_minor for item in days] == [50, 1_050, 750]
    assert {item.available_minor for item in days} == {None}
    before = AsOf(position=6)
    assert balance(conn, ledger, "A", as_of=before, value_date=SECOND).posted_minor == 1_000
    assert balance(conn, ledger, "A", as_of=before, value_date=FIRST).posted_minor == 0


def test_as_of_a_time_is_inclusive(world: World, conn: sqlalchemy.Connection) -> None:
    """What was recorded at that very moment counts, a microsecond before it does not."""
    later = world.run(deposited("A", 7, key="later"))[0]
    _fresh(world, conn)
    at = AsOf(recorded_at=later.recorded_at)
    just_before = AsOf(recorded_at=later.recorded_at - timedelta(microseconds=1))
    assert balance(conn, world.ledger_id, "A", as_of=at).position == later.position
    assert balance(conn, world.ledger_id, "A", as_of=just_before).position == 8
    both = AsOf(position=6, recorded_at=later.recorded_at)
    assert balance(conn, world.ledger_id, "A", as_of=both).position == 6
    long_ago = AsOf(recorded_at=datetime(1970, 1, 1, tzinfo=UTC))
    with pytest.raises(AccountNotFound):
        balance(conn, world.ledger_id, "A", as_of=long_ago)


def test_terms_of_the_past_are_those_of_the_past(world: World, conn: sqlalchemy.Connection) -> None:
    """Limit, blocks, holders and version, exactly as they were."""
    then = balance(conn, world.ledger_id, "B")
    world.run(
        SetLimit(key="l", account_id="B", limit=None),
        FreezeAccount(key="f", account_id="B", cause="court"),
        LinkCustomer(key="h", account_id="B", customer_id="ann", role="joint"),
        deposited("B", 5, key="5"),
    )
    _fresh(world, conn)
    now = balance(conn, world.ledger_id, "B")
    assert (now.limit_minor, now.available_minor, now.version) == (None, None, 6)
    assert (now.blocks[0].cause, now.holders[0].customer_id) == ("court", "ann")
    assert balance(conn, world.ledger_id, "B", as_of=AsOf(position=8)) == then


def test_moments_and_accounts_that_do_not_exist(world: World, conn: sqlalchemy.Connection) -> None:
    """Ahead of the projections, before the opening, of no ledger."""
    with pytest.raises(PositionAhead) as ahead:
        balance(conn, world.ledger_id, "A", as_of=AsOf(position=9))
    assert (ahead.value.asked, ahead.value.reached) == (9, 8)
    with pytest.raises(AccountNotFound):
        balance(conn, world.ledger_id, "B", as_of=AsOf(position=2))
    with pytest.raises(AccountNotFound):
        balance(conn, world.ledger_id, "nobody")
    with pytest.raises(CustomerNotFound):
        customer(conn, world.ledger_id, "ann", as_of=AsOf(position=0))
    with pytest.raises(LedgerNotFound):
        balances(conn, world.ledger_id + 1)


def test_balances_by_page_and_by_filter(world: World, conn: sqlalchemy.Connection) -> None:
    """Every account once, in the order of ids, from the same moment."""
    seen: list[str] = []
    after: str | None = None
    while True:
        page = balances(conn, world.ledger_id, after=after, limit=1)
        seen += [item.account_id for item in page.items]
        after = page.next_after
        if after is None:
            break
    assert seen == ["A", "B", "bank:counter:EUR"]

    def found(as_of: AsOf = NOW, **wanted: str) -> list[str]:
        page = balances(
            conn,
            world.ledger_id,
            as_of=as_of,
            filters=Filters(**wanted),  # type: ignore[arg-type]
        )
        return [item.account_id for item in page.items]

    assert found(prefix="bank:") == ["bank:counter:EUR"]
    assert found(prefix="%") == []
    assert found(code="10") == ["A"]
    assert found(account_type="liability", currency="EUR") == ["A", "B"]
    assert found(customer_id="ann") == ["A"]
    world.run(UnlinkCustomer(key="u", account_id="A", customer_id="ann", role="owner"))
    _fresh(world, conn)
    assert found(customer_id="ann") == []
    assert found(AsOf(position=8), customer_id="ann") == ["A"]
    assert found(AsOf(position=2)) == ["A"]


def test_a_statement_has_every_posting_with_the_balance_after_it(
    world: World, conn: sqlalchemy.Connection
) -> None:
    """In booking order, with what the entry says and who is on the other side."""
    page = statement(conn, world.ledger_id, "A")
    assert (page.opening_minor, page.closing_minor, page.next_after) == (0, 750, None)
    assert [(line.side, line.amount_minor, line.balance_minor) for line in page.lines] == [
        ("credit", 1_000, 1_000),
        ("debit", 300, 700),
        ("credit", 50, 750),
    ]
    first, second, third = page.lines
    assert (first.reference, first.kind, first.entry_id) == ("r1", "deposit", "jrn_5")
    assert (second.description, second.counterparties) == ("rent", ("B",))
    assert (third.entry_id, third.value_date) == ("e3", FIRST)
    assert third.booking_date == _when(world, 7).date()


def test_a_period_opens_with_what_counted_before_it(
    world: World, conn: sqlalchemy.Connection
) -> None:
    """From and to are value dates, inclusive; a value date cuts off what counts later."""
    page = statement(conn, world.ledger_id, "A", from_date=SECOND, to_date=SECOND)
    assert (page.opening_minor, page.closing_minor) == (50, 1_050)
    assert [line.balance_minor for line in page.lines] == [1_050]
    page = statement(conn, world.ledger_id, "A", value_date=SECOND)
    assert (page.opening_minor, page.closing_minor) == (0, 1_050)
    assert [line.balance_minor for line in page.lines] == [1_000, 1_050]
    empty = statement(conn, world.ledger_id, "A", from_date=date(2026, 4, 1))
    assert (empty.opening_minor, empty.closing_minor, empty.lines) == (750, 750, ())


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("from_date", [None, SECOND])
def test_pages_of_a_statement_make_up_the_whole(
    world: World,
    conn: sqlalchemy.Connection,
    newest_first: bool,  # noqa: FBT001 - a parameter of the test
    from_date: date | None,
) -> None:
    """Whatever the size of the page, also in the middle of an entry with two lines."""
    legs = [("A", "debit", "30"), ("B", "credit", "10"), ("A", "credit", "20")]
    world.run(
        PostEntry(
            key="p",
            postings=tuple(
                PostingLine(account_id=name, side=side, amount=amount, currency="EUR")  # type: ignore[arg-type]
                for name, side, amount in legs
            ),
        )
    )
    _fresh(world, conn)
    whole = statement(conn, world.ledger_id, "A", from_date=from_date, newest_first=newest_first)
    assert len(whole.lines) == (5 if from_date is None else 4)
    for limit in (1, 2, 3):
        lines: list[StatementLine] = []
        after: LineKey | None = None
        while True:
            page = statement(
                conn,
                world.ledger_id,
                "A",
                from_date=from_date,
                after=after,
                limit=limit,
                newest_first=newest_first,
            )
            assert page.closing_minor == whole.closing_minor
            lines += page.lines
            after = page.next_after
            if after is None:
                break
        assert tuple(lines) == whole.lines
    ordered = whole.lines[::-1] if newest_first else whole.lines
    for before, line in pairwise(ordered):
        signed = line.amount_minor if line.side == "credit" else -line.amount_minor
        assert line.balance_minor == before.balance_minor + signed


def test_the_trial_balance_ties_at_any_moment(world: World, conn: sqlalchemy.Connection) -> None:
    """Debits equal credits, and the control totals say the same."""
    now = trial_balance(conn, world.ledger_id)
    rows = {row.account_id: (row.debit_minor, row.credit_minor) for row in now.rows}
    assert rows == {"A": (0, 750), "B": (0, 200), "bank:counter:EUR": (950, 0)}
    (total,) = now.totals
    assert (total.debit_minor, total.credit_minor, total.accounts) == (950, 950, 3)
    assert total.debits_posted_minor == total.credits_posted_minor == 1_450
    then = trial_balance(conn, world.ledger_id, as_of=AsOf(position=6))
    assert {row.account_id: row.credit_minor for row in then.rows if row.credit_minor} == {
        "A": 700,
        "B": 300,
    }
    valued = trial_balance(conn, world.ledger_id, value_date=FIRST)
    assert {row.account_id: row.credit_minor for row in valued.rows} == {
        "A": 50,
        "B": 0,
        "bank:counter:EUR": 0,
    }
    control = {item.account_type: item for item in control_totals(conn, world.ledger_id)}
    assert control["liability"].credits_posted_minor == 1_350
    assert control["asset"].debits_posted_minor == 1_050
    assert sum(item.accounts for item in control.values()) == 3


def test_a_customer_in_one_read(world: World, conn: sqlalchemy.Connection) -> None:
    """Profile, accounts with roles, newest activity over all of them, and open flags."""
    world.run(
        LinkCustomer(key="h", account_id="B", customer_id="ann", role="joint"),
        ChangeProfile(
            key="p",
            customer_id="ann",
            changes={"segment": "retail", "email": "a@b.c"},
            reason="asked",
        ),
        deposited("B", 2_000_000, key="big"),
    )
    position = _fresh(world, conn)
    found = customer(conn, world.ledger_id, "ann", recent=3)
    assert found.position == position
    assert (found.public, set(found.sealed)) == ({"segment": "retail"}, {"name", "email"})
    assert [(item.balance.account_id, item.roles) for item in found.accounts] == [
        ("A", ("owner",)),
        ("B", ("joint",)),
    ]
    assert [item.account_id for item in found.recent] == ["B", "B", "A"]
    assert found.recent[0].balance_minor == 2_000_200
    assert [flag.rule for flag in found.flags] == ["large_movement"]
    then = customer(conn, world.ledger_id, "ann", as_of=AsOf(position=8))
    assert (then.public, set(then.sealed), len(then.accounts)) == ({}, {"name"}, 1)
    assert then.flags == ()


def test_an_erased_customer_has_no_personal_data_left(
    world: World, conn: sqlalchemy.Connection
) -> None:
    """The view forgets the ciphertext too; accounts and figures stay."""
    world.run(EraseCustomer(key="x", customer_id="ann", reason="asked"))
    _fresh(world, conn)
    found = customer(conn, world.ledger_id, "ann")
    assert (found.erased, found.sealed) == (True, {})
    assert [item.balance.posted_minor for item in found.accounts] == [750]
    page = customers(conn, world.ledger_id)
    assert [(item.customer_id, item.erased) for item in page.items] == [("ann", True)]


def test_flags_by_account_customer_rule_and_page(world: World, conn: sqlalchemy.Connection) -> None:
    """The newest first, each once; those of the past are those raised by then."""
    world.run(*(deposited("A", 950_000, key=f"s{number}") for number in range(3)))
    middle = world.catch_up()
    world.run(deposited("B", 1_000_000, key="big-b"), deposited("A", 1_000_000, key="big-a"))
    _fresh(world, conn)
    every = flags(conn, world.ledger_id).items
    assert [(flag.rule, flag.account_id) for flag in every] == [
        ("large_movement", "A"),
        ("large_movement", "B"),
        ("structuring", "A"),
    ]
    seen: list[str] = []
    after: tuple[int, str] | None = None
    for _ in every:
        page = flags(conn, world.ledger_id, after=after, limit=1)
        seen += [flag.flag_id for flag in page.items]
        after = page.next_after
    assert (seen, after) == ([flag.flag_id for flag in every], None)
    assert flags(conn, world.ledger_id, account_id="B").items == every[1:2]
    assert flags(conn, world.ledger_id, customer_id="ann").items == (every[0], every[2])
    assert flags(conn, world.ledger_id, rule="structuring").items == every[2:]
    assert flags(conn, world.ledger_id, as_of=AsOf(position=middle)).items == every[2:]
    assert every[2].positions == (middle - 2, middle - 1, middle)
