"""The amounts of a posting template: expressions as data, how they balance, what they come to.

An amount is a figure of the caller's, a fixed one, a percentage of another, a sum or a difference.
Two amounts are the same whatever the figures are where they are sums of the same terms; so whether
a template balances is decided once, when it is defined. Knows no accounts.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Mapping
from fractions import Fraction
from typing import assert_never

import msgspec

from ledger_core.errors import ValidationFailed
from ledger_core.money import AMOUNT_DIGITS_MAX, minor_from_text
from ledger_core.rounding import RoundingName, percent_from_text, rounded

# A tariff of more steps is several templates.
DEPTH_MAX = 8
TERMS_MAX = 500


class ParameterAmount(
    msgspec.Struct, frozen=True, kw_only=True, tag="parameter", forbid_unknown_fields=True
):
    """A figure that the caller gives when the template is used."""

    name: str


class FixedAmount(
    msgspec.Struct, frozen=True, kw_only=True, tag="fixed", forbid_unknown_fields=True
):
    """The same minor units every time."""

    amount: str


class NamedAmount(
    msgspec.Struct, frozen=True, kw_only=True, tag="named", forbid_unknown_fields=True
):
    """An amount that the template defines once under a name, so that both sides mean one figure."""

    name: str


class PercentAmount(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    tag="percent",
    forbid_unknown_fields=True,
):
    """A percentage of another amount, rounded as named, at least ``min`` and at most ``max``."""

    percent: str
    of: "Amount"
    rounding: RoundingName
    min: str | None = None
    max: str | None = None


class SumAmount(msgspec.Struct, frozen=True, kw_only=True, tag="sum", forbid_unknown_fields=True):
    """All of these amounts together."""

    of: "tuple[Amount, ...]"


class DifferenceAmount(
    msgspec.Struct, frozen=True, kw_only=True, tag="difference", forbid_unknown_fields=True
):
    """An amount less another; below zero, the template cannot be used for those figures."""

    of: "Amount"
    less: "Amount"


Amount = ParameterAmount | FixedAmount | NamedAmount | PercentAmount | SumAmount | DifferenceAmount

Terms = Counter[Hashable]
"""An amount as how often each term is in it; equal terms mean equal figures."""

_ONE = "1"
"""The term that fixed minor units are so many of."""


def parts_of(amount: Amount) -> tuple[Amount, ...]:
    """The amounts of which an amount is made."""
    match amount:
        case PercentAmount(of=of):
            return (of,)
        case SumAmount(of=parts):
            return parts
        case DifferenceAmount(of=of, less=less):
            return (of, less)
        case ParameterAmount() | FixedAmount() | NamedAmount():
            return ()
        case _:
            assert_never(amount)


def within(amount: Amount) -> Iterator[Amount]:
    """The amount and every amount inside it."""
    yield amount
    for part in parts_of(amount):
        yield from within(part)


def require_form(amount: Amount, *, field: str) -> int:
    """An amount of a form that can be worked out; returns how many terms it has.

    Raises:
        ValidationFailed: too deep or too long, or a malformed figure, named by its path.
    """
    count = _require_form(amount, field, 1)
    if count > TERMS_MAX:
        raise ValidationFailed(field, f"at most {TERMS_MAX} terms")
    return count


class Symbols:
    """Amounts as terms, with the named ones of a template written out.

    Every percentage is a term of its own. Two of the same percentage, rounding and bounds, of
    amounts with the same terms, are the same term: they cannot but come to the same.
    """

    def __init__(self, named: Mapping[str, Amount]) -> None:
        """Begin with the named amounts, which must not refer to each other in a circle."""
        self._named = named
        self._terms: dict[str, Terms] = {}
        self._percentages: dict[Hashable, int] = {}

    def terms(self, amount: Amount) -> Terms:
        """How often each term is in the amount; terms that cancel out are not in it."""
        terms: Terms = Counter()
        match amount:
            case ParameterAmount():
                terms[amount] = 1
            case FixedAmount(amount=digits):
                terms[_ONE] = int(digits)
            case NamedAmount(name=name):
                if name not in self._terms:
                    self._terms[name] = self.terms(self._named[name])
                terms.update(self._terms[name])
            case PercentAmount(of=of, rounding=rounding):
                base = frozenset(self.terms(of).items())
                key = (_share(amount), base, rounding, amount.min, amount.max)
                # A number in place of the key, which may be long and inside other keys.
                number = self._percentages.setdefault(key, len(self._percentages))
                terms[number] = 1
            case SumAmount(of=parts):
                for part in parts:
                    terms.update(self.terms(part))
            case DifferenceAmount(of=of, less=less):
                terms.update(self.terms(of))
                terms.subtract(self.terms(less))
            case _:
                assert_never(amount)
        return Counter({term: count for term, count in terms.items() if count})


class Figures:
    """Amounts as minor units, for the figures that a caller gives."""

    def __init__(self, parameters: Mapping[str, int], named: Mapping[str, Amount]) -> None:
        """Begin with the caller's figures and the template's named amounts."""
        self._parameters = parameters
        self._named = named
        self._worked_out: dict[str, int] = {}

    def minor(self, amount: Amount) -> int:
        """The amount in minor units, never below zero.

        Raises:
            ValidationFailed: a difference comes out below zero, or an amount is too long to book.
        """
        match amount:
            case ParameterAmount(name=name):
                minor = self._parameters[name]
            case FixedAmount(amount=digits):
                minor = int(digits)
            case NamedAmount(name=name):
                if name not in self._worked_out:
                    self._worked_out[name] = self.minor(self._named[name])
                minor = self._worked_out[name]
            case PercentAmount():
                minor = self._percentage(amount)
            case SumAmount(of=parts):
                minor = sum(self.minor(part) for part in parts)
            case DifferenceAmount(of=of, less=less):
                minor = self.minor(of) - self.minor(less)
            case _:
                assert_never(amount)
        if not 0 <= minor < 10**AMOUNT_DIGITS_MAX:
            raise ValidationFailed(
                "amounts",
                "figures for which every amount of the template is from zero"
                f" to {AMOUNT_DIGITS_MAX} digits",
            )
        return minor

    def _percentage(self, amount: PercentAmount) -> int:
        """A percentage in whole minor units, within its bounds."""
        minor = rounded(_share(amount) * self.minor(amount.of), amount.rounding)
        if amount.min is not None:
            minor = max(minor, int(amount.min))
        if amount.max is not None:
            minor = min(minor, int(amount.max))
        return minor


def _share(amount: PercentAmount) -> Fraction:
    """The exact fraction of a percentage whose form was checked."""
    return percent_from_text(amount.percent, field="percent")


def _require_form(amount: Amount, field: str, depth: int) -> int:
    """The form of an amount and of all inside it; how many they are.

    Raises:
        ValidationFailed: too deep, or a malformed figure.
    """
    if depth > DEPTH_MAX:
        raise ValidationFailed(field, f"at most {DEPTH_MAX} amounts inside each other")
    match amount:
        case FixedAmount(amount=digits):
            minor_from_text(digits, field=f"{field}.amount")
        case PercentAmount():
            percent_from_text(amount.percent, field=f"{field}.percent")
            _require_bounds(amount, field)
        case SumAmount(of=parts):
            if not parts:
                raise ValidationFailed(f"{field}.of", "at least one amount")
        case ParameterAmount() | NamedAmount() | DifferenceAmount():
            pass
        case _:
            assert_never(amount)
    return 1 + sum(_require_form(part, path, depth + 1) for path, part in _paths(amount, field))


def _require_bounds(amount: PercentAmount, field: str) -> None:
    """The least is no more than the most.

    Raises:
        ValidationFailed: it is, or one of them is malformed.
    """
    bounds = [
        minor_from_text(digits, field=f"{field}.{name}")
        for name, digits in (("min", amount.min), ("max", amount.max))
        if digits is not None
    ]
    if bounds != sorted(bounds):
        raise ValidationFailed(f"{field}.max", "no less than min")


def _paths(amount: Amount, field: str) -> list[tuple[str, Amount]]:
    """The amounts of which an amount is made, with the fields in which they stand."""
    if isinstance(amount, SumAmount):
        return [(f"{field}.of[{index}]", part) for index, part in enumerate(amount.of)]
    names = ("of", "less")
    return [(f"{field}.{names[index]}", part) for index, part in enumerate(parts_of(amount))]
