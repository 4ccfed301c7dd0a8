"""Holds: what is reserved is neither spent nor lost, and each hold resolves once."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import (
    Given,
    captured,
    deposited,
    fall_due,
    given,
    held,
    opened,
    transfer,
    voided,
    with_field,
    withdrawn,
)
from tests.strategies import START

from ledger_core import commands, holds
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount
from ledger_core.blocks import FreezeAccount
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.errors import (
    AccountIsBlocked,
    AccountIsClosed,
    AccountNotEmpty,
    AccountNotFound,
    ConditionFailed,
    CurrencyMismatch,
    EntryExists,
    ExceedsHold,
    HoldAlreadyCaptured,
    HoldAlreadyVoided,
    HoldHasExpired,
    HoldMismatch,
    HoldNotFound,
    InsufficientFunds,
    LedgerError,
    LimitExceeded,
    NotAHold,
    NotReversible,
    PeriodIsClosed,
    ReferenceConflict,
    SameAccount,
    UnknownCurrency,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.holds import TIMEOUT_S_MAX, Hold
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted, Posting
from ledger_core.periods import ClosePeriod
from ledger_core.reversals import ReverseEntry

YESTERDAY = START.date() - timedelta(days=1)
SOON = START + timedelta(minutes=1)


def bank(*happened: Command) -> Given:
    """Account A with 100, B with nothing and R to draw references and funds from."""
    return given(opened("A"), opened("B"), opened("R"), deposited("A", 100), *happened)


def hold_of(books: Books, hold_id: str = "H") -> Hold:
    """The hold of that id, which must be there."""
    hold = books.kept("hold", hold_id)
    assert isinstance(hold, Hold)
    return hold


def sums_of(books: Books, account_id: str) -> tuple[int, int, int, int]:
    """Debits posted and held, credits posted and held."""
    account = books.accounts[account_id]
    return (
        account.debits_posted_minor,
        account.debits_held_minor,
        account.credits_posted_minor,
        account.credits_held_minor,
    )


# Placing ----------------------------------------------------------------------------------------


def test_a_hold_reserves_and_posts_nothing() -> None:
    """Both accounts show what is held on their side; only what is available falls."""
    books = bank().when(held("A", "B", 60)).books
    assert sums_of(books, "A") == (0, 60, 100, 0)
    assert sums_of(books, "B") == (0, 0, 0, 60)
    assert books.accounts["A"].posted_minor == 100
    assert books.accounts["A"].available_minor == 40
    assert books.accounts["B"].available_minor == 0


def test_a_hold_says_all_that_the_command_said() -> None:
    """Its event keeps the reference, the code and the words, and the command for later retries."""
    command = held(
        "A",
        "B",
        60,
        reference="r",
        description="d",
        metadata={"n": "v"},
        code="rent",
        multi_capture=True,
        timeout_s=60,
    )
    answer = bank().when(command)
    answer.then(
        HoldPlaced(
            "A",
            "B",
            60,
            "EUR",
            hold_id="H",
            expires_at=SOON,
            multi_capture=True,
            reference="r",
            description="d",
            metadata={"n": "v"},
            code="rent",
            asked={
                "type": "place_hold",
                "debit_account_id": "A",
                "credit_account_id": "B",
                "amount": "60",
                "currency": "EUR",
                "hold_id": "H",
                "timeout_s": 60,
                "multi_capture": True,
                "reference": "r",
                "description": "d",
                "metadata": {"n": "v"},
                "code": "rent",
            },
        )
    )
    hold = hold_of(answer.books)
    assert (hold.status, hold.remaining_minor, hold.due_at) == ("open", 60, SOON)
    assert hold.tags == ("account:A", "account:B")


def test_a_hold_without_an_id_is_named_by_its_position() -> None:
    """The derived id begins with its prefix, which nobody can choose."""
    books = bank().when(held("A", "B", 1, hold_id=None)).books
    assert hold_of(books, f"hld_{books.position}").position == books.position
    bank().when(held("A", "B", 1, hold_id="hld_9")).then_refuses(ValidationFailed, field="hold_id")
    bank().when(held("A", "B", 1, hold_id="jrn_9")).then_refuses(ValidationFailed, field="hold_id")


def test_an_entry_and_a_hold_never_share_an_id() -> None:
    """Whoever comes second is told, whichever of the two it is."""
    bank(transfer("A", "B", 1, entry_id="X")).when(held("A", "B", 1, hold_id="X")).then_refuses(
        EntryExists
    )
    bank(held("A", "B", 1, hold_id="X")).when(transfer("A", "B", 1, entry_id="X")).then_refuses(
        EntryExists
    )
    bank().when(transfer("A", "B", 1, entry_id="hld_9")).then_refuses(
        ValidationFailed, field="entry_id"
    )


def test_a_reference_is_unique_among_entries_and_holds() -> None:
    """A hold takes its reference as an entry does."""
    bank(held("A", "B", 1, reference="r")).when(transfer("A", "B", 1, reference="r")).then_refuses(
        ReferenceConflict
    )
    bank(transfer("A", "B", 1, reference="r")).when(held("A", "B", 1, reference="r")).then_refuses(
        ReferenceConflict
    )


def test_what_is_held_cannot_be_spent_twice() -> None:
    """Holds and entries draw on the same money; to the last minor unit, and not one more."""
    holding = bank(held("A", "B", 60))
    holding.when(held("A", "B", 41, hold_id="I")).then_refuses(
        InsufficientFunds,
        account_id="A",
        posted_minor="100",
        held_minor="60",
        available_minor="40",
        limit_minor="0",
        needed_minor="41",
    )
    holding.when(withdrawn("A", 41)).then_refuses(InsufficientFunds)
    assert holding.when(withdrawn("A", 40)).error is None
    assert holding.books.accounts["A"].available_minor == 0


def test_incoming_holds_do_not_fund() -> None:
    """What will come to an account is not there yet."""
    holding = bank(held("A", "B", 60))
    holding.when(transfer("B", "A", 1)).then_refuses(InsufficientFunds, available_minor="0")
    holding.when(held("B", "R", 1, hold_id="I")).then_refuses(InsufficientFunds)


def test_incoming_holds_count_against_a_ceiling() -> None:
    """What will come must have room when it comes."""
    limited = bank(SetLimit(account_id="B", limit="0", ceiling="50"), held("A", "B", 50))
    limited.when(held("A", "B", 1, hold_id="I")).then_refuses(LimitExceeded, account_id="B")
    limited.when(transfer("A", "B", 1)).then_refuses(LimitExceeded, account_id="B")


def test_a_forced_hold_skips_the_limits_and_nothing_else() -> None:
    """Reserving more than there is can be ordered; a block cannot be overridden."""
    books = bank().when(held("A", "B", 150, force=True)).books
    assert books.accounts["A"].available_minor == -50
    bank(FreezeAccount(account_id="A", cause="court")).when(
        held("A", "B", 1, force=True)
    ).then_refuses(AccountIsBlocked)


@pytest.mark.parametrize(("balancing", "expected"), [("debit", 100), ("credit", 30), ("both", 30)])
def test_a_balancing_hold_reserves_what_fits(balancing: str, expected: int) -> None:
    """Up to the amount: what the payer has, what the payee's ceiling leaves, or both."""
    limited = bank(SetLimit(account_id="B", limit="0", ceiling="30"))
    command = with_field(held("A", "B", 500, force=True), "balancing", balancing)
    assert hold_of(limited.when(command).books).amount_minor == expected


