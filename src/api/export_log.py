"""The log as one archive that proves itself: events, checkpoints, keys, schemas, balances.

What is exported is what is stored, unjudged: to find that something was changed is the verifier's
task. Read in segments, each by one COPY, so memory does not grow with the log; a file that was left
incomplete is continued. docs/formats.md has the format to the byte.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec

from api import archives, event_schemas, log_lines, seals
from api.archives import ArchiveRefused, Contents, Member
from api.balance_lines import balance_lines
from api.runtime import Runtime
from api.seals import Seals
from ledger_core import log
from ledger_core.merkle import HASH_SIZE

FORMAT = "ledger-export/1"
MANIFEST_FORMAT = "ledger-manifest/1"
SEGMENT_EVENTS = 100_000
"""A segment is what a resumed export loses at most: a second or two of work."""

HEAD = "export.json"


class ExportHead(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive is: the range of the log, and what went before it (``export.json``).

    ``frontier_before`` are the nodes of the tree of the first ``first - 1`` events, largest first,
    in hexadecimal.
    """

    format: str
    ledger: str
    origin: str
    first: int = msgspec.field(name="from")
    last: int = msgspec.field(name="to")
    frontier_before: tuple[str, ...]
    segment_events: int
    created_at: datetime


class ExportReport(msgspec.Struct, frozen=True):
    """What was exported; ``missing`` positions are not in the log, which should have no gap.

    ``stopped``: why the notary signs nothing of this log, if it does not.
    """

    ledger: str
    first: int
    last: int
    root: str
    missing: int
    stopped: str | None


Progress = Callable[[int], None]
_DECODER = msgspec.json.Decoder(ExportHead)


class Export:
    """One export under way."""

    def __init__(
        self,
        runtime: Runtime,
        ledger_id: int,
        head: ExportHead,
        seals_: Seals,
        progress: Progress,
    ) -> None:
        """Prepare it; the views must have reached the end of the range if it begins at 1."""
        self._runtime = runtime
        self._ledger_id = ledger_id
        self._progress = progress
        self._seals = seals_
        self.head = head
        self._events = 0

    def write(self, path: Path) -> ExportReport:
        """Write the archive to a file, or complete it.

        Raises:
            ArchiveRefused: the file cannot be written.
        """
        archives.write(path, self._contents(), self._manifest, self._modified_s)
        return self._report()

    def stream(self) -> Iterator[bytes]:
        """The archive's bytes."""
        return archives.stream(self._contents(), self._manifest, self._modified_s)

    def _report(self) -> ExportReport:
        """What was exported."""
        head = self.head
        missing = head.last - head.first + 1 - self._events
        root = self._seals.root.hex()
        return ExportReport(head.ledger, head.first, head.last, root, missing, self._seals.stopped)

    @property
    def _modified_s(self) -> int:
        """The time of the members: when the export was begun."""
        return int(self.head.created_at.timestamp())

    def _contents(self) -> Contents:
        """The members in order."""
        head = self.head
        yield HEAD, lambda: (_json(head),)
        yield "keys.json", lambda: (self._seals.keys,)
        yield "schema/events.json", lambda: (event_schemas.encoded(),)
        for first, last in segments(head.first, head.last, head.segment_events):
            place = f"{first:012}-{last:012}"
            yield f"events/{place}.jsonl", partial(self._segment, first, last)
            yield f"hashes/{place}.bin", partial(self._hashes, first, last)
        if head.first == 1:
            yield "balances.jsonl", self._balances
        for size, note in self._checkpoints():
            yield f"checkpoints/{size}.txt", partial(_one, note)

    def _segment(self, first: int, last: int) -> Iterator[bytes]:
        """The lines of a segment."""
        with self._runtime.connect("ledger_reader") as connection:
            yield from log_lines.lines_between(connection, self._ledger_id, first, last)
        self._progress(last - self.head.first + 1)

    def _hashes(self, first: int, last: int) -> Iterator[bytes]:
        """The leaf hashes of a segment as they are stored: they tell which event was changed."""
        with self._runtime.connect("ledger_reader") as connection:
            yield from log_lines.hashes_between(connection, self._ledger_id, first, last)

    def _balances(self) -> Iterator[bytes]:
        """The balances that the views say at the end of the range."""
        with self._runtime.engine.connect() as connection:
            yield from balance_lines(connection, self._ledger_id, self.head.last)

    def _checkpoints(self) -> Iterator[tuple[int, str]]:
        """The newest checkpoint of each segment, and that of the end; ascending."""
        head, before = self.head, self.head.first - 1
        with self._runtime.connect("ledger_reader") as connection:
            for _, last in segments(head.first, head.last, head.segment_events):
                # Not those of the end itself: that one is added in any case.
                sizes = before + 1, min(last, head.last - 1)
                found = seals.newest_until(connection, self._ledger_id, sizes, head.created_at)
                if found is not None:
                    yield found
                before = last
        if self._seals.note is not None:
            yield head.last, self._seals.note

    def _manifest(self, members: Sequence[Member]) -> bytes:
        """The last member."""
        lengths = [member.bytes for member in members if member.name.startswith("hashes/")]
        self._events = sum(lengths) // HASH_SIZE
        return manifest(self._seals.root, self.head.last, members)


