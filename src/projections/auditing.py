"""The self-audit of one ledger: fold the log anew and hold every view against it, unnoticed.

The work of ``verification`` in small steps, so that it can go on beside the ledger's own work:

- What never changes (events, and the tables that only grow) is read page by page, each page in a
  transaction of its own; the caller may pause in between. Rows are compared by sums (``row_sums``).
- What changes (accounts, customers, flags, whatever is kept by id) is compared row by row in one
  short snapshot, in which all projections stand at one position: the position that is verified.
- What can still change is remembered, and what the fold needs. Holds that are over are added up
  (``closed_holds``); movements that a risk rule looks back on are read back from the statements,
  which are held against the log themselves.
- What was folded is kept. The next audit goes on from there: it reads the events that came since,
  and the lines of the accounts they touched, and again compares every row that can change.
- Tiles are compared with the log's leaf hashes, page by page, too (``tile_walking``).
- Sums that differ do not say which row it is: then ``verification`` goes through everything in one
  snapshot and names it.

Projections that are behind are waited for; being behind is no finding.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from ledger_core import merkle
from ledger_core.customers import CustomerErased
from ledger_core.log import Connection
from projections import verification
from projections.audit_reads import (
    DamagedLinesError,
    Queries,
    Standing,
    head_of,
    lines_slot,
    pages_between,
    rows_of,
    standing_of,
)
from projections.closed_holds import ClosedHolds
from projections.comparing import compare_table
from projections.customer_360 import Profile
from projections.findings import Finding, Findings
from projections.folding import Batch
from projections.kept import kept
from projections.memory import Memory
from projections.paging import Columns, begin_snapshot
from projections.refolding import Refold
from projections.risk_rules import DEFAULT_RULES
from projections.row_sums import TABLES, Expected, SlotMoved, Sums, Walker, positions_of
from projections.sealing import Checking, Order, tag_texts
from projections.tile_walking import TileWalk
from projections.truth import Truth, held_line_texts, identity_texts, line_texts
from projections.verification import Verdict
from projections.writing import Stored

DELTA_EVENTS_MAX = 10_000
"""So many events are folded within the snapshot, at most: a quarter of a second."""
TAIL_EVENTS_MAX = 50_000
"""The projections are waited for while they are further behind than this."""

_ONCE_DAMAGED = (
    Finding(kind="rows", message="rows of statement_lines could not be read; not any more"),
)

Kind = Literal["full", "continued"]
Step = Literal["worked", "waiting"]


class Audited(msgspec.Struct, frozen=True):
    """What an audit found: everything up to ``position`` was folded and compared.

    ``root`` is the tree's there, in hexadecimal; ``events`` are those read by this audit.
    ``imbalance_minor`` is debits minus credits over all accounts of each currency, as the view of
    balances has them.
    """

    kind: Kind
    position: int
    recorded_at: datetime | None
    root: str
    events: int
    accounts: int
    findings: tuple[Finding, ...]
    findings_count: int
    imbalance_minor: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return self.findings_count == 0


class KeyCheck(Protocol):
    """Says which keys of persons are not as they should be, in the snapshot of a connection."""

    def __call__(
        self, connection: Connection, profiles: Mapping[str, Profile], erased_later: set[str]
    ) -> Iterator[Finding]:
        """``erased_later``: subjects who were forgotten after what the profiles reflect."""
        ...


class Auditor:
    """What is known of one ledger from its first event on, and how it is brought forward.

    ``new_key`` makes the key of the sums' hashes.
    """

    def __init__(
        self, ledger_id: int, new_key: Callable[[], bytes], check_keys: KeyCheck | None = None
    ) -> None:
        """Begin before the first event."""
        self.ledger_id = ledger_id
        self._new_key = new_key
        self._check_keys = check_keys
        self.forget()

    @property
    def weight(self) -> int:
        """How many things are remembered, of some 0.7 kB each; holds that are over are not."""
        truth = self._refold.truth
        memory = truth.memory
        known = len(memory.accounts) + len(memory.states) + len(truth.profiles)
        return known + len(truth.links) + len(truth.changes) + len(truth.flags)

    @property
    def is_begun(self) -> bool:
        """Whether an audit may go on from what is known."""
        return self._is_begun

    def forget(self) -> None:
        """Know nothing: the next audit is a full one."""
        self._findings = Findings()
        memory = Memory(is_complete=False, rules=dict(DEFAULT_RULES))
        self._refold = Refold(self._findings, Truth(memory))
        self._closed = ClosedHolds(self._new_key())
        self._checking = Checking(Order(self.ledger_id, 0, None), None)
        self._tiles = TileWalk(self.ledger_id, self._findings)
        self._times: dict[int, datetime | None] = {0: None}
        self._is_begun = False

    def audit(self, connection: Connection) -> Generator[Step | Audited, None, None]:
        """Audit the ledger in steps, between which no transaction is open; the last is the result.

        ``"waiting"`` asks for some time for the projections. What went wrong in between, or was
        broken off, leaves nothing that may be gone on from.

        Raises:
            SealCheckError: see ``verification.verify``.
        """
        connection.execute("SET datestyle = 'ISO'")
        kind: Kind = "continued" if self._is_begun else "full"
        begun_at = self._checking.position
        is_done = False
        try:
            suspicions: list[str] = []
            if kind == "full":
                yield from self._read_all(connection, suspicions)
            while True:
                yield from self._approach(connection, suspicions)
                with connection.transaction():
                    begin_snapshot(connection)
                    compared = self._compare(connection, suspicions)
                if compared is not None:
                    break
                yield "waiting"
            if not self._findings.count:  # Over an event that is not as sealed, no tile would be.
                for _ in self._tiles.to(connection, self._checking.position):
                    yield "worked"
            result = self._result(connection, kind, begun_at, compared, suspicions)
            is_done = not result.findings_count
            self._is_begun = is_done
            yield result
        except DamagedLinesError:
            verdict = verification.verify_as_it_stands(connection, self.ledger_id)
            yield _audited(verdict, kind, _ONCE_DAMAGED)
        finally:
            if not is_done:
                self.forget()

    def give_up(self, connection: Connection) -> Audited | None:
        """Look at everything as it stands, for the projections are waited for in vain.

        ``None`` where nothing is wrong but that they do not go on.

        Raises:
            LedgerNotFound, SealCheckError: see ``verification.verify``.
        """
        self.forget()
        verdict = verification.verify_as_it_stands(connection, self.ledger_id)
        return None if verdict.ok else _audited(verdict, "full", ())

    def _read_all(self, connection: Connection, suspicions: list[str]) -> Iterator[Step]:
        """Fold the log up to where the projections stand now, and add up all tables up to there."""
        while (standing := standing_of(connection, self.ledger_id)) is None:
            yield "waiting"
        expected = Expected(self._new_key())
        goal = standing.position
        self._begin_fold(goal)
        pages = pages_between(connection, self.ledger_id, self._checking.position, goal)
        is_more = True
        while is_more:
            with connection.transaction():
                begin_snapshot(connection)
                slot = lines_slot(connection, self.ledger_id, goal)
                if slot is not None:
                    self._look_back(connection, slot)
                    is_more = self._fold_page(next(pages, None), goal, expected)
            yield "waiting" if slot is None else "worked"
        self._end_fold(goal)
        while True:
            try:
                found = {table.name: Sums(expected.key) for table in TABLES}
                walker = Walker(connection, self.ledger_id, standing.slots)
                for table in TABLES:
                    for _ in walker.all_rows(table, standing.position, found[table.name]):
                        yield "worked"
            except SlotMoved:
                while (moved := standing_of(connection, self.ledger_id)) is None:
                    yield "waiting"
                standing = msgspec.structs.replace(standing, slots=moved.slots)
            else:
                suspicions += [*_differences(expected, found), *walker.strange]
                return

    def _approach(self, connection: Connection, suspicions: list[str]) -> Iterator[Step]:
        """Fold what came meanwhile, until little is left for the snapshot."""
        while True:
            standing = standing_of(connection, self.ledger_id)
            if standing is None or standing.position < self._checking.position:
                yield "waiting"
                continue
            if standing.position - self._checking.position <= DELTA_EVENTS_MAX:
                head, _, _ = head_of(connection, self.ledger_id)
                if head <= standing.position + TAIL_EVENTS_MAX:
                    return
                yield "waiting"
                continue
            with connection.transaction():
                begin_snapshot(connection)
                now = standing_of(connection, self.ledger_id)
                goal = self._checking.position + DELTA_EVENTS_MAX
                if now is not None and now.position >= goal:
                    self._take_delta(connection, now, goal, suspicions)
            yield "worked"

    def _take_delta(
        self, connection: Connection, standing: Standing, goal: int, suspicions: list[str]
    ) -> None:
        """Fold the events up to a position, and compare the rows they added, in this snapshot."""
        span = (self._checking.position, goal)
        scopes: dict[str, set[int | str]] = {}
        expected = Expected(self._new_key(), scopes=scopes)
        self._look_back(connection, standing.slots["statements"])
        self._begin_fold(goal)
        for columns in pages_between(connection, self.ledger_id, span[0], goal):
            self._fold_page(columns, goal, expected)
        self._end_fold(goal)
        walker = Walker(connection, self.ledger_id, standing.slots)
        found = {table.name: Sums(expected.key) for table in TABLES}
        for table in TABLES:
            scope = scopes.get(table.name, set())
            for _ in walker.rows_of(table, span, found[table.name], scope):
                pass
        suspicions += _differences(expected, found)

    def _compare(self, connection: Connection, suspicions: list[str]) -> dict[str, int] | None:
        """Compare all that can change, in this snapshot; the imbalances.

        ``None`` where the projections do not stand together, or too much came meanwhile.
        """
        standing = standing_of(connection, self.ledger_id)
        reached = self._checking.position
        if standing is None or not 0 <= standing.position - reached <= DELTA_EVENTS_MAX:
            return None
        self._take_delta(connection, standing, standing.position, suspicions)
        for name in standing.unknown:
            self._findings.add("projection", f"{name} is no projection of this program")
        if standing.times != {self._times.get(standing.position)}:
            what = f"the projections have another time than their event {standing.position}"
            self._findings.add("projection", what)
        self._closed.begin()
        for name, tables in self._refold.truth.tables().items():
            for table, expected, row_of in tables:
                place = (self.ledger_id, standing.slots[name])
                others = self._closed.find if table is kept else None
                compare_table(connection, place, table, expected, row_of, self._findings, others)
        if not self._closed.is_as_expected:
            suspicions.append("rows of closed holds differed")
        self._refold.check_sums()
        erased_later = self._check_head(connection)
        if self._check_keys is not None:
            profiles = self._refold.truth.profiles
            for finding in self._check_keys(connection, profiles, erased_later):
                self._findings.take(finding)
        return self._imbalances(connection, standing.slots["balances"])

    def _check_head(self, connection: Connection) -> set[str]:
        """The log beyond what the projections reflect, and the head; who was forgotten there."""
        head, head_time, frontier = head_of(connection, self.ledger_id)
        checking = Checking(Order(self.ledger_id, head, None), None)
        checking.findings = self._findings
        checking.frontier, checking.position = self._checking.frontier, self._checking.position
        checking.recorded_at = self._checking.recorded_at
        refold = Refold(self._findings)
        erased: set[str] = set()
        for columns in pages_between(connection, self.ledger_id, checking.position, 2**62):
            checking.take(columns)
            for item in refold.decoded(rows_of(columns)):
                if isinstance(item.event, CustomerErased):
                    erased.add(item.event.subject)
        if checking.position < head:
            what = f"positions {checking.position + 1} to {head} are missing"
            self._findings.add("event", what, position=checking.position + 1)
        if head and (checking.position != head or checking.recorded_at != head_time):
            what = "the head's time is not that of its event"
            self._findings.add("head", what, position=head)
        sealed = merkle.to_bytes(checking.frontier)
        if sealed != frontier:
            what = "the tree over the events is not the one that was sealed"
            self._findings.add("tree", what, frontier.hex(), sealed.hex())
        return erased

    def _imbalances(self, connection: Connection, slot: int) -> dict[str, int]:
        """Debits minus credits of each currency, as the accounts' rows have them."""
        rows = connection.execute(
            "SELECT currency, sum(debits_posted_minor) - sum(credits_posted_minor)"
            " FROM views.accounts WHERE ledger_id = %s AND slot = %s GROUP BY currency",
            (self.ledger_id, slot),
        ).fetchall()
        return {str(currency): int(difference) for currency, difference in rows}

    def _result(
        self,
        connection: Connection,
        kind: Kind,
        begun_at: int,
        imbalances: dict[str, int],
        suspicions: Sequence[str],
    ) -> Audited:
        """What was found; rows that are known to differ by their sums alone are looked for."""
        shown, count = [finding for _, finding in self._findings.shown], self._findings.count
        if suspicions:
            verdict = verification.verify_as_it_stands(connection, self.ledger_id)
            known = set(shown)
            more = [finding for finding in verdict.findings if finding not in known]
            if not more and verdict.ok:
                # It was put right meanwhile, by whoever; that it was wrong remains to be told.
                more = [
                    Finding(kind="rows", message=f"{text}; not any more") for text in suspicions
                ]
            shown += more
            count = max(verdict.findings_count, count + len(more))
        checking = self._checking
        return Audited(
            kind,
            checking.position,
            self._times.get(checking.position),
            merkle.root(checking.frontier).hex(),
            checking.position - begun_at,
            len(self._refold.truth.memory.accounts),
            tuple(shown),
            count,
            imbalances,
        )

    def _look_back(self, connection: Connection, slot: int) -> None:
        """Have movements read back from the statements in that slot, in this transaction."""
        truth = self._refold.truth
        truth.memory.slots = {"statements": slot}
        truth.stored = Stored(Queries(connection), self.ledger_id, slot)

    def _begin_fold(self, goal: int) -> None:
        """Pages of events up to a position come next."""
        self._checking.order = Order(self.ledger_id, goal, None)
        self._checking.findings = self._findings

    def _fold_page(self, columns: Columns | None, goal: int, expected: Expected) -> bool:
        """Check the seal of a page of events and fold them; whether there was one.

        Raises:
            DamagedLinesError: what a rule looks back on cannot be read.
        """
        if columns is None:
            return False
        self._checking.take(columns)
        recorded = self._refold.decoded(rows_of(columns))
        batch = self._refold.fold(recorded)
        if batch is not None:
            _expect(expected, batch)
            self._closed.take(batch, self._refold.truth.memory.states)
        taken = identity_texts(recorded)
        expected.add("identities", _placed(taken), [text.split(" ", 2)[2] for text in taken])
        tags = tag_texts(columns[0], columns[2], columns[6], goal)
        expected.add("event_tags", _placed(tags), [text.partition(" ")[2] for text in tags])
        return True

    def _end_fold(self, goal: int) -> None:
        """All events up to the position came that are there."""
        checking = self._checking
        if checking.position < goal:
            what = f"positions {checking.position + 1} to {goal} are missing"
            self._findings.add("event", what, position=checking.position + 1)
            checking.position = goal
        self._times = {goal: checking.recorded_at}


