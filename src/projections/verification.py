"""Verification: fold the whole log from position 1 and hold everything against it.

The log against itself (no position missing, time never backwards, every entry balanced), against
its seal (each row's leaf hash, and the head's Merkle frontier), and every row and column of every
live projection against the fold. Trusts nothing but the log's bytes and this program; reads
everything in one REPEATABLE READ snapshot, in bulk. Takes about 0.7 kB of memory an account.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime
from itertools import starmap
from typing import Any

import msgspec
import psycopg

from ledger_core import events, log, merkle
from ledger_core.errors import LedgerNotFound, Unbalanced
from ledger_core.events import Recorded
from ledger_core.journal import HoldPlaced, JournalEntryPosted, require_balanced
from ledger_core.log import Connection, StoredEvent
from projections import balances, customer_360, kept, risk_flags, runner, trial_balance
from projections.comparing import (
    Finding,
    Findings,
    Stream,
    compare_table,
    compare_texts,
)
from projections.folding import HeldLine, Line, UnfoldableError, batch_of, fold, fold_kept
from projections.registry import NAMES
from projections.truth import (
    HELD_LINES,
    IDENTITIES,
    LINES,
    TAGS,
    Truth,
    held_line_key,
    held_line_texts,
    identity_texts,
    line_key,
    line_texts,
)

BATCH_EVENTS = 5_000

# Times that Python cannot hold are found as missing, not failed on.
_EVENTS = (
    "SELECT position, CASE WHEN recorded_at BETWEEN '0001-01-02' AND '9999-12-30'"
    " THEN recorded_at END, type, version, tags, command_key, actor, data, leaf_hash"
    " FROM ledger.events WHERE ledger_id = %s ORDER BY position"
)


class Verdict(msgspec.Struct, frozen=True):
    """What a verification found: ``ok`` only if nothing; ``root`` is the tree's, in hexadecimal."""

    events: int
    position: int
    root: str
    findings: tuple[Finding, ...]
    findings_count: int
    ok: bool


class _Standing(msgspec.Struct, frozen=True):
    """Where a live projection stands."""

    slot: int
    position: int
    recorded_at: datetime | None


