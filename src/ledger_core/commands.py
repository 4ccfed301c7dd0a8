"""The registry of commands: one union for every way in, each with its decider.

A command is the JSON object that HTTP, the batch route and ``ledger load`` take alike. Adding a
capability adds one line to each table here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import msgspec

from ledger_core import (
    account_holders,
    account_terms,
    bank_statements,
    blocks,
    customers,
    deposits,
    entries,
    reversals,
    risk_rules,
    transfers,
    units,
)
from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount, SetLimit
from ledger_core.accounts import (
    AccountClosed,
    AccountHolderLinked,
    AccountHolderUnlinked,
    AccountOpened,
    AccountReopened,
    BlockLifted,
    BlockPlaced,
    LimitSet,
)
from ledger_core.bank_statements import BankStatementImported, RecordStatement
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.books import Books, Event
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer, Sealed
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry
from ledger_core.journal import JournalEntryPosted
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import RiskRuleSet, SetRiskRule
from ledger_core.transfers import Transfer
from ledger_core.unchanged import NothingChanged
from ledger_core.units import RegisterUnit, UnitRegistered

PlainCommand = (
    Transfer
    | Deposit
    | Withdraw
    | PostEntry
    | ReverseEntry
    | OpenAccount
    | SetLimit
    | FreezeAccount
    | UnfreezeAccount
    | CloseAccount
    | ReopenAccount
    | LinkCustomer
    | UnlinkCustomer
    | EraseCustomer
    | RegisterUnit
    | SetRiskRule
)
# Commands that carry personal data: the shell seals it before they are decided.
PersonalCommand = RegisterCustomer | ChangeProfile
# What a caller may send: as a request, in a batch, or as a line of a file.
WireCommand = PlainCommand | PersonalCommand
# An import also says that a statement is complete; nobody else may claim that.
Command = WireCommand | RecordStatement

_DECIDERS: Mapping[type, Callable[[Books, Any], tuple[Event, ...]]] = MappingProxyType(
    {
        Transfer: transfers.decide,
        Deposit: deposits.decide,
        Withdraw: deposits.decide,
        PostEntry: entries.decide,
        ReverseEntry: reversals.decide,
        OpenAccount: account_terms.decide_opening,
        SetLimit: account_terms.decide_limit,
        FreezeAccount: blocks.decide_freeze,
        UnfreezeAccount: blocks.decide_unfreeze,
        CloseAccount: account_terms.decide_closing,
        ReopenAccount: account_terms.decide_reopening,
        LinkCustomer: account_holders.decide_link,
        UnlinkCustomer: account_holders.decide_unlink,
        EraseCustomer: customers.decide_erasure,
        RegisterUnit: units.decide,
        SetRiskRule: risk_rules.decide,
        RecordStatement: bank_statements.decide,
    }
)

_ENTRY_COMMANDS: Mapping[str, Callable[[JournalEntryPosted], Command]] = MappingProxyType(
    {
        "transfer": transfers.command_of,
        "deposit": deposits.command_of,
        "withdrawal": deposits.command_of,
        "journal": entries.command_of,
        "reversal": reversals.command_of,
    }
)

_COMMANDS_OF: Mapping[type, Callable[[Any], Command]] = MappingProxyType(
    {
        AccountOpened: account_terms.opening_of,
        LimitSet: account_terms.limit_of,
        BlockPlaced: blocks.freeze_of,
        BlockLifted: blocks.unfreeze_of,
        AccountClosed: account_terms.closing_of,
        AccountReopened: account_terms.reopening_of,
        AccountHolderLinked: account_holders.link_of,
        AccountHolderUnlinked: account_holders.unlink_of,
        UnitRegistered: units.command_of,
        RiskRuleSet: risk_rules.command_of,
        BankStatementImported: bank_statements.command_of,
        customers.CustomerErased: customers.erasure_of,
    }
)


def _from_builtins(fields: dict[str, Any]) -> Command:
    """The command behind its plain JSON values."""
    return cast("Command", msgspec.convert(fields, WireCommand))


def types() -> tuple[type[msgspec.Struct], ...]:
    """Every command type, for the tables made from them."""
    return (*_DECIDERS, RegisterCustomer, ChangeProfile)


def wire_types() -> tuple[type[msgspec.Struct], ...]:
    """The types of the commands that a caller may send."""
    return tuple(kind for kind in types() if kind is not RecordStatement)


def nothing_changed(command: Command) -> NothingChanged:
    """The event that keeps the answer of a command which changed nothing."""
    return NothingChanged(msgspec.to_builtins(msgspec.structs.replace(command, key="")))


def decide(books: Books, command: PlainCommand | RecordStatement) -> tuple[Event, ...]:
    """The events that the command amounts to on these books; ``()`` means already so.

    Raises:
        LedgerError: the command is refused.
    """
    return _DECIDERS[type(command)](books, command)


def decide_sealed(books: Books, command: PersonalCommand, sealed: Sealed) -> tuple[Event, ...]:
    """As ``decide``, for a command whose personal data the shell has sealed.

    Raises:
        LedgerError: the command is refused.
    """
    match command:
        case RegisterCustomer():
            return customers.decide_registration(books, command, sealed)
        case ChangeProfile():
            return customers.decide_profile_change(books, command, sealed)


def differing_fields(
    command: Command, event: Event, unsealed: dict[str, str] | None
) -> tuple[str, ...]:
    """The fields in which a command differs from the one whose answer ``event`` was.

    ``unsealed`` is the event's personal data in clear; ``None`` where the person was forgotten,
    and then personal fields count as equal. An empty answer means the same content: the key alone
    is not compared.
    """
    if isinstance(event, customers.CustomerRegistered | customers.CustomerProfileChanged):
        if unsealed is None:
            unsealed = customers.as_asked(command, event)
        first: Command = customers.command_of(event, unsealed)
    elif isinstance(event, NothingChanged):
        first = _from_builtins(event.command)
    elif isinstance(event, JournalEntryPosted):
        first = _ENTRY_COMMANDS[event.kind](event)
    else:
        first = _COMMANDS_OF[type(event)](event)
    if type(first) is not type(command):
        return ("type",)
    asked: msgspec.Struct = command
    if isinstance(command, OpenAccount):
        asked = account_terms.with_default_limit(command)
    return tuple(
        name
        for name in first.__struct_fields__
        if name != "key" and getattr(asked, name) != getattr(first, name)
    )
