"""Commands: told apart field by field, read from one JSON form, each with its decider."""

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from tests.rules.harness import captured, deposited, given, held, opened, voided, with_field

from ledger_core import commands
from ledger_core.access_roles import RetireRole, SetRole
from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.approval_policies import SetApprovalPolicy
from ledger_core.approvals import ApprovalRequested, ApproveRequest, RejectRequest, WithdrawRequest
from ledger_core.bank_statements import RecordStatement
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.books import Caller, Event
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import (
    ChangeProfile,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    EraseCustomer,
    RegisterCustomer,
)
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.exchanges import Exchange
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.periods import ClosePeriod, ReopenPeriod
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import SetRiskRule
from ledger_core.schedules import Schedule
from ledger_core.standing_orders import CancelOrder, ChangeOrder, CreateOrder
from ledger_core.template import Parameter, TemplateLine
from ledger_core.template_amounts import NamedAmount, ParameterAmount
from ledger_core.templates import DefineTemplate, PostTemplate, RetireTemplate
from ledger_core.transfers import Transfer
from ledger_core.units import RegisterUnit

ANN = RegisterCustomer(customer_id="ann", profile={"name": "Ann"})
BOOKED: dict[str, Any] = {
    "value_date": date(2026, 1, 2),
    "entry_id": "e",
    "reference": "r",
    "description": "d",
    "metadata": {"n": "v"},
    "code": "c",
    "if_version": {"A": 2},
    "if_balance": {"A": BalanceCondition(posted=Bounds(gte="0"))},
}
LINES = (
    PostingLine(account_id="A", side="debit", amount="5", currency="EUR"),
    PostingLine(account_id="B", side="credit", amount="5", currency="EUR"),
)
BANK: tuple[Command, ...] = (ANN, opened("A"), opened("B"), deposited("A", 9, entry_id="first"))
GROUPED: tuple[Command, ...] = (
    *BANK,
    CreateGroup(group_id="g", name="n", currency="EUR"),
    AddToGroup(group_id="g", account_id="A"),
)
HELD: tuple[Command, ...] = (*BANK, held("A", "B", 5, "h", code="c"))
AS_HELD: dict[str, Any] = {"debit_account_id": "A", "credit_account_id": "B", "currency": "EUR"}
RESERVED = {name: value for name, value in BOOKED.items() if name not in ("value_date", "entry_id")}
CLOSED = ClosePeriod(through=date(2026, 2, 28))
PAY = Transfer(debit_account_id="A", credit_account_id="B", amount="5", currency="EUR")
ORDERED: tuple[Command, ...] = (
    *BANK,
    CreateOrder(
        order_id="o", schedule=Schedule(first_date=date(2026, 3, 2), unit="week"), command=PAY
    ),
)

ASKED: tuple[Command, ...] = (
    *BANK,
    RequestApproval(key="q", command=PAY, approvers=("ops", "risk"), request_id="q"),
)
CHECKER = Caller("key:bob", "bob", frozenset({"ops"}))
"""Who approves and rejects: not the maker."""
FEE = DefineTemplate(
    name="fee",
    parameters=(
        Parameter(name="payer", kind="account"),
        Parameter(name="fee", kind="amount", description="d"),
    ),
    postings=(
        TemplateLine(side="debit", account_parameter="payer", amount=ParameterAmount(name="fee")),
        TemplateLine(side="credit", account_id="B", amount=NamedAmount(name="all")),
    ),
    amounts={"all": ParameterAmount(name="fee")},
    description="d",
)
CHARGE: dict[str, Any] = {"template": "fee", "currency": "EUR", "accounts": {"payer": "A"}}
SPLIT: dict[str, Any] = {
    "currency": "EUR",
    "sources": (Source(account_id="A", max="7"), Source(inner=(Source(account_id="A"),))),
    "destinations": (Destination(account_id="B", share="50%"), Destination(kept=True)),
}
DOLLARS: tuple[Command, ...] = (*BANK, opened("D", currency="USD"))
SALE: dict[str, Any] = {
    "debit_account_id": "A",
    "credit_account_id": "D",
    "amount": "5",
    "currency": "EUR",
    "counter_currency": "USD",
}