def verify(
    connection: Connection,
    ledger_id: int,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Verify one ledger; the projections are brought to the log's head first.

    Raises:
        LedgerNotFound: no such ledger.
    """
    findings = Findings()
    try:
        runner.catch_up(connection, ledger_id)
    except (ValueError, msgspec.MsgspecError, psycopg.Error) as error:
        # The fold below finds the cause in the log; what it cannot find is at least named here.
        findings.add(
            "projection_stopped", f"the projections cannot be brought to the head: {error}"
        )
    with connection.transaction(), ExitStack() as cursors:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return _Verification(connection, cursors, ledger_id, findings).run(progress)


class _Verification:
    """One verification under way, in its snapshot."""

    def __init__(
        self, connection: Connection, cursors: ExitStack, ledger_id: int, findings: Findings
    ) -> None:
        """Read where everything stands; ``cursors`` closes what is opened here."""
        self.connection = connection
        self.cursors = cursors
        self.ledger_id = ledger_id
        self.findings = findings
        self.truth = Truth()
        self.head = self._head()
        self.standings = self._standings()
        self.lines = self._view_stream("statements", LINES)
        self.held_lines = self._view_stream("statements", HELD_LINES, "held_lines")
        self.tags = self._view_stream("event_tags", TAGS)
        self.identities = self._stream("identities", IDENTITIES, (ledger_id,))

    def run(self, progress: Callable[[int, int], None] | None) -> Verdict:
        """Fold the log, comparing as it goes."""
        stops = sorted({standing.position for standing in self.standings.values()})
        self._compare_views(0, None)
        with self.connection.cursor(name="events") as cursor:
            cursor.execute(_EVENTS.encode(), (self.ledger_id,))
            while rows := cursor.fetchmany(BATCH_EVENTS):
                stored = list(starmap(StoredEvent, rows))
                self._check_log(stored)
                while stored:
                    last = stored[-1].position
                    stop = next((at for at in stops if stored[0].position <= at < last), last)
                    before = [item for item in stored if item.position <= stop]
                    self._take(before)
                    if stop in stops:
                        self._compare_views(stop, before[-1].recorded_at)
                    stored = stored[len(before) :]
                if progress is not None:
                    progress(self.truth.position, self.head[0])
        self._check_rest()
        return Verdict(
            self.truth.events,
            self.truth.position,
            merkle.root(self.truth.frontier).hex(),
            tuple(self.findings.shown),
            self.findings.count,
            ok=not self.findings.count,
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
            if standing.position != self.head[0]:
                what = f"{name} does not stand at the head"
                self.findings.add("projection", what, self.head[0], standing.position)
        return standings

    def _stream(self, name: str, query: str, parameters: tuple[int, ...]) -> Stream:
        """The rows of a query in order of position."""
        cursor = self.cursors.enter_context(self.connection.cursor(name=name))
        return Stream(cursor, query, parameters)

    def _view_stream(self, name: str, query: str, cursor: str | None = None) -> Stream | None:
        """The rows of a live projection in order of position."""
        if name not in self.standings:
            return None
        return self._stream(cursor or name, query, (self.ledger_id, self.standings[name].slot))

    def _check_log(self, stored: list[StoredEvent]) -> None:
        """The log against itself and its seal."""
        truth, findings = self.truth, self.findings
        hashes: list[bytes] = []
        for item in stored:
            position = item.position
            if position != truth.position + 1:
                what = f"positions {truth.position + 1} to {position - 1} are missing"
                findings.add("event", what, position=truth.position + 1)
            truth.position = position
            truth.events += 1
            if position > self.head[0]:
                findings.add("event", f"event {position} is beyond the head", position=position)
            if item.recorded_at is None:  # See _EVENTS.
                findings.add("event", f"event {position} has no usable time", position=position)
                hashes.append(bytes(merkle.HASH_SIZE))
                continue
            if truth.recorded_at is not None and item.recorded_at < truth.recorded_at:
                what = f"event {position} was recorded before the one before it"
                findings.add("event", what, position=position)
            truth.recorded_at = item.recorded_at
            leaf_hash = log.leaf_hash_of(item)
            hashes.append(leaf_hash)
            if leaf_hash != item.leaf_hash:
                what = f"event {position} is not as it was sealed"
                findings.add(
                    "event", what, bytes(item.leaf_hash).hex(), leaf_hash.hex(), position=position
                )
        truth.frontier = merkle.extend(truth.frontier, hashes)

    def _take(self, stored: list[StoredEvent]) -> None:
        """Fold events that lie between two stops, and compare what is kept line by line."""
        recorded = [item for item in map(self._decoded, stored) if item is not None]
        last = stored[-1].position
        lines: list[Line] = []
        held_lines: list[HeldLine] = []
        while recorded:
            batch = batch_of([(item.position, item.recorded_at, "", 0, b"") for item in recorded])
            try:
                fold(batch, self.truth.memory.accounts, recorded)
                fold_kept(batch, self.truth.memory.states, recorded)
            except UnfoldableError as error:
                self.findings.add("event", str(error), position=error.position)
                recorded = [item for item in recorded if item.position != error.position]
                continue
            self._take_customers(recorded)
            self.truth.take(batch)
            lines, held_lines = batch.lines, batch.held_lines
            break
        self._compare_lines(lines, last)
        self._compare_held_lines(held_lines, last)
        self._compare_tags(stored, last)
        self._compare_identities(recorded, last)

    def _decoded(self, item: StoredEvent) -> Recorded | None:
        """The event, if it can be decoded and is balanced as an entry must be."""
        position = item.position
        if item.recorded_at is None:  # See _EVENTS.
            return None
        try:
            event = events.decode(item.type, item.version, item.data)
        except (ValueError, msgspec.MsgspecError) as error:
            self.findings.add(
                "event", f"event {position} cannot be read: {error}", position=position
            )
            return None
        if type(event) is JournalEntryPosted:
            try:
                require_balanced(event.postings)
            except Unbalanced as error:
                self.findings.add("event", f"entry {position}: {error}", position=position)
        return Recorded(position, item.recorded_at, event)

    def _take_customers(self, recorded: list[Recorded]) -> None:
        """Bring the profiles forward; an event on an unknown customer is a finding."""
        for item in recorded:
            if type(item.event) is JournalEntryPosted:
                continue
            try:
                customer_360.evolve(self.truth.profiles, (item,))
            except UnfoldableError as error:
                self.findings.add("event", str(error), position=error.position)

    def _compare_lines(self, lines: list[Line], last: int) -> None:
        """Compare the statement lines up to an event with those of the fold."""
        if self.lines is None or self._is_past("statements", last):
            return
        names = {line.after.terms.account_no: line.after.terms.account_id for line in lines}

        def report(key: str, expected: str | None, found: str | None) -> None:
            account_no, position, line = key.split(" ")
            self.findings.add(
                "statement_lines",
                f"line {line} of event {position} on account"
                f" {names.get(int(account_no), account_no)}",
                expected,
                found,
                position=int(position),
                account_id=names.get(int(account_no)),
            )

        compare_texts(line_texts(lines), self.lines.until(last), line_key, report)

    def _compare_held_lines(self, lines: list[HeldLine], last: int) -> None:
        """Compare the changes of what is held up to an event with those of the fold."""
        if self.held_lines is None or self._is_past("statements", last):
            return

        def report(key: str, expected: str | None, found: str | None) -> None:
            account_no, position = key.split(" ")
            what = f"change of what is held by event {position} on account number {account_no}"
            self.findings.add("held_lines", what, expected, found, position=int(position))

        compare_texts(held_line_texts(lines), self.held_lines.until(last), held_line_key, report)

    def _compare_tags(self, stored: list[StoredEvent], last: int) -> None:
        """Compare the tag index up to an event with the log's tags."""
        if self.tags is None or self._is_past("event_tags", last):
            return
        expected = [f"{item.position} {tag}" for item in stored for tag in sorted(set(item.tags))]
        compare_texts(expected, self.tags.until(last), str, self._report_of("event_tags", "tag"))

    def _compare_identities(self, recorded: list[Recorded], last: int) -> None:
        """Compare the names that entries took with those that are recorded as taken."""
        expected = [
            text
            for item in recorded
            if isinstance(item.event, JournalEntryPosted | HoldPlaced)
            for text in identity_texts(item.event, item.position)
        ]
        report = self._report_of("identities", "identity")
        compare_texts(expected, self.identities.until(last), str, report)

    def _report_of(self, kind: str, noun: str) -> Callable[[str, str | None, str | None], None]:
        """Report rows whose text begins with their position."""

        def report(key: str, expected: str | None, found: str | None) -> None:
            position, _, name = key.partition(" ")
            what = f"{noun} {name} of event {position}"
            self.findings.add(kind, what, expected, found, position=int(position))

        return report

    def _is_past(self, name: str, position: int) -> bool:
        """Whether the fold is beyond where the projection stands."""
        return position > self.standings[name].position

    def _compare_views(self, at: int, recorded_at: datetime | None) -> None:
        """Compare the tables of the projections that stand at ``at`` with the fold up to there.

        ``recorded_at`` is the time of the event there.
        """
        truth = self.truth
        memory = truth.memory
        rows_of: dict[str, list[tuple[Any, Any, Any]]] = {
            "balances": [
                (balances.accounts, _keyed(memory.accounts), balances.account_row),
                (balances.account_changes, truth.changes, _change_row),
                (balances.units, truth.units, dict),
            ],
            "kept": [
                (
                    kept.kept,
                    {place: (place, state) for place, state in memory.states.items()},
                    kept.kept_row,
                )
            ],
            "trial_balance": [
                (
                    trial_balance.trial_balance,
                    {
                        (str(row["currency"]), str(row["account_type"])): row
                        for row in trial_balance.total_rows(truth.totals)
                    },
                    dict,
                )
            ],
            "customer_360": [
                (customer_360.customers, _keyed(truth.profiles), customer_360.profile_row),
                (
                    customer_360.customer_accounts,
                    {
                        (link.customer_id, link.account_id, link.role): (link, since)
                        for link, since in truth.links.items()
                    },
                    lambda pair: customer_360.link_row(*pair),
                ),
            ],
            "risk_flags": [
                (risk_flags.risk_flags, _keyed(truth.flags), risk_flags.flag_row),
                (
                    risk_flags.risk_rules,
                    {(str(row["rule"]),): row for row in risk_flags.rule_rows(memory.rules)},
                    dict,
                ),
            ],
        }
        for name, standing in self.standings.items():
            if standing.position != at:
                continue
            if standing.recorded_at != recorded_at:
                what = f"{name} has another time than its event {at}"
                self.findings.add("projection", what, recorded_at, standing.recorded_at)
            for table, expected, row_of in rows_of.get(name, []):
                place = (self.ledger_id, standing.slot)
                compare_table(self.connection, place, table, expected, row_of, self.findings)

    def _check_rest(self) -> None:
        """What can be said only at the end of the log."""
        truth, findings = self.truth, self.findings
        position, frontier = self.head
        if truth.position < position:
            what = f"positions {truth.position + 1} to {position} are missing"
            findings.add("event", what, position=truth.position + 1)
        if merkle.to_bytes(truth.frontier) != bytes(frontier):
            findings.add(
                "tree",
                "the tree over the events is not the one that was sealed",
                bytes(frontier).hex(),
                merkle.to_bytes(truth.frontier).hex(),
            )
        sums: dict[str, int] = {}
        for (currency, _), (debits, credits_, _) in truth.totals.items():
            sums[currency] = sums.get(currency, 0) + debits - credits_
        for currency, difference in sums.items():
            if difference:
                findings.add("ledger", f"debits minus credits in {currency}", 0, difference)
        for stream, kind, noun in (
            (self.lines, "statement_lines", "line"),
            (self.held_lines, "held_lines", "line"),
            (self.tags, "event_tags", "tag"),
            (self.identities, "identities", "identity"),
        ):
            for text in [] if stream is None else stream.until(2**63):
                findings.add(kind, f"{noun} that is not in the log", None, text)


def _keyed(objects: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """The same objects by the key of their rows, which is their id alone."""
    return {(identifier,): item for identifier, item in objects.items()}


def _change_row(change: tuple[int, int]) -> dict[str, object]:
    """The row of ``account_changes``."""
    return {"account_no": change[0], "position": change[1]}
