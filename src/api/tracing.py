"""Which requests are traced, and what is noted of them on their way: cheap, and never in the way.

What is noted here - a few numbers and the route's template - is made into spans and sent by a
thread of its own (``api.trace_sending``), which alone knows OpenTelemetry's library. Notes wait in
a bounded queue; where it is full, or too much is asked for, requests go untraced and are counted.
No span has a body, a path, a query, a key or anything else that a caller typed, but for the
``tracestate`` that the caller hands through.
"""

import re
from collections import deque
from collections.abc import Sequence

import msgspec

from api import clock
from api.trace_settings import TraceSettings

# Who sends "sampled" with every request could have all of them traced: some 0.2 ms of work each.
REQUESTS_PER_S_MAX = 200
# Notes that wait to be made into spans: some seconds of what is traced at most.
NOTES_MAX = 5_000
# https://www.w3.org/TR/trace-context/#tracestate-limits: what is longer may be dropped.
TRACESTATE_BYTES_MAX = 512

_SECOND_NS = 1_000_000_000
_SAMPLED = 1
_LOW_BITS = 64
# https://www.w3.org/TR/trace-context/: version, trace, parent, flags; later versions may have more.
_TRACEPARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)


class Parent(msgspec.Struct, frozen=True):
    """What a ``traceparent`` says: the trace, the caller's span, and whether it is recorded."""

    trace_id: str
    span_id: str
    is_sampled: bool


class RequestSpan(msgspec.Struct):
    """A traced request as it goes along.

    Ids as in ``traceparent``, hexadecimal; times in nanoseconds since 1970, 0: not yet.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    tracestate: str | None
    begun_ns: int
    submitted_ns: int = 0

    @property
    def traceparent(self) -> str:
        """This server's part in the trace, as others are told of it."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Answered(msgspec.Struct, frozen=True):
    """A traced request was answered."""

    span: RequestSpan
    method: str
    route: str
    status: int
    code: str | None
    ledger_id: int | None
    ended_ns: int


class Carried(msgspec.Struct, frozen=True):
    """What a transaction came to for one traced request: its last new event, if any."""

    span: RequestSpan
    commands: int
    refused: int
    position: int | None


class CarriedOut(msgspec.Struct, frozen=True):
    """A transaction with traced requests in it was committed."""

    ledger_id: int
    submissions: int
    commands: int
    carried: Sequence[Carried]
    begun_ns: int
    committing_ns: int
    ended_ns: int


Note = Answered | CarriedOut


class Drops(msgspec.Struct):
    """What is missing from the traces, and why; counted since the process began."""

    rate: int = 0
    queue: int = 0
    export: int = 0


class Tracing:
    """Decides which requests are traced, and takes notes; called by any thread."""

    def __init__(self, settings: TraceSettings) -> None:
        """Begin with nothing noted."""
        self._bound = round(settings.ratio * (1 << _LOW_BITS))
        self._follows_parent = settings.follows_parent
        self._second = 0
        self._in_second = 0
        self.notes: deque[Note] = deque()
        self.drops = Drops()
        self.exported = 0

    def begin(
        self, parent: Parent | None, headers: Sequence[tuple[bytes, bytes]]
    ) -> RequestSpan | None:
        """The span of a request that begins; ``None`` where it is not traced."""
        if parent is None:
            low = clock.random_bits(_LOW_BITS)
            if low >= self._bound or not self._is_room():
                return None
            trace_id = f"{clock.random_bits(_LOW_BITS):016x}{low or 1:016x}"
            return RequestSpan(trace_id, new_span_id(), None, None, clock.now_ns())
        if not self._is_wanted(parent) or not self._is_room():
            return None
        tracestate = _tracestate(headers)
        now_ns = clock.now_ns()
        return RequestSpan(parent.trace_id, new_span_id(), parent.span_id, tracestate, now_ns)

    def note(self, note: Note) -> None:
        """Have it made into spans later."""
        if len(self.notes) < NOTES_MAX:
            self.notes.append(note)
        else:
            self.drops.queue += 1

    def _is_wanted(self, parent: Parent) -> bool:
        """Whether the sampler wants a request of this trace."""
        if self._follows_parent:
            return parent.is_sampled
        return int(parent.trace_id[-16:], 16) < self._bound

    def _is_room(self) -> bool:
        """Whether one more may be traced in this second."""
        second = clock.now_ns() // _SECOND_NS
        if second != self._second:
            self._second, self._in_second = second, 0
        if self._in_second >= REQUESTS_PER_S_MAX:
            self.drops.rate += 1
            return False
        self._in_second += 1
        return True


def parent_of(values: Sequence[bytes]) -> Parent | None:
    """What the values of a request's ``traceparent`` say; ``None`` where that is no trace."""
    if len(values) != 1:
        return None
    found = _TRACEPARENT.fullmatch(values[0])
    if found is None or (found[1] == b"00" and found[5] is not None):
        return None
    is_sampled = bool(int(found[4], 16) & _SAMPLED)
    return Parent(found[2].decode(), found[3].decode(), is_sampled)


def new_span_id() -> str:
    """An id for a span: 16 hexadecimal digits, not all of them 0."""
    return f"{clock.random_bits(64) or 1:016x}"


def _tracestate(headers: Sequence[tuple[bytes, bytes]]) -> str | None:
    """What callers before this server noted in the trace, to be handed through."""
    found = b",".join(value for name, value in headers if name == b"tracestate")
    if not found or len(found) > TRACESTATE_BYTES_MAX or not found.isascii():
        return None
    return found.decode()
