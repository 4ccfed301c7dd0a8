"""How much anybody may ask: rates, failures, costly reads, long answers; each a clear refusal."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import psycopg
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.http.bank import Bank
from tests.http.conftest import settings_of

from api.api_keys import NewKey
from api.app import create_app
from api.limit_settings import LimitSettings
from api.runtime import Runtime
from ledger_core import access_log

Limited = Callable[[LimitSettings], Bank]


@pytest.fixture
def limited(database_url: str, tmp_path: Path) -> Iterator[Limited]:
    """A bank under other limits, with 5 on account a."""
    with ExitStack() as stack:

        def make(limits: LimitSettings) -> Bank:
            """Open it."""
            settings = msgspec.structs.replace(settings_of(database_url, tmp_path), limits=limits)
            runtime = stack.enter_context(Runtime(settings))
            client = stack.enter_context(TestClient(create_app(runtime)))
            return Bank(runtime, client, "limited")

        yield make


def _is_told_to_wait(answer: Response) -> bool:
    """Whether an answer is a refusal for asking too often, in its whole form."""
    if answer.status_code != 429:
        return False
    assert answer.json()["code"] == "too_many_requests"
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"] == answer.json()["request_id"]
    return True


def test_a_caller_who_asks_too_often_has_to_wait(limited: Limited) -> None:
    """Twice the rate at once, views and commands alike; others are served meanwhile."""
    bank = limited(LimitSettings(rate_per_s=0.05))
    paths = ("/v1/accounts", "/v1/accounts/a", "/v1/customers/c", "/v1/nothing")
    answers = [bank.client.get(path, headers=bank.headers("reader")) for path in paths]
    assert [_is_told_to_wait(answer) for answer in answers] == [False, True, True, True]
    body = {"account_id": "a", "currency": "EUR"}
    assert bank.post("/v1/accounts", body, role="teller").status_code == 201
    assert _is_told_to_wait(bank.post("/v1/accounts", body, role="teller"))
    assert _is_told_to_wait(bank.post("/v1/batch", {"commands": []}, role="teller"))
    assert not _is_told_to_wait(bank.client.get("/v1/accounts", headers=bank.headers("auditor")))
    assert 'ledger_refusals_total{code="too_many_requests"} 5.0' in bank.client.get("/metrics").text


def test_who_has_to_wait_has_read_nothing(limited: Limited) -> None:
    """So there is no access, and the access log does not grow by haste."""
    bank = limited(LimitSettings(rate_per_s=0.05))
    for _ in range(10):
        bank.client.get("/v1/accounts", headers=bank.headers("reader"))
    with bank.runtime.connect("ledger_reader") as connection:
        assert access_log.read_head(connection, bank.ledger_id).number == 1


def test_a_key_may_have_a_rate_of_its_own(limited: Limited) -> None:
    """Whatever all others may."""
    bank = limited(LimitSettings(rate_per_s=0.05))
    key = bank.runtime.make_key(
        bank.ledger_id, NewKey(role="reader", name="busy", rate_per_s=2.0)
    ).text
    headers = {"Authorization": f"Bearer {key}"}
    answers = [bank.client.get("/v1/accounts", headers=headers) for _ in range(60)]
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    assert any(_is_told_to_wait(answer) for answer in answers)


def test_a_client_who_fails_too_often_is_not_looked_at(limited: Limited) -> None:
    """429 instead of 401, also for a good key that was not seen here before; known ones go on."""
    bank = limited(LimitSettings(failures_per_s=0.05))
    known = bank.headers("reader")
    assert bank.client.get("/v1/accounts", headers=known).status_code == 200
    wrong = {"Authorization": "Bearer lk_1_abcdefgh_" + "x" * 40}
    answers = [bank.client.get("/v1/accounts", headers=wrong) for _ in range(7)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 2
    assert _is_told_to_wait(answers[-1])
    assert _is_told_to_wait(bank.client.get("/v1/accounts"))
    assert _is_told_to_wait(bank.client.get("/v1/accounts", headers=bank.headers("auditor")))
    assert bank.client.get("/v1/accounts", headers=known).status_code == 200
    assert bank.client.get("/readyz").status_code == 200


def test_what_needs_no_key_has_a_rate_by_client(limited: Limited) -> None:
    """But for the question whether the process lives."""
    bank = limited(LimitSettings(public_per_s=0.5))
    answers = [bank.client.get("/readyz") for _ in range(6)]
    assert [_is_told_to_wait(answer) for answer in answers] == [False] * 5 + [True]
    assert _is_told_to_wait(bank.client.get("/metrics"))
    assert _is_told_to_wait(bank.client.get("/openapi.json"))
    assert {bank.client.get("/livez").status_code for _ in range(20)} == {200}


def test_by_default_nobody_notices(bank: Bank) -> None:
    """A thousand requests of one key in a row, and some mistakes between."""
    headers = bank.headers("reader")
    for number in range(300):
        sent = {} if number % 50 == 0 else headers
        status = bank.client.get("/v1/period", headers=sent).status_code
        assert status == (200 if sent else 401)


@pytest.mark.parametrize(
    "path", ["/v1/accounts/a", "/v1/accounts?limit=5", "/v1/accounts/a/balance?wait_s=5"]
)
def test_a_read_that_takes_too_long_is_given_up(
    limited: Limited, superuser_url: str, path: str
) -> None:
    """Whichever way it is read: 422, recorded; and the next read is answered."""
    bank = limited(LimitSettings(read_timeout_s=1))
    bank.open("a", 5)
    bank.catch_up()
    headers = bank.headers("reader")
    assert bank.client.get(path, headers=headers).status_code == 200
    with psycopg.connect(superuser_url) as superuser:
        superuser.execute("LOCK TABLE views.accounts IN ACCESS EXCLUSIVE MODE")
        answer = bank.client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, "query_too_costly"), answer.text
    assert bank.client.get(path, headers=headers).status_code == 200
    with bank.runtime.connect("ledger_reader") as connection:
        statuses = [item.status for item in access_log.read_after(connection, bank.ledger_id, 0)]
    assert 200 in statuses


def test_long_answers_under_way_are_counted(limited: Limited) -> None:
    """With as many as there may be, another is refused; when one ends there is room again."""
    bank = limited(LimitSettings(streams_max=2))
    bank.open("a", 5)
    bank.catch_up()
    streams = bank.client.app.state.context.streams  # type: ignore[attr-defined] # Of the application.
    headers = bank.headers("auditor", **{"Ledger-Reason": "case 7"})

    def export() -> Response:
        """The whole log."""
        return bank.client.get("/v1/export/log", headers=headers)

    first = export()
    assert (first.status_code, first.headers["content-type"]) == (200, "application/x-tar")
    assert vars(streams)["_under_way"] == {}
    actor = f"key:{bank.keys['auditor'].split('_')[2]}"
    vars(streams)["_under_way"][bank.ledger_id, actor] = 1
    refused = export()
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
    assert refused.headers["retry-after"] == "10"
    vars(streams)["_under_way"].clear()
    assert export().content[:11] == first.content[:11]
    assert vars(streams)["_under_way"] == {}
