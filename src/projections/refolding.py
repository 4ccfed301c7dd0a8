"""Folding a log that may be damaged: what cannot be read or does not fit is a finding, not an end.

Knows no database: pages of the log go in, what they change comes out.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from ledger_core import events
from ledger_core.errors import Unbalanced
from ledger_core.events import Recorded
from ledger_core.journal import POSTINGS_MIN, JournalEntryPosted, Posting, require_balanced
from projections import customer_360
from projections.feed import decoder
from projections.findings import Findings
from projections.folding import Batch, UnfoldableError, fold, fold_kept
from projections.truth import Truth

Row = tuple[int, datetime | None, str, int, str]
"""Position, time (``None``: none that can be used), name, version and data of an event."""


class Refold:
    """What a log says up to some event, and what was found wrong with it on the way."""

    def __init__(self, findings: Findings, truth: Truth | None = None) -> None:
        """Begin before the first event; ``truth`` is one that knows nothing yet."""
        self.findings = findings
        self.truth = Truth() if truth is None else truth

    def decoded(self, rows: Sequence[Row]) -> list[Recorded]:
        """The events that can be decoded; each entry that is not balanced is a finding."""
        alike: dict[tuple[str, int], list[tuple[int, datetime, str]]] = {}
        for position, moment, name, version, data in rows:
            if moment is not None:  # Else found by the check of the seal.
                alike.setdefault((name, version), []).append((position, moment, data))
        recorded: list[Recorded] = []
        for (name, version), some in alike.items():
            try:
                found = decoder(name, version)(f"[{','.join([data for _, _, data in some])}]")
                recorded += [
                    Recorded(position, moment, event)
                    for (position, moment, _), event in zip(some, found, strict=True)
                ]
            except (ValueError, msgspec.MsgspecError):
                recorded += self._decoded_singly(name, version, some)
        recorded.sort(key=_position)
        for item in recorded:
            if type(item.event) is JournalEntryPosted:
                self._check_balance(item.event.postings, item.position)
        return recorded

    def fold(self, recorded: list[Recorded]) -> Batch | None:
        """Fold events; those that do not fit what came before are findings, and are taken out."""
        while recorded:
            batch = Batch(recorded[0].position, recorded[-1].position, recorded[-1].recorded_at)
            try:
                fold(batch, self.truth.memory.accounts, recorded)
                fold_kept(batch, self.truth.memory.states, recorded)
            except UnfoldableError as error:
                self.findings.add("event", str(error), position=error.position)
                recorded[:] = [item for item in recorded if item.position != error.position]
                continue
            for item in batch.others:
                try:
                    customer_360.evolve(self.truth.profiles, (item,))
                except UnfoldableError as error:
                    self.findings.add("event", str(error), position=error.position)
            self.truth.take(batch)
            return batch
        return None

    def check_sums(self) -> None:
        """Over all accounts, debits equal credits in every currency."""
        sums: dict[str, int] = {}
        for (currency, _), (debits, credits_, _) in self.truth.totals().items():
            sums[currency] = sums.get(currency, 0) + debits - credits_
        for currency, difference in sums.items():
            if difference:
                what = f"debits minus credits in {currency}"
                self.findings.add("ledger", what, 0, difference)

    def _decoded_singly(
        self, name: str, version: int, rows: Sequence[tuple[int, datetime, str]]
    ) -> Iterator[Recorded]:
        """Those of the events that can be decoded."""
        for position, moment, data in rows:
            try:
                yield Recorded(position, moment, events.decode(name, version, data.encode()))
            except (ValueError, msgspec.MsgspecError) as error:
                what = f"event {position} cannot be read: {error}"
                self.findings.add("event", what, position=position)

    def _check_balance(self, postings: tuple[Posting, ...], position: int) -> None:
        """Debits equal credits in every currency."""
        if len(postings) == POSTINGS_MIN:  # The hot path.
            one, other = postings
            if (
                one.amount_minor == other.amount_minor
                and one.side != other.side
                and one.currency == other.currency
            ):
                return
        try:
            require_balanced(postings)
        except Unbalanced as error:
            self.findings.add("event", f"entry {position}: {error}", position=position)


def _position(item: Recorded) -> int:
    """Where the event stands."""
    return item.position
