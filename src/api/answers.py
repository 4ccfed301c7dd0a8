"""What a command is answered: its event as a document, with amounts as strings of minor units.

An answer is made from the recorded event alone, so the answer to a repeated command is the first
one again, byte for byte. Nothing sealed is in it.
"""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from ledger_core import events
from ledger_core.access_role import RoleSet
from ledger_core.accounts import AccountOpened, account_id_at
from ledger_core.approvals import ApprovalRequested, request_id_at
from ledger_core.books import Event
from ledger_core.customers import CustomerRegistered, customer_id_at
from ledger_core.entries import PostingLine
from ledger_core.group import GroupCreated, group_id_at
from ledger_core.journal import (
    EntryKind,
    HoldPlaced,
    JournalEntryPosted,
    entry_id_at,
    hold_id_at,
    value_date_at,
)
from ledger_core.ledger import Outcome
from ledger_core.standing_order import StandingOrderCreated, order_id_at
from ledger_core.template import TemplateDefined

# Ciphertext and its key's name; how a command was put is not part of what happened.
_LEFT_OUT = frozenset({"sealed", "subject", "asked_effect", "asked"})
_MINOR = "_minor"
# What stands in an address as it is; most ids do.
_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")
# What was recorded is that something else was not, yet.
_STATUS_OF: Mapping[type, str] = MappingProxyType({ApprovalRequested: "pending_approval"})


class EntryAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """A journal entry was booked."""

    status: Literal["recorded"]
    type: Literal["JournalEntryPosted"]
    position: int
    recorded_at: datetime
    entry_id: str
    kind: EntryKind
    booking_date: date
    value_date: date
    postings: tuple[PostingLine, ...]
    reference: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    channel: str | None = None
    reverses: str | None = None
    forced: bool = False
    code: str | None = None
    hold_id: str | None = None
    freed: str | None = None
    original_value_date: date | None = None
    rate: str | None = None
    template: str | None = None


class UnchangedAnswer(msgspec.Struct, frozen=True):
    """It was so already: nothing was recorded; ``position`` is what the decision had seen."""

    status: Literal["unchanged"]
    position: int
    recorded_at: datetime


encode = msgspec.json.Encoder().encode


def answer_of(outcome: Outcome) -> msgspec.Struct:
    """The document that answers a command which was not refused."""
    event, position, recorded_at = outcome.event, outcome.position, outcome.recorded_at
    if event is None:
        return UnchangedAnswer("unchanged", position, recorded_at)
    if isinstance(event, JournalEntryPosted):
        return entry_answer(event, position, recorded_at)
    answer_type = ANSWER_TYPES[type(event)]
    values = {
        name: _value(event, name) for name in event.__struct_fields__ if name not in _LEFT_OUT
    }
    values.update(ids_of(event, position))
    return answer_type(
        status=_STATUS_OF.get(type(event), "recorded"),
        type=events.name_of(event)[0],
        position=position,
        recorded_at=recorded_at,
        **{name.removesuffix(_MINOR): value for name, value in values.items()},
    )


def entry_answer(event: JournalEntryPosted, position: int, recorded_at: datetime) -> EntryAnswer:
    """A journal entry as a document."""
    return EntryAnswer(
        "recorded",
        "JournalEntryPosted",
        position,
        recorded_at,
        entry_id_at(event, position),
        event.kind,
        recorded_at.date(),
        value_date_at(event, recorded_at),
        tuple(
            PostingLine(
                account_id=posting.account_id,
                side=posting.side,
                amount=str(posting.amount_minor),
                currency=posting.currency,
            )
            for posting in event.postings
        ),
        event.reference,
        event.description,
        event.metadata,
        event.channel,
        event.reverses,
        event.forced,
        event.code,
        event.hold_id,
        str(event.freed_minor) if event.freed_minor else None,
        event.original_value_date,
        event.rate,
        event.template,
    )