def _audited(verdict: Verdict, kind: Kind, otherwise: tuple[Finding, ...]) -> Audited:
    """A verification's verdict as an audit's; ``otherwise`` where it found nothing."""
    findings = verdict.findings or otherwise
    return Audited(
        kind,
        verdict.position,
        None,
        verdict.root,
        verdict.events,
        0,
        findings,
        max(verdict.findings_count, len(findings)),
        {},
    )


def _expect(expected: Expected, batch: Batch) -> None:
    """Note the lines that a batch adds."""
    texts = line_texts(batch.lines)
    rows = [(line[2], text) for line, text in zip(batch.lines, texts, strict=True)]
    expected.add("statement_lines", rows, {line[0].terms.account_no for line in batch.lines})
    held = held_line_texts(batch.held_lines)
    held_rows = [(line.position, text) for line, text in zip(batch.held_lines, held, strict=True)]
    numbers = {line.after.terms.account_no for line in batch.held_lines}
    expected.add("held_lines", held_rows, numbers)


def _placed(texts: Sequence[str]) -> list[tuple[int, str]]:
    """Texts that begin with their position, with it."""
    return [(int(text.partition(" ")[0]), text) for text in texts]


def _differences(expected: Expected, found: Mapping[str, Sums]) -> list[str]:
    """Where the tables do not add up to what the log says."""
    return [
        "rows of {} of positions {} to {} differed".format(table.name, *positions_of(page))
        for table in TABLES
        for page in expected.of(table.name).differing(found[table.name])
    ]
