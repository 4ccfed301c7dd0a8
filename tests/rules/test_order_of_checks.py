"""The order of checks, pinned: a command that breaks two rules is answered with the earlier one.

identity (see the tests on PostgreSQL) → shape → accounts exist, differ, same currency → hold
exists, is one, matches, is open → account open, not blocked for that side → chosen names free →
period open → conditions → amount against hold → limits of accounts, then of groups.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from itertools import combinations
from typing import Any

import pytest
from tests.rules.harness import deposited, given, opened, transfer, with_field, withdrawn

from ledger_core.account_holders import LinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount
from ledger_core.blocks import FreezeAccount
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import (
    AccountExists,
    AccountIsBlocked,
    AccountIsClosed,
    AccountNotFound,
    AlreadyReversed,
    ConditionFailed,
    CurrencyMismatch,
    CustomerErasedAlready,
    CustomerNotFound,
    EntryNotFound,
    ExceedsHold,
    GroupNotFound,
    HoldAlreadyVoided,
    HoldMismatch,
    HoldNotFound,
    InsufficientFunds,
    KycNotCleared,
    LedgerError,
    LimitExceeded,
    NotAHold,
    NotReversible,
    PeriodIsClosed,
    ReferenceConflict,
    SameAccount,
    Unbalanced,
    UnknownCurrency,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.groups import AddToGroup, CreateGroup
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.journal import Side
from ledger_core.periods import ClosePeriod
from ledger_core.reversals import ReverseEntry


@dataclass(frozen=True)
class Break:
    """How one check is made to fail: what happens before (by turn), and how the command changes."""

    kind: type[LedgerError]
    happens: tuple[Command, ...] = ()
    turn: int = 0
    change: Callable[[Any], Command] = field(default=lambda command: command)


@dataclass(frozen=True)
class Case:
    """A command that passes, and the breaks of its checks in their order."""

    happened: tuple[Command, ...]
    command: Command
    breaks: tuple[Break, ...]


def setting(**fields: object) -> Callable[[Any], Command]:
    """A change of some fields."""

    def change(command: Any) -> Command:  # noqa: ANN401 - any command
        """Set them."""
        for name, value in fields.items():
            command = with_field(command, name, value)
        changed: Command = command
        return changed

    return change


FROZEN = Break(AccountIsBlocked, (FreezeAccount(account_id="A", cause="court"),), turn=1)
CLOSED = Break(AccountIsClosed, (CloseAccount(account_id="A"),), turn=2)
TAKEN = Break(ReferenceConflict, (deposited("R", 1, reference="r"),), change=setting(reference="r"))
LATE = Break(
    PeriodIsClosed,
    (ClosePeriod(through=date(2026, 1, 31)),),
    turn=3,
    change=setting(value_date=date(2026, 1, 31)),
)
CHANGED = Break(VersionConflict, change=setting(if_version={"A": 99}))
UNFIT = Break(
    ConditionFailed,
    change=setting(if_balance={"A": BalanceCondition(posted=Bounds(gt="1000"))}),
)
BASE = (opened("A", limit="50"), opened("B"), opened("R"))
GROUP = CreateGroup(group_id="g", name="g", currency="EUR")


def _lines(*legs: tuple[str, Side, str, str]) -> tuple[PostingLine, ...]:
    """The legs of an entry."""
    return tuple(
        PostingLine(account_id=name, side=side, amount=amount, currency=currency)
        for name, side, amount, currency in legs
    )


def _in_yen(command: Any) -> Command:  # noqa: ANN401 - an entry
    """Every leg in euro is one in yen."""
    return setting(
        postings=tuple(
            with_field(line, "currency", "JPY") if line.currency == "EUR" else line
            for line in command.postings
        )
    )(command)


def _one_more(command: Any) -> Command:  # noqa: ANN401 - an entry
    """The entry with every leg's amount one larger."""
    return setting(
        postings=tuple(
            with_field(line, "amount", str(int(line.amount) + 1)) for line in command.postings
        )
    )(command)


def _last_line(**fields: str) -> Callable[[Any], Command]:
    """A change of the last leg."""

    def change(command: Any) -> Command:  # noqa: ANN401 - an entry
        """Set the fields of that leg."""
        last = command.postings[-1]
        for name, value in fields.items():
            last = with_field(last, name, value)
        return setting(postings=(*command.postings[:-1], last))(command)

    return change


