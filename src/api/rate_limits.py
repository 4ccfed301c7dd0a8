"""How fast one may ask: buckets of tokens, by caller and by client address.

Knows times as a loop counts them and names of those who ask, and neither requests nor answers. A
bucket is one number, the time at which it is full again (the generic cell rate algorithm, ITU-T
I.371): a request moves it, a refused one does not. The buckets are one server's own.
"""

from ipaddress import IPv6Address

from api.callers import Caller
from api.limit_settings import RATE_MIN, LimitSettings
from api.problems import Kind, Problem

TOO_MANY_REQUESTS = Kind(
    429, "too_many_requests", "You ask more often than you may: wait as Retry-After says."
)
TOO_MANY_STREAMS = Kind(
    429, "too_many_streams", "Too many long answers are under way: wait for one of yours to end."
)

BURST_S = 2.0
FAILURES_BURST_S = 100.0
PUBLIC_BURST_S = 10.0
STREAM_RETRY_S = 10
# Beyond this many, those that are full are forgotten: names must not fill the memory.
BUCKETS_MAX = 20_000
OWN_RATES_MAX = 1_000
# Headers that were found valid here: who has one of these is not refused for others' failures.
PROVEN_MAX = 100_000
# The smallest network that a client of IPv6 has to itself (RFC 6177).
_IPV6_NETWORK_BITS = 64


class Buckets:
    """Buckets of one size, by name."""

    def __init__(self, rate_per_s: float, burst_s: float) -> None:
        """All full: each holds what flows in in ``burst_s``, one token at least."""
        self._interval_s = 1 / max(rate_per_s, RATE_MIN)
        self._room_s = max(burst_s, self._interval_s)
        self._full_at: dict[object, float] = {}

    def take(self, name: object, now_s: float) -> float:
        """Take a token; else, how many seconds until there is one (0: it was taken)."""
        full_at = self._full_at.get(name, 0.0)
        if full_at < now_s:  # noqa: PLR1730 - a call of max would cost as much as all the rest
            full_at = now_s
        over_s = full_at + self._interval_s - now_s - self._room_s
        # What is rounded away in a large time is no token.
        if over_s > 1e-6:  # noqa: PLR2004 - a microsecond
            return over_s
        if len(self._full_at) >= BUCKETS_MAX:
            self._make_room(now_s)
        self._full_at[name] = full_at + self._interval_s
        return 0.0

    def left_s(self, name: object, now_s: float) -> float:
        """How many seconds until there is a token (0: there is one); none is taken."""
        full_at = self._full_at.get(name)
        if full_at is None:
            return 0.0
        return max(0.0, full_at + self._interval_s - now_s - self._room_s)

    def _make_room(self, now_s: float) -> None:
        """Forget the buckets that are full; if they are few, all."""
        self._full_at = {
            name: full_at for name, full_at in self._full_at.items() if full_at > now_s
        }
        if len(self._full_at) > BUCKETS_MAX // 2:
            self._full_at.clear()


class RateLimits:
    """Who may ask now; used by the event loop alone."""

    def __init__(self, settings: LimitSettings) -> None:
        """Nobody has asked yet."""
        self._callers = _buckets(settings.rate_per_s, BURST_S)
        self._failures = _buckets(settings.failures_per_s, FAILURES_BURST_S)
        self._public = _buckets(settings.public_per_s, PUBLIC_BURST_S)
        # Rate of keys that have their own -> their buckets.
        self._own: dict[float, Buckets] = {}
        # Hashes of headers that were found valid, the newest last.
        self._proven: dict[int, None] = {}

    def wait_s(self, caller: Caller, now_s: float) -> float:
        """Take one request of the caller's; else, how many seconds they have to wait (0: none).

        Those who act as one actor share a bucket, whatever they prove it by.
        """
        rate_per_s = caller.credential.rate_per_s
        buckets = self._callers if rate_per_s is None else self._own_buckets(rate_per_s)
        return 0.0 if buckets is None else buckets.take((caller.ledger_id, caller.actor), now_s)

    def require(self, caller: Caller, now_s: float) -> None:
        """Take one request of the caller's.

        Raises:
            Problem: they have to wait.
        """
        wait_s = self.wait_s(caller, now_s)
        if wait_s:
            raise too_many(wait_s)

    def require_public(self, client: str, now_s: float) -> None:
        """Take one request without a credential.

        Raises:
            Problem: the client has to wait.
        """
        wait_s = 0.0 if self._public is None else self._public.take(_network(client), now_s)
        if wait_s:
            raise too_many(wait_s)

    def require_trusted(self, client: str, authorization: bytes, now_s: float) -> None:
        """What a client presents may be looked at: it did not fail too often with others.

        Raises:
            Problem: it did, and this was not found valid before.
        """
        if self._failures is None:
            return
        wait_s = self._failures.left_s(_network(client), now_s)
        if wait_s and hash(authorization) not in self._proven:
            raise too_many(wait_s)

    def failed(self, client: str, now_s: float) -> None:
        """Take note that a client presented what is not valid."""
        if self._failures is not None:
            self._failures.take(_network(client), now_s)

    def proved(self, authorization: bytes) -> None:
        """Take note that a header was found valid."""
        proven = hash(authorization)
        self._proven.pop(proven, None)
        while len(self._proven) >= PROVEN_MAX:
            del self._proven[next(iter(self._proven))]
        self._proven[proven] = None

    def _own_buckets(self, rate_per_s: float) -> Buckets:
        """The buckets of those who have that rate."""
        buckets = self._own.get(rate_per_s)
        if buckets is None:
            if len(self._own) >= OWN_RATES_MAX:
                self._own.clear()
            buckets = self._own[rate_per_s] = Buckets(rate_per_s, BURST_S)
        return buckets


class Streams:
    """How many long answers are under way, in all and by actor; used by the event loop alone."""

    def __init__(self, most: int) -> None:
        """None is. Nobody has more than half of them, or one."""
        self._most = most
        self._most_each = max(1, most // 2)
        self._under_way: dict[tuple[int, str], int] = {}

    def begin(self, caller: Caller) -> None:
        """Begin one, which ``end`` must be told of.

        Raises:
            Problem: too many are under way.
        """
        name = (caller.ledger_id, caller.actor)
        mine = self._under_way.get(name, 0)
        if mine >= self._most_each or sum(self._under_way.values()) >= self._most:
            raise Problem(TOO_MANY_STREAMS, headers=(("Retry-After", str(STREAM_RETRY_S)),))
        self._under_way[name] = mine + 1

    def end(self, caller: Caller) -> None:
        """End one that was begun."""
        name = (caller.ledger_id, caller.actor)
        left = self._under_way.get(name, 0) - 1
        if left > 0:
            self._under_way[name] = left
        else:
            self._under_way.pop(name, None)


def too_many(wait_s: float) -> Problem:
    """The refusal of who has to wait; whole seconds, rounded up."""
    return Problem(TOO_MANY_REQUESTS, headers=(("Retry-After", str(int(-(-wait_s // 1)))),))


def _buckets(rate_per_s: float | None, burst_s: float) -> Buckets | None:
    """Buckets of that rate, if there is one."""
    return None if rate_per_s is None else Buckets(rate_per_s, burst_s)


def _network(client: str) -> str:
    """What a client has to itself: its address; of IPv6 the network, where it chooses any."""
    if ":" not in client:
        return client
    try:
        address = IPv6Address(client)
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{int(address) >> (128 - _IPV6_NETWORK_BITS):x}/{_IPV6_NETWORK_BITS}"