def test_a_balancing_hold_may_find_nothing() -> None:
    """It holds 0 until it is resolved, and is no refusal; but a block would be one."""
    assert hold_of(bank().when(held("B", "A", 5, balancing="debit")).books).amount_minor == 0
    for resolve in (voided("none"), captured("none"), captured("none", 0)):
        [event] = bank(held("B", "A", 5, "none", balancing="debit")).when(resolve).events
        assert isinstance(event, HoldReleased)
        assert event.amount_minor == 0
    bank(FreezeAccount(account_id="B", cause="court")).when(
        held("B", "A", 5, balancing="debit")
    ).then_refuses(AccountIsBlocked)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"amount": "0"}, "amount"),
        ({"amount": "1.5"}, "amount"),
        ({"debit_account_id": ""}, "debit_account_id"),
        ({"credit_account_id": " "}, "credit_account_id"),
        ({"hold_id": ""}, "hold_id"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": TIMEOUT_S_MAX + 1}, "timeout_s"),
        ({"timeout_s": 1, "expires_at": SOON}, "timeout_s"),
        ({"expires_at": START}, "expires_at"),
        ({"expires_at": START + timedelta(seconds=TIMEOUT_S_MAX + 1)}, "expires_at"),
        ({"expires_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-23)))}, "expires_at"),
        ({"reference": ""}, "reference"),
        ({"description": "\x00"}, "description"),
        ({"metadata": {"": ""}}, "metadata"),
        ({"code": ""}, "code"),
        ({"if_version": {"A": 0}}, "if_version"),
    ],
)
def test_a_malformed_hold_is_refused(fields: dict[str, Any], field: str) -> None:
    """The field is named."""
    command: Command = held("A", "B", 1)
    for name, value in fields.items():
        command = with_field(command, name, value)
    answer = bank().when(command)
    assert isinstance(answer.error, ValidationFailed)
    assert answer.error.field.split(".")[0] == field


@pytest.mark.parametrize(
    ("happened", "command", "kind", "seen"),
    [
        ((), held("X", "B", 1), AccountNotFound, {"field": "debit_account_id"}),
        ((), held("A", "X", 1), AccountNotFound, {"field": "credit_account_id"}),
        (
            (opened("J", currency="JPY"),),
            held("A", "J", 1),
            CurrencyMismatch,
            {"account_id": "J", "account_currency": "JPY"},
        ),
        (
            (opened("J", currency="JPY"),),
            held("J", "B", 1),
            CurrencyMismatch,
            {"account_id": "J", "account_currency": "JPY"},
        ),
        ((), held("A", "B", 1, currency="PTS"), UnknownCurrency, {}),
        ((CloseAccount(account_id="B"),), held("A", "B", 1), AccountIsClosed, {"account_id": "B"}),
        ((CloseAccount(account_id="B"),), held("B", "A", 1), AccountIsClosed, {"account_id": "B"}),
        (
            (FreezeAccount(account_id="A", cause="c", effect="debit"),),
            held("A", "B", 0, balancing="debit"),
            AccountIsBlocked,
            {"account_id": "A", "side": "debit", "causes": ["c"]},
        ),
        (
            (FreezeAccount(account_id="B", cause="c", effect="credit"),),
            held("A", "B", 1),
            AccountIsBlocked,
            {"account_id": "B", "side": "credit", "causes": ["c"]},
        ),
    ],
)
def test_both_accounts_must_take_what_is_held(
    happened: tuple[Command, ...],
    command: Command,
    kind: type[LedgerError],
    seen: dict[str, object],
) -> None:
    """They are there, in its currency, open, and not blocked for their side, even of nothing."""
    bank(*happened).when(command).then_refuses(kind, **seen)


def test_a_block_of_the_other_side_does_not_stop_a_hold() -> None:
    """What will be debited may not be credited, and the other way round; 0 may be asked for."""
    blocks = (
        FreezeAccount(account_id="A", cause="c", effect="credit"),
        FreezeAccount(account_id="B", cause="c", effect="debit"),
    )
    books = bank(*blocks).when(held("A", "B", 0, balancing="debit")).books
    assert hold_of(books).amount_minor == 0
    longest = START + timedelta(seconds=TIMEOUT_S_MAX)
    for command in (
        held("A", "B", 1, "L1", timeout_s=TIMEOUT_S_MAX),
        held("A", "B", 1, "L2", expires_at=longest),
    ):
        books = Given(books).when(command).books
        assert hold_of(books, command.hold_id or "").expires_at == longest
    books = Given(books).when(held("A", "B", 1, "S", timeout_s=1)).books
    assert hold_of(books, "S").expires_at == START + timedelta(seconds=1)


def test_accounts_must_differ_and_conditions_hold() -> None:
    """As for every movement; conditions are judged with the hold in place."""
    bank().when(held("A", "A", 1)).then_refuses(SameAccount)
    bank().when(held("A", "B", 1, if_version={"A": 1})).then_refuses(VersionConflict, version=2)
    left = BalanceCondition(available=Bounds(gte="50"))
    bank().when(held("A", "B", 51, if_balance={"A": left})).then_refuses(
        ConditionFailed, account_id="A", balance="available", would_be_minor="49"
    )
    assert bank().when(held("A", "B", 50, if_balance={"A": left})).error is None


# Capturing --------------------------------------------------------------------------------------


def test_a_capture_posts_what_was_held() -> None:
    """All of it by default: an entry between the hold's accounts, and nothing is held any more."""
    answer = bank(held("A", "B", 60, code="rent")).when(captured("H", entry_id="e"))
    [event] = answer.events
    assert isinstance(event, JournalEntryPosted)
    assert event.kind == "capture"
    assert event.postings == (Posting("A", "debit", 60, "EUR"), Posting("B", "credit", 60, "EUR"))
    assert (event.hold_id, event.freed_minor, event.code) == ("H", 0, "rent")
    assert sums_of(answer.books, "A") == (60, 0, 100, 0)
    assert sums_of(answer.books, "B") == (0, 0, 60, 0)
    hold = hold_of(answer.books)
    assert (hold.status, hold.captured_minor, hold.freed_minor) == ("captured", 60, 0)
    assert hold.resolved_at == START


def test_a_part_captured_frees_the_rest() -> None:
    """A single-capture hold resolves by its first capture."""
    books = bank(held("A", "B", 60)).when(captured("H", 25)).books
    assert sums_of(books, "A") == (25, 0, 100, 0)
    assert sums_of(books, "B") == (0, 0, 25, 0)
    hold = hold_of(books)
    assert (hold.status, hold.captured_minor, hold.freed_minor) == ("captured", 25, 35)
    Given(books).when(captured("H", 1)).then_refuses(
        HoldAlreadyCaptured, hold_id="H", position=books.position
    )


def test_several_captures_where_the_hold_allows_them() -> None:
    """The rest stays held until all of it is captured; then the hold is resolved."""
    books = bank(held("A", "B", 60, multi_capture=True), captured("H", 25)).books
    assert sums_of(books, "A") == (25, 35, 100, 0)
    assert (hold_of(books).status, hold_of(books).remaining_minor) == ("open", 35)
    Given(books).when(captured("H", 36)).then_refuses(ExceedsHold, remaining_minor="35")
    books = Given(books).when(captured("H")).books
    assert sums_of(books, "A") == (60, 0, 100, 0)
    Given(books).when(captured("H")).then_refuses(HoldAlreadyCaptured)


def test_a_capture_of_nothing_frees_a_single_capture_hold() -> None:
    """It is resolved as captured, with no entry; one that allows several is left as it is."""
    answer = bank(held("A", "B", 60)).when(captured("H", 0, description="not needed"))
    [event] = answer.events
    assert isinstance(event, HoldReleased)
    assert (event.cause, event.amount_minor, event.reason) == ("captured", 60, "not needed")
    assert sums_of(answer.books, "A") == (0, 0, 100, 0)
    assert hold_of(answer.books).status == "captured"
    bank(held("A", "B", 60, multi_capture=True)).when(captured("H", 0)).then_nothing()


@pytest.mark.parametrize("multi_capture", [False, True])
def test_a_capture_of_nothing_has_its_conditions_met(*, multi_capture: bool) -> None:
    """What a caller makes it depend on, it depends on."""
    holding = bank(held("A", "B", 60, multi_capture=multi_capture, reference="taken"))
    version = holding.books.accounts["A"].version
    stale = captured("H", 0, if_version={"A": version - 1})
    holding.when(stale).then_refuses(VersionConflict, account_id="A", version=version)
    left = "40" if multi_capture else "100"
    spendable = BalanceCondition(available=Bounds(ne=left))
    holding.when(captured("H", 0, if_balance={"A": spendable})).then_refuses(
        ConditionFailed, would_be_minor=left
    )
    holding.when(captured("H", 0, reference="taken")).then_refuses(ReferenceConflict)
    assert holding.when(deposited("A", 1, entry_id="e")).error is None
    assert holding.when(withdrawn("A", 1)).error is None
    version += 2
    holding.when(captured("H", 0, entry_id="e")).then_refuses(EntryExists)
    fine = BalanceCondition(available=Bounds(eq=left))
    met = captured("H", 0, if_version={"A": version}, if_balance={"A": fine})
    assert holding.when(met).error is None


def test_a_capture_never_exceeds_its_hold() -> None:
    """One minor unit more is refused, even where the money is there, even by force."""
    holding = bank(held("A", "B", 60))
    holding.when(captured("H", 61)).then_refuses(ExceedsHold, hold_id="H", remaining_minor="60")
    holding.when(captured("H", 61, force=True)).then_refuses(ExceedsHold)


def test_a_capture_needs_no_room_that_its_hold_did_not_have() -> None:
    """Limits that were lowered since do not stand in the way of what was reserved before."""
    books = (
        bank(SetLimit(account_id="B", limit="0", ceiling="60"), held("A", "B", 60))
        .when(SetLimit(account_id="A", limit="-90"))
        .books
    )
    books = Given(books).when(SetLimit(account_id="B", limit="-500", ceiling="10")).books
    Given(books).when(transfer("A", "R", 1)).then_refuses(InsufficientFunds)
    assert Given(books).when(captured("H")).error is None


def test_a_capture_respects_blocks_and_the_period() -> None:
    """A hold does not carry money past a freeze, nor into a closed period."""
    frozen = FreezeAccount(account_id="B", cause="court", effect="credit")
    bank(held("A", "B", 60), frozen).when(captured("H")).then_refuses(
        AccountIsBlocked, account_id="B"
    )
    bank(held("A", "B", 60), ClosePeriod(through=YESTERDAY)).when(
        captured("H", value_date=YESTERDAY)
    ).then_refuses(PeriodIsClosed)


def test_freeing_needs_no_open_sides() -> None:
    """A hold on a frozen account can be voided: nothing moves."""
    frozen = FreezeAccount(account_id="A", cause="court")
    assert bank(held("A", "B", 60), frozen).when(voided("H")).error is None
    assert bank(held("A", "B", 60), frozen).when(captured("H", 0)).error is None


def test_a_capture_can_be_reversed_once_and_a_hold_not_at_all() -> None:
    """A reversal undoes the entry and leaves the hold resolved."""
    holding = bank(held("A", "B", 60), captured("H", 50, entry_id="e"))
    holding.when(ReverseEntry(reverses="H")).then_refuses(NotReversible, hold_id="H")
    books = holding.when(ReverseEntry(reverses="e")).books
    assert books.accounts["A"].posted_minor == 100
    assert sums_of(books, "A")[1] == 0
    assert hold_of(books).status == "captured"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"hold_id": ""}, "hold_id"),
        ({"amount": "-1"}, "amount"),
        ({"amount": "half"}, "amount"),
        ({"amount": "1.0"}, "amount"),
        ({"entry_id": "jrn_1"}, "entry_id"),
        ({"description": ""}, "description"),
        ({"debit_account_id": "a\x00b"}, "debit_account_id"),
        ({"credit_account_id": ""}, "credit_account_id"),
    ],
)
def test_a_malformed_capture_is_refused(fields: dict[str, Any], field: str) -> None:
    """The field is named, before anybody looks for the hold."""
    command: Command = captured("nothing")
    for name, value in fields.items():
        command = with_field(command, name, value)
    bank().when(command).then_refuses(ValidationFailed, field=field)


