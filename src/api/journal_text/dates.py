"""Dates as journals write them: year first, year left out, or day left out."""

import re
from datetime import date

from api.journal_text.model import UnreadableError

YEAR_MIN = 1400
"""The first year that ledger's calendar knows."""

YEAR_MAX = 9999

_DAY = re.compile(r"(?:([0-9]{4})([/.-]))?([0-9]{1,2})(?(1)(?:\2([0-9]{1,2}))?|[/.-]([0-9]{1,2}))")


def read_year(text: str) -> int:
    """Read a year of four digits.

    Raises:
        UnreadableError: it is something else.
    """
    if not re.fullmatch("[0-9]{4}", text) or not YEAR_MIN <= int(text) <= YEAR_MAX:
        raise UnreadableError("a year is not of four digits from 1400 on")
    return int(text)


def read_date(text: str, *, year: int | None, today: date) -> date:
    """Read ``Y/M/D``, ``M/D`` or ``Y/M`` (its first day), with ``/``, ``-`` or ``.`` between.

    A date without its year falls in ``year``; without that, in the latest year that does not put
    its month after the month of ``today``.

    Raises:
        UnreadableError: it is no such date.
    """
    found = _DAY.fullmatch(text)
    if not found:
        raise UnreadableError("a date is not of the form year/month/day or month/day")
    written_year, _, month, day, day_without_year = found.groups()
    if written_year:
        read = read_year(written_year), int(month), int(day or "1")
    else:
        inferred = year or today.year - (int(month) > today.month)
        read = inferred, int(month), int(day_without_year)
    try:
        return date(*read)
    except ValueError:
        raise UnreadableError("a date is not in the calendar") from None
