"""A fault run in small, in one process: two writers of one ledger, and a script instead of chance.

What takes a harness of processes seconds and luck is here arranged: two transactions that are about
to commit wait for each other, a server dies between its decision and its commit, a connection is
gone when the commit is sent. Reads go through the whole application, and the projector is always a
little late. What clients are told is recorded as the harness does, and checked by the same checker.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from starlette.testclient import TestClient
from tests.faults import bank_model, checker
from tests.faults.history import Attempt, Finding, History
from tests.postgres.ledger_harness import World
from tests.strategies import START

from api import answers, problems
from api.app import create_app
from api.runtime import Runtime
from api.settings import Settings
from ledger_core.commands import Command, WireCommand
from ledger_core.errors import BatchFailed, LedgerError
from ledger_core.ledger import Ledger, Mode, Outcome, Submission
from ledger_core.writer import Writer

MEET_S = 0.3
"""How long a transaction waits for another to be about to commit; a lock keeps that one out."""

LAG_S = 0.02
"""How long the views stay behind while they are read."""

_COMMAND: Callable[[dict[str, Any]], Command] = partial(msgspec.convert, type=WireCommand)


class Died(BaseException):
    """The process is gone, as by kill -9: nothing of its own handles this."""


class Server:
    """A writer as a process has one, and what happens when it is about to commit."""

    def __init__(self, world: World) -> None:
        """Begin with nothing in memory."""
        self.ledger: Ledger = world.ledger()
        self.ledger.committing = self._before_commit
        self.before_commit: Callable[[Ledger], None] | None = None
        self.writer = Writer(self.ledger.execute, self.ledger.close, "small")

    def _before_commit(self) -> None:
        """Let happen what is to happen, once."""
        happens, self.before_commit = self.before_commit, None
        if happens is not None:
            happens(self.ledger)


class SmallBank:
    """Two servers of one ledger, and a client that records what they answer."""

    def __init__(self, url: str, folder: Path) -> None:
        """Nothing was sent."""
        self._opened = ExitStack()
        self.world = self._opened.enter_context(World(url, "main"))
        self.history = History()
        self._url = url
        self._origin = time.monotonic()
        self._projecting = threading.Lock()
        self.servers = [Server(self.world), Server(self.world)]
        settings = Settings(
            data_dir=folder,
            database_url=url,
            key_encryption_key=b"K" * 32,
            server_secret=b"S" * 32,
        )
        runtime = self._opened.enter_context(Runtime(settings))
        key = runtime.create_key(self.world.ledger_id, "admin", "small")
        self._headers = {"Authorization": f"Bearer {key}"}
        self._reader = self._opened.enter_context(TestClient(create_app(runtime)))

    def close(self) -> None:
        """Stop everything."""
        for server in self.servers:
            server.writer.stop()
        self._opened.close()

    def restart(self, index: int) -> None:
        """Have another process in a server's place."""
        self.servers[index].writer.stop()
        self.servers[index] = Server(self.world)

    def send(
        self,
        index: int,
        operation: str,
        key: str,
        *,
        if_match: int | None = None,
        **command: Any,  # noqa: ANN401 - fields
    ) -> Attempt:
        """Send a command to a server; what was recorded of it."""
        attempt = self._attempt(operation, command, index, key)
        attempt.if_match = None if if_match is None else f'"{if_match}"'
        versions = None if if_match is None else (if_match,)
        wire: Any = {"type": operation, "key": key, **command}
        outcomes = self._submit(attempt, Submission([_COMMAND(wire)], "tester", if_match=versions))
        for outcome in outcomes:
            if outcome.error is not None:
                self._refused(attempt, outcome.error)
            else:
                attempt.status = 201
                attempt.answer = msgspec.json.decode(answers.encode(answers.answer_of(outcome)))
                attempt.is_replayed = outcome.status == "replayed"
        return attempt

    def batch(self, index: int, key: str, mode: Mode, *commands: dict[str, Any]) -> Attempt:
        """Send a batch of transfers to a server; what was recorded of it."""
        items: list[Any] = [
            {"type": "transfer", "key": f"{key}/{number}", **command}
            for number, command in enumerate(commands)
        ]
        attempt = self._attempt("batch", {"mode": mode, "commands": items}, index, key)
        outcomes = self._submit(attempt, Submission([*map(_COMMAND, items)], "tester", mode))
        if not outcomes:
            return attempt
        attempt.status, attempt.answer = 200, {}
        if mode == "atomic" and outcomes[0].error is not None:
            self._refused(attempt, BatchFailed())
        attempt.answer["results"] = [*map(_result, outcomes)]
        return attempt

    def _submit(self, attempt: Attempt, submission: Submission) -> list[Outcome]:
        """What the attempt's server decides; nothing where it does not come to that."""
        server = self.servers[attempt.url_index]
        outcomes: list[Outcome] = []
        try:
            outcomes = server.writer.submit(submission).result(timeout=30)
        except Died:
            return outcomes
        except LedgerError as error:
            self._refused(attempt, error)
        except Exception:  # noqa: BLE001 - as HTTP answers whatever else is raised
            attempt.status, attempt.answer = 500, {"code": "internal_error"}
        attempt.completed_at = self._now()
        return outcomes

    def together(self, operation: str, key: str, **command: Any) -> list[Attempt]:  # noqa: ANN401 - fields
        """Send the same to both servers, under two keys; both are about to commit at one moment."""
        meeting = threading.Barrier(2)

        def meet(_ledger: Ledger) -> None:
            """Wait for the other, who may be kept out."""
            try:
                meeting.wait(MEET_S)
            except threading.BrokenBarrierError:
                return

        for server in self.servers:
            server.before_commit = meet
        with ThreadPoolExecutor(2) as pool:
            sent = [
                pool.submit(self.send, index, operation, f"{key}-{index}", **command)
                for index in range(2)
            ]
        return [future.result() for future in sent]

    def overtaken(self, key: str, command: dict[str, Any], other: dict[str, Any]) -> None:
        """Send a transfer to one server; the other carries one out before the first can commit."""
        with ThreadPoolExecutor(1) as pool:

            def overtake(_ledger: Ledger) -> None:
                """Let the other begin, and wait for it unless it is kept out."""
                sent = pool.submit(self.send, 1, "transfer", f"{key}-1", **other)
                with suppress(TimeoutError):
                    sent.result(MEET_S)

            self.servers[0].before_commit = overtake
            self.send(0, "transfer", f"{key}-0", **command)

    def read(self, account_id: str, least: int) -> Attempt:
        """Read a balance as of that position or later; the views are that new some time after."""
        asked = {"account_id": account_id, "min_position": least}
        attempt = self._attempt("read_balance", asked, 0, None)
        address = f"/v1/accounts/{account_id}/balance?min_position={least}"
        is_answered = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            projected = pool.submit(self._project, is_answered)
            found = self._reader.get(address, headers=self._headers)
            attempt.completed_at = self._now()
            is_answered.set()
            projected.result()
        attempt.status, attempt.answer = found.status_code, found.json()
        return attempt

    def _project(self, is_enough: threading.Event) -> None:
        """Bring the views forward, now and then, as a projector that has other things to do."""
        while True:
            time.sleep(LAG_S)
            with self._projecting:
                self.world.catch_up()
            if is_enough.is_set():
                return

    @property
    def newest(self) -> int:
        """The newest position that anybody was told."""
        answered = [attempt.answer or {} for attempt in self.history.attempts]
        return max((int(answer.get("position") or 0) for answer in answered), default=0)

    def findings(self) -> list[Finding]:
        """What the harness finds in what the story leaves, and in what was recorded of it."""
        try:
            story(self)
            self.world.catch_up()
            found = checker.check(self._url, self.world.owner_url, self.history)
        except Exception as error:  # noqa: BLE001 - whatever fails is what the run has to say
            found = [Finding("run", repr(error))]
        return found + bank_model.findings(self.history)

    @staticmethod
    def _refused(attempt: Attempt, error: LedgerError) -> None:
        """Answer with a problem document."""
        attempt.answer = msgspec.json.decode(problems.encode(problems.body_of(error)))
        attempt.status = problems.STATUS_OF[type(error)]
        after = dict(problems.headers_of(error)).get("Retry-After")
        attempt.retry_after = None if after is None else float(after)

    def _attempt(
        self, operation: str, command: dict[str, Any], index: int, key: str | None
    ) -> Attempt:
        """A new attempt, recorded."""
        return self.history.add(
            Attempt(
                client=index,
                number=len(self.history.attempts),
                operation=operation,
                key=key,
                command=command,
                url_index=index,
                invoked_at=self._now(),
            )
        )

    def _now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._origin


