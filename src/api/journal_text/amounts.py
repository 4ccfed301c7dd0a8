"""Amounts of commodities: literals, lots, and arithmetic in parentheses.

How a commodity has been written so far decides how its next amount is read, so amounts are read
through the ``Commodities`` of one journal, in the order of its text.
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction

from api.journal_text.model import EXPRESSION_DEPTH_MAX, NAME_LENGTH_MAX, UnreadableError
from api.journal_text.numbers import decimal_mark_of, read_number

_NOT_IN_SYMBOL = re.compile(r"""[^\s0-9"!&()*+,\-./:;<=>?@\[\]\\^{|}~]+""")
_NUMBER = re.compile(
    r"[0-9]{1,3}(?: [0-9]{3})+(?:[.,][0-9]+)?(?![0-9.,']| [0-9])|(?:[0-9.][0-9.,']*)?[0-9]"
)
_RESERVED_WORDS = frozenset({"and", "div", "else", "false", "if", "not", "or", "true"})
_EXAMPLE = re.compile(r"[0-9](?:[0-9.,']|[ ](?=[0-9]))*")
_QUOTED = re.compile(r'"[^"]*"')
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TIME_UNITS = frozenset({"h", "m"})


@dataclass(frozen=True, slots=True)
class Lot:
    """What tells one lot of a commodity from another; ``price`` is per unit.

    A fixated price says what the lot is worth for balancing, not what was paid.
    """

    price: Fraction | None = None
    price_commodity: str = ""
    day: date | None = None
    note: str = ""
    valuation: str = ""
    fixated: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Amount:
    """A signed number of a commodity; ``decimals`` as written, ``lot`` if it names one."""

    number: Fraction
    commodity: str
    decimals: int = 0
    lot: Lot | None = None


@dataclass(slots=True)
class Scanner:
    """A place in one line of text."""

    text: str
    place: int = 0

    def skip_blanks(self) -> None:
        """Move to the next character that is no blank."""
        while self.text[self.place : self.place + 1] in {" ", "\t"}:
            self.place += 1

    def sees(self, mark: str) -> bool:
        """Say whether ``mark`` is next."""
        return self.text.startswith(mark, self.place)

    def take(self, mark: str) -> bool:
        """Move over ``mark`` if it is next."""
        found = self.sees(mark)
        self.place += len(mark) if found else 0
        return found

    def take_pattern(self, pattern: re.Pattern[str]) -> str:
        """Move over what matches the pattern, which may be nothing."""
        found = pattern.match(self.text, self.place)
        self.place = found.end() if found else self.place
        return found[0] if found else ""

    def take_through(self, end: str) -> str:
        """Move behind the next ``end`` and return what stands before it."""
        inside, found, _ = self.text[self.place :].partition(end)
        if not found:
            raise UnreadableError(f"a closing {end} is missing")
        self.place += len(inside) + len(end)
        return inside

    def take_parenthesized(self) -> str:
        """Move behind the parenthesis that closes the one that is next; return what is inside."""
        depth = 0
        for place in range(self.place, len(self.text)):
            depth += {"(": 1, ")": -1}.get(self.text[place], 0)
            if depth == 0:
                start, self.place = self.place, place + 1
                return self.text[start + 1 : place]
        raise UnreadableError("a closing ) is missing")

    def at_end(self) -> bool:
        """Say whether nothing but blanks is left."""
        self.skip_blanks()
        return self.place >= len(self.text)


@dataclass(slots=True)
class _Style:
    """How a commodity is written: its decimal mark if known, its decimals; whether it is fixed."""

    decimal_mark: str = ""
    decimals: int = 0
    locked: bool = False


