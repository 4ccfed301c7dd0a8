"""What every connection is opened with: nobody waits for ever for a partner who is gone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import transfer

from ledger_core import database
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Ledger, Submission
from ledger_core.log import Connection

HANGS_S = 30.0


def _with(url: str, **parameters: str) -> str:
    """The URL with more parameters of libpq's."""
    return url + "".join(f"&{name}={value}" for name, value in parameters.items())


def _settings(connection: Connection, *names: str) -> list[str]:
    """What the server says of its settings."""
    rows = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in names]
    return [str(row[0]) for row in rows if row is not None]


@pytest.mark.parametrize("role", ["ledger_writer", "ledger_projector", "ledger_reader"])
def test_both_ends_look_whether_the_other_is_there(database_url: str, role: database.Role) -> None:
    """The program's end and the server's send keepalives, and do not wait long for an answer."""
    with database.connect(database_url, role) as connection:
        given = connection.info.get_parameters()
        kept = _settings(
            connection, "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count"
        )
    assert (given["keepalives_idle"], given["tcp_user_timeout"]) == ("10", "10000")
    # A server that is reached by a file knows no such thing.
    assert kept in (["10", "5", "3"], ["0", "0", "0"])


def test_who_takes_locks_cannot_keep_them_by_standing_still(database_url: str) -> None:
    """Writers and projectors lose what they lock when they do nothing; readers may take long."""
    found = {}
    for role in ("ledger_writer", "ledger_projector", "ledger_reader"):
        with database.connect(database_url, role) as connection:
            found[role] = _settings(
                connection, "idle_in_transaction_session_timeout", "lock_timeout"
            )
    assert found == {
        "ledger_writer": ["30s", "10s"],
        "ledger_projector": ["30s", "0"],
        "ledger_reader": ["0", "0"],
    }


def test_the_url_goes_before(database_url: str) -> None:
    """An operator's own bounds are taken, but nobody becomes another role by a URL."""
    url = _with(
        database_url,
        keepalives_idle="60",
        options="-c%20lock_timeout%3D3s%20-c%20role%3Dledger_projector",
    )
    with database.connect(url, "ledger_writer") as connection:
        assert connection.info.get_parameters()["keepalives_idle"] == "60"
        assert _settings(connection, "lock_timeout", "role") == ["3s", "ledger_writer"]


def test_a_writer_that_stands_still_loses_the_head_and_comes_back(bank: World) -> None:
    """Another goes on once the first has lost its lock; the first does its work again, once."""
    url = _with(bank.url, options="-c%20idle_in_transaction_session_timeout%3D300ms")
    has_lock, may_go_on = threading.Event(), threading.Event()

    def clock() -> datetime:
        """Read within the transaction, with the head locked: stand still there, the first time."""
        has_lock.set()
        assert may_go_on.wait(HANGS_S)
        return bank.clock()

    still = Ledger(
        lambda: database.connect(url, "ledger_writer"), bank.ledger_id, clock, bank.vault
    )
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(still.execute, [Submission([transfer("A", "B", 1, key="late")], "a")])
        try:
            assert has_lock.wait(HANGS_S)
            assert answers(bank.run(transfer("A", "B", 2, key="early"))) == ["recorded"]
        finally:
            may_go_on.set()
        assert answers(late.result(HANGS_S)[0]) == ["recorded"]
    still.close()
    assert [event.command_key for event in bank.stored()][-2:] == ["early", "late"]
    assert bank.posted("A", "B") == [997, 3]


def test_a_server_that_says_nothing_is_given_up(database_url: str) -> None:
    """A statement ends when the server, which is there, has not answered for its time."""
    with database.connect(database_url, "ledger_writer") as connection:
        assert isinstance(connection, database.BoundedConnection)
        assert connection.answer_s == 60
        connection.answer_s = 0.2
        with pytest.raises(database.LOST):
            connection.execute("SELECT pg_sleep(30)")
        assert connection.closed
    with database.connect(database_url, "ledger_reader", timeout_s=30) as connection:
        assert isinstance(connection, database.BoundedConnection)
        assert connection.answer_s == 40


def test_who_waits_for_the_head_gives_up(bank: World) -> None:
    """A writer that cannot get the head says that it is busy; afterwards it works again."""
    url = _with(bank.url, options="-c%20lock_timeout%3D100ms")
    ledger = bank.ledger(lambda: database.connect(url, "ledger_writer"))
    holder = bank.connect()
    with holder.transaction():
        holder.execute(
            "SELECT FROM ledger.heads WHERE ledger_id = %s FOR UPDATE", (bank.ledger_id,)
        )
        with pytest.raises(LedgerBusy) as refusal:
            bank.run(transfer("A", "B", 1, key="t"), ledger=ledger)
    assert refusal.value.seen == {"reason": "locked_by_another_writer"}
    assert answers(bank.run(transfer("A", "B", 1, key="t"), ledger=ledger)) == ["recorded"]
