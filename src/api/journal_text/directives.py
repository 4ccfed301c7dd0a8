"""Lines that are no entries: what they set, what can be passed over, and what is refused."""

import re
from collections.abc import Callable, Container, Iterable, Iterator

from api.journal_text.amounts import Scanner
from api.journal_text.dates import read_year
from api.journal_text.lines import read_account_name
from api.journal_text.model import UnreadableError
from api.journal_text.scope import Applied, Scope

_WITHOUT_EFFECT = frozenset({"check", "def", "define", "eval", "expr", "value"})
"""Directives of one line that change no posting."""

_BLOCKS_WITHOUT_EFFECT = {"payee": {"alias", "uuid"}, "tag": {"check"}}
"""Directives that change no posting, each with the words its indented lines begin with."""

_ACCOUNT_WORDS = {"alias", "check", "default", "eval", "expr", "note", "payee", "value"}
_WITHOUT_ARGUMENT = {"default", "nomarket"}
_COMMENTS = (";", "#", "*", "|")
_COMMODITY_WORDS = {"alias", "default", "format", "nomarket", "note", "value"}
_TIME = re.compile(r"[ \t]+(?:[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?[ \t]+)?")
_PRICE = re.compile(rf"(?P<day>[0-9/.-]+){_TIME.pattern}(?P<price>\D.*)")

_NOTE = re.compile(r"[ \t]*;.*")
_QUOTED = re.compile(r'"[^"]*"')
_DIGIT = re.compile("[0-9]")
_ENDING_MARK = re.compile("[0-9][.,](?![0-9])")

_LEGACY = re.compile(r"(?P<letter>[ACDNPYbh])[ \t]*(?P<rest>.*)")


def read(line: str, indented: Iterable[str], scope: Scope, open_before: int) -> None:
    """Read a directive and, where it may have them, its indented lines.

    ``open_before`` is the number of ``apply`` blocks that were open before this file.

    Raises:
        UnreadableError: it is unknown, or changes postings in a way not read here.
    """
    line = line[1:] if line[0] in "!@" else line
    word, _, argument = line.replace("\t", " ").partition(" ")
    argument = argument.strip()
    reader = _READERS.get(word)
    if word == "end":
        scope.close(argument, open_before)
    elif word in _BLOCKS_WITHOUT_EFFECT and argument:
        for _ in _block(indented, _BLOCKS_WITHOUT_EFFECT[word]):
            continue
    elif word == "account" and argument:
        _account(argument, indented, scope)
    elif word == "commodity" and argument:
        _commodity(argument, indented, scope)
    elif reader and argument:
        reader(argument, scope)
    elif word not in _WITHOUT_EFFECT:
        _legacy(line, scope)


def _legacy(line: str, scope: Scope) -> None:
    """Read a directive of one letter."""
    found = _LEGACY.fullmatch(line)
    rest = found["rest"].strip() if found else ""
    letter = found["letter"] if found else ""
    if letter in {"b", "h"} and line[1:2] in {" ", "\t", ""}:
        return
    if letter == "N" and rest and line[1:2] in {" ", "\t"}:
        return
    if letter == "P" and line[1:2] in {" ", "\t"}:
        _price(rest, scope)
    elif letter == "Y" and rest:
        _year(rest, scope)
    elif letter == "D" and rest:
        _default_commodity(rest, scope)
    elif letter == "C" and rest:
        _conversion(rest, scope)
    elif letter == "A" and rest and line[1:2] in {" ", "\t"}:
        _bucket(rest, scope)
    else:
        raise UnreadableError("a line is no directive that is read here")


def _apply(argument: str, scope: Scope) -> None:
    """Open a block that an ``end`` closes."""
    word, _, rest = argument.partition(" ")
    rest = rest.strip()
    if not rest:
        raise UnreadableError("an apply directive has no argument")
    if word == "account":
        account = read_account_name(scope.below(rest))
        scope.applied.append(Applied("account", account=account))
    elif word == "tag":
        if "UUID" in rest:
            raise UnreadableError("a UUID is applied to entries")
        scope.applied.append(Applied("tag"))
    elif word in {"fixed", "rate"}:
        scope.open_rate(rest)
    elif word == "year":
        scope.applied.append(Applied("year", year_before=scope.year))
        scope.year = read_year(rest)
    else:
        raise UnreadableError("an apply directive is of an unknown kind")


