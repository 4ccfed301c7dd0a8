"""Verification of several pages, by two processes, and of values that Python cannot hold."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened, transfer

from ledger_core import log
from projections import sealing
from projections.findings import moment_text
from projections.paging import PAGE_POSITIONS, ahead, moments
from projections.verification import Verdict, verify

POSITIONS = 2 * PAGE_POSITIONS + 500

Damage = str
"""Statements that somebody runs behind the program's back."""


@pytest.fixture
def bank(database_url: str) -> Iterator[World]:
    """A ledger whose log and lines fill two pages and begin a third."""
    with World(database_url) as world:
        world.run(
            opened("A", key="a"), opened("B", key="b"), deposited("A", 10**9, key="1", entry_id="e")
        )
        commands = [transfer("A", "B", 1, key=f"t{at}") for at in range(5, POSITIONS)]
        commands.append(transfer("A", "B", 7, key="last", reference="ref-1"))
        assert {item.status for item in world.run(*commands)} == {"recorded"}
        world.catch_up()
        yield world


def _both(world: World) -> Verdict:
    """The verdict of two processes, which must be that of one."""
    one = verify(world.projector, world.ledger_id)
    two = verify(world.projector, world.ledger_id, beside_from=0)
    assert one == two
    return two


def _damaged(url: str, *statements: Damage) -> None:
    """Run statements as the superuser."""
    with psycopg.connect(url, autocommit=True) as superuser:
        for statement in statements:
            assert superuser.execute(statement.encode()).rowcount, statement


def test_a_log_of_several_pages_verifies(bank: World) -> None:
    """Every event is read, once, and progress is told up to the last."""
    told: list[tuple[int, int]] = []
    verdict = verify(bank.projector, bank.ledger_id, lambda done, of: told.append((done, of)))
    assert (verdict.findings, verdict.events, verdict.position) == ((), POSITIONS, POSITIONS)
    assert told == [(at, POSITIONS) for at in (1_999, 3_999, POSITIONS)]
    assert _both(bank) == verdict


@pytest.mark.parametrize(
    ("statement", "kinds"),
    [
        ("UPDATE ledger.events SET actor = 'else' WHERE position = 2000", {"event", "tree"}),
        ("UPDATE ledger.events SET leaf_hash = sha256('') WHERE position = 1999", {"event"}),
        ("UPDATE ledger.events SET command_key = NULL WHERE position = 9", {"event", "tree"}),
        ("UPDATE ledger.heads SET frontier = '\\x00'", {"projection_stopped", "tree"}),
        ("UPDATE views.event_tags SET tag = tag || 'x'", {"event_tags"}),
        ("UPDATE views.event_tags SET position = position + 4400", {"event_tags"}),
        ("DELETE FROM views.event_tags WHERE position = 1", {"event_tags"}),
        ("UPDATE ledger.identities SET position = position + 2000", {"identities"}),
        ("DELETE FROM ledger.identities WHERE name = 'ref-1'", {"identities"}),
        (
            "DELETE FROM views.statement_lines WHERE position = 2000 AND line = 1",
            {"statement_lines"},
        ),
    ],
)
def test_two_processes_find_what_one_does(
    bank: World, superuser_url: str, statement: Damage, kinds: set[str]
) -> None:
    """The same findings in the same order, whichever of the two comes upon them."""
    _damaged(superuser_url, statement)
    assert kinds == {finding.kind for finding in _both(bank).findings}


def test_a_gap_of_more_than_a_page_is_found(bank: World, superuser_url: str) -> None:
    """It is named once; what the views hold of it is not in the log."""
    _damaged(superuser_url, "DELETE FROM ledger.events WHERE position BETWEEN 1990 AND 4100")
    verdict = _both(bank)
    messages = [finding.message for finding in verdict.findings]
    assert messages.count("positions 1990 to 4100 are missing") == 1
    assert any("line 0 of event 1990 on account A: expected nothing" in item for item in messages)
    assert verdict.findings_count > 2 * 2_111 > len(verdict.findings) == 100
    assert verdict.events == POSITIONS - 2_111


def test_rows_far_from_their_place_are_found(bank: World, superuser_url: str) -> None:
    """At the last and the first position that a row can have, where no event can be."""
    _damaged(
        superuser_url,
        f"UPDATE ledger.events SET position = {2**63 - 1} WHERE position = {POSITIONS}",
        f"UPDATE views.statement_lines SET position = {2**63 - 1} WHERE position = 10 AND line = 0",
        f"UPDATE views.statement_lines SET position = {-(2**63)} WHERE position = 11 AND line = 0",
        f"UPDATE ledger.identities SET position = {2**63 - 1} WHERE name = 'e'",
    )
    messages = [finding.message for finding in _both(bank).findings]
    assert f"positions {POSITIONS} to {2**63 - 2} are missing" in messages
    assert f"event {2**63 - 1} is beyond the head" in messages
    for text in (
        "line 0 of event 10 on account A: expected",
        f"line 0 of event {-(2**63)} on account A: expected nothing",
        f"line 0 of event {2**63 - 1} on account",
        f"identity entry e of event {2**63 - 1}: expected nothing",
    ):
        assert any(text in message for message in messages), (text, messages)


