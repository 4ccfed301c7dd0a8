"""The adapter's own parts: stretching time, the vocabulary, and a comparison that can fail."""

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance import vocabulary
from tests.conformance.cases import Case, Expectation, Json, ledgers_of, read_cases
from tests.conformance.chart import DEFAULT_UNIT, Chart
from tests.conformance.compare import answers, differences
from tests.conformance.deliberate import DELIBERATE, deliberate
from tests.conformance.legs import accounts_in, every_leg, legs_of
from tests.conformance.seen import (
    Answer,
    Counts,
    Happenings,
    Nets,
    Replay,
    Rows,
    Seen,
    Trial,
    Vectors,
)
from tests.conformance.times import calendar_of
from tests.conformance.wires import terms_of

TODAY = date(2026, 3, 2)
RECORDED = Answer(status="recorded", amount=5)
_HOURS = st.decimals(-9_999, 9_999, places=2).map(float) | st.integers(-9_999, 9_999)


def case_of(
    ops: list[Json], accounts: dict[str, Json] | None = None, results: list[Any] | None = None
) -> Case:
    """A case with those operations and accounts."""
    setup = {"accounts": accounts or {}}
    return Case("made up", "a case", ops, setup=setup, expect=Expectation(results or []))


def refused(code: str, *fields: str) -> Answer:
    """A refusal."""
    return Answer(status="refused", code=code, fields=fields)


def is_seen(expected: Any, seen: Seen) -> bool:  # noqa: ANN401 - a case may say anything
    """Whether a case that expects this of its one operation finds no difference."""
    return not differences(case_of([{"op": "any"}], results=[expected]), [seen], Vectors({}))


@given(st.lists(_HOURS, min_size=2, max_size=6))
def test_hours_keep_their_order(hours: list[float]) -> None:
    """Of two moments the later one has the later day, and equal ones have the same."""
    calendar = calendar_of(case_of([{"op": "post", "effective_h": hour} for hour in hours]), TODAY)
    for one, other in pairwise(hours):
        assert (one < other) == (calendar.day(0, one) < calendar.day(0, other))
        assert (one == other) == (calendar.day(0, one) == calendar.day(0, other))
    assert calendar.day(0) == TODAY


def test_now_moves_with_the_clock() -> None:
    """An hour that has gone by is an hour less from now."""
    ops: list[Json] = [
        {"op": "post", "effective_h": 1},
        {"op": "batch", "items": [{"op": "tick", "minutes": 30, "seconds": 1_800}]},
        {"op": "post", "effective_h": 0},
        {"op": "net_balances", "to_h": -1},
    ]
    calendar = calendar_of(case_of(ops, {"$period": {"closed_through_h": -2}}), TODAY)
    assert calendar.day(3_600, 0) == calendar.day(0, 1) > TODAY
    assert calendar.day(3_600, -1) == calendar.day(0, 0)
    assert calendar.day(0, -2) < TODAY


def test_books_are_ledgers_only_where_every_account_says_so() -> None:
    """A book is a currency, unless it leads the name of every account."""
    ops: list[Json] = [{"op": "post", "dr": "L1:a", "cr": "L1:b", "book": "L1"}]
    assert ledgers_of(case_of(ops, {"L1:a": {}, "L1:b": {}})) == ("L1",)
    assert ledgers_of(case_of(ops, {"L1:a": {}, "b": {}})) == ()


def test_units_are_currencies_where_iso_agrees() -> None:
    """A unit with ISO's own scale is the currency; any other is registered with its scale."""
    chart = Chart(
        case_of(
            [{"op": "allocate", "unit": "GEM", "sources": [{"account": "s"}], "destinations": []}],
            {
                "a": {"unit": "USD/2"},
                "b": {"unit": "USD/4"},
                "c": {"unit": "BTC/8", "book": "coins"},
                "d": {"book": "coins"},
                "e": {},
            },
        )
    )
    units = [chart.unit_of(account) for account in "abcdes"]
    assert units == ["USD", "USD/4", "BTC", "BTC", DEFAULT_UNIT, "GEM"]
    assert chart.scales == {DEFAULT_UNIT: 2, "USD/4": 4, "BTC": 8, "GEM": 2}
    assert chart.asked_unit({"book": None}, ("a",)) is None
    assert chart.asked_unit({}, ("a",)) == "USD"
    assert chart.opened_unasked == {"s": {"limit": "debits<=credits"}}


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"limit": None}, ("liability", None)),
        ({"limit": "debits<=credits"}, ("liability", "0")),
        ({"limit": "debits<=credits", "overdraft": 7}, ("liability", "7")),
        ({"limit": "debits<=credits", "overdraft": "unlimited"}, ("liability", None)),
        ({"limit": "credits<=debits"}, ("asset", "0")),
        ({"overdraft": 7}, ("liability", "7")),
        ({"bounds": {"min": 5, "max": 9}}, ("liability", "-5")),
        ({"limit": ["debits<=credits"]}, ("liability", ["debits<=credits"])),
    ],
)
def test_limits_become_types_and_limits(terms: Json, expected: tuple[str, object]) -> None:
    """A limit on debits is a liability's, one on credits an asset's; what is none is sent as is."""
    found = terms_of(terms)
    assert (found["account_type"], found["limit"]) == expected


