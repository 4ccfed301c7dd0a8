"""Each risk rule at its thresholds: what raises a flag, what just does not, and why."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.accounts import AccountOpened, Terms, opened
from ledger_core.risk_rules import WINDOW_MOVEMENTS, RiskRuleSet
from projections.memory import Movement, Rule
from projections.risk_rules import (
    DEFAULT_RULES,
    Flag,
    Thresholds,
    detect,
    is_watched,
    rule_set,
)

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TODAY = NOON.date()


def _terms(currency: str = "EUR", scale: int = 2, **fields: str) -> Terms:
    """A customer's account, opened ten days ago."""
    event = AccountOpened(
        **{"account_type": "liability", "account_id": "A", **fields},  # type: ignore[arg-type]
        currency=currency,
        scale=scale,
    )
    return opened(event, 1, NOON - timedelta(days=10)).terms


def _in(amount_minor: int, days_ago: int = 0, *, at: int = 100, kind: str = "deposit") -> Movement:
    """Money that came in."""
    return Movement(at, TODAY - timedelta(days_ago), True, amount_minor, kind)  # noqa: FBT003


def _out(
    amount_minor: int, days_ago: int = 0, *, at: int = 100, kind: str = "transfer"
) -> Movement:
    """Money that went out."""
    return Movement(at, TODAY - timedelta(days_ago), False, amount_minor, kind)  # noqa: FBT003


def _flags(
    *movements: Movement,
    terms: Terms | None = None,
    rules: Mapping[str, Rule] = DEFAULT_RULES,
) -> dict[str, Flag]:
    """The flags that the last movement raises after the others, by rule."""
    *recent, last = movements
    terms = terms or _terms()
    flags = detect(Thresholds.of(rules, terms.scale), terms, recent, last, NOON)
    return {flag.rule: flag for flag in flags}


def test_a_large_movement_is_flagged_from_the_threshold_on() -> None:
    """10,000.00 EUR is large in either direction, one cent less is not."""
    flag = _flags(_in(1_000_000, at=7))["large_movement"]
    assert flag.flag_id == "flag_large_movement_1_7"
    assert flag.reason == ("10000.00 EUR came in in one movement; the threshold is 10000.00 EUR.")
    assert flag.figures == {"amount_minor": "1000000", "threshold_minor": "1000000"}
    assert flag.positions == (7,)
    assert (flag.raised_position, flag.raised_at, flag.value_date) == (7, NOON, TODAY)
    assert "went out" in _flags(_out(1_000_000))["large_movement"].reason
    assert "large_movement" not in _flags(_in(999_999))


@pytest.mark.parametrize(("currency", "scale", "amount"), [("JPY", 0, 10_000), ("TND", 3, 10**7)])
def test_thresholds_are_whole_units_of_any_currency(currency: str, scale: int, amount: int) -> None:
    """10,000 yen are 10,000 minor units, 10,000 dinars ten million."""
    terms = _terms(currency, scale)
    assert "large_movement" in _flags(_in(amount), terms=terms)
    assert "large_movement" not in _flags(_in(amount - 1), terms=terms)


def test_structuring_is_the_third_deposit_just_below_the_threshold_in_a_week() -> None:
    """9,000.00 to 9,999.99 count; the seventh day before does not."""
    deposits = [_in(900_000, 6, at=11), _in(999_999, 3, at=12), _in(950_000, at=13)]
    flag = _flags(*deposits)["structuring"]
    assert flag.positions == (11, 12, 13)
    assert flag.figures["count"] == "3"
    assert flag.figures["total_minor"] == str(900_000 + 999_999 + 950_000)
    assert flag.flag_id == "flag_structuring_1_2026-03-02"
    assert "structuring" not in _flags(_in(900_000, 7), *deposits[1:])
    assert "structuring" not in _flags(_in(899_999), *deposits[1:])
    assert "structuring" not in _flags(_in(1_000_000), *deposits[1:])
    assert "structuring" not in _flags(*deposits[1:])
    assert "structuring" not in _flags(_in(950_000, kind="transfer"), *deposits[1:])
    assert "structuring" not in _flags(*deposits[:2], _in(950_000, kind="transfer"))
    assert "structuring" not in _flags(_in(950_000, -1), *deposits[1:])


def test_structuring_is_seen_behind_any_number_of_other_movements() -> None:
    """Deposits that have left the window still count; none counts twice."""
    deposits = [_in(900_000, 2, at=11), _in(950_000, 1, at=12)]
    cents = [_in(1, at=number) for number in range(13, 113)]
    terms, thresholds = _terms(), Thresholds.of(DEFAULT_RULES, 2)
    last = _in(950_000, at=200)
    for recent in (cents, [*deposits[1:], *cents[1:]], [*deposits, *cents[2:]]):
        flags = detect(thresholds, terms, recent, last, NOON, (), deposits)
        assert [flag.positions for flag in flags if flag.rule == "structuring"] == [(11, 12, 200)]


def test_rapid_in_and_out_is_most_of_a_sum_leaving_within_two_days() -> None:
    """80 % of at least 1,000.00 EUR, summed over what came in and what left since."""
    flag = _flags(_out(5, 1, at=1), _in(60_000, 2, at=2), _in(40_000, 1, at=3), _out(80_000, at=4))
    found = flag["rapid_in_and_out"]
    assert found.figures == {
        "in_minor": "100000",
        "out_minor": "80000",
        "threshold_minor": "100000",
    }
    assert found.positions == (2, 3, 4)
    assert "rapid_in_and_out" not in _flags(_in(100_000, 2), _out(79_999))
    assert "rapid_in_and_out" not in _flags(_in(99_999, 2), _out(99_999))
    assert "rapid_in_and_out" not in _flags(_in(100_000, 3), _out(100_000))
    assert "rapid_in_and_out" not in _flags(_out(80_000), _in(100_000))
    assert "rapid_in_and_out" not in _flags(_out(80_000), _in(100_000), _out(1))


