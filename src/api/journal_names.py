"""Names that hledger and beancount can read, one for each account and unit, never one for two.

An id may hold what the other program gives a meaning of its own; what a name means stands beside it
where the account or unit is declared. Knows neither amounts nor entries.
"""

import re

from ledger_core.accounts import AccountType

ROOTS: dict[AccountType, str] = {
    "asset": "Assets",
    "liability": "Liabilities",
    "equity": "Equity",
    "income": "Income",
    "expense": "Expenses",
}

# What stands for itself in hledger's names: letters and digits of any script, and these.
_PLAIN = re.compile(r"[\w.\-/@+#&]", re.UNICODE)
_COMPONENT = re.compile(r"[A-Z0-9][A-Za-z0-9-]*")
_NUMBERED = re.compile(r"-[0-9]+$")
_CURRENCY = re.compile(r"[A-Z](?:[A-Z0-9'._-]{0,22}[A-Z0-9])?")
_LETTERS = re.compile(r"[A-Za-z]+")


def hledger_account(account_type: AccountType, account_id: str) -> str:
    """The account under its type; colons part it as they do in the id.

    What hledger could take for something else is written as ``%`` and its bytes in hexadecimal, as
    in URLs.
    """
    parts = account_id.split(":")
    joined = ":" if all(parts) else "%3A"
    return f"{ROOTS[account_type]}:" + joined.join(map(_escaped, parts))


def hledger_unit(code: str) -> str:
    """The commodity: in quotes, unless it is nothing but letters."""
    if _LETTERS.fullmatch(code):
        return code
    escaped = code.replace("%", "%25").replace('"', "%22").replace(";", "%3B")
    return f'"{escaped}"'


def beancount_account(account_type: AccountType, account_id: str, account_no: int) -> str:
    """The account under its type, in one part: none lies below another.

    For beancount counts what lies below an account into its balance, and the ledger does not. An id
    that is a name in beancount, and does not end like a numbered one, is its own name; any other is
    made one, and the account's number makes that unique.
    """
    root = ROOTS[account_type]
    if _COMPONENT.fullmatch(account_id) and _NUMBERED.search(account_id) is None:
        return f"{root}:{account_id}"
    made = re.sub(r"[^A-Za-z0-9]+", "-", account_id).strip("-") or "Account"
    return f"{root}:{made[:1].upper()}{made[1:]}-{account_no}"


def beancount_unit(code: str, number: int | None) -> str:
    """The currency; one of a code that beancount cannot read is numbered by its registration."""
    if number is None or (_CURRENCY.fullmatch(code) and _NUMBERED.search(code) is None):
        return code
    made = re.sub(r"[^A-Z0-9]+", "-", code.upper()).strip("-")[:12]
    return f"U{made}-{number}"


def _escaped(text: str) -> str:
    """The text with what is special in hexadecimal."""
    return "".join(
        character
        if _PLAIN.match(character)
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in text
    )
