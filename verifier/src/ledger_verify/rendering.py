"""A verification's outcome, for people and for programs."""

import json
from collections.abc import Iterator

from ledger_verify.findings import Finding, Report

LINES_MAX = 20
"""So many doubts are shown to people; ``--json`` has up to a hundred."""

_HEADLINES = {
    "proven": "PROVEN: it is what the holder of the trusted keys signed.",
    "consistent": "CONSISTENT IN ITSELF: nothing contradicts itself, but no trusted key vouches for"
    " it.",
    "doubt": "DOUBT: it is not proven.",
}


def as_text(report: Report) -> str:
    """The outcome as people read it."""
    return "\n".join(_lines(report)) + "\n"


def as_json(report: Report) -> str:
    """The outcome as one JSON document."""
    bad, place = report.first_bad, report.first_bad_member
    first_bad: dict[str, object] | None = None
    if place is not None or bad is not None:
        first_bad = {
            "position": None if bad is None else bad[0],
            "last_position": None if bad is None else bad[1],
            "member": None if place is None else place.member,
            "line": None if place is None else place.line,
        }
    document = {
        "format": "ledger-verdict/1",
        "verdict": report.verdict,
        "subject": report.subject,
        "origin": report.origin,
        "from": report.first_position,
        "to": report.last_position,
        "events": report.events,
        "root": report.root,
        "first_bad": first_bad,
        "findings_count": report.findings_count,
        "findings": [_document(found) for found in report.findings],
        "checked": report.checked,
        "not_checked": report.unchecked,
        "keys_from": report.keys_from,
        "keys": report.keys,
    }
    return json.dumps(document, indent=2) + "\n"


def _lines(report: Report) -> Iterator[str]:
    """The outcome, line by line."""
    yield _HEADLINES[report.verdict]
    if report.verdict == "doubt":
        yield _where(report)
    yield ""
    yield f"What it is: {report.subject}" + (
        "" if report.origin is None else f" of {report.origin}"
    )
    if report.first_position is not None and report.last_position is not None:
        yield f"Positions: {report.first_position} to {report.last_position}"
    if report.root is not None:
        yield f"Root: {report.root}"
    if report.findings_count:
        yield ""
        yield f"Found ({report.findings_count}):"
        for found in sorted(report.findings, key=_order)[:LINES_MAX]:
            yield f"  - {found.what}{_place(found)}"
        if report.findings_count > LINES_MAX:
            yield f"  - and {report.findings_count - LINES_MAX} more"
    yield from _listed("Checked", report.checked)
    yield from _listed("Not checked", report.unchecked)
    if report.keys:
        whose = "given by you" if report.keys_from == "given" else "found in the input"
        keys = [f"{key['name']} {key['algorithm']} {key['key_id']}" for key in report.keys]
        yield from _listed(f"Keys ({whose})", keys)


def _listed(title: str, items: list[str]) -> Iterator[str]:
    """A list under its title, if it has anything."""
    if items:
        yield ""
        yield f"{title}:"
        for item in items:
            yield f"  - {item}"


def _where(report: Report) -> str:
    """Where the first bad thing is."""
    bad, place = report.first_bad, report.first_bad_member
    if bad is not None and bad[0] == bad[1]:
        return f"First bad position: {bad[0]}{_place(place)}"
    if bad is not None:
        return f"First bad position: between {bad[0]} and {bad[1]}{_place(place)}"
    if place is not None:
        return f"First bad file: {place.member}"
    return "See below for what is missing or wrong."


def _place(found: Finding | None) -> str:
    """The file and line of a doubt, in brackets."""
    if found is None or found.member is None:
        return ""
    return f" ({found.member}" + ("" if found.line is None else f", line {found.line}") + ")"


def _order(found: Finding) -> tuple[int, int]:
    """By position; what has none comes last."""
    return (1, 0) if found.first is None else (0, found.first)


def _document(found: Finding) -> dict[str, object]:
    """A doubt for programs."""
    return {
        "kind": found.kind,
        "what": found.what,
        "position": found.first,
        "last_position": found.first if found.last is None else found.last,
        "member": found.member,
        "line": found.line,
        "account": found.account,
    }
