"""Statements on both axes of time: lines in booking order, or by value date."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import count, groupby
from typing import Any

import msgspec
import sqlalchemy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened, transfer, withdrawn
from tests.strategies import START

from ledger_core import database
from ledger_core.commands import Command
from ledger_core.journal import JournalEntryPosted, value_date_at
from projections.balance_queries import balance
from projections.reading import AsOf
from projections.statement_pages import Axis, LineKey
from projections.statement_queries import StatementLine, StatementPage, statement

_names = count(1)
TODAY = START.date()
DAY = timedelta(days=1)
AXES: tuple[Axis, ...] = ("booking", "value_date")
_days = st.integers(-4, 3).map(lambda days: TODAY + timedelta(days))
_spread = st.integers(-6, 12).map(lambda days: TODAY + timedelta(days))
_accounts = st.sampled_from("AB")
_amounts = st.sampled_from([1, 20, 300])
_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(deposited, _accounts, _amounts, value_date=st.none() | _days),
    st.builds(withdrawn, _accounts, _amounts, value_date=st.none() | _days),
    st.builds(transfer, _accounts, _accounts, _amounts, value_date=st.none() | _days),
)


@contextmanager
def _connection(database_url: str) -> Iterator[sqlalchemy.Connection]:
    """A reader's connection."""
    engine = database.engine(database_url, "ledger_reader")
    with engine.connect() as conn:
        yield conn
    engine.dispose()


# A history takes half a second: shrinking it would take minutes.
@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    commands=st.lists(_commands, min_size=4, max_size=12),
    first=st.none() | _days,
    last=st.none() | _days,
    limit=st.integers(1, 4),
)
def test_a_statement_by_value_date_runs_from_day_to_day(
    database_url: str, commands: list[Command], first: date | None, last: date | None, limit: int
) -> None:
    """Each day ends with the balance by that value date; pages make up the whole; ends agree."""
    with World(database_url, f"axes-{next(_names)}") as world, _connection(database_url) as conn:
        world.run(*(opened(name, key=name, limit=None) for name in "AB"))
        world.run(
            *(
                msgspec.structs.replace(command, key=f"k{number}")
                for number, command in enumerate(commands)
            )
        )
        position = world.catch_up() - 1
        as_of = AsOf(position=position)

        def read(axis: Axis, **fields: Any) -> StatementPage:  # noqa: ANN401 - of the query
            return statement(
                conn,
                world.ledger_id,
                "A",
                as_of=as_of,
                from_date=first,
                to_date=last,
                axis=axis,
                **fields,
            )

        def balance_by(day: date) -> int:
            return balance(conn, world.ledger_id, "A", as_of=as_of, value_date=day).posted_minor

        whole = read("value_date")
        assert (whole.axis, whole.next_after) == ("value_date", None)
        booked = read("booking")
        assert (whole.opening_minor, whole.closing_minor) == (
            booked.opening_minor,
            booked.closing_minor,
        )
        places = [(line.value_date, line.position, line.line) for line in whole.lines]
        assert places == sorted(places)
        assert sorted(line.position for line in whole.lines) == [
            line.position for line in booked.lines
        ]
        for day, lines in groupby(whole.lines, key=lambda line: line.value_date):
            assert list(lines)[-1].balance_minor == balance_by(day)
        if first is not None:
            assert whole.opening_minor == balance_by(first - DAY)
        if last is not None and (first is None or first <= last):
            assert whole.closing_minor == balance_by(last)
        assert _pages(lambda after: read("value_date", after=after, limit=limit)) == whole.lines
        backwards = _pages(
            lambda after: read("value_date", after=after, limit=limit, newest_first=True)
        )
        assert backwards == whole.lines[::-1]


class _Line(msgspec.Struct, frozen=True, order=True):
    """A posting on account A, as the log has it; ``minor`` on the account's normal side."""

    value_date: date
    position: int
    line: int
    minor: int


