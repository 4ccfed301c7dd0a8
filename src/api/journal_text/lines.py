"""The lines of one entry: its header and its postings, as written, before any computing."""

import re
from dataclasses import dataclass, replace
from datetime import date
from enum import Enum
from fractions import Fraction

from api.journal_text.amounts import Amount, Commodities, Scanner, has_controls
from api.journal_text.model import NAME_LENGTH_MAX, RESERVED_ROOT, State, UnreadableError

_HEADER = re.compile(
    r"(?P<day>[0-9/.-]+)(?:=(?P<other_day>\S*))?(?![^ \t])[ \t]*(?P<state>[*!]?)[ \t]*"
    r"(?:\((?P<code>[^)]*)\))?[ \t]*(?P<late_state>[*!]?)[ \t]*(?P<rest>.*)"
)
_NOTE = re.compile(r"(?:\t|[ \t] );")
_ACCOUNT_END = re.compile(r"\t|  ")
_NOTED_DATES = re.compile(r"[ \t;]*\[([0-9][^\]=]*)?(?:=([^\]]*))?\]")
_UUID = re.compile(r"\bUUID:+[ \t]+(\S+)")
_STATES: dict[str, State] = {"": "", "*": "*", "!": "!"}
_MARKS = {"(": ")", "[": "]", "<": ">"}


class Kind(Enum):
    """How a posting counts: in the books, beside them but balanced, or beside them alone."""

    REAL = "real"
    BALANCED = "[balanced virtual]"
    UNBALANCED = "(unbalanced virtual)"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a posting's amount was exchanged for: ``total`` has the sign of the amount.

    ``unit_decimals`` are the decimals of a price per unit, None where the total was written.
    """

    total: Amount
    unit_decimals: int | None


@dataclass(frozen=True, slots=True)
class PostingLine:
    """One posting as written; ``asserted`` is the balance it says the account then has.

    ``asserted_alone`` says that the account then has nothing else (``==``), and
    ``asserted_below`` that the accounts below it count as well (``=*``).
    """

    account: str
    kind: Kind
    amount: Amount | None = None
    cost: Cost | None = None
    asserted: Amount | None = None
    asserted_alone: bool = False
    asserted_below: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an entry; ``value_date`` is None where it has no auxiliary date."""

    booking_date: date
    value_date: date | None
    state: State
    code: str | None
    payee: str
    note: str = ""


def read_header(text: str, commodities: Commodities) -> Header:
    """Read an entry's first line.

    Raises:
        UnreadableError: it does not begin with a date.
    """
    found = _HEADER.fullmatch(text)
    if not found:
        raise UnreadableError("an entry does not begin with a date")
    other_day = found["other_day"]
    rest = found["late_state"] + found["rest"] if found["state"] else found["rest"]
    note_start = _NOTE.search(rest)
    payee_end = note_start.start() if note_start else len(rest)
    booking_date = commodities.read_day(found["day"])
    return Header(
        booking_date=booking_date,
        value_date=None if other_day is None else _day_of(booking_date, other_day, commodities),
        state=_STATES[found["state"] or found["late_state"]],
        code=found["code"],
        payee=rest[:payee_end].strip(),
        note=rest[note_start.end() :] if note_start else "",
    )


def with_note(header: Header, note: str, commodities: Commodities) -> Header:
    """Return the header with the dates that a note begins with, if it does."""
    booking_date, value_date = noted_dates(note, header.booking_date, commodities)
    return replace(
        header,
        booking_date=booking_date or header.booking_date,
        value_date=value_date or header.value_date,
    )


def noted_dates(
    note: str, booking_date: date, commodities: Commodities
) -> tuple[date | None, date | None]:
    """Return the date and the auxiliary date that a note begins with: ``[date=other date]``.

    A date without its year is in that of the entry's ``booking_date``.
    """
    found = _NOTED_DATES.match(note)
    if not found or (found[1] is None and found[2] is None):
        return None, None
    noted = (
        None if day is None else _day_of(booking_date, day.strip(), commodities)
        for day in found.groups()
    )
    noted_day, value_date = noted
    return noted_day, value_date


def noted_uuid(note: str) -> str | None:
    """Return the UUID a note gives its entry: ledger drops a second entry of the same one."""
    found = _UUID.search(note)
    return found[1] if found else None


