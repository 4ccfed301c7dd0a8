"""Bank statements read from ISO 20022 camt.053 files, versions 001.01 to 001.14.

Bytes in, frozen statements out: nothing is booked here. Whatever cannot be read with certainty is
refused, never guessed, and a refusal shows figures and places but no other content of the file.

Only the elements named in ``_READ`` are kept while parsing. Names, addresses and remittance texts
are not among them, so that personal data never reaches a plan. Document types and entities are
refused: a statement needs none, and they are how XML is made to grow or to reach for other files.

Deliberately does not know: the ledger, which statements it already holds, or what an entry is
booked against.
"""

import re
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from typing import Literal
from xml.parsers import expat

import msgspec

from ledger_core import currencies

FILE_SIZE_MAX = 64 * 1024 * 1024
"""Bytes in one file: some 35,000 entries as banks write them."""

ELEMENTS_MAX = 1_000_000
"""Elements kept of one file: some 40,000 entries, and it bounds the memory that reading takes."""

DEPTH_MAX = 64
"""Elements within each other; the schemas need fewer than 20."""

TEXT_LENGTH_MAX = 255
"""Characters in one value that is read; the schemas allow at most 140, mostly 35."""

AMOUNT_DIGITS_MAX = 18
"""Digits in one amount, from the schemas."""

_REASONS = {
    "too_large": "the file is larger than 64 MiB or has more than 1,000,000 elements",
    "not_xml": "the file is not well-formed XML",
    "encoding_unknown": "the file declares a character encoding that no bank needs",
    "doctype": "the file declares a document type, which a statement never needs",
    "too_deep": "elements are nested too deeply",
    "not_camt053": "the file is not a camt.053 message of version 001.01 to 001.14",
    "element_missing": "an element that is needed is missing",
    "element_repeated": "an element that may occur once is repeated",
    "value_invalid": "a value is not of the kind that the standard allows here",
    "value_too_long": "a value is too long",
    "amount_invalid": "an amount is not a plain decimal number of at most 18 digits",
    "amount_too_precise": "an amount has more decimals than its currency",
    "currency_unknown": "the currency has no minor unit in ISO 4217",
    "currency_differs": "an amount is not in the account's currency",
    "status_unknown": "the entry's status does not say whether it is booked",
    "balance_missing": "the statement does not give an opening and a closing balance",
    "balance_ambiguous": "the statement gives several balances of the same kind",
    "dates_reversed": "the closing balance is dated before the opening balance",
    "closing_mismatch": "opening balance and entries do not give the closing balance",
    "does_not_continue": "the opening balance is not the previous closing balance",
    "statements_overlap": "the statement begins before the previous one ends",
    "statement_differs": "the statement is there twice with different content",
}
"""Each reason for which a file is refused, and what it says to a person."""

_READ = frozenset(
    """
    BkToCstmrStmt BkToCstmrStmtV01 GrpHdr CreDtTm MsgPgntn PgNb
    Stmt Id StmtPgntn ElctrncSeqNb LglSeqNb FrToDt FrDtTm ToDtTm
    Acct IBAN Othr BBAN UPIC PrtryAcct Ccy Bal Tp CdOrPrtry Cd Prtry Amt CdtDbtInd Dt DtTm
    Ntry NtryRef RvslInd Sts BookgDt ValDt AcctSvcrRef BkTxCd Domn Fmly SubFmlyCd
    NtryDtls TxDtls Refs EndToEndId TxId
    """.split()  # noqa: SIM905 - forty-five lines of one name each are harder to compare.
)
"""Every element that is kept; any other is skipped with all that is in it."""