@dataclass(slots=True)
class Commodities:
    """The commodities of a journal as far as it has been read.

    ``converted`` are units that a conversion changes into another: their amounts are refused.
    ``decimal_mark`` is that of all amounts, whatever their commodities showed; empty if not set.
    """

    read_day: Callable[[str], date]
    styles: dict[str, _Style] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    converted: set[str] = field(default_factory=lambda: set(_TIME_UNITS))
    decimal_mark: str = ""

    def decimals(self, commodity: str) -> int:
        """Return the decimals with which the commodity has been written."""
        return self.styles.get(commodity, _Style()).decimals

    def shows_zero(self, number: Fraction, commodity: str) -> bool:
        """Say whether a number is zero to the decimals its commodity is written with."""
        return is_zero_to(number, self.decimals(commodity))

    def lock(self, commodity: str, decimals: int | None = None) -> None:
        """Fix how the commodity is written, with its decimals if given."""
        style = self.styles.setdefault(commodity, _Style())
        style.locked = True
        style.decimals = style.decimals if decimals is None else decimals

    def learn(self, example: str) -> None:
        """Learn a commodity's decimal mark from an example such as ``1.000,00 EUR``.

        Raises:
            UnreadableError: it is no number with a commodity.
        """
        found = _EXAMPLE.search(_QUOTED.sub(lambda quoted: "_" * len(quoted[0]), example))
        name = Scanner(f"{example[: found.start()]}{example[found.end() :]}" if found else "")
        commodity = self.read_symbol(name)
        if not found or not name.at_end():
            raise UnreadableError("a commodity is not given by its name or an amount of it")
        style = self.styles.setdefault(commodity, _Style())
        style.decimal_mark = decimal_mark_of(found[0]) or style.decimal_mark

    def read(self, scanner: Scanner, *, shows_style: bool) -> Amount:
        """Read an amount with its lot, or an expression in parentheses.

        ``shows_style``: its marks and decimals tell how the commodity is written from here on.

        Raises:
            UnreadableError: it is no amount.
        """
        scanner.skip_blanks()
        if scanner.sees("("):
            return self._expression(scanner, shows_style, depth=1)
        amount = self._literal(scanner, shows_style)
        return replace(amount, lot=self._lot(scanner, amount))

    def read_symbol(self, scanner: Scanner) -> str:
        """Read a commodity's name, quoted or not; empty if there is none."""
        start = scanner.place
        scanner.skip_blanks()
        if scanner.take('"'):
            symbol = scanner.take_through('"')
        else:
            symbol = scanner.take_pattern(_NOT_IN_SYMBOL)
            if symbol in _RESERVED_WORDS:
                raise UnreadableError("a word of the expression language stands for a commodity")
        if not symbol:
            scanner.place = start
            return ""
        if len(symbol) > NAME_LENGTH_MAX or has_controls(symbol):
            raise UnreadableError("a commodity's name cannot be read with certainty")
        return self.aliases.get(symbol, symbol)

    def _literal(self, scanner: Scanner, shows_style: bool) -> Amount:  # noqa: FBT001 - passed on.
        """Read a number with its commodity before or behind it."""
        scanner.skip_blanks()
        sign = _sign(scanner)
        scanner.skip_blanks()
        digits = scanner.take_pattern(_NUMBER)
        if digits:
            symbol = self.read_symbol(scanner)
        else:
            symbol = self.read_symbol(scanner)
            scanner.skip_blanks()
            if not sign:
                sign = _sign(scanner)
                scanner.skip_blanks()
            digits = scanner.take_pattern(_NUMBER) if symbol else ""
        if not digits:
            raise UnreadableError("an amount has no quantity")
        if scanner.sees(".") or scanner.sees(",") or scanner.sees("'"):
            raise UnreadableError("an amount is followed by a mark that cannot be read")
        style = self.styles.get(symbol, _Style())
        written = read_number(digits, decimal_mark=self.decimal_mark or style.decimal_mark)
        if shows_style and symbol and not style.locked:
            shows_comma = written.decimal_comma and not self.decimal_mark
            mark = "," if shows_comma else style.decimal_mark
            self.styles[symbol] = _Style(mark, max(style.decimals, written.decimals))
        return Amount(-written.number if sign == "-" else written.number, symbol, written.decimals)

    def _lot(self, scanner: Scanner, amount: Amount) -> Lot | None:
        """Read what tells the lot: a price, a day, a note or a valuation, in any order."""
        lot = Lot()
        while True:
            start = scanner.place
            scanner.skip_blanks()
            if scanner.sees("{") and lot.price is None:
                lot = self._lot_price(scanner, amount, lot)
            elif scanner.sees("[") and lot.day is None:
                scanner.take("[")
                lot = replace(lot, day=self.read_day(scanner.take_through("]").strip()))
            elif scanner.sees("((") and not lot.valuation:
                lot = replace(lot, valuation=scanner.take_parenthesized())
            elif scanner.sees("(") and not scanner.sees("(@") and not lot.note:
                scanner.take("(")
                lot = replace(lot, note=scanner.take_through(")"))
            else:
                scanner.place = start
                break
        if lot == Lot():
            return None
        if not amount.commodity:
            raise UnreadableError("a lot is given for an amount without a commodity")
        return lot

    def _lot_price(self, scanner: Scanner, amount: Amount, lot: Lot) -> Lot:
        """Read ``{price}``, ``{{price of all}}``, ``{=price}`` or ``{{=price of all}}``."""
        in_full = scanner.take("{{") or not scanner.take("{")
        scanner.skip_blanks()
        fixated = scanner.take("=")
        inner = Scanner(scanner.take_through("}}" if in_full else "}"))
        price = self._literal(inner, shows_style=False)
        if not inner.at_end() or price.number < 0 or not price.commodity:
            raise UnreadableError("a lot's price is not a plain amount of a commodity")
        if in_full and not amount.number:
            raise UnreadableError("a lot of nothing has a price")
        per_unit = price.number / abs(amount.number) if in_full else price.number
        return replace(lot, price=per_unit, price_commodity=price.commodity, fixated=fixated)

    def _expression(self, scanner: Scanner, shows_style: bool, depth: int) -> Amount:  # noqa: FBT001
        """Read a sum in parentheses."""
        if depth > EXPRESSION_DEPTH_MAX:
            raise UnreadableError("an amount expression is nested too deeply")
        scanner.take("(")
        total = self._product(scanner, shows_style, depth)
        scanner.skip_blanks()
        while not scanner.take(")"):
            sign = _sign(scanner)
            if not sign:
                raise UnreadableError("an amount expression is more than arithmetic on amounts")
            term = self._product(scanner, shows_style, depth)
            if term.commodity != total.commodity:
                raise UnreadableError("an amount expression adds different commodities")
            number = term.number if sign == "+" else -term.number
            total = Amount(total.number + number, total.commodity)
            scanner.skip_blanks()
        return total

    def _product(self, scanner: Scanner, shows_style: bool, depth: int) -> Amount:  # noqa: FBT001
        """Read factors; at most one of them has a commodity, and no divisor has."""
        product = self._factor(scanner, shows_style, depth)
        while True:
            scanner.skip_blanks()
            divides = scanner.take("/")
            if not divides and not scanner.take("*"):
                return product
            factor = self._factor(scanner, shows_style, depth)
            if factor.commodity and (divides or product.commodity):
                raise UnreadableError("an amount expression multiplies or divides commodities")
            if divides and not factor.number:
                raise UnreadableError("an amount expression divides by zero")
            number = factor.number**-1 if divides else factor.number
            product = Amount(product.number * number, product.commodity or factor.commodity)

    def _factor(self, scanner: Scanner, shows_style: bool, depth: int) -> Amount:  # noqa: FBT001
        """Read a literal or a sum in parentheses, with a minus before it or not."""
        scanner.skip_blanks()
        negative = scanner.take("-")
        scanner.skip_blanks()
        if scanner.sees("("):
            factor = self._expression(scanner, shows_style, depth + 1)
        elif scanner.sees("-") or scanner.sees("+"):
            raise UnreadableError("an amount expression has two signs in a row")
        else:
            factor = self._literal(scanner, shows_style)
        return replace(factor, number=-factor.number) if negative else factor


def is_zero_to(number: Fraction, decimals: int) -> bool:
    """Say whether a number is zero when it is rounded to ``decimals``."""
    return abs(number) * 2 <= Fraction(1, 10**decimals)


def has_controls(name: str) -> bool:
    """Say whether a name has characters that cannot be seen or stored as text."""
    return any(unicodedata.category(character) in _CONTROLS for character in name)


def _sign(scanner: Scanner) -> str:
    """Move over a sign if one is next, and return it."""
    return next((sign for sign in ("-", "+") if scanner.take(sign)), "")