def read_posting(text: str, commodities: Commodities) -> PostingLine:
    """Read a posting line without its indentation.

    Raises:
        UnreadableError: it is no posting that can be read exactly.
    """
    text = text[1:].lstrip(" \t") if text[:1] in {"*", "!"} else text
    split = _ACCOUNT_END.search(text)
    account, kind = _read_account(text[: split.start()] if split else text)
    line = PostingLine(account, kind)
    scanner = Scanner(text, split.end() if split else len(text))
    scanner.skip_blanks()
    if not (scanner.at_end() or scanner.sees(";") or scanner.sees("=")):
        amount = commodities.read(scanner, shows_style=True)
        line = replace(line, amount=amount, cost=_read_cost(scanner, amount, commodities))
    scanner.skip_blanks()
    if scanner.take("="):
        line = replace(line, asserted_alone=scanner.take("="), asserted_below=scanner.take("*"))
        asserted = commodities.read(scanner, shows_style=True)
        cost = _read_cost(scanner, asserted, commodities)
        if cost and line.amount is None:
            raise UnreadableError("a balance is assigned at a cost")
        line = replace(line, asserted=asserted)
    for read in (line.amount, line.asserted, line.cost.total if line.cost else None):
        if read and read.commodity in commodities.converted:
            raise UnreadableError(f"amounts of {read.commodity} are converted to another unit")
    scanner.skip_blanks()
    if scanner.take(";"):
        return replace(line, note=scanner.text[scanner.place :])
    if not scanner.at_end():
        raise UnreadableError("a posting goes on behind its amount")
    return line


def read_account_name(name: str) -> str:
    """Return the account's name if it can be one.

    Raises:
        UnreadableError: it has empty parts, blanks around it, or control characters.
    """
    parts = name.split(":")
    if not all(part.strip() for part in parts) or name != name.strip():
        raise UnreadableError("an account's name has an empty part or blanks around it")
    if len(name) > NAME_LENGTH_MAX or has_controls(name):
        raise UnreadableError("an account's name is too long or has control characters")
    if ";" in name or name[0] in "#%|*!([<":
        raise UnreadableError("an account's name looks like a comment or is not closed")
    if parts[0] == RESERVED_ROOT:
        raise UnreadableError(f"accounts in {RESERVED_ROOT} are this importer's own")
    return name


def _day_of(booking_date: date, text: str, commodities: Commodities) -> date:
    """Read a date, in the year of the booking date where it has none."""
    mark = next((mark for mark in "/.-" if mark in text), "/")
    whole = re.match("[0-9]{4}", text)
    return commodities.read_day(text if whole else f"{booking_date.year:04}{mark}{text}")


def _read_account(text: str) -> tuple[str, Kind]:
    """Read an account and, from the marks around it, how the posting counts."""
    name = text.strip()
    if not name:
        raise UnreadableError("a posting has no account")
    if _MARKS.get(name[0]) != name[-1] or len(name) == 1:
        return read_account_name(name), Kind.REAL
    if name[0] == "<":
        raise UnreadableError("a posting is deferred")
    kind = Kind.UNBALANCED if name[0] == "(" else Kind.BALANCED
    return read_account_name(name[1:-1]), kind


def _read_cost(scanner: Scanner, amount: Amount, commodities: Commodities) -> Cost | None:
    """Read ``@ price``, ``@@ total`` or their forms in parentheses, if one is next."""
    scanner.skip_blanks()
    in_parentheses = scanner.take("(")
    if not scanner.take("@"):
        if in_parentheses:
            raise UnreadableError("an amount is followed by something in parentheses")
        return None
    per_unit = not scanner.take("@")
    if in_parentheses and not scanner.take(")"):
        raise UnreadableError("a cost's closing parenthesis is missing")
    scanner.skip_blanks()
    scanner.take("=")
    price = commodities.read(scanner, shows_style=False)
    if price.number < 0:
        raise UnreadableError("a cost is negative")
    if price.commodity == amount.commodity:
        raise UnreadableError("a cost is in the commodity of its amount")
    if price.lot and amount.lot and amount.lot.price is not None:
        raise UnreadableError("a lot is exchanged for a lot")
    number = price.number * (amount.number if per_unit else _sign_of(amount.number))
    return Cost(replace(price, number=number), price.decimals if per_unit else None)


def _sign_of(number: Fraction) -> int:
    """Return the sign of a number; ledger takes a total as it is where nothing is exchanged."""
    return -1 if number < 0 else 1
