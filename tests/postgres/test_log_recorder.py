"""The log passes the eventsourcing library's own test cases for a DCB recorder."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBQueryItem
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import IntegrityError, ProgrammingError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger_core import database, log, merkle
from ledger_core.log_recorder import LogRecorder

_START = datetime(2026, 1, 1, tzinfo=UTC)


class _LibraryCases(DCBRecorderTestCase):
    """The library's cases, callable from plain tests."""

    def runTest(self) -> None:  # noqa: N802 - unittest's name
        """Nothing by itself."""


def _clock() -> Callable[[], datetime]:
    """A clock that moves a second a reading."""
    ticks = iter(range(10**9))
    return lambda: _START + timedelta(seconds=next(ticks))


@pytest.fixture
def recorder(database_url: str) -> LogRecorder:
    """A recorder on an empty ledger."""
    with database.connect(database_url, "ledger_writer") as connection:
        ledger_id = log.create_ledger(connection, "dcb", _START)
    return LogRecorder(lambda: database.connect(database_url, "ledger_writer"), ledger_id, _clock())


def test_the_librarys_append_and_read_cases_pass(recorder: LogRecorder) -> None:
    """All of the library's append, read and condition cases hold on the log."""
    _LibraryCases()._test_append_read(recorder)  # noqa: SLF001 - the library's entry point


def test_the_librarys_subscription_cases_pass(recorder: LogRecorder) -> None:
    """A subscription delivers what is there, blocks, and delivers what comes."""
    _LibraryCases()._test_append_subscribe(recorder)  # noqa: SLF001 - the library's entry point


def test_no_events_cannot_be_appended(recorder: LogRecorder) -> None:
    """Appending nothing is a mistake of the program's."""
    with pytest.raises(ProgrammingError):
        recorder.append([])


def test_a_stopped_subscription_ends(recorder: LogRecorder) -> None:
    """A blocked reader is released when the subscription stops."""
    subscription = recorder.subscribe()
    ended = threading.Event()

    def consume() -> None:
        """Read until the end."""
        for _ in subscription:
            pass
        ended.set()

    thread = threading.Thread(target=consume)
    with subscription:
        thread.start()
    assert ended.wait(5)
    thread.join()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    payloads=st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
            st.one_of(st.binary(), st.just(b'{"a": 1e2 }'), st.just(b'{"a":"\\u0000"}')),
            st.lists(
                st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
                max_size=3,
            ),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_event_comes_back_exactly(
    recorder: LogRecorder, payloads: list[tuple[str, bytes, list[str]]]
) -> None:
    """Types, tags and payload bytes survive COPY, whatever characters they hold."""
    events = [DCBEvent(type=kind, data=data, tags=tags) for kind, data, tags in payloads]
    last = recorder.append(events)
    read = list(recorder.read(after=last - len(events)))
    assert [item.event for item in read] == events
    assert [item.position for item in read] == list(range(last - len(events) + 1, last + 1))


def test_racing_writers_cannot_both_win(recorder: LogRecorder, database_url: str) -> None:
    """Of many appends under the same condition, one succeeds; positions stay gapless."""
    condition = DCBAppendCondition(DCBQuery([DCBQueryItem(tags=["seat:1"])]))
    outcomes: list[bool] = []

    def take_seat() -> None:
        """Try to be the only one."""
        try:
            recorder.append([DCBEvent(type="SeatTaken", data=b"{}", tags=["seat:1"])], condition)
        except IntegrityError:
            outcomes.append(False)
        else:
            outcomes.append(True)

    threads = [threading.Thread(target=take_seat) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 11 + [True]
    with database.connect(database_url, "ledger_reader") as connection:
        assert log.read_head(connection, 1).position == 1


def test_every_commit_is_sealed(recorder: LogRecorder, database_url: str) -> None:
    """The head's frontier is the tree over every stored event's columns."""
    for size in (1, 3, 7):
        recorder.append([DCBEvent(type="T", data=b'{"n":%d}' % size, tags=["t"])] * size)
    with database.connect(database_url, "ledger_reader") as connection:
        head = log.read_head(connection, 1)
        stored = log.read_events(connection, 1, 0, head.position)
    assert [log.leaf_hash_of(event) for event in stored] == [event.leaf_hash for event in stored]
    assert merkle.extend(merkle.EMPTY, [event.leaf_hash for event in stored]) == head.frontier
    assert [event.position for event in stored] == list(range(1, 12))
    times = [event.recorded_at for event in stored]
    assert times == sorted(times)
