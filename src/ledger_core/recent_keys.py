"""Recent idempotency keys: those of one stretch of keys that were used, exactly, in memory.

A key within the stretch that is not among them is new, and needs no look-up in the log. Keys that
are ordered by time (UUIDs of version 7) lie in the stretch as long as they are sent soon after they
were made; all others are looked up as ever. Keys are compared by their bytes, here as in the index.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

# Some 9 MB. Half of them are forgotten at a time, and looked up from then on.
KEYS_MAX = 100_000
# Keys made further ahead of the ledger's clock are looked up.
STRETCH = timedelta(days=30)

_HEX_DIGITS_OF_TIME = 12


class RecentKeys:
    """The used keys that lie strictly between ``first`` and ``end``; in the beginning, none do."""

    __slots__ = ("_keys_max", "_used", "end", "first", "until")

    def __init__(
        self,
        first: str = "",
        end: str = "",
        until: datetime | None = None,
        keys_max: int = KEYS_MAX,
    ) -> None:
        """Know of no used key yet: those that lie in the stretch must be added.

        From ``until`` on, another stretch should be begun; at most ``keys_max`` are remembered.
        """
        self.first = first
        self.end = end
        self.until = until
        self._keys_max = keys_max
        self._used: set[str] = set()

    def is_new(self, key: str) -> bool:
        """Whether no event can have this key; otherwise it may have been used."""
        return self.first < key < self.end and key not in self._used

    def not_new(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that may have been used."""
        if not keys:
            return []
        if self.first < min(keys) and max(keys) < self.end and self._used.isdisjoint(keys):
            return []  # The hot path.
        return [key for key in keys if not self.is_new(key)]

    def add(self, key: str) -> None:
        """Take in a key that an event has now, or may have."""
        self.update((key,))

    def update(self, keys: Iterable[str]) -> None:
        """Take in keys that events have now, or may have."""
        first, end, used = self.first, self.end, self._used
        used.update([key for key in keys if first < key < end])
        if len(used) > self._keys_max:
            ordered = sorted(used)
            # Half of them: a few keys far ahead of their time must not push out all others.
            middle = len(ordered) // 2
            self.first = ordered[middle]
            self._used = set(ordered[middle + 1 :])

    def is_over(self, now: datetime) -> bool:
        """Whether the stretch no longer reaches far enough ahead, and another should be begun."""
        return self.until is None or now >= self.until


def stretch_at(now: datetime) -> RecentKeys:
    """The stretch for keys that are made from now on; what was used of it must be added."""
    return RecentKeys(_time_ordered(now), _time_ordered(now + STRETCH), now + STRETCH / 2)


def _time_ordered(moment: datetime) -> str:
    """What comes before all UUIDs of version 7 made at that time (RFC 9562, section 5.7)."""
    digits = f"{int(moment.timestamp() * 1_000):012x}"[-_HEX_DIGITS_OF_TIME:]
    return f"{digits[:8]}-{digits[8:]}"
