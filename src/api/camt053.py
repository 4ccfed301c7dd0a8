"""Bank statements read from ISO 20022 camt.053 files, versions 001.01 to 001.14.

Bytes in, frozen statements out: nothing is booked here. Whatever cannot be read with certainty is
refused, never guessed, and a refusal shows figures and places but no other content of the file.

Deliberately does not know: the ledger, which statements it already holds, or what an entry is
booked against.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date
from decimal import Decimal
from hashlib import sha256
from itertools import pairwise
from typing import Literal

import msgspec

from api.camt053_xml import FILE_SIZE_MAX, Camt053Refused, Element, parse
from ledger_core import currencies

AMOUNT_DIGITS_MAX = 18
"""Digits in one amount, from the schemas."""

_AMOUNT = re.compile(r"(-?)(?=\.?[0-9])([0-9]*)\.?([0-9]*)")
_DATE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?"
    r"(?:Z|[+-][0-9]{2}:[0-9]{2})?"
)
_NUMBER = re.compile(r"[0-9]{1,18}")
_NO_BALANCE_STATUSES = frozenset({"PDNG", "INFO", "FUTR"})


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
    document = parse(data)
    for name in ("BkToCstmrStmt", "BkToCstmrStmtV01"):
        message = document.one(name)
        if message is not None:
            message.required("Stmt")
            return tuple(_statement(each, message) for each in message.all("Stmt"))
    raise document.refused("not_camt053")


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


def _statement(element: Element, message: Element) -> BankStatement:
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


def _account_id(element: Element) -> str:
    """IBAN, or else the identification that the bank uses."""
    for path in (("IBAN",), ("Othr", "Id"), ("BBAN",), ("UPIC",), ("PrtryAcct", "Id")):
        value = element.value(*path)
        if value is not None:
            return value.replace(" ", "") if path == ("IBAN",) else value
    raise element.refused("element_missing")


def _opening_and_closing(element: Element, *, is_page: bool) -> tuple[Element, Element]:
    """Find the balances between which the entries lie.

    Opening is OPBD, or PRCD (previously closed) in its place; closing is CLBD. A page of a longer
    statement may have the interim balance ITBD for either, or the first and second for both. A
    statement of available balances alone lies between OPAV and CLAV.
    """
    balances: dict[str | None, list[Element]] = {}
    for balance in element.all("Bal"):
        code = balance.value("Tp", "CdOrPrtry", "Cd") or balance.value("Tp", "Cd")
        balances.setdefault(code, []).append(balance)
    openings = _first(balances.get("OPBD", [])) or _first(balances.get("PRCD", []))
    closings = _last(balances.get("CLBD", []))
    if not (openings or closings or "ITBD" in balances):
        openings, closings = _first(balances.get("OPAV", [])), _last(balances.get("CLAV", []))
    if not (openings and closings):
        interim = balances.get("ITBD", []) if is_page else []
        if len(interim) + bool(openings) + bool(closings) != len(("opening", "closing")):
            raise element.refused("balance_ambiguous" if interim else "balance_missing")
        openings = openings or interim[:1]
        closings = closings or interim[-1:]
    return openings[0], closings[0]


def _first(balances: list[Element]) -> list[Element]:
    """The earliest of the balances of one kind; a statement may give those of each of its days."""
    return _outermost(balances, min)


def _last(balances: list[Element]) -> list[Element]:
    """The latest of the balances of one kind."""
    return _outermost(balances, max)


def _outermost(
    balances: list[Element], outermost: Callable[[Iterable[date]], date]
) -> list[Element]:
    """The one balance of that date; those with a sub-type are parts of one without."""
    whole = [balance for balance in balances if balance.one("Tp", "SubTp") is None] or balances
    days = [_date(balance.one("Dt")) or date.min for balance in whole]
    chosen = [each for each, day in zip(whole, days, strict=True) if day == outermost(days)]
    if len(chosen) > 1:
        raise chosen[1].refused("balance_ambiguous")
    return chosen


def _balance(element: Element, currency: str) -> StatementBalance:
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


def _entry(element: Element, index: int, currency: str, closing_date: date) -> StatementEntry:
    """One booked ``Ntry``; a batch is one entry, whatever it says of its transactions."""
    amount = _amount(element, currency)
    if amount < 0:
        raise element.required("Amt").refused("amount_invalid")
    booking_date = _date(element.one("BookgDt"))
    reversal = element.value("RvslInd")
    if reversal not in {None, "true", "false", "1", "0"}:
        raise element.required("RvslInd").refused("value_invalid")
    _check_details(element, amount, currency)
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


def _check_details(entry: Element, amount: Decimal, currency: str) -> None:
    """Check that an entry's transactions come to its amount, where they say what they come to.

    They do where each has an amount in the account's currency and no charges are mentioned. Where
    only some of a batch's transactions are listed, they may come to less.

    Raises:
        Camt053Refused: ``details_mismatch``, with the entry's amount and the transactions'.
    """
    batches = entry.all("NtryDtls")
    transactions = [transaction for batch in batches for transaction in batch.all("TxDtls")]
    total = Decimal()
    for transaction in transactions:
        found = _transaction_amount(transaction, currency)
        if found is None or entry.all("Chrgs") or transaction.all("Chrgs"):
            return
        side = transaction.value("CdtDbtInd") or entry.value("CdtDbtInd")
        total += found if side == entry.value("CdtDbtInd") else -found
    if not transactions or total == amount:
        return
    stated = [batch.value("Btch", "NbOfTxs") for batch in batches]
    is_partial = any(count not in (None, str(len(transactions))) for count in stated)
    if not is_partial or total > amount:
        first = transactions[0]
        raise Camt053Refused(
            "details_mismatch", path=first.path(), line=first.line, expected=amount, found=total
        )


def _transaction_amount(transaction: Element, currency: str) -> Decimal | None:
    """What a transaction comes to, if it says so in the account's currency."""
    holder = transaction if transaction.all("Amt") else transaction.one("AmtDtls", "TxAmt")
    if holder is None or not holder.all("Amt") or holder.required("Amt").currency != currency:
        return None
    return _amount(holder, currency)