def _result(outcome: Outcome) -> dict[str, Any]:
    """What a batch's answer says of one command."""
    if outcome.error is None:
        return {"status": outcome.status, "position": outcome.position}
    error = msgspec.json.decode(problems.encode(problems.body_of(outcome.error)))
    return {"status": "refused", "error": error}


def die(_ledger: Ledger) -> None:
    """The process is killed before it commits."""
    raise Died


def lose_connection(ledger: Ledger) -> None:
    """The connection is gone when the commit is sent."""
    connection = ledger._connection  # noqa: SLF001 - as the network would, behind its back
    assert connection is not None
    connection.close()


def lose_answer(ledger: Ledger) -> None:
    """The connection is gone when the commit is to be answered: it was carried out."""
    connection = ledger._connection  # noqa: SLF001 - as the network would, behind its back
    assert connection is not None
    execute = connection.execute

    def carry_out(query: Any, *parameters: Any, **more: Any) -> Any:  # noqa: ANN401 - as the original
        """Carry out; nobody hears of a commit."""
        done = execute(query, *parameters, **more)
        if isinstance(query, bytes) and (b"COMMIT" in query or b"WITH moved" in query):
            connection.close()
            raise psycopg.OperationalError
        return done

    setattr(connection, "execute", carry_out)  # noqa: B010 - of this connection alone


