"""What directives set for the lines below them: years, accounts, aliases, and ``apply`` blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from api.journal_text.amounts import Amount, Commodities, Lot, Scanner
from api.journal_text.book import Book
from api.journal_text.dates import read_date
from api.journal_text.lines import PostingLine, read_account_name
from api.journal_text.model import UnreadableError


class Included(NamedTuple):
    """A file that is included: its text, and how it includes files in turn."""

    text: str
    include: "Include"


Include = Callable[[str], Sequence[Included]]
"""Files by the name or pattern that a journal gives, in order."""


class Applied(NamedTuple):
    """An open ``apply`` block: what it applies, and what closing it restores."""

    label: str
    account: str = ""
    rate: tuple[str, Amount] | None = None
    year_before: int | None = None


@dataclass(slots=True)
class Scope:
    """The state of reading that directives change."""

    today: date
    year: int | None = None
    applied: list[Applied] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    bucket: str | None = None
    payees_name_accounts: bool = False
    has_default_commodity: bool = False
    commodities: Commodities = field(init=False)
    book: Book = field(init=False)

    def __post_init__(self) -> None:
        """Let amounts read dates as the journal does here."""
        self.commodities = Commodities(self.read_day)
        self.book = Book(self.commodities)

    def read_day(self, text: str) -> date:
        """Read a date in the year that is set."""
        return read_date(text, year=self.year, today=self.today)

    def account(self, name: str) -> str:
        """Return the full name of the account that is meant by ``name`` here.

        Raises:
            UnreadableError: it depends on the payee.
        """
        first, colon, rest = name.partition(":")
        if name in self.aliases:
            full = self.aliases[name]
        elif first in self.aliases:
            full = self.aliases[first] + colon + rest
        else:
            full = self.below(name)
        if self.payees_name_accounts and full.rpartition(":")[2] == "Unknown":
            raise UnreadableError("an account is named by its payee")
        return read_account_name(full)

    def below(self, name: str) -> str:
        """Return the name below the account that is applied."""
        roots = [applied.account for applied in self.applied if applied.account]
        return f"{roots[-1]}:{name}" if roots else name

    def check_bare(self, line: PostingLine) -> None:
        """Refuse a number without a commodity where hledger would give it the default one."""
        amounts = (line.amount, line.cost.total if line.cost else None)
        if self.has_default_commodity and any(read and not read.commodity for read in amounts):
            raise UnreadableError("an amount has no commodity below a default one")

    def at_rate(self, line: PostingLine) -> Amount | None:
        """Return the posting's amount with the fixed rate that is applied to its commodity."""
        amount = line.amount
        if amount is None or amount.lot or not amount.commodity:
            return amount
        for applied in reversed(self.applied):
            if applied.rate and applied.rate[0] == amount.commodity:
                price = applied.rate[1]
                lot = Lot(price=price.number, price_commodity=price.commodity, fixated=True)
                return Amount(amount.number, amount.commodity, amount.decimals, lot)
        return amount

    def open_rate(self, text: str) -> None:
        """Apply a fixed rate, ``COMMODITY PRICE``, to the amounts below."""
        scanner = Scanner(text)
        symbol = self.commodities.read_symbol(scanner)
        price = self.commodities.read(scanner, shows_style=False)
        if not symbol or not scanner.at_end() or price.lot:
            raise UnreadableError("a fixed rate is not of the form COMMODITY PRICE")
        self.applied.append(Applied("fixed", rate=(symbol, price)))

    def close(self, text: str, open_before: int) -> None:
        """Close the innermost ``apply`` block that was opened in this file.

        Raises:
            UnreadableError: there is none, or it is another one.
        """
        words = text.split()
        label = words[-1] if words else "apply"
        if words[:-1] not in ([], ["apply"]) or len(self.applied) <= open_before:
            raise UnreadableError("an end is not the end of what was applied")
        innermost = self.applied.pop()
        label = "fixed" if label == "rate" else label
        if label not in {"apply", innermost.label}:
            raise UnreadableError("an end is not the end of what was applied")
        if innermost.label == "year":
            self.year = innermost.year_before
