"""Explanations: the events listed come to the figure, and leaving any of them out does not."""

from datetime import timedelta
from itertools import count
from typing import Any

import msgspec
import pytest
import sqlalchemy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.postgres.moments import DAY, histories, lived
from tests.rules.harness import deposited, held, opened, transfer, withdrawn

from ledger_core import database
from ledger_core.account_limits import SetLimit
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.commands import Command
from ledger_core.errors import AccountNotFound, CurrencyMismatch, FlagNotFound, RefusalNotFound
from ledger_core.groups import AddToGroup, CreateGroup
from ledger_core.holds import CaptureHold
from ledger_core.periods import ClosePeriod
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import SetRiskRule
from projections.balance_queries import balances
from projections.explaining import BalanceExplanation, ExplainedPosting, explain_balance
from projections.flag_queries import flags
from projections.flag_reasons import explain_flag, figures_of
from projections.reading import NOW, AsOf
from projections.refusal_reasons import RefusalExplanation, explain_refusal

_numbers = count(1)


@pytest.fixture
def engine(database_url: str) -> Any:  # noqa: ANN401 - a fixture
    """Connections to read by."""
    made = database.engine(database_url, "ledger_reader")
    yield made
    made.dispose()


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(history=histories, data=st.data())
def test_the_events_come_to_the_figures(
    database_url: str, history: list[list[Command]], data: st.DataObject
) -> None:
    """Of every account at a random position, by value date too; none can be left out."""
    with World(database_url, f"explained-{next(_numbers)}") as world:
        head = lived(world, history)
        as_of = AsOf(position=data.draw(st.integers(0, head)))
        engine = database.engine(database_url, "ledger_reader")
        with engine.connect() as conn:
            for day in (None, DAY):
                page = balances(conn, world.ledger_id, as_of=as_of, value_date=day, limit=1_000)
                for shown in page.items:
                    explained = explain_balance(
                        conn, world.ledger_id, shown.account_id, as_of=as_of, value_date=day
                    )
                    assert explained.adds_up
                    for name in ("posted_minor", "held_minor", "available_minor", "position"):
                        assert getattr(explained, name) == getattr(shown, name)
                    _adds_up_and_is_minimal(explained)
                    _pages_add_up(conn, world.ledger_id, explained, as_of)
            for flag in flags(conn, world.ledger_id, as_of=as_of, limit=1_000).items:
                found = explain_flag(conn, world.ledger_id, flag.flag_id, as_of=as_of)
                assert found.flag == flag
                assert found.adds_up
                figures = figures_of(flag.rule, found.movements)
                assert figures.items() <= flag.figures.items()
                for at in range(len(found.movements)):
                    fewer = [*found.movements[:at], *found.movements[at + 1 :]]
                    assert figures_of(flag.rule, fewer) != figures
        engine.dispose()


def _adds_up_and_is_minimal(explained: BalanceExplanation) -> None:
    """Sums of the lists are the figures; each posting and change of a hold counts for something."""
    assert explained.carried_forward is None
    total = sum(line.change_minor for line in explained.postings)
    assert total == explained.posted_minor
    assert all(total - line.change_minor != total for line in explained.postings)
    held = {"debit": 0, "credit": 0}
    for item in explained.holds:
        held[item.side] += item.change_minor
        assert item.change_minor != 0
    outgoing = "debit" if explained.normal_side == "credit" else "credit"
    assert held[outgoing] == explained.held_minor
    assert held[explained.normal_side] == explained.incoming_held_minor
    if explained.value_date is None and explained.limit_minor is not None:
        available_minor = total - held[outgoing] + explained.limit_minor
        assert available_minor == explained.available_minor


def _pages_add_up(
    conn: sqlalchemy.Connection, ledger_id: int, whole: BalanceExplanation, as_of: AsOf
) -> None:
    """Page by page the same postings, each page beginning with what is carried forward."""
    lines: list[ExplainedPosting] = []
    after = None
    while True:
        page = explain_balance(
            conn,
            ledger_id,
            whole.account_id,
            as_of=as_of,
            value_date=whole.value_date,
            after=after,
            limit=2,
        )
        assert page.adds_up
        lines = [*page.postings, *lines]
        after = page.next_after
        if after is None:
            break
        carried = page.carried_forward
        assert carried is not None
        rest = whole.postings[: len(whole.postings) - len(lines)]
        assert carried.balance_minor == sum(line.change_minor for line in rest)
        sides = {"debit": carried.debits_minor, "credit": carried.credits_minor}
        for side, minor in sides.items():
            assert minor == sum(line.amount_minor for line in rest if line.side == side)
    assert tuple(lines) == whole.postings


def _explained(engine: sqlalchemy.Engine, world: World, name: str, **asked: Any) -> Any:  # noqa: ANN401
    """A balance explained."""
    world.catch_up()
    with engine.connect() as conn:
        return explain_balance(conn, world.ledger_id, name, **asked)


