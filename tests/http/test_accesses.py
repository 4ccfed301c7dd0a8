"""Every read leaves an access before it is answered, whichever route answers it and how."""

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import psycopg
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.http.bank import Bank, Json
from tests.http.conftest import settings_of

from api import recording, subjects
from api.app import create_app
from api.edge import PUBLIC_PATHS
from api.routes import VIEWS
from api.runtime import Runtime
from api.settings import ReasonRequired, Recording, Settings
from ledger_core import access_log
from ledger_core.access_log import StoredAccess

# What each part of an address is filled in with: something that is there, where it can be.
_FILLED = {
    "account_id": "a",
    "customer_id": "c",
    "entry_id": "e",
    "group_id": "g",
    "kept_id": "h",
    "position": "1",
}
# Soon is at once for a test that waits for it.
SOON_S = 5.0


def _accesses(bank: Bank) -> list[StoredAccess]:
    """The access log of the bank's ledger, with what is put off for a moment."""
    with bank.runtime.connect("ledger_reader") as connection:
        return access_log.read_after(connection, bank.ledger_id, 0)


def _settled(bank: Bank, request_id: str) -> StoredAccess:
    """The one access of a request, once it is there."""
    deadline = time.monotonic() + SOON_S
    while True:
        found = [item for item in _accesses(bank) if item.request_id == request_id]
        if found or time.monotonic() > deadline:
            assert len(found) == 1, request_id
            return found[0]


def _read(bank: Bank, path: str, *, role: str = "admin", **headers: str) -> Response:
    """Read, as of what the views know."""
    return bank.client.get(path, headers=bank.headers(role, **headers))


def _access_of(bank: Bank, answer: Response) -> StoredAccess:
    """The access that an answer left."""
    return _settled(bank, answer.headers["x-request-id"])


@pytest.fixture
def held(bank: Bank) -> Bank:
    """A bank with a customer c, who holds account a, and account b of nobody's."""
    bank.open("a", 1_000)
    bank.open("b")
    bank.post("/v1/customers", {"customer_id": "c", "profile": {"name": "Ann"}})
    bank.post("/v1/accounts/a/holders", {"customer_id": "c", "role": "owner"})
    body = {"debit_account_id": "a", "credit_account_id": "b", "amount": "5", "currency": "EUR"}
    assert bank.post("/v1/transfers", body | {"entry_id": "e"}).is_success
    bank.catch_up()
    return bank


def _reads() -> list[tuple[str, str]]:
    """Every operation that reads, and its address."""
    return [(view.operation, view.path) for view in VIEWS]


@pytest.mark.parametrize(("operation", "path"), _reads())
def test_every_read_route_leaves_an_access(held: Bank, operation: str, path: str) -> None:
    """Whether it answers or refuses: one access, with its status and whoever it names."""
    address = path
    for name, value in _FILLED.items():
        address = address.replace(f"{{{name}}}", value)
    before = len(_accesses(held))
    answer = _read(held, address.replace("{", "").replace("}", ""))
    assert answer.status_code < 500, answer.text
    if operation in recording.NOT_RECORDED:
        assert len(_accesses(held)) == before
        return
    access = _access_of(held, answer)
    assert (access.operation, access.status) == (operation, answer.status_code)
    assert access.actor.startswith("key:")
    if "{account_id}" in path:
        assert "account:a" in access.subjects
    if "{customer_id}" in path:
        assert "customer:c" in access.subjects


def test_no_route_reads_but_the_views(bank: Bank) -> None:
    """A GET of the document is a view, and recorded, or it needs no key and names nobody."""
    paths = bank.client.get("/openapi.json").json()["paths"]
    operations = {
        methods["get"]["operationId"]
        for path, methods in paths.items()
        if "get" in methods and path not in PUBLIC_PATHS
    }
    assert operations == {operation for operation, _ in _reads()}
    assert operations >= recording.NOT_RECORDED


def test_what_is_not_recorded_names_nobody(held: Bank) -> None:
    """The few operations that are left out tell of no account and no customer."""
    for operation, path in _reads():
        if operation in recording.NOT_RECORDED and "{" not in path:
            answer = _read(held, path)
            if answer.headers["content-type"] == "application/json":
                shown = subjects.of_answer(answer.content, b"application/json")
                assert shown.subjects == frozenset(), operation


@pytest.mark.parametrize("path", ["/v1/accounts/a", "/v1/accounts/a/balance"])
def test_a_plain_balance_is_recorded_with_the_customers_it_shows(held: Bank, path: str) -> None:
    """On the short way, and on the framework's: the same access, durable by the time it is told."""
    for address in (path, path + "?wait_s=5"):
        answer = _read(held, address, **{"Ledger-Reason": "case 7", "X-Request-Id": "from-afar"})
        request_id = answer.headers["x-request-id"]
        found = [item for item in _accesses(held) if item.request_id == request_id][-1:]
        assert [(item.subjects, item.reason) for item in found] == [
            (["account:a", "customer:c"], "case 7")
        ]
        assert (found[0].status, found[0].position) == (200, answer.json()["position"])