def _joined_by_yen(command: Any) -> Command:  # noqa: ANN401 - one that joins
    """The same for an account in another currency."""
    changed: Command = setting(account_id="Y")(command) if command.account_id == "A" else command
    return changed


CASES = {
    "transfer": Case(
        BASE,
        transfer("A", "B", 50),
        (
            Break(ValidationFailed, change=setting(description="")),
            Break(AccountNotFound, change=setting(debit_account_id="nobody")),
            Break(
                SameAccount,
                change=lambda command: setting(credit_account_id=command.debit_account_id)(command),
            ),
            Break(CurrencyMismatch, change=setting(currency="JPY")),
            CLOSED,
            FROZEN,
            TAKEN,
            LATE,
            CHANGED,
            UNFIT,
            Break(InsufficientFunds, change=setting(amount="51")),
            Break(LimitExceeded, (SetLimit(account_id="B", limit="0", ceiling="49"),)),
        ),
    ),
    "transfer in a group": Case(
        (*BASE, with_field(GROUP, "ceiling", "49"), AddToGroup(group_id="g", account_id="B")),
        transfer("A", "B", 49),
        (
            UNFIT,
            Break(InsufficientFunds, (SetLimit(account_id="A", limit="48"),)),
            Break(LimitExceeded, change=setting(amount="50")),
        ),
    ),
    "hold": Case(
        BASE,
        PlaceHold(debit_account_id="A", credit_account_id="B", amount="50", currency="EUR"),
        (
            Break(ValidationFailed, change=setting(timeout_s=0)),
            Break(AccountNotFound, change=setting(credit_account_id="nobody")),
            Break(CurrencyMismatch, change=setting(currency="JPY")),
            CLOSED,
            FROZEN,
            TAKEN,
            CHANGED,
            UNFIT,
            Break(InsufficientFunds, change=setting(amount="51")),
        ),
    ),
    "capture": Case(
        (
            *BASE,
            deposited("R", 1, entry_id="e"),
            PlaceHold(
                debit_account_id="A",
                credit_account_id="B",
                amount="50",
                currency="EUR",
                hold_id="h",
            ),
        ),
        CaptureHold(hold_id="h"),
        (
            Break(ValidationFailed, change=setting(description="")),
            Break(HoldNotFound, change=setting(hold_id="nothing")),
            Break(
                NotAHold,
                change=lambda command: (
                    command if command.hold_id == "nothing" else setting(hold_id="e")(command)
                ),
            ),
            Break(HoldMismatch, change=setting(currency="JPY")),
            Break(HoldAlreadyVoided, (VoidHold(hold_id="h"),), turn=1),
            FROZEN,
            TAKEN,
            LATE,
            CHANGED,
            UNFIT,
            Break(ExceedsHold, change=setting(amount="51")),
        ),
    ),
    "withdrawal": Case(
        BASE,
        withdrawn("A", 50),
        (
            Break(ValidationFailed, change=setting(metadata={"": ""})),
            Break(AccountNotFound, change=setting(account_id="nobody")),
            Break(UnknownCurrency, change=setting(currency="PTS")),
            CLOSED,
            FROZEN,
            TAKEN,
            LATE,
            CHANGED,
            UNFIT,
            Break(InsufficientFunds, change=setting(amount="51")),
        ),
    ),
    "entry": Case(
        BASE,
        PostEntry(postings=_lines(("A", "debit", "50", "EUR"), ("B", "credit", "50", "EUR"))),
        (
            Break(ValidationFailed, change=setting(description="")),
            Break(UnknownCurrency, change=_last_line(currency="PTS")),
            Break(Unbalanced, change=_last_line(amount="52")),
            Break(AccountNotFound, change=_last_line(account_id="nobody")),
            Break(CurrencyMismatch, change=_in_yen),
            CLOSED,
            FROZEN,
            TAKEN,
            LATE,
            CHANGED,
            UNFIT,
            Break(InsufficientFunds, change=_one_more),
        ),
    ),
    "reversal": Case(
        (*BASE, transfer("A", "B", 50, entry_id="e")),
        ReverseEntry(reverses="e"),
        (
            Break(ValidationFailed, change=setting(description="")),
            Break(EntryNotFound, change=setting(reverses="nothing")),
            Break(
                NotReversible,
                (deposited("R", 2, entry_id="d"), ReverseEntry(reverses="d", entry_id="back")),
                change=lambda command: (
                    command if command.reverses == "nothing" else setting(reverses="back")(command)
                ),
            ),
            Break(AlreadyReversed, (ReverseEntry(reverses="e"), transfer("A", "B", 50))),
            FROZEN,
            TAKEN,
            LATE,
            CHANGED,
            UNFIT,
            Break(InsufficientFunds, (withdrawn("B", 1),), turn=1),
        ),
    ),
    "opening": Case(
        (RegisterCustomer(customer_id="ann", profile={"name": "Ann"}),),
        OpenAccount(account_id="X", currency="EUR", customer_id="ann"),
        (
            Break(ValidationFailed, change=setting(name="")),
            Break(UnknownCurrency, change=setting(currency="PTS")),
            Break(AccountExists, (opened("X"),)),
            Break(
                CustomerErasedAlready, (EraseCustomer(customer_id="ann", reason="asked"),), turn=1
            ),
            Break(
                KycNotCleared,
                (
                    ChangeProfile(
                        customer_id="ann", changes={"kyc_status": "pending"}, reason="new"
                    ),
                ),
            ),
        ),
    ),
    "joining": Case(
        (opened("A"), GROUP),
        AddToGroup(group_id="g", account_id="A"),
        (
            Break(ValidationFailed, change=setting(account_id="")),
            Break(GroupNotFound, change=setting(group_id="nothing")),
            Break(
                AccountNotFound,
                change=lambda command: (
                    command if command.account_id == "" else setting(account_id="nobody")(command)
                ),
            ),
            Break(CurrencyMismatch, (opened("Y", currency="JPY"),), change=_joined_by_yen),
            CLOSED,
        ),
    ),
    "link": Case(
        (opened("A"), RegisterCustomer(customer_id="ann", profile={"name": "Ann"})),
        LinkCustomer(account_id="A", customer_id="ann"),
        (
            Break(ValidationFailed, change=setting(customer_id="")),
            Break(AccountNotFound, change=setting(account_id="nobody")),
            Break(CustomerNotFound, change=setting(customer_id="nobody")),
            CLOSED,
        ),
    ),
}