def test_reversals_are_paired(bank: World, engine: sqlalchemy.Engine) -> None:
    """An entry and the one that reverses it name each other; before the reversal it did not."""
    bank.run(
        transfer("A", "B", 200, key="t", entry_id="rent"),
        ReverseEntry(key="r", reverses="rent"),
        ReverseEntry(key="r2", reverses="jrn_4", force=True),
    )
    explained = _explained(engine, bank, "A")
    pairs = [
        (line.position, line.reverses_position, line.reversed_position)
        for line in explained.postings
    ]
    assert pairs == [(4, None, 7), (5, None, 6), (6, 5, None), (7, 4, None)]
    before = _explained(engine, bank, "A", as_of=AsOf(position=5))
    assert [line.reversed_position for line in before.postings] == [None, None]


def test_open_holds_and_the_limit_are_behind_what_is_available(
    bank: World, engine: sqlalchemy.Engine
) -> None:
    """Of a hold that was captured in part, both events; none of one that is resolved."""
    bank.run(
        SetLimit(key="l", account_id="A", limit="250"),
        held("A", "B", 300, "H1", key="h1", multi_capture=True),
        CaptureHold(key="c1", hold_id="H1", amount="100"),
        held("A", "B", 50, "H2", key="h2"),
        CaptureHold(key="c2", hold_id="H2", amount="all"),
    )
    explained = _explained(engine, bank, "A")
    assert (explained.posted_minor, explained.held_minor, explained.available_minor) == (
        850,
        200,
        900,
    )
    assert [(item.position, item.change, item.change_minor) for item in explained.holds] == [
        (6, "placed", 300),
        (7, "captured", -100),
    ]
    assert explained.limit is not None
    assert (explained.limit.position, explained.limit.event) == (5, "LimitSet")
    opened_with = _explained(engine, bank, "B").limit
    assert (opened_with.position, opened_with.event) == (2, "AccountOpened")
    incoming = _explained(engine, bank, "B", limit=1)
    assert (incoming.incoming_held_minor, incoming.held_minor) == (200, 0)
    assert incoming.adds_up


def test_many_holds_are_carried_forward(bank: World, engine: sqlalchemy.Engine) -> None:
    """The newest are shown, the others as their sum."""
    bank.run(*[held("A", "B", 10 + n, f"H{n}", key=f"h{n}") for n in range(4)])
    explained = _explained(engine, bank, "A", limit=1)
    assert explained.adds_up
    assert explained.held_carried_minor == 10 + 11 + 12
    assert [item.hold_id for item in explained.holds] == ["H3"]


def test_what_fell_due_by_the_time_asked_about_counts(
    bank: World, engine: sqlalchemy.Engine
) -> None:
    """A hold that had expired holds nothing then, and a limit was in force from its day on."""
    tomorrow = (bank.now + timedelta(days=1)).date()
    bank.run(
        held("A", "B", 300, "H1", key="h", timeout_s=60),
        SetLimit(key="l", account_id="A", limit="70", effective_date=tomorrow),
    )
    then = bank.now + timedelta(days=1)
    bank.now += timedelta(days=3)
    bank.run(transfer("A", "B", 1, key="later"))
    explained = _explained(engine, bank, "A", as_of=AsOf(recorded_at=then))
    assert explained.adds_up
    assert (explained.holds, explained.held_minor, explained.available_minor) == ((), 0, 1_070)
    assert explained.limit.event == "LimitSet"


def test_a_damaged_view_does_not_add_up(
    bank: World, engine: sqlalchemy.Engine, superuser_url: str
) -> None:
    """The account's row says something else than its lines: it is told."""
    assert _explained(engine, bank, "A").adds_up
    with database.connect(superuser_url, "ledger_projector") as conn:
        conn.execute("UPDATE views.accounts SET credits_posted_minor = 7 WHERE account_id = 'A'")
    assert not _explained(engine, bank, "A").adds_up


def test_what_is_not_there_is_not_explained(bank: World, engine: sqlalchemy.Engine) -> None:
    """An account of another currency, or opened later; a flag or refusal that never was."""
    with pytest.raises(CurrencyMismatch):
        _explained(engine, bank, "A", currency="JPY")
    with pytest.raises(AccountNotFound):
        _explained(engine, bank, "B", as_of=AsOf(position=1))
    with engine.connect() as conn:
        with pytest.raises(FlagNotFound):
            explain_flag(conn, bank.ledger_id, "flag_large_movement_1_4")
        for asked in ({"position": 4}, {"position": 99}, {"position": 0}, {"key": "first"}):
            with pytest.raises(RefusalNotFound):
                explain_refusal(conn, bank.ledger_id, **asked)


