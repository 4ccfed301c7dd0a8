"""Differences: what the views say at one moment and not at the other, and nothing else."""

from datetime import timedelta
from itertools import count
from typing import Any

import sqlalchemy
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World
from tests.postgres.moments import DAY, everything, histories, lived
from tests.rules.harness import held, transfer

from ledger_core import database
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from projections.balance_queries import balances
from projections.diffed_states import KINDS
from projections.diffing import Between, Change, Diff, diff, whole_diff
from projections.reading import AsOf

_numbers = count(1)
_MONEY = (
    "posted_minor",
    "debits_posted_minor",
    "credits_posted_minor",
    "held_minor",
    "incoming_held_minor",
    "available_minor",
    "limit_minor",
    "ceiling_minor",
)
_NAMES = {"standing_order": "order"}


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(history=histories, data=st.data())
def test_a_difference_is_what_two_readings_differ_by(
    database_url: str, history: list[list[Command]], data: st.DataObject
) -> None:
    """Of everything that is there, at random positions; backwards it is the other way round."""
    with World(database_url, f"differing-{next(_numbers)}") as world:
        head = lived(world, history)
        begin, end = (AsOf(position=data.draw(st.integers(0, head))) for _ in range(2))
        engine = database.engine(database_url, "ledger_reader")
        with engine.connect() as conn:
            found = whole_diff(conn, world.ledger_id, Between(begin=begin, end=end))
            _agrees(conn, world.ledger_id, found, begin, end)
            back = whole_diff(conn, world.ledger_id, Between(begin=end, end=begin))
            assert [_turned(change) for change in back.changes] == list(found.changes)
            assert _pages(conn, world.ledger_id, begin, end) == list(found.changes)
            valued = Between(begin=begin, end=end, kinds=("account",), value_date=DAY)
            _agrees_by_value_date(conn, world.ledger_id, valued)
        engine.dispose()


def _agrees(
    conn: sqlalchemy.Connection, ledger_id: int, found: Diff, begin: AsOf, end: AsOf
) -> None:
    """Every answer that differs is told, field by field, and no other."""
    one, other = (everything(conn, ledger_id, as_of) for as_of in (begin, end))
    assert (found.from_position, found.to_position) == (begin.position, end.position)
    changes = {(change.kind, change.id): change for change in found.changes}
    assert len(changes) == len(found.changes)
    for kind in KINDS:
        before, after = (_things(answers, kind) for answers in (one, other))
        for name in before.keys() | after.keys():
            change = changes.pop((kind, name), None)
            if name not in before or name not in after:
                assert change is not None
                assert change.change == ("appeared" if name in after else "vanished")
            elif before[name] == after[name]:
                assert change is None, (kind, name)
            else:
                assert change is not None, (kind, name)
                assert change.change == "changed"
                if kind == "account":
                    _same_money(change, before[name], after[name])
    assert all(kind == "risk_rule" for kind, _ in changes)


