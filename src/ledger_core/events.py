"""The registry of events: stable names and versions to types, and their bytes.

An event is stored under its name and version and is never migrated: an older version is brought
up to the present shape by its upcaster when it is loaded. Bytes are the compact JSON that
``encode`` makes; what was hashed is what is stored. Amounts are JSON integers of any size.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast, get_args

import msgspec
from typing_extensions import TypeIs

from ledger_core import kept, refusals, standing_order, template, unchanged
from ledger_core.access_role import RoleRetired, RoleSet
from ledger_core.account_limits import LimitChangeScheduled
from ledger_core.accounts import (
    AccountClosed,
    AccountEvent,
    AccountHolderLinked,
    AccountHolderUnlinked,
    AccountOpened,
    AccountReopened,
    BlockLifted,
    BlockPlaced,
    GroupMemberAdded,
    GroupMemberRemoved,
    LimitSet,
    accounts_of,
)
from ledger_core.approval_policies import ApprovalPolicySet
from ledger_core.approvals import (
    ApprovalCompleted,
    ApprovalEvent,
    ApprovalFailed,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
)
from ledger_core.bank_statements import BankStatementImported
from ledger_core.books import Event
from ledger_core.customers import (
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    customer_id_at,
)
from ledger_core.group import GroupCreated, GroupLimitSet
from ledger_core.journal import (
    POSTINGS_MIN,
    HoldEvent,
    HoldPlaced,
    HoldReleased,
    JournalEntryPosted,
)
from ledger_core.period import PeriodClosed, PeriodReopened
from ledger_core.refusals import CommandRefused
from ledger_core.risk_rules import RiskRuleSet
from ledger_core.standing_order import (
    OrderEvent,
    StandingOrderCancelled,
    StandingOrderChanged,
    StandingOrderCreated,
    StandingOrderRan,
    StandingOrderRunRefused,
)
from ledger_core.template import TemplateDefined, TemplateRetired
from ledger_core.unchanged import NothingChanged
from ledger_core.units import UnitRegistered


class UnknownEvent(ValueError):  # noqa: N818 - a fact about the log
    """The log holds an event that this program does not know: it is older than the log."""


class Recorded(msgspec.Struct, frozen=True, gc=False):
    """An event in its place in the log."""

    position: int
    recorded_at: datetime
    event: Event


# Name -> (type, current version). A name is for ever; a type may move between modules.
_TYPES: Mapping[str, tuple[type, int]] = MappingProxyType(
    {
        "JournalEntryPosted": (JournalEntryPosted, 1),
        "HoldPlaced": (HoldPlaced, 1),
        "HoldReleased": (HoldReleased, 1),
        "AccountOpened": (AccountOpened, 1),
        "BlockPlaced": (BlockPlaced, 1),
        "BlockLifted": (BlockLifted, 1),
        "AccountClosed": (AccountClosed, 1),
        "AccountReopened": (AccountReopened, 1),
        "LimitSet": (LimitSet, 1),
        "LimitChangeScheduled": (LimitChangeScheduled, 1),
        "AccountHolderLinked": (AccountHolderLinked, 1),
        "AccountHolderUnlinked": (AccountHolderUnlinked, 1),
        "GroupCreated": (GroupCreated, 1),
        "GroupLimitSet": (GroupLimitSet, 1),
        "GroupMemberAdded": (GroupMemberAdded, 1),
        "GroupMemberRemoved": (GroupMemberRemoved, 1),
        "PeriodClosed": (PeriodClosed, 1),
        "PeriodReopened": (PeriodReopened, 1),
        "CustomerRegistered": (CustomerRegistered, 1),
        "CustomerProfileChanged": (CustomerProfileChanged, 1),
        "CustomerErased": (CustomerErased, 1),
        "UnitRegistered": (UnitRegistered, 1),
        "RiskRuleSet": (RiskRuleSet, 1),
        "BankStatementImported": (BankStatementImported, 1),
        "NothingChanged": (NothingChanged, 1),
        "CommandRefused": (CommandRefused, 1),
        "ApprovalPolicySet": (ApprovalPolicySet, 1),
        "ApprovalRequested": (ApprovalRequested, 1),
        "ApprovalGiven": (ApprovalGiven, 1),
        "ApprovalRejected": (ApprovalRejected, 1),
        "ApprovalWithdrawn": (ApprovalWithdrawn, 1),
        "ApprovalCompleted": (ApprovalCompleted, 1),
        "ApprovalFailed": (ApprovalFailed, 1),
        "StandingOrderCreated": (StandingOrderCreated, 1),
        "StandingOrderChanged": (StandingOrderChanged, 1),
        "StandingOrderCancelled": (StandingOrderCancelled, 1),
        "StandingOrderRan": (StandingOrderRan, 1),
        "StandingOrderRunRefused": (StandingOrderRunRefused, 1),
        "TemplateDefined": (TemplateDefined, 1),
        "TemplateRetired": (TemplateRetired, 1),
        "RoleSet": (RoleSet, 1),
        "RoleRetired": (RoleRetired, 1),
    }
)

# (name, version) -> the step to the next version, on plain JSON values. Empty at version 1.
_UPCASTERS: Mapping[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = MappingProxyType(
    {}
)

_NAMES: Mapping[type, tuple[str, int]] = MappingProxyType(
    {kind: (name, version) for name, (kind, version) in _TYPES.items()}
)
_DECODERS: Mapping[tuple[str, int], msgspec.json.Decoder[Any]] = MappingProxyType(
    {(name, version): msgspec.json.Decoder(kind) for name, (kind, version) in _TYPES.items()}
)
_ENCODER = msgspec.json.Encoder()

encode: Callable[[Event], bytes] = _ENCODER.encode


def name_of(event: Event) -> tuple[str, int]:
    """The stable name and current version under which an event is stored."""
    return _NAMES[type(event)]


ENTRY_NAME = _NAMES[JournalEntryPosted]


def is_account_event(event: Event) -> TypeIs[JournalEntryPosted | HoldEvent | AccountEvent]:
    """Whether the event changes accounts."""
    return isinstance(event, JournalEntryPosted | HoldPlaced | HoldReleased | AccountEvent)


def names() -> tuple[str, ...]:
    """Every event name, in the order of the registry."""
    return tuple(_TYPES)


def types() -> Mapping[str, type]:
    """Every event name and the type behind it, in the order of the registry."""
    return {name: kind for name, (kind, _) in _TYPES.items()}


def version_of(name: str) -> int | None:
    """The current version of the events of that name; ``None`` for a name that is not known."""
    known = _TYPES.get(name)
    return None if known is None else known[1]


def decode(name: str, version: int, data: bytes) -> Event:
    """The event behind stored bytes, brought up to its current version.

    Raises:
        UnknownEvent: a name or version that this program does not know.
        msgspec.DecodeError: the bytes are not such an event.
    """
    decoder = _DECODERS.get((name, version))
    if decoder is not None:
        return cast("Event", decoder.decode(data))
    return _upcast(name, version, data)


def tags_of(event: Event, position: int) -> tuple[str, ...]:
    """What the event is about: ``account:…``, ``customer:…``, ``hold:…`` and so on, each once."""
    if isinstance(event, JournalEntryPosted) and len(event.postings) == POSTINGS_MIN:
        one, other = event.postings  # The hot path.
        if (
            one.account_id != other.account_id
            and event.code is None
            and event.metadata is None
            and event.hold_id is None
        ):
            return ("account:" + one.account_id, "account:" + other.account_id)
    tags = _TAGS[type(event)](event, position)
    tags += [f"{keeper.kind}:{kept_id}" for keeper, kept_id in kept.touched(event, position)]
    return tuple(dict.fromkeys(tags))


def _tags_of_movement(event: JournalEntryPosted | HoldEvent, position: int) -> list[str]:
    """The accounts of an entry or hold, its code, its metadata."""
    tags = ["account:" + account_id for account_id in accounts_of(event, position)]
    if isinstance(event, HoldReleased):
        return tags
    if event.code is not None:
        tags.append("code:" + event.code)
    tags += [f"metadata:{name}={value}" for name, value in (event.metadata or {}).items()]
    return tags


def _tags_of_account(event: AccountEvent, position: int) -> list[str]:
    """An account, and the customer or group that is tied to it."""
    tags = ["account:" + account_id for account_id in accounts_of(event, position)]
    tags += [
        prefix + value
        for prefix, name in (("customer:", "customer_id"), ("group:", "group_id"))
        if (value := getattr(event, name, None)) is not None
    ]
    return tags


# What each event is about, beside the kept states that it changes.
_TAGS: Mapping[type, Callable[[Any, int], list[str]]] = MappingProxyType(
    {
        **dict.fromkeys((JournalEntryPosted, HoldPlaced, HoldReleased), _tags_of_movement),
        **dict.fromkeys(get_args(AccountEvent), _tags_of_account),
        LimitChangeScheduled: lambda event, _: ["account:" + event.account_id],
        **dict.fromkeys(
            (GroupCreated, GroupLimitSet, PeriodClosed, PeriodReopened), lambda _, __: []
        ),
        UnitRegistered: lambda event, _: ["unit:" + event.code],
        BankStatementImported: lambda event, _: [
            "account:" + event.account_id,
            "bank_statement:" + event.account_id,
        ],
        NothingChanged: lambda event, _: unchanged.tags_of(event),
        CommandRefused: lambda event, _: refusals.tags_of(event),
        RiskRuleSet: lambda event, _: ["risk_rule:" + event.rule],
        **dict.fromkeys((ApprovalPolicySet, RoleSet, RoleRetired), lambda _, __: []),
        **dict.fromkeys(get_args(ApprovalEvent), lambda _, __: []),
        ApprovalRequested: lambda event, _: unchanged.names_in(event.command),
        **dict.fromkeys(get_args(OrderEvent), standing_order.tags_of),
        TemplateDefined: lambda event, _: template.tags_of(event),
        TemplateRetired: lambda _, __: [],
        CustomerRegistered: lambda event, position: ["customer:" + customer_id_at(event, position)],
        CustomerProfileChanged: lambda event, _: ["customer:" + event.customer_id],
        CustomerErased: lambda event, _: ["customer:" + event.customer_id],
    }
)


def _upcast(name: str, version: int, data: bytes) -> Event:
    """Decode an older version, one step at a time.

    Raises:
        UnknownEvent: a name or version that this program does not know.
    """
    known = _TYPES.get(name)
    if known is None or version > known[1]:
        msg = f"event {name} version {version} is unknown: the log is newer than this program"
        raise UnknownEvent(msg)
    if version < 1:
        msg = f"event {name} has no version {version}: versions begin at 1"
        raise UnknownEvent(msg)
    kind, current = known
    fields = msgspec.json.decode(data, type=dict[str, Any])
    for step in range(version, current):
        fields = _UPCASTERS[name, step](fields)
    return cast("Event", msgspec.convert(fields, kind))