def test_an_answer_that_still_holds_is_recorded_as_such(held: Bank) -> None:
    """304, on both ways."""
    tag = _read(held, "/v1/accounts/b").headers["etag"]
    for address in ("/v1/accounts/b", "/v1/accounts/b?wait_s=5"):
        answer = _read(held, address, **{"If-None-Match": tag})
        access = _access_of(held, answer)
        assert (answer.status_code, access.status) == (304, 304)
        assert access.subjects == ["account:b"]
        assert access.position is not None


def test_a_listing_is_about_everybody_it_shows(held: Bank) -> None:
    """Accounts with their holders, customers, entries with the accounts they move."""
    for path, expected in (
        ("/v1/accounts?limit=1", ["account:a", "customer:c"]),
        ("/v1/accounts?prefix=b", ["account:b", "account:bank:counter:EUR"]),
        ("/v1/customers", ["customer:c"]),
        ("/v1/entries/e", ["account:a", "account:b", "entry:e"]),
        ("/v1/accounts?customer_id=nobody", ["customer:nobody"]),
        ("/v1/events?tag=customer:c", None),
    ):
        found = _access_of(held, _read(held, path)).subjects
        assert expected is None or found == expected, path
        assert expected is not None or "customer:c" in found


def test_a_refused_read_is_recorded_too(held: Bank) -> None:
    """By role, by form, by what there is: with its status, and no subject it did not name."""
    for path, role, status in (
        ("/v1/events", "reader", 403),
        ("/v1/customers/none", "reader", 404),
        ("/v1/accounts/none", "reader", 404),
        ("/v1/accounts/a?unknown=1", "reader", 422),
        ("/v1/accounts?cursor=x", "reader", 400),
    ):
        answer = _read(held, path, role=role)
        access = _access_of(held, answer)
        assert (answer.status_code, access.status) == (status, status)
        assert not any("none" in subject for subject in access.subjects)
    before = len(_accesses(held))
    assert held.client.get("/v1/accounts/a").status_code == 401
    assert _read(held, "/v1/nothing").status_code == 404
    assert len(_accesses(held)) == before


def test_a_dry_run_is_a_read(held: Bank) -> None:
    """It tells what an account could pay, and no event does; a command for real is none."""
    body = {
        "type": "transfer",
        "debit_account_id": "b",
        "credit_account_id": "a",
        "amount": "99",
        "currency": "EUR",
    }
    transfer = {name: value for name, value in body.items() if name != "type"}
    for path, sent, operation in (
        ("/v1/transfers?dry_run=true", transfer, "transfer"),
        ("/v1/transfers?dry%5Frun=true", transfer, "transfer"),
        ("/v1/batch?dry_run=true", {"commands": [body]}, "batch"),
        ("/v1/accounts/b/freeze?dry_run=true", {"cause": "x"}, "freeze_account"),
    ):
        access = _access_of(held, held.post(path, sent))
        assert access.operation == operation
        assert "account:b" in access.subjects
    refused = held.post("/v1/transfers?dry_run=true", transfer, role="auditor")
    assert (refused.status_code, _access_of(held, refused).status) == (403, 403)
    before = len(_accesses(held))
    held.post("/v1/transfers", transfer)
    held.post("/v1/transfers?dry_run=false", transfer)
    assert len(_accesses(held)) == before


@pytest.mark.parametrize("header", ["x" * 201, "a\x7fb"])
@pytest.mark.parametrize("path", ["/v1/accounts/a", "/v1/accounts/a?wait_s=1", "/v1/customers/c"])
def test_a_malformed_reason_is_refused_and_not_kept(held: Bank, path: str, header: str) -> None:
    """400, with the rule; the access says that somebody tried."""
    answer = _read(held, path, **{"Ledger-Reason": header})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_reason")
    access = _access_of(held, answer)
    assert (access.status, access.reason) == (400, "")
    assert "customer:c" not in access.subjects or path == "/v1/customers/c"


def _with(database_url: str, folder: Path, **changed: Any) -> Iterator[Bank]:  # noqa: ANN401
    """A bank with other settings, with a customer c who holds account a."""
    settings: Settings = msgspec.structs.replace(settings_of(database_url, folder), **changed)
    with Runtime(settings) as runtime, TestClient(create_app(runtime)) as client:
        bank = Bank(runtime, client, "own")
        bank.open("a", 5)
        bank.open("b", 5)
        bank.post("/v1/customers", {"customer_id": "c", "profile": {"name": "Ann"}})
        bank.post("/v1/accounts/a/holders", {"customer_id": "c", "role": "owner"})
        bank.catch_up()
        yield bank