def story(bank: SmallBank) -> None:
    """A day of that bank, with all that may go wrong at a commit."""
    for name in ("a", "b", "c"):
        bank.send(0, "open_account", f"open-{name}", account_id=name, currency="EUR", limit="0")
        bank.send(0, "deposit", f"first-{name}", account_id=name, amount="1000", currency="EUR")
    _read_all(bank)
    _transfer(bank, 0, "t1", "a>b", 600)
    _transfer(bank, 1, "t1", "a>b", 600)
    _transfer(bank, 1, "t2", "a>b", 600)  # There is not so much any more.
    _transfer(bank, 1, "t3", "b>c", 50)
    bank.world.now -= timedelta(hours=1)
    _transfer(bank, 0, "t4", "a>c", 70)
    _transfer(bank, 0, "t3", "b>c", 50)
    for index in range(2):
        bank.send(index, "transfer", f"named-{index}", reference="r", **_moving("b>c", 1))
    _read_all(bank)
    bank.together("transfer", "both", **_moving("c>a", 900))
    for number in range(3):  # One server is alone for a while, until it is not.
        _transfer(bank, 0, _ordered(f"alone-{number}"), "b>a", 10)
    bank.overtaken(_ordered("overtaken"), _moving("b>a", 300), _moving("c>a", 7))
    shown = bank.read("b", bank.newest).answer or {}
    _transfer(bank, 0, "rest", "b>a", int(shown["posted_minor"]))
    _transfer(bank, 0, "back", "a>b", 500)
    _holds(bank)
    _read_all(bank)
    for number, happens in enumerate((lose_connection, lose_answer, die)):
        bank.servers[1].before_commit = happens
        _transfer(bank, 1, f"lost-{number}", "b>a", 20)
        _transfer(bank, 0, f"between-{number}", "b>a", 5)
        bank.restart(1)
        _transfer(bank, 1, f"lost-{number}", "b>a", 20)
    _transfer(bank, 1, "t5", "b>a", 100_000)
    bank.batch(0, "all", "atomic", _moving("b>a", 3), _moving("a>b", 2))
    bank.batch(0, "or-nothing", "atomic", _moving("b>a", 4), _moving("b>a", 100_000))
    _read_all(bank)


def _ordered(name: str) -> str:
    """A key that sorts by time: only with such keys does a writer append without the lock."""
    digits = f"{int((START + timedelta(days=1)).timestamp() * 1_000):012x}"
    return f"{digits[:8]}-{digits[8:]}-{name}"


def _holds(bank: SmallBank) -> None:
    """Holds that two want to resolve."""
    bank.send(0, "place_hold", "place-1", hold_id="h1", **_moving("b>a", 40))
    bank.send(1, "void_hold", "void-1", hold_id="h1")
    bank.send(0, "capture_hold", "capture-1", hold_id="h1")
    bank.send(1, "place_hold", "place-2", hold_id="h2", **_moving("b>a", 30))
    bank.send(0, "capture_hold", "capture-2", hold_id="h2", amount="10")
    bank.send(1, "void_hold", "void-2", hold_id="h2")


def _moving(way: str, amount: int) -> dict[str, Any]:
    """The fields of a movement; ``a>b`` is from a to b."""
    debit, credit = way.split(">")
    return {
        "debit_account_id": debit,
        "credit_account_id": credit,
        "amount": str(amount),
        "currency": "EUR",
    }


def _transfer(bank: SmallBank, index: int, key: str, way: str, amount: int) -> None:
    """A transfer."""
    bank.send(index, "transfer", key, **_moving(way, amount))


def _read_all(bank: SmallBank) -> None:
    """Read every account, as new as anybody knows it."""
    for name in ("a", "b", "c"):
        bank.read(name, bank.newest)