COMMANDS: tuple[tuple[tuple[Command, ...], Command], ...] = (
    (BANK, Transfer(debit_account_id="A", credit_account_id="B", amount="5", currency="EUR")),
    (
        BANK,
        Transfer(debit_account_id="A", credit_account_id="B", amount="5", currency="EUR", **BOOKED),
    ),
    (BANK, Deposit(account_id="A", amount="5", currency="EUR")),
    (BANK, Deposit(account_id="A", amount="5", currency="EUR", channel="card", **BOOKED)),
    (BANK, Deposit(account_id="A", amount="5", currency="EUR", channel="card")),
    (BANK, Withdraw(account_id="A", amount="5", currency="EUR")),
    (BANK, Withdraw(account_id="A", amount="5", currency="EUR", channel="atm")),
    (BANK, Withdraw(account_id="A", amount="5", currency="EUR", channel="atm", **BOOKED)),
    (BANK, PostEntry(postings=LINES)),
    (BANK, PostEntry(postings=LINES, **BOOKED)),
    (BANK, ReverseEntry(reverses="first")),
    (BANK, ReverseEntry(reverses="first", force=True, **BOOKED)),
    (BANK, ReverseEntry(reverses="first", on_original_date=True)),
    (BANK, held("A", "B", 5, hold_id=None)),
    (BANK, held("A", "B", 5, "h", timeout_s=60, multi_capture=True, balancing="debit", **RESERVED)),
    (BANK, held("A", "B", 5, "h", expires_at=datetime(2026, 3, 9, tzinfo=UTC))),
    (HELD, captured("h")),
    (HELD, captured("h", 0)),
    (HELD, captured("h", 3, **AS_HELD, **{**BOOKED, "if_version": {"A": 3}})),
    (HELD, voided("h")),
    (HELD, voided("h", amount="5", reason="r", **AS_HELD)),
    (BANK, Allocate(amount="all", **SPLIT)),
    (BANK, Allocate(amount="5", rounding="first", **SPLIT, **BOOKED)),
    ((*BANK, FEE), PostTemplate(amounts={"fee": "5"}, **CHARGE)),
    ((*BANK, FEE), PostTemplate(amounts={"fee": "5"}, version=1, **CHARGE, **BOOKED)),
    (DOLLARS, Exchange(rate="1.0842", **SALE)),
    (DOLLARS, Exchange(rate="1", counter_amount="6", rounding="up", **SALE, **BOOKED)),
    (BANK, OpenAccount(currency="EUR")),
    (BANK, OpenAccount(currency="EUR", account_type="asset")),
    (BANK, OpenAccount(currency="EUR", limit=None)),
    (
        BANK,
        OpenAccount(
            account_id="X",
            account_type="equity",
            currency="JPY",
            limit="7",
            code="1",
            name="n",
            customer_id="ann",
            metadata={},
            ceiling="9",
        ),
    ),
    (BANK, SetLimit(account_id="A", limit="7", reason="r")),
    (BANK, SetLimit(account_id="A", limit="-7", ceiling=None, effective_date=date(2026, 3, 2))),
    (BANK, SetLimit(account_id="A", limit="7", ceiling="9", effective_date=date(2026, 3, 9))),
    (BANK, SetLimit(account_id="A", limit=None)),
    (BANK, FreezeAccount(account_id="A", cause="c", effect="debit", reason="r")),
    (
        (
            *BANK,
            FreezeAccount(account_id="A", cause="c"),
            FreezeAccount(account_id="A", cause="c", effect="debit"),
        ),
        UnfreezeAccount(account_id="A", cause="c"),
    ),
    (
        (*BANK, FreezeAccount(account_id="A", cause="c")),
        UnfreezeAccount(account_id="A", cause="c", effect="full", reason="r"),
    ),
    (BANK, CloseAccount(account_id="B", reason="r")),
    ((*BANK, CloseAccount(account_id="B")), ReopenAccount(account_id="B", reason="r")),
    (BANK, LinkCustomer(account_id="A", customer_id="ann", role="joint")),
    (
        (*BANK, LinkCustomer(account_id="A", customer_id="ann", role="joint")),
        UnlinkCustomer(account_id="A", customer_id="ann", role="joint", reason="r"),
    ),
    (BANK, CreateGroup(name="n", currency="EUR")),
    (
        BANK,
        CreateGroup(group_id="h", name="n", currency="EUR", side="debit", limit="7", ceiling="9"),
    ),
    (GROUPED, SetGroupLimit(group_id="g", limit=None, ceiling="9", reason="r")),
    (GROUPED, SetGroupLimit(group_id="g", limit="7")),
    (GROUPED, AddToGroup(group_id="g", account_id="B")),
    (GROUPED, RemoveFromGroup(group_id="g", account_id="A", reason="r")),
    (BANK, ClosePeriod(through=date(2026, 1, 31))),
    (BANK, ClosePeriod(through=date(2026, 1, 31), late_posting="next_open", reason="r")),
    ((*BANK, CLOSED), ReopenPeriod(after=date(2026, 1, 15), reason="r")),
    ((*BANK, CLOSED), ReopenPeriod(after=None)),
    (BANK, RegisterCustomer(profile={"name": "Ben", "phone": "1", "segment": "s"})),
    (BANK, RegisterCustomer(customer_id="ben", profile={"name": "Ben"})),
    (
        BANK,
        ChangeProfile(
            customer_id="ann", changes={"phone": "1", "email": None, "segment": "s"}, reason="r"
        ),
    ),
    (BANK, EraseCustomer(customer_id="ann", reason="r")),
    (BANK, CreateOrder(schedule=Schedule(first_date=date(2026, 3, 2), unit="once"), command=PAY)),
    (
        BANK,
        CreateOrder(
            order_id="o",
            name="n",
            schedule=Schedule(first_date=date(2026, 3, 2), unit="week", interval=2, count=3),
            command=PAY,
        ),
    ),
    (ORDERED, ChangeOrder(order_id="o", amount="7")),
    (
        ORDERED,
        ChangeOrder(
            order_id="o",
            from_date=date(2026, 3, 9),
            command=with_field(PAY, "description", "d"),
            schedule=Schedule(first_date=date(2026, 3, 9), unit="month", adjust="following"),
            reason="r",
        ),
    ),
    (ORDERED, CancelOrder(order_id="o", reason="r")),
    (BANK, FEE),
    (BANK, with_field(with_field(FEE, "description", None), "name", "f")),
    ((*BANK, FEE), RetireTemplate(template="fee", reason="r")),
    (BANK, RegisterUnit(code="PTS", scale=3, name="n")),
    (BANK, SetRiskRule(rule="velocity", parameters={"count": 3}, enabled=False)),
    (BANK, SetApprovalPolicy(policy_id="p", commands=("transfer",), approvers=("ops",))),
    (
        BANK,
        SetApprovalPolicy(
            policy_id="p",
            commands=("transfer", "deposit"),
            approvers=("ops", "risk"),
            currency="EUR",
            above="7",
            enabled=False,
        ),
    ),
    (BANK, SetRole(name="cashier", permissions=("accounts.read",))),
    (
        BANK,
        SetRole(
            name="cashier",
            permissions=("accounts.*", "movements.post"),
            amount_max={"EUR": "5"},
            personal={"name": "clear"},
            personal_default="hidden",
            reason_for=("accounts.read",),
            step_up_for=("movements.post",),
            description="d",
        ),
    ),
    (BANK, RetireRole(name="teller", reason="r")),
    (BANK, RequestApproval(command=PAY, approvers=("ops",))),
    (
        BANK,
        RequestApproval(
            command=RegisterCustomer(profile={"name": "Ben", "language": "en"}),
            approvers=("ops", "risk"),
            request_id="q",
        ),
    ),
    (ASKED, ApproveRequest(request_id="q")),
    (ASKED, RejectRequest(request_id="q", reason="r")),
    (ASKED, WithdrawRequest(request_id="q", reason="r")),
    (
        BANK,
        RecordStatement(
            account_id="A",
            statement_id="s",
            currency="EUR",
            opening="-1",
            closing="0",
            opening_date=date(2026, 1, 1),
            closing_date=date(2026, 1, 2),
            entry_count=1,
        ),
    ),
)
"""Every type of command, bare and with every field, on books that take it."""

