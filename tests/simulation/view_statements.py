"""What the projector says to the database, and the writer to its views, statement by statement.

See ``statements``. Rows of the views are kept as the projector sends them (JSON, or the text of
COPY) under their tables' keys.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from sqlalchemy import Table
from tests.simulation.session import Answer, Session
from tests.simulation.statements import HANDLERS, LEDGER_ID, Handler, autocommitted, tags_of
from tests.simulation.store import PROJECTIONS, Key, LogRow, Row, StandingRow, Transaction
from tests.simulation.view_values import key_columns, reader, value_of

from projections import balances, customer_360, event_tags, feed, kept, statements, trial_balance
from projections.tables import metadata
from projections.writing import _insert_sql

SLOT = 0
STORED = ("balances", "customer_360", "kept")
_SUMS = ("debits_posted_minor", "credits_posted_minor", "accounts")
_PAIR = 2

_decode: Callable[[str], list[Row]] = msgspec.json.Decoder(list[dict[str, Any]]).decode


def _changes(transaction: Transaction, table: str) -> dict[Key, Row]:
    """The transaction's own rows of a table."""
    return transaction.views.setdefault(table, {})


def _inserting(table: Table, on_conflict: str) -> Handler:
    """Insert rows given as JSON."""
    names, key = str(table.name), key_columns(table)

    def add(session: Session, transaction: Transaction, row: Row) -> None:
        place = tuple(row[name] for name in key)
        present = session.store.view_row(transaction, names, place)
        if present is not None and on_conflict == "keep":
            return
        if present is not None and on_conflict == "add":
            row = {**row, **{name: present[name] + row[name] for name in _SUMS}}
        _changes(transaction, names)[place] = row

    def handler(session: Session, parameters: Sequence[Any]) -> Answer:
        ledger_id, slot, rows = parameters
        assert (ledger_id, slot) == (LEDGER_ID, SLOT)

        def work(transaction: Transaction) -> Answer:
            for row in _decode(rows):
                add(session, transaction, row)
            return Answer()

        return autocommitted(session, work)

    return handler


def _copying(table: Table, columns: str) -> Handler:
    """Insert rows given as COPY takes them."""
    names, key = [name.strip() for name in columns.split(",")], key_columns(table)
    readers = [reader(table, name) for name in names]

    def handler(session: Session, transaction: Transaction, parameters: Sequence[Any]) -> Answer:
        rows = _changes(transaction, str(table.name))
        for line in str(parameters[0]).splitlines():
            _, _, *fields = line.split("\t")
            row = {
                name: None if field == "null" else read(field)
                for name, read, field in zip(names, readers, fields, strict=True)
            }
            place = tuple(row[name] for name in key)
            if session.store.view_row(transaction, str(table.name), place) is not None:
                message = f"duplicate key value violates unique constraint: {table.name} {place}"
                raise psycopg.errors.UniqueViolation(message)
            rows[place] = row
        return Answer()

    return _writing(handler)


def _writing(change: Callable[[Session, Transaction, Sequence[Any]], Answer]) -> Handler:
    """What changes something, in the session's transaction or in one of its own."""
    return lambda session, parameters: autocommitted(
        session, lambda transaction: change(session, transaction, parameters)
    )