PAIRS = [
    pytest.param(case, one, other, id=f"{name}-{one.kind.code}-{other.kind.code}")
    for name, case in CASES.items()
    for one, other in combinations(case.breaks, 2)
    if not (name == "link" and {one.kind, other.kind} == {ValidationFailed, CustomerNotFound})
]


def _answer(case: Case, *breaks: Break) -> LedgerError | None:
    """What the command is answered when these checks are made to fail."""
    happened = [item for broken in sorted(breaks, key=lambda b: b.turn) for item in broken.happens]
    command: Command = case.command
    for broken in sorted(breaks, key=case.breaks.index):
        command = broken.change(command)
    return given(*case.happened, *happened).when(command).error


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_check_fails_alone(case: Case) -> None:
    """The command passes as it is, and each break is found by its own check."""
    assert _answer(case) is None
    for broken in case.breaks:
        assert type(_answer(case, broken)) is broken.kind


@pytest.mark.parametrize(("case", "one", "other"), PAIRS)
def test_the_first_check_that_fails_is_the_answer(case: Case, one: Break, other: Break) -> None:
    """Of two broken rules the earlier is named."""
    assert type(_answer(case, one, other)) is one.kind


def test_legs_are_judged_in_their_order() -> None:
    """The first account that does not take its leg is named, whatever is wrong with the second."""
    frozen = FreezeAccount(account_id="A", cause="court")
    given(*BASE, frozen, CloseAccount(account_id="B")).when(transfer("A", "B", 1)).then_refuses(
        AccountIsBlocked, account_id="A"
    )
    given(*BASE, frozen, CloseAccount(account_id="B")).when(transfer("B", "A", 1)).then_refuses(
        AccountIsClosed, account_id="B"
    )
