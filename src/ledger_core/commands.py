"""The registry of commands: one union for every way in, each with its decider.

A command is the JSON object that HTTP, the batch route and ``ledger load`` take alike. Adding a
capability adds one line to each table here.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast, get_args

import msgspec

from ledger_core import (
    access_roles,
    account_holders,
    account_limits,
    account_terms,
    allocations,
    approval_policies,
    approvals,
    bank_statements,
    blocks,
    customers,
    deposits,
    entries,
    exchanges,
    groups,
    holds,
    periods,
    reversals,
    risk_rules,
    standing_orders,
    templates,
    transfers,
    units,
)
from ledger_core.access_role import RoleRetired, RoleSet
from ledger_core.access_roles import RetireRole, SetRole
from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_limits import LimitChangeScheduled, SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount
from ledger_core.accounts import (
    AccountClosed,
    AccountHolderLinked,
    AccountHolderUnlinked,
    AccountOpened,
    AccountReopened,
    BlockLifted,
    BlockPlaced,
    GroupMemberAdded,
    GroupMemberRemoved,
    LimitSet,
)
from ledger_core.allocations import Allocate
from ledger_core.approval_policies import ApprovalPolicySet, SetApprovalPolicy
from ledger_core.approvals import (
    ApprovalCompleted,
    ApprovalFailed,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
    ApproveRequest,
    RejectRequest,
    WithdrawRequest,
)
from ledger_core.bank_statements import BankStatementImported, RecordStatement
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.books import Books, Event, Wants
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer, Sealed
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry
from ledger_core.errors import ApprovalExists, GroupExists, HoldExists, LedgerError, OrderExists
from ledger_core.exchanges import Exchange
from ledger_core.group import GroupCreated, GroupLimitSet
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted
from ledger_core.period import PeriodClosed, PeriodReopened
from ledger_core.periods import ClosePeriod, ReopenPeriod
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import RiskRuleSet, SetRiskRule
from ledger_core.standing_order import (
    StandingOrderCancelled,
    StandingOrderChanged,
    StandingOrderCreated,
)
from ledger_core.standing_orders import CancelOrder, ChangeOrder, CreateOrder, RunOrder
from ledger_core.template import TemplateDefined, TemplateRetired
from ledger_core.templates import DefineTemplate, PostTemplate, RetireTemplate
from ledger_core.transfers import Transfer
from ledger_core.unchanged import NothingChanged
from ledger_core.units import RegisterUnit, UnitRegistered

PlainCommand = (
    Transfer
    | Deposit
    | Withdraw
    | PostEntry
    | ReverseEntry
    | Allocate
    | PostTemplate
    | Exchange
    | PlaceHold
    | CaptureHold
    | VoidHold
    | OpenAccount
    | SetLimit
    | FreezeAccount
    | UnfreezeAccount
    | CloseAccount
    | ReopenAccount
    | LinkCustomer
    | UnlinkCustomer
    | CreateGroup
    | SetGroupLimit
    | AddToGroup
    | RemoveFromGroup
    | ClosePeriod
    | ReopenPeriod
    | EraseCustomer
    | RegisterUnit
    | SetRiskRule
    | DefineTemplate
    | RetireTemplate
    | SetApprovalPolicy
    | CreateOrder
    | ChangeOrder
    | CancelOrder
    | SetRole
    | RetireRole
)
# Commands that carry personal data: the shell seals it before they are decided.
PersonalCommand = RegisterCustomer | ChangeProfile
# Commands that may wait for approval: all but those of approvals themselves.
ApprovableCommand = PlainCommand | PersonalCommand


class RequestApproval(
    msgspec.Struct, frozen=True, kw_only=True, tag="request_approval", forbid_unknown_fields=True
):
    """Let a command wait until others approve it: one person for each permission in `approvers`.

    Both have one key: with it the command runs when the last approval lands.
    """

    key: str = ""
    command: ApprovableCommand
    approvers: tuple[str, ...]
    request_id: str | None = None

    def needs(self, wants: Wants) -> None:
        """What the command needs, and whether a chosen id is free."""
        self.command.needs(wants)
        if self.request_id is not None:
            wants.kept.add((approvals.KIND, self.request_id))


VoteCommand = ApproveRequest | RejectRequest | WithdrawRequest
# What a caller may send: as a request, in a batch, or as a line of a file.
WireCommand = ApprovableCommand | RequestApproval | VoteCommand
# An import also says that a statement is complete; nobody else may claim that.
DecidedCommand = WireCommand | RecordStatement
# What the shell runs in more than one step is not decided as one.
Command = DecidedCommand | RunOrder

_DECIDERS: Mapping[type, Callable[[Books, Any], tuple[Event, ...]]] = MappingProxyType(
    {
        Transfer: transfers.decide,
        Deposit: deposits.decide,
        Withdraw: deposits.decide,
        PostEntry: entries.decide,
        ReverseEntry: reversals.decide,
        Allocate: allocations.decide,
        PostTemplate: templates.decide_posting,
        Exchange: exchanges.decide,
        PlaceHold: holds.decide_placing,
        CaptureHold: holds.decide_capture,
        VoidHold: holds.decide_void,
        OpenAccount: account_terms.decide_opening,
        SetLimit: account_limits.decide,
        FreezeAccount: blocks.decide_freeze,
        UnfreezeAccount: blocks.decide_unfreeze,
        CloseAccount: account_terms.decide_closing,
        ReopenAccount: account_terms.decide_reopening,
        LinkCustomer: account_holders.decide_link,
        UnlinkCustomer: account_holders.decide_unlink,
        CreateGroup: groups.decide_creation,
        SetGroupLimit: groups.decide_limit,
        AddToGroup: groups.decide_joining,
        RemoveFromGroup: groups.decide_leaving,
        ClosePeriod: periods.decide_closing,
        ReopenPeriod: periods.decide_reopening,
        EraseCustomer: customers.decide_erasure,
        RegisterUnit: units.decide,
        SetRiskRule: risk_rules.decide,
        DefineTemplate: templates.decide_definition,
        RetireTemplate: templates.decide_retirement,
        SetApprovalPolicy: lambda books, command: approval_policies.decide(
            books, command, approvable()
        ),
        ApproveRequest: approvals.decide_approval,
        RejectRequest: approvals.decide_rejection,
        WithdrawRequest: approvals.decide_withdrawal,
        CreateOrder: standing_orders.decide_creation,
        ChangeOrder: standing_orders.decide_change,
        CancelOrder: standing_orders.decide_cancellation,
        SetRole: access_roles.decide_setting,
        RetireRole: access_roles.decide_retirement,
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
        LimitSet: account_limits.command_of,
        LimitChangeScheduled: account_limits.command_of,
        BlockPlaced: blocks.freeze_of,
        BlockLifted: blocks.unfreeze_of,
        AccountClosed: account_terms.closing_of,
        AccountReopened: account_terms.reopening_of,
        AccountHolderLinked: account_holders.link_of,
        AccountHolderUnlinked: account_holders.unlink_of,
        GroupCreated: groups.creation_of,
        GroupLimitSet: groups.limit_of,
        GroupMemberAdded: groups.joining_of,
        GroupMemberRemoved: groups.leaving_of,
        PeriodClosed: periods.closing_of,
        PeriodReopened: periods.reopening_of,
        UnitRegistered: units.command_of,
        RiskRuleSet: risk_rules.command_of,
        TemplateDefined: templates.definition_of,
        TemplateRetired: templates.retirement_of,
        ApprovalPolicySet: approval_policies.command_of,
        ApprovalGiven: approvals.approval_of,
        ApprovalCompleted: approvals.approval_of,
        ApprovalFailed: approvals.approval_of,
        ApprovalRejected: approvals.rejection_of,
        ApprovalWithdrawn: approvals.withdrawal_of,
        StandingOrderCreated: standing_orders.creation_of,
        StandingOrderChanged: standing_orders.change_of,
        StandingOrderCancelled: standing_orders.cancellation_of,
        RoleSet: access_roles.setting_of,
        RoleRetired: access_roles.retirement_of,
        BankStatementImported: bank_statements.command_of,
        customers.CustomerErased: customers.erasure_of,
    }
)


# Commands that begin something kept under an id that the caller may choose: its kind, the field of
# that id, and the refusal where something else has it. The state says its ``position``.
CHOSEN_IDS: Mapping[type, tuple[str, str, type[LedgerError]]] = MappingProxyType(
    {
        PlaceHold: ("hold", "hold_id", HoldExists),
        RequestApproval: (approvals.KIND, "request_id", ApprovalExists),
        CreateGroup: ("group", "group_id", GroupExists),
        CreateOrder: ("order", "order_id", OrderExists),
    }
)

# Commands that move or reserve money: a refusal of one is recorded.
MOVEMENTS: frozenset[type] = frozenset(
    {Transfer, Deposit, Withdraw, PostEntry, ReverseEntry, PlaceHold, CaptureHold, VoidHold}
    | {Allocate, PostTemplate, Exchange}
)


def from_builtins(fields: dict[str, Any]) -> Command:
    """The command behind its plain JSON values."""
    return cast("Command", msgspec.convert(fields, WireCommand))


def types() -> tuple[type[msgspec.Struct], ...]:
    """Every command type, for the tables made from them."""
    return (*_DECIDERS, RegisterCustomer, ChangeProfile, RequestApproval)


def wire_types() -> tuple[type[msgspec.Struct], ...]:
    """The types of the commands that a caller may send."""
    return tuple(kind for kind in types() if kind is not RecordStatement)


def tag_of(command: Command) -> str:
    """The command's type as callers write it."""
    return str(command.__struct_config__.tag)


