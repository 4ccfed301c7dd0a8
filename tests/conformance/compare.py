"""Comparing what a case expects with what the adapter saw; every difference has its place.

Expectations are in the cases' words and may say less than what was seen: of balances, those
accounts that they name; of a happening, those members.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from tests.conformance import vocabulary
from tests.conformance.cases import Case
from tests.conformance.seen import (
    Answer,
    Counts,
    Happenings,
    Nets,
    Replay,
    Rows,
    Seen,
    Trial,
    Vector,
    Vectors,
)

_VECTOR = ("debits_pending", "debits_posted", "credits_pending", "credits_posted")
_LISTS_NOTHING = frozenset({"validation_error", "account_not_found"})
_COLUMN = {"prev": "previous", "balance": "current", "new": "current", "amt": "amount"}


class Difference(msgspec.Struct, frozen=True):
    """A place where the ledger answered otherwise: ``results[3]``, ``balances.A1``."""

    path: str
    expected: Any
    seen: Any

    def __str__(self) -> str:
        """Say the place, what the case says, and what was seen."""
        return f"{self.path}: the case says {self.expected!r}, the ledger {self.seen!r}"


def differences(case: Case, results: list[Seen], balances: Vectors) -> list[Difference]:
    """Every place where answers or final balances are not as the case says."""
    found: list[Difference] = []
    if len(case.expect.results) != len(results):
        found.append(Difference("results", len(case.expect.results), len(results)))
    for at, (expected, seen) in enumerate(zip(case.expect.results, results, strict=False)):
        found += _compare(f"results[{at}]", expected, seen)
    for account, expected in case.expect.balances.items():
        found += _vector(f"balances.{account}", expected, balances.by_account.get(account))
    return found


def answers(expected: Any, seen: Answer) -> bool:  # noqa: ANN401, PLR0911 - one case a form
    """Whether one answer is what the case says: a word, or an object of one member."""
    match expected:
        case str():
            return any(_is_word(word, seen) for word in vocabulary.alternatives(expected))
        case {"conflict": list(fields)}:
            return (
                seen.status == "refused"
                and vocabulary.is_conflict(seen.code)
                and all(vocabulary.fields_meant(field) & {*seen.fields} for field in fields)
            )
        case {"conflict": str(field)}:
            return answers({"conflict": [field]}, seen)
        case {"created": amount}:
            return _moved(amount, seen) and seen.status in {"recorded", "unchanged"}
        case {"replayed": bool(is_replayed)}:
            return (seen.status == "replayed") is is_replayed
        case {"replayed": amount}:
            return seen.status == "replayed" and _moved(amount, seen)
        case {"error": str(word)} | {"refused": str(word)} | {"code": str(word)}:
            return seen.status == "refused" and vocabulary.says_same(word, seen.code)
    return False


def word_of_all(seen: Seen) -> str:
    """The one word under which an answer is counted; of several, the first that is a refusal."""
    match seen:
        case Answer(status="refused", code=code):
            return code
        case Answer(status=status):
            return "created" if status == "recorded" else status
        case list():
            words = [word_of_all(one) for one in seen]
            faults = (word for word in words if word not in {"created", "batch_failed"})
            return next(faults, words[0])
        case _:
            return "created"


def _is_word(word: str, seen: Answer) -> bool:
    """Whether an answer is what one word says."""
    if word in seen.words:
        return True
    match seen.status:
        case "refused":
            return vocabulary.says_same(word, seen.code)
        case "recorded":
            return word in {"created", "done"}
        case "replayed":
            return word == "replayed"
        case "unchanged":
            # A balancing movement of nothing leaves everything as it was.
            return word in {"already_active", "unchanged", "done"} or (
                word == "created" and seen.amount == 0
            )
        case _:
            return word == seen.status


def _moved(amount: object, seen: Answer) -> bool:
    """Whether that much was moved; where nothing was, nothing may have been recorded."""
    return seen.amount == vocabulary.figure(amount)


def _compare(path: str, expected: Any, seen: Seen) -> Iterator[Difference]:  # noqa: ANN401 - see above
    """The differences at one place and below it."""
    if expected is None:
        return
    match seen, expected:
        case (list(), list()) if len(seen) == len(expected):
            for at, (one, other) in enumerate(zip(expected, seen, strict=True)):
                yield from _compare(f"{path}[{at}]", one, other)
        case (Vectors(by_account=found), dict()):
            for account, wanted in expected.items():
                yield from _vector(f"{path}.{account}", wanted, found.get(account))
        case (Replay(), dict()):
            yield from _compare(path, expected, seen.balances)
        case (Replay(), _):
            yield from _compare(path, expected, seen.answer)
        case _ if not _is_as_expected(expected, seen):
            yield Difference(path, expected, _shown(seen))


def _is_as_expected(expected: Any, seen: Seen) -> bool:  # noqa: ANN401, PLR0911 - one case a form
    """Whether an answer that is compared as a whole is as the case says."""
    match seen:
        case Answer():
            # A listing refused for its filter lists nothing; a split of nothing moves nothing.
            is_empty = expected == [] and seen.code in _LISTS_NOTHING
            return is_empty or answers(expected, seen)
        case Counts():
            return isinstance(expected, dict) and all(
                _count(word, seen) == times for word, times in expected.items()
            )
        case Nets():
            return _net(expected, seen.by_name)
        case Rows():
            return isinstance(expected, list) and _rows(expected, seen)
        case Happenings():
            return _happened(expected, seen.items)
        case Trial():
            return _trial(expected, seen)
        case _:
            return False


def _count(word: str, seen: Counts) -> int:
    """How many answers are what the word says, each counted once."""
    words = vocabulary.alternatives(word)
    names = {"created": "recorded"}
    return sum(
        times
        for name, times in seen.by_word.items()
        if any(
            name == one or (names.get(one, one) not in names and vocabulary.says_same(one, name))
            for one in words
        )
    )


def _vector(path: str, expected: Any, seen: Vector | None) -> Iterator[Difference]:  # noqa: ANN401 - see above
    """The difference between an account's four sums and what a case says of them."""
    if not _is_vector(expected, seen):
        yield Difference(path, expected, seen)


