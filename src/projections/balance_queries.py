"""Questions about balances: one account or many, now, as of then, by value date."""

from collections.abc import Mapping
from datetime import date, datetime

import msgspec
import sqlalchemy
from sqlalchemy import func, select

from ledger_core.accounts import Account, AccountStatus, AccountType, Block, Holder
from ledger_core.errors import AccountNotFound
from ledger_core.journal import Side
from ledger_core.snapshots import account_of
from projections.balances import accounts
from projections.history import PROJECTIONS_READ, accounts_at, accounts_valued_until
from projections.links import linked_accounts
from projections.reading import (
    NOW,
    AnyConnection,
    AsOf,
    Page,
    Reading,
    driver_of,
    page_size,
    resolve,
)

# As ``snapshots.account_of`` reads them: all columns but the first two.
ACCOUNT_COLUMNS = (
    accounts.c.account_id,
    accounts.c.account_no,
    accounts.c.account_type,
    accounts.c.currency,
    accounts.c.scale,
    accounts.c.normal_side,
    accounts.c.opened_at,
    accounts.c.status,
    accounts.c.limit_minor,
    accounts.c.code,
    accounts.c.name,
    accounts.c.blocks,
    accounts.c.holders,
    accounts.c.metadata,
    accounts.c.debits_posted_minor,
    accounts.c.credits_posted_minor,
    accounts.c.debits_held_minor,
    accounts.c.credits_held_minor,
    accounts.c.version,
    accounts.c.last_position,
    accounts.c.ceiling_minor,
    accounts.c.groups,
)


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """An account and its balance at a moment, in minor units.

    ``posted_minor`` is on the account's normal side, negative when overdrawn. With a
    ``value_date`` only postings that count by the end of that day are in the posted sums, and
    ``available_minor`` is ``None``: limits judge the balance as it stands. Terms, holds and
    version are those at ``position`` in any case.
    """

    account_id: str
    account_no: int
    account_type: AccountType
    currency: str
    scale: int
    normal_side: Side
    status: AccountStatus
    code: str | None
    name: str | None
    metadata: dict[str, str] | None
    opened_at: datetime
    posted_minor: int
    debits_posted_minor: int
    credits_posted_minor: int
    held_minor: int
    incoming_held_minor: int
    available_minor: int | None
    limit_minor: int | None
    ceiling_minor: int | None
    groups: tuple[str, ...]
    blocks: tuple[Block, ...]
    holders: tuple[Holder, ...]
    version: int
    position: int
    recorded_at: datetime | None
    value_date: date | None


class Filters(msgspec.Struct, frozen=True, kw_only=True):
    """Which accounts to list: all that are so; ``None`` means any."""

    prefix: str | None = None
    code: str | None = None
    account_type: AccountType | None = None
    currency: str | None = None
    customer_id: str | None = None
    metadata: Mapping[str, str] = {}


EVERY = Filters()


def balance(
    conn: AnyConnection,
    ledger_id: int,
    account_id: str,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
) -> Balance:
    """The balance of one account.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        AccountNotFound: no such account at that moment.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    account = account_at(conn, ledger_id, reading, account_id)
    return balances_of(conn, ledger_id, reading, [account], value_date)[0]


def balances(  # noqa: PLR0913 - which moment, which accounts, which page
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    as_of: AsOf = NOW,
    value_date: date | None = None,
    filters: Filters = EVERY,
    after: str | None = None,
    limit: int = 100,
) -> Page[Balance, str]:
    """Balances of the accounts open by then, by account id, beginning after ``after``.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    names: tuple[str, ...] = PROJECTIONS_READ
    if filters.customer_id is not None:
        names = (*PROJECTIONS_READ, "customer_360", "event_tags")
    reading = resolve(conn, ledger_id, as_of, *names)
    size = page_size(limit)
    query = (
        select(*ACCOUNT_COLUMNS)
        .where(
            accounts.c.ledger_id == ledger_id,
            accounts.c.slot == reading.slots["balances"],
            accounts.c.account_no <= reading.position,
        )
        .order_by(accounts.c.account_id)
        .limit(size + 1)
    )
    if after is not None:
        query = query.where(accounts.c.account_id > after)
    if filters.prefix is not None:
        query = query.where(accounts.c.account_id.startswith(filters.prefix, autoescape=True))
    for column, wanted in (
        (accounts.c.code, filters.code),
        (accounts.c.account_type, filters.account_type),
        (accounts.c.currency, filters.currency),
    ):
        if wanted is not None:
            query = query.where(column == wanted)
    for name, wanted in filters.metadata.items():
        query = query.where(func.json_extract_path_text(accounts.c.metadata, name) == wanted)
    if filters.customer_id is not None:
        links = linked_accounts(conn, ledger_id, reading, filters.customer_id)
        query = query.where(accounts.c.account_id == func.any(list(links)))
    stored = [account_of(tuple(row)) for row in conn.execute(query)]
    shown = accounts_at(conn, ledger_id, reading, stored[:size])
    return Page(
        tuple(balances_of(conn, ledger_id, reading, shown, value_date)),
        shown[-1].terms.account_id if len(stored) > size else None,
        reading.position,
        reading.recorded_at,
    )


