"""Evidence bundles: what they hold about an account or a customer is in the ledger, byte for byte.

Each event has a proof of its own. That nothing was left out cannot be told from a bundle.
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from ledger_verify.findings import Finding, Report, shown
from ledger_verify.lines import Line, parse_line, tags_of, whole_lines
from ledger_verify.members import CHECKPOINT, KEYS, Members
from ledger_verify.notes import Checkpoint, Key, parse_keys
from ledger_verify.plain import Malformed, is_object, list_of, number_of, parse_object, text_of
from ledger_verify.receipts import check_leaf, path_of
from ledger_verify.sources import Source
from ledger_verify.trust import Trust, read_checkpoint, read_held, use_keys

EVIDENCE = "evidence.json"
EVENTS = "events.jsonl"
PROOFS = "proofs.jsonl"


class EvidenceCheck:
    """The check of one bundle."""

    def __init__(self, report: Report, source: Source, trust: Trust) -> None:
        """Prepare it."""
        self.report = report
        self.trust = trust
        self.members = Members(report, source)
        self.subject = ("", "")
        self.size = 0
        self.origin: str | None = None

    def run(self) -> None:
        """Check everything, and leave what came out in the report."""
        report, members = self.report, self.members
        if not members.document(EVIDENCE, "ledger-evidence/1", self._read_head):
            self.origin = None
        keys = use_keys(report, self.trust.keys, self._keys())
        checkpoint = self._checkpoint(keys)
        if checkpoint is not None:
            report.origin, report.root = shown(checkpoint.origin), checkpoint.root.hex()
            for name, held in read_held(report, self.trust, keys, checkpoint.origin):
                self._compare_held(shown(name), held, checkpoint)
            self._events(checkpoint)
        members.finish(set())
        report.skip(
            "whether anything was left out: a bundle proves that what it holds is in the ledger,"
            " not that it holds all; only an export of the whole log does"
        )
        report.skip("balances: they follow only from the whole log")

    def _read_head(self, document: dict[str, object]) -> None:
        """Read what the bundle is about."""
        subject = document.get("subject")
        if not is_object(subject):
            raise Malformed("subject is no object")
        self.subject = (text_of(subject, "kind"), text_of(subject, "id"))
        self.size = number_of(document, "size")
        self.origin = text_of(document, "origin")

    def _keys(self) -> Sequence[Key]:
        """The keys that the bundle brings along."""
        data = self.members.small(KEYS)
        try:
            return () if data is None else parse_keys(data)
        except Malformed as error:
            self.report.doubt(Finding("keys", f"{KEYS}: {error}", member=KEYS))
            return ()

    def _checkpoint(self, keys: Sequence[Key]) -> Checkpoint | None:
        """The checkpoint to which the proofs lead."""
        report = self.report
        names = [name for name in self.members.names if CHECKPOINT.fullmatch(name)]
        if not keys:
            report.doubt(Finding("keys", "there is no key with which a signature can be checked"))
            return None
        if len(names) != 1:
            report.doubt(Finding("checkpoint", f"{len(names)} checkpoints instead of one"))
            return None
        data = self.members.small(names[0])
        if data is None:
            return None
        checkpoint = read_checkpoint(report, names[0], data, keys, self.origin)
        if checkpoint is None:
            return None
        if self.origin is not None and checkpoint.size != self.size:
            what = f"{names[0]} is of {checkpoint.size} events, {EVIDENCE} says {self.size}"
            report.doubt(Finding("checkpoint", what, member=names[0]))
        report.check(f"the signatures of the checkpoint of {checkpoint.size} events")
        return checkpoint

    def _events(self, checkpoint: Checkpoint) -> None:
        """Check each event against its proof."""
        report = self.report
        last, about = 0, 0
        pairs = zip_longest(self._lines(EVENTS), self._lines(PROOFS))
        for line_no, (text, proof) in enumerate(pairs, 1):
            if text is None or proof is None:
                what = (
                    f"from line {line_no} on, there is an event without a proof, or a proof alone"
                )
                report.doubt(Finding("proof", what, member=PROOFS, line=line_no))
                break
            line, path = self._pair(text, proof, line_no)
            if line is None:
                continue
            if line.position <= last:
                what = f"event {line.position} stands after event {last}"
                report.doubt(Finding("order", what, line.position, line.position, EVENTS, line_no))
            last = line.position
            about += ":".join(self.subject) in tags_of(line)
            check_leaf(report, line.position, line.leaf, path, checkpoint)
        report.check(
            f"{report.events} events with a proof each, in the log of {checkpoint.size} events;"
            f" {about} of them bear the tag {shown(':'.join(self.subject))}"
        )

    def _pair(self, text: bytes, proof: bytes, line_no: int) -> tuple[Line | None, list[bytes]]:
        """An event and its proof, from their lines."""
        report = self.report
        try:
            line = parse_line(text)
        except Malformed as error:
            what = f"{EVENTS}, line {line_no}: {error}"
            report.doubt(Finding("line", what, member=EVENTS, line=line_no))
            return None, []
        try:
            document = parse_object(proof)
            path = path_of(list_of(document, "proof"))
            if number_of(document, "position") != line.position:
                raise Malformed("it is of another event")  # noqa: TRY301 - one way out
        except Malformed as error:
            what = f"{PROOFS}, line {line_no}: {error}"
            report.doubt(Finding("proof", what, line.position, line.position, PROOFS, line_no))
            return None, []
        return line, path

    def _lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file."""
        if name not in self.members.names:
            self.report.doubt(Finding("archive", f"there is no {name}", member=name))
            return
        try:
            for text, rest in whole_lines(self.members.blocks(name)):
                if text is not None:
                    yield from text.split(b"\n")
                elif rest:
                    what = f"the last line of {name} has no end"
                    self.report.doubt(Finding("line", what, member=name))
                    yield rest
        except Malformed as error:
            self.report.doubt(Finding("archive", f"{name}: {error}", member=name))

    def _compare_held(self, name: str, held: Checkpoint, checkpoint: Checkpoint) -> None:
        """Hold the bundle's checkpoint against one that the auditor kept."""
        if held.size == checkpoint.size and held.root == checkpoint.root:
            self.report.check(f"the bundle's checkpoint is the one that you kept ({name})")
            return
        what = f"{name} and the bundle's checkpoint are of one size and have two roots"
        if held.size != checkpoint.size:
            what = (
                f"{name} is of {held.size} events and the bundle's checkpoint of"
                f" {checkpoint.size}: a bundle cannot tell whether one continues the other;"
                " check an export with it"
            )
        self.report.doubt(Finding("uncompared", what))
