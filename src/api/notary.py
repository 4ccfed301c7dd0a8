"""The notary: signs the heads of logs, and never one that does not continue what it signed before.

Before it signs, it proves to itself that the present log begins with the one it signed last: as the
database remembers it, as this process does, and as a file outside the database does, so that
neither an altered nor a restored database makes it contradict itself. Where it cannot prove that,
it signs nothing more of that log, and says so wherever an operator looks.

Deliberately does not know: where checkpoints are published, or who asks for them.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec
import structlog

from api import signing_keys
from api.settings import Settings
from api.signed_before import SignedBefore
from ledger_core import merkle, proofs, tiles
from ledger_core.checkpoints import Checkpoint
from ledger_core.database import LOST, Role
from ledger_core.errors import LedgerBusy, LedgerNotFound
from ledger_core.log import Connection
from ledger_core.tiles import LogName, TreeDamagedError

# Where tiles lack for more than this, they are computed before anything is signed.
LAG_LEAVES_MAX = tiles.EDGE_LEAVES_MAX // 4
# Reads arrive all the time, and a checkpoint has 3.4 kB: the access log is not signed more often.
ACCESSES_EVERY = timedelta(minutes=1)
# A log that was found not to continue is looked at again so often.
LOOK_AGAIN = timedelta(seconds=30)

_ACCESS = "/access"
_COLUMNS = "ledger_id, log, size, root, signed_at, note"

_log = structlog.get_logger("ledger.notary")

Key = tuple[int, LogName]


class Signed(msgspec.Struct, frozen=True):
    """A checkpoint as it was signed: of which log, its size and root, when, and the note."""

    ledger_id: int
    log: LogName
    size: int
    root: bytes
    signed_at: datetime
    note: str


class Figures(msgspec.Struct):
    """What an operator watches of one log."""

    size: int = 0
    signed_at: datetime | None = None
    failures: int = 0
    stopped: str | None = None


class NotaryStoppedError(RuntimeError):
    """The log does not continue what was signed before: nothing more of it is signed."""


class BeyondLogError(ValueError):
    """A checkpoint is asked for of more than the log holds."""


class Notary:
    """Signs checkpoints for one process; others may do so at the same time."""

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[Role], Connection],
        now: Callable[[], datetime],
    ) -> None:
        """Sign with the keys and for the origin that the settings name."""
        self._settings = settings
        self._connect = connect
        self._now = now
        self._before = SignedBefore(settings)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._names: dict[int, str] = {}
        self._newest: dict[Key, Signed] = {}
        self._look_again_at: dict[Key, datetime] = {}
        self._listeners: list[Callable[[Signed], None]] = []
        self.figures: dict[Key, Figures] = {}

    def listen(self, listener: Callable[[Signed], None]) -> None:
        """Tell of every checkpoint that this process signs from now on; must return at once."""
        self._listeners.append(listener)

    def at(self, ledger_id: int, log: LogName = "events", size: int | None = None) -> Signed:
        """The checkpoint of that size, or of the present head; signed now if it was not yet.

        Raises:
            LedgerNotFound: no such ledger.
            BeyondLogError: the log is not that long.
            NotaryStoppedError: the log does not continue what was signed before.
        """
        with self._lock:
            return self._guarded((ledger_id, log), lambda it: self._at(it, ledger_id, log, size))

    def covering(self, ledger_id: int, position: int, log: LogName = "events") -> Signed:
        """A checkpoint that covers a position: the newest, or the present head's, signed now.

        Raises:
            LedgerNotFound: no such ledger.
            BeyondLogError: the log does not reach that position.
            NotaryStoppedError: the log does not continue what was signed before.
        """
        found = self._newest.get((ledger_id, log))
        if found is not None and found.size >= position:
            return found

        def sign(connection: Connection) -> Signed:
            """The newest checkpoint, or a new one."""
            last = self._newest.get((ledger_id, log)) or newest(connection, ledger_id, log)
            if last is not None and last.size >= position:
                return last
            signed = self._at(connection, ledger_id, log, None)
            if signed.size < position:
                raise BeyondLogError(f"the log ends at position {signed.size}")
            return signed

        with self._lock:
            return self._guarded((ledger_id, log), sign)

    def round(self) -> None:
        """Sign every log that has grown since it was last signed.

        Raises:
            psycopg.Error: the database is away.
        """
        with self._lock:
            connection = self._open()
            grown = [
                (ledger_id, log)
                for log in tiles.logs(connection)
                for ledger_id, position in tiles.heads(connection, log).items()
                if position and self._is_due((ledger_id, log), position)
            ]
        for ledger_id, log in grown:
            was_stopped = self.figures.get((ledger_id, log), Figures()).stopped is not None
            try:
                self.at(ledger_id, log)
            except NotaryStoppedError as error:  # Other logs are none the worse.
                _log.error("notary stopped", ledger_id=ledger_id, log=log, reason=str(error))
            except LedgerBusy:
                continue  # Its tiles are being computed.
            else:
                if was_stopped:
                    _log.warning("notary signs again", ledger_id=ledger_id, log=log)

    @property
    def is_stopped(self) -> bool:
        """Whether there is a log that does not continue what was signed before."""
        return any(figures.stopped is not None for figures in list(self.figures.values()))

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._close()

    def _is_due(self, key: Key, position: int) -> bool:
        """Whether a log with that many entries is to be signed."""
        if key in self._look_again_at:
            return self._now() >= self._look_again_at[key]
        last = self._newest.get(key)
        if last is None or last.size == position:
            return last is None
        return key[1] == "events" or self._now() - last.signed_at >= ACCESSES_EVERY

    def _guarded(self, key: Key, work: Callable[[Connection], Signed]) -> Signed:
        """Do it, and take note of what came of it.

        Raises:
            NotaryStoppedError: the log does not continue what was signed before.
        """
        figures = self.figures.setdefault(key, Figures())
        try:
            signed = work(self._open())
        except (NotaryStoppedError, TreeDamagedError) as error:
            figures.failures += 1
            figures.stopped = str(error)
            self._look_again_at[key] = self._now() + LOOK_AGAIN
            raise NotaryStoppedError(str(error)) from None
        except LOST:
            figures.failures += 1
            self._close()
            raise
        figures.stopped = None
        self._look_again_at.pop(key, None)
        if signed.size >= figures.size:
            figures.size, figures.signed_at = signed.size, signed.signed_at
        return signed

    def _at(self, connection: Connection, ledger_id: int, log: LogName, size: int | None) -> Signed:
        """As ``at``, with the lock held."""
        while tiles.head(connection, ledger_id, log).size - LAG_LEAVES_MAX > (
            tiles.count(connection, ledger_id, log) * tiles.TILE
        ) and tiles.extend(connection, ledger_id, log, tiles.head(connection, ledger_id, log).size):
            pass
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            signed, is_new = self._signed(connection, ledger_id, log, size)
        key = ledger_id, log
        last = self._newest.get(key)
        if last is None or last.size <= signed.size:
            self._newest[key] = signed
        if is_new:
            for tell in self._listeners:
                tell(signed)
        return signed

    def _signed(
        self, connection: Connection, ledger_id: int, log: LogName, size: int | None
    ) -> tuple[Signed, bool]:
        """The checkpoint, and whether it is new, in one transaction.

        Raises:
            BeyondLogError: the log is not that long.
            NotaryStoppedError: the log does not continue what was signed before.
        """
        frontier = tiles.head(connection, ledger_id, log)
        size = frontier.size if size is None else size
        if size > frontier.size:
            raise BeyondLogError(f"the log ends at position {frontier.size}")
        tree = tiles.Tree(connection, ledger_id, log)
        self._require_continued(connection, (ledger_id, log), frontier, tree)
        found = at_size(connection, ledger_id, size, log)
        root = tree.root_within(frontier, size)
        if found is not None:
            if found.root != root:
                raise NotaryStoppedError(f"the log up to {size} is not the one that was signed")
            return found, False
        signed = self._sign(connection, ledger_id, log, size, root)
        connection.execute(
            f"INSERT INTO audit.checkpoints ({_COLUMNS}) VALUES (%s, %s, %s, %s, %s, %s)"  # noqa: S608 - our own columns
            " ON CONFLICT DO NOTHING",
            (ledger_id, log, size, root, signed.signed_at, signed.note),
        )
        self._before.remember(ledger_id, log, signed.note)
        return signed, True

    def _require_continued(
        self, connection: Connection, key: Key, frontier: merkle.Frontier, tree: tiles.Tree
    ) -> None:
        """The log begins with whatever was signed last, as everybody remembers it.

        Raises:
            NotaryStoppedError: it does not.
        """
        root = merkle.root(frontier)
        memories: dict[str, Signed | Checkpoint | None] = {
            "the database": newest(connection, *key),
            "this process": self._newest.get(key),
            "its file": self._before.recall(*key),
        }
        for whose, before in memories.items():
            if before is None:
                continue
            if before.size > frontier.size:
                raise NotaryStoppedError(
                    f"the log ends at {frontier.size}, but was signed up to {before.size},"
                    f" as {whose} remembers"
                )
            path = proofs.consistency_path(before.size, frontier.size, tree.nodes_at)
            if not proofs.verify_consistency(before.size, frontier.size, before.root, root, path):
                raise NotaryStoppedError(
                    f"the log of {frontier.size} does not begin with the one of {before.size}"
                    f" that was signed, as {whose} remembers"
                )
        if proofs.root_at(frontier.size, tree.nodes_at) != root:
            raise NotaryStoppedError("the head's tree is not that of the log's entries")

    def _sign(
        self, connection: Connection, ledger_id: int, log: LogName, size: int, root: bytes
    ) -> Signed:
        """Sign a head of which all was checked."""
        now = self._now()
        name = self._name(connection, ledger_id)
        checkpoint = Checkpoint(origin_of(self._settings, name, log), size, root)
        keys = signing_keys.load(self._settings)
        note = keys.sign_checkpoint(origin_of(self._settings, name), checkpoint, now)
        return Signed(ledger_id, log, size, root, now, note)

    def _name(self, connection: Connection, ledger_id: int) -> str:
        """The ledger's name, which never changes.

        Raises:
            LedgerNotFound: no such ledger.
        """
        if ledger_id not in self._names:
            self._names[ledger_id] = name_of(connection, ledger_id)
        return self._names[ledger_id]

    def _open(self) -> Connection:
        """The connection, opened when it is first needed, and anew where it was lost."""
        if self._connection is None or self._connection.closed:
            self._connection = self._connect("ledger_writer")
        return self._connection

    def _close(self) -> None:
        """Let go of the connection, whatever state it is in."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def origin_of(settings: Settings, ledger_name: str, log: LogName = "events") -> str:
    """The name under which a ledger's log is known to outsiders."""
    origin = f"{settings.notary.origin}/{ledger_name}"
    return origin if log == "events" else origin + _ACCESS