# Voiding, and what every resolution must say right ----------------------------------------------


def test_a_void_frees_everything() -> None:
    """Nothing is held, nothing was posted, and the reason is kept."""
    answer = bank(held("A", "B", 60)).when(voided("H", reason="changed her mind"))
    [event] = answer.events
    assert isinstance(event, HoldReleased)
    assert (event.cause, event.amount_minor, event.reason, event.due_at) == (
        "voided",
        60,
        "changed her mind",
        None,
    )
    assert sums_of(answer.books, "A") == (0, 0, 100, 0)
    assert sums_of(answer.books, "B") == (0, 0, 0, 0)
    Given(answer.books).when(voided("H")).then_refuses(
        HoldAlreadyVoided, hold_id="H", position=answer.books.position
    )
    Given(answer.books).when(captured("H")).then_refuses(HoldAlreadyVoided)


@pytest.mark.parametrize("field", ["hold_id", "debit_account_id", "credit_account_id"])
def test_a_malformed_void_is_refused(field: str) -> None:
    """What it names has the form of a name: the log is searched by it, were it refused."""
    bank().when(with_field(voided("H"), field, "a\x00b")).then_refuses(
        ValidationFailed, field=field
    )


def test_a_void_after_a_part_was_captured_frees_the_rest() -> None:
    """What was captured stays booked."""
    books = bank(held("A", "B", 60, multi_capture=True), captured("H", 40)).when(voided("H")).books
    hold = hold_of(books)
    assert (hold.status, hold.captured_minor, hold.freed_minor) == ("voided", 40, 20)
    assert sums_of(books, "B") == (0, 0, 40, 0)


