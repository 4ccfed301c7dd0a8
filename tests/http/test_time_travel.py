"""Every view as of a moment says what a ledger says that stopped at that moment."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import psycopg
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from starlette.testclient import TestClient
from tests import databases
from tests.http.bank import Bank, Json
from tests.http.conftest import settings_of
from tests.http.timed import Clock
from tests.postgres.moments import DAY, histories

from api.app import create_app
from api.routes import VIEWS
from api.runtime import Runtime
from ledger_core import log, merkle
from ledger_core.account_terms import OpenAccount
from ledger_core.approval_policies import SetApprovalPolicy
from ledger_core.approvals import ApproveRequest
from ledger_core.blocks import FreezeAccount
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import RegisterCustomer
from ledger_core.schedules import Schedule
from ledger_core.standing_orders import CreateOrder
from ledger_core.transfers import Transfer

_numbers = count(1)
_day = {"value_date": DAY.isoformat()}
_page = {"limit": "1000"}
_dated: list[dict[str, str]] = [{}, _day]
_paged: list[dict[str, str]] = [_page]

# What each view is asked, beside the moment. What is in braces is every such thing there is.
ASKED: Mapping[str, list[dict[str, str]]] = {
    "/v1/accounts": [
        _page,
        _page | _day,
        _page | {"customer_id": "c1"},
        _page | {"prefix": "bank:"},
    ],
    "/v1/accounts/totals": [{}, _day, {"customer_id": "c1"}],
    "/v1/accounts/{account}": [{}, _day, {"expand": "holders"}],
    "/v1/accounts/{account}/balance": _dated,
    "/v1/accounts/{account}/statement": [
        _page,
        _page | _day,
        _page | {"axis": "value_date"},
        _page | _day | {"axis": "value_date", "order": "newest_first"},
        _page | {"from_date": DAY.isoformat()},
    ],
    "/v1/accounts/{account}/explanation": [_page, _page | _day],
    "/v1/trial-balance": _dated,
    "/v1/customers": _paged,
    "/v1/customers/{customer}": _dated,
    "/v1/risk-flags": [_page, _page | {"customer_id": "c1"}, _page | {"rule": "velocity"}],
    "/v1/risk-flags/{flag}/explanation": [{}],
    "/v1/risk-rules": [{}],
    "/v1/refusals/explanation": [{"position": "{refusal}"}],
    "/v1/entries": [_page, _page | {"account_id": "A"}, _page | {"order": "desc"}],
    "/v1/entries/{entry}": [{}, {"expand": "accounts"}],
    "/v1/entries/{entry}/effect": [{}],
    "/v1/backdated": [_page, _page | {"account_id": "A"}],
    "/v1/reports/revaluation": [
        {"base": "EUR", "rates": "JPY:160,PTS:10"},
        {"base": "EUR", "rates": "JPY:160,PTS:10"} | _day,
    ],
    "/v1/events": [_page, _page | {"tag": "account:A"}, _page | {"after": "3", "tag": "hold:H1"}],
    "/v1/groups": [_page, _page | {"account_id": "A"}],
    "/v1/groups/{group}": _dated,
    "/v1/limit-changes": [_page, _page | {"status": "scheduled"}],
    "/v1/period": [{}],
    "/v1/holds": [_page, _page | {"account_id": "A", "status": "open"}],
    "/v1/holds/{hold}": [{}],
    "/v1/templates": _paged,
    "/v1/templates/{template}": [{}],
    "/v1/standing-orders": _paged,
    "/v1/standing-orders/{order}": [{}],
    "/v1/approvals": [_page, _page | {"status": "pending"}],
    "/v1/approvals/{approval}": [{}],
    "/v1/approval-policies": _paged,
    "/v1/approval-policies/{approval_policy}": [{}],
}
# These take no moment: one event, what is proven about the log itself, what names two moments, and
# who may do what now.
OF_NO_MOMENT = frozenset({"/v1/events/{}", "/v1/diff", "/v1/info"})
OF_THE_LOG = frozenset(
    {
        "accesses",
        "alarms",
        "audits",
        "checkpoint",
        "checkpoints",
        "evidence",
        "export",
        "keys",
        "permissions",
        "personal",
        "proofs",
        "receipt",
        "roles",
        "sessions",
        "staff",
        "tlog",
    }
)


def _bare(path: str) -> str:
    """An address without the names of its variable parts."""
    parts = [part.partition("{")[0] + "{}" if "{" in part else part for part in path.split("/")]
    return "/".join(parts)


def test_every_view_can_be_asked_for_a_moment() -> None:
    """Each is in the table; whatever takes no moment is named here."""
    asked = {_bare(path) for path in ASKED}
    views = {_bare(view.path) for view in VIEWS}
    assert asked <= views
    others = views - asked - OF_NO_MOMENT
    assert {path for path in others if OF_THE_LOG.isdisjoint(path.split("/"))} == set()


def test_every_such_view_takes_a_position_and_a_time(bank: Bank) -> None:
    """By its parameters; balances, statements and trial balances a value date as well."""
    paths = bank.client.get("/openapi.json").json()["paths"]
    by_path = {_bare(path): item["get"] for path, item in paths.items() if "get" in item}
    for path, asked in ASKED.items():
        names = {item.get("name") for item in by_path[_bare(path)]["parameters"]}
        assert {"as_of", "as_of_position", "min_position"} <= names, path
        assert {name for params in asked for name in params} <= names, path
        if path.endswith(("/balance", "/statement", "/trial-balance", "/explanation")) and (
            "account" in path or "trial" in path
        ):
            assert "value_date" in names, path


class Stopped:
    """Another database, to which the beginnings of ledgers are copied: they went no further."""

    def __init__(self, url: str, folder: Path) -> None:
        """Open the program on it."""
        self.url = url
        self.clock = Clock()
        self._stack = ExitStack()
        self.runtime = self._stack.enter_context(
            Runtime(settings_of(databases.program_of(url), folder), now=self.clock.now)
        )
        self.client = self._stack.enter_context(TestClient(create_app(self.runtime)))

    def take(self, bank: Bank, position: int, at: datetime) -> None:
        """Have the ledger as it was after a position, and the clock where it stood."""
        self.clock.at = at
        ledger_id = bank.ledger_id
        with psycopg.connect(bank.runtime.database_url) as one, psycopg.connect(self.url) as other:
            for table in ("ledger.ledgers", "keystore.subject_keys", "keystore.api_keys"):
                _copy(one, other, table, ledger_id, "true")
            for table in ("ledger.events", "ledger.identities"):
                _copy(one, other, table, ledger_id, f"position <= {position}")
            leaves = one.execute(
                "SELECT leaf_hash FROM ledger.events WHERE ledger_id = %s AND position <= %s"
                " ORDER BY position",
                (ledger_id, position),
            )
            frontier = merkle.extend(merkle.EMPTY, (row[0] for row in leaves))
            other.execute(
                "INSERT INTO ledger.heads VALUES (%s, %s, %s, %s)",
                (ledger_id, position, at, merkle.to_bytes(frontier)),
            )
        stopped = Bank.__new__(Bank)
        stopped.runtime, stopped.client, stopped.ledger_id = self.runtime, self.client, ledger_id
        stopped.keys = bank.keys
        stopped.catch_up()
        self.bank = stopped

    def close(self) -> None:
        """Close the program."""
        self._stack.close()


def _copy(
    one: psycopg.Connection[Any],
    other: psycopg.Connection[Any],
    table: str,
    ledger_id: int,
    condition: str,
) -> None:
    """Copy a ledger's rows of a table to another database."""
    names = sql.Identifier(*table.split("."))
    out = sql.SQL(
        "COPY (SELECT * FROM {} WHERE ledger_id = {} AND {}) TO STDOUT (FORMAT binary)"
    ).format(names, sql.Literal(ledger_id), sql.SQL(condition))
    into = sql.SQL("COPY {} FROM STDIN (FORMAT binary)").format(names)
    with one.cursor().copy(out) as source, other.cursor().copy(into) as sink:
        for data in source:
            sink.write(data)


