"""Nothing personal and nothing of a body in logs and errors; request ids in and out."""

from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs
from tests.http.bank import Bank

from api.context import Context

NAME = "Anna-Maria Weber-Secret"


def test_logs_have_templates_and_ids_of_keys_and_no_person(
    bank: Bank, capfd: pytest.CaptureFixture[str]
) -> None:
    """Names, ids, references and bodies of customers are in no line, whatever the outcome."""
    with capture_logs() as logs:
        profile = {"name": NAME, "email": "secret@example.org"}
        bank.post("/v1/customers", {"customer_id": "secret-customer", "profile": profile})
        bank.post("/v1/customers", {"customer_id": "secret-customer", "profile": {"name": "X"}})
        bank.post("/v1/customers", {"profile": profile | {"secret": "1"}})
        bank.post_raw("/v1/customers", b'{"profile":{"name":"secret')
        bank.open("secret-account", 5)
        bank.get("/v1/customers/secret-customer")
        bank.get("/v1/accounts", prefix="secret-account")
        bank.client.get("/v1/secret", headers={"Authorization": "Bearer secret"})
        bank.post("/v1/batch", {"commands": [{"type": "deposit", "account_id": "secret"}]})
    assert [line["route"] for line in logs][:4] == ["/v1/customers"] * 4
    assert {line["key_id"] for line in logs} == {bank.keys["admin"].split("_")[2], None}
    text = str(logs) + "".join(capfd.readouterr())
    for word in ("secret", NAME, bank.keys["admin"].split("_")[3]):
        assert word not in text


def test_a_request_id_comes_back_and_is_in_problem_and_log(bank: Bank) -> None:
    """A sane id is taken over; anything else gets a new one."""
    with capture_logs() as logs:
        headers = bank.headers() | {"X-Request-Id": "trace-0123456789"}
        answer = bank.client.get("/v1/accounts/none", headers=headers)
    assert answer.headers["x-request-id"] == "trace-0123456789"
    assert answer.json()["request_id"] == "trace-0123456789"
    assert logs[-1]["request_id"] == "trace-0123456789"
    strange = bank.client.get("/v1/info", headers=bank.headers() | {"X-Request-Id": "a b\tsecret"})
    assert len(strange.headers["x-request-id"]) == 32


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("sent", "flags"),
    [
        (f"00-{TRACE}-{PARENT}-01", "01"),
        (f"00-{TRACE}-{PARENT}-00", "00"),
        (f"00-{TRACE}-{PARENT}-ff", "01"),
        (f"42-{TRACE}-{PARENT}-01-what-may-come", "01"),
    ],
)
def test_a_trace_goes_on_in_the_answer_and_the_log(bank: Bank, sent: str, flags: str) -> None:
    """The server is a part of the caller's trace, under an id of its own (W3C Trace Context)."""
    with capture_logs() as logs:
        answer = bank.post("/v1/accounts", {"currency": "EUR"})
        assert "traceparent" not in answer.headers
        traced = bank.client.get("/v1/accounts/none", headers=bank.headers(traceparent=sent))
    version, trace_id, span_id, given = traced.headers["traceparent"].split("-")
    assert (version, trace_id, given) == ("00", TRACE, flags)
    assert len(span_id) == 16
    assert span_id != PARENT
    assert [line["traceparent"] for line in logs] == [None, traced.headers["traceparent"]]


@pytest.mark.parametrize(
    "sent",
    [
        "secret",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
    ],
)
def test_what_is_no_trace_is_passed_over(bank: Bank, sent: str) -> None:
    """A header that breaks the rules of its form is as none."""
    answer = bank.client.get("/v1/info", headers=bank.headers(traceparent=sent))
    assert answer.status_code == 200
    assert "traceparent" not in answer.headers


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ValueError(f"bad value {NAME}"), 500, "internal_error"),
        (psycopg.DataError(f"DETAIL: {NAME}"), 500, "internal_error"),
        (psycopg.OperationalError(f"at {NAME}"), 503, "database_unavailable"),
    ],
)
def test_a_failure_tells_nothing_but_its_request_id(
    bank: Bank, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    """An unexpected exception is logged by type and place; its message goes nowhere."""

    async def fail(*_given: Any, **_named: Any) -> None:  # noqa: ANN401
        raise error

    monkeypatch.setattr(Context, "submit", fail)
    with capture_logs() as logs:
        answer = bank.post("/v1/accounts", {"currency": "EUR"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert NAME not in answer.text + str(logs)
    if status == 500:
        assert set(answer.json()) == {"type", "title", "status", "code", "detail", "request_id"}
        failure = next(line for line in logs if line["event"] == "failure")
        assert failure["error_type"] == type(error).__name__
        assert any("command_routes.py" in frame for frame in failure["frames"])
