"""The accounts of a case: in which currency each is kept here, and which must be opened first.

A case's unit ``USD/2`` is the currency USD; where ISO 4217 says otherwise, or nothing, it is a
registered unit of that scale. A book is a currency too, unless the case means it as a ledger.
"""

from collections.abc import Iterable

from tests.conformance.cases import Case, Json, ledgers_of, walk
from tests.conformance.legs import accounts_in

from ledger_core import currencies

DEFAULT_UNIT = "CASE"
"""The made-up currency of whatever names none."""
SCALE_DEFAULT = 2
_OUTSIDE = "world"
"""What several ledgers call the account that money comes from and goes to, without any limit."""


class Chart:
    """Which currency everything in a case is kept in, and what must be registered for it."""

    def __init__(self, case: Case) -> None:
        """Read the whole case, so that nothing needs to be opened or registered on the way."""
        self.ledgers = ledgers_of(case)
        self.scales: dict[str, int] = {DEFAULT_UNIT: SCALE_DEFAULT}
        self._books: dict[str, str] = {}
        self._unit_of: dict[str, str] = {}
        self._has_own_unit = {name for name, terms in case.accounts.items() if terms.get("unit")}
        for name, terms in case.accounts.items():
            if terms.get("unit"):
                self._unit_of[name] = self.code_of(str(terms["unit"]))
                if terms.get("book") is not None:
                    self._books.setdefault(str(terms["book"]), self._unit_of[name])
        for name, terms in case.accounts.items():
            if name not in self._unit_of and terms.get("book") is not None and not self.ledgers:
                self._unit_of[name] = self.book_code(str(terms["book"]))
        self.opened_unasked = _unasked(case)
        for op in walk(case.ops):
            self._learn(op)
        for name in case.accounts:
            self._unit_of.setdefault(name, DEFAULT_UNIT)

    def unit_of(self, account: str) -> str:
        """The currency in which an account is kept."""
        return self._unit_of.get(account, DEFAULT_UNIT)

    def keep(self, account: str, unit: str) -> None:
        """Remember in which currency an account was opened."""
        self._unit_of[account] = unit

    def code_of(self, unit: str) -> str:
        """The currency that a case's unit is here, which may have to be registered."""
        name, _, scale = unit.partition("/")
        exponent = currencies.exponent(name)
        if exponent is not None and scale in {"", str(exponent)}:
            return name
        wanted = int(scale) if scale.isdigit() else SCALE_DEFAULT
        code = name if exponent is None and self.scales.get(name, wanted) == wanted else unit
        self.scales[code] = wanted
        return code

    def book_code(self, book: str) -> str:
        """The currency that a book is: that of the accounts in it."""
        if book not in self._books:
            self._books[book] = self.code_of(book)
        return self._books[book]

    def asked_unit(self, op: Json, accounts: Iterable[str]) -> str | None:
        """The currency that an operation means: the one it names, else that of its accounts."""
        if "book" in op and not self.ledgers:
            return None if op["book"] is None else self.book_code(str(op["book"]))
        if "unit" in op:
            return None if op["unit"] is None else self.code_of(str(op["unit"]))
        named = [self._unit_of[account] for account in accounts if account in self._unit_of]
        return named[0] if named else DEFAULT_UNIT

    def account_in(self, account: str, unit: object) -> str:
        """The account here for a case's account in a unit: it has one account for each unit.

        Where a case says in which unit an account is kept, it is one account and no more.
        """
        if unit is None or account in self._has_own_unit:
            return account
        code = self.code_of(str(unit))
        return account if self.unit_of(account) == code else f"{account} {code}"

    def _learn(self, op: Json) -> None:
        """Take in what an operation tells of accounts whose unit nothing else tells."""
        legs: list[tuple[str, str]] = []
        if op.get("op") == "allocate" and op.get("unit"):
            accounts = [*accounts_in(op["sources"]), *accounts_in(op["destinations"])]
            legs += [(account, str(op["unit"])) for account in accounts]
        if op.get("op") == "journal":
            legs += [(leg[0], str(leg[3])) for leg in op.get("entries", []) if len(leg) > 3]
        for account, unit in legs:
            if account not in self._unit_of:
                self._unit_of[account] = self.code_of(unit)
            sibling = self.account_in(account, unit)
            if sibling != account:
                self._unit_of[sibling] = self.code_of(unit)
                self.opened_unasked.setdefault(sibling, {"limit": None})
        for name in ("book", "unit"):
            if op.get(name) is not None and not (name == "book" and self.ledgers):
                self.asked_unit({name: op[name]}, ())


def _unasked(case: Case) -> dict[str, Json]:
    """The accounts that only allocations or journals name, with their terms.

    They are without limit; but a source that is not the outside world has only what it was given.
    """
    known = set(case.accounts) | {op["id"] for op in walk(case.ops) if op.get("op") == "open"}
    found: dict[str, Json] = {}
    for op in walk(case.ops):
        if op.get("op") == "allocate":
            for account in accounts_in(op["destinations"]):
                found.setdefault(account, {"limit": None})
            for account in accounts_in(op["sources"]):
                is_outside = account.partition(":")[0] == _OUTSIDE
                found.setdefault(account, {"limit": None if is_outside else "debits<=credits"})
        elif op.get("op") == "journal" and not known:
            for leg in op.get("entries", []):
                found.setdefault(leg[0], {"limit": None})
    return {account: terms for account, terms in found.items() if account not in known}
