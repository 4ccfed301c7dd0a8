"""The access log on PostgreSQL: gapless, in order, sealed, found again, and only ever added to."""

import threading
from datetime import datetime, timedelta
from itertools import count

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.strategies import START, ids, one_line_text

from api.accesses import PUT_OFF_S, Recorder
from api.problems import Problem
from ledger_core import access_log, log, merkle
from ledger_core.access_log import AccessFilters, AccessWriter, NewAccess, StoredAccess
from ledger_core.database import Role
from ledger_core.errors import LedgerNotFound
from projections.verification import verify

TABLES = ("audit.accesses", "audit.access_subjects", "audit.access_heads")


def _access(
    *subjects: str,
    actor: str = "key:1",
    operation: str = "get_account",
    reason: str = "",
    request_id: str = "request",
    status: int = 200,
) -> NewAccess:
    """An access to these subjects."""
    return NewAccess(actor, operation, sorted(set(subjects)), reason, request_id, status, 5)


def _all(world: World) -> list[StoredAccess]:
    """Everything in the access log."""
    return access_log.read_after(world.writer, world.ledger_id, 0)


def _append(world: World, *accesses: NewAccess, at: datetime = START) -> None:
    """Record accesses as a process of its own would."""
    AccessWriter(world.connect()).append(world.ledger_id, at, accesses)


@pytest.fixture
def read(world: World) -> World:
    """A ledger with three accesses in its log."""
    _append(world, _access("account:a"), _access("account:a", "customer:c", actor="key:2"))
    _append(world, _access(operation="list_accounts"), at=START + timedelta(hours=1))
    return world


def test_accesses_are_numbered_and_sealed(read: World) -> None:
    """From 1 without a gap; each hash is its leaf's, and the head has the tree over all."""
    found = _all(read)
    assert [item.number for item in found] == [1, 2, 3]
    hashes = [item.leaf_hash for item in found]
    assert hashes == [access_log.leaf_hash_of(item) for item in found]
    assert hashes == access_log.leaf_hashes(read.writer, read.ledger_id, 1, 3)
    head = access_log.read_head(read.writer, read.ledger_id)
    assert (head.number, head.at) == (3, found[-1].at)
    assert head.frontier == merkle.extend(merkle.EMPTY, hashes)


def test_time_never_runs_backwards(read: World) -> None:
    """A clock that was set back does not set the log back."""
    _append(read, _access(), at=START - timedelta(days=1))
    times = [item.at for item in _all(read)]
    assert times == sorted(times)
    assert times[-1] == START + timedelta(hours=1)


