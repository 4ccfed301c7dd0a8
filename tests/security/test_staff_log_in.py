"""Logging in: who is let in by a password and a code, and what anybody else is told."""

import pytest
from argon2 import PasswordHasher
from psycopg import sql
from tests.cheap_passwords import KEPT_AS
from tests.http.bank import Bank
from tests.security.crew import CURRENT, PASSWORD, accesses, at_work, taken_in

from api import clock
from api.log_in import by_password
from api.passwords import Passwords
from api.staff_desk import Drawer, StaffDesk


def test_the_first_log_in_opens_nothing_but_setting_up(bank: Bank) -> None:
    """A session of a first password says what is to do, and allows no more than that."""
    ann = taken_in(bank, "ann", "admin")
    found = ann.log_in()
    assert found["to_do"] == ["password", "second_factor"]
    assert found["token"].startswith(f"ls_{bank.ledger_id}_")
    assert ann.get("/v1/accounts").json()["code"] == "forbidden"
    assert ann.get(CURRENT).json()["permissions"] == ["sessions.own"]
    ann.choose_password()
    assert ann.get("/v1/accounts").status_code == 403
    ann.set_up_app()
    assert ann.get("/v1/accounts").status_code == 200
    shown = ann.get(CURRENT).json()
    assert (shown["person"], shown["roles"], shown["to_do"]) == ("ann", ["admin"], [])
    assert "keys.manage" in shown["permissions"] or "accounts.read" in shown["permissions"]


def test_a_person_commands_in_their_own_name(bank: Bank) -> None:
    """Events name the person, not the session."""
    ben = at_work(bank, "ben", "teller")
    body = {"account_id": "till", "currency": "EUR"}
    answer = ben.post("/v1/accounts", body, **{"Idempotency-Key": "till-1"})
    assert answer.status_code == 201, answer.text
    assert [event["actor"] for event in bank.events()] == ["person:ben"]


def test_whoever_has_a_second_factor_needs_it(bank: Bank) -> None:
    """The password alone, or with a wrong code, lets nobody in."""
    cy = at_work(bank, "cy", "reader")
    right = cy.code()
    wrong = f"{(int(right) + 1) % 1_000_000:06}"
    for code in ("", wrong, "12345", "1234567", "no code", cy.recovery_codes[0][:-1]):
        answer = cy.try_log_in(code=code)
        assert (answer.status_code, answer.json()["code"]) == (401, "log_in_refused")
        _unlock(bank, "cy")
    assert cy.try_log_in(code=right).status_code == 201


def test_a_code_is_taken_once(bank: Bank) -> None:
    """Whoever looked over the shoulder is too late."""
    dee = at_work(bank, "dee", "reader")
    code = dee.code()
    assert dee.try_log_in(code=code).status_code == 201
    assert dee.try_log_in(code=code).status_code == 401


def test_a_recovery_code_is_taken_once_however_it_is_typed(bank: Bank) -> None:
    """It stands for a code of the app."""
    eve = at_work(bank, "eve", "reader")
    assert len(set(eve.recovery_codes)) == 10
    code = eve.recovery_codes[3]
    assert eve.try_log_in(code=code.upper().replace("-", " ")).status_code == 201
    assert eve.try_log_in(code=code).status_code == 401
    assert eve.try_log_in(code=eve.recovery_codes[4]).status_code == 201


@pytest.mark.parametrize(
    "person", ["fay", "nobody", "x" * 101, "a b", "\u00e4", "' OR 1=1 --", "?"]
)
def test_a_stranger_and_a_wrong_password_are_answered_alike(bank: Bank, person: str) -> None:
    """The same status, body and headers, whether there is such a person or not."""
    fay = taken_in(bank, "fay", "reader")
    body = {"person": "fay", "password": "wrong", "ledger": bank.ledger}
    known = bank.client.post("/v1/sessions", json=body)
    tried = bank.client.post("/v1/sessions", json={**body, "person": person})
    assert known.status_code == tried.status_code == 401
    assert _plain(known.json()) == _plain(tried.json())
    assert known.headers.keys() == tried.headers.keys()
    assert known.headers["www-authenticate"] == "Bearer"
    assert fay.try_log_in().status_code == 201


def test_another_ledger_and_none_are_answered_alike(bank: Bank) -> None:
    """Nor does the answer say which ledgers there are."""
    gus = taken_in(bank, "gus", "reader")
    other = Bank(bank.runtime, bank.client, f"{bank.ledger}-other")
    codes = []
    for ledger in (other.ledger, "no-such-ledger", "with\x00nul"):
        body = {"person": "gus", "password": gus.password, "ledger": ledger}
        answer = bank.client.post("/v1/sessions", json=body)
        codes.append((answer.status_code, answer.json()["code"]))
    assert codes == [(401, "log_in_refused")] * 3


class _Counting(Passwords):
    """Counts how often a password is compared."""

    compared = 0

    def is_right(self, kept: str | None, password: str) -> bool:
        """Compare as ever."""
        self.compared += 1
        return super().is_right(kept, password)


def test_a_stranger_costs_the_same_work_as_a_wrong_password(bank: Bank) -> None:
    """One comparison of a password, and as many statements, whoever it is."""
    taken_in(bank, "hal", "reader")
    passwords = _Counting(bank.runtime.settings.server_secret, clock.random_bytes)
    done = []
    for person in ("hal", "nobody", "not a person"):
        with bank.runtime.connect("ledger_writer") as connection:
            drawer = Drawer(bank.runtime, passwords, connection, bank.ledger_id, clock.now())
            before = passwords.compared
            by_password(drawer, person, "wrong", "", "client")
            done.append(passwords.compared - before)
    assert done == [1, 1, 1]


