"""What a command is answered: its event as a document, with amounts as strings of minor units.

An answer is made from the recorded event alone, so the answer to a repeated command is the first
one again, byte for byte. Nothing sealed is in it.
"""

from datetime import date, datetime
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from ledger_core import events
from ledger_core.accounts import AccountOpened, account_id_at
from ledger_core.books import Event
from ledger_core.customers import CustomerRegistered, customer_id_at
from ledger_core.entries import PostingLine
from ledger_core.journal import EntryKind, JournalEntryPosted, entry_id_at, value_date_at
from ledger_core.ledger import Outcome

# Ciphertext and its key's name; how a command was put is not part of what happened.
_LEFT_OUT = frozenset({"sealed", "subject", "asked_effect"})
_MINOR = "_minor"


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
        status="recorded",
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
    )


def ids_of(event: Event, position: int) -> dict[str, str]:
    """The id of what the event began, under its name, where the ledger may have given it."""
    match event:
        case JournalEntryPosted():
            return {"entry_id": entry_id_at(event, position)}
        case AccountOpened():
            return {"account_id": account_id_at(event, position)}
        case CustomerRegistered():
            return {"customer_id": customer_id_at(event, position)}
        case _:
            return {}


def id_of(event: Event, position: int) -> str | None:
    """The id of what the event is about: an entry, an account, a customer, a unit or a rule."""
    for identifier in ids_of(event, position).values():
        return identifier
    names = ("account_id", "customer_id", "code", "rule")
    found = (getattr(event, name, None) for name in names)
    return next((identifier for identifier in found if isinstance(identifier, str)), None)


def location_of(event: Event, position: int) -> str | None:
    """The address of what the event began, if it began something that has one."""
    for name, identifier in ids_of(event, position).items():
        return f"/v1/{_COLLECTIONS[name]}/{quote(identifier, safe='')}"
    return None


_COLLECTIONS = {"entry_id": "entries", "account_id": "accounts", "customer_id": "customers"}


def _value(event: Event, name: str) -> object:
    """A field of an event, an amount as the string of its digits."""
    value: object = getattr(event, name)
    return str(value) if name.endswith(_MINOR) and value is not None else value


def _answer_type(name: str, event_type: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """The type of the answer made from an event: what the event says, and where it stands."""
    fields: list[tuple[str, Any, Any]] = [
        ("status", Literal["recorded"], msgspec.NODEFAULT),
        ("type", Literal[name], msgspec.NODEFAULT),
        ("position", int, msgspec.NODEFAULT),
        ("recorded_at", datetime, msgspec.NODEFAULT),
    ]
    for field in msgspec.structs.fields(event_type):
        if field.name in _LEFT_OUT:
            continue
        kind = str | None if field.name.endswith(_MINOR) else field.type
        if field.name in ("account_id", "customer_id") and event_type in _BEGINNINGS:
            kind = str if _BEGINNINGS[event_type] == field.name else kind
        fields.append((field.name.removesuffix(_MINOR), kind, msgspec.NODEFAULT))
    return msgspec.defstruct(
        f"{name}Answer",
        fields,
        frozen=True,
        kw_only=True,
        namespace={"__doc__": event_type.__doc__},
    )


_BEGINNINGS: dict[type, str] = {AccountOpened: "account_id", CustomerRegistered: "customer_id"}

ANSWER_TYPES: dict[type, type[msgspec.Struct]] = {
    event_type: EntryAnswer if event_type is JournalEntryPosted else _answer_type(name, event_type)
    for name, event_type in events.types().items()
}