def begin(  # noqa: PLR0913 - what to export
    runtime: Runtime,
    ledger_id: int,
    ledger: str,
    *,
    first: int = 1,
    last: int | None = None,
    path: Path | None = None,
    progress: Progress = lambda _: None,
) -> Export:
    """An export of the events from ``first`` to ``last`` (``None``: all there are by now).

    Where ``path`` holds an export of the same ledger under way, that one is gone on with: its own
    end and time count.

    Raises:
        ArchiveRefused: the range is not in the log, or the file holds something else.
    """
    under_way = None if path is None else _under_way(path)
    if under_way is not None:
        found = (under_way.ledger, under_way.first)
        if found != (ledger, first) or last not in {None, under_way.last}:
            msg = (
                f"The file holds an export of ledger {under_way.ledger} from position"
                f" {under_way.first} to {under_way.last}: name another file, or the same range."
            )
            raise ArchiveRefused(msg)
        sealed = seals.of(runtime, ledger_id, ledger, under_way.last)
        return Export(runtime, ledger_id, under_way, sealed, progress)
    with runtime.connect("ledger_reader") as connection:
        end = log.read_head(connection, ledger_id).position
    last = end if last is None else last
    # Of an empty log, nothing is exported: from 1 to 0.
    if not 1 <= first <= last + 1 <= end + 1 or (first > last and end > 0):
        msg = f"The log of ledger {ledger} has the positions 1 to {end}."
        if end == 0:
            msg = f"The log of ledger {ledger} is empty."
        raise ArchiveRefused(msg)
    sealed = seals.of(runtime, ledger_id, ledger, last)
    before = seals.frontier_at(runtime, ledger_id, first - 1, sealed)
    head = ExportHead(
        format=FORMAT,
        ledger=ledger,
        origin=sealed.origin,
        first=first,
        last=last,
        frontier_before=tuple(node.hex() for node in before.nodes),
        segment_events=SEGMENT_EVENTS,
        created_at=runtime.now(),
    )
    return Export(runtime, ledger_id, head, sealed, progress)


def segments(first: int, last: int, size: int) -> Iterator[tuple[int, int]]:
    """The first and last position of each segment; all but the outermost are aligned."""
    while first <= last:
        end = min(last, -(-first // size) * size)
        yield first, end
        first = end + 1


def manifest(root: bytes, size: int, members: Sequence[Member]) -> bytes:
    """The manifest: the root of the tree of so many events, and every member with its hash."""
    return _json({"format": MANIFEST_FORMAT, "root": root.hex(), "size": size, "members": members})


def _under_way(path: Path) -> ExportHead | None:
    """The head of the export that a file holds, whole or not; ``None`` where there is none.

    Raises:
        ArchiveRefused: the file holds something else.
    """
    found = archives.whole_members(path)
    if not found:
        return None
    try:
        head = _DECODER.decode(archives.read_member(path, found[0]))
    except msgspec.MsgspecError:
        head = None
    if found[0].name != HEAD or head is None or head.format != FORMAT:
        raise ArchiveRefused(f"{path.name} is there, and is no export of a log")
    return head


def _one(text: str) -> Iterable[bytes]:
    """A text as a content."""
    return (text.encode(),)


def _json(value: object) -> bytes:
    """A document for people and programs."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"
