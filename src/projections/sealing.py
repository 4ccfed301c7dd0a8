"""The log against its seal: no position missing, time never backwards, every leaf and the tree.

A verification of a long log runs this in a second process, beside the fold: ``python -m
projections.sealing`` reads an ``Order`` from its standard input and writes a ``Report``. It imports
little, so as to start quickly. Knows events only as names, tags and bytes.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import msgspec
import psycopg
from msgspec import Raw
from psycopg.conninfo import make_conninfo

from ledger_core import merkle
from ledger_core.log import Connection, leaf_of, micros
from ledger_core.merkle import leaf_hash
from projections.findings import END, Finding, Findings, compare_texts
from projections.indexed_tags import indexed
from projections.paging import (
    Columns,
    Rows,
    ahead,
    begin_snapshot,
    log_pages,
    moments,
    page_of,
    paged,
)
from projections.tile_checking import TileCheck

_NO_LEAF = bytes(merkle.HASH_SIZE)
_TAGS_JSON = msgspec.json.Decoder(list[Any])
LOG_COLUMNS = (
    "position",
    "recorded_at::text",
    "type",
    "version",
    "command_key",
    "actor",
    "to_json(tags)::text",
    "convert_to(data::text, 'UTF8')",
    "leaf_hash",
)
"""Everything of an event; ``Checking.take`` expects them so."""

TAG_TEXT = "concat_ws(' ', position, tag)"
_TAGS = paged(
    TAG_TEXT,
    "views.event_tags",
    'tag COLLATE "C"',
    "ledger_id = %s AND slot = %s",
)


class Order(msgspec.Struct, frozen=True):
    """What to check, and where the head and the index of tags stand (``None``: there is none)."""

    ledger_id: int
    head: int
    tags_slot: int | None
    tags_position: int = 0
    conninfo: str = ""
    snapshot: str = ""


class Report(msgspec.Struct, frozen=True):
    """What was found on which page of the log, and the tree over what was read."""

    findings: list[tuple[int, Finding]]
    findings_count: int
    events: int
    position: int
    frontier: merkle.Frontier


class SealCheckError(RuntimeError):
    """The process that checks the seal did not finish."""


def check(connection: Connection, order: Order) -> Report:
    """Check a ledger's log, in the snapshot of the connection's transaction."""
    with (
        connection.cursor(name="tags", binary=True) as cursor,
        connection.cursor(name="tiles", binary=True) as tile_rows,
        ThreadPoolExecutor(max_workers=1, thread_name_prefix="sealing") as thread,
    ):
        pages = ahead(thread, log_pages(connection, order.ledger_id, LOG_COLUMNS))
        tags = None
        if order.tags_slot is not None:
            tags = Rows(thread, cursor, _TAGS, (order.ledger_id, order.tags_slot))
        checking = Checking(order, tags)
        checking.tiles = TileCheck(tile_rows, order.ledger_id, checking.findings)
        for columns in pages:
            checking.take(columns)
        return checking.report()


class Beside:
    """The check of a ledger's seal, at work in another process on the same snapshot."""

    def __init__(self, connection: Connection, order: Order) -> None:
        """Start it; the connection's transaction must last until it has finished."""
        info = connection.info
        conninfo = make_conninfo(**info.get_parameters(), password=info.password)
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None  # noqa: S101 - a function's value
        order = msgspec.structs.replace(order, conninfo=conninfo, snapshot=row[0])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "projections.sealing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Whoever began it ends it: Ctrl-C reaches the whole terminal.
        )
        assert self._process.stdin is not None  # noqa: S101 - asked for above
        # Not on the command line, which everyone can see: it may hold a password.
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")
        self._process.stdin.flush()

    def report(self) -> Report:
        """Wait until it has finished.

        Raises:
            SealCheckError: it failed; its standard error, which is ours, says why.
        """
        answer, _ = self._process.communicate()
        if self._process.returncode:
            raise SealCheckError(f"the check of the seal ended with {self._process.returncode}")
        return msgspec.json.decode(answer, type=Report)

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it, if it is still at work."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def main() -> None:
    """Carry out the order on standard input."""
    order = msgspec.json.decode(sys.stdin.buffer.readline(), type=Order)
    with psycopg.connect(order.conninfo, autocommit=True) as connection, connection.transaction():
        begin_snapshot(connection)
        connection.execute(f"SET TRANSACTION SNAPSHOT '{order.snapshot}'".encode())
        report = check(connection, order)
    sys.stdout.buffer.write(msgspec.json.encode(report))


