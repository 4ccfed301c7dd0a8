"""The report of an evidence bundle: what the events say, in words and tables, for people.

Made from nothing but what stands in the log up to the bundle's position, so it is the same every
time. What is personal stays sealed; names of persons are not known here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from api.seals import Seals
from ledger_core import events
from ledger_core.journal import (
    HoldPlaced,
    HoldReleased,
    JournalEntryPosted,
    entry_id_at,
    hold_id_at,
    value_date_at,
)
from ledger_core.log import StoredEvent
from ledger_core.money import decimal_text
from projections.balance_queries import Balance
from projections.customer_queries import Customer360

_RULE = "-" * 78
_CHECK = (
    "How to check this without trusting whoever made it:",
    "  ledger-verify THIS-FILE --keys KEYS    (keys.json that you got on another way)",
    "It proves that every event in events.jsonl stands in the log at its position, unchanged.",
    "It cannot prove that no event was left out: for that, verify an export of the whole log.",
)


def of_account(found: Balance) -> list[str]:
    """The first lines of a report about an account."""
    money = [
        ("debits posted", found.debits_posted_minor),
        ("credits posted", found.credits_posted_minor),
        ("balance", found.posted_minor),
        ("held", found.held_minor),
    ]
    return [
        f"Account {found.account_id}",
        f"  {found.account_type} in {found.currency}, {found.normal_side} side, {found.status}",
        f"  opened {found.opened_at.isoformat()} at position {found.account_no}",
        *(f"  {name:15} {decimal_text(amount, found.scale):>24}" for name, amount in money),
        *(f"  holder {holder.customer_id} ({holder.role})" for holder in found.holders),
    ]


def of_customer(found: Customer360) -> list[str]:
    """The first lines of a report about a customer."""
    lines = [
        f"Customer {found.customer_id}",
        f"  registered {found.registered_at.isoformat()}",
        "  erased: the person's key was destroyed" if found.erased else "  personal data is sealed",
    ]
    for account in found.accounts:
        balance = account.balance
        amount = decimal_text(balance.posted_minor, balance.scale)
        roles = ", ".join(account.roles)
        lines.append(f"  account {balance.account_id} ({roles}): {amount} {balance.currency}")
    return lines


def report(
    introduction: Sequence[str], stored: Iterator[StoredEvent], sealed: Seals, kind: str
) -> Iterator[bytes]:
    """The report, line by line."""
    head = [
        f"Evidence about one {kind}",
        _RULE,
        *introduction,
        "",
        f"Log {sealed.origin}, up to position {sealed.size}",
        f"Root {sealed.root.hex()}",
        "",
        *_CHECK,
        _RULE,
    ]
    yield _text(head)
    count = 0
    for item in stored:
        count += 1
        yield _text([_head_of(item), *(f"    {line}" for line in _told(item))])
    yield _text([_RULE, f"{count} events"])


def _head_of(item: StoredEvent) -> str:
    """What every event has."""
    return f"{item.position:>12}  {item.recorded_at.isoformat()}  {item.type}  by {item.actor}"


def _told(item: StoredEvent) -> Iterator[str]:
    """What the event says; amounts are minor units, as they stand in the log."""
    event = events.decode(item.type, item.version, item.data)
    match event:
        case JournalEntryPosted():
            entry_id = entry_id_at(event, item.position)
            value_date = value_date_at(event, item.recorded_at)
            yield f"{event.kind} {entry_id}, value date {value_date.isoformat()}"
            if event.reverses is not None:
                yield f"reverses {event.reverses}"
            for line in event.postings:
                yield f"{line.side:6} {line.amount_minor:>24} {line.currency}  {line.account_id}"
        case HoldPlaced() | HoldReleased():
            hold_id = hold_id_at(event, item.position)
            yield f"hold {hold_id}: {event.amount_minor} minor units of {event.currency}"
            yield f"debit {event.debit_account_id}, credit {event.credit_account_id}"
        case _:
            fields = msgspec.json.decode(item.data, type=dict[str, Any])
            for name, value in fields.items():
                yield f"{name}: {_value(name, value)}"


def _value(name: str, value: object) -> str:
    """A field's value; what is sealed is only counted."""
    if name == "sealed" and isinstance(value, Mapping):
        return f"{', '.join(sorted(value)) or 'nothing'} (sealed)"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _text(lines: Sequence[str]) -> bytes:
    """Lines as bytes."""
    return "".join(f"{line}\n" for line in lines).encode()
