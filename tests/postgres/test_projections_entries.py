"""Lists of entries: every filter, alone and together, is what looking at each entry would give."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count

import msgspec
import pytest
import sqlalchemy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened, transfer
from tests.strategies import START

from ledger_core import database, events
from ledger_core.commands import Command
from ledger_core.deposits import Deposit
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.journal import JournalEntryPosted, entry_id_at, value_date_at
from ledger_core.reversals import ReverseEntry
from ledger_core.transfers import Transfer
from projections.entry_queries import EntryFilters, Walk, entries
from projections.reading import AsOf

_names = count(1)
_days = st.none() | st.integers(-40, 5).map(lambda days: START.date() + timedelta(days))
_accounts = st.sampled_from("ABC")
# Two of these make one tag: metadata:a=b=c.
_metadata = st.none() | st.dictionaries(
    st.sampled_from(["a", "a=b", "run"]), st.sampled_from(["c", "b=c", "7"]), max_size=3
)
_codes = st.none() | st.sampled_from(["rent", "fee"])
_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        Deposit,
        account_id=_accounts,
        amount=st.just("100"),
        currency=st.just("EUR"),
        value_date=_days,
        metadata=_metadata,
        code=_codes,
    ),
    st.builds(
        Transfer,
        debit_account_id=_accounts,
        credit_account_id=_accounts,
        amount=st.just("5"),
        currency=st.just("EUR"),
        value_date=_days,
        metadata=_metadata,
        code=_codes,
        reference=st.none() | st.sampled_from(["r1", "r2"]),
    ),
    st.builds(ReverseEntry, reverses=st.integers(4, 12).map("jrn_{}".format)),
)
_filters = st.builds(
    EntryFilters,
    account_id=st.none() | st.sampled_from(["A", "B", "C", "nobody"]),
    kind=st.none() | st.sampled_from(["deposit", "transfer", "reversal", "journal"]),
    code=_codes,
    reference=st.none() | st.sampled_from(["r1", "never"]),
    metadata=_metadata.map(lambda wanted: wanted or {}),
    from_position=st.none() | st.integers(1, 20),
    to_position=st.none() | st.integers(1, 20),
    value_date_from=_days,
    value_date_to=_days,
)


@contextmanager
def _connection(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    engine = database.engine(database_url, "ledger_reader")
    with engine.connect() as conn:
        yield conn
    engine.dispose()


def _keyed(commands: list[Command]) -> list[Command]:
    """The commands, each with a key of its own."""
    return [
        msgspec.structs.replace(command, key=f"k{number}")
        for number, command in enumerate(commands)
    ]


def _found(world: World, filters: EntryFilters) -> list[str]:
    """The entries' ids as one finds them by looking at each."""
    found = []
    for item in world.stored():
        event = events.decode(item.type, item.version, item.data)
        if not isinstance(event, JournalEntryPosted):
            continue
        value_date = value_date_at(event, item.recorded_at)
        sides = [post.side for post in event.postings if post.account_id == filters.account_id]
        holds = (
            filters.account_id is None
            or (sides if filters.side is None else filters.side in sides),
            filters.kind in {None, event.kind},
            filters.code in {None, event.code},
            filters.reference in {None, event.reference},
            filters.metadata.items() <= (event.metadata or {}).items(),
            (filters.from_position or 0) <= item.position <= (filters.to_position or 10**9),
            (filters.value_date_from or date.min) <= value_date,
            value_date <= (filters.value_date_to or date.max),
        )
        if all(holds):
            found.append(entry_id_at(event, item.position))
    return found


def _pages(
    conn: sqlalchemy.Connection, ledger_id: int, filters: EntryFilters, walk: Walk
) -> list[str]:
    """The ids on all pages together."""
    found: list[str] = []
    while True:
        page = entries(conn, ledger_id, filters=filters, walk=walk)
        assert len(page.items) <= walk.limit
        found += [entry_id_at(item.entry, item.position) for item in page.items]
        if page.next_after is None:
            return found
        walk = msgspec.structs.replace(walk, after=page.next_after)


