"""What a command needs to have loaded, by type: what it does not ask for, its decision cannot see.

An account that was not asked for would not be found; an id or reference that was not asked for
would be free though it is taken. Accounts of holds, entries and groups are found by those.
"""

from datetime import date
from typing import Any

import pytest
from tests.rules.harness import captured, given, held, opened, voided
from tests.rules.test_commands import FEE, LINES, PAY

from ledger_core import transfers
from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.approvals import ApproveRequest, RejectRequest, WithdrawRequest
from ledger_core.bank_statements import RecordStatement
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.books import Wants
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry
from ledger_core.exchanges import Exchange
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.periods import ClosePeriod, ReopenPeriod
from ledger_core.reversals import ReverseEntry
from ledger_core.schedules import Schedule
from ledger_core.standing_orders import CancelOrder, ChangeOrder, CreateOrder, RunOrder
from ledger_core.templates import PostTemplate, RetireTemplate
from ledger_core.transfers import Transfer

CONDITIONS: dict[str, Any] = {
    "if_version": {"V": 1},
    "if_balance": {"W": BalanceCondition(posted=Bounds(gte="0"))},
}
NAMED: dict[str, Any] = {"entry_id": "e", "reference": "r", **CONDITIONS}
BOTH: dict[str, Any] = {"debit_account_id": "A", "credit_account_id": "B"}
DAY = date(2026, 3, 9)
WEEKLY = Schedule(first_date=DAY, unit="week")
AS_ENTRY: dict[str, Any] = {"entries": {"e"}, "references": {"r"}, "kept": {("hold", "e")}}
"""What every command asks for that names its entry: ids are those of entries and holds alike."""

NEEDS: tuple[tuple[Command, dict[str, Any]], ...] = (
    (Transfer(amount="5", currency="EUR", **BOTH), {"accounts": {"A", "B"}}),
    (
        Transfer(amount="5", currency="EUR", **BOTH, **NAMED),
        {"accounts": {"A", "B", "V", "W"}, **AS_ENTRY},
    ),
    (
        Deposit(account_id="A", amount="5", currency="EUR", channel="card", **NAMED),
        {"accounts": {"A", "bank:card:EUR", "V", "W"}, **AS_ENTRY},
    ),
    (
        Withdraw(account_id="A", amount="5", currency="JPY", **NAMED),
        {"accounts": {"A", "bank:counter:JPY", "V", "W"}, **AS_ENTRY},
    ),
    (PostEntry(postings=LINES, **NAMED), {"accounts": {"A", "B", "V", "W"}, **AS_ENTRY}),
    (ReverseEntry(reverses="x"), {"entries": {"x"}, "kept": {("hold", "x")}}),
    (
        ReverseEntry(reverses="x", **NAMED),
        {
            "accounts": {"V", "W"},
            "entries": {"x", "e"},
            "references": {"r"},
            "kept": {("hold", "x"), ("hold", "e")},
        },
    ),
    (held("A", "B", 5, hold_id=None), {"accounts": {"A", "B"}}),
    (
        held("A", "B", 5, "h", reference="r", **CONDITIONS),
        {
            "accounts": {"A", "B", "V", "W"},
            "entries": {"h"},
            "references": {"r"},
            "kept": {("hold", "h")},
        },
    ),
    (captured("h"), {"entries": {"h"}, "kept": {("hold", "h")}}),
    (
        captured("h", **NAMED),
        {
            "accounts": {"V", "W"},
            "entries": {"h", "e"},
            "references": {"r"},
            "kept": {("hold", "h"), ("hold", "e")},
        },
    ),
    (voided("h"), {"entries": {"h"}, "kept": {("hold", "h")}}),
    (
        Allocate(
            amount="5",
            currency="EUR",
            sources=(Source(account_id="A"), Source(inner=(Source(account_id="C"),))),
            destinations=(
                Destination(inner=(Destination(account_id="D"), Destination(kept=True))),
                Destination(account_id="B"),
            ),
            **NAMED,
        ),
        {"accounts": {"A", "B", "C", "D", "V", "W"}, **AS_ENTRY},
    ),
    (
        PostTemplate(template="t", currency="EUR", accounts={"x": "A", "y": "B"}, **NAMED),
        {
            "accounts": {"A", "B", "V", "W"},
            "entries": {"e"},
            "references": {"r"},
            "kept": {("hold", "e"), ("template", "t")},
        },
    ),
    (PostTemplate(template="t", currency="EUR"), {"kept": {("template", "t")}}),
    (
        Exchange(amount="5", currency="EUR", counter_currency="USD", **BOTH, **NAMED),
        {
            "accounts": {"A", "B", "bank:position:EUR", "bank:position:USD", "V", "W"},
            **AS_ENTRY,
        },
    ),
    (OpenAccount(currency="EUR"), {}),
    (
        OpenAccount(account_id="A", currency="EUR", customer_id="ann"),
        {"accounts": {"A"}, "customers": {"ann"}},
    ),
    (SetLimit(account_id="A", limit="7"), {"accounts": {"A"}}),
    (
        SetLimit(account_id="A", limit="7", effective_date=DAY),
        {"accounts": {"A"}, "kept": {("limit_change", "A:2026-03-09")}},
    ),
    (FreezeAccount(account_id="A", cause="c"), {"accounts": {"A"}}),
    (UnfreezeAccount(account_id="A", cause="c"), {"accounts": {"A"}}),
    (CloseAccount(account_id="A"), {"accounts": {"A"}}),
    (ReopenAccount(account_id="A", reason="r"), {"accounts": {"A"}}),
    (
        LinkCustomer(account_id="A", customer_id="ann"),
        {"accounts": {"A"}, "customers": {"ann"}},
    ),
    (UnlinkCustomer(account_id="A", customer_id="ann"), {"accounts": {"A"}}),
    (CreateGroup(name="n", currency="EUR"), {}),
    (CreateGroup(group_id="g", name="n", currency="EUR"), {"kept": {("group", "g")}}),
    (SetGroupLimit(group_id="g", limit="7"), {"kept": {("group", "g")}}),
    (
        AddToGroup(group_id="g", account_id="A"),
        {"accounts": {"A"}, "kept": {("group", "g")}},
    ),
    (
        RemoveFromGroup(group_id="g", account_id="A", reason="r"),
        {"accounts": {"A"}, "kept": {("group", "g")}},
    ),
    (ClosePeriod(through=DAY), {}),
    (ReopenPeriod(after=DAY), {}),
    (RegisterCustomer(profile={"name": "Ben"}), {}),
    (RegisterCustomer(customer_id="ben", profile={"name": "Ben"}), {"customers": {"ben"}}),
    (ChangeProfile(customer_id="ann", changes={"phone": "1"}, reason="r"), {"customers": {"ann"}}),
    (EraseCustomer(customer_id="ann", reason="r"), {"customers": {"ann"}}),
    (CreateOrder(schedule=WEEKLY, command=PAY), {"accounts": {"A", "B"}}),
    (
        CreateOrder(order_id="o", schedule=WEEKLY, command=PAY),
        {"accounts": {"A", "B"}, "kept": {("order", "o")}},
    ),
    (ChangeOrder(order_id="o", amount="7"), {"kept": {("order", "o")}}),
    (
        ChangeOrder(order_id="o", command=PAY),
        {"accounts": {"A", "B"}, "kept": {("order", "o")}},
    ),
    (CancelOrder(order_id="o"), {"kept": {("order", "o")}}),
    (
        RunOrder(order_id="o", due_date=DAY, business_date=DAY),
        {"kept": {("order", "o")}},
    ),
    (FEE, {"accounts": {"B"}, "kept": {("template", "fee")}}),
    (RetireTemplate(template="fee"), {"kept": {("template", "fee")}}),
    (RequestApproval(command=PAY, approvers=("ops",)), {"accounts": {"A", "B"}}),
    (
        RequestApproval(command=PAY, approvers=("ops",), request_id="q"),
        {"accounts": {"A", "B"}, "kept": {("approval", "q")}},
    ),
    (ApproveRequest(request_id="q"), {"kept": {("approval", "q")}}),
    (RejectRequest(request_id="q", reason="r"), {"kept": {("approval", "q")}}),
    (WithdrawRequest(request_id="q", reason="r"), {"kept": {("approval", "q")}}),
    (
        RecordStatement(
            account_id="A",
            statement_id="s",
            currency="EUR",
            opening="0",
            closing="0",
            opening_date=DAY,
            closing_date=DAY,
            entry_count=0,
        ),
        {"accounts": {"A"}},
    ),
)


