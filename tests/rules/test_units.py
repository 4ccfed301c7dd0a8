"""Registered units, risk thresholds and imported statements: the small capabilities."""

from datetime import date
from typing import get_args

import pytest
from tests.rules.harness import Given, given, opened, transfer, with_field

from ledger_core.bank_statements import BankStatementImported, RecordStatement
from ledger_core.errors import (
    AccountNotFound,
    CurrencyMismatch,
    UnitExists,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.risk_rules import (
    ALARMS,
    DEFAULTS,
    PARAMETER_MAX,
    WINDOW_MOVEMENTS,
    RiskRuleSet,
    RuleName,
    SetRiskRule,
)
from ledger_core.units import RegisterUnit, UnitRegistered

STATEMENT = RecordStatement(
    account_id="A",
    statement_id="2026-03/1",
    currency="EUR",
    opening="-100",
    closing="250",
    opening_date=date(2026, 3, 1),
    closing_date=date(2026, 3, 2),
    entry_count=3,
)


def test_a_unit_is_registered_once_with_its_scale() -> None:
    """The same again is no event, another scale is refused."""
    unit = RegisterUnit(code="PTS", scale=24, name="Points")
    books = given().when(unit).then(UnitRegistered("PTS", 24, "Points"))
    Given(books).when(unit).then_nothing()
    Given(books).when(with_field(unit, "scale", 23)).then_refuses(UnitExists, scale=24)


@pytest.mark.parametrize(("code", "scale"), [("x" * 64, 0), ("x", 24)])
def test_bounds_of_a_unit_are_inclusive(code: str, scale: int) -> None:
    """Codes of up to 64 characters, 0 to 24 decimals; what is registered moves."""
    answer = given().when(RegisterUnit(code=code, scale=scale))
    books = answer.then(UnitRegistered(code, scale))
    for name in ("A", "B"):
        books = Given(books).when(opened(name, currency=code, limit=None)).books
    moved = Given(books).when(transfer("A", "B", 5, currency=code)).books
    assert moved.accounts["B"].posted_minor == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("code", "EUR"),
        ("code", ""),
        ("code", "x" * 65),
        ("code", "a\nb"),
        ("scale", -1),
        ("scale", 25),
        ("name", ""),
    ],
)
def test_a_malformed_unit_is_refused(name: str, value: object) -> None:
    """Codes of ISO 4217 need no registration and take none."""
    given().when(with_field(RegisterUnit(code="PTS", scale=0), name, value)).then_refuses(
        ValidationFailed, field=name
    )


@pytest.mark.parametrize("rule", get_args(RuleName))
def test_every_rule_takes_its_thresholds(rule: RuleName) -> None:
    """All of them, or some; and it can be switched off."""
    parameters = dict(DEFAULTS[rule])
    given().when(SetRiskRule(rule=rule, parameters=parameters)).then(RiskRuleSet(rule, parameters))
    given().when(SetRiskRule(rule=rule, parameters={}, enabled=False)).then(
        RiskRuleSet(rule, {}, enabled=False)
    )


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"height": 1}, "parameters"),
        ({"amount": 0}, "parameters"),
        ({"amount": PARAMETER_MAX + 1}, "parameters"),
        ({"margin_percent": 101}, "parameters.margin_percent"),
        ({"count": WINDOW_MOVEMENTS + 1}, "parameters.count"),
    ],
)
def test_thresholds_have_bounds(parameters: dict[str, int], field: str) -> None:
    """Unknown names, nothing, too much, and more than all of it."""
    given().when(SetRiskRule(rule="structuring", parameters=parameters)).then_refuses(
        ValidationFailed, field=field
    )


@pytest.mark.parametrize(
    "rule", [name for name, known in DEFAULTS.items() if "count" in known and name not in ALARMS]
)
def test_no_rule_counts_further_than_the_rules_look_back(rule: RuleName) -> None:
    """A rule that could never fire is refused; the most that can be seen is taken."""
    most = {"count": WINDOW_MOVEMENTS}
    given().when(SetRiskRule(rule=rule, parameters=most)).then(RiskRuleSet(rule, most))
    given().when(SetRiskRule(rule=rule, parameters={"count": WINDOW_MOVEMENTS + 1})).then_refuses(
        ValidationFailed, field="parameters.count", rule="1 to 100"
    )


def test_a_statement_is_recorded_with_its_balances() -> None:
    """Signed, in minor units."""
    given(opened("A")).when(STATEMENT).then(
        BankStatementImported(
            "A", "2026-03/1", "EUR", -100, 250, date(2026, 3, 1), date(2026, 3, 2), 3
        )
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account_id", ""),
        ("statement_id", ""),
        ("opening", "1.0"),
        ("opening", "+1"),
        ("opening", "01"),
        ("opening", "-0"),
        ("closing", ""),
        ("closing", "9" * 37),
        ("closing_date", date(2026, 2, 28)),
        ("entry_count", -1),
    ],
)
def test_a_malformed_statement_is_refused(name: str, value: object) -> None:
    """The field is named."""
    given(opened("A")).when(with_field(STATEMENT, name, value)).then_refuses(
        ValidationFailed, field=name
    )


def test_a_statement_belongs_to_an_account_of_its_currency() -> None:
    """Known, and kept in that currency."""
    given().when(STATEMENT).then_refuses(AccountNotFound)
    given(opened("A", currency="JPY")).when(STATEMENT).then_refuses(CurrencyMismatch)
    given(opened("A")).when(with_field(STATEMENT, "currency", "PTS")).then_refuses(UnknownCurrency)
