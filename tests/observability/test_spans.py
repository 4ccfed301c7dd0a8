"""What becomes of notes: spans in the right trace, rows for the projector, and nobody waits."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from api import clock, trace_sending
from api.projection_traces import ProjectionTraces
from api.request_traces import ROW_AGE_S, RequestTraces
from api.trace_sending import Place, SpanSender
from api.trace_settings import TraceSettings
from api.tracing import Carried, CarriedOut, Drops, RequestSpan, Tracing, new_span_id
from ledger_core.database import Role, connect
from projections.registry import PROJECTIONS
from projections.runner import Taken

SETTINGS = TraceSettings(endpoint="http://127.0.0.1:9/v1/traces")
NAMES = tuple(projection.name for projection in PROJECTIONS)
NOW_NS = clock.now_ns()


def _span(number: int) -> RequestSpan:
    """The span of a request in a trace of its own."""
    return RequestSpan(f"{number:032x}", new_span_id(), None, "v=1", NOW_NS, NOW_NS + 1_000)


def _until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def _ids(span: ReadableSpan) -> tuple[int, int, int]:
    """Trace, span and parent."""
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id, 0 if span.parent is None else span.parent.span_id


def test_a_transaction_of_many_requests_is_in_each_ones_trace(database_url: str) -> None:
    """The first has the transaction itself, linked to all; the others link to it; rows wait."""
    tracing, exporter = Tracing(SETTINGS), InMemorySpanExporter()
    traces = RequestTraces(SETTINGS, tracing, database_url, exporter)
    spans = [_span(number) for number in (1, 2, 3)]
    carried = [
        Carried(span, 1, refused, position)
        for span, refused, position in zip(spans, (0, 1, 0), (7, None, 8), strict=True)
    ]
    tracing.note(CarriedOut(1, 9, 12, carried, NOW_NS + 2_000, NOW_NS + 3_000, NOW_NS + 4_000))
    traces.stop()
    made = exporter.get_finished_spans()
    appends = [span for span in made if span.name == "ledger.append"]
    assert [_ids(span)[0] for span in appends] == [1, 2, 3]
    assert [_ids(span)[2] for span in appends] == [int(span.span_id, 16) for span in spans]
    assert [len(span.links) for span in appends] == [2, 1, 1]
    whole = _ids(appends[0])[1]
    assert [appends[at].links[0].context.span_id for at in (1, 2)] == [whole, whole]
    (commit,) = [span for span in made if span.name == "ledger.commit"]
    assert _ids(commit)[::2] == (1, whole)
    assert commit.start_time == NOW_NS + 3_000
    waits = [span for span in made if span.name == "ledger.queue"]
    assert {(span.start_time, span.end_time) for span in waits} == {
        (NOW_NS + 1_000, NOW_NS + 2_000)
    }
    with connect(database_url, "ledger_reader") as connection:
        rows = connection.execute(
            "SELECT position, traceparent, tracestate FROM traces.traced ORDER BY position"
        ).fetchall()
    expected = [(7, appends[0]), (8, appends[2])]
    assert rows == [
        (position, f"00-{_ids(span)[0]:032x}-{_ids(span)[1]:016x}-01", "v=1")
        for position, span in expected
    ]
    assert tracing.drops == Drops()
    assert tracing.exported == len(made) == 7


def _leave(url: str, position: int, at: datetime) -> None:
    """A row of a traced position, as a server leaves it."""
    with connect(url, "ledger_writer") as connection:
        connection.execute(
            "INSERT INTO traces.traced VALUES (1, %s, %s, NULL, %s)",
            (position, f"00-{position:032x}-{'b' * 16}-01", at),
        )


def _rows(url: str) -> list[int]:
    """The positions of the rows there are."""
    with connect(url, "ledger_reader") as connection:
        return [row[0] for row in connection.execute("SELECT position FROM traces.traced")]


def test_each_batch_that_takes_a_position_is_told_once(database_url: str) -> None:
    """Also where projections go apart; rows of others' batches stay, and go when they are old."""
    exporter = InMemorySpanExporter()
    traces = ProjectionTraces(SETTINGS, database_url, exporter)
    now = clock.now()
    try:
        _leave(database_url, 5, now)
        _leave(database_url, 6, now)
        _leave(database_url, 40, now)
        _leave(database_url, 41, now - timedelta(seconds=ROW_AGE_S + 60))
        for names, first, last in ((NAMES[:3], 1, 5), (NAMES[:3], 6, 9), (NAMES[3:], 1, 5)):
            traces.begins()
            traces.took(1, Taken(names, first, last))
        traces.took(2, Taken(NAMES, 1, 100))
        _until(lambda: sorted(_rows(database_url)) == [6, 40])
    finally:
        traces.stop()
    told = [
        (
            attributes["ledger.position"],
            attributes["ledger.projections"],
            attributes["ledger.lag_ms"],
        )
        for span in exporter.get_finished_spans()
        if (attributes := span.attributes) is not None
    ]
    assert sorted(item[:2] for item in told) == [(5, 3), (5, len(NAMES) - 3), (6, 3)]
    assert all(isinstance(item[2], float) and 0 <= item[2] < 60_000 for item in told)