# A history takes half a second: shrinking it would take minutes.
@settings(max_examples=12, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    commands=st.lists(_commands, min_size=4, max_size=14),
    filters=st.lists(_filters, min_size=8, max_size=8),
    side=st.sampled_from(["debit", "credit"]),
    limit=st.integers(1, 5),
    scan_max=st.integers(1, 9),
)
def test_a_list_has_exactly_the_entries_that_are_as_asked(  # noqa: PLR0913, PLR0917 - drawn
    database_url: str,
    commands: list[Command],
    filters: list[EntryFilters],
    side: str,
    limit: int,
    scan_max: int,
) -> None:
    """In both directions, on pages of any size, however few candidates one request looks at."""
    with World(database_url, f"entries-{next(_names)}") as world, _connection(database_url) as conn:
        world.run(*(opened(name, key=name, limit=None) for name in "ABC"))
        world.run(*_keyed(commands))
        world.catch_up()
        for drawn in (EntryFilters(), *filters):
            wanted = drawn
            if drawn.account_id is not None and drawn.kind is None:
                wanted = msgspec.structs.replace(drawn, side=side)
            expected = _found(world, wanted)
            walk = Walk(limit=limit, scan_max=scan_max)
            assert _pages(conn, world.ledger_id, wanted, walk) == expected
            backwards = Walk(limit=limit, newest_first=True)
            assert _pages(conn, world.ledger_id, wanted, backwards) == expected[::-1]


@pytest.fixture
def conn(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    with _connection(database_url) as conn:
        yield conn


def test_a_list_of_the_past_knows_no_later_entry_and_no_later_reversal(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """A reversal is named once it is there, and not at positions before it."""
    moved = bank.run(transfer("A", "B", 10, key="t"))[0].position
    undone = bank.run(ReverseEntry(key="r", reverses=f"jrn_{moved}"))[0].position
    bank.catch_up()
    now = {item.position: item.reversed_position for item in entries(conn, bank.ledger_id).items}
    assert now == {4: None, moved: undone, undone: None}
    then = entries(conn, bank.ledger_id, as_of=AsOf(position=moved))
    assert {item.position: item.reversed_position for item in then.items} == {4: None, moved: None}
    assert (then.position, then.next_after) == (moved, None)


def test_an_entry_with_several_lines_on_one_side_is_listed_once(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """Candidates are positions, not lines."""
    legs = [("A", "debit", "30"), ("A", "debit", "20"), ("B", "credit", "50")]
    position = bank.run(
        PostEntry(
            key="p",
            postings=tuple(
                PostingLine(account_id=name, side=side, amount=amount, currency="EUR")  # type: ignore[arg-type]
                for name, side, amount in legs
            ),
        )
    )[0].position
    bank.catch_up()
    page = entries(conn, bank.ledger_id, filters=EntryFilters(account_id="A", side="debit"))
    assert [item.position for item in page.items] == [position]


def test_a_rare_entry_is_found_by_its_tag_without_reading_the_others(
    bank: World, conn: sqlalchemy.Connection
) -> None:
    """One look suffices, though all the other entries come before it."""
    bank.run(*(deposited("A", 1, key=f"d{number}") for number in range(30)))
    position = bank.run(deposited("A", 1, key="rare", metadata={"run": "x" * 500}))[0].position
    bank.catch_up()
    for filters in (
        EntryFilters(metadata={"run": "x" * 500}),
        EntryFilters(metadata={"run": "x" * 500}, account_id="A"),
    ):
        page = entries(conn, bank.ledger_id, filters=filters, walk=Walk(scan_max=2))
        assert [item.position for item in page.items] == [position]
        assert page.next_after is None
    rest = entries(
        conn, bank.ledger_id, filters=EntryFilters(kind="transfer"), walk=Walk(scan_max=9)
    )
    assert (rest.items, rest.next_after) == ((), 9)
