"""The ledger when its connection is lost: every command exactly once, and answered."""

from collections.abc import Iterator
from typing import Any, Literal, cast

import psycopg
import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, transfer, withdrawn

from ledger_core import ledger as ledger_module
from ledger_core.appending import STREAM_EVENTS, Appending
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.customers import EraseCustomer, RegisterCustomer
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Submission
from ledger_core.log import Connection
from ledger_core.writer import Writer

Moment = Literal["after_lock", "before_commit", "at_commit", "after_commit"]
MOMENTS: tuple[Moment, ...] = ("after_lock", "before_commit", "at_commit", "after_commit")


class _Doomed:
    """A connection that is lost in its first transaction, at a certain moment, or in a later one.

    ``at_commit``: the commit is carried out, but its confirmation never arrives.
    ``after_commit``: the backend ends once the transaction was confirmed.
    """

    def __init__(self, world: World, moment: Moment, spared: int = 0) -> None:
        """Open the connection; so many commits pass before it is lost."""
        self._world = world
        self._moment = moment
        self._spared = spared
        self._connection = world.connect()
        self._statements = 0

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the connection has
        """Everything else is the connection's own."""
        return getattr(self._connection, name)

    def execute(self, query: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - any
        """Run a statement; after the first (the lock) or around the last it may be lost."""
        self._statements += 1
        text = query if isinstance(query, str | bytes) else query.as_string()
        text = text.decode() if isinstance(text, bytes) else text
        is_commit = "COMMIT" in text or text.startswith("WITH moved")
        if is_commit and self._spared:
            self._spared -= 1
            is_commit = False
        if self._statements == 2 and self._moment == "after_lock":
            self._end()
        if is_commit and self._moment == "before_commit":
            self._end()
        cursor = self._connection.execute(query, *arguments, **options)
        if is_commit and self._moment in ("at_commit", "after_commit"):
            self._end()
        if is_commit and self._moment == "at_commit":
            msg = "server closed the connection unexpectedly"
            raise psycopg.OperationalError(msg)
        return cursor

    def _end(self) -> None:
        """End the backend, and wait until it is gone."""
        pid = self._connection.info.backend_pid
        with psycopg.connect(self._world.url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))


class _Plan:
    """How successive connections fare: the first ones are lost, the others last."""

    def __init__(self, world: World, *moments: Moment) -> None:
        """Connections are lost in this order."""
        self._world = world
        self._moments = list(moments)

    def connect(self) -> Connection:
        """Open the next connection."""
        if self._moments:
            return cast("Connection", _Doomed(self._world, self._moments.pop(0)))
        return self._world.connect()


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """Account A with 100, B with nothing: the log stands at position 4."""
    with World(database_url) as world:
        world.run(opened("A", key="a"), opened("B", key="b"), deposited("A", 100, key="d"))
        yield world


@pytest.mark.parametrize("moment", ["before_commit", "at_commit", "after_commit"])
def test_an_append_on_condition_counts_once(world: World, moment: Moment) -> None:
    """A writer that is alone appends by one statement: lost around it, the work is done once."""
    connections = [cast("Connection", _Doomed(world, moment, spared=2)), world.connect()]
    ledger = world.ledger(lambda: connections.pop(0))
    for turn in range(5):
        outcomes = world.run(transfer("A", "B", 10, key=f"t{turn}"), ledger=ledger)
        assert answers(outcomes) == ["recorded"]
        assert outcomes[0].position == 5 + turn
    assert not connections
    assert [event.command_key for event in world.stored(4)] == [f"t{turn}" for turn in range(5)]
    assert answers(world.run(transfer("A", "B", 51, key="over"))) == ["insufficient_funds"]


@pytest.mark.parametrize("second", MOMENTS)
@pytest.mark.parametrize("first", MOMENTS)
def test_commands_are_carried_out_once_and_answered(
    world: World, first: Moment, second: Moment
) -> None:
    """Lost once or twice, anywhere in the transaction: the answers are as if nothing happened."""
    ledger = world.ledger(_Plan(world, first, second).connect)
    for turn in range(4):
        outcomes = world.run(
            withdrawn("B", 5, key=f"w{turn}"),
            transfer("A", "B", 10, key=f"t{turn}"),
            transfer("A", "B", 10, key=f"t{turn}"),
            transfer("A", "B", 500, key=f"x{turn}"),
            ledger=ledger,
        )
        assert answers(outcomes) == [
            "insufficient_funds" if turn == 0 else "recorded",
            "recorded",
            "replayed",
            "insufficient_funds",
        ]
        # After the transfer only the refusal of the last command was recorded.
        assert outcomes[1].position + 1 == len(world.stored())
    accounts = world.folded().accounts
    assert (accounts["A"].posted_minor, accounts["B"].posted_minor) == (60, 25)
    assert [event.position for event in world.stored()] == list(range(1, 17))


