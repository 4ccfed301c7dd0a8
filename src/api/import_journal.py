"""``ledger import journal``: plain-text accounting journals as general journal entries.

The journal is imported whole or not at all. Each account is kept once a commodity, because an
account of this ledger has one unit: ``Assets:Cash`` in dollars is the account ``Assets:Cash [$]``,
named ``Assets:Cash``. A commodity that is no ISO 4217 currency becomes a unit of the ledger.
"""

from collections import Counter
from datetime import date
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec

from api.bulk import ImportRefused, ImportRefusedAt, import_atomically
from api.journal_text import (
    Include,
    Included,
    Journal,
    JournalEntry,
    JournalPosting,
    JournalRefused,
    UnreadableError,
    read_journal,
)
from api.runtime import Runtime
from ledger_core import currencies, snapshots
from ledger_core.account_terms import OpenAccount
from ledger_core.accounts import AccountType
from ledger_core.commands import Command
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.fields import TEXT_CHARACTERS_MAX
from ledger_core.journal import POSTINGS_MAX
from ledger_core.money import SCALE_MAX
from ledger_core.units import RegisterUnit

# The generic currency sign (ISO/IEC 8859-1) stands for amounts without a commodity.
NO_COMMODITY = "\u00a4"
# A unit first seen without decimals is still given the two that most have.
SCALE_MIN = 2

_ROOTS: tuple[tuple[str, AccountType], ...] = (
    ("asset", "asset"),
    ("liabilit", "liability"),
    ("equity", "equity"),
    ("income", "income"),
    ("revenue", "income"),
    ("expense", "expense"),
)


class JournalReport(msgspec.Struct, frozen=True):
    """What an import did: entries read and posted, accounts and units used, events."""

    entries: int
    accounts: int
    units: int
    recorded: int
    replayed: int
    position: int


Payees = Literal["keep", "drop"]


class _Unit(msgspec.Struct, frozen=True):
    """The ledger's unit for a commodity."""

    code: str
    scale: int
    is_registered: bool


class _Plan(msgspec.Struct):
    """The commands of an import, and for each the line of the journal that it comes from."""

    commands: list[Command] = []
    lines: list[int] = []

    def add(self, line: int, command: Command) -> None:
        """Add a command of a line."""
        self.commands.append(command)
        self.lines.append(line)


def import_journal(  # noqa: PLR0913 - from where, to where, and how
    runtime: Runtime,
    ledger_id: int,
    file: Path,
    actor: str,
    *,
    today: date,
    payees: Payees = "keep",
) -> JournalReport:
    """Import a journal file, or nothing of it.

    The views must be caught up with the log: they say which units are registered. A payee becomes
    the entry's description, in clear and for good; where payees are dropped, nothing of them is
    stored, not even in a key.

    Raises:
        ImportRefused: naming the file, the line and the reason.
    """
    journal = _read(file, today)
    if payees == "drop":
        entries = tuple(msgspec.structs.replace(entry, payee="") for entry in journal.entries)
        journal = msgspec.structs.replace(journal, entries=entries)
    with runtime.connect("ledger_reader") as connection:
        registered = snapshots.load_units(connection, ledger_id)
    units = {
        commodity: _unit(commodity, scale, registered, file.name)
        for commodity, scale in sorted(journal.commodities.items())
    }
    plan = _Plan()
    for commodity, unit in units.items():
        if unit.is_registered:
            plan.add(1, _registration(commodity, unit))
    accounts = _accounts(journal, units)
    for line, opening in accounts:
        plan.add(line, opening)
    posted = _post(plan, journal, units, file.name)
    try:
        outcomes = import_atomically(runtime, ledger_id, plan.commands, actor)
    except ImportRefusedAt as refusal:
        msg = (
            f"{file.name}: line {plan.lines[refusal.index]}: {refusal.error} Nothing was imported."
        )
        raise ImportRefused(msg) from None
    return JournalReport(
        entries=posted,
        accounts=len(accounts),
        units=len(units),
        recorded=sum(outcome.status == "recorded" for outcome in outcomes),
        replayed=sum(outcome.status == "replayed" for outcome in outcomes),
        position=max((outcome.position for outcome in outcomes), default=0),
    )


def account_id_of(account: str, commodity: str) -> str:
    """The ledger's account for a journal's account and commodity."""
    return f"{account} [{commodity or NO_COMMODITY}]"