OTHER: dict[str, object] = {
    "debit_account_id": "Z",
    "credit_account_id": "Z",
    "account_id": "Z",
    "amount": "6",
    "currency": "TND",
    "value_date": date(2020, 1, 1),
    "entry_id": "z",
    "reference": "z",
    "description": "z",
    "metadata": {"z": "z"},
    "channel": "clearing",
    "postings": LINES[::-1],
    "reverses": "z",
    "account_type": "income",
    "limit": "99",
    "ceiling": "99",
    "if_version": {"Z": 9},
    "if_balance": {"Z": BalanceCondition(available=Bounds(lt="9"))},
    "balancing": "credit",
    "effective_date": date(2026, 3, 30),
    "group_id": "z",
    "side": "z",
    "through": date(2020, 1, 1),
    "after": date(2020, 1, 1),
    "late_posting": "refuse",
    "code": "z",
    "name": "z",
    "customer_id": "z",
    "reason": "z",
    "cause": "z",
    "effect": "credit",
    "role": "authorised",
    "profile": {"name": "Z"},
    "changes": {"phone": "9"},
    "scale": 9,
    "rule": "structuring",
    "parameters": {"days": 9},
    "statement_id": "z",
    "opening": "9",
    "closing": "9",
    "opening_date": date(2020, 1, 1),
    "closing_date": date(2020, 1, 1),
    "entry_count": 9,
    "permissions": ("z.z",),
    "amount_max": {"EUR": "9"},
    "personal": {"phone": "clear"},
    "personal_default": "clear",
    "reason_for": ("z.z",),
    "step_up_for": ("z.z",),
    "policy_id": "z",
    "commands": ("withdraw",),
    "approvers": ("z",),
    "above": "9",
    "request_id": "z",
    "order_id": "z",
    "schedule": Schedule(first_date=date(2026, 3, 30), unit="day"),
    "command": with_field(PAY, "amount", "9"),
    "from_date": date(2026, 3, 30),
    "sources": (Source(account_id="Z"),),
    "destinations": (Destination(account_id="Z"),),
    "rounding": "down",
    "template": "z",
    "version": 9,
    "accounts": {"payer": "Z"},
    "amounts": {"fee": "9"},
    "hold_id": "z",
    "expires_at": datetime(2026, 3, 30, tzinfo=UTC),
    "timeout_s": 9,
    "counter_currency": "TND",
    "counter_amount": "9",
    "rate": "9",
}
"""For every field a value that no command above has; flags are turned round."""


