"""Holds that are over, compared by the sum of their rows: none of them has to be remembered.

Nothing happens any more to a hold that was captured, voided or has expired, and there are ever more
of them. Where the sums differ, rows differ; which, somebody else has to find out.
"""

from collections.abc import Sequence

import msgspec

from ledger_core.kept import Place, State
from projections.comparing import Row, texts_of
from projections.folding import Batch
from projections.kept import kept, kept_row
from projections.row_sums import Sums

_texts = texts_of(kept)
_encode = msgspec.json.Encoder().encode


class ClosedHolds:
    """The sum of the rows that the log says there are, and of those that were found."""

    def __init__(self, key: bytes) -> None:
        """There are none yet; ``key`` is that of the rows' hashes."""
        self._key = key
        self._expected = Sums(key)
        self._found = Sums(key)

    def take(self, batch: Batch, states: dict[Place, State]) -> None:
        """Take those that a batch closed out of the states, and add them up."""
        closed = [
            (place, state)
            for place, state in batch.kept.items()
            if place[0] == "hold" and state.status != "open"
        ]
        for place, _ in closed:
            del states[place]
        _add(self._expected, [_texts(kept_row(item)) for item in closed])

    def begin(self) -> None:
        """Nothing was found yet."""
        self._found = Sums(self._key)

    def find(self, rows: Sequence[Row]) -> None:
        """Add up rows of the view that are of no state which is remembered."""
        _add(self._found, rows)

    @property
    def is_as_expected(self) -> bool:
        """Whether what was found is what the log says."""
        return not self._expected.differing(self._found)


def _add(sums: Sums, rows: Sequence[Row]) -> None:
    """Add rows to a sum of all positions."""
    sums.add([0] * len(rows), [_encode(row).decode() for row in rows])