def name_of(connection: Connection, ledger_id: int) -> str:
    """The name of a ledger.

    Raises:
        LedgerNotFound: no such ledger.
    """
    row = connection.execute(
        "SELECT name FROM ledger.ledgers WHERE ledger_id = %s", (ledger_id,)
    ).fetchone()
    if row is None:
        raise LedgerNotFound
    return str(row[0])


def newest(connection: Connection, ledger_id: int, log: LogName = "events") -> Signed | None:
    """The checkpoint of the largest size, if there is any."""
    found = checkpoints(connection, ledger_id, log=log, limit=1, order="desc")
    return found[0] if found else None


def at_size(
    connection: Connection, ledger_id: int, size: int, log: LogName = "events"
) -> Signed | None:
    """The checkpoint of that size, if there is one."""
    found = checkpoints(connection, ledger_id, size, size, log)
    return found[0] if found else None


def checkpoints(  # noqa: PLR0913, PLR0917 - a listing's filters
    connection: Connection,
    ledger_id: int,
    from_size: int = 0,
    to_size: int = merkle.SIZE_MAX,
    log: LogName = "events",
    limit: int | None = None,
    order: Literal["asc", "desc"] = "asc",
) -> list[Signed]:
    """Checkpoints with a size from one to another, both inclusive, in that order of size."""
    rows: Sequence[Any] = connection.execute(
        f"SELECT {_COLUMNS} FROM audit.checkpoints WHERE ledger_id = %s AND log = %s"  # noqa: S608 - our own columns
        f" AND size BETWEEN %s AND %s ORDER BY size {order} LIMIT %s",
        (ledger_id, log, from_size, to_size, limit),
    ).fetchall()
    return [Signed(*row) for row in rows]