@pytest.mark.parametrize(("command", "expected"), NEEDS, ids=lambda value: type(value).__name__)
def test_a_command_needs_all_that_it_names_and_no_more(
    command: Command, expected: dict[str, Any]
) -> None:
    """Accounts, customers, what is kept, and whether its ids and reference are taken."""
    wants = Wants()
    command.needs(wants)
    found = {name: getattr(wants, name) for name in Wants.__slots__}
    assert {name: names for name, names in found.items() if names} == expected


@pytest.mark.parametrize(("command", "expected"), NEEDS, ids=lambda value: type(value).__name__)
def test_what_commands_need_adds_up(command: Command, expected: dict[str, Any]) -> None:
    """One is loaded with those that wait beside it: what they asked for stays."""
    wants = Wants()
    before = {name: {("before", name)} for name in Wants.__slots__}
    for name, places in before.items():
        getattr(wants, name).update(places)
    command.needs(wants)
    found = {name: getattr(wants, name) for name in Wants.__slots__}
    assert found == {name: places | expected.get(name, set()) for name, places in before.items()}


@pytest.mark.parametrize(
    "fields",
    [{"entry_id": "e"}, {"reference": "r"}, {"if_version": {"A": 1}}, {"if_balance": {}}],
    ids=lambda fields: next(iter(fields)),
)
def test_a_transfer_that_names_more_than_accounts_is_not_at_hand(fields: dict[str, Any]) -> None:
    """What only looks at two accounts in memory needs nothing; a group would be needed, too."""
    books = given(opened("A"), opened("B")).books
    plain = Transfer(amount="5", currency="EUR", **BOTH)
    unknown = Transfer(amount="5", currency="EUR", debit_account_id="A", credit_account_id="C")
    unknown_too = Transfer(amount="5", currency="EUR", debit_account_id="C", credit_account_id="A")
    named = Transfer(amount="5", currency="EUR", **BOTH, **fields)
    other = CloseAccount(account_id="A")
    batch = [plain, unknown, named, other, unknown_too, plain]
    assert transfers.not_at_hand(books, batch) == [unknown, named, other, unknown_too]
    books.has_groups = True
    assert transfers.not_at_hand(books, batch) == batch