@pytest.mark.parametrize("command", [captured("H"), voided("H")])
@pytest.mark.parametrize(
    "said",
    [
        {"debit_account_id": "B"},
        {"credit_account_id": "A"},
        {"currency": "JPY"},
        {"code": "fee"},
    ],
)
def test_what_is_said_of_a_hold_must_be_so(command: Command, said: dict[str, str]) -> None:
    """Saying it right is fine, saying it wrong is refused with the field's name."""
    right = {"debit_account_id": "A", "credit_account_id": "B", "currency": "EUR", "code": "rent"}
    holding = bank(held("A", "B", 60, code="rent"))
    for name, value in (right | said).items():
        command = with_field(command, name, value)
    holding.when(command).then_refuses(HoldMismatch, hold_id="H", field=next(iter(said)))
    for name, value in right.items():
        command = with_field(command, name, value)
    assert holding.when(command).error is None


def test_a_void_of_another_amount_is_refused() -> None:
    """Less is not what is held, more is not there; exactly the rest is fine."""
    holding = bank(held("A", "B", 60, multi_capture=True), captured("H", 10))
    holding.when(voided("H", amount="60")).then_refuses(
        ExceedsHold, hold_id="H", remaining_minor="50"
    )
    holding.when(voided("H", amount="49")).then_refuses(
        HoldMismatch, hold_id="H", remaining_minor="50"
    )
    assert holding.when(voided("H", amount="50")).error is None


