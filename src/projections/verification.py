"""Verification: fold the whole log from position 1 and hold everything against it.

The log against itself (no position missing, time never backwards, every entry balanced), against
its seal (each row's leaf hash, and the head's Merkle frontier; see ``sealing``), and every row and
column of every live projection against the fold. Trusts nothing but the log's bytes and this
program; reads everything in one snapshot, in bulk. Takes about 0.7 kB of memory an account, a hold
and whatever else is kept, and 0.1 kB a movement, of which it remembers a hundred of each account.
"""

from bisect import bisect_right
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import pairwise

import msgspec
import psycopg

from ledger_core import merkle
from ledger_core.errors import LedgerNotFound
from ledger_core.log import Connection
from projections import access_verification, alarm_verification, runner, sealing
from projections.comparing import compare_table
from projections.findings import END, Finding, Findings, compare_texts, merged
from projections.folding import Batch, HeldLine, Line
from projections.paging import (
    Columns,
    Rows,
    ahead,
    begin_snapshot,
    log_pages,
    moments,
    page_of,
)
from projections.refolding import Refold
from projections.registry import NAMES
from projections.truth import (
    HELD_LINES,
    IDENTITIES,
    LINES,
    held_line_key,
    held_line_texts,
    identity_texts,
    line_key,
    line_texts,
)

BESIDE_EVENTS_MIN = 20_000
"""A log of so many events is worth a second process, which takes a quarter of a second to start."""

_COLUMNS = ("position", "recorded_at::text", "type", "version", "data::text")


class Verdict(msgspec.Struct, frozen=True):
    """What a verification found: ``ok`` only if nothing; ``root`` is the tree's, in hexadecimal.

    ``accesses`` is how many accesses were checked beside, in the access log.
    """

    events: int
    position: int
    root: str
    findings: tuple[Finding, ...]
    findings_count: int
    ok: bool
    accesses: int = 0


class _Standing(msgspec.Struct, frozen=True):
    """Where a live projection stands."""

    slot: int
    position: int
    recorded_at: datetime | None


def verify(
    connection: Connection,
    ledger_id: int,
    progress: Callable[[int, int], None] | None = None,
    *,
    beside_from: int = BESIDE_EVENTS_MIN,
) -> Verdict:
    """Verify one ledger; the projections are brought to the log's head first.

    What is appended meanwhile is verified too, as far as the projections have taken it in. The seal
    of a log of ``beside_from`` events or more is checked in a second process.

    Raises:
        LedgerNotFound: no such ledger.
        SealCheckError: that process failed.
    """
    findings = Findings()
    reached: int | None = None
    try:
        reached = runner.catch_up(connection, ledger_id)
    except (ValueError, msgspec.MsgspecError, psycopg.Error) as error:
        # The fold below finds the cause in the log; what it cannot find is at least named here.
        findings.add(
            "projection_stopped", f"the projections cannot be brought to the head: {error}"
        )
    return _verified(connection, ledger_id, findings, reached, progress, beside_from)


def verify_as_it_stands(
    connection: Connection, ledger_id: int, *, beside_from: int = BESIDE_EVENTS_MIN
) -> Verdict:
    """Verify one ledger with its projections wherever they stand, and change nothing.

    Raises:
        As ``verify``.
    """
    return _verified(connection, ledger_id, Findings(), 0, None, beside_from)


def _verified(  # noqa: PLR0913, PLR0917 - what both ways of verifying have
    connection: Connection,
    ledger_id: int,
    findings: Findings,
    reached: int | None,
    progress: Callable[[int, int], None] | None,
    beside_from: int,
) -> Verdict:
    """The verdict on one snapshot."""
    with connection.transaction():
        begin_snapshot(connection)
        verification = _Verification(connection, ledger_id, findings, reached)
        order = verification.order()
        verification.accesses = access_verification.check(connection, ledger_id, findings)
        alarm_verification.check(connection, ledger_id, findings)
        if order.head < beside_from:
            sealed = sealing.check(connection, order)
            verification.run(progress)
            return verification.verdict(sealed)
        with sealing.Beside(connection, order) as beside:
            verification.run(progress)
            return verification.verdict(beside.report())


