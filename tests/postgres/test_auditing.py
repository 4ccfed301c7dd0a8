"""The self-audit: full and continued, beside writers and rebuilds, and what it finds."""

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest
from tests.postgres.auditing_harness import audited, auditor_of
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import captured, deposited, held, opened, transfer, voided, withdrawn

from ledger_core import database, tiles
from ledger_core.customers import EraseCustomer, RegisterCustomer
from ledger_core.log import Connection, read_head
from projections import audit_reads, auditing, memory, runner, verification
from projections.auditing import Audited
from projections.paging import PAGE_POSITIONS
from projections.verification import verify

MANY = 2 * PAGE_POSITIONS + 100


@pytest.fixture
def bank(database_url: str) -> Iterator[World]:
    """A small ledger with three accounts and a customer."""
    with World(database_url) as world:
        world.run(
            RegisterCustomer(key="c", customer_id="ann", profile={"name": "Ann"}),
            opened("A", key="a", customer_id="ann"),
            opened("B", key="b"),
            opened("C", key="cc"),
            deposited("A", 10_000, key="1", entry_id="e1", reference="ref-1"),
            deposited("C", 5, key="2"),
            transfer("A", "B", 2_500, key="3"),
        )
        world.catch_up()
        yield world


def _run(url: str, *statements: str) -> None:
    """Run statements as who could do anything."""
    with psycopg.connect(url, autocommit=True) as superuser:
        for statement in statements:
            assert superuser.execute(statement.encode()).rowcount > 0, statement


def test_an_audit_says_what_verification_says(bank: World) -> None:
    """The same position, root and number of accounts, and nothing found."""
    found = audited(bank)
    verdict = verify(bank.projector, bank.ledger_id)
    assert (found.kind, found.position, found.root) == ("full", verdict.position, verdict.root)
    assert (found.ok, found.findings, found.imbalance_minor) == (True, (), {"EUR": 0})
    assert (found.events, found.accounts) == (8, 4)


def test_an_empty_ledger_is_audited(database_url: str) -> None:
    """There is nothing that could be wrong."""
    with World(database_url) as world:
        found = audited(world)
        assert (found.ok, found.position, found.imbalance_minor) == (True, 0, {})


def test_an_audit_goes_on_from_the_last(bank: World) -> None:
    """Only what came since is read; the result is that of a full audit."""
    auditor = auditor_of(bank)
    audited(bank, auditor)
    bank.run(deposited("B", 7, key="4"), opened("D", key="d"))
    bank.catch_up()
    found = audited(bank, auditor)
    assert (found.kind, found.position, found.events) == ("continued", 10, 2)
    full = audited(bank)
    assert (full.root, full.accounts, full.events) == (found.root, found.accounts, 10)
    assert audited(bank, auditor).events == 0


def test_a_long_log_is_read_in_steps_with_no_transaction_open(bank: World) -> None:
    """Between two steps nothing keeps the database from cleaning up."""
    bank.run(*(transfer("A", "B", 1, key=f"t{at}") for at in range(MANY)))
    bank.catch_up()
    steps = 0
    with database.connect(bank.url, "ledger_reader") as connection:
        for step in auditor_of(bank).audit(connection):
            status = connection.info.transaction_status
            assert status == psycopg.pq.TransactionStatus.IDLE
            steps += 1
            if isinstance(step, Audited):
                assert (step.ok, step.events) == (True, MANY + 8)
    assert steps > 5


