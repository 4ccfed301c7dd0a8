"""Sessions: when they end, who ends them, and that nothing but the token opens them."""

import time
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.bank import Bank
from tests.security.crew import CURRENT, Member, accesses, at_work, key_ring, taken_in
from tests.strategies import START

from api import sessions
from api.sessions import Session

IDLE_S = 900
# It is written down beside the request, at once for a test that waits for it.
SOON_S = 10.0


def _session(**changes: object) -> Session:
    """A session that began at START, of somebody with a second factor."""
    fields: dict[str, object] = {
        "ledger_id": 1,
        "session_id": "0" * 16,
        "secret_hash": bytes(32),
        "person_id": "ann",
        "created_at": START,
        "last_seen_at": START,
        "expires_at": START + timedelta(hours=8),
        "second_factor_at": START,
        "ended_at": None,
        "roles": ["teller"],
        "permissions": ["ops"],
        "is_new_here": False,
        "is_disabled": False,
    }
    return Session(**(fields | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "seconds", "state"),
    [
        ({}, 0, "open"),
        ({}, IDLE_S, "open"),
        ({}, IDLE_S + 1, "ended"),
        ({"last_seen_at": START + timedelta(hours=8)}, 28_799, "open"),
        ({"last_seen_at": START + timedelta(hours=8)}, 28_800, "ended"),
        ({"ended_at": START}, 0, "ended"),
        ({"is_disabled": True}, 0, "ended"),
    ],
)
def test_a_session_ends_idle_in_time_or_by_hand(
    changes: dict[str, object], seconds: int, state: str
) -> None:
    """Whichever comes first."""
    at = START + timedelta(seconds=seconds)
    assert _session(**changes).is_open(at, IDLE_S) == (state == "open")


@pytest.mark.parametrize(
    "changes", [{"second_factor_at": None}, {"is_new_here": True}], ids=["factor", "password"]
)
def test_a_session_that_is_not_whole_allows_setting_up_alone(changes: dict[str, object]) -> None:
    """Nor do its person's permissions count in approvals."""
    whole, part = _session().credential(), _session(**changes).credential()
    assert (whole.scopes, whole.permissions) == (None, ("ops",))
    assert (part.scopes, part.permissions) == (("sessions.own",), ())


@given(st.text(max_size=120) | st.from_regex(r"ls_[0-9]{1,10}_[0-9a-f]{16}_[0-9a-f]{64}"))
def test_any_text_is_a_token_or_none(text: str) -> None:
    """What is taken as a token is exactly what was given out."""
    parts = sessions.parse(text)
    if parts is not None:
        assert text == f"ls_{parts.ledger_id}_{parts.session_id}_{parts.secret}"


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("0" if token[-1] != "0" else "1"),
        lambda token: token + "0",
        lambda token: token[:-1],
        lambda token: token.replace("ls_", "lk_", 1),
        lambda token: token.replace("ls_", "Ls_", 1),
        lambda token: token.replace("_", "_0", 1),
        lambda token: token.upper(),
    ],
)
def test_nothing_but_the_token_opens_a_session(bank: Bank, change: object) -> None:
    """Any other text is 401, as no text is."""
    ann = at_work(bank, "ann", "reader")
    ann.token = change(ann.token)  # type: ignore[operator]
    answer = ann.get("/v1/accounts")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_a_session_opens_its_own_ledger_alone(bank: Bank) -> None:
    """Its number in the token is not believed."""
    ben = at_work(bank, "ben", "admin")
    other = Bank(bank.runtime, bank.client, f"{bank.ledger}-other")
    other.open("theirs", 5)
    ben.token = ben.token.replace(f"ls_{bank.ledger_id}_", f"ls_{other.ledger_id}_", 1)
    assert ben.get("/v1/accounts/theirs").status_code == 401


def test_logging_out_ends_the_session_at_once(bank: Bank) -> None:
    """This one, or all of them."""
    cy = at_work(bank, "cy", "reader")
    other = Member(bank, "cy", cy.password)
    other.secret = cy.secret
    for path in ("log-out", "log-out-everywhere"):
        cy.log_in()
        other.log_in()
        assert cy.get("/v1/accounts").status_code == other.get("/v1/accounts").status_code == 200
        cy.do(path)
        assert cy.get("/v1/accounts").status_code == 401
        expected = 200 if path == "log-out" else 401
        assert other.get("/v1/accounts").status_code == expected
    assert len(accesses(bank, "log_out_everywhere")) == 1


