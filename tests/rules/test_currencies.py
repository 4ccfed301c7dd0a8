"""The currency table against ISO 4217."""

import re

import pytest

from ledger_core.currencies import ISO_4217, NO_MINOR_UNIT, exponent

LOCALE_DATA_DIFFERS = {
    "AFN": 2,
    "ALL": 2,
    "IQD": 3,
    "IRR": 2,
    "KPW": 2,
    "LAK": 2,
    "LBP": 2,
    "MGA": 2,
    "MMK": 2,
    "RSD": 2,
    "SOS": 2,
    "SYP": 2,
    "YER": 2,
}
"""The 13 currencies that locale data writes with no decimals, with their ISO 4217 exponents."""

OFTEN_WRONG = {
    "BHD": 3,
    "CLF": 4,
    "CLP": 0,
    "HUF": 2,
    "IDR": 2,
    "ISK": 0,
    "JPY": 0,
    "KRW": 0,
    "KWD": 3,
    "OMR": 3,
    "TND": 3,
    "TWD": 2,
    "UGX": 0,
    "UYI": 0,
    "UYW": 4,
    "VND": 0,
    "XOF": 0,
}
"""Other currencies that are not what a guess of 2, or a habit, would say."""

RETIRED = {
    "ATS": 2,
    "BEF": 0,
    "BGN": 2,
    "DEM": 2,
    "ESP": 0,
    "FRF": 2,
    "HRK": 2,
    "ITL": 0,
    "LUF": 0,
    "NLG": 2,
    "TRL": 0,
    "ZWL": 2,
}
"""Withdrawn currencies that old books hold."""


@pytest.mark.parametrize(
    ("code", "expected"), [*LOCALE_DATA_DIFFERS.items(), *OFTEN_WRONG.items(), *RETIRED.items()]
)
def test_the_well_known_traps(code: str, expected: int) -> None:
    """Exponents that other tables get wrong are those of the standard."""
    assert exponent(code) == expected


@pytest.mark.parametrize(
    "code", ["", "eur", "EURO", "EU", " EUR", "ZZZ", "XAU", "XDR", "XXX", "XTS", "€"]
)
def test_what_iso_4217_gives_no_minor_unit_is_unknown(code: str) -> None:
    """Unknown codes, other spellings, metals and test codes have no exponent."""
    assert exponent(code) is None


def test_the_table_is_plausible_throughout() -> None:
    """Every code is three capitals with an exponent of 0 to 4, and none is also without one."""
    for code, places in ISO_4217.items():
        assert re.fullmatch("[A-Z]{3}", code)
        assert places in {0, 2, 3, 4}
    assert ISO_4217.keys().isdisjoint(NO_MINOR_UNIT)


def test_the_table_agrees_with_the_published_standard() -> None:
    """Every currency of ISO 4217's current list is here, with its exponent or with none."""
    published = {
        currency.code: currency.exponent for currency in pytest.importorskip("iso4217").Currency
    }
    ours = {code: exponent(code) for code in published}
    assert ours == published
    assert {code for code, places in published.items() if places is None} == NO_MINOR_UNIT


def test_the_table_cannot_be_changed() -> None:
    """No caller can alter an exponent: amounts already kept would change their meaning."""
    with pytest.raises(TypeError):
        ISO_4217["EUR"] = 3  # type: ignore[index]