def _is_vector(expected: Any, seen: Vector | None) -> bool:  # noqa: ANN401 - see above
    """Whether four sums are as said: all four, those that are named, or credits less debits."""
    if expected is None or seen is None:
        return expected is None and seen is None
    if isinstance(expected, list):
        return vocabulary.figures(expected) == list(seen)
    named = dict(zip(_VECTOR, seen, strict=True)) | {"net": seen[3] - seen[1]}
    if isinstance(expected, dict):
        return all(named.get(name) == vocabulary.figure(value) for name, value in expected.items())
    return named["net"] == vocabulary.figure(expected)


def _net(expected: Any, seen: Mapping[str, int]) -> bool:  # noqa: ANN401 - see above
    """Whether nets are as said: those that are named, or the only one."""
    if isinstance(expected, dict):
        return all(seen.get(name) == vocabulary.figure(value) for name, value in expected.items())
    return sum(seen.values()) == vocabulary.figure(expected)


def _rows(expected: list[Any], seen: Rows) -> bool:
    """Whether lines are as said, each in as many of its columns as the case gives."""
    if len(expected) != len(seen.rows):
        return False
    return all(_row(one, other, seen.names) for one, other in zip(expected, seen.rows, strict=True))


def _row(expected: Any, seen: tuple[Any, ...], names: tuple[str, ...]) -> bool:  # noqa: ANN401 - see above
    """Whether one line is as said."""
    if isinstance(expected, dict):
        named = dict(zip(names, seen, strict=True))
        return all(
            name in named and _value(value, named[name])
            for name, value in ((_COLUMN.get(name, name), item) for name, item in expected.items())
        )
    values = expected if isinstance(expected, list) else [expected]
    return 0 < len(values) <= len(seen) and all(
        _value(one, other) for one, other in zip(values, seen, strict=False)
    )