def test_findings_come_page_by_page(bank: World, superuser_url: str) -> None:
    """What is wrong with a page's seal and with its rows stands together, in order of the log."""
    _damaged(
        superuser_url,
        "UPDATE ledger.events SET actor = 'else' WHERE position IN (100, 2100, 4100)",
        "UPDATE views.statement_lines SET kind = 'deposit' WHERE position IN (200, 2200, 4200)",
    )
    found = [(item.kind, item.position) for item in _both(bank).findings]
    expected = []
    for page in (0, 2_000, 4_000):
        expected.append(("event", 100 + page))
        expected += [("statement_lines", 200 + page)] * 2
    assert found == [*expected, ("tree", None)]


@pytest.mark.parametrize("value", ["infinity", "-infinity", "0044-03-15 BC", "12026-01-01"])
@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        ("ledger.events.recorded_at", {"event", "tree", "head", "projection", "accounts"}),
        ("ledger.heads.recorded_at", {"head"}),
        ("views.projections.recorded_at", {"projection"}),
        ("views.statement_lines.recorded_at", {"statement_lines"}),
        ("views.statement_lines.value_date", {"statement_lines"}),
        ("views.accounts.opened_at", {"accounts"}),
    ],
)
def test_times_that_python_cannot_hold_are_found(
    world: World, superuser_url: str, column: str, value: str, kinds: set[str]
) -> None:
    """They neither stop the verification nor pass."""
    world.run(opened("A", key="a"), opened("B", key="b"), deposited("A", 10, key="1"))
    world.catch_up()
    table, _, name = column.rpartition(".")
    _damaged(superuser_url, f"UPDATE {table} SET {name} = '{value}'")
    found = {finding.kind for finding in _both(world).findings}
    assert found >= kinds


def test_views_that_stopped_within_a_page_are_compared_where_they_stand(
    bank: World, superuser_url: str
) -> None:
    """An event that nobody can read stops them: what they hold up to there is right, or found."""
    bank.run(*(transfer("A", "B", 1, key=f"more{at}") for at in range(100)))
    _damaged(
        superuser_url,
        f"UPDATE ledger.events SET type = 'Tomorrow' WHERE position = {POSITIONS + 50}",
    )
    stopped = {"projection_stopped", "projection", "event", "tree"}
    assert {finding.kind for finding in _both(bank).findings} == stopped
    _damaged(
        superuser_url,
        "UPDATE views.accounts SET version = version + 1 WHERE account_id = 'B'",
        f"UPDATE views.statement_lines SET version = 0 WHERE position = {POSITIONS} AND line = 0",
    )
    found = {finding.kind for finding in _both(bank).findings}
    assert found == {*stopped, "accounts", "statement_lines"}


def test_the_leaf_is_the_same_whatever_characters_its_texts_hold(world: World) -> None:
    """Every character there is, in a key, an actor and the tags, as the database escapes it."""
    for first in range(1, 0x11000, 0x800):
        texts = [chr(code) for code in range(first, first + 0x800) if not 0xD800 <= code < 0xE000]
        if not texts:
            continue
        tags = ["".join(texts), *texts]
        row = world.writer.execute("SELECT to_json(%s::text[])::text", (tags,)).fetchone()
        assert row is not None
        event = log.StoredEvent(7, world.now, "T", 1, tags, tags[0], tags[0], b"{}", b"")
        assert sealing.leaf_hashes(
            [7], [world.now], ["T"], [1], [tags[0]], [tags[0]], [row[0]], [b"{}"]
        ) == [log.leaf_hash_of(event)]


def test_times_are_written_and_read_as_the_database_does(world: World) -> None:
    """Whole seconds, fractions with and without zeros at the end, early and late years."""
    begin = datetime(1, 1, 1, tzinfo=UTC)
    times = [
        begin + timedelta(days=days, microseconds=micros)
        for days in (0, 365_000, 739_000, 3_652_058)
        for micros in (0, 1, 10, 120_000, 999_999, 1_000_000, 86_399_999_990)
    ]
    rows = world.writer.execute(
        "SELECT x::text FROM unnest(%s::timestamptz[]) AS t(x)", (times,)
    ).fetchall()
    texts = [row[0] for row in rows]
    assert [moment_text(time) for time in times] == texts
    assert moments(texts) == times


def test_a_second_process_that_fails_is_no_verdict(bank: World) -> None:
    """Its failure is raised, not taken for a seal without findings."""
    with bank.projector.transaction():
        order = sealing.Order("no number", head=POSITIONS, tags_slot=0)  # type: ignore[arg-type]
        with (
            sealing.Beside(bank.projector, order) as beside,
            pytest.raises(sealing.SealCheckError, match="ended with 1"),
        ):
            beside.report()


@given(st.lists(st.integers()))
def test_reading_ahead_changes_nothing(items: list[int]) -> None:
    """The same items in the same order, and an error where it happened."""

    def failing() -> Iterator[int]:
        yield from items
        raise EOFError

    with ThreadPoolExecutor(max_workers=1) as thread:
        assert list(ahead(thread, iter(items))) == items
        fetched = ahead(thread, failing())
        assert [next(fetched) for _ in items] == items
        with pytest.raises(EOFError):
            next(fetched)