def test_a_row_may_come_after_its_batch(database_url: str) -> None:
    """The batch is remembered; the span is in the request's trace, under its append."""
    exporter = InMemorySpanExporter()
    traces = ProjectionTraces(SETTINGS, database_url, exporter)
    try:
        traces.begins()
        traces.took(1, Taken(NAMES, 1, 9))
        time.sleep(0.6)
        _leave(database_url, 9, clock.now())
        _until(lambda: not _rows(database_url))
    finally:
        traces.stop()
    (span,) = exporter.get_finished_spans()
    assert (_ids(span)[0], _ids(span)[2]) == (9, int("b" * 16, 16))


def test_only_the_writer_leaves_rows_and_no_reader_deletes_them(database_url: str) -> None:
    """Whoever reads, reads."""
    insert = f"INSERT INTO traces.traced VALUES (1, 1, '{'0' * 55}', NULL, '2026-01-01')"
    tried: tuple[tuple[Role, str], ...] = (
        ("ledger_projector", insert),
        ("ledger_reader", insert),
        ("ledger_reader", "DELETE FROM traces.traced"),
        ("ledger_writer", "UPDATE traces.traced SET position = 2"),
    )
    for role, statement in tried:
        with (
            connect(database_url, role) as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement.encode())


@pytest.fixture
def deaf() -> Iterator[str]:
    """The address of a collector that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1/traces"


def test_nobody_waits_for_a_collector_that_does_not_answer(
    deaf: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is dropped and counted; so is what could not be sent at the end."""
    monkeypatch.setattr(trace_sending, "SPANS_MAX", 500)
    monkeypatch.setattr(trace_sending, "STOP_S", 0.5)
    monkeypatch.setattr(trace_sending, "SEND_TIMEOUT_S", 1.0)
    drops = Drops()
    sender = SpanSender(deaf, "server", drops)
    begun = time.monotonic()
    for number in range(1, 2_001):
        place = Place(f"{number:032x}", new_span_id(), None)
        sender.add("x", place, None, begun_ns=NOW_NS, ended_ns=NOW_NS + 1)
    assert time.monotonic() - begun < 20
    assert drops.queue >= 500
    sender.stop()
    assert sender.sent == 0
    _until(lambda: drops.queue + drops.export >= 2_000)
    names = [thread.name for thread in threading.enumerate()]
    _until(lambda: names.count("trace-sender") <= 1)


def test_spans_that_are_refused_are_counted_and_later_ones_are_sent() -> None:
    """A collector may be away for a while."""
    drops, exporter = Drops(), InMemorySpanExporter()
    exporter.shutdown()  # It refuses everything from now on.
    sender = SpanSender("", "server", drops, exporter)
    sender.add("x", Place("1" * 32, "2" * 16, None), None, begun_ns=2, ended_ns=1)
    _until(lambda: drops.export == 1)
    sender.stop()
    assert (sender.sent, drops.queue) == (0, 0)