def approvable() -> frozenset[str]:
    """The types of the commands that may wait for approval, as callers write them."""
    return _APPROVABLE


def waiting_command(fields: dict[str, Any], clear: dict[str, str]) -> ApprovableCommand:
    """The command behind what a request keeps of it and its personal data in clear."""
    for name in ("profile", "changes"):
        if clear and name in fields:
            fields = {**fields, name: {**fields[name], **clear}}
    return cast("ApprovableCommand", from_builtins(fields))


def nothing_changed(command: Command) -> NothingChanged:
    """The event that keeps the answer of a command which changed nothing."""
    return NothingChanged(msgspec.to_builtins(msgspec.structs.replace(command, key="")))


def decide(
    books: Books, command: PlainCommand | VoteCommand | RecordStatement
) -> tuple[Event, ...]:
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
        first = from_builtins(event.command)
    elif isinstance(event, ApprovalRequested):
        first = _requesting(command, event, unsealed)
    elif isinstance(event, JournalEntryPosted | HoldPlaced | HoldReleased) and event.asked:
        first = from_builtins(event.asked)
    elif isinstance(event, JournalEntryPosted):
        first = _ENTRY_COMMANDS[event.kind](event)
    else:
        first = _COMMANDS_OF[type(event)](event)
    if type(first) is not type(command):
        return ("type",)
    asked, first = _comparable(command, first, event)
    return tuple(
        name
        for name in first.__struct_fields__
        if name != "key" and getattr(asked, name) != getattr(first, name)
    )


