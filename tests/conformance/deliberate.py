"""Where this ledger answers otherwise than a case says, on purpose: the one table, with reasons.

A case in it runs like any other, and must differ at exactly the places named here.
"""

import msgspec
from tests.conformance.cases import Case


class Deliberate(msgspec.Struct, frozen=True, kw_only=True):
    """A case, the places of the answers in which it differs here, and why."""

    source: str
    name: str
    at: frozenset[str]
    reason: str


DELIBERATE: tuple[Deliberate, ...] = (
    Deliberate(
        source="tigerbeetle/tigerbeetle src/state_machine_tests.zig:1127",
        name="linked opens: one failing member undoes the chain, members outside are untouched",
        at=frozenset({"results[3][0]"}),
        reason=(
            "Membership of an atomic group is no field of an account, so the difference that is"
            " named is the one there is: the code."
        ),
    ),
    Deliberate(
        source="blnkfinance/blnk transaction_core_coverage_test.go:241",
        name="only settled payments can be refunded",
        at=frozenset({"results[3]"}),
        reason=(
            "A refused command leaves no entry and does not use up its id, so there is nothing of"
            " that id to reverse: the answer is entry_not_found."
        ),
    ),
)


def deliberate(case: Case) -> Deliberate | None:
    """What this ledger does otherwise in a case, if anything."""
    for entry in DELIBERATE:
        if (entry.source, entry.name) == (case.source, case.name):
            return entry
    return None
