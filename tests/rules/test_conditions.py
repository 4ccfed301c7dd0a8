"""Conditions on accounts: the version that they have before, the balance that they have after."""

from typing import Any

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened, transfer, with_field, withdrawn
from tests.strategies import sides

from ledger_core import commands
from ledger_core.account_limits import SetLimit
from ledger_core.booking import CONDITIONS_MAX, BalanceCondition, Bounds
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import (
    AccountNotFound,
    ConditionFailed,
    InsufficientFunds,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.holds import CaptureHold, PlaceHold
from ledger_core.journal import JournalEntryPosted, Side
from ledger_core.reversals import ReverseEntry

BANK = (opened("A"), opened("B"), opened("C", limit=None), deposited("A", 100))


def _posted(**bounds: str) -> BalanceCondition:
    """Bounds on a posted balance."""
    return BalanceCondition(posted=Bounds(**bounds))


def _available(**bounds: str) -> BalanceCondition:
    """Bounds on an available balance."""
    return BalanceCondition(available=Bounds(**bounds))


def _hold(amount_minor: int, **fields: Any) -> PlaceHold:  # noqa: ANN401 - the command's own
    """A hold from A to B."""
    return PlaceHold(
        debit_account_id="A",
        credit_account_id="B",
        amount=str(amount_minor),
        currency="EUR",
        **fields,
    )


# Versions ----------------------------------------------------------------------------------------


def test_an_account_has_the_version_that_the_caller_saw() -> None:
    """Every event on the account counts one; the refusal says what the version is."""
    case = given(*BANK)
    for version in (1, 3):
        case.when(transfer("A", "B", 1, if_version={"A": version})).then_refuses(
            VersionConflict, account_id="A", version=2
        )
    assert case.when(transfer("A", "B", 1, if_version={"A": 2, "B": 1, "C": 1})).error is None
    case.when(transfer("A", "B", 1, if_version={"A": 2})).then_refuses(VersionConflict, version=3)
    assert case.when(SetLimit(account_id="A", limit="7")).error is None
    assert case.when(_hold(1, if_version={"A": 4, "B": 2})).error is None
    assert case.when(transfer("A", "B", 1, if_version={"A": 5, "B": 3})).error is None


def test_of_two_commands_on_the_same_version_one_is_carried_out() -> None:
    """Which is what the condition is for."""
    case = given(*BANK)
    seen = case.books.accounts["A"].version
    assert case.when(transfer("A", "B", 60, if_version={"A": seen})).error is None
    case.when(transfer("A", "B", 30, if_version={"A": seen})).then_refuses(VersionConflict)


# Balances ----------------------------------------------------------------------------------------

_bounds = st.fixed_dictionaries(
    {}, optional={name: st.integers(-30, 130) for name in ("gte", "gt", "lte", "lt", "eq", "ne")}
).filter(bool)


@draw(_bounds, st.integers(1, 100), st.sampled_from(["posted", "available"]), sides)
def test_a_balance_is_within_all_bounds_once_the_entry_is_booked(
    bounds: dict[str, int], amount: int, which: str, side: Side
) -> None:
    """The condition is about what the movement leaves, on the account's normal side."""
    texts = {name: str(bound) for name, bound in bounds.items()}
    account_id, expected = ("B", amount) if side == "credit" else ("A", 100 - amount)
    condition = BalanceCondition(**{which: Bounds(**texts)})
    answer = given(*BANK).when(transfer("A", "B", amount, if_balance={account_id: condition}))
    holds = (
        expected >= bounds.get("gte", expected)
        and expected > bounds.get("gt", expected - 1)
        and expected <= bounds.get("lte", expected)
        and expected < bounds.get("lt", expected + 1)
        and expected == bounds.get("eq", expected)
        and expected != bounds.get("ne", expected - 1)
    )
    if holds:
        assert answer.error is None
    else:
        answer.then_refuses(
            ConditionFailed, account_id=account_id, balance=which, would_be_minor=str(expected)
        )


def test_an_account_that_the_entry_does_not_touch_can_be_a_condition() -> None:
    """It must exist; its balance is what it is."""
    case = given(*BANK)
    assert case.when(transfer("C", "B", 1, if_balance={"A": _posted(eq="100")})).error is None
    case.when(transfer("C", "B", 1, if_balance={"A": _posted(lt="100")})).then_refuses(
        ConditionFailed, account_id="A", would_be_minor="100"
    )
    for condition in ({"if_version": {"Z": 1}}, {"if_balance": {"Z": _posted(eq="0")}}):
        (field,) = condition
        case.when(transfer("C", "B", 1, **condition)).then_refuses(AccountNotFound, field=field)


def test_available_counts_what_is_held_and_the_limit() -> None:
    """Posted does not; an account without limit counts as one with a limit of zero."""
    case = given(*BANK, SetLimit(account_id="A", limit="50"), _hold(30))
    both = BalanceCondition(posted=Bounds(eq="90"), available=Bounds(eq="110"))
    assert case.when(transfer("A", "B", 10, if_balance={"A": both})).error is None
    assert case.when(transfer("C", "B", 10, if_balance={"C": _available(eq="-10")})).error is None
    case.when(transfer("A", "B", 1, if_balance={"A": _available(gte="110")})).then_refuses(
        ConditionFailed, balance="available", would_be_minor="109"
    )


@pytest.mark.parametrize(
    ("name", "passing", "failing"),
    [
        ("gte", ("40", "39"), ("41",)),
        ("gt", ("39",), ("40", "41")),
        ("lte", ("40", "41"), ("39",)),
        ("lt", ("41",), ("40", "39")),
        ("eq", ("40",), ("39", "41")),
        ("ne", ("39", "41"), ("40",)),
    ],
)
@pytest.mark.parametrize("which", ["posted", "pending", "available"])
def test_each_bound_is_met_or_not_at_its_edge(
    which: str, name: str, passing: tuple[str, ...], failing: tuple[str, ...]
) -> None:
    """Of 100, 60 are moved on; without holds and limit all three balances are the 40 that stay."""
    for text in (*passing, *failing):
        condition = {"A": BalanceCondition(**{which: Bounds(**{name: text})})}
        answer = given(*BANK).when(transfer("A", "C", 60, if_balance=condition))
        if text in passing:
            assert answer.error is None, text
        else:
            answer.then_refuses(ConditionFailed, account_id="A", balance=which, would_be_minor="40")


def test_pending_is_what_is_there_once_every_hold_is_captured() -> None:
    """Of both sides, and with no limit; the other two balances count no incoming hold."""
    incoming = PlaceHold(
        debit_account_id="C", credit_account_id="A", amount="7", currency="EUR", hold_id="in"
    )
    case = given(*BANK, SetLimit(account_id="A", limit="50"), _hold(30, hold_id="out"), incoming)
    condition = BalanceCondition(
        posted=Bounds(eq="90"), pending=Bounds(eq="67"), available=Bounds(eq="110")
    )
    assert case.when(transfer("A", "B", 10, if_balance={"A": condition})).error is None
    condition = BalanceCondition(pending=Bounds(ne="66"))
    case.when(transfer("A", "B", 1, if_balance={"A": condition})).then_refuses(
        ConditionFailed, account_id="A", balance="pending", would_be_minor="66"
    )


def test_every_kind_of_movement_takes_conditions() -> None:
    """Withdrawals, entries, reversals, holds and their captures."""
    lines = (
        PostingLine(account_id="A", side="debit", amount="5", currency="EUR"),
        PostingLine(account_id="A", side="credit", amount="2", currency="EUR"),
        PostingLine(account_id="B", side="credit", amount="3", currency="EUR"),
    )
    happened = (*BANK, transfer("A", "B", 10, entry_id="e"), _hold(20, hold_id="h"))
    for command, posted, available in (
        (deposited("A", 1), "91", "71"),
        (withdrawn("A", 1), "89", "69"),
        (PostEntry(postings=lines), "87", "67"),
        (ReverseEntry(reverses="e"), "100", "80"),
        (_hold(5), "90", "65"),
        (CaptureHold(hold_id="h"), "70", "70"),
        (CaptureHold(hold_id="h", amount="15"), "75", "75"),
    ):
        met = BalanceCondition(posted=Bounds(eq=posted), available=Bounds(eq=available))
        answer = given(*happened).when(with_field(command, "if_balance", {"A": met}))
        assert answer.error is None, command
        unmet = BalanceCondition(posted=Bounds(eq=posted), available=Bounds(gt=available))
        given(*happened).when(with_field(command, "if_balance", {"A": unmet})).then_refuses(
            ConditionFailed, would_be_minor=available
        )


def test_force_skips_the_limits_and_no_condition() -> None:
    """A condition is what the caller wants to be sure of."""
    case = given(*BANK)
    case.when(transfer("B", "A", 1, if_balance={"B": _posted(gte="-1")})).then_refuses(
        InsufficientFunds
    )
    forced = transfer("B", "A", 1, force=True, if_balance={"B": _posted(gte="0")})
    case.when(forced).then_refuses(ConditionFailed)
    assert case.when(with_field(forced, "if_balance", {"B": _posted(gte="-1")})).error is None


# Form --------------------------------------------------------------------------------------------


def test_bounds_on_the_number_of_conditions_are_inclusive() -> None:
    """As many accounts as may be named, and one."""
    names = [f"a{n}" for n in range(CONDITIONS_MAX)]
    case = given(*BANK, *(opened(name) for name in names))
    for fields in (
        {"if_version": dict.fromkeys(names, 1)},
        {"if_balance": dict.fromkeys(names, _posted(eq="0"))},
        {"if_version": {"a0": 1}, "if_balance": {"a1": _posted(eq="0")}},
    ):
        assert case.when(transfer("A", "B", 1, **fields)).error is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("if_version", {}),
        ("if_version", {f"a{n}": 1 for n in range(CONDITIONS_MAX + 1)}),
        ("if_version", {"": 1}),
        ("if_version", {"A": 1, "B": 0}),
        ("if_version", {"A": 0}),
        ("if_balance", {}),
        ("if_balance", {f"a{n}": _posted(eq="1") for n in range(CONDITIONS_MAX + 1)}),
        ("if_balance", {" A": _posted(eq="1")}),
        ("if_balance", {"A": BalanceCondition()}),
        ("if_balance", {"A": _posted()}),
        ("if_balance", {"A": _posted(eq="")}),
        ("if_balance", {"A": _posted(gte="", eq="1")}),
        ("if_balance", {"A": _posted(lt="1.0")}),
        ("if_balance", {"A": _posted(lt="-0")}),
    ],
)
def test_malformed_conditions_are_refused(field: str, value: object) -> None:
    """The field is named, before anything else is looked at."""
    command = with_field(transfer("A", "nobody", 1), field, value)
    given(*BANK).when(command).then_refuses(ValidationFailed, field=field)


def test_conditions_are_part_of_what_was_asked() -> None:
    """A retry with the same is the same command, also once they no longer hold."""
    asked = transfer("A", "B", 1, if_version={"A": 2}, if_balance={"A": _posted(eq="99")})
    answer = given(*BANK).when(asked)
    entry = answer.events[0]
    assert isinstance(entry, JournalEntryPosted)
    assert commands.differing_fields(asked, entry, None) == ()
    without = with_field(asked, "if_version", None)
    assert commands.differing_fields(without, entry, None) == ("if_version",)
    plain = Given(answer.books).when(transfer("A", "B", 1)).events[0]
    assert commands.differing_fields(asked, plain, None) == ("if_version", "if_balance")
