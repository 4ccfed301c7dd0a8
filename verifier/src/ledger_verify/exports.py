"""An exported log, checked from its first byte to its last.

Also takes the bare lines of a log, without any archive around them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger_verify import balances
from ledger_verify.books import Books
from ledger_verify.findings import Finding, Report, shown
from ledger_verify.log_check import Depth, LogCheck
from ledger_verify.looking_back import look_back
from ledger_verify.members import CHECKPOINT, KEYS, SEGMENT, Members
from ledger_verify.merkle import Tree
from ledger_verify.notes import Checkpoint, Key, parse_keys
from ledger_verify.plain import (
    HASH_SIZE,
    Malformed,
    hash_from_hex,
    list_of,
    number_of,
    parse_object,
    text_of,
)
from ledger_verify.seal_check import Anchor, SealCheck
from ledger_verify.sources import Source
from ledger_verify.trust import Trust, read_checkpoint, read_held, use_keys

EXPORT = "export.json"
SCHEMA = "schema/events.json"
LOG = "log"

NEVER_CHECKED = (
    "whether events that should have been recorded were, and whether what they say is true",
    "whether limits, blocks, approvals and closed periods were kept: that is not in the bytes",
)


@dataclass(slots=True)
class _Range:
    """What an export says that it holds."""

    first: int = 1
    last: int | None = None
    origin: str | None = None
    frontier: Sequence[bytes] = ()


class ExportCheck:
    """The check of one archive."""

    def __init__(self, report: Report, source: Source, trust: Trust, depth: Depth) -> None:
        """Prepare it; ``depth`` is how far the events are to be read."""
        self.report = report
        self.trust = trust
        self.depth = depth
        self.members = Members(report, source)
        self.range = _Range()
        self.proven: set[str] = set()

    def run(self) -> None:
        """Check everything, and leave what came out in the report."""
        report, members = self.report, self.members
        self._read_range()
        if self.range.first != 1 and self.depth == "books":
            self.depth = "entries"  # There are no books to begin with.
        segments = self._segments()
        keys = use_keys(report, self.trust.keys, self._keys())
        checkpoints = self._checkpoints(keys)
        held = read_held(report, self.trust, keys, self.range.origin)
        self._require_one_history(checkpoints, held)
        tree = self._tree()
        if tree is None:
            members.finish(self.proven)
            return
        seal = SealCheck(report, tree, self._anchors(checkpoints, held))
        check = LogCheck(report, seal, Books(), self.depth)
        for name, first, last in segments:
            self._segment(check, name, first, last)
        self._check_end(check, checkpoints)
        look_back(report, check, lambda: self._all_events(segments))
        self._check_balances(check)
        members.finish(self.proven)
        _conclude(report, check)

    def _read_range(self) -> None:
        """Read what the export says that it holds; where that is damaged, follow its files."""
        found = _Range()

        def read(document: dict[str, object]) -> None:
            found.first = number_of(document, "from", least=1)
            found.last = number_of(document, "to", least=found.first - 1)
            found.origin = text_of(document, "origin")
            found.frontier = [hash_from_hex(node) for node in list_of(document, "frontier_before")]

        is_good = self.members.document(EXPORT, "ledger-export/1", read)
        if is_good:
            self.range = found
        else:
            firsts = [
                int(match[2]) for name in self.members.names if (match := SEGMENT.fullmatch(name))
            ]
            self.range = _Range(first=min(firsts, default=1), frontier=found.frontier)
        self.report.origin = None if self.range.origin is None else shown(self.range.origin)
        self.report.first_position = self.range.first

    def _keys(self) -> Sequence[Key]:
        """The keys that the archive brings along."""
        data = self.members.small(KEYS)
        if data is None:
            return ()
        try:
            return parse_keys(data)
        except Malformed as error:
            self.report.doubt(Finding("keys", f"{KEYS}: {error}", member=KEYS))
            return ()

    def _segments(self) -> list[tuple[str, int, int]]:
        """The files of events: name, first and last position; each goes on where the last ended."""
        report, names = self.report, self.members.names
        found = [
            (name, int(match[2]), int(match[3]))
            for name in names
            if (match := SEGMENT.fullmatch(name)) is not None and match[1] == "events"
        ]
        expected = self.range.first
        for name, first, last in found:
            if first != expected or last < first:
                what = f"{name} stands where the events from {expected} on should"
                report.doubt(Finding("order", what, expected, expected, name))
            expected = last + 1
        for name in names:
            match = SEGMENT.fullmatch(name)
            if match is not None and match[1] == "hashes":
                beside = f"events/{match[2]}-{match[3]}.jsonl"
                if beside not in names:
                    what = f"{name} stands beside no file of events"
                    report.doubt(Finding("archive", what, member=name))
        return found

    def _checkpoints(self, keys: Sequence[Key]) -> list[tuple[str, Checkpoint]]:
        """The checkpoints of the archive that are as they should be."""
        report = self.report
        found: list[tuple[str, Checkpoint]] = []
        names = [name for name in self.members.names if CHECKPOINT.fullmatch(name)]
        for name in names:
            data = self.members.small(name)
            if data is None:
                continue
            if not keys:
                continue
            checkpoint = read_checkpoint(report, name, data, keys, self.range.origin)
            if checkpoint is None:
                continue
            if name != f"checkpoints/{checkpoint.size}.txt":
                what = f"{name} is the checkpoint of another size, {checkpoint.size}"
                report.doubt(Finding("checkpoint", what, member=name))
                continue
            found.append((name, checkpoint))
        if names and not keys:
            report.doubt(Finding("keys", "there is no key with which a signature can be checked"))
        if found:
            algorithms = sorted({item["algorithm"] for item in report.keys})
            report.check(
                f"{len(found)} signed checkpoints in the archive ({', '.join(algorithms)})"
            )
        return found

    def _require_one_history(
        self, checkpoints: list[tuple[str, Checkpoint]], held: list[tuple[str, Checkpoint]]
    ) -> None:
        """Two checkpoints of one size have one root, or two histories were shown."""
        roots = {checkpoint.size: (name, checkpoint.root) for name, checkpoint in checkpoints}
        for name, checkpoint in held:
            other = roots.get(checkpoint.size)
            if other is not None and other[1] != checkpoint.root:
                what = (
                    f"{other[0]} and your checkpoint {shown(name)} are of one size and have two"
                    " roots: two histories were signed"
                )
                self.report.doubt(Finding("checkpoint", what, member=other[0]))

    def _tree(self) -> Tree | None:
        """The tree of what stands before the first event."""
        try:
            return Tree(self.range.first - 1, self.range.frontier)
        except ValueError:
            what = f"{EXPORT}: frontier_before is not that of {self.range.first - 1} events"
            self.report.doubt(Finding("archive", what, member=EXPORT))
            return None

    def _anchors(
        self, checkpoints: list[tuple[str, Checkpoint]], held: list[tuple[str, Checkpoint]]
    ) -> Iterator[Anchor]:
        """The roots that the tree can be held against."""
        before = self.range.first - 1
        for is_held, name, checkpoint in (
            *((True, *item) for item in held),
            *((False, *item) for item in checkpoints),
        ):
            if checkpoint.size >= before:
                yield Anchor(checkpoint.size, checkpoint.root, shown(name), is_held)
                continue
            what = (
                f"{shown(name)} covers {checkpoint.size} events and the export begins at"
                f" {before + 1}: whether one continues the other cannot be told from this;"
                f" ask for an export from {checkpoint.size + 1} or earlier"
            )
            self.report.doubt(Finding("uncompared", what, member=shown(name)))

    def _segment(self, check: LogCheck, name: str, first: int, last: int) -> None:
        """Check one file of events, with the stored hashes beside it."""
        seal, members, report = check.seal, self.members, self.report
        beside = name.replace("events/", "hashes/").replace(".jsonl", ".bin")
        hashes = members.small(beside) if beside in members.names else None
        if hashes is not None and len(hashes) != (last - first + 1) * HASH_SIZE:
            what = f"{beside} does not have one hash for each of {last - first + 1} events"
            report.doubt(Finding("hashes", what, member=beside))
            hashes = None
        seal.stored(beside if hashes is not None else None, first, hashes or b"")
        count = report.findings_count
        check.take(name, members.blocks(name))
        is_cut = self.members.source.problem is not None and name == members.names[-1]
        if check.position < last and not is_cut:
            what = f"{name} ends with event {check.position}, and should end with {last}"
            missing = check.position + 1
            report.doubt(Finding("order", what, missing, missing, name))
            seal.skip(last)
            check.position = last
        elif check.position > last:
            what = f"{name} ends with event {check.position}, and should end with {last}"
            report.doubt(Finding("order", what, last + 1, last + 1, name))
        seal.segment_done()
        if report.findings_count == count:
            self.proven.add(name)

    def _all_events(self, segments: list[tuple[str, int, int]]) -> Iterator[Iterator[bytes]]:
        """All files of events once more."""
        for name, _, _ in segments:
            yield self.members.source.blocks(name)

    def _check_end(self, check: LogCheck, checkpoints: list[tuple[str, Checkpoint]]) -> None:
        """The export ends where it says, and where a checkpoint covers it."""
        report, seal, last = self.report, check.seal, self.range.last
        seal.finish()
        report.last_position = check.position
        is_cut = self.members.source.problem is not None
        if last is not None and check.position != last:
            missing = None if is_cut else min(check.position, last) + 1
            what = f"the events end at {check.position}, and should end at {last}"
            report.doubt(Finding("order", what, missing, missing))
        _check_unreached(report, seal, check.position, is_cut=is_cut)
        end = check.position if last is None else last
        if not any(checkpoint.size == end for _, checkpoint in checkpoints):
            what = f"no good checkpoint in the archive covers all events up to {end}"
            report.doubt(Finding("unsealed", what))
        root = seal.root
        manifest = self.members.manifest
        if manifest is None or root is None:
            return
        if manifest.get("size") != end or manifest.get("root") != root.hex():
            what = "manifest.json states another size or root than the events have"
            report.doubt(Finding("manifest", what, member="manifest.json"))

    def _check_balances(self, check: LogCheck) -> None:
        """The stated balances are those that the events amount to."""
        report, members = self.report, self.members
        is_there = balances.BALANCES in members.names
        if self.range.first != 1:
            report.skip("balances: they follow only from an export that begins at position 1")
        elif self.depth == "bytes":
            report.skip("balances, and that each entry balances: --no-balances was given")
        elif not is_there:
            if members.source.problem is None:
                what = f"there is no {balances.BALANCES}"
                report.doubt(Finding("archive", what, member=balances.BALANCES))
        else:
            blocks = members.blocks(balances.BALANCES)
            if balances.compare(report, check.books, blocks):
                count = len(check.books.accounts)
                report.check(f"the balances of {count} accounts, replayed from the events")
        if SCHEMA in members.names and (data := members.small(SCHEMA)) is not None:
            try:
                parse_object(data)
            except Malformed as error:
                report.doubt(Finding("archive", f"{SCHEMA}: {error}", member=SCHEMA))


def check_lines(report: Report, blocks: Source, trust: Trust, depth: Depth) -> None:
    """Check the bare lines of a log that begins at position 1."""
    keys = use_keys(report, trust.keys, ())
    held = read_held(report, trust, keys, None)
    report.first_position = 1
    origins = {checkpoint.origin for _, checkpoint in held}
    if len(origins) > 1:
        report.doubt(Finding("checkpoint", "the checkpoints are of different logs"))
    elif origins:
        report.origin = shown(min(origins))
    anchors = [Anchor(item.size, item.root, shown(name), is_held=True) for name, item in held]
    seal = SealCheck(report, Tree(), anchors)
    seal.stored(None, 1, b"")
    check = LogCheck(report, seal, Books(), depth)
    check.take(LOG, blocks.blocks(LOG))
    seal.finish()
    report.last_position = check.position
    _check_unreached(report, seal, check.position, is_cut=False)
    sealed = max((checkpoint.size for _, checkpoint in held), default=0)
    if not held:
        what = "nothing covers the events: give --checkpoint with a checkpoint of the log"
        report.doubt(Finding("unsealed", what))
    elif sealed < check.position:
        what = f"no checkpoint covers the events from {sealed + 1} to {check.position}"
        report.doubt(Finding("unsealed", what, sealed + 1, sealed + 1))
    look_back(report, check, lambda: iter((blocks.blocks(LOG),)))
    if depth == "bytes":
        report.skip("that each entry balances: --no-balances was given")
    else:
        report.skip("balances: bare lines state none; they were replayed, and every entry fits")
    _conclude(report, check)


def _check_unreached(report: Report, seal: SealCheck, end: int, *, is_cut: bool) -> None:
    """Checkpoints beyond the last event: the log was longer once."""
    for anchor in seal.unreached:
        whose = f"your checkpoint {anchor.name}" if anchor.is_held else anchor.name
        what = f"the events end at {end}, but {whose} covers {anchor.size}: events are missing"
        missing = None if is_cut else end + 1
        member = None if anchor.is_held else anchor.name
        report.doubt(Finding("missing", what, missing, missing, member))


def _conclude(report: Report, check: LogCheck) -> None:
    """Say what was checked, and what cannot be."""
    seal = check.seal
    root = seal.root
    report.root = None if root is None else root.hex()
    if report.events:
        report.check(
            f"{report.events} events, {report.first_position} to {report.last_position}: bytes,"
            " order, no gaps, times never backwards, command keys unique"
        )
    if check.depth != "bytes":
        report.check("that every event is of a known type and every entry balances per currency")
    kept = [anchor for anchor in seal.reached if anchor.is_held]
    inside = len(seal.reached) - len(kept)
    if inside:
        report.check(f"the tree over the events against the roots of {inside} checkpoints inside")
    if kept:
        sizes = ", ".join(str(anchor.size) for anchor in kept)
        report.check(f"the tree against {len(kept)} checkpoints that you kept (sizes {sizes})")
    else:
        report.skip(
            "whether this is the history that was shown before: no earlier checkpoint was given"
            " (--checkpoint); save the newest one for the next time"
        )
    for text in NEVER_CHECKED:
        report.skip(text)