def test_a_dormant_account_wakes_after_half_a_year_without_a_movement() -> None:
    """The newest value date counts, else the opening; 100.00 EUR is the least that wakes it."""
    flag = _flags(_in(50, 180, at=1), _out(10_000, at=2))["dormant_account_woken"]
    assert flag.figures["quiet_days"] == "180"
    assert flag.figures["quiet_since"] == (TODAY - timedelta(180)).isoformat()
    assert "dormant_account_woken" not in _flags(_in(50, 180), _out(9_999))
    assert "dormant_account_woken" not in _flags(_in(50, 179), _out(10_000))
    assert "dormant_account_woken" not in _flags(_in(50, 5), _in(50, 200), _out(10_000))
    assert "dormant_account_woken" not in _flags(_in(10_000))
    late = Movement(9, TODAY + timedelta(170), True, 10_000, "deposit")  # noqa: FBT003
    assert "dormant_account_woken" in _flags(late)


def test_velocity_is_more_than_twenty_movements_out_in_a_day() -> None:
    """The twenty-first of the same value date, and no matter how many came in."""
    twenty = [_out(1, at=number) for number in range(20)]
    flag = _flags(*twenty, _out(1, at=20))["velocity"]
    assert flag.figures == {"count": "21", "total_minor": "21"}
    assert "velocity" not in _flags(*twenty)
    assert "velocity" not in _flags(*twenty, _in(1))
    assert "velocity" not in _flags(_out(1, 1), *twenty[1:], _out(1))


def test_a_rule_can_be_changed_and_switched_off() -> None:
    """Parameters that are not named keep their default."""
    event = RiskRuleSet("large_movement", {"amount": 5})
    changed = {**DEFAULT_RULES, "large_movement": rule_set(event, 9)}
    assert "large_movement" in _flags(_in(500), rules=changed)
    rule = rule_set(RiskRuleSet("structuring", {"count": 2}), 9)
    assert rule.parameters == {**DEFAULT_RULES["structuring"].parameters, "count": 2}
    for name in DEFAULT_RULES:
        off = {**DEFAULT_RULES, name: rule_set(RiskRuleSet(name, {}, enabled=False), 9)}  # type: ignore[arg-type]
        history = [_in(950_000, 2), _in(950_000, 1), *[_out(1)] * 20]
        for last in (_in(950_000), _out(2_000_000)):
            on = _flags(*history, last)
            assert _flags(*history, last, rules=off).keys() == on.keys() - {name}


def test_the_highest_counts_that_can_be_set_can_be_reached() -> None:
    """A full window and the movement at hand are enough for each rule that counts."""
    full: dict[str, list[Movement]] = {
        "structuring": [_in(950_000, at=number) for number in range(WINDOW_MOVEMENTS)],
        "velocity": [_out(1, at=number) for number in range(WINDOW_MOVEMENTS)],
    }
    for name, window in full.items():
        rule = rule_set(RiskRuleSet(name, {"count": WINDOW_MOVEMENTS}), 9)  # type: ignore[arg-type]
        assert name in _flags(*window, window[-1], rules={**DEFAULT_RULES, name: rule})


def test_a_flag_is_not_raised_twice_on_the_same_occasion() -> None:
    """Once a value date where many movements are looked at; what was raised is left out."""
    terms, recent = _terms(), [_out(1, at=number) for number in range(25)]
    thresholds = Thresholds.of(DEFAULT_RULES, 2)
    first = detect(thresholds, terms, recent, _out(1, at=25), NOON)
    again = detect(thresholds, terms, recent, _out(1, at=26), NOON)
    assert [flag.flag_id for flag in first] == [flag.flag_id for flag in again]
    raised = {flag.flag_id for flag in first}
    assert detect(thresholds, terms, recent, _out(1, at=26), NOON, raised) == []


def test_only_accounts_of_customers_are_watched() -> None:
    """A liability that is not the bank's own."""
    assert is_watched(_terms())
    assert not is_watched(_terms(account_id="bank:clearing:EUR"))
    assert not is_watched(_terms(account_type="asset"))


_movements = st.builds(
    Movement,
    position=st.integers(1, 10**6),
    value_date=st.dates(),
    is_incoming=st.booleans(),
    amount_minor=st.integers(1, 10**36),
    kind=st.sampled_from(["deposit", "withdrawal", "transfer", "journal", "reversal"]),
)
_parameters = st.integers(1, 10**15)


@given(
    recent=st.lists(_movements, max_size=20),
    movement=_movements,
    values=st.lists(_parameters, min_size=4, max_size=4),
    day=st.sampled_from([date.min, TODAY, date.max]),
)
def test_no_history_and_no_thresholds_can_stop_a_projection(
    recent: list[Movement], movement: Movement, values: list[int], day: date
) -> None:
    """Any dates, any amounts, any parameters: flags or none, and the same ones again."""
    rules = {
        name: Rule({key: values[at % 4] for at, key in enumerate(rule.parameters)})
        for name, rule in DEFAULT_RULES.items()
    }
    last = Movement(
        movement.position, day, movement.is_incoming, movement.amount_minor, movement.kind
    )
    terms = _terms()
    thresholds = Thresholds.of(rules, terms.scale)
    flags = detect(thresholds, terms, recent, last, NOON)
    assert flags == detect(thresholds, terms, recent, last, NOON)
    for flag in flags:
        assert set(flag.positions) <= {seen.position for seen in [*recent, last]}
        assert flag.raised_position == last.position
