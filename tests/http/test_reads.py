"""Questions asked of the driver: one read-only transaction each, on a connection that is kept."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

import psycopg
import pytest
from psycopg import errors
from tests.http.bank import Bank

from api.reads import READ_THREADS, Reads
from ledger_core.log import Connection

_T = TypeVar("_T")


def _asked(bank: Bank, *questions: Callable[[Connection], _T]) -> list[_T | BaseException]:
    """What is answered to one question after the other."""

    async def ask() -> list[_T | BaseException]:
        reads = Reads(bank.runtime.engine, lambda: bank.runtime.connect("ledger_reader"))
        found: list[_T | BaseException] = []
        for question in questions:
            found += await asyncio.gather(reads.ask(question), return_exceptions=True)
        reads.close()
        return found

    return asyncio.run(ask())


def _backend(connection: Connection) -> int:
    """Who answers."""
    return connection.info.backend_pid


def test_a_connection_that_was_lost_is_made_anew(bank: Bank, superuser_url: str) -> None:
    """Also where it is lost while the question is being asked; the question is asked again."""
    asked: list[int] = []
    lost: list[int] = []

    def question(connection: Connection) -> int:
        """Who answers, unless that is lost: the first that is asked a second time."""
        backend = _backend(connection)
        if not lost and backend in asked:
            lost.append(backend)
            with psycopg.connect(superuser_url, autocommit=True) as superuser:
                superuser.execute("SELECT pg_terminate_backend(%s)", lost)
            connection.execute("SELECT 1")
        asked.append(backend)
        return backend

    found = _asked(bank, *[question] * 4)
    assert found == asked
    assert len(lost) == 1
    assert asked.count(lost[0]) == 1


def test_a_database_that_is_away_is_said_to_be(bank: Bank) -> None:
    """Whoever asks hears of it, and is answered once it is back."""
    away = [True]

    def connect() -> Connection:
        """Fail while the database is away."""
        if away[0]:
            raise psycopg.OperationalError
        return bank.runtime.connect("ledger_reader")

    async def ask() -> None:
        reads = Reads(bank.runtime.engine, connect)
        with pytest.raises(psycopg.OperationalError):
            await reads.ask(_backend)
        away[0] = False
        assert await reads.ask(_backend)
        reads.close()

    asyncio.run(ask())


def test_what_fails_otherwise_fails_once(bank: Bank) -> None:
    """It is not asked again, and the connection goes on."""
    asked: list[int] = []

    def question(connection: Connection) -> int:
        """Ask what cannot be answered."""
        asked.append(_backend(connection))
        connection.execute("SELECT 1 / 0")
        return asked[-1]

    failures = _asked(bank, *[question] * 3)
    assert {type(failure) for failure in failures} == {errors.DivisionByZero}
    assert len(asked) == len(failures)
    assert len(set(asked)) == 1


@pytest.mark.parametrize("at_once", [1, 3, READ_THREADS])
def test_what_a_crowded_moment_opened_is_closed_when_nobody_needs_it(
    bank: Bank, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those who ask at once have a connection each; who asks alone later has the last used."""
    opened: list[Connection] = []

    def connect() -> Connection:
        """Remember what was opened."""
        opened.append(bank.runtime.connect("ledger_reader"))
        return opened[-1]

    async def crowd(reads: Reads) -> list[int]:
        """Ask so many at once that none can be answered before all are being asked."""
        all_asked = threading.Barrier(at_once, timeout=60)

        def question(connection: Connection) -> int:
            """Who answers, once all were asked."""
            all_asked.wait()
            return _backend(connection)

        return await asyncio.gather(*[reads.ask(question) for _ in range(at_once)])

    async def ask() -> None:
        reads = Reads(bank.runtime.engine, connect)
        crowded = await crowd(reads)
        assert len(set(crowded)) == at_once
        assert set(await crowd(reads)) == set(crowded)
        assert not any(connection.closed for connection in opened)
        alone = [await reads.ask(_backend) for _ in range(3)]
        assert len(set(alone)) == 1
        assert not any(connection.closed for connection in opened)
        monkeypatch.setattr("api.reads.IDLE_S", 0.0)
        assert await reads.ask(_backend) == alone[0]
        assert [_backend(found) for found in opened if not found.closed] == alone[:1]
        assert len(set(await crowd(reads))) == at_once
        reads.close()
        assert all(connection.closed for connection in opened)

    asyncio.run(ask())


def test_a_question_sees_one_moment_and_changes_nothing(bank: Bank) -> None:
    """One snapshot, whatever is committed meanwhile; no writing, whatever the role may."""
    isolation = "SELECT current_setting('transaction_isolation'), current_setting({})"

    def question(connection: Connection) -> tuple[str, str]:
        """How the transaction is."""
        query = isolation.format("'transaction_read_only'").encode()
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0], row[1]

    assert _asked(bank, question, question) == [("repeatable read", "on")] * 2
