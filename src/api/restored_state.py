"""What a restore to a point takes from the newest state: the key store, and who was erased."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from api import clock
from api.backup_store import BackupError
from ledger_core import database
from ledger_core.blind_index import BlindIndex
from ledger_core.customers import EraseCustomer
from ledger_core.key_provider import KEY_BYTES, Ring
from ledger_core.ledger import Ledger, Submission
from ledger_core.vault import Vault
from projections import runner

ACTOR = "restore"

_TABLES = """
    SELECT tablename FROM pg_tables WHERE schemaname = 'keystore' ORDER BY tablename
"""
_COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = ('keystore.' || quote_ident(%s))::regclass AND attnum > 0
      AND NOT attisdropped AND attgenerated = ''
    ORDER BY attnum
"""
_ERASED = """
    SELECT e.data->>'customer_id', e.command_key, e.data->>'reason', e.position
    FROM ledger.events e WHERE e.ledger_id = %s AND e.position > %s AND e.type = 'CustomerErased'
    ORDER BY e.position
"""
_STRANGERS = """
    DELETE FROM keystore.blind_indexes b WHERE NOT EXISTS (
        SELECT FROM ledger.events e WHERE e.ledger_id = b.ledger_id
        AND e.type = 'CustomerRegistered' AND e.data->>'customer_id' = b.customer_id)
"""


class Erasure(msgspec.Struct, frozen=True):
    """An erasure that the restored log does not know any more, and how repeating it was answered.

    ``status`` is empty until it was repeated; ``customer_not_found`` where the point lies before
    the customer was registered.
    """

    ledger: str
    customer_id: str
    key: str
    reason: str
    lost_position: int
    status: str = ""


def place_of(connection: psycopg.Connection[Any], ledger: str) -> tuple[int, int]:
    """The id of a ledger, and the position of its log.

    Raises:
        BackupError: there is no such ledger.
    """
    row = connection.execute(
        "SELECT ledger_id, h.position FROM ledger.ledgers l JOIN ledger.heads h USING (ledger_id)"
        " WHERE l.name = %s",
        (ledger,),
    ).fetchone()
    if row is None:
        msg = f"There is no ledger {ledger} in this backup."
        raise BackupError(msg)
    return int(row[0]), int(row[1])


def erasures(latest: psycopg.Connection[Any], restored: Mapping[str, int]) -> list[Erasure]:
    """Who was erased after the positions at which the restored logs end."""
    found: list[Erasure] = []
    for name, position in restored.items():
        ledger_id, _ = place_of(latest, name)
        rows = latest.execute(_ERASED, (ledger_id, position))
        found += [
            Erasure(name, customer, key or f"restored:{at}", reason, at)
            for customer, key, reason, at in rows
        ]
    return found


def take_key_store(latest: psycopg.Connection[Any], restored: psycopg.Connection[Any]) -> None:
    """Put the key store of the newest state in the place of the restored one, table by table.

    So keys that were destroyed stay so, keys that were wrapped anew open, and nobody whose key,
    password or session was ended comes in again.
    """
    tables = [row[0] for row in latest.execute(_TABLES)]
    with restored.transaction():
        for table in tables:
            name = sql.Identifier("keystore", table)
            columns = sql.SQL(", ").join(
                sql.Identifier(row[0]) for row in latest.execute(_COLUMNS, (table,))
            )
            restored.execute(sql.SQL("DELETE FROM {}").format(name))
            read = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT binary)").format(name, columns)
            write = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(name, columns)
            with (
                latest.cursor().copy(read) as source,
                restored.cursor().copy(write) as target,
            ):
                for data in source:
                    target.write(data)
        restored.execute(_STRANGERS)


def repeat_erasures(
    url: str,
    connection: psycopg.Connection[Any],
    lost: list[Erasure],
    now: Callable[[], datetime],
) -> tuple[Erasure, ...]:
    """Have the restored log erase them again, each under its own key; how each was answered.

    No secret is needed for it: the keys of these persons are destroyed, not opened.
    """
    provider = Ring([clock.random_bytes(KEY_BYTES)])
    index = BlindIndex(clock.random_bytes(KEY_BYTES))
    vault = Vault(provider, clock.random_bytes)
    done: list[Erasure] = []
    for erasure in lost:
        ledger_id, _ = place_of(connection, erasure.ledger)
        ledger = Ledger(
            lambda: database.connect(url, "ledger_writer"), ledger_id, now, vault, index
        )
        with database.connect(url, "ledger_projector") as projector:
            runner.catch_up(projector, ledger_id)
        command = EraseCustomer(
            key=erasure.key, customer_id=erasure.customer_id, reason=erasure.reason
        )
        try:
            ((outcome,),) = ledger.execute([Submission([command], ACTOR)])
        finally:
            ledger.close()
        status = outcome.status if outcome.error is None else outcome.error.code
        done.append(msgspec.structs.replace(erasure, status=status))
    return tuple(done)
