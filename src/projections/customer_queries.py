"""Customer 360: everything about a customer in one read."""

from collections.abc import Sequence
from datetime import date, datetime

import msgspec
import sqlalchemy
from sqlalchemy import func, select, true

from ledger_core.accounts import Account
from ledger_core.errors import CustomerNotFound
from ledger_core.journal import Side, entry_id_at
from projections.balance_queries import Balance, account_at, accounts_of_ids, balances_of
from projections.customer_360 import Profile, evolve
from projections.customer_360 import customers as customers_table
from projections.flag_queries import open_flags
from projections.links import linked_accounts
from projections.reading import NOW, AsOf, Page, Reading, page_size, resolve
from projections.risk_rules import Flag
from projections.statement_queries import entries_at
from projections.statements import statement_lines
from projections.tag_queries import events_tagged_any

PROJECTIONS_READ = ("balances", "statements", "customer_360", "event_tags", "risk_flags")
FLAGS_MAX = 100
"""How many open flags are shown, the newest; ``flag_queries`` has them all."""

_FIELDS = msgspec.json.Decoder(dict[str, str])
_SIDES: dict[str, Side] = {"D": "debit", "C": "credit"}
_COLUMNS = (
    customers_table.c.customer_id,
    customers_table.c.customer_no,
    customers_table.c.subject,
    customers_table.c.sealed,
    customers_table.c.public,
    customers_table.c.erased,
    customers_table.c.registered_at,
    customers_table.c.last_position,
)


class CustomerAccount(msgspec.Struct, frozen=True):
    """An account of the customer's: in which roles, and its balance."""

    roles: tuple[str, ...]
    balance: Balance


class Activity(msgspec.Struct, frozen=True, kw_only=True):
    """A posting on one of the customer's accounts; the balance is the account's after it."""

    account_id: str
    currency: str
    scale: int
    position: int
    line: int
    entry_id: str
    kind: str
    recorded_at: datetime
    value_date: date
    side: Side
    amount_minor: int
    balance_minor: int
    counterparties: tuple[str, ...]
    reference: str | None
    description: str | None


class Customer360(msgspec.Struct, frozen=True, kw_only=True):
    """A customer's profile, accounts, newest activity and open flags.

    With a ``value_date``, balances and activity are of what counts by the end of that day.
    ``sealed`` is ciphertext under the key of ``subject``, empty once the person was erased.
    """

    customer_id: str
    subject: str
    sealed: dict[str, str]
    public: dict[str, str]
    erased: bool
    registered_at: datetime
    last_position: int
    accounts: tuple[CustomerAccount, ...]
    recent: tuple[Activity, ...]
    flags: tuple[Flag, ...]
    position: int
    recorded_at: datetime | None
    value_date: date | None


def customer(  # noqa: PLR0913 - of whom, when, and how much
    conn: sqlalchemy.Connection,
    ledger_id: int,
    customer_id: str,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
    recent: int = 20,
) -> Customer360:
    """Everything about a customer at a moment, with the ``recent`` newest postings.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        CustomerNotFound: no such customer at that moment.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    profile = _profile(conn, ledger_id, reading, customer_id)
    roles = linked_accounts(conn, ledger_id, reading, customer_id)
    held = accounts_of_ids(conn, ledger_id, reading, list(roles)) if roles else []
    balances = balances_of(conn, ledger_id, reading, held, value_date)
    activity = (
        _recent(conn, ledger_id, reading, held, value_date, page_size(recent)) if held else ()
    )
    numbers = [account.terms.account_no for account in held]
    return Customer360(
        customer_id=profile.customer_id,
        subject=profile.subject,
        sealed=profile.sealed,
        public=profile.public,
        erased=profile.erased,
        registered_at=profile.registered_at,
        last_position=profile.last_position,
        accounts=tuple(CustomerAccount(roles[balance.account_id], balance) for balance in balances),
        recent=activity,
        flags=open_flags(conn, ledger_id, reading, numbers, FLAGS_MAX) if held else (),
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
    )


def customers(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    as_of: AsOf = NOW,
    after: str | None = None,
    limit: int = 100,
) -> Page[Profile, str]:
    """Profiles of the customers registered by then, by customer id, beginning after ``after``.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, "customer_360", "event_tags")
    size = page_size(limit)
    query = (
        select(*_COLUMNS)
        .where(
            customers_table.c.ledger_id == ledger_id,
            customers_table.c.slot == reading.slots["customer_360"],
            customers_table.c.customer_no <= reading.position,
        )
        .order_by(customers_table.c.customer_id)
        .limit(size + 1)
    )
    if after is not None:
        query = query.where(customers_table.c.customer_id > after)
    found = [_profile_of(row) for row in conn.execute(query).all()]
    shown = found[:size]
    return Page(
        tuple(_as_they_were(conn, ledger_id, reading, shown)),
        shown[-1].customer_id if len(found) > size else None,
        reading.position,
        reading.recorded_at,
    )


