"""A request's trace, from the caller's span to the projector's, over real sockets and processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx2
from tests import leaks
from tests.observability.collector import Collector, Span, collecting

from api.runtime import Runtime

SOURCE = Path(__file__).resolve().parents[2] / "src"
PROGRAM = """
import sys
from pathlib import Path
from api import trace_settings
from api.runtime import Runtime
from api.serve import serve
from api.settings import Settings
url, folder, port = sys.argv[1:]
settings = Settings(
    data_dir=Path(folder),
    database_url=url,
    key_encryption_key=b"K" * 32,
    server_secret=b"S" * 32,
    self_audit_s=None,
    traces=trace_settings.load(),
)
with Runtime(settings) as runtime:
    serve(runtime, "127.0.0.1", int(port))
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"
SECRET = "Bearer-of-the-collector"
NAME, ACCOUNT = "Wilhelmina Quastenflosser", "quastenflosser-current"
PURPOSE = "rent of the boathouse"
ATTRIBUTES = {
    "db.system.name",
    "error.type",
    "http.request.method",
    "http.response.status_code",
    "http.route",
    "ledger.batch.first",
    "ledger.batch.last",
    "ledger.commands",
    "ledger.lag_ms",
    "ledger.ledger_id",
    "ledger.position",
    "ledger.projections",
    "ledger.refusal",
    "ledger.refused",
    "ledger.transaction.commands",
    "ledger.transaction.submissions",
}


class Served:
    """A server process that sends traces, and how to speak to it."""

    def __init__(self, process: subprocess.Popen[bytes], client: httpx2.Client) -> None:
        """Speak to a process that was started."""
        self.process = process
        self.client = client
        self._keys = 0

    def post(self, path: str, body: object, **headers: str) -> httpx2.Response:
        """Post with a key of its own."""
        self._keys += 1
        given = {"Idempotency-Key": f"k{self._keys}", **headers}
        return self.client.post(path, json=body, headers=given)


@contextmanager
def serving(
    runtime: Runtime, database_url: str, folder: Path, environment: dict[str, str]
) -> Iterator[Served]:
    """A server with these variables; ended hard if nobody ended it."""
    key = runtime.create_key(runtime.create_ledger("test"), "admin", "test")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with (folder / "server.stderr").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, database_url, str(folder), str(port)],
            env=clean | {"PYTHONPATH": str(SOURCE)} | environment,
            stderr=output,
        )
    url, bearer = f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {key}"}
    with httpx2.Client(base_url=url, headers=bearer, timeout=30) as client:
        try:
            _until_ready(client)
            yield Served(process, client)
        finally:
            process.kill()
            process.wait()


def _until_ready(client: httpx2.Client) -> None:
    """Wait for the server."""
    end = time.monotonic() + 60
    while True:
        try:
            if client.get("/readyz").is_success:
                return
        except httpx2.TransportError:
            pass
        assert time.monotonic() < end, "the server did not become ready"
        time.sleep(0.1)


def _set_up(served: Served) -> None:
    """A customer with a name, and two accounts; none of it traced."""
    plain = {"traceparent": f"00-{'7' * 32}-{CALLER}-00"}
    customer = {"customer_id": "quastenflosser-w", "profile": {"name": NAME}}
    for path, body in (
        ("/v1/customers", customer),
        ("/v1/accounts", {"account_id": ACCOUNT, "currency": "EUR"}),
        ("/v1/accounts", {"account_id": "b", "currency": "EUR"}),
        ("/v1/deposits", {"account_id": ACCOUNT, "amount": "500", "currency": "EUR"}),
    ):
        answer = served.post(path, body, **plain)
        assert answer.is_success, answer.text


def _transfer(amount: str) -> dict[str, str]:
    """A transfer's body."""
    return {
        "debit_account_id": ACCOUNT,
        "credit_account_id": "b",
        "amount": amount,
        "currency": "EUR",
        "description": PURPOSE,
    }


def test_one_trace_shows_a_request_from_the_caller_to_the_projections(
    runtime: Runtime, database_url: str, tmp_path: Path, leak_watch: leaks.Watch
) -> None:
    """Request, wait, append, commit, projected; nothing of what was sent; flushed at the end."""
    with collecting() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={SECRET}",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "LEDGER_TRACE_RATIO": "0",
        }
        with serving(runtime, database_url, tmp_path, environment) as served:
            _set_up(served)
            answer = served.post(
                "/v1/transfers", _transfer("100"), traceparent=PARENT, tracestate="v=1"
            )
            assert answer.status_code == 201
            told = answer.headers["traceparent"]
            collector.wait_for(lambda: "ledger.project" in collector.of(TRACE))
            collector.wait_for(lambda: "POST /v1/transfers" in collector.of(TRACE))
            _check_tree(collector.of(TRACE), told, answer.json()["position"])
            _check_others(served, collector)
            # The last one is sent though the server ends at once.
            last = f"00-{'c' * 32}-{CALLER}-01"
            served.client.get(f"/v1/accounts/{ACCOUNT}", headers={"traceparent": last})
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(40) == 0
        assert "GET /v1/accounts/{account_id}" in collector.of("c" * 32)
    assert {str(said["service.name"]) for said in collector.resources} == {"ledger"}
    assert {str(said["deployment.environment.name"]) for said in collector.resources} == {"test"}
    assert {headers["authorization"] for headers in collector.headers} == {SECRET}
    _check_nothing_leaks(collector, tmp_path, leak_watch)


