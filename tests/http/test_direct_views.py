"""The thin way to a balance and the framework's: one answer, and one set of rules."""

import asyncio
import re
from itertools import count
from typing import TYPE_CHECKING, cast
from urllib.parse import quote

import psycopg
import pytest
from httpx2 import Response
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient
from tests.http.bank import Bank
from tests.strategies import CURRENCIES, account_types, ids, one_line_text

from api import balance_reads
from api.balance_reads import BalanceReads, BalanceText
from api.context import Context
from api.direct_views import find
from api.edge import Trace, failure_response
from api.exchange import Headers
from api.key_ring import Caller
from api.wire import Receive, Scope, Send
from ledger_core.log import Connection

if TYPE_CHECKING:
    from api.app import Application

# Says what is said without it, and is no longer the plain form.
NOT_PLAIN = "?wait_s=5"


def _both(bank: Bank, path: str, **headers: str) -> tuple[Response, Response]:
    """The answers of the thin way and of the framework's."""
    sent = bank.headers(**headers)
    return (
        bank.client.get(path, headers=sent),
        bank.client.get(path + NOT_PLAIN, headers=sent),
    )


def _shown(answer: Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """What an answer is, but for what names the request."""
    headers = [item for item in answer.headers.multi_items() if item[0] != "x-request-id"]
    return answer.status_code, answer.content, headers


def _assert_same(bank: Bank, path: str, status: int = 200) -> None:
    """Both ways give the same bytes and headers, also to who has the answer already."""
    thin, framework = _both(bank, path)
    assert thin.status_code == status, thin.text
    assert _shown(thin) == _shown(framework)
    tag = thin.headers.get("etag", '"1"')
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*", '"other"', "no tag"):
        thin, framework = _both(bank, path, **{"If-None-Match": known})
        assert _shown(thin) == _shown(framework), known


@settings(max_examples=15)
@given(
    account_id=ids,
    name=st.none() | one_line_text,
    metadata=st.none() | st.dictionaries(st.sampled_from(["a", "kind"]), one_line_text),
    currency=st.sampled_from(CURRENCIES),
    account_type=account_types,
    limit=st.sampled_from([None, "0", "100"]),
    amount=st.sampled_from([0, 5, 12_345_678_901_234_567_890]),
    is_frozen=st.booleans(),
    holds=st.integers(0, 1),
)
def test_both_ways_answer_the_same_about_any_account(  # noqa: PLR0913, PLR0917 - of an account
    bank: Bank,
    account_id: str,
    name: str | None,
    metadata: dict[str, str] | None,
    currency: str,
    account_type: str,
    limit: str | None,
    amount: int,
    is_frozen: bool,  # noqa: FBT001 - drawn
    holds: int,
) -> None:
    """Byte for byte, header for header, whatever the account is like."""
    body = {
        "account_id": account_id,
        "name": name,
        "metadata": metadata,
        "currency": currency,
        "account_type": account_type,
        "limit": limit,
    }
    bank.post("/v1/accounts", body)
    address = f"/v1/accounts/{quote(account_id, safe='')}"
    if amount:
        entry = {"account_id": account_id, "amount": str(amount), "currency": currency}
        bank.post("/v1/deposits", entry)
    for _ in range(holds):
        hold = {
            "debit_account_id": account_id,
            "credit_account_id": "other",
            "amount": "1",
            "currency": currency,
        }
        bank.post("/v1/accounts", {"account_id": "other", "currency": currency})
        bank.post("/v1/holds", hold)
    if is_frozen:
        bank.post(f"{address}/freeze", {"cause": "x"})
    bank.catch_up()
    _assert_same(bank, address)
    _assert_same(bank, f"{address}/balance")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/accounts/none/balance", 404),
        ("/v1/accounts/none", 404),
        ("/v1/accounts/%00/balance", 422),
        ("/v1/accounts/%FF", 422),
        ("/v1/accounts/..%2F/balance", 404),
        ("/v1/accounts/balance", 200),
        ("/v1/accounts/balance/balance", 200),
        ("/v1/accounts/totals", 200),
        ("/v1/accounts/totals/balance", 200),
        ("/v1/accounts/a%2Fb/balance", 200),
        ("/v1/accounts/a/b/balance", 404),
        ("/v1/accounts//balance", 404),
        ("/v1/accounts/balance/", 404),
    ],
)
def test_both_ways_take_an_address_for_the_same(bank: Bank, path: str, status: int) -> None:
    """What is no account's is refused in the same words; names that look like addresses work."""
    for name in ("balance", "totals", "a/b"):
        bank.open(name, 5)
    bank.catch_up()
    thin, framework = _both(bank, path)
    assert thin.status_code == status, thin.text
    if status == 200:
        assert _shown(thin) == _shown(framework)
    else:
        assert (thin.status_code, thin.json()["code"]) == (
            framework.status_code,
            framework.json()["code"],
        )


def test_a_key_is_needed_either_way(bank: Bank) -> None:
    """Without one, or with another ledger's, nothing is shown."""
    bank.open("a", 5)
    bank.catch_up()
    answer = bank.client.get("/v1/accounts/a/balance")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    other = Bank(bank.runtime, bank.client, f"{bank.ledger}-other")
    answer = other.client.get("/v1/accounts/a/balance", headers=other.headers())
    assert (answer.status_code, answer.json()["code"]) == (404, "account_not_found")


