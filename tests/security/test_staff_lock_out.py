"""Failed attempts: the next one waits, ever longer, whoever tries from wherever."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from tests.http.bank import Bank
from tests.security.crew import Member, accesses, taken_in
from tests.strategies import START

from api.lock_out import PATIENCE, Attempts
from ledger_core.log import Connection

SECRET = b"S" * 32


@pytest.fixture
def connection(bank: Bank) -> Iterator[Connection]:
    """A connection that counts attempts."""
    with bank.runtime.connect("ledger_writer") as opened:
        yield opened


def test_five_wrong_passwords_lock_a_person_and_the_right_one_waits(bank: Bank) -> None:
    """With the time to come back; nothing is recorded that was not looked at."""
    ann = taken_in(bank, "ann", "reader")
    assert [ann.try_log_in("wrong").status_code for _ in range(5)] == [401] * 5
    locked = ann.try_log_in()
    assert (locked.status_code, locked.json()["code"]) == (429, "too_many_attempts")
    assert 1 <= int(locked.headers["retry-after"]) <= 30
    assert len(accesses(bank, "log_in")) == 5


def test_a_stranger_is_locked_as_a_person_is(bank: Bank) -> None:
    """So a lock says nothing about who exists."""
    nobody = Member(bank, "nobody-at-all", "x")
    statuses = [nobody.try_log_in().status_code for _ in range(6)]
    assert statuses == [401] * 5 + [429]


def test_a_right_password_forgets_the_wrong_ones(bank: Bank) -> None:
    """Who mistypes now and then is never locked."""
    ben = taken_in(bank, "ben", "reader")
    for _ in range(3):
        assert [ben.try_log_in("wrong").status_code for _ in range(4)] == [401] * 4
        assert ben.try_log_in().status_code == 201


def test_others_are_not_locked_with_a_person(bank: Bank) -> None:
    """Each is counted alone."""
    cy, dee = taken_in(bank, "cy", "reader"), taken_in(bank, "dee", "reader")
    for _ in range(6):
        cy.try_log_in("wrong")
    assert dee.try_log_in().status_code == 201


def test_a_client_that_tries_many_names_is_locked(bank: Bank) -> None:
    """After thirty, whichever names they were; also for those who would be right."""
    eve = taken_in(bank, "eve", "reader")
    statuses = [
        Member(bank, f"guess-{number}", "x").try_log_in().status_code for number in range(31)
    ]
    assert statuses == [401] * 30 + [429]
    assert eve.try_log_in().status_code == 429


def test_unlocking_is_for_those_who_look_after_staff(bank: Bank) -> None:
    """At once, and it is recorded."""
    fay = taken_in(bank, "fay", "reader")
    for _ in range(6):
        fay.try_log_in("wrong")
    refused = bank.client.post("/v1/staff/fay/unlock", headers=bank.headers("teller"))
    assert refused.status_code == 403
    done = bank.client.post("/v1/staff/fay/unlock", headers=bank.headers("admin"))
    assert done.status_code == 200, done.text
    assert fay.try_log_in().status_code == 201


def test_waits_double_and_are_forgotten(connection: Connection, bank: Bank) -> None:
    """By the clock that is handed in: each further failure waits twice as long, up to an hour."""
    attempts = Attempts(connection, bank.ledger_id, SECRET)
    at, waits = START, []
    for number in range(1, 16):
        assert attempts.begin("person", "gus", at) == 0
        expected = PATIENCE["person"].wait_s(number)
        wait_s = attempts.begin("person", "gus", at) if expected else 0
        assert wait_s == expected
        waits.append(wait_s)
        if expected:
            assert attempts.begin("person", "gus", at + timedelta(seconds=wait_s - 1)) == 1
            at += timedelta(seconds=wait_s)
    assert waits[4:8] == [30, 60, 120, 240]
    assert waits[-1] == 3_600
    at += timedelta(days=1, seconds=1)
    assert [attempts.begin("person", "gus", at) for _ in range(6)][:5] == [0] * 5


def test_any_number_of_attempts_at_once_are_as_many_as_in_a_row(bank: Bank) -> None:
    """Forty at one moment on their own connections: five are looked at."""
    ready = threading.Barrier(8)

    def attempt(_: int) -> list[int]:
        """Five attempts, begun with those of the others."""
        with bank.runtime.connect("ledger_writer") as own:
            attempts = Attempts(own, bank.ledger_id, SECRET)
            ready.wait()
            return [attempts.begin("person", "hal", START) for _ in range(5)]

    with ThreadPoolExecutor(8) as threads:
        waits = [wait for found in threads.map(attempt, range(8)) for wait in found]
    assert waits.count(0) == 5


def test_no_name_and_no_address_is_kept(connection: Connection, bank: Bank) -> None:
    """Only keyed hashes: what was typed may be a password, an address is somebody's."""
    Member(bank, "typed-by-mistake", "x").try_log_in()
    rows = connection.execute(
        "SELECT kind, name_hash FROM keystore.attempts WHERE ledger_id = %s", (bank.ledger_id,)
    ).fetchall()
    assert sorted(kind for kind, _ in rows) == ["client", "person"]
    assert all(len(name_hash) == 32 for _, name_hash in rows)
    dump = str(rows)
    assert "typed-by-mistake" not in dump
    assert "testclient" not in dump


def test_old_attempts_are_forgotten(connection: Connection, bank: Bank) -> None:
    """Once they count no more, and not before."""
    attempts = Attempts(connection, bank.ledger_id, SECRET)
    attempts.begin("person", "ida", START)
    attempts.begin("client", "10.0.0.1", START + timedelta(hours=1))
    attempts.forget_old(START + timedelta(days=1, minutes=1))
    rows = connection.execute(
        "SELECT kind FROM keystore.attempts WHERE ledger_id = %s", (bank.ledger_id,)
    ).fetchall()
    assert rows == [("client",)]