def _values(table: Table, columns: Sequence[str], rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    """Columns of rows, as the driver hands them over."""
    return [tuple(value_of(table, name, row[name]) for name in columns) for row in rows]


def _found(session: Session, table: Table, keys: Iterable[Key]) -> list[Row]:
    """Those of the rows that are there."""
    rows = (session.store.view_row(session.open, str(table.name), key) for key in keys)
    return [row for row in rows if row is not None]


_ACCOUNT_COLUMNS = (
    "account_id, account_no, account_type, currency, scale, normal_side, opened_at, status,"
    " limit_minor, code, name, blocks, holders, metadata, debits_posted_minor,"
    " credits_posted_minor, debits_held_minor, credits_held_minor, version, last_position,"
    " ceiling_minor, groups"
)
_ACCOUNT_NAMES = _ACCOUNT_COLUMNS.split(", ")
_KEPT_NAMES = ("kind", "kept_id", "state")


def _accounts(at: int) -> Handler:
    """Accounts by their ids, which are that parameter."""

    def handler(session: Session, parameters: Sequence[Any]) -> Answer:
        keys = ((name,) for name in dict.fromkeys(parameters[at]))
        rows = _found(session, balances.accounts, keys)
        return Answer(_values(balances.accounts, _ACCOUNT_NAMES, rows))

    return handler


def _kept(session: Session, parameters: Sequence[Any]) -> Answer:
    """Kept states by their kinds and ids."""
    keys = dict.fromkeys(zip(parameters[0], parameters[1], strict=True))
    return Answer(_values(kept.kept, _KEPT_NAMES, _found(session, kept.kept, keys)))


def _kept_texts(session: Session, parameters: Sequence[Any]) -> Answer:
    """The same, the state as text."""
    rows = _kept(session, parameters).fetchall()
    return Answer([(kind, name, state.decode()) for kind, name, state in rows])


def _resident(session: Session, parameters: Sequence[Any]) -> Answer:
    """Kept states of some kinds."""
    rows = session.store.table(session.open, "kept").values()
    chosen = [row for row in rows if row["kind"] in parameters[2]]
    return Answer(_values(kept.kept, _KEPT_NAMES, chosen))


def _due(session: Session, parameters: Sequence[Any]) -> Answer:
    """Kept states that fall due by a moment, the earliest first."""
    _, _, until, after_at, after_kind, after_id, limit = parameters
    rows = []
    for row in session.store.table(session.open, "kept").values():
        if row["due_at"] is not None:
            place = (datetime.fromisoformat(row["due_at"]), row["kind"], row["kept_id"])
            if place[0] <= until and place > (after_at, after_kind, after_id):
                rows.append((place, row))
    rows.sort(key=lambda item: item[0])
    return Answer(_values(kept.kept, _KEPT_NAMES, [row for _, row in rows[:limit]]))


def _units(_session: Session, _: Sequence[Any]) -> Answer:
    """Registered units: nobody registers one here."""
    return Answer()


def _stored_position(session: Session, _: Sequence[Any]) -> Answer:
    """How far all that the writer loads is."""
    positions = [
        row.position for row in session.store.standing_rows(session.open) if row.name in STORED
    ]
    return Answer([(min(positions) if len(positions) == len(STORED) else 0,)])


def _ledgers(_session: Session, _: Sequence[Any]) -> Answer:
    """The one ledger."""
    return Answer([(LEDGER_ID, "main")])


def _register(session: Session, parameters: Sequence[Any]) -> Answer:
    """Begin projections at position 0."""

    def work(transaction: Transaction) -> Answer:
        for name in parameters[1]:
            if name not in session.store.standings:
                transaction.standings[name] = StandingRow(name, SLOT, 0, None)
        return Answer()

    return autocommitted(session, work)


def _live(session: Session, _: Sequence[Any]) -> Answer:
    """Where the projections stand."""
    return Answer([row[:3] for row in session.store.standing_rows(session.open)])


def _live_locked(session: Session, parameters: Sequence[Any]) -> Answer:
    """The same, and keep every other projector out."""

    def work(transaction: Transaction) -> Answer:
        session.store.lock(PROJECTIONS, transaction)
        return _live(session, parameters)

    return autocommitted(session, work)


def _move(session: Session, parameters: Sequence[Any]) -> Answer:
    """Set where projections stand."""
    position, recorded_at, names, slots, ledger_id = parameters
    assert ledger_id == LEDGER_ID

    def work(transaction: Transaction) -> Answer:
        session.store.lock(PROJECTIONS, transaction)
        for name, slot in zip(names, slots, strict=True):
            transaction.standings[name] = StandingRow(name, slot, position, recorded_at)
        return Answer((), len(names))

    return autocommitted(session, work)


def _pieces(session: Session, parameters: Sequence[Any]) -> Answer:
    """Events, those of a kind and time joined."""
    _, after, last = parameters
    groups: dict[tuple[Any, ...], list[LogRow]] = {}
    for row in session.store.rows_after(session.open, after, last):
        place = (row.position // feed.PIECE_EVENTS_MAX, row.type, row.version, row.recorded_at)
        groups.setdefault(place, []).append(row)
    pieces = []
    for (_, name, version, at), rows in groups.items():
        first, end = rows[0].position, rows[-1].position
        positions = [row.position for row in rows] if end - first >= len(rows) else None
        data = "[" + ",".join(row.data.decode() for row in rows) + "]"
        pieces.append((name, version, at, first, end, positions, data))
    return Answer(pieces)


def _first_after(session: Session, parameters: Sequence[Any]) -> Answer:
    """The position of the first event after one."""
    row = next(session.store.rows_after(session.open, parameters[1]), None)
    return Answer([(None if row is None else row.position,)])


def _tags(session: Session, transaction: Transaction, parameters: Sequence[Any]) -> Answer:
    """Index the tags of events, but for the accounts of movements."""
    slot, ledger_id, first, last, movements, account, *_ = parameters
    assert (slot, ledger_id) == (SLOT, LEDGER_ID)
    changes = _changes(transaction, "event_tags")
    for row in session.store.rows_after(transaction, first - 1, last):
        tags = tags_of(row)
        if row.type in movements:
            if len(tags) == _PAIR and all(tag.startswith(account) for tag in tags):
                continue
            tags = [tag for tag in tags if not tag.startswith(account)]
        for tag in tags:
            changes[tag, row.position] = {"tag": tag, "position": row.position}
    return Answer()


def _posted(session: Session, transaction: Transaction, parameters: Sequence[Any]) -> Answer:
    """Set the sums of accounts that took postings only."""
    ledger_id, slot, *texts = parameters
    assert (ledger_id, slot) == (LEDGER_ID, SLOT)
    columns = [[int(item) for item in text[1:-1].split(",")] for text in texts]
    by_number = {
        row["account_no"]: row for row in session.store.table(transaction, "accounts").values()
    }
    changes = _changes(transaction, "accounts")
    for number, debits, credits_, version, position in zip(*columns, strict=True):
        row = by_number[number]
        changes[row["account_id"],] = {
            **row,
            "debits_posted_minor": debits,
            "credits_posted_minor": credits_,
            "version": version,
            "last_position": position,
        }
    return Answer()


_LIVE = (
    "SELECT name, slot, position FROM views.projections WHERE ledger_id = %s AND live ORDER BY name"
)
_KEPT = (
    "SELECT k.kind, k.kept_id, k.state FROM views.projections p"
    " JOIN views.kept k ON k.ledger_id = p.ledger_id AND k.slot = p.slot"
)
_KEPT_LIVE = " WHERE p.ledger_id = %s AND p.name = 'kept' AND p.live AND k.ledger_id = %s"
_ADDED = (
    "DO UPDATE SET"
    " debits_posted_minor = trial_balance.debits_posted_minor + excluded.debits_posted_minor,"
    " credits_posted_minor = trial_balance.credits_posted_minor"
    " + excluded.credits_posted_minor,"
    " accounts = trial_balance.accounts + excluded.accounts"
)

HANDLERS.update(
    {
        "SELECT CASE WHEN count(*) = 3 THEN min(position) ELSE 0 END FROM views.projections"
        " WHERE ledger_id = %s AND live AND name IN ('balances', 'customer_360', 'kept')": (
            _stored_position
        ),
        f"SELECT {', '.join('a.' + name for name in _ACCOUNT_NAMES)}"
        " FROM views.projections p"
        " JOIN views.accounts a ON a.ledger_id = p.ledger_id AND a.slot = p.slot"
        " WHERE p.ledger_id = %s AND p.name = 'balances' AND p.live"
        " AND a.ledger_id = %s AND a.account_id = ANY(%s)": _accounts(2),
        f"SELECT {_ACCOUNT_COLUMNS}"
        " FROM views.accounts WHERE ledger_id = %s AND slot = %s AND account_id = ANY(%s)": (
            _accounts(2)
        ),
        _KEPT + " JOIN unnest(%s::text[], %s::text[]) AS w(kind, kept_id)"
        " ON w.kind = k.kind AND w.kept_id = k.kept_id" + _KEPT_LIVE: _kept,
        _KEPT + _KEPT_LIVE + " AND k.kind = ANY(%s)": _resident,
        _KEPT + _KEPT_LIVE + " AND k.due_at <= %s AND (k.due_at, k.kind, k.kept_id) > (%s, %s, %s)"
        " ORDER BY k.due_at, k.kind, k.kept_id LIMIT %s": _due,
        "SELECT k.kind, k.kept_id, k.state::text FROM views.kept k"
        " JOIN unnest(%s::text[], %s::text[]) AS w(kind, kept_id)"
        " ON w.kind = k.kind AND w.kept_id = k.kept_id"
        " WHERE k.ledger_id = %s AND k.slot = %s": _kept_texts,
        "SELECT u.code, u.scale FROM views.projections p"
        " JOIN views.units u ON u.ledger_id = p.ledger_id AND u.slot = p.slot"
        " WHERE p.ledger_id = %s AND p.name = 'balances' AND p.live AND u.ledger_id = %s": _units,
        "SELECT ledger_id, name FROM ledger.ledgers ORDER BY ledger_id": _ledgers,
        "INSERT INTO views.projections (ledger_id, name, slot, position, recorded_at, live)"
        " SELECT %s, n.name, 0, 0, NULL, true FROM unnest(%s::text[]) AS n(name)"
        " WHERE NOT EXISTS (SELECT 1 FROM views.projections p"
        " WHERE p.ledger_id = %s AND p.name = n.name)"
        " ON CONFLICT DO NOTHING": _register,
        _LIVE: _live,
        _LIVE + " FOR UPDATE": _live_locked,
        "UPDATE views.projections p SET position = %s, recorded_at = %s"
        " FROM unnest(%s::text[], %s::smallint[]) AS v(name, slot)"
        " WHERE p.ledger_id = %s AND p.name = v.name AND p.slot = v.slot": _move,
        feed.PIECES: _pieces,
        "SELECT min(position) FROM ledger.events WHERE ledger_id = %s AND position > %s": (
            _first_after
        ),
        "INSERT INTO views.event_tags (ledger_id, slot, tag, position)"
        " SELECT e.ledger_id, %s, t.tag, e.position"
        " FROM ledger.events e CROSS JOIN unnest(e.tags) AS t(tag)"
        " WHERE e.ledger_id = %s AND e.position BETWEEN %s AND %s"
        " AND NOT (e.type = ANY(%s) AND cardinality(e.tags) = 2"
        " AND e.tags[1] ^@ %s AND e.tags[2] ^@ %s)"
        " AND NOT (e.type = ANY(%s) AND t.tag ^@ %s)"
        " ORDER BY t.tag, e.position ON CONFLICT DO NOTHING": _writing(_tags),
        "UPDATE views.accounts a SET debits_posted_minor = v.d, credits_posted_minor = v.c,"
        " version = v.v, last_position = v.p FROM ("
        "SELECT %s::integer AS l, %s::smallint AS s, u.* FROM unnest("
        "%s::bigint[], %s::numeric[], %s::numeric[], %s::bigint[], %s::bigint[])"
        " AS u(n, d, c, v, p) OFFSET 0) AS v"
        " WHERE a.account_no = v.n AND a.ledger_id = v.l AND a.slot = v.s": _writing(_posted),
        **{
            _insert_sql(table, on_conflict): _inserting(table, on_conflict)
            for table in metadata.sorted_tables
            if table.name != "projections"
            for on_conflict in ("replace", "keep")
        },
        _insert_sql(trial_balance.trial_balance, _ADDED): _inserting(
            trial_balance.trial_balance, "add"
        ),
        **{
            f"COPY {table.fullname} (ledger_id, slot, {columns}) FROM STDIN (NULL 'null')": (
                _copying(table, columns)
            )
            for table, columns in (
                (statements.statement_lines, statements.COLUMNS),
                (statements.held_lines, statements.HELD_COLUMNS),
                (balances.account_changes, "account_no, position"),
            )
        },
    }
)

SIMULATED = (
    event_tags.PROJECTION,
    balances.PROJECTION,
    kept.PROJECTION,
    statements.PROJECTION,
    trial_balance.PROJECTION,
    customer_360.PROJECTION,
)
"""The projections that the simulated projector keeps: all but the risk flags."""