def _same_money(change: Change, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Each amount that differs is told, from what and to what."""
    told = {item.field: (item.before, item.after) for item in change.fields}
    for name in _MONEY:
        pair = before[name], after[name]
        if pair[0] == pair[1]:
            assert name not in told
        else:
            assert told[name] == tuple(None if minor is None else str(minor) for minor in pair)


def _things(answers: dict[str, Any], kind: str) -> dict[str, Any]:
    """What there is of a kind by its id, as far as a difference of it is told."""
    left_out = {"position", "recorded_at", "version", "last_position"}
    match kind:
        case "account":
            return {
                item.account_id: {
                    name: getattr(item, name)
                    for name in item.__struct_fields__
                    if name not in left_out
                }
                for item in answers["balances"].items
            }
        case "customer":
            return {
                item.customer_id: (
                    item.erased,
                    item.public,
                    item.sealed,
                    [(held.balance.account_id, held.roles) for held in item.accounts],
                )
                for item in answers["customers 360"]
            }
        case "flag":
            return {item.flag_id: item for item in answers["flags"].items}
        case "risk_rule":
            return {}
        case _:
            kept = answers["kept"][_NAMES.get(kind, kind)].items
            return {
                name: {
                    field: getattr(state, field)
                    for field in state.__struct_fields__
                    if field not in left_out
                }
                for name, state in kept
            }


def _turned(change: Change) -> Change:
    """The change the other way round."""
    turned = {"appeared": "vanished", "vanished": "appeared", "changed": "changed"}
    fields: dict[str, tuple[Any, Any]] = {
        item.field: (item.after, item.before) for item in change.fields
    }
    return Change(
        kind=change.kind,
        id=change.id,
        change=turned[change.change],  # type: ignore[arg-type] # one of the same three
        fields=tuple(
            type(change.fields[0])(name, before, after) for name, (before, after) in fields.items()
        ),
        personal=change.personal,
        account_id=change.account_id,
        customer_id=change.customer_id,
        currency=change.currency,
        scale=change.scale,
    )


def _pages(conn: sqlalchemy.Connection, ledger_id: int, begin: AsOf, end: AsOf) -> list[Change]:
    """The same, page by page."""
    found: list[Change] = []
    after = None
    while True:
        page = diff(conn, ledger_id, Between(begin=begin, end=end), after=after, limit=3)
        found += page.changes
        after = page.next_after
        if after is None:
            return found


def _agrees_by_value_date(conn: sqlalchemy.Connection, ledger_id: int, between: Between) -> None:
    """By value date, the accounts differ by what counts by the end of that day."""
    one, other = (
        {
            item.account_id: item.posted_minor
            for item in balances(conn, ledger_id, as_of=as_of, value_date=DAY, limit=1_000).items
        }
        for as_of in (between.begin, between.end)
    )
    told = {
        change.id: item
        for change in whole_diff(conn, ledger_id, between).changes
        for item in change.fields
        if change.change == "changed" and item.field == "posted_minor"
    }
    differing = {name for name in one if name in other and one[name] != other[name]}
    assert told.keys() == differing
    for name in differing:
        assert (told[name].before, told[name].after) == (str(one[name]), str(other[name]))


def _between(world: World, begin: AsOf, end: AsOf) -> list[Change]:
    """What changed in the world's ledger."""
    engine = database.engine(world.url, "ledger_reader")
    with engine.connect() as conn:
        found = whole_diff(conn, world.ledger_id, Between(begin=begin, end=end))
    engine.dispose()
    return list(found.changes)


def test_what_fell_due_counts_though_it_was_recorded_later(bank: World) -> None:
    """A hold that expired between two times has changed, with no event recorded between them."""
    bank.run(held("A", "B", 300, "H1", key="hold", timeout_s=60))
    placed = bank.now
    bank.now += timedelta(days=2)
    bank.run(transfer("A", "B", 1, key="later"))
    bank.catch_up()
    begin = AsOf(recorded_at=placed)
    found = _between(bank, begin, AsOf(recorded_at=placed + timedelta(hours=1)))
    assert [(change.kind, change.id, change.change) for change in found] == [
        ("account", "A", "changed"),
        ("account", "B", "changed"),
        ("hold", "H1", "changed"),
    ]
    told = {item.field: (item.before, item.after) for item in found[0].fields}
    assert told["held_minor"] == ("300", "0")
    assert _between(bank, begin, AsOf(recorded_at=placed + timedelta(seconds=10))) == []


def test_personal_fields_are_named_and_not_shown(bank: World) -> None:
    """What was changed of a profile, without its content; an erasure empties it."""
    profile = {"name": "Zoë Secret", "segment": "retail"}
    bank.run(RegisterCustomer(key="r", customer_id="zoe", profile=profile))
    registered = bank.catch_up()
    changes: dict[str, str | None] = {"phone": "12345", "segment": "private"}
    bank.run(ChangeProfile(key="c", customer_id="zoe", changes=changes, reason="moved"))
    changed = bank.catch_up()
    bank.run(EraseCustomer(key="e", customer_id="zoe", reason="asked"))
    erased = bank.catch_up()
    (first,) = _between(bank, AsOf(position=registered - 1), AsOf(position=registered))
    assert (first.change, first.personal) == ("appeared", ("name",))
    (second,) = _between(bank, AsOf(position=registered), AsOf(position=changed))
    assert second.personal == ("phone",)
    assert [(item.field, item.before, item.after) for item in second.fields] == [
        ("profile.segment", "retail", "private")
    ]
    (third,) = _between(bank, AsOf(position=changed), AsOf(position=erased))
    assert third.personal == ("name", "phone")
    assert ("erased", False, True) in [
        (item.field, item.before, item.after) for item in third.fields
    ]
    assert "Secret" not in str((first, second, third))
