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
from projections.balance_queries import balance
from projections.reading import AsOf
from projections.statement_queries import Axis, LineKey, StatementLine, StatementPage, statement

_names = count(1)
TODAY = START.date()
DAY = timedelta(days=1)
_days = st.integers(-4, 3).map(lambda days: TODAY + timedelta(days))
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
