"""The access log against its seal: no number missing, time never backwards, every leaf, the tree.

Its tiles against the leaves, too, and the index of accesses by subject against the accesses
themselves. Reads in pages of a bounded number of rows.
"""

from datetime import datetime

from ledger_core import access_log, merkle
from ledger_core.access_log import StoredAccess
from ledger_core.log import Connection
from projections.findings import FINDINGS_MAX, Findings
from projections.tile_checking import TileCheck

_KIND = "access"

# A time that no program can load is as wrong as one that was changed; so is any NULL in an array,
# or an array of another shape.
_PAGE = """
    SELECT number,
        CASE WHEN at BETWEEN '0001-01-02' AND '9999-12-30' THEN at END,
        actor, operation, subjects, reason, request_id, status, position, leaf_hash
    FROM audit.accesses WHERE ledger_id = %s AND number > %s ORDER BY number LIMIT %s
"""
_HEAD = """
    SELECT number, frontier, CASE WHEN at BETWEEN '0001-01-02' AND '9999-12-30' THEN at END
    FROM audit.access_heads WHERE ledger_id = %s
"""
# Both ways: what is in one and not in the other.
_SUBJECTS = """
    WITH listed AS (
        SELECT number, subject FROM audit.access_subjects WHERE ledger_id = %(ledger)s
    ), meant AS (
        SELECT number, subject FROM audit.accesses, unnest(subjects) AS subject
        WHERE ledger_id = %(ledger)s
    )
    SELECT number, subject, 'missing' FROM (TABLE meant EXCEPT TABLE listed) AS missing
    UNION ALL
    SELECT number, subject, 'too many' FROM (TABLE listed EXCEPT TABLE meant) AS extra
    ORDER BY 1, 2 LIMIT %(limit)s
"""


def check(connection: Connection, ledger_id: int, findings: Findings) -> int:
    """Check a ledger's access log, in the snapshot of the connection's transaction; its length."""
    with connection.cursor(name="access_tiles", binary=True) as cursor:
        tiles = TileCheck(cursor, ledger_id, findings, "accesses")
        number, frontier, last = _check_accesses(connection, ledger_id, findings, tiles)
    _check_head(connection, ledger_id, findings, (number, frontier, last))
    for at, subject, how in connection.execute(
        _SUBJECTS, {"ledger": ledger_id, "limit": FINDINGS_MAX}
    ):
        findings.add("access_subjects", f"subject {subject} of access {at} is {how} in the index")
    return frontier.size


def _check_accesses(
    connection: Connection, ledger_id: int, findings: Findings, tiles: TileCheck
) -> tuple[int, merkle.Frontier, datetime | None]:
    """Every access, and the tiles over them: the last number, the tree over all, the last time.

    Beyond an access that is missing or not as it was sealed, every tile would be another; that is
    one finding, and the tiles are not compared further.
    """
    number, frontier, last, is_sealed = 0, merkle.EMPTY, None, True
    while rows := connection.execute(
        _PAGE, (ledger_id, number, access_log.READ_ROWS_MAX)
    ).fetchall():
        hashes: list[bytes] = []
        for row in rows:
            access = StoredAccess(*row)
            number, last = _check_place(findings, access, number, last)
            leaf_hash = bytes(merkle.HASH_SIZE)
            if access.at is not None:
                leaf_hash = access_log.leaf_hash_of(access)
                if leaf_hash != access.leaf_hash:
                    what = f"access {access.number} is not as it was sealed"
                    findings.add(_KIND, what, access.leaf_hash.hex(), leaf_hash.hex())
            hashes.append(leaf_hash)
        frontier = merkle.extend(frontier, hashes)
        is_sealed = is_sealed and number == frontier.size and hashes == [row[-1] for row in rows]
        if is_sealed:
            tiles.take(hashes)
    if is_sealed:
        tiles.finish()
    return number, frontier, last


def _check_place(
    findings: Findings, access: StoredAccess, before: int, last: datetime | None
) -> tuple[int, datetime | None]:
    """No number missing, no time before the last: the number and the time to go on from."""
    if access.number != before + 1:
        findings.add(_KIND, f"accesses {before + 1} to {access.number - 1} are missing")
    if access.at is None:
        findings.add(_KIND, f"access {access.number} has no usable time")
        return access.number, last
    if last is not None and access.at < last:
        findings.add(_KIND, f"access {access.number} was recorded before the one before it")
    return access.number, access.at


def _check_head(
    connection: Connection,
    ledger_id: int,
    findings: Findings,
    read: tuple[int, merkle.Frontier, datetime | None],
) -> None:
    """The head says where the log ends, when, and which tree that is."""
    number, frontier, last = read
    row = connection.execute(_HEAD, (ledger_id,)).fetchone()
    if row is None:
        if number:
            findings.add("access_head", "the access log has no head", number, 0)
        return
    if row[0] != number:
        findings.add("access_head", "the access log's last number", row[0], number)
    if number and row[2] != last:
        findings.add("access_head", "the head's time is not that of the last access", row[2], last)
    stored = merkle.to_bytes(frontier)
    if row[1] != stored:
        what = "the tree over the accesses is not the one that was sealed"
        findings.add("access_tree", what, row[1].hex(), stored.hex())
