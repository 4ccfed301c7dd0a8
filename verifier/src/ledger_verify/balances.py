"""The balances that an export states, held against those that its own events amount to."""

import re
from collections.abc import Iterable, Iterator

from ledger_verify.books import Account, Books
from ledger_verify.findings import Finding, Report, shown
from ledger_verify.lines import whole_lines
from ledger_verify.plain import Malformed, parse_object, text_of

BALANCES = "balances.jsonl"
SUMS = ("debits_posted", "credits_posted", "debits_held", "credits_held")

_AMOUNT = re.compile(r"0|[1-9][0-9]{0,59}")
_FIELDS = {"account", "currency", *SUMS}


def compare(report: Report, books: Books, blocks: Iterator[bytes]) -> bool:
    """Compare every line with the account, and every account with the lines; whether all agree."""
    count_before, left, last = report.findings_count, set(books.accounts), b""
    for line_no, line in enumerate(_each(report, blocks), 1):
        account_id = _named(line)
        try:
            _check(books, line)
            if account_id is None or account_id <= last:
                raise Malformed("accounts that are not in the order of their ids, each once")  # noqa: TRY301 - one way out
            last = account_id
        except Malformed as error:
            what = f"{BALANCES}, line {line_no}: {error}"
            name = None if account_id is None else shown(account_id)
            report.doubt(Finding("balance", what, member=BALANCES, line=line_no, account=name))
        left.discard(account_id or b"")
    for account_id in sorted(left):
        name = shown(account_id)
        what = f"{BALANCES} does not have account {name}"
        report.doubt(Finding("balance", what, member=BALANCES, account=name))
    return report.findings_count == count_before


def _each(report: Report, blocks: Iterator[bytes]) -> Iterable[bytes]:
    """Every line."""
    try:
        for text, rest in whole_lines(blocks):
            if text is not None:
                yield from text.split(b"\n")
            elif rest:
                what = f"the last line of {BALANCES} has no end"
                report.doubt(Finding("balance", what, member=BALANCES))
                yield rest
    except Malformed as error:
        report.doubt(Finding("balance", f"{BALANCES}: {error}", member=BALANCES))


def _check(books: Books, line: bytes) -> None:
    """Compare one line.

    Raises:
        Malformed: it is malformed, or says something else than the events.
    """
    stated = parse_object(line)
    if stated.keys() != _FIELDS:
        raise Malformed("not the fields of a balance")
    account_id = text_of(stated, "account").encode("utf-8", "surrogatepass")
    account = books.accounts.get(account_id)
    if account is None:
        raise Malformed(f"account {shown(account_id)} was never opened")
    if text_of(stated, "currency").encode("utf-8", "surrogatepass") != account.currency:
        raise Malformed(f"account {shown(account_id)} is kept in another currency")
    for name in SUMS:
        said, found = text_of(stated, name), _sum(account, name)
        if _AMOUNT.fullmatch(said) is None:
            raise Malformed(f"{name} is no amount")
        if int(said) != found:
            raise Malformed(
                f"account {shown(account_id)} has {name} {shown(said)},"
                f" the events amount to {found}"
            )


def _sum(account: Account, name: str) -> int:
    """One of an account's sums."""
    return int(getattr(account, name))


def _named(line: bytes) -> bytes | None:
    """The account that a line names, if it can be read."""
    try:
        return text_of(parse_object(line), "account").encode("utf-8", "surrogatepass")
    except Malformed:
        return None
