"""Customer 360: every customer's profile, sealed as in the log, and links to accounts.

Personal fields stay ciphertext here; only the API, which holds the keys, can read them. The
queries are in ``customer_queries``.
"""

from collections.abc import Iterable
from datetime import datetime

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Text
from sqlalchemy.dialects.postgresql import JSON

from ledger_core.accounts import (
    AccountHolderLinked,
    AccountHolderUnlinked,
    AccountOpened,
    account_id_at,
)
from ledger_core.customers import (
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    customer_id_at,
)
from ledger_core.events import Recorded
from projections.folding import Batch, UnfoldableError
from projections.memory import Memory
from projections.tables import view
from projections.writing import Projection, Slot, raw_json

customers = view(
    "customers",
    Column("customer_id", Text, primary_key=True),
    Column("customer_no", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("sealed", JSON, nullable=False),
    Column("public", JSON, nullable=False),
    Column("erased", Boolean, nullable=False),
    Column("registered_at", DateTime(timezone=True), nullable=False),
    Column("last_position", BigInteger, nullable=False),
)
customer_accounts = view(
    "customer_accounts",
    Column("customer_id", Text, primary_key=True),
    Column("account_id", Text, primary_key=True),
    Column("role", Text, primary_key=True),
    Column("since_position", BigInteger, nullable=False),
)

_FIELDS = msgspec.json.Decoder(dict[str, str])


class Profile(msgspec.Struct, frozen=True):
    """A customer's profile after some event; ``sealed`` is empty once the person was erased."""

    customer_id: str
    customer_no: int
    subject: str
    sealed: dict[str, str]
    public: dict[str, str]
    erased: bool
    registered_at: datetime
    last_position: int


class Link(msgspec.Struct, frozen=True, order=True):
    """A customer's role on an account."""

    customer_id: str
    account_id: str
    role: str


def evolve(profiles: dict[str, Profile], items: Iterable[Recorded]) -> None:
    """Bring profiles forward by those of the events that are about customers.

    Raises:
        UnfoldableError: an event concerns a customer who was never registered.
    """
    for item in items:
        match item.event:
            case CustomerRegistered() as event:
                customer_id = customer_id_at(event, item.position)
                profiles[customer_id] = Profile(
                    customer_id,
                    item.position,
                    event.subject,
                    event.sealed,
                    event.public,
                    erased=False,
                    registered_at=item.recorded_at,
                    last_position=item.position,
                )
            case CustomerProfileChanged() | CustomerErased() as event:
                before = profiles.get(event.customer_id)
                if before is None:
                    message = f"customer {event.customer_id} was never registered"
                    raise UnfoldableError(item.position, message)
                profiles[event.customer_id] = _evolved(before, event, item.position)
            case _:
                pass


def evolve_links(links: dict[Link, int], items: Iterable[Recorded]) -> set[Link]:
    """Bring links forward, each with the position it is held since; returns those that ended."""
    ended: set[Link] = set()
    for item in items:
        match item.event:
            case AccountOpened(customer_id=str() as customer_id) as event:
                account_id = account_id_at(event, item.position)
                links.setdefault(Link(customer_id, account_id, "owner"), item.position)
            case AccountHolderLinked() as event:
                link = Link(event.customer_id, event.account_id, event.role)
                links.setdefault(link, item.position)
            case AccountHolderUnlinked() as event:
                link = Link(event.customer_id, event.account_id, event.role)
                links.pop(link, None)
                ended.add(link)
            case _:
                pass
    return ended


def profile_row(profile: Profile) -> dict[str, object]:
    """The customer's row."""
    return {
        "customer_id": profile.customer_id,
        "customer_no": profile.customer_no,
        "subject": profile.subject,
        "sealed": raw_json(profile.sealed),
        "public": raw_json(profile.public),
        "erased": profile.erased,
        "registered_at": profile.registered_at,
        "last_position": profile.last_position,
    }


def link_row(link: Link, since_position: int) -> dict[str, object]:
    """The link's row."""
    return {
        "customer_id": link.customer_id,
        "account_id": link.account_id,
        "role": link.role,
        "since_position": since_position,
    }


def apply(slot: Slot, batch: Batch, _memory: Memory) -> None:
    """Write the profiles and links that changed."""
    known = _load(slot, batch)
    profiles = dict(known)
    evolve(profiles, batch.others)
    changed = [
        profile_row(profile)
        for customer_id, profile in profiles.items()
        if profile is not known.get(customer_id)
    ]
    slot.insert(customers, changed, "replace")
    links: dict[Link, int] = {}
    ended = evolve_links(links, batch.others)
    if ended:
        slot.lane.execute(
            "DELETE FROM views.customer_accounts c"
            " USING json_to_recordset(%s::json) AS v(customer_id text, account_id text, role text)"
            " WHERE c.ledger_id = %s AND c.slot = %s AND c.customer_id = v.customer_id"
            " AND c.account_id = v.account_id AND c.role = v.role",
            (msgspec.json.encode(list(ended)).decode(), slot.ledger_id, slot.slot),
        )
    slot.insert(customer_accounts, [link_row(link, at) for link, at in links.items()], "keep")


def _evolved(
    before: Profile, event: CustomerProfileChanged | CustomerErased, position: int
) -> Profile:
    """The profile after a later event."""
    if isinstance(event, CustomerErased):
        return msgspec.structs.replace(before, sealed={}, erased=True, last_position=position)
    sealed = {**before.sealed, **event.sealed}
    public = {**before.public, **event.public}
    return msgspec.structs.replace(
        before,
        sealed={name: text for name, text in sealed.items() if name not in event.cleared},
        public={name: text for name, text in public.items() if name not in event.cleared},
        last_position=position,
    )


def _load(slot: Slot, batch: Batch) -> dict[str, Profile]:
    """The profiles that the batch changes, as they stand before it."""
    customer_ids = {
        item.event.customer_id
        for item in batch.others
        if isinstance(item.event, CustomerProfileChanged | CustomerErased)
    }
    if not customer_ids:
        return {}
    rows = slot.lane.read(
        "SELECT customer_id, customer_no, subject, sealed, public, erased, registered_at,"
        " last_position FROM views.customers"
        " WHERE ledger_id = %s AND slot = %s AND customer_id = ANY(%s)",
        (slot.ledger_id, slot.slot, list(customer_ids)),
    )
    return {
        row[0]: Profile(
            row[0], row[1], row[2], _FIELDS.decode(row[3]), _FIELDS.decode(row[4]), *row[5:]
        )
        for row in rows
    }


PROJECTION = Projection("customer_360", (customers, customer_accounts), apply)
