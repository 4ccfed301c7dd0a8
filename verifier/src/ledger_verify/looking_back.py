"""What can only be told by reading again: command keys used twice, and what reversals mirror."""

from collections.abc import Callable, Iterator, Mapping

from ledger_verify.books import Posting, entry_id_of, mirrored, postings_of, read_event
from ledger_verify.findings import Finding, Report, shown
from ledger_verify.lines import HEADER, Line, parse_line, whole_lines
from ledger_verify.log_check import LogCheck
from ledger_verify.plain import Malformed

Events = Callable[[], Iterator[Iterator[bytes]]]
"""All files of events once more, each as its blocks."""


def look_back(report: Report, check: LogCheck, events: Events) -> None:
    """Read the events once more if there is a reason to."""
    suspects = check.keys.suspects()
    if suspects:
        _check_keys(report, suspects, events)
    if check.books.reversals:
        _check_reversals(report, check.books.reversals, events)


def _check_keys(report: Report, suspects: set[int], events: Events) -> None:
    """Name each command key that occurred twice."""
    seen: dict[str, int] = {}
    for line in _each(events):
        key = line.command_key
        if key is None or hash(key.encode("utf-8", "surrogatepass")) not in suspects:
            continue
        if key in seen:
            what = f"event {line.position} has the command key of event {seen[key]}: {shown(key)}"
            report.doubt(Finding("key", what, line.position, line.position))
        else:
            seen[key] = line.position


def _check_reversals(
    report: Report, reversals: Mapping[bytes, tuple[int, list[Posting]]], events: Events
) -> None:
    """Each reversal mirrors an entry before it, which is no reversal itself."""
    left = dict(reversals)
    for line in _each(events, left):
        if line.kind != "JournalEntryPosted":
            continue
        try:
            event = read_event(line)
            found = left.pop(entry_id_of(event, line.position), None)
            original = postings_of(event) if found is not None else []
        except Malformed:
            continue  # Found on the way, or the reversal will find nothing.
        if found is None:
            continue
        position, postings = found
        what = None
        if position <= line.position or event["kind"] == "reversal":
            what = f"event {position} reverses {line.position}, a reversal, or an entry after it"
        elif mirrored(original) != postings:
            what = f"event {position} does not mirror event {line.position}, which it reverses"
        if what is not None:
            report.doubt(Finding("event", what, position, position))
    for name, (position, _) in left.items():
        what = f"event {position} reverses {shown(name)}, and there is no such entry"
        report.doubt(Finding("event", what, position, position))
    report.check(f"that {len(reversals)} reversals mirror the entries that they reverse")


def _each(events: Events, reversals: Mapping[bytes, object] | None = None) -> Iterator[Line]:
    """Every event that can be read; with ``reversals``, only those that one may be about."""
    for blocks in events():
        try:
            for text, _ in whole_lines(blocks):
                for line in text.split(b"\n") if text is not None else ():
                    if reversals is not None and not _is_named(line, reversals):
                        continue
                    try:
                        yield parse_line(line)
                    except Malformed:
                        continue
        except Malformed:
            continue


def _is_named(line: bytes, reversals: Mapping[bytes, object]) -> bool:
    """Whether a line may be an entry of such an id: a quick look, before it is read."""
    if b'"entry_id"' in line:
        return True
    header = HEADER.match(line)
    return header is None or b"jrn_" + header[1] in reversals