@pytest.mark.parametrize("command", [captured("X"), voided("X")])
def test_only_holds_can_be_resolved(command: Command) -> None:
    """An unknown id, and the id of an entry."""
    bank().when(command).then_refuses(HoldNotFound, field="hold_id")
    booked = bank(transfer("A", "B", 1, entry_id="X"))
    booked.when(command).then_refuses(NotAHold, position=booked.books.position)


_DUE = START + timedelta(seconds=60)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        ({"reason": ""}, ValidationFailed),
        ({"hold_id": "nothing"}, HoldNotFound),
        ({"currency": "JPY"}, HoldMismatch),
        ({}, HoldHasExpired),
    ],
)
def test_the_order_of_checks_of_a_void(broken: dict[str, str], kind: type[LedgerError]) -> None:
    """Each check comes before all later ones: the amount is wrong too, and the hold expired."""
    after = bank(held("A", "B", 60, timeout_s=60)).at(_DUE)
    command = voided("H", amount="61")
    for name, value in broken.items():
        command = with_field(command, name, value)
    after.when(command).then_refuses(kind)


def test_an_account_with_an_open_hold_does_not_close() -> None:
    """Whichever side it is held on; once it is resolved, it closes."""
    holding = bank(held("A", "B", 60))
    holding.when(CloseAccount(account_id="B")).then_refuses(
        AccountNotEmpty, account_id="B", held_minor="60"
    )
    books = holding.when(voided("H")).books
    assert Given(books).when(CloseAccount(account_id="B")).error is None


