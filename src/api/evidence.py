"""Evidence: the events about one account or customer, or of a sample, each proven to be in the log.

A bundle is an archive of events, an inclusion proof for each in the tree of one checkpoint, that
checkpoint, the public keys, and a report for people. For the same position it is the same bytes
every time. It proves that what is in it is in the log; it cannot prove that nothing was left out:
for that, one checks an export of the whole log.
"""

import base64
import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import sqlalchemy

from api import archives, evidence_report, log_lines, seals
from api.archives import ArchiveRefused, Contents, Member
from api.export_log import manifest
from api.runtime import Runtime
from api.seals import Seals
from ledger_core import log
from ledger_core.log import StoredEvent
from projections import balance_queries, customer_queries
from projections.links import linked_accounts
from projections.reading import AsOf, resolve
from projections.tag_queries import positions_tagged

FORMAT = "ledger-evidence/1"
# So many events are proven at a time: the tree's nodes that all of them need are read at once.
PROVEN_AT_ONCE = 256
_POSITIONS_AT_ONCE = 1_000

Kind = Literal["account", "customer", "sample"]
_Item = TypeVar("_Item")


class Subject(msgspec.Struct, frozen=True):
    """What the evidence is about: an account or customer by id, or a sample by its seed."""

    kind: Kind
    id: str


class EvidenceHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a bundle is (``evidence.json``); ``sample`` says how a sample was drawn."""

    format: str
    subject: Subject
    origin: str
    size: int
    sample: dict[str, Any] | None = None


class EvidenceReport(msgspec.Struct, frozen=True):
    """What was written: of which subject, how many events, proven in the tree of which root."""

    kind: Kind
    id: str
    events: int
    size: int
    root: str


Positions = Callable[[], Iterator[int]]


class Bundle:
    """One bundle: what it is about, and where its events stand, in order and each once."""

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a bundle
        self,
        runtime: Runtime,
        ledger_id: int,
        head: EvidenceHead,
        seals_: Seals,
        positions: Positions,
        introduction: Sequence[str],
    ) -> None:
        """Prepare it; ``introduction`` are the first lines of its report."""
        self._runtime = runtime
        self._ledger_id = ledger_id
        self._head = head
        self._seals = seals_
        self._positions = positions
        self._introduction = introduction
        self._count = 0

    def write(self, path: Path) -> EvidenceReport:
        """Write the bundle to a file that is not there yet.

        Raises:
            ArchiveRefused: it is there, or cannot be written.
        """
        if path.exists():
            raise ArchiveRefused(f"{path.name} is there already.")
        archives.write(path, self._contents(), self._manifest, self._modified_s())
        subject, sealed = self._head.subject, self._seals
        return EvidenceReport(subject.kind, subject.id, self._count, sealed.size, sealed.root.hex())

    def stream(self) -> Iterator[bytes]:
        """The bundle's bytes."""
        return archives.stream(self._contents(), self._manifest, self._modified_s())

    def _modified_s(self) -> int:
        """The time of the members: that of the last event that is covered."""
        with self._runtime.connect("ledger_reader") as connection:
            found = log.events_at(connection, self._ledger_id, [self._head.size])
        return int(found[0].recorded_at.timestamp()) if found else 0

    def _contents(self) -> Contents:
        """The members in order."""
        yield "evidence.json", partial(_document, self._head)
        yield "keys.json", lambda: (self._seals.keys,)
        yield "events.jsonl", self._events
        yield "proofs.jsonl", self._proofs
        if self._seals.note is not None:
            note = self._seals.note.encode()
            yield f"checkpoints/{self._seals.size}.txt", lambda: (note,)
        yield "report.txt", self._report

    def _events(self) -> Iterator[bytes]:
        """The events' lines."""
        self._count = 0
        with self._runtime.connect("ledger_reader") as connection:
            for some in _batches(self._positions(), _POSITIONS_AT_ONCE):
                self._count += len(some)
                yield from log_lines.lines_at(connection, self._ledger_id, some)

    def _proofs(self) -> Iterator[bytes]:
        """The proofs, a line each."""
        with self._runtime.connect("ledger_reader") as connection:
            for some in _batches(self._positions(), PROVEN_AT_ONCE):
                with seals.snapshot(connection):
                    paths = seals.inclusions(connection, self._ledger_id, some, self._seals.size)
                for position, path in zip(some, paths, strict=True):
                    proof = [base64.b64encode(item).decode() for item in path]
                    yield msgspec.json.encode({"position": position, "proof": proof}) + b"\n"

    def _report(self) -> Iterator[bytes]:
        """The report for people."""
        return evidence_report.report(
            self._introduction, self._stored(), self._seals, self._head.subject.kind
        )

    def _stored(self) -> Iterator[StoredEvent]:
        """The events as they are stored."""
        with self._runtime.connect("ledger_reader") as connection:
            for some in _batches(self._positions(), _POSITIONS_AT_ONCE):
                yield from log.events_at(connection, self._ledger_id, some)

    def _manifest(self, members: Sequence[Member]) -> bytes:
        """The last member."""
        return manifest(self._seals.root, self._seals.size, members)