def test_both_ways_answer_the_same_where_projections_stand_apart(bank: Bank) -> None:
    """Then the account is brought back to where both are: more than a look-up."""
    bank.open("a", 5)
    bank.open("a2", 7)
    bank.catch_up()
    with bank.runtime.connect("ledger_projector") as connection:
        connection.execute(
            "UPDATE views.projections SET position = position - 2"
            " WHERE ledger_id = %s AND name = 'statements' AND live",
            (bank.ledger_id,),
        )
    _assert_same(bank, "/v1/accounts/a/balance")
    assert _both(bank, "/v1/accounts/a2/balance")[0].status_code == 404


def test_what_is_plain_needs_nothing_of_the_framework(own_bank: Bank, superuser_url: str) -> None:
    """Who ask at one moment are each answered about their own account, also by a new connection."""
    bank, names = own_bank, [f"a{number}" for number in range(8)]
    for number, name in enumerate(names):
        bank.open(name, 10 + number)
    bank.catch_up()
    paths = [f"/v1/accounts/{name}/balance" for name in names]
    expected = [bank.client.get(path, headers=bank.headers()).content for path in paths]
    sent = bank.headers()["Authorization"].encode()

    async def refuse(scope: Scope, _receive: Receive, _send: Send) -> None:
        """Stand where the framework is."""
        raise AssertionError(scope["path"])

    async def bodies(context: Context) -> list[bytes]:
        """What each path is answered with, all being asked for at once."""
        direct = find(context, refuse)
        caller = await context.key_ring.caller([(b"authorization", sent)])
        exchanges = [Answered(caller) for _ in paths]
        for path, exchange in zip(paths, exchanges, strict=True):
            handler = direct.handler(path.encode())
            assert handler is not None
            handler(exchange)
        return [(await exchange.future)[1] for exchange in exchanges]

    context = Context(bank.runtime)
    assert asyncio.run(bodies(context)) == expected
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'ledger_reader' AND datname = current_database()"
        )
    assert asyncio.run(bodies(context)) == expected
    context.close()


@pytest.mark.parametrize("name", ["a", "none", "a%2Fb", "%00"])
@pytest.mark.parametrize("end", ["", "/balance"])
@pytest.mark.parametrize("known", [None, b"*", b'"other"'])
def test_without_a_task_the_answer_is_the_same(
    bank: Bank, shared_client: TestClient, name: str, end: str, known: bytes | None
) -> None:
    """Whether found, not found or malformed; the framework answers what is not looked up."""
    bank.open("a", 5)
    bank.open("a/b", 5)
    bank.catch_up()
    path = f"/v1/accounts/{name}{end}"
    headers = {} if known is None else {"If-None-Match": known.decode()}
    expected = bank.client.get(path, headers=bank.headers(**headers))
    app = cast("Application", shared_client.app)

    async def answer() -> tuple[int, bytes, Headers]:
        """The answer to an exchange."""
        context = Context(bank.runtime)
        sent = (b"authorization", bank.headers()["Authorization"].encode())
        exchange = Answered(await context.key_ring.caller([sent]))
        if known is not None:
            exchange.headers.append((b"if-none-match", known))
        handler = find(context, app.routed).handler(path.encode())
        assert handler is not None
        handler(exchange)
        try:
            return await exchange.future
        finally:
            context.close()

    status, body, found = asyncio.run(answer())
    assert (status, _unnamed(body)) == (expected.status_code, _unnamed(expected.content))
    without = {"x-request-id", "content-length"}
    assert [(key.decode(), value.decode()) for key, value in found] == [
        item for item in expected.headers.multi_items() if item[0] not in without
    ]


def test_too_many_who_wait_are_refused(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded: beyond that the caller is told to try again."""
    monkeypatch.setattr(balance_reads, "WAITING_MAX", 0)
    answer = bank.client.get("/v1/accounts/a", headers=bank.headers())
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_busy")
    assert answer.headers["retry-after"]


def test_a_database_that_is_away_is_told_to_each(bank: Bank) -> None:
    """After one new attempt; who asks later is answered again."""
    attempts = count()

    def connect() -> Connection:
        """Fail at the first two attempts."""
        if next(attempts) < 2:
            raise psycopg.OperationalError
        return bank.runtime.connect("ledger_reader")

    bank.open("a", 5)
    bank.catch_up()
    reads = BalanceReads(connect, bank.runtime.now)

    async def read() -> list[BalanceText | BaseException | None]:
        """Ask three times at one moment."""
        asked = (reads.read(bank.ledger_id, "a") for _ in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert {type(found) for found in asyncio.run(read())} == {psycopg.OperationalError}
    assert {type(found) for found in asyncio.run(read())} == {BalanceText}
    reads.close()


class Answered:
    """An exchange whose answer can be waited for."""

    def __init__(self, caller: Caller) -> None:
        """Begin without headers."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.caller = caller
        self.trace = Trace("a-request")
        self.future: asyncio.Future[tuple[int, bytes, Headers]] = asyncio.Future()

    def answer(self, status: int, body: bytes, headers: Headers) -> None:
        """Keep the answer."""
        self.future.set_result((status, body, headers))

    def fail(self, error: BaseException) -> None:
        """Answer with the problem behind a failure."""
        self.answer(*failure_response(self.trace, error))


def _unnamed(body: bytes) -> bytes:
    """A body without the name of its request."""
    return re.sub(rb'"request_id":"[^"]*"', b"", body)