class _Verification:
    """One verification under way, in its snapshot."""

    def __init__(
        self, connection: Connection, ledger_id: int, findings: Findings, reached: int | None
    ) -> None:
        """Read where everything stands; the projections should at ``reached``, or the head."""
        self.connection = connection
        self.ledger_id = ledger_id
        self.findings = findings
        self.reached = reached
        self.accesses = 0
        self.refold = Refold(findings)
        self.head = self._head()
        self.standings = self._standings()

    def order(self) -> sealing.Order:
        """What is to be checked of the seal."""
        tags = self.standings.get("event_tags")
        if tags is None:
            return sealing.Order(self.ledger_id, self.head[0], None)
        return sealing.Order(self.ledger_id, self.head[0], tags.slot, tags.position)

    def run(self, progress: Callable[[int, int], None] | None) -> None:
        """Fold the log, comparing as it goes."""
        open_cursor = self.connection.cursor
        with (
            open_cursor("statements", binary=True) as lines,
            open_cursor("held_lines", binary=True) as held_lines,
            open_cursor("identities", binary=True) as identities,
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="verification") as thread,
        ):
            pages = ahead(thread, log_pages(self.connection, self.ledger_id, _COLUMNS))
            statements = self.standings.get("statements")
            if statements is not None:
                place = self.ledger_id, statements.slot
                self.lines = Rows(thread, lines, LINES, place)
                self.held_lines = Rows(thread, held_lines, HELD_LINES, place)
            self.identities = Rows(thread, identities, IDENTITIES, (self.ledger_id,))
            self._compare_views(0, None)
            for columns in pages:
                self.findings.page = page_of(columns[0][0])
                self._take(columns)
                if progress is not None:
                    progress(columns[0][-1], self.head[0])
            self.findings.page = END
            self._check_rest()

    def verdict(self, sealed: sealing.Report) -> Verdict:
        """What was found here and in the check of the seal."""
        frontier = self.head[1]
        if merkle.to_bytes(sealed.frontier) != frontier:
            self.findings.add(
                "tree",
                "the tree over the events is not the one that was sealed",
                frontier.hex(),
                merkle.to_bytes(sealed.frontier).hex(),
            )
        count = self.findings.count + sealed.findings_count
        return Verdict(
            sealed.events,
            sealed.position,
            merkle.root(sealed.frontier).hex(),
            merged(sealed.findings, self.findings.shown),
            count,
            ok=not count,
            accesses=self.accesses,
        )

    def _head(self) -> tuple[int, bytes]:
        """The head's position and frontier as stored; its time is compared in the database."""
        row = self.connection.execute(
            "SELECT h.position, h.frontier, h.position = 0 OR EXISTS (SELECT 1 FROM ledger.events e"
            " WHERE e.ledger_id = %s AND e.position = h.position"
            " AND e.recorded_at = h.recorded_at)"
            " FROM ledger.heads h WHERE h.ledger_id = %s",
            (self.ledger_id, self.ledger_id),
        ).fetchone()
        if row is None:
            raise LedgerNotFound
        if not row[2]:
            self.findings.add("head", "the head's time is not that of its event", position=row[0])
        return row[0], row[1]

    def _standings(self) -> dict[str, _Standing]:
        """Where the live projections stand; each must be known, there, and not beyond the head."""
        rows = self.connection.execute(
            "SELECT name, slot, position, CASE WHEN recorded_at BETWEEN '0001-01-02'"
            " AND '9999-12-30' THEN recorded_at END"
            " FROM views.projections WHERE ledger_id = %s AND live",
            (self.ledger_id,),
        )
        standings = {row[0]: _Standing(*row[1:]) for row in rows}
        for name in sorted(standings.keys() - NAMES):
            self.findings.add("projection", f"{name} is no projection of this program")
            del standings[name]
        for name in sorted(NAMES - standings.keys()):
            self.findings.add("projection", f"{name} is not live")
        for name, standing in standings.items():
            head = self.head[0]
            reached = head if self.reached is None else min(self.reached, head)
            if not reached <= standing.position <= head:
                what = f"{name} does not stand at the head"
                self.findings.add("projection", what, head, standing.position)
        return standings

    def _take(self, columns: Columns) -> None:
        """Fold a page of the log, stopping where a projection stands, and compare its rows."""
        positions, times = columns[0], moments(columns[1])
        rows = list(zip(positions, times, *columns[2:], strict=True))
        stops = {standing.position for standing in self.standings.values()}
        ends = sorted({bisect_right(positions, stop) for stop in stops} - {0, len(rows)})
        statements = self.standings.get("statements")
        batches: list[Batch] = []
        identities: list[str] = []
        for begin, end in pairwise((0, *ends, len(rows))):
            last = positions[end - 1]
            recorded = self.refold.decoded(rows[begin:end])
            batch = self.refold.fold(recorded)
            identities += identity_texts(recorded)
            if batch is not None and statements is not None and last <= statements.position:
                batches.append(batch)
            if last in stops:
                self._compare_views(last, times[end - 1])
        if statements is not None:
            self._compare_lines([line for batch in batches for line in batch.lines])
            self._compare_held_lines([line for batch in batches for line in batch.held_lines])
        found = self.identities.until(self.findings.page)
        compare_texts(identities, found, str, self._report_identity)

    def _compare_lines(self, lines: list[Line]) -> None:
        """Compare the page's statement lines with those of the fold."""
        names: dict[str, str] = {}

        def report(key: str, expected: str | None, found: str | None) -> None:
            if not names:
                names.update(
                    (str(item[0].terms.account_no), item[0].terms.account_id) for item in lines
                )
            account_no, position, line = key.split(" ")
            self.findings.add(
                "statement_lines",
                f"line {line} of event {position} on account {names.get(account_no, account_no)}",
                expected,
                found,
                position=int(position),
                account_id=names.get(account_no),
            )

        compare_texts(line_texts(lines), self.lines.until(self.findings.page), line_key, report)

    def _compare_held_lines(self, lines: list[HeldLine]) -> None:
        """Compare the page's changes of what is held with those of the fold."""

        def report(key: str, expected: str | None, found: str | None) -> None:
            account_no, position = key.split(" ")
            what = f"change of what is held by event {position} on account number {account_no}"
            self.findings.add("held_lines", what, expected, found, position=int(position))

        found = self.held_lines.until(self.findings.page)
        compare_texts(held_line_texts(lines), found, held_line_key, report)

    def _report_identity(self, key: str, expected: str | None, found: str | None) -> None:
        """Report a name that an event took, or that is recorded as taken."""
        position, _, name = key.partition(" ")
        what = f"identity {name} of event {position}"
        self.findings.add("identities", what, expected, found, position=int(position))

    def _compare_views(self, at: int, recorded_at: datetime | None) -> None:
        """Compare the tables of the projections that stand at ``at`` with the fold up to there.

        ``recorded_at`` is the time of the event there.
        """
        tables = self.refold.truth.tables()
        for name, standing in self.standings.items():
            if standing.position != at:
                continue
            if standing.recorded_at != recorded_at:
                what = f"{name} has another time than its event {at}"
                self.findings.add("projection", what, recorded_at, standing.recorded_at)
            for table, expected, row_of in tables.get(name, ()):
                place = (self.ledger_id, standing.slot)
                compare_table(self.connection, place, table, expected, row_of, self.findings)

    def _check_rest(self) -> None:
        """What can be said only at the end of the log."""
        self.refold.check_sums()
        streams = [(self.identities, "identities", "identity")]
        if "statements" in self.standings:
            streams += [
                (self.lines, "statement_lines", "line"),
                (self.held_lines, "held_lines", "line"),
            ]
        for stream, kind, noun in streams:
            for text in stream.until(END):
                self.findings.add(kind, f"{noun} that is not in the log", None, text)