def _is_booked(element: Element) -> bool:
    """Whether the entry is part of the balance; so is one without a status, in this message."""
    if element.one("Sts") is None:
        return True
    status = element.value("Sts", "Cd") or element.value("Sts")
    if status == "BOOK":
        return True
    if status in _NO_BALANCE_STATUSES:
        return False
    raise element.required("Sts").refused("status_unknown")


def _first_reference(entry: Element, name: str) -> str | None:
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


def _bank_transaction_code(element: Element | None) -> str | None:
    """Domain, family and sub-family such as ``PMNT/RCDT/ESCT``, or else the bank's own code."""
    if element is None:
        return None
    codes = (
        element.value("Domn", "Cd"),
        element.value("Domn", "Fmly", "Cd"),
        element.value("Domn", "Fmly", "SubFmlyCd"),
    )
    return "/".join(filter(None, codes)) or element.value("Prtry", "Cd")


def _side(element: Element) -> Literal["credit", "debit"]:
    """Side of the holder's account."""
    match _required_value(element, "CdtDbtInd"):
        case "CRDT":
            return "credit"
        case "DBIT":
            return "debit"
        case _:
            raise element.required("CdtDbtInd").refused("value_invalid")


def _amount(element: Element, currency: str) -> Decimal:
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


def _date(element: Element | None) -> date | None:
    """Date of a ``Dt`` or ``DtTm`` choice, as the bank wrote it; a time zone does not move it."""
    if element is None:
        return None
    day = element.one("Dt")
    if day is None:
        return _calendar_date(element.one("DtTm") or element)
    return _calendar_date(day)


def _date_time(element: Element | None) -> date | None:
    """Date of a point in time, as the bank wrote it."""
    return None if element is None else _calendar_date(element)


def _calendar_date(element: Element) -> date:
    """Date, with a time or without, which must exist in the calendar."""
    parts = _DATE.fullmatch(element.text.strip())
    try:
        return date.fromisoformat("" if parts is None else parts[1])
    except ValueError:
        raise element.refused("value_invalid") from None


def _number(text: str, element: Element) -> int:
    """Sequence or page number."""
    if _NUMBER.fullmatch(text) is None:
        raise element.refused("value_invalid")
    return int(text)


def _required_value(element: Element, name: str) -> str:
    """Text of a child that must be there once and not be empty."""
    value = element.value(name)
    if value is None:
        raise Camt053Refused("element_missing", path=f"{element.path()}/{name}", line=element.line)
    return value