@pytest.fixture(params=get_args(ReasonRequired))
def reasoned(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> Iterator[tuple[str, Bank]]:
    """A bank for each setting of what is shown only with a reason."""
    for bank in _with(database_url, tmp_path, reason_required=request.param):
        yield request.param, bank


def test_where_a_reason_is_required_nothing_is_shown_without(reasoned: tuple[str, Bank]) -> None:
    """Profiles, or whatever is recorded; the refusal says what to send, and is recorded."""
    required, bank = reasoned
    for path, is_personal in (
        ("/v1/customers/c", True),
        ("/v1/customers", True),
        ("/v1/accounts/a?expand=holders", True),
        ("/v1/accounts/b", False),
        ("/v1/accounts/b/statement", False),
    ):
        answer = _read(bank, path)
        is_refused = required == "all" or (required == "customers" and is_personal)
        assert answer.status_code == (400 if is_refused else 200), (required, path)
        assert _access_of(bank, answer).status == answer.status_code
        if is_refused:
            assert answer.json()["code"] == "reason_required"
            assert "Ann" not in answer.text
        assert _read(bank, path, **{"Ledger-Reason": "case 7"}).status_code == 200


@pytest.fixture(params=get_args(Recording))
def recorded(
    request: pytest.FixtureRequest, database_url: str, tmp_path: Path
) -> Iterator[tuple[str, Bank]]:
    """A bank for each setting of when balances without a customer are recorded."""
    for bank in _with(database_url, tmp_path, recording=request.param):
        yield request.param, bank


def test_a_balance_that_shows_no_customer_is_recorded_promptly(
    recorded: tuple[str, Bank],
) -> None:
    """Soon without another read to bring it along; before the answer where that is asked for."""
    setting, bank = recorded
    answer = _read(bank, "/v1/accounts/b")
    if setting == "strict":
        assert [item.request_id for item in _accesses(bank)] == [answer.headers["x-request-id"]]
    assert _access_of(bank, answer).subjects == ["account:b"]


def test_what_was_put_off_is_recorded_when_the_server_stops(
    database_url: str, tmp_path: Path
) -> None:
    """Whoever stops it loses nothing."""
    ids = []
    with Runtime(settings_of(database_url, tmp_path)) as runtime:
        with TestClient(create_app(runtime)) as client:
            bank = Bank(runtime, client, "own")
            bank.open("b")
            bank.catch_up()
            ids = [_read(bank, "/v1/accounts/b").headers["x-request-id"] for _ in range(3)]
        assert [item.request_id for item in _accesses(bank)] == ids


@pytest.mark.parametrize(
    "path", ["/v1/accounts/a", "/v1/customers/c", "/v1/accounts/b/statement", "/v1/events"]
)
def test_nothing_is_shown_that_cannot_be_recorded(
    database_url: str, superuser_url: str, tmp_path: Path, path: str
) -> None:
    """503 until it can be again; readiness says so; commands are taken all the while."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        for bank in _with(database_url, tmp_path):
            superuser.execute("REVOKE INSERT ON audit.accesses FROM ledger_writer")
            answer = _read(bank, path)
            assert (answer.status_code, answer.json()["code"]) == (503, "access_log_unavailable")
            assert answer.headers["retry-after"]
            assert "Ann" not in answer.text
            ready = bank.client.get("/readyz")
            assert (ready.status_code, ready.json()["code"]) == (503, "access_log_unavailable")
            assert bank.post("/v1/accounts", {"account_id": "z", "currency": "EUR"}).is_success
            superuser.execute("GRANT INSERT ON audit.accesses TO ledger_writer")
            assert bank.client.get("/readyz").status_code == 200
            assert _access_of(bank, _read(bank, path)).status == 200


def test_a_balance_that_shows_no_customer_stops_as_well(
    database_url: str, superuser_url: str, tmp_path: Path
) -> None:
    """At the latest when what was put off is due; what was told meanwhile is not forgotten."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        for bank in _with(database_url, tmp_path):
            superuser.execute("REVOKE INSERT ON audit.accesses FROM ledger_writer")
            told: list[str] = []
            deadline = time.monotonic() + SOON_S
            while (answer := _read(bank, "/v1/accounts/b")).status_code == 200:
                told.append(answer.headers["x-request-id"])
                assert time.monotonic() < deadline
            assert answer.json()["code"] == "access_log_unavailable"
            superuser.execute("GRANT INSERT ON audit.accesses TO ledger_writer")
            last = _read(bank, "/v1/accounts/b").headers["x-request-id"]
            _settled(bank, last)
            assert [item.request_id for item in _accesses(bank)] == [*told, last]


def _numbers(answer: Response) -> list[int]:
    """The numbers of a page of the access log."""
    return [item["number"] for item in answer.json()["accesses"]]


def test_auditors_ask_who_read_what(held: Bank) -> None:
    """By subject, actor, operation and time; newest first; each look is there in the next."""
    _read(held, "/v1/customers/c", role="teller", **{"Ledger-Reason": "case 7"})
    _read(held, "/v1/accounts/b/statement", role="reader")
    answer = _read(held, "/v1/accesses?subject=customer:c", role="auditor")
    (found,) = answer.json()["accesses"]
    teller = held.keys["teller"].split("_")[2]
    assert {name: found[name] for name in ("actor", "operation", "reason", "status")} == {
        "actor": f"key:{teller}",
        "operation": "get_customer",
        "reason": "case 7",
        "status": 200,
    }
    stored = next(item for item in _accesses(held) if item.number == found["number"])
    assert found["leaf_hash"] == stored.leaf_hash.hex()
    assert found["subjects"] == stored.subjects
    again = _read(held, "/v1/accesses?subject=customer:c", role="auditor").json()
    assert [item["operation"] for item in again["accesses"]] == ["list_accesses", "get_customer"]
    by_actor = _read(held, f"/v1/accesses?actor=key:{teller}", role="auditor")
    assert _numbers(by_actor) == [found["number"]]
    by_operation = _read(held, "/v1/accesses?operation=get_statement", role="auditor").json()
    assert [item["subjects"] for item in by_operation["accesses"]] == [["account:b"]]
    at = found["at"].replace("+00:00", "Z")
    assert _numbers(_read(held, f"/v1/accesses?until={at}")) == [found["number"]]
    assert found["number"] in _numbers(_read(held, f"/v1/accesses?since={at}"))


def test_pages_go_on_where_the_page_before_ended(held: Bank) -> None:
    """Whatever was read meanwhile; a cursor is good for its own filters only."""
    for _ in range(7):
        _read(held, "/v1/customers/c")
    first = _read(held, "/v1/accesses?limit=3").json()
    assert [item["number"] for item in first["accesses"]] == [7, 6, 5]
    second = _read(held, f"/v1/accesses?limit=10&cursor={first['next']}").json()
    assert [item["number"] for item in second["accesses"]] == [4, 3, 2, 1]
    assert (second["next"], second["number"]) == ("", first["number"])
    other = _read(held, f"/v1/accesses?subject=ledger&cursor={first['next']}")
    assert (other.status_code, other.json()["code"]) == (400, "invalid_cursor")


def test_who_looked_at_me(held: Bank) -> None:
    """Of a customer: the customer, and the accounts that the customer holds."""
    _read(held, "/v1/customers/c")
    _read(held, "/v1/accounts/a/statement")
    _read(held, "/v1/accounts/b/statement")
    answer = _read(held, "/v1/customers/c/accesses", role="auditor").json()
    seen = [item["operation"] for item in answer["accesses"]]
    assert seen == ["get_statement", "get_customer"]
    answer = _read(held, "/v1/accounts/b/accesses").json()
    assert [item["operation"] for item in answer["accesses"]] == ["get_statement"]


@pytest.mark.parametrize("role", ["reader", "teller"])
@pytest.mark.parametrize(
    "path", ["/v1/accesses", "/v1/accounts/a/accesses", "/v1/customers/c/accesses"]
)
def test_only_auditors_see_the_access_log(held: Bank, role: str, path: str) -> None:
    """Tellers do not learn who looks at whom; that they tried is recorded."""
    answer = _read(held, path, role=role)
    assert answer.status_code == 403
    assert _access_of(held, answer).status == 403


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("subject=anna", "subject"),
        ("subject=account:", "subject"),
        ("since=yesterday", "since"),
        ("limit=0", "limit"),
        ("actor=", "actor"),
        ("who=me", None),
    ],
)
def test_a_malformed_question_is_told_what_is_wrong(
    bank: Bank, query: str, field: str | None
) -> None:
    """422 with the field and the rule."""
    answer = _read(bank, f"/v1/accesses?{query}")
    assert answer.status_code == 422, answer.text
    errors: list[Json] = answer.json()["errors"]
    assert [error.get("field") for error in errors] == [field]


def test_what_is_no_json_is_about_what_was_asked_for_or_the_ledger(held: Bank) -> None:
    """A document of another kind cannot be looked through."""
    answers = [
        _read(held, view.path.replace("{position}", "1"), Accept=view.media[0])
        for view in VIEWS
        if getattr(view, "media", ())
        and set(view.path.split("{")[1:]) <= {"position}/receipt", "position}"}
        and view.operation not in recording.NOT_RECORDED
    ]
    for answer in answers:
        if answer.headers["content-type"].startswith("text/csv"):
            assert list(csv.reader(io.StringIO(answer.text)))
        if answer.status_code == 200:
            assert _access_of(held, answer).subjects
