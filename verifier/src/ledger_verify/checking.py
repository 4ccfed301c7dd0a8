"""What an input is, and which check it gets."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ledger_verify.evidence import EVIDENCE, EvidenceCheck
from ledger_verify.exports import EXPORT, ExportCheck, check_lines
from ledger_verify.findings import Finding, Report
from ledger_verify.lines import LEAF
from ledger_verify.log_check import Depth
from ledger_verify.members import rank
from ledger_verify.receipts import TLOG_PROOF, check_receipt
from ledger_verify.sources import BLOCK, READ_BYTES, Folder, Problem, Source, Tar
from ledger_verify.statements import AUDIT, check_audit, check_checkpoint
from ledger_verify.trust import Trust

TEXT_BYTES_MAX = 8 << 20
"""A receipt or a statement is small; the leaf of the largest event takes some 200 kB."""


class Whole:
    """A file that is one stream of lines."""

    def __init__(self, file: BinaryIO) -> None:
        """Read from the file's beginning, as often as asked."""
        self.problem: Problem | None = None
        self._file = file

    def names(self) -> list[str]:
        """There is one."""
        return ["log"]

    def blocks(self, name: str) -> Iterator[bytes]:  # noqa: ARG002 - there is one
        """The file's bytes, in parts."""
        self._file.seek(0)
        while block := self._file.read(READ_BYTES):
            yield block


def check(report: Report, source: BinaryIO | Path, trust: Trust, depth: Depth) -> None:
    """Check an input: a file in which one can seek, or a folder."""
    if isinstance(source, Path):
        _check_archive(report, Folder(source, rank), trust, depth)
        return
    head = source.read(BLOCK)
    source.seek(0)
    if head[257:262] == b"ustar" or head[:5] in {b"expor", b"evide"}:
        _check_archive(report, Tar(source), trust, depth)
    elif head.startswith(LEAF):
        report.subject = "log"
        check_lines(report, Whole(source), trust, depth)
    else:
        _check_text(report, source, head, trust)


def _check_archive(report: Report, source: Source, trust: Trust, depth: Depth) -> None:
    """Check an archive by its first file."""
    names = source.names()
    if EXPORT in names or (names and EVIDENCE not in names):
        report.subject = "export"
        ExportCheck(report, source, trust, depth).run()
    elif names:
        report.subject = "evidence"
        EvidenceCheck(report, source, trust).run()
    else:
        what = "no export and no evidence" if source.problem is None else source.problem.what
        report.doubt(Finding("archive", what, member=EXPORT))


def _check_text(report: Report, file: BinaryIO, head: bytes, trust: Trust) -> None:
    """Check one of the small documents."""
    data = file.read(TEXT_BYTES_MAX + 1)
    if not data:
        report.doubt(Finding("input", "the input is empty"))
    elif len(data) > TEXT_BYTES_MAX:
        report.doubt(Finding("input", "the input is of no format that is known here"))
    elif head.startswith(AUDIT):
        report.subject = "self-audit"
        check_audit(report, data, trust)
    elif head.startswith(TLOG_PROOF) or head.lstrip()[:1] == b"{":
        report.subject = "receipt"
        check_receipt(report, data, trust)
    elif b"\n\n\xe2\x80\x94 " in data:
        report.subject = "checkpoint"
        check_checkpoint(report, data, trust)
    else:
        report.doubt(Finding("input", "the input is of no format that is known here"))
