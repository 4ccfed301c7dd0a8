"""The search for an order: against trying them all, on made-up histories, with faults put in."""

import random
from itertools import permutations

import pytest
import tests.strategies  # noqa: F401 - loads the profile of this run
from hypothesis import given
from hypothesis import strategies as st
from tests.faults.linearizability import Model, Operation, Verdict, check, partitions

Write = tuple[str, str, int]
"""``write`` or ``read``, of which register, and what is written."""

RegisterOperation = Operation[Write, int]


def _step(state: int, asked: Write, answered: int | None) -> tuple[int, ...]:
    """What a register answers to a write, and to a read."""
    kind, _, value = asked
    if kind == "write":
        return (value,)
    return (state,) if answered in (None, state) else ()


REGISTER: Model[int, Write, int] = Model(0, _step)


def _write(client: int, began: float, ended: float | None, value: int) -> RegisterOperation:
    """A write to the register ``x``; its outcome is unknown where it never ended."""
    return Operation(client, began, ended, ("write", "x", value), None if ended is None else 0)


def _read(client: int, began: float, ended: float | None, value: int | None) -> RegisterOperation:
    """A read of the register ``x``."""
    return Operation(client, began, ended, ("read", "x", 0), value)


GOOD = {
    "empty": [],
    "one after the other": [_write(1, 0, 1, 5), _read(2, 2, 3, 5)],
    "a write is seen before it is answered": [_write(1, 0, 9, 5), _read(2, 1, 2, 5)],
    "a write is not seen before it is answered": [_write(1, 0, 9, 5), _read(2, 1, 2, 0)],
    "writes that overlap, in the other order": [
        _write(1, 0, 4, 1),
        _write(2, 1, 3, 2),
        _read(3, 5, 6, 1),
    ],
    "an unknown write took effect": [_write(1, 0, None, 5), _read(2, 1, 2, 0), _read(2, 3, 4, 5)],
    "an unknown write did not": [_write(1, 0, None, 5), _read(2, 8, 9, 0)],
    "an unknown write took effect late": [
        _write(1, 0, None, 5),
        _write(2, 1, 2, 6),
        _read(2, 3, 4, 6),
        _read(2, 5, 6, 5),
    ],
    "unknown reads say nothing": [_read(1, 0, None, None), _read(1, 2, 3, 0)],
    "they meet at one moment": [_write(1, 0, 1, 5), _read(2, 1, 2, 0)],
}
BAD = {
    "a stale read": [_write(1, 0, 1, 5), _read(2, 2, 3, 0)],
    "a read goes back": [_write(1, 0, 9, 5), _read(2, 1, 2, 5), _read(3, 3, 4, 0)],
    "a value from nowhere": [_write(1, 0, 1, 5), _read(2, 2, 3, 7)],
    "two readers see two orders": [
        _write(1, 0, 9, 1),
        _write(2, 0, 9, 2),
        _read(3, 1, 2, 1),
        _read(3, 3, 4, 2),
        _read(4, 5, 6, 1),
    ],
    "an unknown write is seen before it is asked for": [_read(1, 0, 1, 5), _write(2, 2, None, 5)],
    "an unknown write takes effect twice": [
        _write(1, 0, None, 5),
        _read(2, 1, 2, 5),
        _write(2, 3, 4, 6),
        _read(2, 5, 6, 5),
    ],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_history_with_an_order(name: str) -> None:
    """The order that is named explains every answer."""
    verdict = check(GOOD[name], REGISTER)
    assert verdict.ok, str(verdict)
    _assert_explains(verdict, GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_history_without_an_order(name: str) -> None:
    """It is found out, and what is shown ends with an answer that cannot be."""
    verdict = check(BAD[name], REGISTER)
    assert verdict.outcome == "not linearizable"
    assert "none of these can come next" in str(verdict)


def test_the_shortest_beginning_is_shown() -> None:
    """What came after the answer that cannot be explained is left out, and what is open then is."""
    history = [_write(1, 0, 1, 5), _read(2, 2, 3, 0), _write(3, 2, 7, 9), _read(1, 4, 5, 5)]
    verdict = check(history, REGISTER)
    assert [item.invoked_at for item in verdict.prefix] == [0, 2, 2]
    assert [item.completed_at for item in verdict.prefix] == [1, 3, None]
    assert verdict.states in {(5,), (9,)}
    assert "client 2: ('read', 'x', 0) -> 0" in str(verdict)


def test_too_long_a_search_is_left_open() -> None:
    """It is neither passed nor failed."""
    history = [_write(client, 0, 1, client) for client in range(9)] + [_read(0, 2, 3, 77)]
    verdict = check(history, REGISTER, steps_max=50)
    assert (verdict.outcome, verdict.ok) == ("undecided", False)


def _drawn(
    client: int, began: float, lasts: int | None, kind: str, value: int
) -> RegisterOperation:
    """An operation that lasts so long; its outcome is unknown if it has no end."""
    ended = None if lasts is None else began + lasts
    if kind == "write":
        return _write(client, began, ended, value)
    return _read(client, began, ended, None if ended is None else value)


operations = st.builds(
    _drawn,
    st.integers(0, 3),
    st.integers(0, 8).map(float),
    st.none() | st.integers(1, 5),
    st.sampled_from(["read", "write"]),
    st.integers(0, 2),
)


@given(st.lists(operations, max_size=6))
def test_it_agrees_with_trying_every_order(history: list[RegisterOperation]) -> None:
    """A history has an order for the search exactly where one of all orders explains it."""
    verdict = check(history, REGISTER)
    assert verdict.ok == _has_order(history)
    assert check(history, REGISTER, hint=lambda item: -item.invoked_at).ok == verdict.ok
    if verdict.ok:
        _assert_explains(verdict, history)


@given(st.lists(operations, max_size=6))
def test_the_shortest_beginning_has_no_order_and_one_answer_less_does(
    history: list[RegisterOperation],
) -> None:
    """What is shown of a history is itself one without an order; without its last answer, not."""
    verdict = check(history, REGISTER)
    if verdict.ok:
        return
    assert not _has_order(verdict.prefix)
    last = max(item.completed_at or 0 for item in verdict.prefix)
    earlier = [
        Operation(item.client, item.invoked_at, None, item.input, None)
        if item.completed_at == last
        else item
        for item in verdict.prefix
    ]
    assert _has_order(earlier)


@given(st.integers(0, 2**32))
def test_what_a_real_object_did_always_passes(seed: int) -> None:
    """Histories of a register that did one thing at a time have an order, whoever overlapped."""
    history = _simulated(random.Random(seed))
    for mine in partitions(history, lambda asked: asked[1]).values():
        assert check(mine, REGISTER).ok


@given(st.integers(0, 2**32))
def test_a_stale_read_never_passes(seed: int) -> None:
    """A read that begins after a write was answered, and misses it, is found in any company."""
    choose = random.Random(seed)
    history = [item for item in _simulated(choose) if item.input[1] == "x"]
    end = 1 + max((item.completed_at or item.invoked_at) for item in history)
    history = [item for item in history if item.completed_at is not None]
    history += [_write(1, end, end + 1, 1_000), _read(2, end + 2, end + 3, choose.randrange(999))]
    assert check(history, REGISTER).outcome == "not linearizable"


@given(st.integers(0, 2**32))
def test_a_lost_update_never_passes(seed: int) -> None:
    """A counter that forgets an addition it acknowledged is found by what it tells later."""
    counter: Model[int, int, int] = Model(
        0,
        lambda state, added, total: (
            (state + added,) if total is None or total == state + added else ()
        ),
    )
    choose = random.Random(seed)
    history, total, now = [], 0, 0.0
    for _ in range(20):
        now += 2
        added = choose.randrange(1, 5)
        total += added
        began, ended = now - choose.random() * 3, now + choose.random() * 3
        history.append(Operation(choose.randrange(4), began, ended, added, total))
    assert check(history, counter).ok
    lost = choose.randrange(5)
    behind = [
        item
        if index <= lost
        else Operation(
            item.client,
            item.invoked_at,
            item.completed_at,
            item.input,
            (item.output or 0) - history[lost].input,
        )
        for index, item in enumerate(history)
    ]
    assert not check(behind, counter).ok


def _simulated(choose: random.Random) -> list[RegisterOperation]:
    """A history of two registers, each operation taking effect at one moment within its time."""
    moments = sorted(choose.random() * 40 for _ in range(60))
    states = {"x": 0, "y": 0}
    history: list[RegisterOperation] = []
    for moment in moments:
        name, value = choose.choice("xy"), choose.randrange(3)
        began, ended = moment - choose.random() * 3, moment + choose.random() * 3
        client = choose.randrange(4)
        if choose.random() < 0.5:
            is_lost = choose.random() < 0.1
            if not is_lost or choose.random() < 0.5:
                states[name] = value
            asked: Write = ("write", name, value)
            answered = (None, None) if is_lost else (ended, 0)
            history.append(Operation(client, began, answered[0], asked, answered[1]))
        else:
            history.append(Operation(client, began, ended, ("read", name, 0), states[name]))
    return history


def _has_order(history: list[RegisterOperation] | tuple[RegisterOperation, ...]) -> bool:
    """Whether any order of all that was answered, and of some of the rest, explains the answers."""
    known = [item for item in history if item.completed_at is not None]
    unknown = [item for item in history if item.completed_at is None]
    for chosen in range(1 << len(unknown)):
        some = known + [item for bit, item in enumerate(unknown) if chosen >> bit & 1]
        if any(_explains(order) for order in permutations(some)):
            return True
    return False


def _explains(order: tuple[RegisterOperation, ...]) -> bool:
    """Whether the order keeps to the clock and to what a register answers."""
    value = 0
    for index, item in enumerate(order):
        if any(
            later.completed_at is not None and later.completed_at < item.invoked_at
            for later in order[index + 1 :]
        ):
            return False
        if item.input[0] == "write":
            value = item.input[2]
        elif item.completed_at is not None and item.output != value:
            return False
    return True


def _assert_explains(verdict: Verdict[Write, int], history: list[RegisterOperation]) -> None:
    """The order found has all that was answered, once, and explains it."""
    assert len(set(map(id, verdict.order))) == len(verdict.order)
    assert {id(item) for item in history if item.completed_at is not None} <= set(
        map(id, verdict.order)
    )
    assert _explains(verdict.order)