# Expiry -----------------------------------------------------------------------------------------


def test_a_hold_expires_at_its_exact_time() -> None:
    """A microsecond before it holds, at the moment it does not; the event says when it was due."""
    holding = bank(held("A", "B", 60, timeout_s=60))
    assert fall_due(holding.books, _DUE - timedelta(microseconds=1)) == ()
    holding.when(withdrawn("A", 41)).then_refuses(InsufficientFunds)
    assert fall_due(holding.books, _DUE) == (
        HoldReleased("H", "A", "B", 60, "EUR", "expired", due_at=_DUE),
    )
    assert sums_of(holding.books, "A") == (0, 0, 100, 0)
    assert hold_of(holding.books).status == "expired"
    assert hold_of(holding.books).due_at is None
    holding.when(captured("H")).then_refuses(
        HoldHasExpired, hold_id="H", position=holding.books.position
    )
    holding.when(voided("H")).then_refuses(HoldHasExpired)


def test_an_expiry_recorded_late_counts_from_when_it_was_due() -> None:
    """The hold is resolved at its due time, however late the ledger ran."""
    late = START + timedelta(days=3)
    holding = bank(held("A", "B", 60, expires_at=_DUE)).at(late)
    assert hold_of(holding.books).resolved_at == _DUE
    assert holding.books.recorded_at == late


def test_expiry_frees_what_captures_left() -> None:
    """The rest of a hold that allows several captures; what was captured stays booked."""
    holding = bank(held("A", "B", 60, timeout_s=60, multi_capture=True), captured("H", 20)).at(_DUE)
    hold = hold_of(holding.books)
    assert (hold.status, hold.captured_minor, hold.freed_minor) == ("expired", 20, 40)
    assert sums_of(holding.books, "B") == (0, 0, 20, 0)