def of_account(
    runtime: Runtime, ledger_id: int, ledger: str, account_id: str, position: int | None = None
) -> Bundle:
    """Evidence of an account up to a position (``None``: by now); the views must be there.

    Raises:
        AccountNotFound: no such account at that position.
        PositionAhead: the views have not reached the position.
        ArchiveRefused: the log is not signed any more.
    """
    as_of = AsOf(position=position)
    with runtime.engine.connect() as connection:
        found = balance_queries.balance(connection, ledger_id, account_id, as_of=as_of)
    lines = evidence_report.of_account(found)
    tags = [f"account:{account_id}"]
    subject = Subject("account", account_id)
    return _bundle(runtime, ledger_id, ledger, subject, found.position, tags, lines)


def of_customer(
    runtime: Runtime, ledger_id: int, ledger: str, customer_id: str, position: int | None = None
) -> Bundle:
    """Evidence of a customer: events about the customer, and all about accounts held by then.

    Raises:
        CustomerNotFound: no such customer at that position.
        PositionAhead: the views have not reached the position.
        ArchiveRefused: the log is not signed any more.
    """
    as_of = AsOf(position=position)
    with runtime.engine.connect() as connection:
        found = customer_queries.customer(connection, ledger_id, customer_id, as_of=as_of, recent=1)
        reading = resolve(
            connection,
            ledger_id,
            AsOf(position=found.position),
            *customer_queries.PROJECTIONS_READ,
        )
        accounts = linked_accounts(connection, ledger_id, reading, customer_id)
    lines = evidence_report.of_customer(found)
    tags = [f"customer:{customer_id}", *(f"account:{name}" for name in sorted(accounts))]
    subject = Subject("customer", customer_id)
    return _bundle(runtime, ledger_id, ledger, subject, found.position, tags, lines)


def of_positions(  # noqa: PLR0913 - what was drawn, and how
    runtime: Runtime,
    ledger_id: int,
    ledger: str,
    subject: Subject,
    positions: Sequence[int],
    *,
    size: int,
    sample: dict[str, Any],
    introduction: Sequence[str],
) -> Bundle:
    """Evidence of chosen events.

    Raises:
        ArchiveRefused: the log is not signed any more.
    """
    sealed = _sealed(runtime, ledger_id, ledger, size)
    head = EvidenceHead(FORMAT, subject, sealed.origin, size, sample)
    in_order = sorted(positions)
    return Bundle(runtime, ledger_id, head, sealed, lambda: iter(in_order), introduction)


def _bundle(  # noqa: PLR0913, PLR0917 - the parts of a bundle
    runtime: Runtime,
    ledger_id: int,
    ledger: str,
    subject: Subject,
    size: int,
    tags: list[str],
    introduction: Sequence[str],
) -> Bundle:
    """The bundle of the events that carry any of the tags."""
    sealed = _sealed(runtime, ledger_id, ledger, size)
    head = EvidenceHead(FORMAT, subject, sealed.origin, size)
    positions = partial(_tagged, runtime, ledger_id, tags, size)
    return Bundle(runtime, ledger_id, head, sealed, positions, introduction)


def _sealed(runtime: Runtime, ledger_id: int, ledger: str, size: int) -> Seals:
    """The seals of the first ``size`` events.

    Raises:
        ArchiveRefused: the notary signs nothing of this log, so that nothing can be proven.
    """
    sealed = seals.of(runtime, ledger_id, ledger, size)
    if sealed.stopped is not None:
        raise ArchiveRefused(f"Nothing of this log is signed any more: {sealed.stopped}.")
    return sealed


def _tagged(runtime: Runtime, ledger_id: int, tags: list[str], size: int) -> Iterator[int]:
    """Where events up to ``size`` carry any of the tags: in order, each once."""
    with runtime.engine.connect() as connection:
        before = 0
        streams = [_tagged_one(connection, ledger_id, tag, size) for tag in tags]
        for position in heapq.merge(*streams):
            if position > before:
                yield position
            before = position


def _tagged_one(
    connection: sqlalchemy.Connection, ledger_id: int, tag: str, size: int
) -> Iterator[int]:
    """Where events up to ``size`` carry the tag."""
    after = 0
    while True:
        found, _ = positions_tagged(connection, ledger_id, tag, after, _POSITIONS_AT_ONCE)
        for position in found:
            if position > size:
                return
            yield position
        if len(found) < _POSITIONS_AT_ONCE:
            return
        after = found[-1]


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """The items, so many at a time."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def _document(value: object) -> tuple[bytes]:
    """A document for people and programs, as a content."""
    return (msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n",)