def _answer(happened: tuple[Command, ...], command: Command) -> Event:
    """The event under which the command's key is kept."""
    bank = given(*happened)
    if isinstance(command, ApproveRequest | RejectRequest):
        bank.books.caller = CHECKER
    answer = bank.when(command)
    assert answer.error is None, answer.error
    return answer.events[-1]


def _unsealed(event: Event) -> dict[str, str] | None:
    """The event's personal data in clear, as the vault would give it."""
    if isinstance(event, CustomerRegistered | CustomerProfileChanged | ApprovalRequested):
        return {name: text[::-1] for name, text in event.sealed.items()}
    return None


def test_every_type_of_command_is_here() -> None:
    """A new command is added to these tests, too."""
    assert {type(command) for _, command in COMMANDS} == set(commands.types())


@pytest.mark.parametrize(
    ("happened", "command"), COMMANDS, ids=[type(command).__name__ for _, command in COMMANDS]
)
def test_a_retry_differs_in_nothing_and_a_change_in_its_field(
    happened: tuple[Command, ...], command: Command
) -> None:
    """The key is not content; every other field is, and is named alone."""
    event = _answer(happened, command)
    _require_told_apart(command, event, _unsealed(event))


@pytest.mark.parametrize(
    "command",
    [command for _, command in COMMANDS if type(command) in commands.wire_types()],
    ids=lambda command: type(command).__name__,
)
def test_what_changed_nothing_is_told_apart_alike(command: Command) -> None:
    """Its event keeps the command itself."""
    _require_told_apart(command, commands.nothing_changed(command), None)