def test_legs_keep_their_shape() -> None:
    """Legs become the ledger's at every depth; a leg capped at nothing is left out."""
    legs: list[Json] = [
        {"account": "a", "max": 0},
        {"share": "1/4", "inner": [{"account": "b", "fixed": 5}, {"kept": True}]},
        {"account": "c", "share": "remaining"},
    ]
    assert accounts_in(legs) == ["a", "b", "c"]
    assert [leg.get("account") for leg in every_leg(legs)] == ["a", None, "b", None, "c"]
    assert legs_of(legs) == [
        {"share": "1/4", "inner": [{"account_id": "b", "fixed": "5"}, {"kept": True}]},
        {"account_id": "c", "share": "remaining"},
    ]
    assert legs_of(legs[:1]) == [{"account_id": "a", "max": "0"}]


def test_few_differences_are_deliberate() -> None:
    """The table has at most four cases, each once, with places and a reason."""
    assert len(DELIBERATE) <= 4
    assert len({(entry.source, entry.name) for entry in DELIBERATE}) == len(DELIBERATE)
    assert all(entry.at and entry.reason for entry in DELIBERATE)
    one = DELIBERATE[0]
    assert deliberate(Case(one.source, one.name, [])) is one
    assert deliberate(Case(one.source, "another case", [])) is None


def test_max_is_the_documented_maximum() -> None:
    """The largest amount has as many nines as the ledger takes digits."""
    assert vocabulary.amount_text("max") == "9" * 36
    assert vocabulary.amount_text("max-1") == "9" * 35 + "8"
    assert vocabulary.figures(["max", 3, "all"]) == [vocabulary.AMOUNT_MAX, 3, "all"]
    assert vocabulary.amount_text(None) is None


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ("created", RECORDED),
        ("done", RECORDED),
        ({"created": 5}, RECORDED),
        ({"created": 0}, Answer(status="unchanged", amount=0)),
        ("replayed", Answer(status="replayed")),
        ({"replayed": True}, Answer(status="replayed")),
        ("already_active", Answer(status="unchanged")),
        ("collected", Answer(status="recorded", words=("collected",))),
        ("refused_or_restarted", Answer(status="done", words=("restarted",))),
        ("insufficient_funds", refused("limit_exceeded")),
        ("validation_error", refused("unknown_currency")),
        ("validation_error", refused("idempotency_conflict", "amount")),
        ("not_found", refused("entry_not_found")),
        ({"conflict": ["kind"]}, refused("account_exists", "limit", "metadata")),
        ({"conflict": ["dr", "amount"]}, refused("idempotency_conflict", "postings")),
        ({"conflict": []}, refused("entry_exists")),
    ],
)
def test_answers_that_say_the_same(expected: object, seen: Answer) -> None:
    """Words of the cases and answers of the ledger that mean the same agree."""
    assert answers(expected, seen)


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ("created", Answer(status="replayed")),
        ("created", Answer(status="unchanged")),
        ("created", refused("insufficient_funds")),
        ({"created": 5}, Answer(status="recorded", amount=4)),
        ({"created": 0}, Answer(status="recorded", amount=5)),
        ("replayed", RECORDED),
        ("done", Answer(status="replayed")),
        ("already_active", RECORDED),
        ("completed", Answer(status="recorded", words=("collected",))),
        ("refused_or_restarted", Answer(status="done", words=("applied_twice",))),
        ("insufficient_funds", refused("validation_error")),
        ("validation_error", refused("account_not_found")),
        ("hold_not_found", refused("entry_not_found")),
        ("entry_not_found", RECORDED),
        ({"conflict": ["currency"]}, refused("account_exists", "limit")),
        ({"conflict": ["amount", "code"]}, refused("idempotency_conflict", "amount")),
        ({"conflict": ["kind"]}, refused("validation_error", "limit")),
        ({"conflict": []}, RECORDED),
        (["created"], RECORDED),
    ],
)
def test_answers_that_differ(expected: object, seen: Answer) -> None:
    """Everything else is a difference."""
    assert not answers(expected, seen)


