"""Every field of every command has a form, and what has another is refused under the field's name.

One table says which forms there are; the commands are those of ``test_commands``, each complete and
on books that take it, so that the form of the one field is all that can be wrong.
"""

import msgspec
import pytest
from tests.rules.harness import given, with_field
from tests.rules.test_commands import CHECKER, COMMANDS

from ledger_core.approvals import ApproveRequest, RejectRequest
from ledger_core.commands import Command
from ledger_core.errors import UnknownCurrency, ValidationFailed
from ledger_core.fields import (
    ACCOUNT_PREFIX,
    APPROVAL_PREFIX,
    CUSTOMER_PREFIX,
    ENTRY_PREFIX,
    GROUP_PREFIX,
    HOLD_PREFIX,
    ID_CHARACTERS_MAX,
    ORDER_PREFIX,
    SYSTEM_PREFIX,
    TEXT_CHARACTERS_MAX,
)
from ledger_core.money import AMOUNT_DIGITS_MAX

UNSEEN = "a\nb"
IDS = (UNSEEN, ".", "", " a", "a" * (ID_CHARACTERS_MAX + 1))
TEXTS = (UNSEEN, "", "a" * (TEXT_CHARACTERS_MAX + 1))
AMOUNTS = ("", "-1", "01", "1.5", "x", "9" * (AMOUNT_DIGITS_MAX + 1))
SIGNED = ("", "-", "-0", "01", "1.5", "x", "9" * (AMOUNT_DIGITS_MAX + 1))

FORMS: dict[str, tuple[object, ...]] = {
    "debit_account_id": IDS,
    "credit_account_id": IDS,
    "account_id": IDS,
    "customer_id": IDS,
    "entry_id": (*IDS, f"{ENTRY_PREFIX}1", f"{HOLD_PREFIX}1", f"{SYSTEM_PREFIX}x"),
    "reverses": IDS,
    "hold_id": IDS,
    "group_id": IDS,
    "order_id": IDS,
    "policy_id": IDS,
    "request_id": IDS,
    "cause": IDS,
    "reference": TEXTS,
    "description": TEXTS,
    "reason": TEXTS,
    "metadata": ({UNSEEN: "v"}, {"n": UNSEEN}, {"": "v"}, {str(n): "v" for n in range(21)}),
    "code": TEXTS,
    "name": TEXTS,
    "amount": AMOUNTS,
    "limit": SIGNED,
    "ceiling": SIGNED,
    "opening": SIGNED,
    "closing": SIGNED,
    "above": AMOUNTS,
    "counter_amount": (*AMOUNTS, "0"),
    "rate": ("", "0", "-1", "1.", ".5", "1e3", "x"),
    "currency": (UNSEEN, "", "a" * 65),
    "counter_currency": (UNSEEN, "", "a" * 65),
    "if_version": ({}, {"A": 0}, {UNSEEN: 1}, {str(n): 1 for n in range(21)}),
}
"""What no field of that name may be, in any command that has it."""

NEW_IDS: dict[str, str] = {
    "OpenAccount.account_id": ACCOUNT_PREFIX,
    "RegisterCustomer.customer_id": CUSTOMER_PREFIX,
    "CreateGroup.group_id": GROUP_PREFIX,
    "CreateOrder.order_id": ORDER_PREFIX,
    "RequestApproval.request_id": APPROVAL_PREFIX,
    "PlaceHold.hold_id": HOLD_PREFIX,
}
"""Ids that callers choose: none of the form that the ledger gives."""


def _cases() -> list[tuple[tuple[Command, ...], Command, str, tuple[object, ...]]]:
    """The fullest command of each type, each of its fields, and what that may not be."""
    fullest: dict[type, tuple[tuple[Command, ...], Command]] = {}
    for happened, command in COMMANDS:
        other = fullest.get(type(command))
        if other is None or _said(command) >= _said(other[1]):
            fullest[type(command)] = (happened, command)
    cases: list[tuple[tuple[Command, ...], Command, str, tuple[object, ...]]] = []
    for kind, (happened, command) in fullest.items():
        for name in command.__struct_fields__:
            bad = FORMS.get(name, ())
            prefix = NEW_IDS.get(f"{kind.__name__}.{name}")
            if prefix is not None:
                bad = (*bad, f"{prefix}1", f"{SYSTEM_PREFIX}x")
            if bad:
                cases.append((happened, command, name, bad))
    return cases


def _said(command: Command) -> int:
    """How many fields are not left out."""
    return sum(value is not None for value in msgspec.structs.astuple(command))


@pytest.mark.parametrize(
    ("happened", "command", "name", "values"),
    _cases(),
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_another_form_is_refused_under_the_fields_name(
    happened: tuple[Command, ...], command: Command, name: str, values: tuple[object, ...]
) -> None:
    """Whatever else the command says."""
    bank = given(*happened)
    if isinstance(command, ApproveRequest | RejectRequest):
        bank.books.caller = CHECKER
    for value in values:
        error = bank.when(with_field(command, name, value)).error
        if "currency" in name:
            assert type(error) is UnknownCurrency
        else:
            assert isinstance(error, ValidationFailed), value
            assert error.field == name
