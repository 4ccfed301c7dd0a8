"""The registry of events: stable names and versions to types, and their bytes.

An event is stored under its name and version and is never migrated: an older version is brought
up to the present shape by its upcaster when it is loaded. Bytes are the compact JSON that
``encode`` makes; what was hashed is what is stored. Amounts are JSON integers of any size.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, assert_never, cast

import msgspec
from typing_extensions import TypeIs

from ledger_core import unchanged
from ledger_core.accounts import (
    AccountClosed,
    AccountEvent,
    AccountHolderLinked,
    AccountHolderUnlinked,
    AccountOpened,
    AccountReopened,
    BlockLifted,
    BlockPlaced,
    LimitSet,
    accounts_of,
)
from ledger_core.bank_statements import BankStatementImported
from ledger_core.books import Event
from ledger_core.customers import (
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    customer_id_at,
)
from ledger_core.journal import POSTINGS_MIN, JournalEntryPosted
from ledger_core.risk_rules import RiskRuleSet
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
        "AccountOpened": (AccountOpened, 1),
        "BlockPlaced": (BlockPlaced, 1),
        "BlockLifted": (BlockLifted, 1),
        "AccountClosed": (AccountClosed, 1),
        "AccountReopened": (AccountReopened, 1),
        "LimitSet": (LimitSet, 1),
        "AccountHolderLinked": (AccountHolderLinked, 1),
        "AccountHolderUnlinked": (AccountHolderUnlinked, 1),
        "CustomerRegistered": (CustomerRegistered, 1),
        "CustomerProfileChanged": (CustomerProfileChanged, 1),
        "CustomerErased": (CustomerErased, 1),
        "UnitRegistered": (UnitRegistered, 1),
        "RiskRuleSet": (RiskRuleSet, 1),
        "BankStatementImported": (BankStatementImported, 1),
        "NothingChanged": (NothingChanged, 1),
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


def is_account_event(event: Event) -> TypeIs[JournalEntryPosted | AccountEvent]:
    """Whether the event changes accounts."""
    return isinstance(event, JournalEntryPosted | AccountEvent)


def names() -> tuple[str, ...]:
    """Every event name, in the order of the registry."""
    return tuple(_TYPES)


def types() -> Mapping[str, type]:
    """Every event name and the type behind it, in the order of the registry."""
    return {name: kind for name, (kind, _) in _TYPES.items()}


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


def tags_of(event: Event, position: int) -> list[str]:
    """What the event is about: ``account:…`` and ``customer:…``, each once."""
    if isinstance(event, JournalEntryPosted) and len(event.postings) == POSTINGS_MIN:
        one, other = event.postings  # The hot path.
        if one.account_id != other.account_id:
            return ["account:" + one.account_id, "account:" + other.account_id]
    if is_account_event(event):
        tags = ["account:" + account_id for account_id in accounts_of(event, position)]
        customer_id = getattr(event, "customer_id", None)
        return tags if customer_id is None else [*tags, "customer:" + customer_id]
    match event:
        case UnitRegistered(code=code):
            tags = ["unit:" + code]
        case BankStatementImported(account_id=account_id):
            tags = ["account:" + account_id, "bank_statement:" + account_id]
        case NothingChanged():
            tags = unchanged.tags_of(event)
        case RiskRuleSet(rule=rule):
            tags = ["risk_rule:" + rule]
        case CustomerRegistered():
            tags = ["customer:" + customer_id_at(event, position)]
        case CustomerProfileChanged() | CustomerErased():
            tags = ["customer:" + event.customer_id]
        case _:
            assert_never(event)
    return tags


def _upcast(name: str, version: int, data: bytes) -> Event:
    """Decode an older version, one step at a time.

    Raises:
        UnknownEvent: a name or version that this program does not know.
    """
    known = _TYPES.get(name)
    if known is None or version > known[1]:
        msg = f"event {name} version {version} is unknown: the log is newer than this program"
        raise UnknownEvent(msg)
    kind, current = known
    fields = msgspec.json.decode(data, type=dict[str, Any])
    for step in range(version, current):
        fields = _UPCASTERS[name, step](fields)
    return cast("Event", msgspec.convert(fields, kind))