def _value(expected: Any, seen: Any) -> bool:  # noqa: ANN401 - see above
    """Whether a value in a line is as said; a line of four sums may stand in it."""
    if isinstance(expected, list):
        return isinstance(seen, tuple | list) and vocabulary.figures(expected) == list(seen)
    return bool(vocabulary.figure(expected) == seen)


def _happened(expected: Any, seen: tuple[dict[str, Any], ...]) -> bool:  # noqa: ANN401 - see above
    """Whether what happened is as said: a number of happenings, or one after another."""
    if isinstance(expected, int):
        return len(seen) == expected
    if isinstance(expected, dict):
        return expected.keys() == {"count"} and len(seen) == expected["count"]
    return len(expected) == len(seen) and all(
        _happening(one, other) for one, other in zip(expected, seen, strict=True)
    )


def _happening(expected: Any, seen: dict[str, Any]) -> bool:  # noqa: ANN401 - see above
    """Whether one happening is as said: its kind, its id, some members, or a row of values."""
    if isinstance(expected, str):
        return expected == seen.get("id") or vocabulary.event_kind(expected) == seen.get("kind")
    if isinstance(expected, list):
        return all(
            _happening(value, seen) if isinstance(value, str) else value in seen.values()
            for value in vocabulary.figures(expected)
        )
    return all(_member(name, value, seen) for name, value in expected.items())


def _member(name: str, value: Any, seen: dict[str, Any]) -> bool:  # noqa: ANN401 - see above
    """Whether one member of a happening is as said."""
    if name in {"kind", "type", "event"}:
        return seen.get("kind") == vocabulary.event_kind(str(value))
    if name in {"reason", "code"} and isinstance(value, str):
        return vocabulary.says_same(value, str(seen.get("reason", "")))
    names = {"amt": "amount", "transfer": "id", "pending_id": "of", "hold": "of"}
    name = names.get(name, name)
    return name in seen and _value(value, seen[name])


def _trial(expected: Any, seen: Trial) -> bool:  # noqa: ANN401 - see above
    """Whether a trial balance is as said: balanced, its totals, or its accounts."""
    is_balanced = all(pair[0] == pair[1] for totals in seen.totals[:2] for pair in totals.values())
    match expected:
        case "balanced" | True:
            return is_balanced
        case int():
            return is_balanced and expected == 0
        case list():
            return any(
                [sum(t[0] for t in totals.values()), sum(t[1] for t in totals.values())]
                == vocabulary.figures(expected)
                for totals in seen.totals
            )
        case dict():
            return all(_trial_member(name, value, seen) for name, value in expected.items())
    return False


def _trial_member(name: str, value: Any, seen: Trial) -> bool:  # noqa: ANN401 - see above
    """Whether one member of a trial balance is as said: a side's total, a unit's, an account's."""
    if name == "balanced":
        return _trial("balanced", seen) is bool(value)
    if name in {"difference", "net", "sum"}:
        return _trial(0, seen) is (value == 0)
    side = vocabulary.totals_side(name)
    if side is not None:
        at = ("debits", "credits").index(side)
        return any(
            sum(pair[at] for pair in totals.values()) == vocabulary.figure(value)
            for totals in seen.totals
        )
    if name in seen.by_account:
        return _net(value, {name: seen.by_account[name]})
    unit = name.partition("/")[0]
    within = [
        msgspec.structs.replace(seen, totals=({unit: totals[unit]},))
        for totals in seen.totals
        if unit in totals
    ]
    return any(_trial(value, one) for one in within)


def _shown(seen: Seen) -> Any:  # noqa: ANN401 - what is printed
    """What was seen, without the members that say nothing."""
    if isinstance(seen, Answer):
        return msgspec.to_builtins(
            {name: value for name, value in msgspec.structs.asdict(seen).items() if value}
        )
    if isinstance(seen, list):
        return [_shown(one) for one in seen]
    return None if seen is None else msgspec.to_builtins(seen)