@pytest.fixture
def stopped(server_url: str, template_database: str, tmp_path: Path) -> Iterator[Stopped]:
    """Another database, and the program on it."""
    name = f"{template_database}_stopped_{next(_numbers)}"
    url = databases.clone(server_url, template_database, name)
    folder = tmp_path / "stopped"
    folder.mkdir()
    made = Stopped(url, folder)
    yield made
    made.close()
    databases.drop(server_url, name)


@pytest.mark.timeout(600)  # Some hundred requests an example.
@settings(max_examples=3, phases=[Phase.explicit, Phase.generate])
@given(history=histories, data=st.data())
def test_as_of_a_moment_is_what_a_ledger_says_that_stopped_there(
    timed: Bank,
    clock: Clock,
    stopped: Stopped,
    history: list[list[Command]],
    data: st.DataObject,
) -> None:
    """Every view, as of a position and as of its time, at random in histories at random."""
    bank = Bank(timed.runtime, timed.client, f"lived-{next(_numbers)}")
    moments = _lived(bank, clock, history)
    position = data.draw(st.sampled_from(sorted(moments)))
    at = moments[position]
    stopped.take(bank, position, at)
    names = _names(bank)
    bank.catch_up()
    for path, params in _requests(names):
        expected = _answer(stopped.bank, path, params)
        for moment in ({"as_of_position": str(position)}, {"as_of": at.isoformat()}):
            assert _answer(bank, path, params | moment) == expected, (path, params, moment)


