"""Another wrapping key for all persons, while everybody works on.

The sealed values and the data keys stay as they are: only what the data keys are wrapped by
changes. Each is replaced only if it still is what was read, so an erasure in between stays an
erasure. No lock is held while a provider is asked.
"""

from collections.abc import Callable
from datetime import datetime

from ledger_core.key_provider import KeyProvider, VaultError, WrappedKey
from ledger_core.log import Connection

KEYS_AT_ONCE = 500

_OTHERS = """
    SELECT ledger_id, subject, wrapping_key_id, wrapped_key FROM keystore.subject_keys
    WHERE wrapped_key IS NOT NULL AND wrapping_key_id <> %s AND (ledger_id, subject) > (%s, %s)
    ORDER BY ledger_id, subject LIMIT %s
"""
_REPLACE = """
    UPDATE keystore.subject_keys SET wrapped_key = %s, wrapping_key_id = %s
    WHERE ledger_id = %s AND subject = %s AND wrapped_key = %s
"""
_RETIRE = """
    UPDATE keystore.wrapping_keys SET retired_at = %s WHERE retired_at IS NULL AND key_id <> %s
"""
_USE = """
    INSERT INTO keystore.wrapping_keys (key_id, first_used_at) VALUES (%s, %s)
    ON CONFLICT DO NOTHING
"""
_IS_USED = "SELECT FROM keystore.wrapping_keys WHERE key_id = %s AND retired_at IS NULL"
_RETIRED = "SELECT key_id FROM keystore.wrapping_keys WHERE retired_at IS NOT NULL"
_COUNT = "SELECT count(*) FROM keystore.subject_keys WHERE wrapped_key IS NOT NULL"


def retired(connection: Connection) -> set[str]:
    """The ids of the keys that wrap nothing more."""
    return {str(row[0]) for row in connection.execute(_RETIRED)}


def rewrap(
    connection: Connection,
    provider: KeyProvider,
    target: str,
    at: datetime,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Wrap every data key by ``target`` and put it in use for new ones; how many there are.

    ``connection`` is in autocommit mode. When this returns, nothing in the database is wrapped by
    another key, and nothing will be. Interrupted, it may be called again.

    Raises:
        VaultError: a data key opens with no key that is known; those before it are wrapped anew
            and no key is retired. Or ``target`` was in use before.
        LedgerBusy: the wrapping keys cannot be reached.
    """
    if target in retired(connection):
        msg = "that key-encryption key was retired before: take a new one"
        raise VaultError(msg)
    _replace_all(connection, provider, target, progress)
    is_used = False
    while not is_used:
        with connection.transaction():
            # Waits for whoever is about to store what the key in use has wrapped, or to be the
            # first to use one: then it is that one's turn to be retired.
            connection.execute(_RETIRE, (at, target))
            connection.execute(_USE, (target, at))
        is_used = connection.execute(_IS_USED, (target,)).rowcount == 1
    _replace_all(connection, provider, target, progress)
    row = connection.execute(_COUNT).fetchone()
    return 0 if row is None else int(row[0])


def _replace_all(
    connection: Connection,
    provider: KeyProvider,
    target: str,
    progress: Callable[[int], None] | None,
) -> None:
    """Wrap by ``target`` whatever is not.

    Raises:
        VaultError: see ``rewrap``.
    """
    done = 0
    last: tuple[int, str] = (0, "")
    while True:
        rows = connection.execute(_OTHERS, (target, *last, KEYS_AT_ONCE)).fetchall()
        if not rows:
            return
        fresh = provider.rewrap([WrappedKey(row[2], row[3]) for row in rows], target)
        if None in fresh:
            msg = "a subject's key opens with no key-encryption key that is known"
            raise VaultError(msg)
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(
                _REPLACE,
                [
                    (wrapped, target, ledger_id, subject, before)
                    for (ledger_id, subject, _, before), wrapped in zip(rows, fresh, strict=True)
                ],
            )
        done += len(rows)
        last = (rows[-1][0], rows[-1][1])
        if progress is not None:
            progress(done)
