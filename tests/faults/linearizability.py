"""Whether a recorded history of concurrent operations has an order that explains every answer.

A history is linearizable (Herlihy and Wing, 1990) if each operation can be given one moment between
its invocation and its answer, so that a model that is asked one thing after the other gives the
same answers. The search is that of Wing and Gong (1993) with Lowe's memory of what was tried
(2017), over a linked list of calls and returns as in Porcupine. It is exact: it tries every order
unless one explains the history. It knows nothing of ledgers: see ``bank_model``.

An operation whose outcome nobody knows may have taken effect at any moment after its invocation, or
never: it has no return, and the search may leave it out. A model says which states an operation
with an unknown output may lead to. Calls and returns at the same moment are taken to overlap.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

STEPS_MAX = 300_000
"""So many steps of the search, some seconds; beyond, the verdict says that it is open."""

Input = TypeVar("Input")
Output = TypeVar("Output")
State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Operation(Generic[Input, Output]):
    """What a client asked and was answered; times in seconds of one monotonic clock.

    ``completed_at`` and ``output`` are ``None`` where the outcome is unknown.
    """

    client: int
    invoked_at: float
    completed_at: float | None
    input: Input
    output: Output | None


@dataclass(frozen=True, slots=True)
class Model(Generic[State, Input, Output]):
    """What a sequential object answers.

    ``step`` tells the states that an operation with that output may lead to: none if the output is
    impossible in the state, and with an unknown output all that are possible when it takes effect.
    """

    initial: State
    step: Callable[[State, Input, Output | None], Collection[State]]


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Input, Output]):
    """What the search came to.

    ``order`` is a linearization, or the longest beginning of one that was found; ``prefix`` the
    shortest beginning of the history that has none, by the order of answers, the last of which
    is the one that cannot be explained.
    """

    outcome: Literal["linearizable", "not linearizable", "undecided"]
    order: tuple[Operation[Input, Output], ...]
    prefix: tuple[Operation[Input, Output], ...] = ()
    states: tuple[Hashable, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the history was explained."""
        return self.outcome == "linearizable"

    def __str__(self) -> str:
        """The verdict for people: what could be put in order, and what then fits nowhere."""
        if self.ok:
            return f"linearizable: {len(self.order)} operations"
        if self.outcome == "undecided":
            return f"undecided: no order was found within {STEPS_MAX} steps"
        placed = set(map(id, self.order))
        shown = self.order[-_SHOWN_MAX:]
        left = [item for item in self.prefix if id(item) not in placed]
        zero = self.prefix[0].invoked_at
        answers = sum(item.completed_at is not None for item in self.prefix)
        return "\n".join(
            [
                f"not linearizable: no order explains the first {answers} answers",
                f"in order, as far as that goes ({len(self.order) - len(shown)} before these):",
                *(f"  {_line(item, zero)}" for item in shown),
                "then the state is " + " or ".join(sorted(map(str, self.states))),
                "in which none of these can come next, though one must:",
                *(f"  {_line(item, zero)}" for item in left),
            ]
        )


_SHOWN_MAX = 12


def check(
    operations: Iterable[Operation[Input, Output]],
    model: Model[State, Input, Output],
    *,
    hint: Callable[[Operation[Input, Output]], float] = lambda item: item.invoked_at,
    steps_max: int = STEPS_MAX,
) -> Verdict[Input, Output]:
    """Whether the operations have an order; if not, the shortest beginning that has none.

    What has the lowest ``hint`` is tried first. That decides how long the search takes, and nothing
    else. Where one history is not linearizable, no longer one is: that beginning is found by
    halving.
    """
    history = sorted(operations, key=lambda item: item.invoked_at)

    def search(some: Sequence[Operation[Input, Output]]) -> _Found[Input, Output]:
        """Look for an order of these."""
        return _search(some, model, [hint(item) for item in some], steps_max)

    found = search(history)
    if found.outcome != "not linearizable":
        return Verdict(found.outcome, found.order)
    answers = sorted(item.completed_at for item in history if item.completed_at is not None)
    low, high, smallest = 0, len(answers), history
    while high - low > 1:
        middle = (low + high) // 2
        prefix = _until(history, answers[middle - 1])
        shorter = search(prefix)
        if shorter.outcome == "linearizable":
            low = middle
        elif shorter.outcome == "undecided":
            break
        else:
            high, smallest, found = middle, prefix, shorter
    if high < len(answers) or smallest is history:
        smallest = _until(history, answers[high - 1])
        found = search(smallest)
    return Verdict("not linearizable", found.order, tuple(smallest), found.states)


def partitions(
    operations: Iterable[Operation[Input, Output]],
    key_of: Callable[[Input], Hashable],
) -> dict[Hashable, list[Operation[Input, Output]]]:
    """The operations by the object that they are on.

    A history is linearizable if those on each object are (Herlihy and Wing, theorem 1), so that
    objects may be searched one after the other, which is exponentially less.
    """
    by_key: dict[Hashable, list[Operation[Input, Output]]] = defaultdict(list)
    for item in operations:
        by_key[key_of(item.input)].append(item)
    return dict(by_key)


