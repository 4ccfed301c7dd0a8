"""Attempts to get in: after a few that failed, the next one has to wait, ever longer.

An attempt is counted before it is judged and forgiven if it succeeds, so that any number of
attempts at one moment are as many as one after the other. Names are counted whether or not
anybody has them: what is answered says nothing about who exists. What is kept of a name is a keyed
hash.
"""

import hmac
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from ledger_core.log import Connection

Kind = Literal["person", "code", "client"]


class Patience(msgspec.Struct, frozen=True):
    """How long one waits after failures: after ``free_max``, not at all.

    After one more ``first_s``, after each further one twice as long. Failures are forgotten
    ``forgotten_s`` after the last one.
    """

    free_max: int
    first_s: int
    longest_s: int
    forgotten_s: int

    def wait_s(self, failures: int) -> int:
        """How long to wait after so many failures in a row."""
        if failures <= self.free_max:
            return 0
        doublings = min(failures - self.free_max - 1, self.longest_s.bit_length())
        return min(self.first_s << doublings, self.longest_s)


# A person's password or code: some 30 guesses in a day, after the first few.
_OF_ONE = Patience(free_max=4, first_s=30, longest_s=3_600, forgotten_s=86_400)
# A client may be the address of a whole office.
_OF_CLIENT = Patience(free_max=29, first_s=60, longest_s=3_600, forgotten_s=3_600)
PATIENCE: dict[Kind, Patience] = {"person": _OF_ONE, "code": _OF_ONE, "client": _OF_CLIENT}
FORGOTTEN = timedelta(seconds=max(patience.forgotten_s for patience in PATIENCE.values()))

_LABEL = b"ledger attempts v1"


class Attempts:
    """Counts attempts in a ledger; ``ledger_id`` 0 stands for ledgers that do not exist."""

    def __init__(self, connection: Connection, ledger_id: int, server_secret: bytes) -> None:
        """Count on a connection that acts as ``ledger_writer``."""
        self._connection = connection
        self._ledger_id = ledger_id
        self._key = hmac.digest(server_secret, _LABEL, "sha256")

    def begin(self, kind: Kind, name: str, at: datetime) -> int:
        """Count an attempt as failed; 0, or how many seconds to wait before there may be one.

        Durable when this returns, outside a transaction: before the attempt is judged.
        """
        with self._connection.transaction():
            return self._begin(kind, name, at)

    def forgive(self, kind: Kind, name: str) -> None:
        """The attempt succeeded: forget that it was counted."""
        self._connection.execute(
            "UPDATE keystore.attempts SET failures = greatest(failures - 1, 0), locked_until = NULL"
            " WHERE ledger_id = %s AND kind = %s AND name_hash = %s",
            self._place(kind, name),
        )

    def forget(self, kind: Kind, name: str) -> None:
        """Forget every failure of a name."""
        self._connection.execute(
            "DELETE FROM keystore.attempts WHERE ledger_id = %s AND kind = %s AND name_hash = %s",
            self._place(kind, name),
        )

    def forget_old(self, at: datetime) -> None:
        """Forget everything that counts no more."""
        self._connection.execute(
            "DELETE FROM keystore.attempts WHERE ledger_id = %s AND last_at < %s"
            " AND (locked_until IS NULL OR locked_until <= %s)",
            (self._ledger_id, at - FORGOTTEN, at),
        )

    def _begin(self, kind: Kind, name: str, at: datetime) -> int:
        """Count an attempt, and lock the name where it was one too many."""
        patience, place = PATIENCE[kind], self._place(kind, name)
        counted = self._connection.execute(
            "INSERT INTO keystore.attempts AS known"
            " (ledger_id, kind, name_hash, failures, last_at) VALUES (%s, %s, %s, 1, %s)"
            " ON CONFLICT (ledger_id, kind, name_hash) DO UPDATE SET last_at = excluded.last_at,"
            " failures = CASE WHEN known.last_at < %s THEN 1 ELSE known.failures + 1 END"
            " WHERE known.locked_until IS NULL OR known.locked_until <= excluded.last_at"
            " RETURNING failures",
            (*place, at, at - timedelta(seconds=patience.forgotten_s)),
        ).fetchone()
        if counted is None:
            return self._left_s(kind, name, at)
        # The attempt itself is judged; it is the next one that waits.
        wait_s = patience.wait_s(counted[0])
        self._connection.execute(
            "UPDATE keystore.attempts SET locked_until = %s"
            " WHERE ledger_id = %s AND kind = %s AND name_hash = %s",
            (at + timedelta(seconds=wait_s) if wait_s else None, *place),
        )
        return 0

    def _left_s(self, kind: Kind, name: str, at: datetime) -> int:
        """For how long a name is locked still, in whole seconds, at least 1."""
        row = self._connection.execute(
            "SELECT locked_until FROM keystore.attempts"
            " WHERE ledger_id = %s AND kind = %s AND name_hash = %s",
            self._place(kind, name),
        ).fetchone()
        left_s = 0.0 if row is None or row[0] is None else (row[0] - at).total_seconds()
        return max(1, -int(-left_s // 1))

    def _place(self, kind: Kind, name: str) -> tuple[int, Kind, bytes]:
        """Where a name is counted."""
        text = f"{kind} {name}".encode(errors="replace")
        return self._ledger_id, kind, hmac.digest(self._key, text, "sha256")