def test_a_session_that_nobody_uses_ends(bank: Bank) -> None:
    """A quarter of an hour later, without anybody's doing."""
    away, gone = at_work(bank, "away", "reader"), at_work(bank, "gone", "reader")
    away.age(seconds=IDLE_S - 60)
    gone.age(seconds=IDLE_S)
    assert away.get("/v1/accounts").status_code == 200
    assert gone.get("/v1/accounts").status_code == 401


def test_a_session_in_use_is_seen_to_be(bank: Bank) -> None:
    """It is written down, once in a while and not with every request."""
    eve = at_work(bank, "eve", "reader")
    eve.age(seconds=60)
    before = _last_seen(bank, "eve")
    assert eve.get("/v1/accounts").status_code == 200
    deadline = time.monotonic() + SOON_S
    while _last_seen(bank, "eve") == before and time.monotonic() < deadline:
        time.sleep(0.01)
    seen = _last_seen(bank, "eve")
    assert seen > before
    key_ring(bank)._valid.clear()  # noqa: SLF001 - look it up anew
    assert eve.get("/v1/accounts").status_code == 200
    assert _last_seen(bank, "eve") == seen


def test_whoever_is_disabled_is_out_at_once(bank: Bank) -> None:
    """Also where the session is remembered; and is not back in when enabled again."""
    fay = at_work(bank, "fay", "reader")
    assert fay.get("/v1/accounts").status_code == 200
    for verb in ("disable", "enable"):
        answer = bank.client.post(f"/v1/staff/fay/{verb}", headers=bank.headers("admin"))
        assert answer.status_code == 200
        assert fay.get("/v1/accounts").status_code == 401
    fay.log_in()


def test_other_roles_count_in_sessions_that_are_open(bank: Bank) -> None:
    """Taking a role away does not wait for the next log-in."""
    gus = at_work(bank, "gus", "teller")
    body = {"account_id": "a", "currency": "EUR"}
    assert gus.post("/v1/accounts", body, **{"Idempotency-Key": "k-1"}).status_code == 201
    answer = bank.client.post(
        "/v1/staff/gus/roles", json={"roles": ["reader"]}, headers=bank.headers("admin")
    )
    assert answer.status_code == 200, answer.text
    key_ring(bank)._valid.clear()  # noqa: SLF001 - as two seconds would do
    body = {"account_id": "b", "currency": "EUR"}
    assert gus.post("/v1/accounts", body, **{"Idempotency-Key": "k-2"}).status_code == 403


def test_a_persons_permissions_count_in_approvals(bank: Bank) -> None:
    """Two people with their own sessions are maker and checker."""
    bank.open("a", 1_000)
    bank.open("b")
    maker = at_work(bank, "maker", "teller")
    checker = at_work(bank, "checker", "teller", permissions=("ops",))
    command = {
        "type": "transfer",
        "debit_account_id": "a",
        "credit_account_id": "b",
        "amount": "10",
        "currency": "EUR",
    }
    body = {"request_id": "r", "approvers": ["ops"], "command": command}
    asked = maker.post("/v1/approvals", body, **{"Idempotency-Key": "r-1"})
    assert asked.status_code == 202, asked.text
    own = maker.post("/v1/approvals/r/approve", {}, **{"Idempotency-Key": "r-2"})
    assert own.status_code == 403
    done = checker.post("/v1/approvals/r/approve", {}, **{"Idempotency-Key": "r-3"})
    assert done.status_code == 201, done.text
    assert done.json()["type"] == "ApprovalCompleted"


def test_one_sees_ones_own_session(bank: Bank) -> None:
    """Who one is, until when, and what is to be set up."""
    hal = taken_in(bank, "hal", "teller")
    begun = hal.log_in()
    shown = hal.get(CURRENT).json()
    assert shown["session_id"] == begun["session_id"]
    assert shown["expires_at"] == begun["expires_at"]
    assert (shown["idle_s"], shown["to_do"]) == (900, ["password", "second_factor"])


def _last_seen(bank: Bank, person_id: str) -> datetime:
    """When a person's session was last seen in use."""
    with bank.runtime.connect("ledger_reader") as connection:
        row = connection.execute(
            "SELECT max(last_seen_at) FROM keystore.sessions"
            " WHERE ledger_id = %s AND person_id = %s",
            (bank.ledger_id, person_id),
        ).fetchone()
    assert row is not None
    seen: datetime = row[0]
    return seen