def test_a_flag_is_explained_by_the_rule_as_it_stood(
    bank: World, engine: sqlalchemy.Engine
) -> None:
    """Defaults first, then what was set; a later change of the rule changes nothing about it."""
    bank.run(
        deposited("B", 1_000_000, key="large"),
        SetRiskRule(key="s", rule="large_movement", parameters={"amount": 5}),
        deposited("B", 600, key="small"),
        SetRiskRule(key="s2", rule="large_movement", parameters={"amount": 900}),
    )
    bank.catch_up()
    with engine.connect() as conn:
        newest, oldest = flags(conn, bank.ledger_id, rule="large_movement").items
        first = explain_flag(conn, bank.ledger_id, oldest.flag_id)
        assert (first.parameters["amount"], first.rule_position) == (10_000, 0)
        assert [item.position for item in first.movements] == [5]
        second = explain_flag(conn, bank.ledger_id, newest.flag_id)
        assert (second.parameters["amount"], second.rule_position) == (5, 6)
        assert [item.in_minor for item in second.movements] == [600]
        with pytest.raises(FlagNotFound):
            explain_flag(conn, bank.ledger_id, newest.flag_id, as_of=AsOf(position=6))


def test_a_dormant_account_was_quiet_since_a_movement(
    bank: World, engine: sqlalchemy.Engine
) -> None:
    """The movement that came before is named, too."""
    bank.now += timedelta(days=400)
    bank.run(deposited("A", 900_000, key="woken"), deposited("B", 900_000, key="woken-too"))
    bank.catch_up()
    with engine.connect() as conn:
        found = flags(conn, bank.ledger_id, rule="dormant_account_woken").items
        since = {
            flag.account_id: explain_flag(conn, bank.ledger_id, flag.flag_id).quiet_since_position
            for flag in found
        }
    assert since == {"A": 4, "B": 2}


def _refused(
    engine: sqlalchemy.Engine,
    world: World,
    as_of: AsOf = NOW,
    **asked: Any,  # noqa: ANN401
) -> RefusalExplanation:
    """A refusal explained."""
    world.catch_up()
    with engine.connect() as conn:
        return explain_refusal(conn, world.ledger_id, as_of=as_of, **asked)


def test_a_refusal_for_want_of_funds_shows_the_balance(
    bank: World, engine: sqlalchemy.Engine
) -> None:
    """What was available is what the events before it come to; the newest refusal of the key."""
    bank.run(
        held("A", "B", 400, "H1", key="h"),
        withdrawn("A", 700, key="w"),
        deposited("A", 5, key="d"),
        withdrawn("A", 701, key="w"),
    )
    found = _refused(engine, bank, key="w")
    assert (found.code, found.refusal_position, found.actor) == ("insufficient_funds", 8, "tester")
    (balance,) = found.balances
    assert str(balance.available_minor) == found.seen["available_minor"] == "605"
    assert [line.position for line in balance.postings] == [4, 7]
    assert [item.position for item in balance.holds] == [5]
    first = _refused(engine, bank, position=6)
    assert first.balances[0].available_minor == 600
    assert _refused(engine, bank, AsOf(position=7), key="w") == msgspec.structs.replace(
        first,
        position=7,
        reflected_at=_refused(engine, bank, AsOf(position=7), key="w").reflected_at,
    )


def test_a_refusal_shows_the_events_that_made_it_so(bank: World, engine: sqlalchemy.Engine) -> None:
    """Blocks in force, the closed period, what took an id, the group's limit."""
    day = bank.now.date() - timedelta(days=1)
    bank.run(
        FreezeAccount(key="f1", account_id="A", cause="court", effect="debit"),
        FreezeAccount(key="f2", account_id="A", cause="fraud", effect="full"),
        FreezeAccount(key="f3", account_id="A", cause="mail", effect="credit"),
        UnfreezeAccount(key="u", account_id="A", cause="fraud"),
        withdrawn("A", 1, key="blocked"),  # 9
        ClosePeriod(key="p", through=day),
        deposited("B", 1, key="closed", value_date=day),  # 11
        deposited("B", 1, key="e", reference="mine"),
        deposited("B", 2, key="e2", reference="mine"),  # 13
        opened("C", key="open-c"),
        CreateGroup(key="g", group_id="G", name="G", currency="EUR", limit="0"),
        AddToGroup(key="g1", group_id="G", account_id="B"),
        AddToGroup(key="g2", group_id="G", account_id="C"),
        SetLimit(key="l", account_id="C", limit="1000"),
        withdrawn("C", 2, key="group"),  # 19
    )
    facts = {
        key: [(fact.position, fact.type) for fact in _refused(engine, bank, key=key).facts]
        for key in ("blocked", "closed", "e2", "group")
    }
    assert facts == {
        "blocked": [(5, "BlockPlaced")],
        "closed": [(10, "PeriodClosed")],
        "e2": [(12, "JournalEntryPosted")],
        "group": [(15, "GroupCreated")],
    }
    group = _refused(engine, bank, key="group")
    assert group.code == "insufficient_funds"
    assert [(item.account_id, item.posted_minor) for item in group.balances] == [
        ("B", 1),
        ("C", 0),
    ]