def _read(file: Path, today: date) -> Journal:
    """The journal behind a file; included files are read from its folder.

    Raises:
        ImportRefused: the file cannot be read, or not exactly.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
        folder = file.parent.resolve()
        return read_journal(text, today=today, include=_including(folder, folder))
    except OSError as error:
        msg = f"{file.name}: cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        msg = f"{file.name}: not UTF-8 text. Nothing was imported."
    except JournalRefused as refusal:
        msg = f"{file.name}: line {refusal.line}: {refusal.reason}. Nothing was imported."
    raise ImportRefused(msg)


def _including(folder: Path, top: Path) -> Include:
    """Include files by name or pattern, seen from ``folder``, if they lie in ``top`` or below."""

    def include(name: str) -> list[Included]:
        """Return the files of that name.

        Raises:
            UnreadableError: there is none, or one is outside or cannot be read.
        """
        is_pattern = any(mark in name for mark in "*?[")
        try:
            found = sorted(folder.glob(name)) if is_pattern else [folder / name]
            paths = [path.resolve() for path in found]
            if not all(path.is_relative_to(top) for path in paths):
                raise UnreadableError("an included file is outside the journal's folder")
            files = [path for path in paths if not is_pattern or path.is_file()]
            included = [
                Included(path.read_text(encoding="utf-8-sig"), _including(path.parent, top))
                for path in files
            ]
        except (OSError, ValueError, NotImplementedError):
            included = []
        if not included:
            raise UnreadableError("an included file is not there or cannot be read as UTF-8 text")
        return included

    return include


def _unit(commodity: str, scale: int, registered: dict[str, int], file: str) -> _Unit:
    """The ledger's unit for a commodity that needs ``scale`` decimals.

    An ISO 4217 currency that the journal keeps more exactly than ISO does becomes a unit of its
    own, such as ``EUR/6``.

    Raises:
        ImportRefused: the unit is registered with fewer decimals, or needs too many.
    """
    code = commodity or NO_COMMODITY
    exponent = currencies.exponent(code)
    if exponent is not None and scale <= exponent:
        return _Unit(code, exponent, is_registered=False)
    if exponent is not None:
        code = f"{code}/{scale}"
    known = registered.get(code)
    if known is None and scale <= SCALE_MAX:
        return _Unit(code, max(scale, SCALE_MIN), is_registered=True)
    if known is not None and scale <= known:
        return _Unit(code, known, is_registered=True)
    most = SCALE_MAX if known is None else known
    msg = (
        f"{file}: line 1: commodity {code} needs {scale} decimals, and its unit in this ledger"
        f" has {most}. Nothing was imported."
    )
    raise ImportRefused(msg)


def _registration(commodity: str, unit: _Unit) -> RegisterUnit:
    """Register the unit; done before, it is a replay."""
    return RegisterUnit(
        key=f"journal-unit:{_digest(unit.code)}",
        code=unit.code,
        scale=unit.scale,
        name=commodity or None,
    )


def _accounts(journal: Journal, units: dict[str, _Unit]) -> list[tuple[int, OpenAccount]]:
    """Every account the journal uses, once a commodity, with the line that uses it first."""
    found: dict[str, tuple[int, OpenAccount]] = {}
    for entry in journal.entries:
        for posting in entry.postings:
            account_id = account_id_of(posting.account, posting.commodity)
            if account_id not in found:
                opening = OpenAccount(
                    key=f"journal-account:{_digest(account_id)}",
                    account_id=account_id,
                    account_type=_account_type(posting.account),
                    currency=units[posting.commodity].code,
                    limit=None,
                    name=posting.account,
                )
                found[account_id] = (entry.line, opening)
    return list(found.values())


def _account_type(account: str) -> AccountType:
    """The type that an account's first word says; an asset where it says none."""
    root = account.split(":", 1)[0].casefold()
    return next((kind for start, kind in _ROOTS if root.startswith(start)), "asset")


def _post(plan: _Plan, journal: Journal, units: dict[str, _Unit], file: str) -> int:
    """Add the entries; how many there are.

    An entry's key is made of the file's name, its content, and which of several alike it is, so
    that a journal that has grown can be imported again.

    Raises:
        ImportRefused: an entry has too many postings.
    """
    seen: Counter[str] = Counter()
    for entry in journal.entries:
        if len(entry.postings) > POSTINGS_MAX:
            msg = (
                f"{file}: line {entry.line}: an entry has at most {POSTINGS_MAX} postings."
                " Nothing was imported."
            )
            raise ImportRefused(msg)
        content = _digest(msgspec.json.encode(msgspec.structs.replace(entry, line=0)).decode())
        seen[content] += 1
        key = f"journal:{_digest(file)[:16]}:{content}:{seen[content]}"
        plan.add(entry.line, _entry(entry, key, units))
    return len(journal.entries)


def _entry(entry: JournalEntry, key: str, units: dict[str, _Unit]) -> PostEntry:
    """The command for an entry of the journal."""
    facts = {"state": entry.state, "code": entry.code}
    if entry.booking_date != entry.value_date:
        facts["booking_date"] = entry.booking_date.isoformat()
    return PostEntry(
        key=key,
        postings=tuple(_line(posting, units[posting.commodity]) for posting in entry.postings),
        value_date=entry.value_date,
        description=_plain(entry.payee),
        metadata={name: text for name, value in facts.items() if (text := _plain(value))} or None,
    )


def _line(posting: JournalPosting, unit: _Unit) -> PostingLine:
    """A posting in minor units; a positive amount is a debit."""
    return PostingLine(
        account_id=account_id_of(posting.account, posting.commodity),
        side="debit" if posting.amount > 0 else "credit",
        amount=str(_minor(abs(posting.amount), unit.scale)),
        currency=unit.code,
    )


def _minor(amount: Decimal, scale: int) -> int:
    """An exact amount in minor units, whatever its length."""
    sign, digits, exponent = amount.as_tuple()
    if not isinstance(exponent, int) or exponent < -scale:
        msg = "the reader gave fewer decimals than the amount has"
        raise AssertionError(msg)
    minor = int("".join(map(str, digits)) + "0" * (scale + exponent))
    return -minor if sign else minor


def _plain(text: str | None) -> str | None:
    """Text as a statement line can carry it: printable, not too long; ``None`` if nothing."""
    if not text:
        return None
    kept = "".join(character if character.isprintable() else " " for character in text).strip()
    return kept[:TEXT_CHARACTERS_MAX] or None


def _digest(text: str) -> str:
    """A short stand-in for text in a key."""
    return sha256(text.encode()).hexdigest()
