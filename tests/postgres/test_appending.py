"""Appends on PostgreSQL: few events by a statement, many by a stream, the same log either way."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, transfer

from ledger_core import appending, log, merkle
from ledger_core.appending import STATEMENT_EVENTS_MAX, STREAM_EVENTS, Appending, HeadMoved
from ledger_core.ledger import Submission
from ledger_core.log import Identity, NewEvent

if TYPE_CHECKING:
    from ledger_core.commands import Command

_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
_DATA = st.sampled_from(
    [b"{}", b'{"a":"\\u0000\\n\\t\\\\"}', b'{\n\t"b" :\r 1}', b'{"c":"it\'s \xc3\xa9"}']
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    drawn=st.lists(
        st.tuples(_TEXTS, st.none() | _TEXTS, _TEXTS, st.lists(_TEXTS, max_size=3), _DATA),
        min_size=1,
        max_size=8,
    )
)
def test_statement_and_stream_store_the_same(
    world: World, drawn: list[tuple[str, str | None, str, list[str], bytes]]
) -> None:
    """Every column comes back exactly, whatever characters it holds, and is sealed alike."""
    for copies, is_locked in ((1, True), (1, False), (STREAM_EVENTS, False)):
        after = log.read_head(world.writer, world.ledger_id).position
        news = [
            NewEvent(kind, 1, tags, None if key is None else f"{after}-{at}{key}", actor, data)
            for at, (kind, key, actor, tags, data) in enumerate(drawn)
        ]
        news += [NewEvent("Filler", 1, (), None, "a", b"{}")] * (copies - 1)
        find = log.begin if is_locked else log.read_head
        head = find(world.writer, world.ledger_id)
        under_way = Appending(world.writer, world.ledger_id, head, _AT, is_locked=is_locked)
        under_way.add(news)
        appended = under_way.commit()
        stored = world.stored(after)
        assert [
            NewEvent(
                item.type, item.version, list(item.tags), item.command_key, item.actor, item.data
            )
            for item in stored[: len(drawn)]
        ] == news[: len(drawn)]
        assert [log.leaf_hash_of(item) for item in stored] == [item.leaf_hash for item in stored]
        assert appended == log.read_head(world.writer, world.ledger_id)
        leaves = [item.leaf_hash for item in stored]
        assert merkle.extend(head.frontier, leaves) == appended.frontier


@pytest.mark.parametrize(
    "count", [1, STATEMENT_EVENTS_MAX, STATEMENT_EVENTS_MAX + 1, 3 * STREAM_EVENTS]
)
def test_a_stream_can_be_interrupted(world: World, count: int) -> None:
    """The connection is free for other statements after ``pause``, and the append goes on."""
    head = log.begin(world.writer, world.ledger_id)
    under_way = Appending(world.writer, world.ledger_id, head, _AT)
    for number in range(count):
        under_way.add([NewEvent("T", 1, ("t",), None, "a", b'{"n":%d}' % number)] * 2)
        under_way.pause()
        world.writer.execute("SELECT 1")
    under_way.commit([Identity("reference", f"r{number}", 1) for number in range(count)])
    assert [item.data for item in world.stored()[::2]] == [b'{"n":%d}' % n for n in range(count)]
    assert world.count("SELECT count(*) FROM ledger.identities") == count


def test_time_never_runs_backwards(world: World) -> None:
    """An append before the head's time is a mistake of the program's."""
    head = log.begin(world.writer, world.ledger_id)
    appending.append(
        world.writer, world.ledger_id, head, _AT, [NewEvent("T", 1, (), None, "a", b"{}")]
    )
    head = log.begin(world.writer, world.ledger_id)
    with pytest.raises(ValueError, match="backwards"):
        Appending(world.writer, world.ledger_id, head, datetime(2026, 2, 1, tzinfo=UTC))


def test_a_nul_is_refused_before_anything_is_sent(world: World) -> None:
    """It would end the statement, or be refused by the database only later."""
    head = log.begin(world.writer, world.ledger_id)
    with pytest.raises(ValueError, match="NUL"):
        appending.append(
            world.writer, world.ledger_id, head, _AT, [NewEvent("T\0", 1, (), None, "a", b"{}")]
        )


def _key(number: int) -> str:
    """A time-ordered key of the ledger's present."""
    return f"{int(_AT.timestamp() * 1_000):012x}"[:8] + f"-ffff-7000-8000-{number:012}"


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(["main", "other", "new"]),
            st.lists(st.integers(0, 25), min_size=1, max_size=8),
        ),
        min_size=2,
        max_size=8,
    )
)
def test_a_key_counts_once_whoever_writes(
    world: World, script: list[tuple[str, list[int]]]
) -> None:
    """Time-ordered keys are looked up in memory; two writers and restarts still agree on them."""
    world.now = max(world.now, _AT)
    salt = log.read_head(world.writer, world.ledger_id).position
    payer, payee = f"A{salt}", f"B{salt}"
    world.run(opened(payer, key=f"a{salt}"), opened(payee, key=f"b{salt}"))
    world.run(deposited(payer, 1_000, key=f"d{salt}"))
    writers = {"main": world.main, "other": world.ledger()}
    used: dict[str, int] = {}
    for who, numbers in script:
        if who == "new":
            writers["new"] = world.ledger()
        keys = [_key(salt * 100 + number) for number in numbers]
        commands = [transfer(payer, payee, 1, key=key) for key in keys]
        outcomes = writers[who].execute([Submission(commands, "tester")])[0]
        for key, outcome in zip(keys, outcomes, strict=True):
            assert outcome.status == ("replayed" if key in used else "recorded")
            assert used.setdefault(key, outcome.position) == outcome.position