def test_a_resolved_hold_does_not_expire() -> None:
    """Neither one that was captured nor one that was voided."""
    holding = bank(
        held("A", "B", 10, "H", timeout_s=60),
        held("A", "B", 10, "I", timeout_s=60),
        captured("H"),
        voided("I"),
    )
    assert fall_due(holding.books, _DUE) == ()


def test_holds_expire_in_the_order_of_their_times() -> None:
    """Not in that of their placing; and time zones do not matter."""
    zone = timezone(timedelta(hours=5, minutes=30))
    holding = bank(
        held("A", "B", 10, "late", timeout_s=90),
        held("A", "B", 10, "soon", expires_at=(START + timedelta(seconds=30)).astimezone(zone)),
        held("A", "B", 10, "next", expires_at=START + timedelta(seconds=60)),
        held("A", "B", 10, "never"),
    )
    expired = fall_due(holding.books, START + timedelta(days=365))
    assert [event.hold_id for event in expired if isinstance(event, HoldReleased)] == [
        "soon",
        "next",
        "late",
    ]


def test_a_hold_placed_and_taken_back_never_falls_due() -> None:
    """An atomic batch that fails leaves no due time behind, and none is lost by it."""
    books = bank(held("A", "B", 10, "kept", timeout_s=60)).books
    savepoint = books.savepoint()
    for command in (held("A", "B", 10, timeout_s=30), voided("kept")):
        Given(books).when(command)
    books.rollback(savepoint)
    expired = fall_due(books, _DUE)
    assert [event.hold_id for event in expired if isinstance(event, HoldReleased)] == ["kept"]


def test_what_was_resolved_early_does_not_wait_for_its_time() -> None:
    """The memory of what falls due grows with what is open, not with all that ever was."""
    books = bank(held("A", "B", 10, "open", timeout_s=60)).books
    for number in range(1_500):
        for command in (held("A", "B", 10, f"H{number}", timeout_s=90), voided(f"H{number}")):
            Given(books).when(command)
        books.settle()
    assert len(books._due_order) < 1_100  # noqa: SLF001 - what nothing else shows
    (expired,) = fall_due(books, START + timedelta(days=1))
    assert isinstance(expired, HoldReleased)
    assert expired.hold_id == "open"


# Retries, and properties ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "other"),
    [
        (held("A", "B", 60), {"amount": "61"}),
        (held("A", "B", 60, timeout_s=60), {"timeout_s": 61}),
        (held("A", "B", 500, balancing="debit"), {"amount": "501"}),
        (held("A", "B", 60, if_balance={"A": BalanceCondition(posted=Bounds(gt="1"))}), {}),
        (captured("old"), {"amount": "29"}),
        (captured("old", 0), {"amount": "1"}),
        (captured("old", 30), {"amount": "all"}),
        (voided("old"), {"reason": "other"}),
    ],
)
def test_a_retry_is_known_by_its_content(command: Command, other: dict[str, object]) -> None:
    """The event tells the whole command, so that any difference is found and nothing else."""
    answer = bank(held("A", "B", 30, "old")).when(with_field(command, "key", "k"))
    [event] = answer.events
    assert commands.differing_fields(command, event, None) == ()
    for name, value in other.items():
        changed = with_field(command, name, value)
        assert commands.differing_fields(changed, event, None) == (name,)


def test_all_and_what_it_came_to_are_the_same_content() -> None:
    """A retry may name the amount that the first answer told."""
    [event] = bank(held("A", "B", 30, "old")).when(captured("old")).events
    assert commands.differing_fields(captured("old", 30), event, None) == ()


def test_the_same_moment_in_another_zone_is_the_same_content() -> None:
    """An expiry is a moment, not a text."""
    utc = held("A", "B", 60, expires_at=datetime(2026, 3, 3, 12, 0, tzinfo=UTC))
    zone = timezone(timedelta(hours=2))
    other = held("A", "B", 60, expires_at=datetime(2026, 3, 3, 14, 0, tzinfo=zone))
    [event] = bank().when(utc).events
    assert commands.differing_fields(other, event, None) == ()
    [event] = bank().when(other).events
    assert isinstance(event, HoldPlaced)
    assert event.expires_at == datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
    assert event.expires_at.tzinfo is UTC
    assert holds.whole_of(held("A", "B", 7)) == HoldPlaced("A", "B", 7, "EUR")


