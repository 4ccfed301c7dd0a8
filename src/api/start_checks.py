"""What a program looks at before it writes: is this database whole, and is it ours.

A whole verification takes as long as the log is long (``ledger verify``, the self-audit); this
takes milliseconds and finds what a crash, a bad restore or a wrong address leaves behind: a head
that is not where the log ends, events that are not what their leaves say, a tree that does not hold
them, views that are ahead of the log, a database whose keys are not beside the program.
"""

import hmac
from datetime import datetime

from api.migrations import SchemaError
from ledger_core import log, merkle
from ledger_core.log import Connection, Head, StoredEvent
from projections import runner

TAIL_EVENTS = 1_000
"""So many events at the end of a log are looked at; fewer where there are many ledgers."""
TAIL_EVENTS_ALL = 20_000

_LABEL = b"ledger installation"


class DamagedLogError(SchemaError):
    """The end of a log is not what it was when it was written; nothing may be added to it."""


class ForeignDatabaseError(SchemaError):
    """The database belongs to a program with other secrets."""


def require_own(connection: Connection, server_secret: bytes) -> None:
    """The database is of the program that has this secret; the first to ask makes it so.

    ``connection`` is the writer's.

    Raises:
        ForeignDatabaseError: it was set up with another secret.
    """
    mine = _fingerprint(server_secret)
    connection.execute(
        "INSERT INTO ledger.installation (secret_fingerprint) VALUES (%s) ON CONFLICT DO NOTHING",
        (mine,),
    )
    row = connection.execute("SELECT secret_fingerprint FROM ledger.installation").fetchone()
    if row is None or not hmac.compare_digest(bytes(row[0]), mine):
        msg = (
            "This database was set up with another server secret: no API key, session or search"
            " would work. Use the one that belongs to it (LEDGER_SERVER_SECRET, or"
            " keys/server-secret in LEDGER_DATA_DIR); if it was replaced on purpose, say so with"
            " ledger keystore adopt."
        )
        raise ForeignDatabaseError(msg)


def adopt(connection: Connection, server_secret: bytes) -> bool:
    """From now on this secret is the database's; whether it was another's before."""
    mine = _fingerprint(server_secret)
    done = connection.execute(
        "INSERT INTO ledger.installation AS mine (secret_fingerprint) VALUES (%s)"
        " ON CONFLICT (is_row) DO UPDATE SET secret_fingerprint = excluded.secret_fingerprint"
        " WHERE mine.secret_fingerprint <> excluded.secret_fingerprint",
        (mine,),
    )
    return done.rowcount > 0


def require_whole(connection: Connection, most: int = TAIL_EVENTS) -> None:
    """The end of every ledger's log is what was written, and no view is ahead of it.

    At most ``most`` events of a log are looked at.

    Raises:
        DamagedLogError: it is not; the message names the ledger, the position and what is wrong.
    """
    found = log.ledgers(connection)
    most = max(1, min(most, TAIL_EVENTS_ALL // max(1, len(found))))
    for ledger_id, name in found:
        # One moment: other servers may be writing.
        with connection.transaction():
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            head = log.read_head(connection, ledger_id)
            tail = log.read_events(connection, ledger_id, max(0, head.position - most), most + 1)
            views = runner.positions(connection, ledger_id)
        fault = _fault(head, tail) or _ahead(head, views)
        if fault is not None:
            msg = (
                f"Ledger {name!r} is damaged: {fault}. Nothing is written to it. Look with"
                " ledger verify; then restore a backup (docs/backup.md)."
            )
            raise DamagedLogError(msg)


def _fingerprint(server_secret: bytes) -> bytes:
    """What tells one secret from another, and tells nothing of either."""
    return hmac.digest(server_secret, _LABEL, "sha256")


def _ahead(head: Head, views: dict[str, tuple[int, datetime | None]]) -> str | None:
    """Which views took in what the log does not have."""
    for name, (position, _) in sorted(views.items()):
        if position > head.position:
            return f"the view {name} stands at {position}, the log ends at {head.position}"
    return None


def _fault(head: Head, tail: list[StoredEvent]) -> str | None:
    """What is wrong with the last events, if anything."""
    if head.frontier.size != head.position:
        return f"the tree holds {head.frontier.size} events, the log {head.position}"
    first = head.position - len(tail) + 1
    for position, event in enumerate(tail, max(1, first)):
        if event.position != position:
            return f"event {position} is missing, or one follows the last ({head.position})"
        if log.leaf_hash_of(event) != event.leaf_hash:
            return f"event {position} is not what was sealed"
    return _untrue_end(head, tail) or _untrue_tree(head, tail)


def _untrue_end(head: Head, tail: list[StoredEvent]) -> str | None:
    """Whether the log ends where, and when, its head says."""
    ends_at = tail[-1].position if tail else 0
    if ends_at != head.position:
        return f"the log ends at {ends_at}, its head says {head.position}"
    if tail and tail[-1].recorded_at != head.recorded_at:
        return f"event {head.position} is of another time than the head says"
    return None


def _untrue_tree(head: Head, tail: list[StoredEvent]) -> str | None:
    """Whether the newest nodes of the tree are those of the last events.

    A node covers 2ⁿ events: all nodes that the tail reaches across are made anew from it.
    """
    nodes = head.frontier.nodes
    covered = head.position
    kept = len(nodes)
    while kept and head.position - (covered & (covered - 1)) <= len(tail):
        covered &= covered - 1
        kept -= 1
    before = merkle.Frontier(size=covered, nodes=nodes[:kept])
    newest = [event.leaf_hash for event in tail if event.position > covered]
    if merkle.extend(before, newest) != head.frontier:
        return f"the tree does not hold the events after {covered}"
    return None