def account_with_holders(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    account_id: str,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
) -> tuple[Balance, tuple[Profile, ...]]:
    """The balance of one account, and the profiles of the customers who hold it, of one moment.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        AccountNotFound: no such account at that moment.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    account = account_at(conn, ledger_id, reading, account_id)
    customer_ids = dict.fromkeys(holder.customer_id for holder in account.terms.holders)
    return (
        balances_of(conn, ledger_id, reading, [account], value_date)[0],
        tuple(_profile(conn, ledger_id, reading, customer_id) for customer_id in customer_ids),
    )


def profiles(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    customer_ids: list[str],
    *,
    as_of: AsOf = NOW,
) -> Page[Profile, str]:
    """The profiles of those of the customers who were registered by then, by customer id.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, "customer_360", "event_tags")
    found = profiles_of_ids(conn, ledger_id, reading, customer_ids)
    in_order = tuple(sorted(found, key=lambda item: item.customer_id))
    return Page(in_order, None, reading.position, reading.recorded_at)


def _profile(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, customer_id: str
) -> Profile:
    """The customer's profile as it was.

    Raises:
        CustomerNotFound: none was registered by then.
    """
    row = conn.execute(
        select(*_COLUMNS).where(
            customers_table.c.ledger_id == ledger_id,
            customers_table.c.slot == reading.slots["customer_360"],
            customers_table.c.customer_id == customer_id,
            customers_table.c.customer_no <= reading.position,
        )
    ).first()
    if row is None:
        raise CustomerNotFound(field="customer_id")
    return _as_they_were(conn, ledger_id, reading, [_profile_of(row)])[0]


def profiles_of_ids(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, customer_ids: list[str]
) -> list[Profile]:
    """The profiles of those of the customers who were registered by then, as they were.

    The reading must cover ``customer_360`` and ``event_tags``.
    """
    rows = conn.execute(
        select(*_COLUMNS).where(
            customers_table.c.ledger_id == ledger_id,
            customers_table.c.slot == reading.slots["customer_360"],
            customers_table.c.customer_id == func.any(customer_ids),
            customers_table.c.customer_no <= reading.position,
        )
    )
    return _as_they_were(conn, ledger_id, reading, [_profile_of(row) for row in rows.all()])


def _as_they_were(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, stored: list[Profile]
) -> list[Profile]:
    """The profiles as they were at the reading, in the same order; all were registered by then."""
    past = [item.customer_id for item in stored if item.last_position > reading.position]
    if not past:
        return stored
    profiles: dict[str, Profile] = {}
    tags = [f"customer:{customer_id}" for customer_id in past]
    # An event is about one customer's profile, so a link that it shares with another is no matter.
    evolve(profiles, events_tagged_any(conn, ledger_id, reading, tags))
    return [profiles.get(item.customer_id, item) for item in stored]


def _profile_of(row: Sequence[object]) -> Profile:
    """The profile behind a row of ``_COLUMNS``."""
    customer_id, customer_no, subject, sealed, public, erased, registered_at, last_position = row
    return msgspec.convert(
        {
            "customer_id": customer_id,
            "customer_no": customer_no,
            "subject": subject,
            "sealed": _FIELDS.decode(sealed),  # type: ignore[arg-type]
            "public": _FIELDS.decode(public),  # type: ignore[arg-type]
            "erased": erased,
            "registered_at": registered_at,
            "last_position": last_position,
        },
        Profile,
    )


def _recent(  # noqa: PLR0913, PLR0917 - of which accounts, when, and how many
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    held: list[Account],
    value_date: date | None,
    limit: int,
) -> tuple[Activity, ...]:
    """The newest postings over all the accounts, the newest first."""
    by_number = {account.terms.account_no: account for account in held}
    numbers = sqlalchemy.cast(list(by_number), sqlalchemy.ARRAY(sqlalchemy.BigInteger))
    wanted = func.unnest(numbers).table_valued("account_no").render_derived()
    lines = statement_lines.c
    newest = (
        select(statement_lines)
        .where(
            lines.ledger_id == ledger_id,
            lines.slot == reading.slots["statements"],
            lines.account_no == wanted.c.account_no,
            lines.position <= reading.position,
            true() if value_date is None else lines.value_date <= value_date,
        )
        .order_by(lines.position.desc(), lines.line.desc())
        .limit(limit)
        .lateral("newest")
    )
    rows = conn.execute(
        select(newest)
        .select_from(wanted.join(newest, true()))
        .order_by(newest.c.position.desc(), newest.c.line.desc())
        .limit(limit)
    ).all()
    entries = entries_at(conn, ledger_id, [row.position for row in rows])
    activity: list[Activity] = []
    for row in rows:
        terms, entry = by_number[row.account_no].terms, entries[row.position]
        difference = int(row.credits_after_minor) - int(row.debits_after_minor)
        others = dict.fromkeys(posting.account_id for posting in entry.postings)
        activity.append(
            Activity(
                account_id=terms.account_id,
                currency=terms.currency,
                scale=terms.scale,
                position=row.position,
                line=row.line,
                entry_id=entry_id_at(entry, row.position),
                kind=row.kind,
                recorded_at=row.recorded_at,
                value_date=row.value_date,
                side=_SIDES[row.side],
                amount_minor=int(row.amount_minor),
                balance_minor=difference if terms.normal_side == "credit" else -difference,
                counterparties=tuple(other for other in others if other != terms.account_id),
                reference=entry.reference,
                description=entry.description,
            )
        )
    return tuple(activity)