def _comparable(command: Command, first: Command, event: Event) -> tuple[Command, Command]:
    """The command and the one that came first, of its type, with what either left out."""
    match command:
        case CaptureHold() if isinstance(event, JournalEntryPosted):
            return command, holds.as_captured(cast("CaptureHold", first), command, event)
        case OpenAccount():
            opened = account_terms.with_default_limit(cast("OpenAccount", first))
            return account_terms.with_default_limit(command), opened
        case SetLimit():
            return account_limits.with_ceiling_of(command, cast("SetLimit", first)), first
        case _:
            return command, first


def _requesting(
    command: Command, event: ApprovalRequested, clear: dict[str, str] | None
) -> Command:
    """The command that became the request: the one that waits, or the one that asked for it.

    The one that waits may also be sent itself, under the key of the one that asked for it.
    ``clear`` as in ``differing_fields``; where it is ``None``, the command is taken at its word.
    """
    if clear is None:
        waits = command.command if isinstance(command, RequestApproval) else command
        values = getattr(waits, "profile", None) or getattr(waits, "changes", None) or {}
        clear = {name: values.get(name) or "" for name in event.sealed}
    waiting = waiting_command(event.command, clear)
    if event.asked is None or type(waiting) is type(command):
        return waiting
    return RequestApproval(command=waiting, approvers=event.asked, request_id=event.request_id)


_APPROVABLE = frozenset(
    str(kind.__struct_config__.tag)
    for kind in types()
    if kind not in (RecordStatement, RequestApproval, *get_args(VoteCommand))
)
