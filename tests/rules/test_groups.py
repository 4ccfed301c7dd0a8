"""Account groups: members, totals, and the limits that a movement must leave whole."""

from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened, transfer, with_field, withdrawn
from tests.strategies import START, sides

from ledger_core import group as group_rules
from ledger_core.account_terms import CloseAccount
from ledger_core.accounts import (
    GROUPS_MAX,
    Account,
    GroupMemberAdded,
    GroupMemberRemoved,
    Terms,
)
from ledger_core.books import Books
from ledger_core.errors import (
    AccountIsClosed,
    AccountNotFound,
    CurrencyMismatch,
    GroupExists,
    GroupNotFound,
    InsufficientFunds,
    LimitExceeded,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.group import (
    MEMBERS_MAX,
    Group,
    GroupCreated,
    GroupLimitSet,
    Totals,
    available_of,
    totals_of,
)
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.journal import Side
from ledger_core.reversals import ReverseEntry

if TYPE_CHECKING:
    from ledger_core.commands import Command

FAMILY = CreateGroup(group_id="family", name="The Webers", currency="EUR", limit="0")
JOINED = (
    AddToGroup(group_id="family", account_id="A"),
    AddToGroup(group_id="family", account_id="B"),
)
# A and B may each be overdrawn, the two together may not.
ACCOUNTS = (
    opened("A", limit=None),
    opened("B", limit=None),
    opened("X", limit=None),
    deposited("A", 100),
)


def _group(books: Books, group_id: str = "family") -> Group:
    """The group of that id."""
    found = books.kept("group", group_id)
    assert isinstance(found, Group)
    return found


def _hold(debit: str, credit: str, amount_minor: int, hold_id: str | None = None) -> PlaceHold:
    """A hold in euro."""
    return PlaceHold(
        debit_account_id=debit,
        credit_account_id=credit,
        amount=str(amount_minor),
        currency="EUR",
        hold_id=hold_id,
    )


# Making groups -----------------------------------------------------------------------------------


def test_a_group_begins_without_members() -> None:
    """Its total counts credits less debits, unless the other side is asked for."""
    books = given().when(FAMILY).then(GroupCreated("The Webers", "EUR", "family", limit_minor=0))
    assert _group(books) == Group("family", 1, "The Webers", "EUR", "credit", 0, None, (), 1)
    assert _group(books).status == "open"
    loans = CreateGroup(name="Loans", currency="JPY", side="debit", limit=None, ceiling="-5")
    books = Given(books).when(loans).books
    assert _group(books, "grp_2") == Group("grp_2", 2, "Loans", "JPY", "debit", None, -5, (), 2)


def test_a_groups_id_is_taken_once_and_its_currency_known() -> None:
    """The refusal says where the first group stands; ids of the ledger's form are its own."""
    given(opened("A"), FAMILY).when(with_field(FAMILY, "name", "Others")).then_refuses(
        GroupExists, position=2
    )
    given().when(with_field(FAMILY, "currency", "PTS")).then_refuses(UnknownCurrency)
    given().when(with_field(FAMILY, "group_id", "grp_1")).then_refuses(
        ValidationFailed, field="group_id"
    )


@pytest.mark.parametrize(
    ("command", "name", "value"),
    [
        (FAMILY, "group_id", ""),
        (FAMILY, "name", ""),
        (FAMILY, "limit", "-0"),
        (FAMILY, "ceiling", "1.0"),
        (SetGroupLimit(group_id="family", limit="1"), "group_id", " "),
        (SetGroupLimit(group_id="family", limit="1"), "limit", "+1"),
        (SetGroupLimit(group_id="family", limit="1"), "ceiling", ""),
        (SetGroupLimit(group_id="family", limit="1"), "reason", ""),
        (JOINED[0], "group_id", ""),
        (JOINED[0], "account_id", ""),
        (RemoveFromGroup(group_id="family", account_id="A"), "group_id", ""),
        (RemoveFromGroup(group_id="family", account_id="A"), "account_id", ""),
        (RemoveFromGroup(group_id="family", account_id="A"), "reason", "\n"),
    ],
)
def test_what_is_malformed_is_refused(command: Any, name: str, value: str) -> None:  # noqa: ANN401
    """The field is named."""
    given().when(with_field(command, name, value)).then_refuses(ValidationFailed, field=name)


def test_a_groups_limits_are_set_for_what_comes() -> None:
    """A ceiling that is not named stays; the same again is no event."""
    case = given(FAMILY)
    case.when(SetGroupLimit(group_id="family", limit="0")).then_nothing()
    case.when(SetGroupLimit(group_id="family", limit="0", ceiling=None)).then_nothing()
    books = case.when(
        SetGroupLimit(group_id="family", limit="-5", ceiling="70", reason="agreed")
    ).then(GroupLimitSet("family", -5, "agreed", 70))
    assert (_group(books).limit_minor, _group(books).ceiling_minor) == (-5, 70)
    books = case.when(SetGroupLimit(group_id="family", limit=None)).then(
        GroupLimitSet("family", None, keeps_ceiling=True)
    )
    assert (_group(books).limit_minor, _group(books).ceiling_minor) == (None, 70)
    assert _group(books).is_limited
    books = case.when(SetGroupLimit(group_id="family", limit=None, ceiling=None)).books
    assert not _group(books).is_limited
    case.when(SetGroupLimit(group_id="others", limit=None)).then_refuses(GroupNotFound)


# Members -----------------------------------------------------------------------------------------


def test_accounts_join_and_leave() -> None:
    """Group and account say the same; twice is no event."""
    case = given(*ACCOUNTS, FAMILY)
    case.when(JOINED[1]).then(GroupMemberAdded("family", "B"))
    books = case.when(JOINED[0]).then(GroupMemberAdded("family", "A"))
    assert _group(books).members == ("B", "A")
    assert _group(books).tags == ("account:B", "account:A")
    assert books.accounts["A"].terms.groups == ("family",)
    assert books.accounts["A"].version == 3
    case.when(JOINED[0]).then_nothing()
    leave = RemoveFromGroup(group_id="family", account_id="B", reason="moved out")
    books = case.when(leave).then(GroupMemberRemoved("family", "B", "moved out"))
    assert _group(books).members == ("A",)
    assert books.accounts["B"].terms.groups == ()
    case.when(leave).then_nothing()


def test_a_member_is_an_open_account_in_the_groups_currency() -> None:
    """Both must exist; an account that was closed may still leave."""
    yen = opened("Y", currency="JPY")
    given(opened("A")).when(JOINED[0]).then_refuses(GroupNotFound)
    given(FAMILY).when(JOINED[0]).then_refuses(AccountNotFound)
    given(FAMILY, yen).when(AddToGroup(group_id="family", account_id="Y")).then_refuses(
        CurrencyMismatch, account_currency="JPY", group_currency="EUR"
    )
    given(FAMILY, opened("A"), CloseAccount(account_id="A")).when(JOINED[0]).then_refuses(
        AccountIsClosed
    )
    leave = RemoveFromGroup(group_id="family", account_id="A")
    given(opened("A")).when(leave).then_refuses(GroupNotFound)
    given(FAMILY).when(leave).then_refuses(AccountNotFound)
    given(FAMILY, opened("A"), JOINED[0], CloseAccount(account_id="A")).when(leave).then(
        GroupMemberRemoved("family", "A")
    )


def test_members_and_groups_have_bounds() -> None:
    """A thousand members a group, ten groups an account."""
    groups = [CreateGroup(group_id=f"g{n}", name="g", currency="EUR") for n in range(GROUPS_MAX)]
    joined = [AddToGroup(group_id=f"g{n}", account_id="A") for n in range(GROUPS_MAX)]
    given(opened("A"), FAMILY, *groups, *joined).when(JOINED[0]).then_refuses(
        ValidationFailed, field="account_id"
    )
    case = given(FAMILY, opened("A"))
    full = msgspec.structs.replace(
        _group(case.books), members=tuple(f"m{n}" for n in range(MEMBERS_MAX))
    )
    case.books.states["group", "family"] = full
    case.when(JOINED[0]).then_refuses(ValidationFailed, field="group_id")


def test_nothing_comes_before_the_creation() -> None:
    """Folding a change onto no group is a bug of the program, and stops it."""
    with pytest.raises(ValueError, match="never created"):
        group_rules.evolve(None, GroupMemberAdded("g", "A"), 1, START)


# Limits ------------------------------------------------------------------------------------------


def test_members_share_what_they_have() -> None:
    """One may be overdrawn by what the other has, to the last cent."""
    case = given(*ACCOUNTS, FAMILY, *JOINED)
    case.when(transfer("B", "X", 101)).then_refuses(
        InsufficientFunds,
        group_id="family",
        posted_minor="100",
        held_minor="0",
        available_minor="100",
        limit_minor="0",
        needed_minor="101",
    )
    assert case.when(transfer("B", "X", 100)).error is None
    case.when(withdrawn("A", 1)).then_refuses(InsufficientFunds, group_id="family")
    for inside in (transfer("A", "B", 500), _hold("B", "A", 500)):
        assert case.when(inside).error is None


def test_a_group_has_a_ceiling_that_counts_what_is_held_for_it() -> None:
    """Incoming holds count; a movement between members does not."""
    case = given(*ACCOUNTS, CreateGroup(group_id="family", name="x", currency="EUR", ceiling="150"))
    for command in (*JOINED, _hold("X", "B", 30, "h")):
        assert case.when(command).error is None
    case.when(deposited("A", 21)).then_refuses(
        LimitExceeded,
        group_id="family",
        posted_minor="100",
        held_minor="30",
        ceiling_minor="150",
        reached_minor="151",
    )
    assert case.when(deposited("A", 20)).error is None
    assert case.when(transfer("A", "B", 90)).error is None
    assert case.when(CaptureHold(hold_id="h")).error is None
    case.when(_hold("X", "A", 1)).then_refuses(LimitExceeded, group_id="family")


def test_a_forced_reversal_and_a_way_back_are_allowed() -> None:
    """``force`` skips the group's limits too; beyond them, what brings it closer is taken."""
    case = given(*ACCOUNTS, FAMILY, *JOINED, deposited("B", 50, entry_id="in"))
    assert case.when(withdrawn("A", 140)).error is None
    case.when(ReverseEntry(reverses="in")).then_refuses(InsufficientFunds, group_id="family")
    assert case.when(ReverseEntry(reverses="in", force=True)).error is None
    case.when(withdrawn("B", 1)).then_refuses(InsufficientFunds, available_minor="-40")
    assert case.when(deposited("B", 5)).error is None


def test_an_account_that_left_is_judged_alone() -> None:
    """And so is one whose group has lost its limits."""
    out = transfer("B", "X", 101)
    case = given(*ACCOUNTS, FAMILY, *JOINED)
    case.when(out).then_refuses(InsufficientFunds)
    for command in (
        RemoveFromGroup(group_id="family", account_id="B"),
        SetGroupLimit(group_id="family", limit=None),
    ):
        assert given(*ACCOUNTS, FAMILY, *JOINED, command).when(out).error is None


_movements = st.tuples(
    st.sampled_from(["entry", "entry", "hold", "hold", "capture", "void"]),
    st.lists(st.sampled_from("ABXY"), min_size=2, max_size=2, unique=True),
    st.integers(1, 60),
)


@draw(
    sides,
    st.none() | st.integers(-60, 60),
    st.none() | st.integers(-60, 60),
    st.lists(_movements, max_size=25),
)
def test_no_movement_takes_a_group_further_beyond_its_limits(
    side: Side,
    limit: int | None,
    ceiling: int | None,
    movements: list[tuple[str, list[str], int]],
) -> None:
    """Allowed are exactly: within, closer, or neutral; counted here on paper beside the rules.

    A and B are members, of different types; X and Y are not. On paper a hold is an amount that
    goes out of the group, comes in, or stays inside (and then counts on both sides).
    """
    group = CreateGroup(
        group_id="family",
        name="x",
        currency="EUR",
        side=side,
        limit=None if limit is None else str(limit),
        ceiling=None if ceiling is None else str(ceiling),
    )
    opening = [opened(name, limit=None) for name in "AXY"]
    case = given(*opening, opened("B", account_type="asset"), group, *JOINED)
    total, outgoing, incoming = 0, 0, 0
    holds: dict[str, tuple[str, str, int]] = {}
    for number, (what, pair, size) in enumerate(movements):
        debit, credit, amount = *pair, size
        name = f"h{number}"
        command: Command
        posted = out = come = 0
        if what in ("capture", "void"):
            if not holds:
                continue
            name, (debit, credit, amount) = holds.popitem()
            out, come = (-item for item in _flow(side, debit, credit, amount))
            posted = _flow_net(side, debit, credit, amount) if what == "capture" else 0
            command = CaptureHold(hold_id=name) if what == "capture" else VoidHold(hold_id=name)
        elif what == "hold":
            command = _hold(debit, credit, amount, name)
            out, come = _flow(side, debit, credit, amount)
        else:
            command = transfer(debit, credit, amount)
            posted = _flow_net(side, debit, credit, amount)
        error = case.when(command).error
        low, high = total - outgoing, total + incoming
        low_after, high_after = low + posted - out, high + posted + come
        neutral = posted + come - out == 0
        too_low = limit is not None and low_after < min(-limit, low) and not neutral
        too_high = ceiling is not None and high_after > max(ceiling, high) and not neutral
        expected = InsufficientFunds if too_low else LimitExceeded if too_high else type(None)
        assert type(error) is expected
        if error is None:
            total, outgoing, incoming = total + posted, outgoing + out, incoming + come
            if what == "hold":
                holds[name] = (debit, credit, amount)
        elif what in ("capture", "void"):
            holds[name] = (debit, credit, amount)
        members = [case.books.accounts[name] for name in "AB"]
        assert totals_of(side, members) == Totals(total, outgoing, incoming)


def _flow(side: Side, debit: str, credit: str, amount: int) -> tuple[int, int]:
    """What a movement takes out of the group A and B, and what it brings in."""
    taken, given_ = (debit, credit) if side == "credit" else (credit, debit)
    return (amount if taken in "AB" else 0, amount if given_ in "AB" else 0)


def _flow_net(side: Side, debit: str, credit: str, amount: int) -> int:
    """What a movement changes of the group's total."""
    out, come = _flow(side, debit, credit, amount)
    return come - out


@draw(sides, st.none() | st.integers(-100, 100), st.lists(st.tuples(*[st.integers(0, 90)] * 4)))
def test_totals_are_sums_over_accounts(
    side: Side, limit_minor: int | None, sums: list[tuple[int, int, int, int]]
) -> None:
    """The two sides mirror each other; what is available counts what is held for going out."""
    terms = Terms("A", 1, "asset", "EUR", 2, "debit", START)
    accounts = [Account(terms, *item, 1, 1) for item in sums]
    debits, credited, debits_held, credits_held = (
        [sum(item[place] for item in sums) for place in range(4)] if sums else [0] * 4
    )
    found = totals_of(side, accounts)
    if side == "credit":
        assert found == Totals(credited - debits, debits_held, credits_held)
    else:
        assert found == Totals(debits - credited, credits_held, debits_held)
    group = Group("g", 1, "g", "EUR", side, limit_minor, None, (), 1)
    expected = (
        None
        if limit_minor is None
        else (found.posted_minor - found.outgoing_held_minor + limit_minor)
    )
    assert available_of(group, found) == expected
    assert group.is_limited == (limit_minor is not None)