AGREEING: list[tuple[Any, Seen]] = [
    (None, None),
    (["created", {"created": 5}], [RECORDED, RECORDED]),
    ({"A": [1, 2, 3, "max"]}, Vectors({"A": (1, 2, 3, vocabulary.AMOUNT_MAX), "B": (0, 0, 0, 0)})),
    ({"A": None}, Vectors({})),
    ({"A": -1}, Nets({"A": -1, "B": 1})),
    (-500, Nets({"USD": -500})),
    ([[-5, 0, -5]], Rows(("amount", "previous", "current", "version"), ((-5, 0, -5, 1),))),
    ([{"amount": 5, "version": 1}], Rows(("amount", "previous", "version"), ((5, 0, 1),))),
    ([["T1", [0, 1, 0, 0]]], Rows(("id", "balance"), (("T1", (0, 1, 0, 0)),))),
    (["T1"], Rows(("id",), (("T1",),))),
    ([], refused("validation_error")),
    ({"created": 2, "in_progress_or_replayed": 3}, Counts({"created": 2, "replayed": 3})),
    ({"insufficient_funds": 2}, Counts({"limit_exceeded": 2})),
    (
        [{"outcome": "failure", "reason": "insufficient_funds", "items": 0}],
        Happenings(({"outcome": "failure", "reason": "limit_exceeded", "items": 0, "id": "T1"},)),
    ),
    (["two_phase_pending"], Happenings(({"kind": "pending", "id": "T1"},))),
    ([["T1", "posted", 5]], Happenings(({"kind": "posted", "id": "T1", "amount": 5},))),
    (0, Happenings(())),
    ("balanced", Trial({}, ({"USD": (5, 5)},) * 4)),
    ({"debits": 5, "credits": 5}, Trial({}, ({"USD": (5, 5)},) * 4)),
    ({"USD/2": [5, 5], "A": -5}, Trial({"A": -5}, ({"USD": (5, 5)},) * 4)),
    ("identical", Replay(Answer(status="done", words=("identical",)), Vectors({}))),
    ({"A": [0, 0, 0, 1]}, Replay(Answer(status="done"), Vectors({"A": (0, 0, 0, 1)}))),
]


@pytest.mark.parametrize(("expected", "seen"), AGREEING)
def test_what_agrees(expected: object, seen: Seen) -> None:
    """A case may say less than was seen, in its own words."""
    assert is_seen(expected, seen)


DIFFERING: list[tuple[Any, Seen]] = [
    (["created", "created"], [RECORDED]),
    (["created", "created"], [RECORDED, refused("batch_failed")]),
    ("validation_error", [RECORDED]),
    ({"A": [1, 2, 3, 4]}, Vectors({"A": (1, 2, 3, 5)})),
    ({"A": [0, 0, 0, 0]}, Vectors({})),
    ({"A": None}, Vectors({"A": (0, 0, 0, 0)})),
    ({"A": -1}, Nets({"A": 1})),
    ({"A": 0}, Nets({})),
    (-500, Nets({"USD": 500})),
    ([[-5, 0, -5, 1]], Rows(("amount", "previous", "current", "version"), ((-5, 0, -5, 2),))),
    ([[-5, 0, -5, 1]], Rows(("amount",), ())),
    ([{"colour": 5}], Rows(("amount",), ((5,),))),
    (["T1", "T2"], Rows(("id",), (("T2",), ("T1",)))),
    ([], Rows(("id",), (("T1",),))),
    ([], refused("not_found")),
    ({"created": 2}, Counts({"created": 1, "replayed": 1})),
    ([{"outcome": "success"}], Happenings(({"outcome": "failure"},))),
    ([{"outcome": "success"}], Happenings(())),
    ([["T1", "posted", 6]], Happenings(({"kind": "posted", "id": "T1", "amount": 5},))),
    ([{"colour": "red"}], Happenings(({"kind": "posted"},))),
    ("balanced", Trial({}, ({"USD": (5, 4)},) * 4)),
    ({"debits": 4}, Trial({}, ({"USD": (5, 5)},) * 4)),
    ({"EUR": [5, 5]}, Trial({}, ({"USD": (5, 5)},) * 4)),
    ("identical", Replay(Answer(status="done", words=("differs",)), Vectors({}))),
    ("created", None),
]


@pytest.mark.parametrize(("expected", "seen"), DIFFERING)
def test_what_differs(expected: object, seen: Seen) -> None:
    """What a case does say has to be so."""
    assert not is_seen(expected, seen)


def test_every_difference_has_its_place() -> None:
    """Answers are counted from 0, items inside them too; balances have their account."""
    case = msgspec.structs.replace(
        case_of([]),
        expect=Expectation(["created", ["created", "created"]], {"A": [0, 0, 0, 1]}),
    )
    seen: list[Seen] = [RECORDED, [RECORDED, refused("unbalanced")]]
    found = differences(case, seen, Vectors({"A": (0, 0, 0, 2)}))
    assert paths(found) == ["results[1][1]", "balances.A"]
    assert paths(differences(case, seen[:1], Vectors({"A": (0, 0, 0, 1)}))) == ["results"]


def paths(found: Iterable[Any]) -> list[str]:
    """The places of differences."""
    return [difference.path for difference in found]


def test_cases_are_read_line_by_line(tmp_path: Path) -> None:
    """A file's cases come in its order, with what they do not say left at nothing."""
    path = tmp_path / "cases.jsonl"
    path.write_text('{"n": 7, "source": "s", "name": "m", "ops": [], "licence": "x"}\n\n')
    assert [(case.n, case.accounts, case.period) for case in read_cases(path)] == [(7, {}, None)]