@pytest.mark.parametrize("moment", MOMENTS)
def test_refusals_and_no_ops_are_not_judged_again_after_the_commit(
    world: World, moment: Moment
) -> None:
    """What was refused before an event of its own transaction is not allowed because of it."""
    ledger = world.ledger(_Plan(world, moment).connect)
    outcomes = world.run(
        UnfreezeAccount(key="u", account_id="A", cause="court"),
        FreezeAccount(key="f", account_id="A", cause="court"),
        ledger=ledger,
    )
    assert answers(outcomes) == ["block_not_found", "recorded"]
    assert len(world.folded().accounts["A"].terms.blocks) == 1


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_person_is_registered_once_and_erased_for_good(world: World, moment: Moment) -> None:
    """Keys of subjects are made and destroyed in the transaction of their events."""
    register = RegisterCustomer(key="r", customer_id="c", profile={"name": "Ann"})
    ledger = world.ledger(_Plan(world, moment).connect)
    assert answers(world.run(register, ledger=ledger)) == ["recorded"]
    assert world.count("SELECT count(*) FROM keystore.subject_keys") == 1
    ledger = world.ledger(_Plan(world, moment).connect)
    erase = EraseCustomer(key="e", customer_id="c", reason="asked")
    assert answers(world.run(erase, ledger=ledger)) == ["recorded"]
    query = "SELECT count(*) FROM keystore.subject_keys WHERE wrapped_key IS NULL"
    assert world.count(query) == 1


def test_an_idle_connection_that_was_lost_is_made_anew(world: World) -> None:
    """Between two commands the server ended the backend: the caller notices nothing."""
    pids = world.connect("ledger_reader").execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'ledger_writer'"
        " AND datname = current_database()"
    )
    with psycopg.connect(world.url, autocommit=True) as other:
        for (pid,) in pids.fetchall():
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    world.writer = world.connect()
    assert answers(world.run(transfer("A", "B", 10, key="t"))) == ["recorded"]
    assert world.folded().accounts["B"].posted_minor == 10


def test_a_writer_goes_on_after_a_loss(world: World) -> None:
    """Everybody waiting gets an answer, and no command is carried out twice."""
    ledger = world.ledger(_Plan(world, "before_commit", "at_commit").connect)
    writer = Writer(ledger.execute, ledger.close, "test")
    futures = [
        writer.submit(Submission((transfer("A", "B", 3, key=f"t{number}"),), "a"))
        for number in range(50)
    ]
    said = [answers(future.result(20))[0] for future in futures]
    writer.stop()
    assert said == ["recorded"] * 33 + ["insufficient_funds"] * 17
    assert world.folded().accounts["B"].posted_minor == 99


def test_a_database_that_stays_away_makes_the_ledger_busy(world: World) -> None:
    """After a few attempts the caller is told to come back, and may with the same key."""
    first: Moment = "before_commit"
    lost = [first] * (ledger_module.ATTEMPTS_MAX - 1)
    ledger = world.ledger(_Plan(world, *lost, "at_commit").connect)
    command = transfer("A", "B", 10, key="t")
    with pytest.raises(LedgerBusy):
        world.run(command, ledger=ledger)
    assert answers(world.run(command, ledger=ledger)) == ["replayed"]
    assert world.folded().accounts["B"].posted_minor == 10


def test_a_connection_lost_in_mid_stream_loses_and_doubles_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent of a transaction is gone with it, and everything is decided anew."""
    send, sent = Appending._send, iter(range(100))  # noqa: SLF001 - between two sends it happens

    def lose_the_third(appending: Appending) -> None:
        """End the backend before some of the rows are sent."""
        if next(sent) == 2:
            pid = appending._connection.info.backend_pid  # noqa: SLF001 - whose backend
            with psycopg.connect(world.url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        send(appending)

    monkeypatch.setattr(Appending, "_send", lose_the_third)
    world.run(deposited("A", 900, key="more"))
    outcomes = world.run(*[transfer("A", "B", 1, key=f"key-{n}") for n in range(900)])
    assert answers(outcomes) == ["recorded"] * 900
    assert next(sent) > 900 // STREAM_EVENTS
    assert world.posted("B") == [900]
