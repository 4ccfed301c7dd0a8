"""What a verification found: doubts, each in its place, and what was and was not checked.

A doubt may know its exact position in the log, only that the position lies in a range, or only the
file that it is about. The first bad position follows from all doubts together.
"""

from dataclasses import dataclass, field
from typing import Literal

FINDINGS_MAX = 100
"""So many doubts are told one by one; the rest is counted."""

NOTES_MAX = 50
"""So many points of what was checked, or not, are listed; a report is for people."""

_TEXT_MAX = 200

Verdict = Literal["proven", "consistent", "doubt"]


@dataclass(frozen=True, slots=True)
class Finding:
    """A doubt: ``first`` to ``last`` are the positions among which the first bad one lies.

    ``kind`` is a stable word for programs, ``what`` a sentence for people.
    """

    kind: str
    what: str
    first: int | None = None
    last: int | None = None
    member: str | None = None
    line: int | None = None
    account: str | None = None


@dataclass(slots=True)
class Report:
    """A verification under way: what it is about, and what came out so far."""

    subject: str
    origin: str | None = None
    first_position: int | None = None
    last_position: int | None = None
    events: int = 0
    root: str | None = None
    findings: list[Finding] = field(default_factory=list)
    findings_count: int = 0
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)
    keys: list[dict[str, str]] = field(default_factory=list)
    keys_from: str | None = None
    is_trusted: Literal["yes", "no"] = "no"
    _first: int | None = None
    _last: int | None = None

    def doubt(self, finding: Finding) -> None:
        """Add a doubt; the first one by position is always kept."""
        self.findings_count += 1
        if finding.first is not None:
            last = finding.first if finding.last is None else finding.last
            if self._first is None or finding.first < self._first:
                self._first = finding.first
            if self._last is None or last < self._last:
                self._last = last
                if len(self.findings) >= FINDINGS_MAX:
                    self.findings[-1] = finding
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(finding)

    def check(self, text: str) -> None:
        """Something was checked."""
        if len(self.checked) < NOTES_MAX:
            self.checked.append(text)

    def skip(self, text: str) -> None:
        """Something was not checked, and why."""
        if len(self.unchecked) < NOTES_MAX:
            self.unchecked.append(text)

    @property
    def verdict(self) -> Verdict:
        """``consistent`` is all that can be said without keys from elsewhere."""
        if self.findings_count:
            return "doubt"
        return "proven" if self.is_trusted == "yes" else "consistent"

    @property
    def first_bad(self) -> tuple[int, int] | None:
        """The positions among which the first bad one lies; ``None`` where none is known."""
        if self._first is None or self._last is None:
            return None
        return self._first, self._last

    @property
    def first_bad_member(self) -> Finding | None:
        """The doubt whose file and line are named first: that of the first bad position, if any."""
        placed = [found for found in self.findings if found.first is not None]
        if placed:
            return min(placed, key=_end_of)
        return next((found for found in self.findings if found.member is not None), None)


def shown(text: str | bytes) -> str:
    """Somebody else's text as it may be printed: short, with nothing that steers a terminal."""
    if isinstance(text, bytes):
        text = text[: _TEXT_MAX + 1].decode("utf-8", "backslashreplace")
    cut = text if len(text) <= _TEXT_MAX else text[:_TEXT_MAX] + "..."
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in cut
    )


def _end_of(found: Finding) -> int:
    """The last position among which the doubt's lies."""
    return found.last if found.last is not None else found.first or 0