def test_many_commands_of_mixed_kinds_in_one_transaction(bank: World) -> None:
    """What needs the database in between (a repeated id, a registration) interrupts the stream."""
    plain = [transfer("A", "B", 1, key=f"t{number}") for number in range(2 * STREAM_EVENTS)]
    again = transfer("A", "B", 1, key="again", entry_id="mine")
    bank.run(again)
    mixed: list[Command] = [
        *plain,
        transfer("A", "B", 1, key="other", entry_id="mine"),
        opened("C", key="open-c"),
        *plain[:3],
    ]
    outcomes = bank.run(*mixed)
    assert (
        answers(outcomes) == ["recorded"] * len(plain) + ["replayed", "recorded"] + ["replayed"] * 3
    )
    stored = bank.stored()
    assert [log.leaf_hash_of(item) for item in stored] == [item.leaf_hash for item in stored]
    assert [item.position for item in stored] == list(range(1, len(stored) + 1))


def test_a_head_that_moved_is_not_appended_to(world: World) -> None:
    """Of two that take the head to be in one place, the second changes nothing, and is told."""
    head = log.read_head(world.writer, world.ledger_id)
    events = [NewEvent("T", 1, ("t",), f"k{number}", "a", b"{}") for number in range(3)]
    first = Appending(world.writer, world.ledger_id, head, _AT, is_locked=False)
    second = Appending(world.writer, world.ledger_id, head, _AT, is_locked=False)
    third = Appending(world.writer, world.ledger_id, head, _AT, is_locked=False)
    first.add(events[:1])
    second.add(events[1:2])
    third.add(events[2:])
    moved = first.commit()
    assert moved == log.read_head(world.writer, world.ledger_id)
    with pytest.raises(HeadMoved):
        second.commit()
    with pytest.raises(HeadMoved):
        third.pause()
    assert moved == log.read_head(world.writer, world.ledger_id)
    assert [item.command_key for item in world.stored()] == ["k0"]
    # The connection is free: nothing was left open.
    again = Appending(world.writer, world.ledger_id, moved, _AT, is_locked=False)
    again.add(events[1:2])
    again.commit([Identity("reference", "r", 2)])
    assert [item.command_key for item in world.stored()] == ["k0", "k1"]