def test_a_disabled_person_and_an_old_first_password_open_nothing(bank: Bank) -> None:
    """They are answered as a wrong password is."""
    ida, jon = taken_in(bank, "ida", "reader"), taken_in(bank, "jon", "reader")
    with bank.runtime.connect("ledger_writer") as connection:
        connection.execute(
            "UPDATE keystore.staff SET disabled_at = %s WHERE person_id = 'ida' AND ledger_id = %s",
            (clock.now(), bank.ledger_id),
        )
        connection.execute(
            "UPDATE keystore.staff SET password_expires_at = %s"
            " WHERE person_id = 'jon' AND ledger_id = %s",
            (clock.now(), bank.ledger_id),
        )
    assert ida.try_log_in().status_code == jon.try_log_in().status_code == 401


def test_every_attempt_is_recorded_and_no_typed_name(bank: Bank) -> None:
    """Who was let in, who was not; a stranger's name may be a password in the wrong field."""
    kim = taken_in(bank, "kim", "reader")
    kim.log_in()
    kim.try_log_in("wrong")
    body = {"person": "my-secret-passphrase", "password": "x", "ledger": bank.ledger}
    bank.client.post("/v1/sessions", json=body, headers={"Ledger-Reason": "early shift"})
    found = accesses(bank, "log_in")
    assert [(item.actor, item.status, item.subjects, item.reason) for item in found] == [
        ("person:kim", 201, ["person:kim"], ""),
        ("person:kim", 401, ["person:kim"], ""),
        ("person:?", 401, [], "early shift"),
    ]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"password": "x"}, "person"),
        ({"person": "", "password": "x"}, "person"),
        ({"person": "ann", "password": "x" * 201}, "password"),
        ({"person": "ann", "password": "x", "code": "1" * 201}, "code"),
        ({"person": "ann", "password": "x", "ledger": ""}, "ledger"),
        ({"person": 5, "password": "x"}, "person"),
        ({"person": "ann", "password": "x", "roles": ["admin"]}, None),
    ],
)
def test_malformed_log_ins_name_the_field(
    bank: Bank, body: dict[str, object], field: str | None
) -> None:
    """And repeat nothing of what was sent."""
    answer = bank.client.post("/v1/sessions", json=body)
    assert answer.status_code == 422
    assert [error.get("field") for error in answer.json()["errors"]] == [field]


def test_a_password_is_kept_anew_when_its_cost_has_grown(bank: Bank) -> None:
    """At the next log-in, without anybody noticing."""
    lea = taken_in(bank, "lea", "reader")
    passwords = Passwords(bank.runtime.settings.server_secret, clock.random_bytes)
    weak = PasswordHasher(time_cost=1, memory_cost=32, parallelism=1)
    with bank.runtime.connect("ledger_writer") as connection:
        connection.execute(
            "UPDATE keystore.staff SET password_hash = %s"
            " WHERE ledger_id = %s AND person_id = 'lea'",
            (weak.hash(passwords._keyed(lea.password)), bank.ledger_id),  # noqa: SLF001
        )
        lea.log_in()
        row = connection.execute(
            "SELECT password_hash FROM keystore.staff WHERE ledger_id = %s AND person_id = 'lea'",
            (bank.ledger_id,),
        ).fetchone()
    assert row is not None
    assert KEPT_AS in row[0]
    assert lea.try_log_in().status_code == 201


def test_the_desk_turns_away_whom_it_cannot_serve_soon(bank: Bank) -> None:
    """A flood of log-ins is answered 503 with a time to come back, and nothing else waits."""
    context = bank.client.app.state.context  # type: ignore[attr-defined]
    desk: StaffDesk = context.staff
    desk._waiting, before = 50, desk._waiting  # noqa: SLF001 - as if so many waited
    try:
        answer = taken_in(bank, "max", "reader").try_log_in()
    finally:
        desk._waiting = before  # noqa: SLF001
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_no_password_code_or_token_is_kept_in_clear(bank: Bank) -> None:
    """A dump of the key store opens nothing."""
    ned = at_work(bank, "ned", "reader")
    secrets = [
        ned.token.rpartition("_")[2],
        PASSWORD,
        ned.secret,
        *(code.replace("-", "") for code in ned.recovery_codes),
        *ned.recovery_codes,
    ]
    tables = ("staff", "staff_recovery_codes", "staff_passkeys", "sessions", "attempts")
    with bank.runtime.connect("ledger_writer") as connection:
        found = [
            connection.execute(
                sql.SQL("SELECT held::text FROM {} AS held").format(
                    sql.Identifier("keystore", table)
                )
            ).fetchall()
            for table in tables
        ]
    dump = str(found).lower()
    assert "ned" in dump
    for secret in secrets:
        assert secret.lower() not in dump
        assert secret.encode().hex() not in dump


def _unlock(bank: Bank, person_id: str) -> None:
    """Forget the attempts of a person that failed."""
    answer = bank.client.post(f"/v1/staff/{person_id}/unlock", headers=bank.headers("admin"))
    assert answer.status_code == 200, answer.text


def _plain(document: dict[str, object]) -> dict[str, object]:
    """A problem without what names the one request."""
    return {name: value for name, value in document.items() if name != "request_id"}