@dataclass(frozen=True, slots=True)
class _Found(Generic[Input, Output]):
    """How a search ended; ``states`` are those after ``order``."""

    outcome: Literal["linearizable", "not linearizable", "undecided"]
    order: tuple[Operation[Input, Output], ...]
    states: tuple[Hashable, ...]


class _Entry:
    """A call or a return in the list; lifted out of it while its operation has its place."""

    __slots__ = ("after", "before", "index", "is_call", "matching")

    def __init__(self, index: int, *, is_call: bool) -> None:
        """Stand alone."""
        self.index = index
        self.is_call = is_call
        self.before: _Entry | None = None
        self.after: _Entry | None = None
        self.matching: _Entry | None = None

    def lift(self) -> None:
        """Take the call, and its return, out of the list."""
        self._out()
        if self.matching is not None:
            self.matching._out()  # noqa: SLF001 - of its own class

    def unlift(self) -> None:
        """Put them back where they were: the last to go comes back first."""
        if self.matching is not None:
            self.matching._back()  # noqa: SLF001 - of its own class
        self._back()

    def _out(self) -> None:
        """Leave the list."""
        assert self.before is not None
        self.before.after = self.after
        if self.after is not None:
            self.after.before = self.before

    def _back(self) -> None:
        """Return to where it stood."""
        assert self.before is not None
        self.before.after = self
        if self.after is not None:
            self.after.before = self


def _search(
    history: Sequence[Operation[Input, Output]],
    model: Model[State, Input, Output],
    hints: Sequence[float],
    steps_max: int,
) -> _Found[Input, Output]:
    """Look for an order, depth first; a set of placed operations and their states is tried once."""
    head = _listed(history)
    states = frozenset((model.initial,))
    missing = sum(item.completed_at is not None for item in history)
    placed = 0
    tried: set[tuple[int, frozenset[State]]] = set()
    # What was chosen, the states before it, and what else could have been chosen there.
    chosen: list[tuple[_Entry, frozenset[State], Iterator[_Entry]]] = []
    longest: tuple[int, ...] = ()
    longest_states = states
    candidates = _candidates(head, hints)
    for _ in range(steps_max):
        if not missing:
            order = tuple(history[item.index] for item, _, _ in chosen)
            return _Found("linearizable", order, tuple(states))
        entry = next(candidates, None)
        if entry is None and not chosen:
            order = tuple(history[index] for index in longest)
            return _Found("not linearizable", order, tuple(longest_states))
        if entry is None:
            last, states, candidates = chosen.pop()
            placed &= ~(1 << last.index)
            missing += history[last.index].completed_at is not None
            last.unlift()
            continue
        operation = history[entry.index]
        after = frozenset(
            new for state in states for new in model.step(state, operation.input, operation.output)
        )
        attempt = (placed | 1 << entry.index, after)
        if not after or attempt in tried:
            continue
        tried.add(attempt)
        chosen.append((entry, states, candidates))
        placed, states = attempt
        missing -= operation.completed_at is not None
        entry.lift()
        candidates = _candidates(head, hints)
        if len(chosen) > len(longest):
            longest, longest_states = tuple(item.index for item, _, _ in chosen), states
    return _Found("undecided", (), ())


def _candidates(head: _Entry, hints: Sequence[float]) -> Iterator[_Entry]:
    """What may come next: whatever was called before the first return, by the hints."""
    found: list[_Entry] = []
    entry = head.after
    while entry is not None and entry.is_call:
        found.append(entry)
        entry = entry.after
    return iter(sorted(found, key=lambda item: hints[item.index]))


def _listed(history: Sequence[Operation[Input, Output]]) -> _Entry:
    """What comes before the first entry of the list of calls and returns, by their times."""
    calls = [_Entry(index, is_call=True) for index in range(len(history))]
    timed = [(item.invoked_at, 0, calls[index]) for index, item in enumerate(history)]
    for index, item in enumerate(history):
        if item.completed_at is not None:
            calls[index].matching = back = _Entry(index, is_call=False)
            timed.append((item.completed_at, 1, back))
    timed.sort(key=lambda event: event[:2])
    last = head = _Entry(-1, is_call=False)
    for _, _, entry in timed:
        last.after, entry.before = entry, last
        last = entry
    return head


def _until(
    history: Sequence[Operation[Input, Output]], moment: float
) -> list[Operation[Input, Output]]:
    """What was known at a moment: later answers are unknown, later operations are not there."""
    return [
        item
        if item.completed_at is None or item.completed_at <= moment
        else Operation(item.client, item.invoked_at, None, item.input, None)
        for item in history
        if item.invoked_at <= moment
    ]


def _line(item: Operation[Input, Output], zero: float) -> str:
    """An operation in one line, in milliseconds since the first."""
    began = f"{1_000 * (item.invoked_at - zero):10.3f}"
    if item.completed_at is None:
        return f"{began} …     ?      client {item.client}: {item.input} -> unknown"
    ended = f"{1_000 * (item.completed_at - zero):10.3f}"
    return f"{began} … {ended} client {item.client}: {item.input} -> {item.output}"