def balances_of_ids(
    conn: sqlalchemy.Connection, ledger_id: int, account_ids: list[str], *, as_of: AsOf = NOW
) -> list[Balance]:
    """The balances of those of the accounts that were open by then, by account id.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    found = accounts_of_ids(conn, ledger_id, reading, account_ids)
    return balances_of(conn, ledger_id, reading, found, None)


def account_at(conn: AnyConnection, ledger_id: int, reading: Reading, account_id: str) -> Account:
    """The account of that id as it was.

    Raises:
        AccountNotFound: none was open by then.
    """
    for account in accounts_of_ids(conn, ledger_id, reading, [account_id]):
        return account
    raise AccountNotFound(field="account_id")


def accounts_of_ids(
    conn: AnyConnection, ledger_id: int, reading: Reading, account_ids: list[str]
) -> list[Account]:
    """Those of the accounts that were open by then, as they were, by account id."""
    place = (ledger_id, reading.slots["balances"], account_ids, reading.position)
    rows = driver_of(conn).execute(_OF_IDS, place).fetchall()
    return accounts_at(conn, ledger_id, reading, [account_of(row) for row in rows])


_OF_IDS = (
    f"SELECT {', '.join(column.name for column in ACCOUNT_COLUMNS)}"  # noqa: S608 - our own names
    " FROM views.accounts WHERE ledger_id = %s AND slot = %s AND account_id = ANY(%s)"
    " AND account_no <= %s ORDER BY account_id"
).encode()


def balances_of(
    conn: AnyConnection,
    ledger_id: int,
    reading: Reading,
    shown: list[Account],
    value_date: date | None,
) -> list[Balance]:
    """The balances of accounts that are as they were at the reading."""
    if value_date is None:
        return [balance_of(account, reading, None) for account in shown]
    valued = accounts_valued_until(conn, ledger_id, reading, shown, value_date)
    return [balance_of(account, reading, value_date) for account in valued]


def balance_of(account: Account, reading: Reading, value_date: date | None) -> Balance:
    """The answer about one account, as it was at the reading."""
    terms = account.terms
    return Balance(
        account_id=terms.account_id,
        account_no=terms.account_no,
        account_type=terms.account_type,
        currency=terms.currency,
        scale=terms.scale,
        normal_side=terms.normal_side,
        status=terms.status,
        code=terms.code,
        name=terms.name,
        metadata=terms.metadata,
        opened_at=terms.opened_at,
        posted_minor=account.posted_minor,
        debits_posted_minor=account.debits_posted_minor,
        credits_posted_minor=account.credits_posted_minor,
        held_minor=account.outgoing_held_minor,
        incoming_held_minor=account.incoming_held_minor,
        available_minor=account.available_minor if value_date is None else None,
        limit_minor=terms.limit_minor,
        ceiling_minor=terms.ceiling_minor,
        groups=terms.groups,
        blocks=terms.blocks,
        holders=terms.holders,
        version=account.version,
        position=reading.position,
        recorded_at=reading.recorded_at,
        value_date=value_date,
    )
