"""Signed statements that stand alone: a result of a self-audit, and a checkpoint."""

import re
from datetime import datetime

from ledger_verify.findings import Finding, Report, shown
from ledger_verify.plain import HASH_SIZE, Malformed, from_base64
from ledger_verify.trust import Trust, read_checkpoint, read_held, statement_text, use_keys

AUDIT = b"ledger-audit/1\n"

_WHOLE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES_MIN = 6
_NO_KEY = "no key was given: nobody's signature can be checked"


def check_audit(report: Report, data: bytes, trust: Trust) -> None:
    """Check a result of a self-audit: that the ledger signed it, and that nothing was found."""
    keys = use_keys(report, trust.keys, ())
    if not keys:
        report.doubt(Finding("keys", _NO_KEY))
        return
    lines = statement_text(report, data, keys, 1)
    if lines is None:
        return
    try:
        position, root, count = _read(lines)
    except Malformed as error:
        report.doubt(Finding("statement", str(error)))
        return
    report.origin, report.root = shown(lines[1]), root.hex()
    report.first_position, report.last_position = 1, position
    report.check(
        f"the signatures of the statement of {shown(lines[5])} about positions 1 to {position}"
    )
    if count:
        what = f"the ledger itself says that its audit found {count} differences"
        report.doubt(Finding("audit", what))
    for name, held in read_held(report, trust, keys, lines[1]):
        if held.size != position:
            what = f"{shown(name)} is of {held.size} events and the statement of {position}"
            report.doubt(Finding("uncompared", what))
        elif held.root != root:
            what = f"{shown(name)} and the statement are of one size and have two roots"
            report.doubt(Finding("checkpoint", what))
        else:
            report.check(f"the statement's root is that of the checkpoint you kept ({shown(name)})")
    report.skip("whether the statement is true: check an export for that")


def check_checkpoint(report: Report, data: bytes, trust: Trust) -> None:
    """Check a checkpoint by itself: that the ledger signed it."""
    keys = use_keys(report, trust.keys, ())
    if not keys:
        report.doubt(Finding("keys", _NO_KEY))
        return
    checkpoint = read_checkpoint(report, "checkpoint", data, keys, None)
    if checkpoint is None:
        return
    report.origin, report.root = shown(checkpoint.origin), checkpoint.root.hex()
    report.first_position, report.last_position = 1, checkpoint.size
    report.check(f"the signatures of the checkpoint of {checkpoint.size} events")
    for name, held in read_held(report, trust, keys, checkpoint.origin):
        if held.size != checkpoint.size:
            what = f"{shown(name)} is of another size: check an export with it"
            report.doubt(Finding("uncompared", what))
        elif held.root != checkpoint.root:
            what = f"{shown(name)} is of the same size and has another root: two histories"
            report.doubt(Finding("checkpoint", what))
        else:
            report.check(f"it is the one that you kept ({shown(name)})")
    report.skip("the events that it covers: check an export for that")


def _read(lines: list[str]) -> tuple[int, bytes, int]:
    """Position, root and number of findings of a self-audit's result.

    Raises:
        Malformed: it is not of the form.
    """
    if len(lines) < _LINES_MIN or lines[0] != AUDIT.decode().strip():
        raise Malformed("not the lines of a self-audit")
    if _WHOLE.fullmatch(lines[2]) is None or _WHOLE.fullmatch(lines[4]) is None:
        raise Malformed("a position or number of findings that is no whole number")
    root = from_base64(lines[3])
    if len(root) != HASH_SIZE:
        raise Malformed("a root that is no hash")
    try:
        moment = datetime.fromisoformat(lines[5])
    except ValueError:
        raise Malformed("a time of another form") from None
    if moment.tzinfo is None:
        raise Malformed("a time without its zone")
    return int(lines[2]), root, int(lines[4])
