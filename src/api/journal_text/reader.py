"""Reads a journal from its first line to its last: directives, entries, rules, includes."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from api.journal_text import automated, directives, lines
from api.journal_text.balancing import Leg, balance, totals
from api.journal_text.lines import Kind
from api.journal_text.model import (
    CONVERSION_ACCOUNT,
    INCLUDE_DEPTH_MAX,
    LINE_LENGTH_MAX,
    POSTINGS_MAX,
    TEXT_LENGTH_MAX,
    Journal,
    JournalEntry,
    JournalPosting,
    JournalRefused,
    UnreadableError,
)
from api.journal_text.numbers import to_decimal
from api.journal_text.scope import Include, Scope

_BLANKS = (" ", "\t")
_COMMENTS = (";", "#", "%", "*", "|")
_DIGITS = frozenset("0123456789")
_CHECKS = ("assert", "check", "expr", "eval")


def read_journal(text: str, *, today: date, include: Include | None = None) -> Journal:
    """Read a plain-text journal (ledger's syntax) into balanced entries, or refuse all of it.

    ``today`` decides the year of dates without one, as nothing here reads a clock. ``include``
    returns the files that the journal names, and may raise ``UnreadableError`` to refuse one;
    without it, an include is refused.

    Each entry's postings sum to zero per commodity: where the journal balances at a cost or price,
    ``CONVERSION_ACCOUNT`` takes the other side of each commodity. Postings of zero are left out,
    and so are entries that move nothing.

    Raises:
        JournalRefused: something is wrong, ambiguous, or more than this importer reads.
    """
    reader = _Reader(Scope(today), include)
    reader.read(text)
    entries = tuple(reader.entries)
    commodities: dict[str, int] = {}
    for entry in entries:
        for posting in entry.postings:
            scale = max(commodities.get(posting.commodity, 0), _decimals(posting.amount))
            commodities[posting.commodity] = scale
    return Journal(entries=entries, commodities=commodities)


class _Lines:
    """The lines of one text, without the blanks at their ends, and the place among them."""

    def __init__(self, text: str) -> None:
        self.lines = [line.rstrip() for line in text.split("\n")]
        self.place = 0

    def __iter__(self) -> Iterator[str]:
        """Return every line that is not read as part of another."""
        while self.place < len(self.lines):
            self.place += 1
            yield self.lines[self.place - 1]

    def indented(self) -> Iterator[str]:
        """Return the indented lines that follow, up to a blank one, without their indentation."""
        while self.place < len(self.lines) and self.lines[self.place].startswith(_BLANKS):
            self.place += 1
            yield self.lines[self.place - 1].lstrip(" \t")


class _Reader:
    """A journal being read."""

    def __init__(self, scope: Scope, include: Include | None) -> None:
        self.scope = scope
        self.include = include
        self.entries: list[JournalEntry] = []
        self.rules: list[automated.Rule] = []
        self.uuids: set[str] = set()
        self.length = 0
        self.depth = 0

    def read(self, text: str) -> None:
        """Read one text.

        Raises:
            JournalRefused: with the line in this text.
        """
        self.length += len(text)
        if self.length > TEXT_LENGTH_MAX:
            raise JournalRefused(line=1, reason="the journal is too long")
        source = _Lines(text.removeprefix("\ufeff"))
        for place, line in enumerate(source.lines, start=1):
            if len(line) > LINE_LENGTH_MAX or "\0" in line:
                raise JournalRefused(line=place, reason="a line is too long or not text")
        open_before = len(self.scope.applied)
        for line in source:
            try:
                self._read_line(line, source, open_before)
            except UnreadableError as error:
                raise JournalRefused(line=source.place, reason=str(error)) from None
        del self.scope.applied[open_before:]

    def _read_line(self, line: str, source: _Lines, open_before: int) -> None:
        """Read what begins at a line."""
        if not line or line.startswith(_COMMENTS) or line.lstrip(" \t").startswith(";"):
            return
        if line.startswith(_BLANKS):
            raise UnreadableError("an indented line belongs to nothing")
        if line[0] in _DIGITS:
            self._read_entry(line, source)
        elif line[0] == "=":
            self._read_rule(line, source)
        elif line[0] == "~":
            self._skip_postings(source.indented())
        elif line.split(maxsplit=1)[0] in {"comment", "test"}:
            for inner in source:
                if inner.startswith(("end comment", "end test")):
                    break
        elif line.startswith(("include ", "include\t", "!include ", "@include ")):
            self._read_include(line.split(maxsplit=1)[1])
        else:
            directives.read(line, source.indented(), self.scope, open_before)

    def _read_include(self, path: str) -> None:
        """Read a file that the journal names."""
        if self.include is None:
            raise UnreadableError("other files are not included")
        if self.depth >= INCLUDE_DEPTH_MAX:
            raise UnreadableError("files include each other too deeply")
        quoted = len(path) > 1 and path[0] in "\"'" and path[-1] == path[0]
        including, scope = self.include, self.scope
        year, decimal_mark = scope.year, scope.commodities.decimal_mark
        self.depth += 1
        for included in including(path[1:-1] if quoted else path):
            self.include = included.include
            try:
                self.read(included.text)
            except JournalRefused as refused:
                reason = f"in an included file, line {refused.line}: {refused.reason}"
                raise UnreadableError(reason) from None
            scope.year, scope.commodities.decimal_mark = year, decimal_mark
        self.include = including
        self.depth -= 1

    def _skip_postings(self, indented: Iterable[str]) -> None:
        """Pass over postings that book nothing, noting only how they write their amounts."""
        for text in indented:
            if not text.startswith(";"):
                try:
                    lines.read_posting(text, self.scope.commodities)
                except UnreadableError:
                    continue

    def _read_rule(self, line: str, source: _Lines) -> None:
        """Read an automated entry; of one that is virtual, only which accounts it may touch."""
        predicate = line[1:].strip()
        templates: list[lines.PostingLine] = []
        virtual: list[str] = []
        for text in source.indented():
            word = text.partition(" ")[0]
            if word == "assert":
                raise UnreadableError("an automated entry asserts an expression")
            if not text or text.startswith(";") or word in _CHECKS:
                continue
            if text[0] in "([":
                virtual.append(text)
            else:
                template = lines.read_posting(text, self.scope.commodities)
                account = self.scope.account(template.account)
                if "$" in account or "%" in account:
                    raise UnreadableError("an automated entry computes the name of an account")
                templates.append(replace(template, account=account))
        self._skip_postings(virtual)
        self._note_uncertain(virtual)
        if templates:
            self.rules.append(automated.read_rule(predicate, templates))
        elif self.rules and predicate.endswith((" enable", " disable", " delete")):
            raise UnreadableError("an automated entry is switched on or off")

    def _note_uncertain(self, virtual: Iterable[str]) -> None:
        """Remember to which accounts automated virtual postings may go."""
        book = self.scope.book
        for text in virtual:
            name = text[1:].partition(")" if text[0] == "(" else "]")[0]
            if "$" in name or "%" in name:
                book.all_uncertain = True
            book.uncertain |= {name, self.scope.account(name)}

    def _read_entry(self, line: str, source: _Lines) -> None:
        """Read an entry and book it."""
        scope, place = self.scope, source.place
        header = lines.read_header(line, scope.commodities)
        header = lines.with_note(header, header.note, scope.commodities)
        uuid = lines.noted_uuid(header.note)
        written: list[Leg] = []
        for text in source.indented():
            word = text.partition(" ")[0]
            if word == "assert":
                raise UnreadableError("an entry asserts an expression")
            if text.startswith(";"):
                if not written:
                    header = lines.with_note(header, text[1:], scope.commodities)
                    uuid = lines.noted_uuid(text) or uuid
            elif text and word not in _CHECKS:
                written.append(self._read_leg(text, header, written))
        if uuid in self.uuids:
            raise UnreadableError("two entries have the same UUID")
        self.uuids |= {uuid} if uuid else set()
        self._book(place, header, written)

    def _read_leg(self, text: str, header: lines.Header, before: Sequence[Leg]) -> Leg:
        """Read a posting of an entry."""
        if len(before) >= POSTINGS_MAX:
            raise UnreadableError("an entry has too many postings")
        scope = self.scope
        line = lines.read_posting(text, scope.commodities)
        scope.check_bare(line)
        noted_day, _ = lines.noted_dates(line.note, header.booking_date, scope.commodities)
        line = replace(line, account=scope.account(line.account), amount=scope.at_rate(line))
        return scope.book.settle(line, before, noted_day or header.booking_date)

    def _book(self, place: int, header: lines.Header, written: Sequence[Leg]) -> None:
        """Balance an entry and keep it, if it moves anything."""
        if len(written) == 1 and not written[0].amount:
            return  # Nothing is moved: ledger leaves such an entry out.
        legs = balance(written, self.scope.bucket, self.scope.commodities)
        for rule in self.rules:
            legs = [*legs, *automated.apply(rule, written, legs)]
        self.scope.book.record(legs, header.booking_date)
        postings = _postings(leg for leg in legs if leg.kind is Kind.REAL)
        virtual_postings = _postings(leg for leg in legs if leg.kind is not Kind.REAL)
        sums = totals(leg.amount for leg in legs if leg.amount and leg.kind is Kind.REAL)
        conversions = _conversions(sums)
        if not postings:
            return
        self.entries.append(
            JournalEntry(
                line=place,
                booking_date=header.booking_date,
                value_date=header.value_date or header.booking_date,
                state=header.state,
                code=header.code,
                payee=header.payee,
                postings=postings + conversions,
                virtual_postings=virtual_postings,
            )
        )


def _postings(legs: Iterable[Leg]) -> tuple[JournalPosting, ...]:
    """Return the legs that move something as postings."""
    return tuple(
        JournalPosting(
            account=leg.account,
            amount=to_decimal(leg.amount.number),
            commodity=leg.amount.commodity,
            virtual=leg.kind is not Kind.REAL,
        )
        for leg in legs
        if leg.amount and leg.amount.number
    )


def _conversions(sums: dict[str, Fraction]) -> tuple[JournalPosting, ...]:
    """Return the other side of each commodity that does not sum to zero."""
    return tuple(
        JournalPosting(CONVERSION_ACCOUNT, to_decimal(-number), commodity, conversion=True)
        for commodity, number in sorted(sums.items())
        if number
    )


def _decimals(amount: Decimal) -> int:
    """Return the decimals of an amount that has no trailing zeros."""
    exponent = amount.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0
