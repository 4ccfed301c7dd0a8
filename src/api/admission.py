"""How much may be under way at once, so that whatever is taken is answered in time.

A queue that is bounded by number alone answers too late when it is full: by then its callers have
given up, and what they asked for is done for nobody. So each kind of work has a room, bounded by
*time*: as much may be under way as was lately answered within the time allowed. What finds no room
is refused at once, before its body is looked at, and may come again. Used by the event loop alone.

By Little's law, what is answered ``s`` seconds after it began among ``n`` under way was answered at
a rate of ``n / s``. That is the rate of a busy server only where ``n`` is not small.
"""

import msgspec

from ledger_core.errors import LedgerBusy

# How much a new observation counts: a change is followed within some ten transactions.
_WEIGHT = 0.2
# Beyond so many ledgers, rooms in which nothing is under way are forgotten.
_LEDGERS_MAX = 1_000


class Size(msgspec.Struct, frozen=True):
    """What a room is for.

    ``rate_per_s`` is taken for the rate until it is known; ``least`` always have room, since so
    many take a moment whatever was seen lately, and ``most`` are never exceeded.
    """

    rate_per_s: float
    target_s: float
    least: int
    most: int


class Room:
    """What of one kind is under way, and how much may be."""

    __slots__ = ("_learnt_from", "_rate_per_s", "_size", "limit", "under_way")

    def __init__(self, size: Size) -> None:
        """Nothing is under way."""
        self._size = size
        self._learnt_from = max(1, size.least // 4)
        self._rate_per_s = size.rate_per_s
        self.under_way = 0
        self.limit = self._limit()

    @property
    def is_full(self) -> bool:
        """Whether there is no room for one more."""
        return self.under_way >= self.limit

    @property
    def wait_s(self) -> float:
        """How long what is under way takes, as far as is known."""
        return self.under_way / self._rate_per_s

    def begin(self, size: int) -> int:
        """Take ``size`` more; how many are under way then. What comes alone always has room.

        Raises:
            LedgerBusy: there is no room.
        """
        under_way = self.under_way + size
        if under_way > self.limit and self.under_way:
            raise LedgerBusy(reason="queue_full")
        self.under_way = under_way
        return under_way

    def end(self, size: int) -> None:
        """So many are under way no longer."""
        self.under_way -= size

    def learn(self, among: int, seconds: float) -> None:
        """Something was answered after so long, among so many that were under way."""
        if among < self._learnt_from or seconds <= 0:
            return
        self._rate_per_s += _WEIGHT * (among / seconds - self._rate_per_s)
        self.limit = self._limit()

    def _limit(self) -> int:
        """How many are answered within the time allowed."""
        size = self._size
        return min(size.most, max(size.least, int(self._rate_per_s * size.target_s)))


class Rooms:
    """The rooms of every ledger for single commands, or for batches."""

    def __init__(self, size: Size) -> None:
        """No ledger has one yet."""
        self._size = size
        self._rooms: dict[int, Room] = {}

    def of(self, ledger_id: int) -> Room:
        """The ledger's."""
        room = self._rooms.get(ledger_id)
        if room is None:
            if len(self._rooms) >= _LEDGERS_MAX:
                self._rooms = {at: room for at, room in self._rooms.items() if room.under_way}
            room = self._rooms[ledger_id] = Room(self._size)
        return room

    def emptied(self) -> "Rooms":
        """Rooms of the same size in which nothing is under way."""
        return Rooms(self._size)

    def is_full(self, ledger_id: int) -> bool:
        """Whether the ledger has no room for one more."""
        room = self._rooms.get(ledger_id)
        return room is not None and room.under_way >= room.limit

    def all(self) -> dict[int, Room]:
        """Every room there is, by ledger."""
        return dict(self._rooms)


def singles(target_s: float) -> Size:
    """Commands that come a few at a time: people, cards and programs wait for each.

    1,500 always have room: half a second of a slow processor. With fewer the writer would wait
    while answers and the next requests are on their way, and answer ever less.
    """
    return Size(rate_per_s=4_000, target_s=target_s, least=1_500, most=50_000)


def batches(target_s: float) -> Size:
    """Commands that come many at a time: whoever sends them expects to wait."""
    return Size(rate_per_s=20_000, target_s=40 * target_s, least=20_000, most=240_000)


def reads(target_s: float) -> Size:
    """Reads that are answered together: each costs less than a command does."""
    return Size(rate_per_s=4_000, target_s=target_s, least=1_000, most=10_000)


def views(target_s: float) -> Size:
    """Other reads, each in a thread of its own: a page takes milliseconds, a report seconds."""
    return Size(rate_per_s=500, target_s=8 * target_s, least=200, most=2_000)