class Begun(msgspec.Struct, frozen=True):
    """What an event begins: the field of its id, how the position tells it, and its address."""

    field: str
    id_at: Callable[[Any, int], str]
    collection: str


BEGUN: Mapping[type, Begun] = MappingProxyType(
    {
        JournalEntryPosted: Begun("entry_id", entry_id_at, "entries"),
        HoldPlaced: Begun("hold_id", hold_id_at, "holds"),
        AccountOpened: Begun("account_id", account_id_at, "accounts"),
        GroupCreated: Begun("group_id", group_id_at, "groups"),
        CustomerRegistered: Begun("customer_id", customer_id_at, "customers"),
        ApprovalRequested: Begun("request_id", request_id_at, "approvals"),
        TemplateDefined: Begun("name", lambda event, _: str(event.name), "templates"),
        RoleSet: Begun("name", lambda event, _: str(event.name), "roles"),
        StandingOrderCreated: Begun("order_id", order_id_at, "standing-orders"),
    }
)


def ids_of(event: Event, position: int) -> dict[str, str]:
    """The id of what the event began, under its name, where the ledger may have given it."""
    begun = BEGUN.get(type(event))
    return {} if begun is None else {begun.field: begun.id_at(event, position)}


def id_of(event: Event, position: int) -> str | None:
    """The id of what the event is about: an entry, an account, a customer, a unit or a rule."""
    begun = BEGUN.get(type(event))
    if begun is not None:
        return begun.id_at(event, position)
    names = (
        "hold_id",
        "account_id",
        "customer_id",
        "group_id",
        "request_id",
        "policy_id",
        "order_id",
        "code",
        "rule",
    )
    found = (getattr(event, name, None) for name in names)
    return next((identifier for identifier in found if isinstance(identifier, str)), None)


def location_of(event: Event, position: int) -> str | None:
    """The address of what the event began, if it began something that has one."""
    begun = BEGUN.get(type(event))
    if begun is None:
        return None
    identifier = begun.id_at(event, position)
    if _PLAIN.fullmatch(identifier) is None:
        identifier = quote(identifier, safe="")
    return f"/v1/{begun.collection}/{identifier}"


def tag_of(event: Event, position: int) -> bytes | None:
    """The ``ETag`` that what the event began has at its address, where it is known already.

    An entry's is its position, until it is reversed; an account's is its version.
    """
    if isinstance(event, JournalEntryPosted):
        return b'"%d"' % position
    return b'"1"' if isinstance(event, AccountOpened) else None


def _value(event: Event, name: str) -> object:
    """A field of an event, an amount as the string of its digits."""
    value: object = getattr(event, name)
    return str(value) if name.endswith(_MINOR) and value is not None else value


def _answer_type(name: str, event_type: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type of the answer made from an event: what the event says, and where it stands."""
    fields: list[tuple[str, Any, Any]] = [
        ("status", Literal[_STATUS_OF.get(event_type, "recorded")], msgspec.NODEFAULT),
        ("type", Literal[name], msgspec.NODEFAULT),
        ("position", int, msgspec.NODEFAULT),
        ("recorded_at", datetime, msgspec.NODEFAULT),
    ]
    for field in msgspec.structs.fields(event_type):
        if field.name in _LEFT_OUT:
            continue
        kind = str | None if field.name.endswith(_MINOR) else field.type
        if event_type in BEGUN and BEGUN[event_type].field == field.name:
            kind = str
        fields.append((field.name.removesuffix(_MINOR), kind, msgspec.NODEFAULT))
    return msgspec.defstruct(
        f"{name}Answer",
        fields,
        frozen=True,
        kw_only=True,
        namespace={"__doc__": event_type.__doc__},
    )


ANSWER_TYPES: dict[type, type[msgspec.Struct]] = {
    event_type: EntryAnswer if event_type is JournalEntryPosted else _answer_type(name, event_type)
    for name, event_type in events.types().items()
}
