"""Which tags of an event the tag index keeps; the rest is found by account in the statements.

Knows no database and no event, only their names: a process that verifies loads nothing more.
"""

from collections.abc import Iterable

ACCOUNT = "account:"
IN_STATEMENTS = frozenset({"JournalEntryPosted", "HoldPlaced", "HoldReleased"})
"""Events of which every account has a line: their ``account:`` tags are not kept twice."""


def indexed(type_name: str, tags: Iterable[str]) -> list[str]:
    """The tags of an event that the index keeps, each once and in order."""
    if type_name not in IN_STATEMENTS:
        return sorted(set(tags))
    return sorted({tag for tag in tags if not tag.startswith(ACCOUNT)})