def _require_told_apart(command: Command, event: Event, unsealed: dict[str, str] | None) -> None:
    """A retry differs from what the event answered in nothing, another command in its field."""
    assert commands.differing_fields(command, event, unsealed) == ()
    assert commands.differing_fields(with_field(command, "key", "k2"), event, unsealed) == ()
    for name in command.__struct_fields__:
        if name == "key":
            continue
        value = getattr(command, name)
        other = with_field(command, name, not value if isinstance(value, bool) else OTHER[name])
        if name == "account_type" and isinstance(command, OpenAccount):
            continue  # The default limit depends on it: see below.
        assert commands.differing_fields(other, event, unsealed) == (name,)


def test_a_limit_left_out_is_the_one_that_leaving_it_out_means() -> None:
    """Spelled out or not, it is the same command."""
    event = _answer((), OpenAccount(currency="EUR"))
    assert commands.differing_fields(OpenAccount(currency="EUR", limit="0"), event, None) == ()
    asset = OpenAccount(currency="EUR", account_type="asset")
    assert commands.differing_fields(asset, event, None) == ("account_type", "limit")
    asset = with_field(asset, "limit", "0")
    assert commands.differing_fields(asset, event, None) == ("account_type",)


def test_another_type_differs_in_its_type() -> None:
    """Whatever else they may have in common; but a command may be sent that waits already."""
    for happened, command in COMMANDS:
        event = _answer(happened, command)
        waits = command.command if isinstance(command, RequestApproval) else command
        for _, other in COMMANDS:
            if type(other) not in {type(command), type(waits)}:
                found = commands.differing_fields(other, event, _unsealed(event))
                assert found == ("type",)
                assert commands.differing_fields(other, event, None) == ("type",)