def _lines(world: World) -> list[_Line]:
    """Every posting on account A, in the order of booking."""
    return [
        _Line(
            value_date_at(event, item.recorded_at),
            item.position,
            number,
            posting.amount_minor if posting.side == "credit" else -posting.amount_minor,
        )
        for item, event in zip(world.stored(), world.events(), strict=True)
        if isinstance(event, JournalEntryPosted)
        for number, posting in enumerate(event.postings)
        if posting.account_id == "A"
    ]


def _sum(lines: list[_Line]) -> int:
    """What the lines come to."""
    return sum(line.minor for line in lines)


# How many days pass before a command, and how far from its booking date it counts.
_steps = st.tuples(
    st.sampled_from([0, 0, 0, 1, 1, 3]),
    st.sampled_from([None, None, None, -4, -1, 1, 2]),
    st.sampled_from([deposited, withdrawn, transfer]),
    _amounts,
)


@settings(max_examples=10, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    steps=st.lists(_steps, min_size=6, max_size=16),
    spans=st.lists(st.tuples(st.none() | _spread, st.none() | _spread), min_size=2, max_size=4),
    limit=st.integers(1, 4),
    data=st.data(),
)
def test_any_page_is_what_adding_up_the_log_gives(
    database_url: str,
    steps: list[tuple[int, int | None, Callable[..., Command], int]],
    spans: list[tuple[date | None, date | None]],
    limit: int,
    data: st.DataObject,
) -> None:
    """Lines, balances and ends, on either axis, from either end, of any days, at any position."""
    with World(database_url, f"axes-{next(_names)}") as world, _connection(database_url) as conn:
        world.run(*(opened(name, key=name, limit=None) for name in "AB"))
        for number, (days, shift, command, amount) in enumerate(steps):
            world.now += days * DAY
            value_date = None if shift is None else world.now.date() + shift * DAY
            parties = ("A", "B") if command is transfer else ("A",)
            world.run(command(*parties, amount, value_date=value_date, key=f"k{number}"))
        position = data.draw(st.integers(2, world.catch_up()))
        as_of = AsOf(position=position)
        known = [line for line in _lines(world) if line.position <= position]
        for first, last in [(None, None), *spans]:
            counted = [
                line
                for line in known
                if (first is None or line.value_date >= first)
                and (last is None or line.value_date <= last)
            ]
            opening = _sum([x for x in known if first is not None and x.value_date < first])
            closing = _sum([x for x in known if last is None or x.value_date <= last])
            for axis in AXES:
                running, expected = opening, []
                for line in counted if axis == "booking" else sorted(counted):
                    running += line.minor
                    expected.append((line.value_date, line.position, line.line, running))
                for newest_first in (False, True):

                    def fetch(
                        after: LineKey | None,
                        fields: dict[str, Any] = {  # noqa: B006 - bound anew each time
                            "axis": axis,
                            "newest_first": newest_first,
                            "from_date": first,
                            "to_date": last,
                        },
                    ) -> StatementPage:
                        return statement(
                            conn,
                            world.ledger_id,
                            "A",
                            as_of=as_of,
                            after=after,
                            limit=limit,
                            **fields,
                        )

                    page = fetch(None)
                    assert (page.opening_minor, page.closing_minor) == (opening, closing)
                    shown = [
                        (line.value_date, line.position, line.line, line.balance_minor)
                        for line in _pages(fetch)
                    ]
                    assert shown == (expected[::-1] if newest_first else expected)
            day = last or TODAY
            by_day = balance(conn, world.ledger_id, "A", as_of=as_of, value_date=day)
            assert by_day.posted_minor == _sum([x for x in known if x.value_date <= day])


def _pages(fetch: Callable[[LineKey | None], StatementPage]) -> tuple[StatementLine, ...]:
    """The lines on all pages together."""
    lines: list[StatementLine] = []
    after: LineKey | None = None
    while True:
        page = fetch(after)
        lines += page.lines
        after = page.next_after
        if after is None:
            return tuple(lines)