_ENCODINGS = frozenset({"utf-8", "utf-16", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"})
"""Character encodings that are read; Python knows others that are no encoding of text at all."""

_CHUNK_SIZE = 64 * 1024
_NAMESPACE = re.compile(r"urn:iso:std:iso:20022:tech:xsd:camt\.053\.001\.(0[1-9]|1[0-4])")
_AMOUNT = re.compile(r"(-?)(?=\.?[0-9])([0-9]*)\.?([0-9]*)")
_DATE = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:Z|[+-][0-9]{2}:[0-9]{2})?")
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
_NUMBER = re.compile(r"[0-9]{1,18}")
_NO_BALANCE_STATUSES = frozenset({"PDNG", "INFO", "FUTR"})

Figure = Decimal | date


class Camt053Refused(Exception):  # noqa: N818 - a refusal, named as the ledger's refusals are.
    """A file, or a statement in it, that must not be imported.

    ``reason`` is a stable code. ``path`` (an XPath) and ``line`` say where in the file; they are
    empty and 0 where it is a matter of whole statements, which ``statement_id`` then names.
    ``expected`` and ``found`` are the figures that differ, if it is a matter of figures.
    """

    def __init__(  # noqa: PLR0913 - each is one fact of the refusal.
        self,
        reason: str,
        *,
        path: str = "",
        line: int = 0,
        statement_id: str | None = None,
        expected: Figure | None = None,
        found: Figure | None = None,
    ) -> None:
        self.reason = reason
        self.path = path
        self.line = line
        self.statement_id = statement_id
        self.expected = expected
        self.found = found
        place = f" ({path}, line {line})" if path else f" (line {line})" if line else ""
        figures = "" if expected is None else f": expected {expected}, found {found}"
        super().__init__(f"{_REASONS[reason]}{figures}{place}")


class StatementBalance(msgspec.Struct, frozen=True):
    """What the bank says the account held at a date.

    ``amount`` is in major units; positive in the holder's favour, negative overdrawn.
    """

    amount: Decimal
    balance_date: date


class StatementEntry(msgspec.Struct, frozen=True):
    """One booked entry.

    ``index`` is its place among all entries of the statement, from 0. ``amount`` is in major units
    and never negative; an entry of 0, which the standard allows and banks use for notices, moves
    nothing. ``side`` is the bank's view of the holder's account: credit is money in. It already is
    the direction of a reversal: ``is_reversal`` only says that the original went the other way.

    ``booking_date`` is the statement's closing date where the bank gives none; ``value_date`` falls
    back to the booking date, then to the closing date. The references are those of the entry's
    first transaction that has one; the standard's filler ``NOTPROVIDED`` is none.
    """

    index: int
    amount: Decimal
    side: Literal["credit", "debit"]
    booking_date: date
    value_date: date
    is_reversal: bool
    entry_reference: str | None
    servicer_reference: str | None
    end_to_end_id: str | None
    transaction_id: str | None
    bank_transaction_code: str | None


class BankStatement(msgspec.Struct, frozen=True):
    """One statement, or one page of one, on one account in one currency.

    ``entries`` are the booked ones in the file's order: pending, future and informative entries are
    no part of the balance. ``account_id`` is the IBAN, or whatever else the bank calls the account.
    ``period_from`` and ``period_to`` (both inclusive) are what the bank says was asked for.
    """

    statement_id: str
    account_id: str
    currency: str
    opening: StatementBalance
    closing: StatementBalance
    entries: tuple[StatementEntry, ...]
    created_at: str | None
    period_from: date | None
    period_to: date | None
    sequence_number: int | None
    page_number: int | None


def read_camt053(data: bytes) -> tuple[BankStatement, ...]:
    """Statements of one file, in its order.

    They are not yet judged: see ``check_statement``, ``order_statements``, ``check_continues``.

    Raises:
        Camt053Refused: the file is not a camt.053 message that can be read with certainty.
    """
    if len(data) > FILE_SIZE_MAX:
        raise Camt053Refused("too_large")
    document = _parse(data)
    for name in ("BkToCstmrStmt", "BkToCstmrStmtV01"):
        message = document.one(name)
        if message is not None:
            message.required("Stmt")
            return tuple(_statement(each, message) for each in message.all("Stmt"))
    raise document.refused("element_missing")


def check_statement(statement: BankStatement) -> None:
    """Check that opening balance and entries give the closing balance exactly.

    Raises:
        Camt053Refused: ``closing_mismatch``; expected is opening balance and entries, found is the
            closing balance that the statement gives.
    """
    expected = statement.opening.amount + sum(
        (entry.amount if entry.side == "credit" else -entry.amount for entry in statement.entries),
        start=Decimal(),
    )
    if expected != statement.closing.amount:
        raise Camt053Refused(
            "closing_mismatch",
            statement_id=statement.statement_id,
            expected=expected,
            found=statement.closing.amount,
        )


def check_continues(previous: StatementBalance | None, statement: BankStatement) -> None:
    """Check that the statement begins where the account's previous one closed.

    ``previous`` is that one's closing balance; the first statement of an account has none and
    continues anything. Days without a statement (see ``days_missing``) are no fault as such: banks
    send none for days without entries, and the balance then is the same.

    Raises:
        Camt053Refused: ``does_not_continue`` (expected is the previous closing balance, found the
            opening balance), then ``statements_overlap`` (the dates).
    """
    if previous is None:
        return
    if previous.amount != statement.opening.amount:
        raise Camt053Refused(
            "does_not_continue",
            statement_id=statement.statement_id,
            expected=previous.amount,
            found=statement.opening.amount,
        )
    _check_begins_after(previous, statement)


def days_missing(previous: StatementBalance, statement: BankStatement) -> int:
    """Whole days between the previous closing balance and the statement's first day; 0 if none."""
    return max(0, (first_day(statement) - previous.balance_date - timedelta(days=1)).days)


def order_statements(statements: Iterable[BankStatement]) -> list[BankStatement]:
    """Statements by account and currency, then by date, whatever order their files came in.

    A statement that is there twice is kept once.

    Raises:
        Camt053Refused: ``statement_differs`` (the same statement twice with different content),
            then ``statements_overlap`` (expected is the last day before it, found its first).
    """
    known: dict[str, BankStatement] = {}
    for statement in statements:
        first = known.setdefault(statement_key(statement), statement)
        if msgspec.structs.replace(first, created_at=statement.created_at) != statement:
            raise Camt053Refused("statement_differs", statement_id=statement.statement_id)
    ordered = sorted(known.values(), key=_place_in_order)
    for before, after in pairwise(ordered):
        if _account(before) == _account(after) and not _is_later_page(before, after):
            _check_begins_after(before.closing, after)
    return ordered


def statement_key(statement: BankStatement) -> str:
    """Identity of a statement (or a page of one) in 72 characters of printable ASCII.

    Made of what says which statement it is: account, currency, the bank's id, sequence and page
    number, and the dates of its balances, because some banks use an id again. Not made of amounts
    or entries: a copy that was changed is the same statement, and is thus found to differ.
    """
    identity = (
        statement.account_id,
        statement.currency,
        statement.statement_id,
        statement.sequence_number,
        statement.page_number,
        statement.opening.balance_date,
        statement.closing.balance_date,
    )
    return f"camt053:{sha256(msgspec.json.encode(identity)).hexdigest()}"


def entry_key(statement: BankStatement, entry: StatementEntry) -> str:
    """Idempotency key of an entry, at most 255 characters of printable ASCII.

    The statement's key and the entry's place in it: the same whenever the file is read again, and
    different for two entries that are alike in everything, because they are two movements.
    """
    return f"{statement_key(statement)}:{entry.index}"


def _account(statement: BankStatement) -> tuple[str, str]:
    """Identify what a chain of statements is about."""
    return statement.account_id, statement.currency


def _place_in_order(statement: BankStatement) -> tuple[str, str, date, date, int, int, str, str]:
    """Sort by account, then date, then what tells statements of one day and pages apart."""
    return (
        *_account(statement),
        statement.closing.balance_date,
        first_day(statement),
        statement.sequence_number or 0,
        statement.page_number or 0,
        statement.created_at or "",
        statement.statement_id,
    )


def first_day(statement: BankStatement) -> date:
    """First day of the statement.

    The opening balance bears the date of that day, or of the last one before it: hence the later of
    this date and the period's, if it is given.
    """
    return max(statement.opening.balance_date, statement.period_from or date.min)


def _is_later_page(before: BankStatement, after: BankStatement) -> bool:
    """Whether both are pages of one statement: they share its dates."""
    return before.statement_id == after.statement_id and (
        (before.page_number or 0) < (after.page_number or 0)
    )


def _check_begins_after(previous: StatementBalance, statement: BankStatement) -> None:
    """Refuse a statement with days before the previous closing; one may begin on that very day."""
    if first_day(statement) < previous.balance_date:
        raise Camt053Refused(
            "statements_overlap",
            statement_id=statement.statement_id,
            expected=previous.balance_date,
            found=first_day(statement),
        )


class _Element:
    """An element that was kept: its text, its children by name, and where it stood."""

    __slots__ = ("children", "currency", "line", "name", "number", "parent", "text")

    def __init__(self, name: str, parent: "_Element | None", line: int, currency: str) -> None:
        self.name = name
        self.parent = parent
        self.line = line
        self.currency = currency
        self.text = ""
        self.children: dict[str, list[_Element]] | None = None
        self.number = 1
        if parent is not None:
            if parent.children is None:
                parent.children = {}
            siblings = parent.children.setdefault(name, [])
            siblings.append(self)
            self.number = len(siblings)

    def path(self) -> str:
        """XPath of the element within the document."""
        if self.parent is None:
            return f"/{self.name}"
        return f"{self.parent.path()}/{self.name}[{self.number}]"

    def refused(self, reason: str) -> Camt053Refused:
        """Make the refusal of what this element says."""
        return Camt053Refused(reason, path=self.path(), line=self.line)

    def all(self, name: str) -> "list[_Element]":
        """Children of that name, in order."""
        return [] if self.children is None else self.children.get(name, [])

    def one(self, *names: str) -> "_Element | None":
        """Descendant down that path, each step of which may occur once; ``None`` if absent."""
        element = self
        for name in names:
            found = element.all(name)
            if not found:
                return None
            if len(found) > 1:
                raise found[1].refused("element_repeated")
            element = found[0]
        return element

    def required(self, name: str) -> "_Element":
        """First child of that name, which must be there."""
        found = self.all(name)
        if not found:
            raise Camt053Refused("element_missing", path=f"{self.path()}/{name}", line=self.line)
        return found[0]

    def value(self, *names: str) -> str | None:
        """Text down that path with white space collapsed; ``None`` if absent or empty."""
        element = self.one(*names)
        if element is None:
            return None
        text = " ".join(element.text.split())
        if not text.isprintable():
            raise element.refused("value_invalid")
        return text or None


class _TreeBuilder:
    """What the parser calls: builds the tree of the elements in ``_READ``."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.parser = parser
        self.namespace = ""
        self.document: _Element | None = None
        self.current: _Element | None = None
        self.depth = 0
        self.depth_skipped = 0
        self.count = 0
        parser.buffer_text = True
        parser.XmlDeclHandler = self.check_encoding
        parser.StartDoctypeDeclHandler = self.refuse_doctype
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.add_text

    def check_encoding(self, _version: str, encoding: str | None, _standalone: int) -> None:
        """Refuse an encoding before it is looked up."""
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise Camt053Refused("encoding_unknown", line=self.parser.CurrentLineNumber)

    def refuse_doctype(self, *_declaration: object) -> None:
        """Refuse before any entity can be declared."""
        raise Camt053Refused("doctype", line=self.parser.CurrentLineNumber)

    def start(self, qualified_name: str, attributes: dict[str, str]) -> None:
        """Keep the element, or skip it and all within."""
        line = self.parser.CurrentLineNumber
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise Camt053Refused("too_deep", line=line)
        namespace, _, name = qualified_name.rpartition(" ")
        if self.document is None:
            if name != "Document" or _NAMESPACE.fullmatch(namespace) is None:
                raise Camt053Refused("not_camt053", line=line)
            self.namespace = namespace
            self.document = self.current = _Element(name, None, line, "")
        elif self.depth_skipped or name not in _READ or namespace != self.namespace:
            self.depth_skipped += 1
        else:
            self.count += 1
            if self.count > ELEMENTS_MAX:
                raise Camt053Refused("too_large", line=line)
            self.current = _Element(name, self.current, line, attributes.get("Ccy", ""))

    def end(self, _qualified_name: str) -> None:
        """Go back to the parent."""
        self.depth -= 1
        if self.depth_skipped:
            self.depth_skipped -= 1
        elif self.current is not None:
            self.current = self.current.parent

    def add_text(self, text: str) -> None:
        """Keep text, other than the white space between elements."""
        if self.depth_skipped or self.current is None or text.isspace():
            return
        self.current.text += text
        if len(self.current.text) > TEXT_LENGTH_MAX:
            raise self.current.refused("value_too_long")


def _parse(data: bytes) -> _Element:
    """Root of the file's tree; in chunks, so that a refusal ends the parsing at once."""
    parser = expat.ParserCreate(namespace_separator=" ")
    builder = _TreeBuilder(parser)
    try:
        for start in range(0, len(data), _CHUNK_SIZE):
            parser.Parse(data[start : start + _CHUNK_SIZE], False)  # noqa: FBT003 - positional only.
        parser.Parse(b"", True)  # noqa: FBT003 - positional only.
    except (expat.ExpatError, LookupError, ValueError):
        raise Camt053Refused("not_xml", line=parser.CurrentLineNumber) from None
    if builder.document is None:
        raise Camt053Refused("not_xml")
    return builder.document


def _statement(element: _Element, message: _Element) -> BankStatement:
    """One ``Stmt`` of the message."""
    account = element.required("Acct")
    page = element.value("StmtPgntn", "PgNb") or message.value("GrpHdr", "MsgPgntn", "PgNb")
    opening, closing = _opening_and_closing(element, is_page=page is not None)
    currency_element = account.one("Ccy")
    currency = account.value("Ccy") or opening.required("Amt").currency
    if currencies.exponent(currency) is None:
        raise (currency_element or opening.required("Amt")).refused("currency_unknown")
    opening_balance = _balance(opening, currency)
    closing_balance = _balance(closing, currency)
    if closing_balance.balance_date < opening_balance.balance_date:
        raise closing.refused("dates_reversed")
    number = element.value("ElctrncSeqNb") or element.value("LglSeqNb")
    return BankStatement(
        statement_id=_required_value(element, "Id"),
        account_id=_account_id(account.required("Id")),
        currency=currency,
        opening=opening_balance,
        closing=closing_balance,
        entries=tuple(
            _entry(entry, index, currency, closing_balance.balance_date)
            for index, entry in enumerate(element.all("Ntry"))
            if _is_booked(entry)
        ),
        created_at=element.value("CreDtTm") or message.value("GrpHdr", "CreDtTm"),
        period_from=_date_time(element.one("FrToDt", "FrDtTm")),
        period_to=_date_time(element.one("FrToDt", "ToDtTm")),
        sequence_number=None if number is None else _number(number, element),
        page_number=None if page is None else _number(page, element),
    )


def _account_id(element: _Element) -> str:
    """IBAN, or else the identification that the bank uses."""
    for path in (("IBAN",), ("Othr", "Id"), ("BBAN",), ("UPIC",), ("PrtryAcct", "Id")):
        value = element.value(*path)
        if value is not None:
            return value
    raise element.refused("element_missing")


def _opening_and_closing(element: _Element, *, is_page: bool) -> tuple[_Element, _Element]:
    """Find the balances between which the entries lie.

    Opening is OPBD, or PRCD (previously closed) in its place; closing is CLBD. A page of a longer
    statement may have the interim balance ITBD for either, or the first and second for both.
    """
    balances: dict[str | None, list[_Element]] = {}
    for balance in element.all("Bal"):
        code = balance.value("Tp", "CdOrPrtry", "Cd") or balance.value("Tp", "Cd")
        balances.setdefault(code, []).append(balance)
    for code in ("OPBD", "PRCD", "CLBD"):
        if len(balances.get(code, [])) > 1:
            raise balances[code][1].refused("balance_ambiguous")
    openings = balances.get("OPBD", []) or balances.get("PRCD", [])
    closings = balances.get("CLBD", [])
    if not (openings and closings):
        interim = balances.get("ITBD", []) if is_page else []
        if len(interim) + bool(openings) + bool(closings) != len(("opening", "closing")):
            raise element.refused("balance_ambiguous" if interim else "balance_missing")
        openings = openings or interim[:1]
        closings = closings or interim[-1:]
    return openings[0], closings[0]


def _balance(element: _Element, currency: str) -> StatementBalance:
    """One balance, signed.

    Some banks leave out ``CdtDbtInd``: the amount's own sign then says which side it is on, so
    that a plain amount is in the holder's favour. With the indicator, a sign contradicts it.
    """
    amount = _amount(element, currency)
    side = element.value("CdtDbtInd")
    if side is not None:
        if amount < 0:
            raise element.required("Amt").refused("amount_invalid")
        if _side(element) == "debit":
            amount = -amount
    balance_date = _date(element.one("Dt"))
    if balance_date is None:
        raise element.refused("element_missing")
    return StatementBalance(amount=amount, balance_date=balance_date)


def _entry(element: _Element, index: int, currency: str, closing_date: date) -> StatementEntry:
    """One booked ``Ntry``; a batch is one entry, whatever it says of its transactions."""
    amount = _amount(element, currency)
    if amount < 0:
        raise element.required("Amt").refused("amount_invalid")
    booking_date = _date(element.one("BookgDt"))
    reversal = element.value("RvslInd")
    if reversal not in {None, "true", "false", "1", "0"}:
        raise element.required("RvslInd").refused("value_invalid")
    return StatementEntry(
        index=index,
        amount=amount,
        side=_side(element),
        booking_date=booking_date or closing_date,
        value_date=_date(element.one("ValDt")) or booking_date or closing_date,
        is_reversal=reversal in {"true", "1"},
        entry_reference=_not_filler(element.value("NtryRef")),
        servicer_reference=_not_filler(element.value("AcctSvcrRef"))
        or _first_reference(element, "AcctSvcrRef"),
        end_to_end_id=_first_reference(element, "EndToEndId"),
        transaction_id=_first_reference(element, "TxId"),
        bank_transaction_code=_bank_transaction_code(element.one("BkTxCd")),
    )


def _is_booked(element: _Element) -> bool:
    """Whether the entry is part of the balance; so is one without a status, in this message."""
    if element.one("Sts") is None:
        return True
    status = element.value("Sts", "Cd") or element.value("Sts")
    if status == "BOOK":
        return True
    if status in _NO_BALANCE_STATUSES:
        return False
    raise element.required("Sts").refused("status_unknown")


def _first_reference(entry: _Element, name: str) -> str | None:
    """First reference of that name among the entry's transactions, which 001.01 does not wrap."""
    for details in (entry, *entry.all("NtryDtls")):
        for transaction in details.all("TxDtls"):
            reference = _not_filler(transaction.value("Refs", name))
            if reference is not None:
                return reference
    return None


def _not_filler(reference: str | None) -> str | None:
    """Drop what the standard puts where there is no reference."""
    return None if reference == "NOTPROVIDED" else reference


def _bank_transaction_code(element: _Element | None) -> str | None:
    """Domain, family and sub-family such as ``PMNT/RCDT/ESCT``, or else the bank's own code."""
    if element is None:
        return None
    codes = (
        element.value("Domn", "Cd"),
        element.value("Domn", "Fmly", "Cd"),
        element.value("Domn", "Fmly", "SubFmlyCd"),
    )
    return "/".join(filter(None, codes)) or element.value("Prtry", "Cd")


def _side(element: _Element) -> Literal["credit", "debit"]:
    """Side of the holder's account."""
    match _required_value(element, "CdtDbtInd"):
        case "CRDT":
            return "credit"
        case "DBIT":
            return "debit"
        case _:
            raise element.required("CdtDbtInd").refused("value_invalid")


def _amount(element: _Element, currency: str) -> Decimal:
    """Exact amount with the currency's decimals; negative only if it is written so."""
    text = _required_value(element, "Amt")
    amount = element.required("Amt")
    if amount.currency != currency:
        raise amount.refused("currency_differs")
    places = currencies.exponent(currency)
    parts = _AMOUNT.fullmatch(text)
    if places is None or parts is None or len(text) > AMOUNT_DIGITS_MAX + len("-."):
        raise amount.refused("amount_invalid")
    sign, whole, fraction = parts.groups()
    fraction = fraction.rstrip("0")
    if len(fraction) > places:
        raise amount.refused("amount_too_precise")
    minor = int(f"{sign}{whole or 0}{fraction.ljust(places, '0')}")
    return Decimal(minor).scaleb(-places)


def _date(element: _Element | None) -> date | None:
    """Date of a ``Dt`` or ``DtTm`` choice, as the bank wrote it; a time zone does not move it."""
    if element is None:
        return None
    day = element.one("Dt")
    if day is None:
        return _calendar_date(element.one("DtTm") or element, _DATE_TIME)
    return _calendar_date(day, _DATE)


def _date_time(element: _Element | None) -> date | None:
    """Date of a point in time, as the bank wrote it."""
    return None if element is None else _calendar_date(element, _DATE_TIME)


def _calendar_date(element: _Element, form: re.Pattern[str]) -> date:
    """Date in that form, which must exist in the calendar."""
    parts = form.fullmatch(element.text.strip())
    try:
        return date.fromisoformat("" if parts is None else parts[1])
    except ValueError:
        raise element.refused("value_invalid") from None


def _number(text: str, element: _Element) -> int:
    """Sequence or page number."""
    if _NUMBER.fullmatch(text) is None:
        raise element.refused("value_invalid")
    return int(text)


def _required_value(element: _Element, name: str) -> str:
    """Text of a child that must be there once and not be empty."""
    value = element.value(name)
    if value is None:
        raise Camt053Refused("element_missing", path=f"{element.path()}/{name}", line=element.line)
    return value