def _check_tree(spans: dict[str, Span], told: str, position: int) -> None:
    """Each part where it belongs."""
    request, append = spans["POST /v1/transfers"], spans["ledger.append"]
    assert set(spans) == {
        "POST /v1/transfers",
        "ledger.queue",
        "ledger.append",
        "ledger.commit",
        "ledger.project",
    }
    assert told == f"00-{TRACE}-{request.span_id}-01"
    assert request.parent_id == CALLER
    assert spans["ledger.queue"].parent_id == append.parent_id == request.span_id
    assert spans["ledger.commit"].parent_id == append.span_id
    projected = spans["ledger.project"]
    assert (projected.parent_id, projected.process) == (append.span_id, "projector")
    assert request.kind == "SPAN_KIND_SERVER"
    assert append.attributes["ledger.position"] == position
    assert projected.attributes["ledger.position"] == position
    assert request.attributes["http.route"] == "/v1/transfers"
    assert request.attributes["http.response.status_code"] == 201
    assert {span.tracestate for span in spans.values()} == {"v=1"}
    assert request.begun_ns <= append.begun_ns <= append.ended_ns <= request.ended_ns
    assert projected.ended_ns >= append.ended_ns


def _check_others(served: Served, collector: Collector) -> None:
    """A refusal, a batch, a read, an address that is none; health has no trace."""
    traces = {letter: letter * 32 for letter in "1234589"}
    sent = {letter: {"traceparent": f"00-{full}-{CALLER}-01"} for letter, full in traces.items()}
    assert served.post("/v1/transfers", _transfer("900"), **sent["1"]).status_code == 422
    batch = {"commands": [{"type": "transfer", "key": f"b{at}", **_transfer("1")} for at in (1, 2)]}
    assert served.post("/v1/batch", batch, **sent["2"]).is_success
    read = served.client.get(f"/v1/accounts/{ACCOUNT}/balance?wait_s=9", headers=sent["3"])
    assert read.is_success
    assert served.client.get(f"/v1/nowhere/{NAME}", headers=sent["4"]).status_code == 404
    served.client.get("/v1/info", headers={**sent["5"], "Authorization": "Bearer none"})
    served.client.get("/livez", headers=sent["8"])
    served.client.get("/v1/info", headers={"traceparent": f"00-{traces['9']}-{CALLER}-00"})
    names = {
        "1": {"POST /v1/transfers", "ledger.queue", "ledger.append", "ledger.commit"},
        "2": {"POST /v1/batch", "ledger.queue", "ledger.append", "ledger.commit"},
        "3": {"GET /v1/accounts/{account_id}/balance"},
        "4": {"- (none)"},
        "5": {"- (none)"},
    }
    for letter, expected in names.items():
        collector.wait_for(partial(_has, collector, traces[letter], expected))
    refused = collector.of(traces["1"])
    assert refused["POST /v1/transfers"].attributes["ledger.refusal"] == "insufficient_funds"
    assert refused["ledger.append"].attributes["ledger.refused"] == 1
    assert collector.of(traces["2"])["ledger.append"].attributes["ledger.commands"] == 2
    assert not collector.of(traces["8"])
    assert not collector.of(traces["9"])
    assert not collector.of("7" * 32)


def _has(collector: Collector, trace_id: str, names: set[str]) -> bool:
    """Whether a trace has spans of these names."""
    return names <= set(collector.of(trace_id))


def _check_nothing_leaks(collector: Collector, folder: Path, leak_watch: leaks.Watch) -> None:
    """Spans have ids, figures and templates; the collector's secret is in no log."""
    assert {name for span in collector.spans for name in span.attributes} <= ATTRIBUTES
    everything = "\n".join(collector.texts)
    for value in (NAME, ACCOUNT, PURPOSE, "quastenflosser-w", "nowhere", "wait_s", "lk_"):
        assert value not in everything
    leak_watch.learn(NAME)
    leak_watch.hear("spans", everything)
    logged = (folder / "server.stderr").read_text()
    assert SECRET not in logged
    assert f'"trace_id":"{TRACE}"' in logged


def test_a_collector_that_is_away_costs_nobody_an_answer(
    runtime: Runtime, database_url: str, tmp_path: Path
) -> None:
    """Requests are answered, what was dropped is counted, and the server ends in time."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        environment = {
            "LEDGER_TRACES": f"http://127.0.0.1:{port}",
            "OTEL_TRACES_SAMPLER": "always_on",
        }
        with serving(runtime, database_url, tmp_path, environment) as served:
            _set_up(served)
            for _ in range(20):
                assert served.post("/v1/transfers", _transfer("1")).status_code == 201
            assert (
                'ledger_traces_dropped_total{reason="export"}' in served.client.get("/metrics").text
            )
            served.process.send_signal(signal.SIGTERM)
            assert served.process.wait(40) == 0


def test_without_traces_nothing_of_their_library_is_even_imported() -> None:
    """A server and a projector that send none do not pay for it."""
    program = (
        "import sys, api.serve, api.app, api.projector, api.cli;"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk',"
        " 'opentelemetry.exporter', 'google.protobuf', 'requests'))])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        check=True,
        text=True,
    )
    assert ran.stdout == "[]\n"