def test_a_command_that_waits_may_be_sent_itself() -> None:
    """It is the same as what asked for it; what a policy let wait was never asked for."""
    asked = RequestApproval(command=PAY, approvers=("ops",), request_id="q")
    event = _answer(BANK, asked)
    assert isinstance(event, ApprovalRequested)
    demanded = msgspec.structs.replace(event, asked=None)
    other = with_field(PAY, "amount", "6")
    for first in (event, demanded):
        assert commands.differing_fields(PAY, first, {}) == ()
        assert commands.differing_fields(other, first, {}) == ("amount",)
    assert commands.differing_fields(asked, event, {}) == ()
    other_request = with_field(asked, "command", other)
    assert commands.differing_fields(other_request, event, {}) == ("command",)
    assert commands.differing_fields(asked, demanded, {}) == ("type",)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (RegisterCustomer(profile={"name": "Ben", "phone": "1", "segment": "s"}), "profile"),
        (
            ChangeProfile(
                customer_id="ann", changes={"name": "Ben", "phone": "1", "segment": "s"}, reason="r"
            ),
            "changes",
        ),
    ],
    ids=["profile", "changes"],
)
def test_of_a_forgotten_person_who_waits_only_what_is_public_is_compared(
    command: RegisterCustomer | ChangeProfile, field: str
) -> None:
    """In what asked for it as in what waits; and with what was sealed in clear, all of it."""
    event = _answer(BANK, RequestApproval(command=command, approvers=("ops",)))
    clear = {"name": "Ben", "phone": "1"}
    for values, forgotten, readable in (
        ({"name": "Ben", "phone": "1", "segment": "s"}, True, True),
        ({"name": "Someone", "phone": "2", "segment": "s"}, True, False),
        ({"name": "Ben", "phone": "1", "segment": "t"}, False, False),
        ({"name": "Ben", "segment": "s"}, False, False),
        ({"name": "Ben", "phone": "1", "segment": "s", "email": "e"}, False, False),
    ):
        other = with_field(command, field, values)
        request = RequestApproval(command=other, approvers=("ops",))
        for unsealed, same in ((None, forgotten), (clear, readable)):
            found = commands.differing_fields(other, event, unsealed)
            assert found == (() if same else (field,))
            found = commands.differing_fields(request, event, unsealed)
            assert found == (() if same else ("command",))


def test_of_a_forgotten_person_only_what_is_public_is_compared() -> None:
    """Nobody can read what was sealed, so a retry is taken at its word for it."""
    register = RegisterCustomer(profile={"name": "Ben", "phone": "1", "segment": "s"})
    event = _answer((), register)
    for profile, expected in (
        ({"name": "Ben", "phone": "1", "segment": "s"}, ()),
        ({"name": "Someone", "phone": "2", "segment": "s"}, ()),
        ({"name": "Ben", "phone": "1", "segment": "t"}, ("profile",)),
        ({"name": "Ben", "segment": "s"}, ("profile",)),
        ({"name": "Ben", "phone": "1", "segment": "s", "email": "e"}, ("profile",)),
    ):
        other = RegisterCustomer(profile=profile)
        assert commands.differing_fields(other, event, None) == expected
    change = ChangeProfile(customer_id="ann", changes={"phone": "1", "email": None}, reason="r")
    event = _answer(BANK, change)
    assert commands.differing_fields(change, event, None) == ()
    for changes in ({"phone": None, "email": None}, {"phone": "1", "email": "e"}):
        other_change = with_field(change, "changes", changes)
        assert commands.differing_fields(other_change, event, None) == ("changes",)


@pytest.mark.parametrize(
    "command", [command for _, command in COMMANDS], ids=lambda command: type(command).__name__
)
def test_a_command_is_one_json_object(command: Command) -> None:
    """What is read is what was written; an unknown field is refused."""
    data = msgspec.json.encode(with_field(command, "key", "k"))
    assert msgspec.json.decode(data, type=Command) == with_field(command, "key", "k")
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(data[:-1] + b',"colour":"red"}', type=Command)


def test_an_erasure_is_answered_by_its_event() -> None:
    """The subject is the ledger's own and no content of the command."""
    event = CustomerErased("ann", "sub_9", "r")
    command = EraseCustomer(customer_id="ann", reason="r")
    assert commands.differing_fields(command, event, None) == ()


def test_what_callers_may_send_is_everything_but_what_an_import_says() -> None:
    """That a statement is complete is for imports to say."""
    assert set(commands.types()) - set(commands.wire_types()) == {RecordStatement}
    assert set(commands.wire_types()) < set(commands.types())


def test_a_command_that_changed_nothing_is_kept_without_its_key() -> None:
    """The key is the event's own."""
    event = commands.nothing_changed(CloseAccount(key="k", account_id="A"))
    assert event.command == {"type": "close_account", "key": "", "account_id": "A", "reason": None}
