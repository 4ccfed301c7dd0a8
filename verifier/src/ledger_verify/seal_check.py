"""The tree over the events, held against every root that was signed or kept.

An export may also have the leaf hashes that the ledger stored. Then a changed event is named
exactly: its line does not hash to the leaf that the signed root covers. Without them, a root that
differs only tells between which two checkpoints the change lies.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ledger_verify.findings import Finding, Report
from ledger_verify.merkle import Tree
from ledger_verify.plain import HASH_SIZE

PENDING_MAX = 1_000
"""So many events that do not hash to their stored leaf hash are told one by one."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A root that the tree must have at a size, and whose word it is.

    ``is_held``: the auditor kept it; else it stands in what is checked.
    """

    size: int
    root: bytes
    name: str
    is_held: bool


@dataclass(frozen=True, slots=True)
class _Stored:
    """The leaf hashes of a segment, as the ledger stored them."""

    member: str
    first: int
    hashes: bytes

    @property
    def last(self) -> int:
        """The last position that has one."""
        return self.first - 1 + len(self.hashes) // HASH_SIZE

    def between(self, first: int, last: int) -> bytes:
        """Those of some positions."""
        return self.hashes[(first - self.first) * HASH_SIZE : (last - self.first + 1) * HASH_SIZE]


class SealCheck:
    """The tree as it grows event by event."""

    def __init__(self, report: Report, tree: Tree, anchors: Iterable[Anchor]) -> None:
        """Begin behind the events that ``tree`` covers; no anchor may lie before its size."""
        self.position = tree.size
        self.good_to: int | None = None
        self.reached: list[Anchor] = []
        self.is_exact = True
        self._report = report
        # The tree over what stands in the lines; none once a line is missing or unreadable.
        self._tree: Tree | None = tree
        # The tree over the stored hashes, kept once a line does not hash to its own.
        self._sealed: Tree | None = None
        self._stored: _Stored | None = None
        self._begin = tree.size
        self._good = {True: tree.size, False: tree.size}
        self._refuted = {True: 0, False: 0}
        self._pending: list[tuple[int, str, str]] = []
        self._unlike = 0
        self._anchors = sorted(anchors, key=lambda item: (item.size, not item.is_held, item.name))
        self._next = 0
        self._check_anchors()

    @property
    def unreached(self) -> list[Anchor]:
        """The anchors beyond the last event."""
        return self._anchors[self._next :]

    @property
    def root(self) -> bytes | None:
        """Root over all lines so far; ``None`` where lines are missing or unreadable."""
        return None if self._tree is None else self._tree.root()

    def stored(self, member: str | None, first: int, hashes: bytes) -> None:
        """From here on, these stored leaf hashes stand beside the lines, or none."""
        self._stored = None if member is None else _Stored(member, first, hashes)
        if self._stored is None:
            self.is_exact = False
            self._sealed = None

    def take(self, hashes: list[bytes], member: str) -> None:
        """The next events' leaf hashes, as they were computed from the lines."""
        stored, at = self._stored, 0
        while at < len(hashes):
            part = hashes[at:]
            if self._next < len(self._anchors):
                part = part[: max(1, self._anchors[self._next].size - self.position)]
            first, last = self.position + 1, self.position + len(part)
            if stored is not None and stored.between(first, last) != b"".join(part):
                self._compare(first, part, stored, member)
            if self._tree is not None:
                self._tree.extend(part)
            at += len(part)
            self.position = last
            self._check_anchors()

    def skip(self, last: int) -> None:
        """The next events up to ``last`` are missing or unreadable.

        Only their stored hashes can stand for them.
        """
        while True:
            self._break()
            if self._next == len(self._anchors) or self._anchors[self._next].size > last:
                break
            self.position = self._anchors[self._next].size
            self._check_anchors()
        self.position = last

    def finish(self) -> None:
        """The log is over: tell what is still open."""
        self._settle()
        for is_held, count in self._refuted.items():
            if count > 1:
                whose = "saved checkpoints" if is_held else "checkpoints of the export"
                what = f"{count - 1} more {whose} have another root than the events"
                self._report.doubt(Finding("root", what))

    def _settle(self) -> None:
        """The events that do not hash to their stored hashes are not those that were sealed."""
        for position, member, _ in self._pending:
            what = (
                f"event {position} is not the one that was sealed: its bytes hash to another leaf"
            )
            self._report.doubt(Finding("leaf", what, position, position, member))
        self._tell_rest("events are not those that were sealed")

    def _clear(self) -> None:
        """The events are those that were sealed: the stored hashes are wrong."""
        for position, _, member in self._pending:
            what = (
                f"the stored hash of event {position} is not that of its leaf, which is as sealed"
            )
            self._report.doubt(Finding("hashes", what, position, position, member))
        self._tell_rest("stored hashes are not those of their events")

    def _tell_rest(self, what: str) -> None:
        """Count those that were too many to be told one by one."""
        if self._unlike > PENDING_MAX:
            self._report.doubt(Finding("leaf", f"{self._unlike - PENDING_MAX} more {what}"))
        self._pending, self._unlike = [], 0

    def _break(self) -> None:
        """The tree over the lines is lost; that over the stored hashes goes on, if they exist."""
        if self._stored is not None:
            self._fork()
        self._tree = None

    def _compare(self, first: int, hashes: list[bytes], stored: _Stored, member: str) -> None:
        """Note each event that does not hash to its stored hash."""
        self._fork()
        for position, found in enumerate(hashes, first):
            if stored.between(position, position) != found:
                self._unlike += 1
                if len(self._pending) < PENDING_MAX:
                    self._pending.append((position, member, stored.member))

    def _fork(self) -> None:
        """From here on, follow the stored hashes, too."""
        if self._sealed is None and self._tree is not None:
            self._sealed = self._tree.copy()

    def _sealed_root(self, size: int) -> bytes | None:
        """Root of the tree over the stored hashes at a size, if they reach so far."""
        sealed = self._sealed
        if sealed is None:
            return None
        self._grow_sealed(size)
        return sealed.root() if sealed.size == size else None

    def _grow_sealed(self, size: int) -> None:
        """Follow the stored hashes up to a size."""
        sealed, stored = self._sealed, self._stored
        if sealed is None or stored is None or not sealed.size < size <= stored.last:
            return
        if sealed.size + 1 < stored.first:
            self._sealed = None
            return
        data = stored.between(sealed.size + 1, size)
        sealed.extend([data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)])

    def segment_done(self) -> None:
        """A file of events is over: its stored hashes will not be there any more."""
        if self._stored is not None:
            self._grow_sealed(self._stored.last)

    def _check_anchors(self) -> None:
        """Hold the tree against each root that was given for its present size."""
        while self._next < len(self._anchors) and self._anchors[self._next].size <= self.position:
            anchor = self._anchors[self._next]
            self._next += 1
            self.reached.append(anchor)
            self._check_anchor(anchor)

    def _check_anchor(self, anchor: Anchor) -> None:
        """Hold the tree against one root, and say what a difference means."""
        tree = self._tree
        computed = tree.root() if tree is not None and tree.size == anchor.size else None
        sealed = self._sealed_root(anchor.size)
        if anchor.root == computed:
            self._clear()
            self._sealed = None
        elif anchor.root == sealed and self._sealed is not None:
            self._settle()
            # What was sealed is known again, whatever stands in the lines.
            self._tree, self._sealed = self._sealed, None
        elif computed is None and sealed is None:
            return
        else:
            self._refute(anchor)
            return
        self.good_to = anchor.size
        self._good[anchor.is_held] = anchor.size

    def _refute(self, anchor: Anchor) -> None:
        """The events do not have the root of a checkpoint."""
        self._refuted[anchor.is_held] += 1
        if self._refuted[anchor.is_held] > 1:
            return
        first = self._good[True] + 1
        if not anchor.is_held:
            first = max(first, self._good[False] + 1)
        first = min(first, anchor.size)
        if anchor.is_held:
            what = (
                f"history was rewritten: the first {anchor.size} events do not have the root of"
                f" your checkpoint {anchor.name}"
            )
        else:
            what = f"the first {anchor.size} events do not have the root of {anchor.name}"
        if anchor.size == self._begin:
            what = f"the log before event {anchor.size + 1} does not have the root of {anchor.name}"
        last, member = max(1, anchor.size), None if anchor.is_held else anchor.name
        self._report.doubt(Finding("root", what, max(1, first), last, member))
