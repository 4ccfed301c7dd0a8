"""Replay: all projections as they stood after a position, in a schema of their own.

Made from the log alone, with the same fold that keeps the live views, into tables of the same
names and columns, which any SQL tool can query. Built under a provisional name and renamed at the
end, so that a schema of the name asked for is whole or not there. The live views and the log are
only read: tables are made in the role ``ledger_replayer``, which owns nothing but replays, and
filled in the projectors' role.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec
import psycopg
from psycopg import sql

from ledger_core import log, merkle
from ledger_core.errors import LedgerNotFound
from ledger_core.log import Connection
from projections.batches import BATCH_EVENTS_MAX, take_batch
from projections.memory import Memory
from projections.registry import PROJECTIONS
from projections.tables import metadata

NAME_CHARACTERS_MAX = 50
"""PostgreSQL takes 63, and the provisional name is longer."""
LOCK_TIMEOUT = "10s"
"""A schema that is being read for longer than that is not replaced."""
SLOT = 0
INFO = "replay_info"

_MADE_BY = "made by ledger replay"
_BUILDING = "__building"
_KEPT_FOR_OTHERS = ("information_schema", "public")
_OURS = ("ledger", "views", "keystore", "audit", "analytics", "alarms")
_TABLES = tuple(str(table.name) for table in metadata.sorted_tables)

Progress = Callable[[int, int], None]


class ReplayRefused(Exception):  # noqa: N818 - not an error of the program's
    """The replay cannot be made, or not be dropped; the message says why."""


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a schema shows: which ledger after which position, and the root of its tree there.

    ``root`` is the Merkle tree hash over the first ``position`` leaves, in hexadecimal, as the
    leaf hashes in the log have it. ``asked`` is the point in time as it was asked for.
    """

    schema: str
    ledger_id: int
    ledger: str
    position: int
    recorded_at: datetime | None
    root: str
    asked: str
    made_at: datetime


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to replay, and into which schema; ``replace`` the replay that is there, if one is."""

    schema: str
    ledger_id: int
    ledger: str
    position: int
    asked: str
    replace: bool = False


def replay_into(
    owner: Connection,
    projector: Connection,
    wanted: Wanted,
    made_at: datetime,
    progress: Progress | None = None,
) -> Replay:
    """Make the schema. ``owner`` is in the role of replays, ``projector`` in the projectors'.

    Raises:
        LedgerNotFound: no such ledger.
        ReplayRefused: the name, the position, or what stands there already, does not allow it.
        UnknownEvent, msgspec.DecodeError, UnfoldableError: the log cannot be taken in; no schema
            was made.
    """
    _require_name(owner, wanted.schema)
    head = log.read_head(owner, wanted.ledger_id).position
    if wanted.position > head:
        msg = f"The log ends at position {head}."
        raise ReplayRefused(msg)
    building = wanted.schema + _BUILDING
    _lock(owner, wanted.schema)
    try:
        _require_free(owner, wanted)
        if _exists(owner, building):  # Left by a replay that was interrupted.
            _drop(owner, building)
        _create(owner, building, wanted.ledger_id)
        try:
            recorded_at, root = _fill(projector, building, wanted, progress)
            made = Replay(
                schema=wanted.schema,
                ledger_id=wanted.ledger_id,
                ledger=wanted.ledger,
                position=wanted.position,
                recorded_at=recorded_at,
                root=root.hex(),
                asked=wanted.asked,
                made_at=made_at,
            )
            _finish(owner, building, made)
        except BaseException:
            if not owner.broken:  # Else the next replay into the schema drops it.
                _drop(owner, building)
            raise
    finally:
        _unlock(owner, wanted.schema)
    return made


def replays(connection: Connection) -> list[Replay]:
    """Every replay there is, by the name of its schema."""
    rows = connection.execute(
        "SELECT nspname FROM pg_namespace"
        " WHERE obj_description(oid, 'pg_namespace') = %s AND NOT nspname ^@ %s"
        " AND right(nspname, %s) <> %s ORDER BY nspname",
        (_MADE_BY, "pg_", len(_BUILDING), _BUILDING),
    ).fetchall()
    return [_info(connection, row[0]) for row in rows]


def drop(owner: Connection, schema: str) -> None:
    """Drop a schema that a replay made, and what an interrupted replay into it left.

    Raises:
        ReplayRefused: there is none of that name, something else made it, or others use it.
    """
    _require_name(owner, schema)
    _lock(owner, schema)
    try:
        found = [name for name in (schema, schema + _BUILDING) if _exists(owner, name)]
        if not found:
            msg = f"There is no schema {schema}."
            raise ReplayRefused(msg)
        for name in found:
            _drop(owner, name)
    finally:
        _unlock(owner, schema)


def _require_name(connection: Connection, schema: str) -> None:
    """The name is one that a replay may have, and needs no quotes.

    Raises:
        ReplayRefused: it is not.
    """
    is_plain = (
        0 < len(schema) <= NAME_CHARACTERS_MAX
        and schema.isascii()
        and schema[0].isalpha()
        and schema.replace("_", "a").isalnum()
        and schema == schema.lower()
    )
    if is_plain:
        row = connection.execute("SELECT quote_ident(%s)", (schema,)).fetchone()
        is_plain = row is not None and row[0] == schema
    if not is_plain:
        msg = (
            f"The schema's name is 1 to {NAME_CHARACTERS_MAX} lower-case letters, digits and _,"
            " a letter first, and no word of SQL."
        )
        raise ReplayRefused(msg)
    # A schema of a role's name comes before all others where that role names a table.
    role = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (schema,)).rowcount
    if schema in _OURS + _KEPT_FOR_OTHERS or schema.startswith("pg_") or role:
        msg = f"The schema {schema} is not one that a replay may touch."
        raise ReplayRefused(msg)
    if schema.endswith(_BUILDING):
        msg = f"Names that end in {_BUILDING} are those of replays under way."
        raise ReplayRefused(msg)


def _lock(owner: Connection, schema: str) -> None:
    """Keep every other replay out of the schema, until this connection ends.

    Raises:
        ReplayRefused: another is at it.
    """
    row = owner.execute(
        "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (f"{_MADE_BY} {schema}",)
    ).fetchone()
    if row is None or not row[0]:
        msg = f"Another replay into {schema} is under way."
        raise ReplayRefused(msg)


def _unlock(owner: Connection, schema: str) -> None:
    """Let others at the schema again; a connection that is lost has let go already."""
    if not owner.closed and not owner.broken:
        owner.execute(
            "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", (f"{_MADE_BY} {schema}",)
        )


def _require_free(owner: Connection, wanted: Wanted) -> None:
    """No schema has the name, or it is a replay that may be replaced.

    Raises:
        ReplayRefused: it is not so.
    """
    if not _exists(owner, wanted.schema):
        return
    _require_made_here(owner, wanted.schema)
    if not wanted.replace:
        msg = f"The replay {wanted.schema} is there already; it can be replaced or dropped."
        raise ReplayRefused(msg)


def _exists(owner: Connection, schema: str) -> bool:
    """Whether there is a schema of that name."""
    row = owner.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", (schema,)).fetchone()
    return row is not None


def _require_made_here(owner: Connection, schema: str) -> None:
    """A replay made the schema.

    Raises:
        ReplayRefused: something else did.
    """
    row = owner.execute(
        "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s",
        (schema,),
    ).fetchone()
    if row is None or row[0] != _MADE_BY:
        msg = f"The schema {schema} was not made by a replay; it is left as it is."
        raise ReplayRefused(msg)


def _drop(owner: Connection, schema: str) -> None:
    """Drop what a replay made, and nothing that others put there or made of it.

    Raises:
        ReplayRefused: there is such a thing, somebody is reading it, or no replay made it.
    """
    _require_made_here(owner, schema)
    named = sql.Identifier(schema)
    tables = [sql.Identifier(schema, name) for name in (*_TABLES, INFO)]
    try:
        with owner.transaction():
            owner.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
            owner.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(tables)))
            owner.execute(sql.SQL("DROP SCHEMA {}").format(named))
    except psycopg.errors.DependentObjectsStillExist:
        msg = f"Others made objects in {schema} or of its tables: drop those first."
        raise ReplayRefused(msg) from None
    except psycopg.errors.LockNotAvailable:
        msg = f"Somebody is reading {schema}; try again later."
        raise ReplayRefused(msg) from None


def _create(owner: Connection, schema: str, ledger_id: int) -> None:
    """Make the schema with empty tables, for the projectors to fill."""
    named = sql.Identifier(schema)
    with owner.transaction():
        owner.execute(sql.SQL("CREATE SCHEMA {}").format(named))
        owner.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(named, sql.Literal(_MADE_BY)))
        owner.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO ledger_projector").format(named))
        for name in _TABLES:
            owner.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(
                    sql.Identifier(schema, name), sql.Identifier("views", name)
                )
            )
        owner.execute(
            sql.SQL(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {}"
                " TO ledger_projector"
            ).format(named)
        )
        owner.execute(
            sql.SQL(
                "INSERT INTO {} (ledger_id, name, slot, position, recorded_at, live)"
                " SELECT %s, n.name, %s, 0, NULL, true FROM unnest(%s::text[]) AS n(name)"
            ).format(sql.Identifier(schema, "projections")),
            (ledger_id, SLOT, [projection.name for projection in PROJECTIONS]),
        )


def _fill(
    projector: Connection, schema: str, wanted: Wanted, progress: Progress | None
) -> tuple[datetime | None, bytes]:
    """Take in the log up to the position; when that was recorded, and the root of its tree.

    Raises:
        ReplayRefused: the log ends before the position.
    """
    targets = [(projection, SLOT) for projection in PROJECTIONS]
    slots = {projection.name: SLOT for projection in PROJECTIONS}
    memory = Memory(is_complete=False, slots=slots)
    frontier = merkle.EMPTY
    # Whoever loses the replay with the machine makes it again.
    projector.execute("SET synchronous_commit = off")
    while memory.position < wanted.position:
        most = min(BATCH_EVENTS_MAX, wanted.position - memory.position)
        with projector.transaction():
            taken = take_batch(projector, wanted.ledger_id, targets, memory, most, schema=schema)
            if not taken:
                msg = f"The log ends at position {memory.position}."
                raise ReplayRefused(msg)
            leaves = projector.execute(
                "SELECT leaf_hash FROM ledger.events"
                " WHERE ledger_id = %s AND position > %s AND position <= %s ORDER BY position",
                (wanted.ledger_id, memory.position - taken, memory.position),
            )
            frontier = merkle.extend(frontier, (row[0] for row in leaves))
        if progress is not None:
            progress(memory.position, wanted.position)
    row = projector.execute(
        "SELECT recorded_at FROM ledger.events WHERE ledger_id = %s AND position = %s",
        (wanted.ledger_id, wanted.position),
    ).fetchone()
    return None if row is None else row[0], merkle.root(frontier)


def _finish(owner: Connection, building: str, made: Replay) -> None:
    """Say what it is, let analysts read it, and put it under its name, all at once.

    Raises:
        ReplayRefused: the replay that it is to replace cannot be dropped.
    """
    named = sql.Identifier(building)
    info = sql.Identifier(building, INFO)
    for name in _TABLES:
        owner.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(building, name)))
    with owner.transaction():
        owner.execute(
            sql.SQL(
                "CREATE TABLE {} (ledger_id integer NOT NULL, ledger text NOT NULL,"
                " position bigint NOT NULL, recorded_at timestamptz, root text NOT NULL,"
                " asked text NOT NULL, made_at timestamptz NOT NULL)"
            ).format(info)
        )
        owner.execute(
            sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, %s, %s)").format(info),
            (
                made.ledger_id,
                made.ledger,
                made.position,
                made.recorded_at,
                made.root,
                made.asked,
                made.made_at,
            ),
        )
        for statement in (
            "REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM ledger_projector",
            "REVOKE ALL ON SCHEMA {} FROM ledger_projector",
            "GRANT USAGE ON SCHEMA {} TO ledger_reader",
            "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO ledger_reader",
        ):
            owner.execute(sql.SQL(statement).format(named))
        if _exists(owner, made.schema):
            _drop(owner, made.schema)
        owner.execute(
            sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(named, sql.Identifier(made.schema))
        )


def _info(connection: Connection, schema: str) -> Replay:
    """What a replay says of itself.

    Raises:
        LedgerNotFound: it says nothing.
    """
    row = connection.execute(
        sql.SQL(
            "SELECT ledger_id, ledger, position, recorded_at, root, asked, made_at FROM {}"
        ).format(sql.Identifier(schema, INFO))
    ).fetchone()
    if row is None:
        raise LedgerNotFound
    ledger_id, ledger, position, recorded_at, root, asked, made_at = row
    return Replay(
        schema=schema,
        ledger_id=ledger_id,
        ledger=ledger,
        position=position,
        recorded_at=recorded_at,
        root=root,
        asked=asked,
        made_at=made_at,
    )
