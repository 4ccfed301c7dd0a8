"""The command line: what to check, whose keys count, which checkpoints were kept.

Ends with 0 if nothing is in doubt, 1 on any doubt, and 2 if it was called wrongly.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from ledger_verify import rendering
from ledger_verify.checking import check
from ledger_verify.findings import Finding, Report
from ledger_verify.log_check import Depth
from ledger_verify.notes import NOTE_BYTES_MAX, Key, parse_keys
from ledger_verify.plain import Malformed
from ledger_verify.sources import spooled
from ledger_verify.trust import Held, Trust

PROVEN, DOUBT, WRONG_CALL = 0, 1, 2

_KEYS_BYTES_MAX = 4_000_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Check what the arguments name; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        trust = Trust(
            None if not options.keys else _keys(options.keys),
            tuple(_held(Path(name)) for name in options.checkpoint),
        )
    except OSError as error:
        return _wrong(f"cannot read {error.filename}: {error.strerror}")
    except Malformed as error:
        return _wrong(str(error))
    depth: Depth = "bytes" if options.no_balances else "books"
    try:
        report = _check(options.input, trust, depth)
    except OSError as error:
        return _wrong(f"cannot read {options.input}: {error.strerror}")
    text = rendering.as_json(report) if options.json else rendering.as_text(report)
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
    return DOUBT if report.findings_count else PROVEN


def _check(name: str, trust: Trust, depth: Depth) -> Report:
    """Check one input, whatever it is; a fault of our own is a doubt, never a proof."""
    if name == "-":
        with spooled(sys.stdin.buffer) as stream:
            return _guarded(stream, trust, depth)
    path = Path(name)
    if path.is_dir():
        return _guarded(path, trust, depth)
    with path.open("rb") as file:
        return _guarded(file, trust, depth)


def _guarded(source: BinaryIO | Path, trust: Trust, depth: Depth) -> Report:
    """The report, also where the check itself fails."""
    report = Report("input")
    try:
        check(report, source, trust, depth)
    except (
        ArithmeticError,
        LookupError,
        MemoryError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        what = f"the check could not be finished ({type(error).__name__}): nothing is proven"
        report.doubt(Finding("unfinished", what))
    return report


def _parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = argparse.ArgumentParser(
        prog="ledger-verify",
        description="Check an exported ledger without trusting whoever runs it.",
        epilog="Exit code: 0 nothing is in doubt, 1 doubt, 2 wrong call.",
    )
    parser.add_argument(
        "input",
        help="an exported archive or the folder it was unpacked to, a log as JSON lines, a receipt,"
        " an evidence bundle, a self-audit's statement or a checkpoint; - for standard input",
    )
    parser.add_argument(
        "--keys",
        metavar="FILE",
        action="append",
        default=[],
        help="public keys to trust: a keys.json, or verifier keys one a line; may be repeated",
    )
    parser.add_argument(
        "--checkpoint",
        metavar="FILE",
        action="append",
        default=[],
        help="an earlier checkpoint that you kept; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="tell the outcome as JSON")
    parser.add_argument(
        "--no-balances",
        action="store_true",
        help="check bytes, order, tree and signatures only: faster",
    )
    return parser


def _keys(names: Sequence[str]) -> list[Key]:
    """The keys of all files.

    Raises:
        Malformed: a file holds no keys.
    """
    found: list[Key] = []
    for name in names:
        try:
            found += parse_keys(_bounded(Path(name), _KEYS_BYTES_MAX))
        except Malformed as error:
            raise Malformed(f"{name}: {error}") from None
    return found


def _held(path: Path) -> Held:
    """A checkpoint that the auditor kept; whether it is one is part of the check."""
    return Held(path.name, _bounded(path, NOTE_BYTES_MAX + 1))


def _bounded(path: Path, most: int) -> bytes:
    """A small file's bytes, at most so many."""
    with path.open("rb") as file:
        return file.read(most)


def _wrong(message: str) -> int:
    """The command was called wrongly."""
    sys.stderr.write(f"ledger-verify: {message}\n")
    return WRONG_CALL