def test_a_ledger_that_nobody_read_has_an_empty_log(world: World) -> None:
    """And one that does not exist has none to add to."""
    assert access_log.read_head(world.writer, world.ledger_id) == access_log.EMPTY
    with pytest.raises(LedgerNotFound):
        AccessWriter(world.connect()).append(99, START, [_access()])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.tuples(
            st.lists(ids.map("account:{}".format), max_size=3),
            one_line_text.map(lambda text: text[:200]),
            one_line_text,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_any_text_comes_back_as_it_was(
    world: World, texts: list[tuple[list[str], str, str]]
) -> None:
    """Quotes, backslashes, braces, commas: neither SQL nor arrays take them for their own."""
    new = [
        NewAccess(actor, "get_x", sorted(set(about)), reason, 'r"\\{,}', 404, None)
        for about, reason, actor in texts
    ]
    AccessWriter(world.writer).append(world.ledger_id, START, new)
    world.writer.execute("DEALLOCATE ALL", prepare=False)
    stored = _all(world)[-len(new) :]
    for expected, found in zip(new, stored, strict=True):
        assert found.subjects == list(expected.subjects)
        for name in ("actor", "operation", "reason", "request_id", "status", "position"):
            assert getattr(found, name) == getattr(expected, name)
    assert verify(world.projector, world.ledger_id).ok


def test_writers_side_by_side_leave_no_gap(world: World) -> None:
    """Most heads in memory are old, and yet nothing is lost, doubled or out of order."""
    writers, each = 4, 25
    failures: list[BaseException] = []

    def work(name: str, writer: AccessWriter) -> None:
        """Record one after the other."""
        try:
            for number in range(each):
                access = _access(request_id=f"{name}-{number}")
                writer.append(world.ledger_id, START, [access, access])
        except BaseException as error:  # noqa: BLE001 - shown by the test
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(str(name), AccessWriter(world.connect())))
        for name in range(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    found = _all(world)
    assert [item.number for item in found] == list(range(1, 2 * writers * each + 1))
    assert len({item.request_id for item in found}) == writers * each
    for name in range(writers):
        mine = [item.request_id for item in found if item.request_id.startswith(f"{name}-")]
        assert mine == [f"{name}-{number}" for number in range(each) for _ in range(2)]
    verdict = verify(world.projector, world.ledger_id)
    assert (verdict.ok, verdict.accesses) == (True, len(found))


def test_one_connection_serves_many_ledgers(world: World) -> None:
    """What the driver prepares by itself does not take our statements along."""
    writer = AccessWriter(world.connect())
    for number in range(12):
        ledger_id = log.create_ledger(world.writer, f"other-{number}", START)
        writer.append(ledger_id, START, [_access("account:a")])
        assert writer.append(ledger_id, START, [_access("account:a")]).number == 2


_moments = st.none() | st.integers(-1, 9).map(lambda hours: START + timedelta(hours=hours))
_filters = st.builds(
    AccessFilters,
    subjects=st.lists(st.sampled_from(["account:a", "account:b", "customer:c"]), max_size=2),
    actor=st.none() | st.sampled_from(["key:1", "key:2", "key:3"]),
    operation=st.none() | st.sampled_from(["get_account", "list_accounts"]),
    since=_moments,
    until=_moments,
)


def test_the_filters_find_what_a_search_through_all_finds(world: World) -> None:
    """Any filters, any page size: newest first."""
    subjects: list[tuple[str, ...]] = [(), ("account:a",), ("account:b", "customer:c"), ("ledger",)]
    for hour in range(8):
        _append(
            world,
            *(
                _access(*about, actor=f"key:{1 + (hour + at) % 2}", operation=operation)
                for at, about in enumerate(subjects)
                for operation in ("get_account", "list_accounts")
            ),
            at=START + timedelta(hours=hour),
        )
    stored = _all(world)[::-1]

    @settings(max_examples=80)
    @given(filters=_filters, limit=st.integers(1, 70))
    def check(filters: AccessFilters, limit: int) -> None:
        """One search."""
        last = len(stored) - 3
        found = access_log.find(world.writer, world.ledger_id, filters, up_to=last, limit=limit)
        expected = [item for item in stored if item.number <= last and _meets(item, filters)]
        assert found == expected[:limit]

    check()


def _meets(item: StoredAccess, filters: AccessFilters) -> bool:
    """Whether an access is one of those asked for."""
    return (
        (not filters.subjects or not set(filters.subjects).isdisjoint(item.subjects))
        and filters.actor in {None, item.actor}
        and filters.operation in {None, item.operation}
        and (filters.since is None or item.at >= filters.since)
        and (filters.until is None or item.at <= filters.until)
    )


_OTHER_VALUE = {
    "text": "{c} || 'x'",
    "smallint": "{c} + 1",
    "integer": "{c} + 1",
    "bigint": "COALESCE({c}, 0) + 1000",
    "timestamp with time zone": "{c} + interval '1 microsecond'",
    "ARRAY": "{c} || ARRAY['account:x']",
    "bytea": "set_byte({c}, 9, get_byte({c}, 9) # 1)",
}


def test_a_change_of_any_column_is_found(read: World, superuser_url: str) -> None:
    """In the newest row of each table, one column at a time, then put back."""
    with psycopg.connect(superuser_url) as superuser:
        columns = superuser.execute(
            "SELECT 'audit.' || table_name, column_name, data_type FROM information_schema.columns"
            " WHERE table_schema = 'audit' AND 'audit.' || table_name = ANY(%s)",
            (list(TABLES),),
        ).fetchall()
        superuser.commit()
        assert len(columns) == 18
        for table, column, kind in columns:
            key = {"audit.access_heads": "true"}.get(table, "number = 2")
            changed = _OTHER_VALUE[kind].format(c=column)
            superuser.execute(f"CREATE TEMP TABLE kept AS TABLE {table}".encode())
            superuser.execute(f"UPDATE {table} SET {column} = {changed} WHERE {key}".encode())
            superuser.commit()
            verdict = verify(read.projector, read.ledger_id)
            assert not verdict.ok, (table, column)
            assert {finding.kind for finding in verdict.findings} <= {
                "access",
                "access_head",
                "access_tree",
                "access_subjects",
            }
            superuser.execute(f"DELETE FROM {table}".encode())
            superuser.execute(f"INSERT INTO {table} SELECT * FROM kept".encode())
            superuser.execute("DROP TABLE kept")
            superuser.commit()
    assert verify(read.projector, read.ledger_id).ok


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit.accesses WHERE number = 2",
        "DELETE FROM audit.accesses WHERE number = 3",
        "DELETE FROM audit.accesses",
        "DELETE FROM audit.access_heads",
        "DELETE FROM audit.access_subjects WHERE number = 1",
        "INSERT INTO audit.access_subjects SELECT ledger_id, 'account:z', 1 FROM ledger.ledgers",
        "UPDATE audit.accesses SET at = 'infinity' WHERE number = 3",
        "UPDATE audit.accesses SET subjects = '{NULL}' WHERE number = 2",
        (
            "UPDATE audit.accesses a SET actor = b.actor, leaf_hash = b.leaf_hash"
            " FROM audit.accesses b WHERE b.number = 2 AND a.number = 1"
        ),
    ],
)
def test_what_is_taken_out_or_put_in_is_found(
    read: World, superuser_url: str, statement: str
) -> None:
    """Rows, heads and index entries; nothing that a row may hold keeps it from being said."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(statement.encode())
    assert not verify(read.projector, read.ledger_id).ok


ROLES: tuple[Role, ...] = ("ledger_writer", "ledger_projector", "ledger_reader")


@pytest.mark.parametrize("role", ROLES)
def test_no_role_changes_or_prunes_the_access_log(read: World, role: Role) -> None:
    """There is no retention that the program could apply: rows are added, and stay."""
    connection = read.connect(role)
    statements = [
        statement.format(table=table)
        for table in TABLES
        for statement in (
            "DELETE FROM {table}",
            "TRUNCATE {table}",
            "ALTER TABLE {table} ADD COLUMN extra text",
            "UPDATE {table} SET ledger_id = ledger_id",
        )
    ]
    statements += [
        "UPDATE audit.accesses SET actor = actor",
        "UPDATE audit.access_subjects SET subject = subject",
    ]
    if role != "ledger_writer":
        statements.append("INSERT INTO audit.accesses SELECT * FROM audit.accesses WHERE false")
        statements.append("UPDATE audit.access_heads SET number = 0")
    for statement in statements:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
    assert len(_all(read)) == 3


def test_a_lost_connection_is_made_anew(world: World, superuser_url: str) -> None:
    """What is recorded next is there, once."""
    opened: list[log.Connection] = []

    def connect() -> log.Connection:
        """Remember the connection."""
        opened.append(world.connect())
        return opened[-1]

    recorder = Recorder(connect, world.clock)
    recorder.record([(world.ledger_id, _access("account:a"))])
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", (opened[0].info.backend_pid,))
    recorder.record([(world.ledger_id, _access("account:b"))])
    assert [item.subjects for item in _all(world)] == [["account:a"], ["account:b"]]
    assert len(opened) == 2
    recorder.close()


def test_what_was_put_off_is_recorded_in_time_or_nothing_more_is(world: World) -> None:
    """With the next read after the bound; where that fails it is kept, and the read refused."""
    attempts = count()

    def connect() -> log.Connection:
        """Fail at first."""
        if next(attempts) < 2:
            raise psycopg.OperationalError
        return world.connect()

    recorder = Recorder(connect, world.clock)
    first, second = ((world.ledger_id, _access(f"account:{name}")) for name in "ab")
    recorder.record_soon([first], 0.0)
    recorder.record_soon([second], PUT_OFF_S / 2)
    assert _all(world) == []
    for _ in range(2):
        with pytest.raises(Problem):
            recorder.record_soon([(world.ledger_id, _access("account:refused"))], PUT_OFF_S)
    assert recorder.puts_off
    recorder.record_soon([(world.ledger_id, _access("account:c"))], PUT_OFF_S)
    assert not recorder.puts_off
    assert [item.subjects for item in _all(world)] == [["account:a"], ["account:b"], ["account:c"]]
    recorder.close()