def _alias(argument: str, scope: Scope) -> None:
    """Let a name stand for an account."""
    if argument.startswith("/"):
        raise UnreadableError("an alias by a pattern is read in different ways")
    name, equals, account = argument.partition("=")
    if not equals or not name.strip():
        raise UnreadableError("an alias is not of the form NAME=ACCOUNT")
    scope.aliases[name.strip()] = read_account_name(scope.below(account.strip()))


def _bucket(argument: str, scope: Scope) -> None:
    """Set the account that takes the other side of an entry of one posting."""
    scope.bucket = scope.account(argument)


def _year(argument: str, scope: Scope) -> None:
    """Set the year of the dates below that have none."""
    scope.year = read_year(argument)


def _decimal_mark(argument: str, scope: Scope) -> None:
    """Set the decimal mark of all amounts below (hledger)."""
    mark = _NOTE.sub("", argument)
    if mark not in {".", ","}:
        raise UnreadableError("a decimal mark is neither a period nor a comma")
    scope.commodities.decimal_mark = mark


def _default_commodity(argument: str, scope: Scope) -> None:
    """Fix how a commodity is written."""
    scanner = Scanner(argument)
    amount = scope.commodities.read(scanner, shows_style=True)
    if not amount.commodity or not scanner.at_end():
        raise UnreadableError("a default commodity is not given by an amount of it")
    scope.commodities.lock(amount.commodity)
    scope.has_default_commodity = True


def _price(argument: str, scope: Scope) -> None:
    """Pass over a market price, which changes no posting, if it is one."""
    found = _PRICE.fullmatch(argument)
    if not found:
        raise UnreadableError("a price is not of the form DATE COMMODITY PRICE")
    scope.read_day(found["day"])
    scanner = Scanner(found["price"])
    if not scope.commodities.read_symbol(scanner):
        raise UnreadableError("a price is not that of a commodity")
    scanner.skip_blanks()
    if not scanner.sees("("):
        scope.commodities.read(scanner, shows_style=False)


def _conversion(argument: str, scope: Scope) -> None:
    """Note which units are converted into others, so that their amounts are refused."""
    larger, _, smaller = argument.partition("=")
    for text in (larger, smaller):
        scanner = Scanner(text)
        amount = scope.commodities.read(scanner, shows_style=False)
        if not amount.commodity or not scanner.at_end():
            raise UnreadableError("a conversion is not of the form AMOUNT = AMOUNT")
        scope.commodities.converted.add(amount.commodity)


def _account(argument: str, indented: Iterable[str], scope: Scope) -> None:
    """Read what is said of an account: its aliases, and whether it is the bucket."""
    for word, rest in _block(indented, _ACCOUNT_WORDS):
        if word == "alias":
            scope.aliases[rest] = scope.account(argument)
        elif word == "default":
            scope.bucket = scope.account(argument)
        elif word == "payee":
            scope.payees_name_accounts = True


def _commodity(argument: str, indented: Iterable[str], scope: Scope) -> None:
    """Read what is said of a commodity: its aliases and how it is written."""
    example = _NOTE.sub("", argument)
    if _DIGIT.search(_QUOTED.sub("", example)):
        scope.commodities.learn(example)
        commodity = ""
    else:
        commodity = scope.commodities.read_symbol(Scanner(example))
    for word, rest in _block(indented, _COMMODITY_WORDS):
        if word == "alias":
            symbol = rest[1:-1] if len(rest) > 1 and rest[0] == rest[-1] == '"' else rest
            scope.commodities.aliases[symbol] = commodity
        elif word == "format":
            if _ENDING_MARK.search(rest):
                scope.commodities.learn(rest)
                continue
            scanner = Scanner(rest)
            amount = scope.commodities.read(scanner, shows_style=True)
            if amount.commodity != commodity or not scanner.at_end():
                raise UnreadableError("a commodity's format is not an amount of it")
            scope.commodities.lock(commodity, amount.decimals)


def _block(indented: Iterable[str], words: Container[str]) -> Iterator[tuple[str, str]]:
    """Return the first word and the rest of each indented line.

    Raises:
        UnreadableError: a word is unknown here or lacks its argument.
    """
    for text in indented:
        word, _, rest = text.replace("\t", " ").partition(" ")
        if text.startswith(_COMMENTS):
            continue
        if word not in words or not (rest.strip() or word in _WITHOUT_ARGUMENT):
            raise UnreadableError("a directive's indented line is not one that is read here")
        yield word, rest.strip()


_READERS: dict[str, Callable[[str, Scope], None]] = {
    "alias": _alias,
    "apply": _apply,
    "bucket": _bucket,
    "decimal-mark": _decimal_mark,
    "year": _year,
}
