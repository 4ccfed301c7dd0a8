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

from api.accesses import Recorder
from api.balance_reads import BalanceReads, BalanceText
from api.callers import Caller
from api.context import Context
from api.direct_views import DirectViews, find
from api.edge import Direct, Edge, Trace, failure_response
from api.exchange import Headers
from api.wire import Receive, Scope, Send
from ledger_core.access_log import NewAccess
from ledger_core.log import Connection

if TYPE_CHECKING:
    from api.app import Application

AXES = ("booking", "value_date")


class _Nothing(DirectViews):
    """No view is read without the framework."""

    def __call__(self, _path: str, _query: bytes) -> None:
        """None."""


def _both(bank: Bank, path: str, role: str = "admin", **headers: str) -> tuple[Response, Response]:
    """The answers of the thin way and of the framework's."""
    sent = bank.headers(role, **headers)
    app = cast("Application", bank.client.app)
    context = app.state.context
    framework = Edge(app.routed, context, Direct({}, {}, _Nothing(context, app.routed)), {})
    return (
        bank.client.get(path, headers=sent),
        TestClient(framework).get(path, headers=sent),
    )


def _shown(answer: Response) -> tuple[int, bytes, list[tuple[str, str]]]:
    """What an answer is, but for what names the request."""
    headers = [item for item in answer.headers.multi_items() if item[0] != "x-request-id"]
    return answer.status_code, _unnamed(answer.content), headers


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


DAYS = ("2026-01-31", "2024-02-10", "2024-1-1", "")
ASKED = {
    "limit": ("1", "2", "1000", "0", "+1", "x"),
    "order": ("newest_first", "oldest_first", "newest"),
    "axis": ("value_date", "booking", "Booking"),
    "from_date": DAYS,
    "to_date": DAYS,
    "value_date": DAYS,
    "as_of": ("2024-01-01T00:00:00Z", "2999-01-01T00:00:00%2B01:00", "2024-01-01", "now"),
    "as_of_position": ("0", "1", "4", "6", "99", "-1", "%36"),
    "min_position": ("1", "99", "x"),
    "wait_s": ("0", "0.01", "-1", "nan", "x"),
    "cursor": ("next", "x", ""),
    "more": ("1",),
}
_parameters = st.sampled_from(sorted(ASKED)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(ASKED[name]))
)


@settings(max_examples=60)
@given(
    end=st.sampled_from(["/statement", "/statement", "/balance"]),
    name=st.sampled_from(["a", "a", "a", "b", "none", "%00"]),
    parameters=st.lists(_parameters, max_size=4),
    role=st.sampled_from(["reader", "admin"]),
)
def test_both_ways_answer_the_same_to_any_question(
    bank: Bank, end: str, name: str, parameters: list[tuple[str, str]], role: str
) -> None:
    """Well formed or not, byte for byte: pages, periods, moments, cursors, refusals."""
    _with_lines(bank)
    path = f"/v1/accounts/{name}{end}?wait_s=0&"
    if any(given == "wait_s" for given, _ in parameters):
        path = f"/v1/accounts/{name}{end}?"
    others = "&".join(f"{given}={value}" for given, value in parameters if given != "cursor")
    path += others
    if ("cursor", "next") in parameters:
        page = bank.client.get(path, headers=bank.headers(role)).json()
        path += f"&cursor={page.get('next', '')}"
    else:
        path += "".join(f"&cursor={value}" for given, value in parameters if given == "cursor")
    thin, framework = _both(bank, path, role)
    assert _shown(thin) == _shown(framework), path
    tag = thin.headers.get("etag")
    if tag is not None:
        thin, framework = _both(bank, path, role, **{"If-None-Match": tag})
        assert thin.status_code == 304
        assert _shown(thin) == _shown(framework), path


def _with_lines(bank: Bank) -> None:
    """Have accounts whose postings count from different days, unless they are there."""
    if bank.post("/v1/accounts", {"account_id": "a", "currency": "EUR"}).status_code == 409:
        return
    bank.open("b", 1)
    for number, day in enumerate((None, "2024-02-10", None, "2026-01-31", "2024-02-09")):
        body = {"account_id": "a", "amount": str(number + 1), "currency": "EUR", "value_date": day}
        assert bank.post("/v1/deposits", body).status_code == 201
    bank.catch_up()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/accounts/statement/statement", 200),
        ("/v1/accounts/statement/balance?as_of_position=9", 200),
        ("/v1/accounts/totals/statement", 200),
        ("/v1/accounts/a%2Fb/statement?limit=1", 200),
        ("/v1/accounts/a/statement/", 404),
        ("/v1/accounts/a/statement?", 404),
        ("/v1/accounts/%FF/statement", 422),
        ("/v1/accounts/a%2Fb/statement?limit=1&limit=1", 422),
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
    for name in ("balance", "totals", "a/b", "statement"):
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
    paths += [f"{path}?as_of_position=17" for path in paths]
    paths += [f"/v1/accounts/{name}/statement?axis={axis}" for name in names for axis in AXES]
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


QUERIES = ("", "?limit=1", "?value_date=2024-01-01", "?as_of_position=1", "?wait_s=1&wait_s=1")


@pytest.mark.parametrize("name", ["a", "none", "a%2Fb", "%00"])
@pytest.mark.parametrize(
    "end",
    ["", "/balance", *(f"/statement{asked}" for asked in QUERIES), "/balance?as_of_position=1"],
)
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
            template = "/v1/accounts/{account_id}" + end.partition("?")[0]
            assert exchange.trace.route == template

    status, body, found = asyncio.run(answer())
    assert (status, _unnamed(body)) == (expected.status_code, _unnamed(expected.content))
    without = {"x-request-id", "content-length"}
    assert [(key.decode(), value.decode()) for key, value in found] == [
        item for item in expected.headers.multi_items() if item[0] not in without
    ]


def test_too_many_who_wait_are_refused(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits is bounded: beyond that the caller is told to try again."""
    room = cast("Application", bank.client.app).state.context.balances.room
    monkeypatch.setattr(room, "under_way", room.limit)
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
    recorder = Recorder(lambda: bank.runtime.connect("ledger_writer"), bank.runtime.now)
    reads = BalanceReads(connect, bank.runtime.now, recorder)

    def access(text: BalanceText) -> NewAccess:
        """A read of that balance."""
        return NewAccess("test", "get_balance", ("account:a",), "", "test", 200, text.position)

    async def read() -> list[BalanceText | BaseException | None]:
        """Ask three times at one moment."""
        asked = (reads.read(bank.ledger_id, "a", access) for _ in range(3))
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