class Checking:
    """One check under way."""

    def __init__(self, order: Order, tags: Rows | None) -> None:
        """Begin before the first event."""
        self.order = order
        self.tags = tags
        self.findings = Findings()
        self.frontier = merkle.EMPTY
        self.tiles: TileCheck | None = None
        self.events = 0
        self.position = 0
        self.recorded_at: datetime | None = None

    def take(self, columns: Columns) -> None:
        """Check a page of the log."""
        positions, times, kinds, versions, keys, actors, tags, data, seals = columns
        self.findings.page = page_of(positions[0])
        recorded = moments(times)
        self._check_places(positions, recorded)
        hashes = leaf_hashes(positions, recorded, kinds, versions, keys, actors, tags, data)
        if hashes != seals:
            for position, leaf_hash, seal in zip(positions, hashes, seals, strict=True):
                # One that has no usable time was found already.
                if leaf_hash not in {seal, _NO_LEAF}:
                    what = f"event {position} is not as it was sealed"
                    self.findings.add("event", what, seal.hex(), leaf_hash.hex(), position=position)
        self._grow(positions, hashes, seals)
        self._compare_tags(positions, kinds, tags)

    def report(self) -> Report:
        """What was found, at the end of the log."""
        findings, position = self.findings, self.position
        findings.page = END
        if position < self.order.head:
            what = f"positions {position + 1} to {self.order.head} are missing"
            findings.add("event", what, position=position + 1)
        if self.tiles is not None:
            self.tiles.finish()
            self.frontier = self.tiles.frontier
        for text in [] if self.tags is None else self.tags.until(END):
            findings.add("event_tags", "tag that is not in the log", None, text)
        return Report(findings.shown, findings.count, self.events, position, self.frontier)

    def _check_places(self, positions: Sequence[int], recorded: Sequence[datetime | None]) -> None:
        """Positions without a gap up to the head, times that never run backwards."""
        findings, head = self.findings, self.order.head
        before, last = self.position, self.recorded_at
        for position, moment in zip(positions, recorded, strict=True):
            if position != before + 1:
                what = f"positions {before + 1} to {position - 1} are missing"
                findings.add("event", what, position=before + 1)
            before = position
            if position > head:
                findings.add("event", f"event {position} is beyond the head", position=position)
            if moment is None:
                findings.add("event", f"event {position} has no usable time", position=position)
                continue
            if moment is last:
                continue
            if last is not None and moment < last:
                what = f"event {position} was recorded before the one before it"
                findings.add("event", what, position=position)
            last = moment
        self.position, self.recorded_at = before, last
        self.events += len(positions)

    def _grow(
        self, positions: Sequence[int], hashes: Sequence[bytes], seals: Sequence[bytes]
    ) -> None:
        """Add leaves to the tree, and check the tiles over them as long as they are as sealed.

        Beyond a gap or a leaf that is not, every tile would be another; that was found already.
        """
        if self.tiles is not None and (hashes != seals or positions[-1] != self.events):
            self.frontier, self.tiles = self.tiles.frontier, None
        if self.tiles is None:
            self.frontier = merkle.extend(self.frontier, hashes)
        else:
            self.tiles.take(hashes)

    def _compare_tags(
        self, positions: Sequence[int], kinds: Sequence[str], tags: Sequence[str]
    ) -> None:
        """Compare the tag index up to an event with the log's tags."""
        if self.tags is None:
            return
        expected = tag_texts(positions, kinds, tags, self.order.tags_position)

        def report(key: str, expected: str | None, found: str | None) -> None:
            position, _, tag = key.partition(" ")
            what = f"tag {tag} of event {position}"
            self.findings.add("event_tags", what, expected, found, position=int(position))

        compare_texts(expected, self.tags.until(self.findings.page), str, report)


def tag_texts(
    positions: Sequence[int], kinds: Sequence[str], tags: Sequence[str], last: int
) -> list[str]:
    """The tags that the index should hold of these events up to ``last``, each with its position.

    The tags of each are a JSON array.
    """
    return [
        f"{position} {tag}"
        for position, kind, texts in zip(positions, kinds, tags, strict=True)
        # The hot path: an entry that has no other tags than its accounts.
        if kind != "JournalEntryPosted" or texts.count('"account:') * 2 != texts.count('"')
        if position <= last
        for tag in indexed(kind, _TAGS_JSON.decode(texts))
    ]


def leaf_hashes(  # noqa: PLR0913, PLR0917 - the columns of events
    positions: Sequence[int],
    recorded: Sequence[datetime | None],
    kinds: Sequence[str],
    versions: Sequence[int],
    keys: Sequence[str | None],
    actors: Sequence[str],
    tags: Sequence[str],
    data: Sequence[bytes],
) -> list[bytes]:
    """The leaf hashes that events amount to; one without a usable time has none but zeros.

    The tags of each are a JSON array: where nothing in it is escaped, it stands in the leaf so.
    """
    hashes: list[bytes] = []
    before, recorded_us = None, 0
    columns = zip(positions, recorded, kinds, versions, keys, actors, tags, data, strict=True)
    for position, moment, kind, version, key, actor, texts, content in columns:
        if moment is None:
            hashes.append(_NO_LEAF)
            continue
        if moment is not before:
            before, recorded_us = moment, micros(moment)
        tagged: Any = _TAGS_JSON.decode(texts) if "\\" in texts else Raw(texts)
        leaf = leaf_of(position, recorded_us, kind, version, key, actor, tagged, content)
        hashes.append(leaf_hash(leaf))
    return hashes


if __name__ == "__main__":
    main()