_steps = st.lists(
    st.one_of(
        st.builds(captured, st.sampled_from("HI"), st.integers(0, 70) | st.just("all")),
        st.builds(voided, st.sampled_from("HI")),
        st.just(None),
    ),
    max_size=8,
)


@draw(steps=_steps, multi_capture=st.booleans())
def test_what_is_held_is_what_open_holds_hold(
    steps: list[Command | None], *, multi_capture: bool
) -> None:
    """After any captures, voids and expiry: no more than the amount, and sums that fit exactly."""
    books = bank(
        held("A", "B", 60, "H", multi_capture=multi_capture, timeout_s=60),
        held("A", "R", 40, "I", multi_capture=True),
    ).books
    for step in steps:
        if step is None:
            fall_due(books, _DUE)
        else:
            Given(books).when(step)
        pair = [hold_of(books, name) for name in "HI"]
        for hold in pair:
            assert hold.captured_minor + hold.freed_minor <= hold.amount_minor
            assert (hold.remaining_minor > 0) == (hold.status == "open")
        assert sums_of(books, "A") == (
            sum(hold.captured_minor for hold in pair),
            sum(hold.remaining_minor for hold in pair),
            100,
            0,
        )
        assert sums_of(books, "B") == (0, 0, pair[0].captured_minor, pair[0].remaining_minor)


def test_a_hold_keeps_all_that_was_said_of_it() -> None:
    """Whoever looks it up sees when it was placed, what for, and which event was the last."""
    command = held(
        "A",
        "B",
        30,
        reference="r",
        description="d",
        metadata={"n": "v"},
        code="c",
        multi_capture=True,
        timeout_s=60,
    )
    case = bank()
    position = case.books.position + 1
    placed = Hold(
        hold_id="H",
        position=position,
        debit_account_id="A",
        credit_account_id="B",
        amount_minor=30,
        currency="EUR",
        placed_at=START,
        last_position=position,
        status="open",
        captured_minor=0,
        freed_minor=0,
        expires_at=SOON,
        multi_capture=True,
        resolved_at=None,
        reference="r",
        description="d",
        metadata={"n": "v"},
        code="c",
    )
    assert hold_of(case.when(command).books) == placed
    case.books.recorded_at = START + timedelta(seconds=9)
    assert hold_of(case.when(captured("H", 10)).books) == msgspec.structs.replace(
        placed, captured_minor=10, last_position=position + 1
    )
    assert hold_of(case.when(voided("H")).books) == msgspec.structs.replace(
        placed,
        captured_minor=10,
        freed_minor=20,
        status="voided",
        resolved_at=START + timedelta(seconds=9),
        last_position=position + 2,
    )
    (released,) = bank(command).when(voided("H")).events
    assert isinstance(released, HoldReleased)
    assert (released.amount_minor, released.currency) == (30, "EUR")
    nameless = case.when(held("A", "B", 1, hold_id=None)).books
    assert hold_of(nameless, f"hld_{nameless.position}").hold_id == f"hld_{nameless.position}"


def test_what_was_freed_adds_up() -> None:
    """By captures and by releases alike."""
    hold = Hold("H", 1, "A", "B", 30, "EUR", START, 1, captured_minor=4, freed_minor=2)
    legs = Posting("A", "debit", 5, "EUR"), Posting("B", "credit", 5, "EUR")
    capture = JournalEntryPosted("capture", legs, hold_id="H", freed_minor=3)
    after = holds.evolve(hold, capture, 2, START)
    assert (after.captured_minor, after.freed_minor, after.remaining_minor) == (9, 5, 16)
    released = HoldReleased("H", "A", "B", 16, "EUR", "voided")
    after = holds.evolve(hold, released, 2, START)
    assert (after.captured_minor, after.freed_minor, after.status) == (4, 18, "open")
    assert holds.ids(capture, 2) == ("H",)
    assert holds.ids(msgspec.structs.replace(capture, hold_id=None), 2) == ()


def test_an_event_on_a_hold_that_was_never_placed_is_damage() -> None:
    """The fold stops instead of making one up."""
    released = HoldReleased("H", "A", "B", 1, "EUR", "voided")
    with pytest.raises(ValueError, match="never placed"):
        holds.evolve(None, released, 9, START)