def _lived(bank: Bank, clock: Clock, history: list[list[Command]]) -> dict[int, datetime]:
    """Have the ledger live through a history; where it stood after each batch, and when."""
    opening: list[Command] = [
        RegisterCustomer(key="c1", customer_id="c1", profile={"name": "Ann", "segment": "retail"}),
        OpenAccount(key="A", account_id="A", currency="EUR", customer_id="c1", limit=None),
        OpenAccount(key="B", account_id="B", currency="EUR", limit="500"),
        FreezeAccount(key="freeze", account_id="B", cause="court", effect="credit"),
        SetApprovalPolicy(
            key="policy",
            policy_id="P",
            commands=("transfer",),
            approvers=("ops",),
            currency="EUR",
            above="600",
        ),
        RequestApproval(
            key="ask",
            request_id="Q",
            approvers=("ops",),
            command=Transfer(
                key="asked",
                debit_account_id="A",
                credit_account_id="B",
                amount="5",
                currency="EUR",
            ),
        ),
        CreateOrder(
            key="order",
            order_id="O",
            schedule=Schedule(first_date=clock.today, unit="month"),
            command=Transfer(
                debit_account_id="A", credit_account_id="B", amount="5", currency="EUR"
            ),
        ),
    ]
    moments: dict[int, datetime] = {}
    votes: list[Command] = [ApproveRequest(key="vote", request_id="Q")]
    for number, commands in enumerate([opening, *history, votes]):
        clock.move(days=number, seconds=1)
        keyed = [
            command if command.key else msgspec.structs.replace(command, key=f"{number}-{index}")
            for index, command in enumerate(commands)
        ]
        bank.runtime.execute(bank.ledger_id, keyed, "tester")
        with bank.runtime.connect("ledger_reader") as connection:
            head = log.read_head(connection, bank.ledger_id)
        moments[head.position] = head.recorded_at
    clock.move(seconds=1)
    return moments


def _names(bank: Bank) -> dict[str, list[str]]:
    """Everything there is by now, of each sort that an address may name, and something else."""
    bank.catch_up()
    queries = {
        "account": "SELECT account_id FROM views.accounts WHERE ledger_id = %s",
        "customer": "SELECT customer_id FROM views.customers WHERE ledger_id = %s",
        "flag": "SELECT flag_id FROM views.risk_flags WHERE ledger_id = %s",
        "refusal": "SELECT position::text FROM ledger.events"
        " WHERE ledger_id = %s AND type = 'CommandRefused'",
        "entry": "SELECT coalesce(data->>'entry_id', 'jrn_' || position) FROM ledger.events"
        " WHERE ledger_id = %s AND type = 'JournalEntryPosted'",
    }
    kept = "SELECT kept_id FROM views.kept WHERE ledger_id = %s AND kind = %s"
    with bank.runtime.connect("ledger_reader") as connection:
        names = {
            kind: [row[0] for row in connection.execute(query.encode(), (bank.ledger_id,))]
            for kind, query in queries.items()
        }
        for kind in ("group", "hold", "template", "order", "approval", "approval_policy"):
            rows = connection.execute(kept, (bank.ledger_id, kind))
            names[kind] = [row[0] for row in rows]
    return {kind: [*sorted(found)[:2], "99999"] for kind, found in names.items()}


def _requests(names: dict[str, list[str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Every address of the table with everything that it may name."""
    for path, asked in ASKED.items():
        for params in asked:
            wanted = [kind for kind in names if f"{{{kind}}}" in path + str(params)]
            if not wanted:
                yield path, params
                continue
            (kind,) = wanted
            for name in names[kind]:
                filled = {key: value.replace(f"{{{kind}}}", name) for key, value in params.items()}
                yield path.replace(f"{{{kind}}}", quote(name, safe="")), filled


def _answer(bank: Bank, path: str, params: dict[str, str]) -> tuple[int, Json]:
    """What a view answers, but for what says who asked and how."""
    answer = bank.client.get(path, params=params, headers=bank.headers())
    document: Json = answer.json()
    for name in ("next", "next_after", "request_id"):
        if document.get(name) is not None:
            document[name] = bool(document[name])
    if answer.status_code >= 500:
        raise AssertionError(document)
    return answer.status_code, document


@pytest.fixture
def quiet(timed: Bank, clock: Clock) -> Bank:
    """A bank in which little happened: a deposit that counts earlier, and a late entry."""
    clock.move(days=3)
    body = {"account_id": "a", "amount": "50", "currency": "EUR", "value_date": "2026-02-28"}
    assert timed.post("/v1/deposits", body).status_code == 201
    return timed


def test_what_was_believed_then_about_another_day(quiet: Bank, clock: Clock) -> None:
    """Balance, statement and trial balance for any value date, as it was known at any time."""
    known = clock.at
    before = (known - timedelta(days=1)).isoformat()
    for path in (
        "/v1/accounts/a/balance",
        "/v1/accounts/a/statement",
        "/v1/trial-balance",
        "/v1/accounts/a/explanation",
    ):
        asked = {"value_date": "2026-02-28"}
        assert _figure(quiet.get(path, as_of=before, **asked).json()) == "0", path
        assert _figure(quiet.get(path, as_of=known.isoformat(), **asked).json()) == "50", path
        assert _figure(quiet.get(path, as_of=before).json()) == "1000", path


def _figure(document: Json) -> str:
    """The balance that a view shows of the account."""
    if "rows" in document:
        document = next(row for row in document["rows"] if row["account_id"] == "a")
    names = ("posted_minor", "closing_minor", "credit_minor")
    return str(next(document[name] for name in names if name in document))