def test_what_came_while_the_log_was_read_is_part_of_it(
    bank: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than the snapshot may fold is taken in before, in parts."""
    monkeypatch.setattr(auditing, "DELTA_EVENTS_MAX", 10)
    with database.connect(bank.url, "ledger_reader") as connection:
        steps = auditor_of(bank).audit(connection)
        assert next(steps) == "worked"
        bank.run(*(deposited("A", 1, key=f"m{at}", entry_id=f"m{at}") for at in range(35)))
        bank.catch_up()
        found = list(steps)[-1]
    assert isinstance(found, Audited)
    assert (found.ok, found.position, found.findings) == (True, 43, ())


def test_projections_that_are_behind_are_waited_for(
    bank: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Being behind is no finding; a little behind does not even delay the audit."""
    bank.run(deposited("A", 1, key="x1"), EraseCustomer(key="x2", customer_id="ann", reason="r"))
    found = audited(bank)
    assert (found.ok, found.position, found.findings) == (True, 8, ())
    monkeypatch.setattr(auditing, "TAIL_EVENTS_MAX", 1)
    with database.connect(bank.url, "ledger_reader") as connection:
        steps = auditor_of(bank).audit(connection)
        assert "waiting" in {next(steps) for _ in range(12)}
        bank.catch_up()
        found_later = list(steps)[-1]
    assert isinstance(found_later, Audited)
    assert (found_later.ok, found_later.position) == (True, 10)


def _tiled(world: World, count: int) -> None:
    """Append transfers, bring the views to the head, and build all tiles."""
    head = read_head(world.writer, world.ledger_id).position
    world.run(*(transfer("A", "B", 1, key=f"tile{head}-{at}") for at in range(count)))
    world.catch_up()
    size = read_head(world.writer, world.ledger_id).position
    while tiles.extend(world.projector, world.ledger_id, "events", size):
        pass


def test_tiles_are_audited_as_far_as_there_are_any(bank: World) -> None:
    """None yet, some, all, in a full audit and in those that go on: nothing is found."""
    auditor = auditor_of(bank)
    for count in (300, 100, 700, 10):
        assert audited(bank, auditor).findings == ()
        _tiled(bank, count)
    bank.run(*(transfer("A", "B", 1, key=f"lag{at}") for at in range(600)))
    bank.catch_up()
    for found in (audited(bank, auditor), audited(bank)):
        assert (found.findings, found.position) == ((), 1_718)


DAMAGED_TILES = {
    "tile 2 of level 0 is not that of the log's tree": (
        "UPDATE audit.tiles SET hashes = overlay(hashes placing '\\x00' from 99)"
        " WHERE tile_index = 2"
    ),
    "tile 1 of level 0 is not that of the log's tree": (
        "UPDATE audit.tiles SET nodes = overlay(nodes placing '\\x00' from 5) WHERE tile_index = 1"
    ),
    "tile 1 of level 0 is missing": "DELETE FROM audit.tiles WHERE tile_index = 1",
    "tile 0 of level 7 is beyond the end of the log": (
        "INSERT INTO audit.tiles SELECT ledger_id, log, 7, 0, hashes, nodes"
        " FROM audit.tiles WHERE tile_index = 0"
    ),
    "tile 9223372036854775807 of level 1 is beyond the end of the log": (
        "INSERT INTO audit.tiles SELECT ledger_id, log, 1, 9223372036854775807, hashes, nodes"
        " FROM audit.tiles WHERE tile_index = 0"
    ),
}


@pytest.mark.parametrize("expected", DAMAGED_TILES)
def test_an_audit_finds_a_tile_that_is_not_the_trees(
    bank: World, superuser_url: str, expected: str
) -> None:
    """In a full audit, and in one that goes on where the tile came since."""
    auditor = auditor_of(bank)
    assert audited(bank, auditor).ok
    _tiled(bank, 900)
    _run(superuser_url, DAMAGED_TILES[expected])
    for found in (audited(bank, auditor), audited(bank)):
        assert [item.message for item in found.findings] == [expected]
        assert found.findings_count == 1
    assert not auditor.is_begun


def test_an_audit_that_was_broken_off_is_not_gone_on_from(bank: World) -> None:
    """The next one is full."""
    auditor = auditor_of(bank)
    with database.connect(bank.url, "ledger_reader") as connection:
        steps = auditor.audit(connection)
        next(steps)
        steps.close()
    assert not auditor.is_begun
    assert audited(bank, auditor).kind == "full"


CHANGES = {
    "a row of an account that nothing touched": (
        "UPDATE views.accounts SET credits_posted_minor = 6 WHERE account_id = 'C'",
        "accounts",
    ),
    "a line of an account that was touched": (
        "UPDATE views.statement_lines SET amount_minor = amount_minor + 1 WHERE position = 9",
        "statement_lines",
    ),
    "a customer": ("UPDATE views.customers SET customer_no = 77", "customers"),
    "a flag that is not there": (
        "UPDATE views.trial_balance SET debits_posted_minor = 1 WHERE account_type = 'asset'",
        "trial_balance",
    ),
    "a key": (
        "UPDATE keystore.subject_keys SET wrapped_key = NULL, destroyed_at = now()",
        "key",
    ),
    "the newest event": (
        "UPDATE ledger.events SET actor = 'nobody' WHERE position = 9",
        "event",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_continued_audit_finds_what_changed(bank: World, superuser_url: str, what: str) -> None:
    """Whatever can change is compared each time; a finding makes the next audit a full one."""
    statement, kind = CHANGES[what]
    auditor = auditor_of(bank)
    assert audited(bank, auditor).ok
    bank.run(deposited("B", 7, key="4", entry_id="e2"))
    bank.catch_up()
    _run(superuser_url, statement)
    found = audited(bank, auditor)
    assert found.kind == "continued"
    assert kind in {item.kind for item in found.findings}, found.findings
    assert not auditor.is_begun
    assert audited(bank, auditor).kind == "full"


@pytest.mark.parametrize(
    ("table", "statement"),
    [
        (
            "statement_lines",
            (
                "INSERT INTO views.statement_lines SELECT ledger_id, slot, account_no, 999999,"
                " line, recorded_at, value_date, side, amount_minor, debits_after_minor,"
                " credits_after_minor, version, kind FROM views.statement_lines WHERE position = 6"
            ),
        ),
        ("identities", "INSERT INTO ledger.identities VALUES (1, 'entry', 'made up', 3)"),
        ("identities", "DELETE FROM ledger.identities WHERE name = 'ref-1'"),
        ("event_tags", "DELETE FROM views.event_tags WHERE position = 2"),
        (
            "event_tags",
            (
                "INSERT INTO views.event_tags SELECT ledger_id, slot, 'account:X', 2"
                " FROM views.event_tags LIMIT 1"
            ),
        ),
        ("statement_lines", "UPDATE views.statement_lines SET position = -5 WHERE position = 6"),
    ],
)
def test_a_row_too_many_or_too_few_is_named(
    bank: World, superuser_url: str, table: str, statement: str
) -> None:
    """The sums say that something is wrong, the verification that follows says what."""
    _run(superuser_url, statement)
    found = audited(bank)
    assert table in {item.kind for item in found.findings}
    assert found.findings_count >= 1


def test_what_was_put_right_before_it_could_be_named_is_still_told(
    bank: World, superuser_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that was wrong for a moment leaves a finding."""
    _run(superuser_url, "UPDATE ledger.identities SET position = 7 WHERE name = 'ref-1'")
    verifying = verification.verify_as_it_stands

    def repaired(connection: Connection, ledger_id: int) -> object:
        """Somebody repairs the row, then the verification looks."""
        _run(superuser_url, "UPDATE ledger.identities SET position = 6 WHERE name = 'ref-1'")
        return verifying(connection, ledger_id)

    monkeypatch.setattr(verification, "verify_as_it_stands", repaired)
    found = audited(bank)
    assert [item.kind for item in found.findings] == ["rows"]
    assert "identities" in found.findings[0].message


def _busy(world: World, number: int) -> None:
    """A day on which every rule that looks back is broken, with many small movements between."""
    outcomes = world.run(
        *(deposited("A", 1, key=f"cent-{number}-{at}") for at in range(60)),
        deposited("A", 950_000, key=f"below-{number}"),
        *(transfer("A", "B", 900, key=f"out-{number}-{at}") for at in range(12)),
        withdrawn("A", 900_000, key=f"spent-{number}"),
    )
    assert set(answers(outcomes)) == {"recorded"}
    world.catch_up()


@pytest.mark.parametrize("movements", [5, 250_000])
def test_what_rules_look_back_on_is_read_back(
    bank: World, superuser_url: str, monkeypatch: pytest.MonkeyPatch, movements: int
) -> None:
    """Audits remember hardly a movement, and find every flag where it should be."""
    monkeypatch.setattr(audit_reads, "PAGE_POSITIONS", 17)
    monkeypatch.setattr(auditing, "DELTA_EVENTS_MAX", 40)
    monkeypatch.setattr(memory, "MOVEMENTS_MAX", movements)
    auditor = auditor_of(bank)
    for number in range(3):
        _busy(bank, number)
        for found in (audited(bank, auditor), audited(bank)):
            assert found.findings == ()
    rules = {row[0] for row in bank.writer.execute("SELECT rule FROM views.risk_flags")}
    assert rules >= {"structuring", "rapid_in_and_out", "velocity"}
    for rule in ("structuring", "rapid_in_and_out", "velocity"):
        _run(superuser_url, f"DELETE FROM views.risk_flags WHERE rule = '{rule}'")
        found = audited(bank)
        assert {item.kind for item in found.findings} == {"risk_flags"}
        assert any(f"flag_{rule}_" in item.message for item in found.findings)


@pytest.mark.parametrize("value", ["value_date = 'infinity'", "amount_minor = 'NaN'"])
def test_a_line_that_cannot_be_read_back_is_a_finding(
    bank: World, superuser_url: str, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """No damage may end the audit itself."""
    monkeypatch.setattr(audit_reads, "PAGE_POSITIONS", 3)
    _busy(bank, 0)
    _run(superuser_url, f"UPDATE views.statement_lines SET {value} WHERE position = 6")
    auditor = auditor_of(bank)
    found = audited(bank, auditor)
    assert "statement_lines" in {item.kind for item in found.findings}
    assert not auditor.is_begun


def test_a_line_that_was_repaired_before_it_could_be_named_is_told(
    bank: World, superuser_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it could not be read leaves a finding."""
    monkeypatch.setattr(audit_reads, "PAGE_POSITIONS", 3)
    _busy(bank, 0)
    verifying = verification.verify_as_it_stands
    day = bank.writer.execute(
        "SELECT value_date::text FROM views.statement_lines WHERE position = 6"
    ).fetchone()
    assert day is not None
    change = "UPDATE views.statement_lines SET value_date = '{}' WHERE position = 6"
    _run(superuser_url, change.format("infinity"))

    def repaired(connection: Connection, ledger_id: int) -> object:
        """Somebody repairs the line, then the verification looks."""
        _run(superuser_url, change.format(day[0]))
        return verifying(connection, ledger_id)

    monkeypatch.setattr(verification, "verify_as_it_stands", repaired)
    found = audited(bank)
    said = [(item.kind, item.message) for item in found.findings]
    assert said == [("rows", "rows of statement_lines could not be read; not any more")]


def test_holds_that_are_over_are_not_remembered(bank: World) -> None:
    """However many there were: what is remembered is what can still change."""
    auditor = auditor_of(bank)
    assert audited(bank, auditor).ok
    weight = auditor.weight
    for number in range(3):
        placed = bank.run(
            *(
                held("A", "B", 10, key=f"h{number}-{at}", hold_id=f"h{number}-{at}")
                for at in range(4)
            )
        )
        assert set(answers(placed)) == {"recorded"}
        ended = bank.run(
            captured(f"h{number}-0", key=f"c{number}"),
            captured(f"h{number}-1", 4, key=f"p{number}"),
            voided(f"h{number}-2", key=f"v{number}"),
        )
        assert set(answers(ended)) == {"recorded"}
        bank.catch_up()
        for found in (audited(bank, auditor), audited(bank)):
            assert (found.ok, found.findings) == (True, ())
        assert auditor.weight == weight + number + 1


CLOSED_HOLDS = {
    "its amount": "UPDATE views.kept SET state = replace(state::text, '10', '11')::json WHERE {}",
    "its status": "UPDATE views.kept SET status = 'open' WHERE {}",
    "its state": "UPDATE views.kept SET state = replace(state::text, 'void', 'x')::json WHERE {}",
    "its place": "UPDATE views.kept SET last_position = last_position + 1 WHERE {}",
    "its id": "UPDATE views.kept SET kept_id = 'other' WHERE {}",
    "it is gone": "DELETE FROM views.kept WHERE {}",
    "there is one more": (
        "INSERT INTO views.kept SELECT ledger_id, slot, kind, 'more', status, due_at, tags, state,"
        " position, last_position FROM views.kept WHERE {}"
    ),
}


@pytest.mark.parametrize("change", CLOSED_HOLDS)
@pytest.mark.parametrize("kind", ["full", "continued"])
def test_a_change_of_a_hold_that_is_over_is_named(
    bank: World, superuser_url: str, change: str, kind: str
) -> None:
    """The sum says that something is wrong, the verification that follows says what."""
    bank.run(held("A", "B", 10, key="h", hold_id="over"), held("A", "B", 9, key="g"))
    bank.run(voided("over", key="v"))
    bank.catch_up()
    auditor = auditor_of(bank)
    if kind == "continued":
        assert audited(bank, auditor).ok
    _run(superuser_url, CLOSED_HOLDS[change].format("kind = 'hold' AND kept_id = 'over'"))
    found = audited(bank, auditor)
    assert found.kind == kind
    assert {item.kind for item in found.findings} == {"kept"}
    assert found.findings_count == len(found.findings) >= 1
    assert not auditor.is_begun


@pytest.mark.timeout(240)
def test_no_false_alarm_beside_writers_projector_and_rebuilds(bank: World) -> None:
    """Audit after audit while all that goes on: nothing is found, and each goes further."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def doing(work: Callable[[], object]) -> threading.Thread:
        """Do something again and again until all is over."""

        def run() -> None:
            """Note what goes wrong."""
            try:
                while not stop.is_set():
                    work()
            except BaseException as error:  # noqa: BLE001 - raised by the test
                failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    numbers = iter(range(10**9))

    def write() -> None:
        """Some transfers, a customer registered and one forgotten."""
        number = next(numbers)
        some = [transfer("A", "B", 1, key=f"w{number}-{at}") for at in range(40)]
        name = f"p{number}"
        bank.run(
            *some,
            RegisterCustomer(key=f"r{number}", customer_id=name, profile={"name": "Bo"}),
            deposited("A", 100, key=f"d{number}", entry_id=f"n{number}"),
        )
        bank.run(EraseCustomer(key=f"e{number}", customer_id=name, reason="asked"))

    with (
        database.connect(bank.url, "ledger_projector") as rebuilding,
        database.connect(bank.url, "ledger_projector") as projecting,
    ):
        cache = runner.RunnerCache()
        threads = [
            doing(write),
            doing(lambda: runner.advance(projecting, bank.ledger_id, limit=50, cache=cache)),
            doing(lambda: runner.rebuild(rebuilding, bank.ledger_id, "statements")),
        ]
        try:
            auditor = auditor_of(bank)
            found = [audited_beside(bank, auditor) for _ in range(6)]
            found += [audited_beside(bank, None) for _ in range(4)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not failures, failures
    assert [item.findings for item in found] == [()] * 10
    positions = [item.position for item in found]
    assert positions == sorted(positions)
    assert positions[-1] > positions[0]
    assert {item.kind for item in found} == {"full", "continued"}


def audited_beside(world: World, auditor: auditing.Auditor | None) -> Audited:
    """The result of an audit that waits for the projections as long as it takes."""
    with database.connect(world.url, "ledger_reader") as connection:
        for step in (auditor or auditor_of(world)).audit(connection):
            if isinstance(step, Audited):
                return step
    raise AssertionError
