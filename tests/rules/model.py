"""What a ledger should say and hold, told a second time in the plainest way: dictionaries.

Shares no code with the rules. Knows only the commands that ``machine`` draws, all well-formed.
"""

import copy
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount, SetLimit
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import SetRiskRule
from ledger_core.transfers import Transfer
from ledger_core.units import RegisterUnit

ISO = ("EUR", "JPY")

Leg = tuple[str, str, int, str]
"""Account, side, amount in minor units, currency."""


class Refused(Exception):  # noqa: N818 - an answer
    """The model says no; the argument is the code."""


@dataclass
class Account:
    """An account as a dictionary of its facts."""

    account_type: str
    currency: str
    limit: int | None
    debit: int = 0
    credit: int = 0
    closed: bool = False
    blocks: set[tuple[str, str]] = field(default_factory=set)
    holders: set[tuple[str, str]] = field(default_factory=set)

    def balance(self) -> int:
        """The balance on the side on which the account grows."""
        difference = self.debit - self.credit
        return difference if self.account_type in ("asset", "expense") else -difference


@dataclass
class Entry:
    """An entry that was booked."""

    legs: list[Leg]
    is_reversal: bool
    is_reversed: bool = False


@dataclass
class Model:
    """A ledger: what exists, and what each key and id was used for."""

    position: int = 0
    accounts: dict[str, Account] = field(default_factory=dict)
    erased: dict[str, bool] = field(default_factory=dict)
    units: set[str] = field(default_factory=set)
    entries: dict[str, Entry] = field(default_factory=dict)
    references: set[str] = field(default_factory=set)
    used: dict[tuple[str, str], tuple[Command, int]] = field(default_factory=dict)

    def submit(self, commands: list[Command], mode: str) -> list[tuple[str, int]]:
        """Answer each command in a word, with the position of its event where it has one."""
        before = copy.deepcopy(self)
        answers: list[tuple[str, int]] = []
        for index, command in enumerate(commands):
            try:
                answers.append(self.answer(command))
            except Refused as refused:
                answers.append((str(refused), 0))
                rest = len(commands) - index - 1
                if mode == "stop_on_error":
                    return answers + [("not_attempted", 0)] * rest
                if mode == "atomic":
                    self.__dict__.update(before.__dict__)
                    failed = [("batch_failed", 0)]
                    return failed * index + [(str(refused), 0)] + failed * rest
        return answers

    def answer(self, command: Command) -> tuple[str, int]:
        """Answer one command and change what it changes."""
        kind, name = self._chosen_id(command)
        for place, code in ((("key", command.key), "idempotency_conflict"), ((kind, name), kind)):
            if place in self.used:
                first, position = self.used[place]
                if _content(first) == _content(command):
                    return "replayed", position
                raise Refused(code)
        events = self._carry_out(command)
        self.position += events or 1
        self.used["key", command.key] = (command, self.position)
        if name:
            self.used[kind, name] = (command, self.position)
        return "recorded" if events else "unchanged", self.position

    def _chosen_id(self, command: Command) -> tuple[str, str]:
        """What the command would be refused with if its chosen id were taken; and that id."""
        match command:
            case OpenAccount(account_id=str() as name):
                return "account_exists", name
            case RegisterCustomer(customer_id=str() as name):
                return "customer_exists", name
            case _:
                return "entry_exists", getattr(command, "entry_id", None) or ""

    def _carry_out(self, command: Command) -> int:  # noqa: C901, PLR0911, PLR0912 - one case each
        """How many events the command comes to."""
        match command:
            case Transfer(debit_account_id=debit, credit_account_id=credit):
                legs = [
                    (debit, "debit", int(command.amount), command.currency),
                    (credit, "credit", int(command.amount), command.currency),
                ]
                self._exist([leg[0] for leg in legs])
                if debit == credit:
                    raise Refused("same_account")
                self._fit(legs)
                return self._book(command, legs)
            case Deposit() | Withdraw():
                return self._at_channel(command)
            case PostEntry(postings=lines):
                legs = [(x.account_id, x.side, int(x.amount), x.currency) for x in lines]
                sums: Counter[str] = Counter()
                for _, side, amount, currency in legs:
                    sums[currency] += amount if side == "debit" else -amount
                if any(sums.values()):
                    raise Refused("unbalanced")
                self._exist([leg[0] for leg in legs])
                self._fit(legs)
                return self._book(command, legs)
            case ReverseEntry():
                return self._reverse(command)
            case OpenAccount():
                return self._open(command)
            case RegisterCustomer(customer_id=str() as customer_id):
                self.erased[customer_id] = False
                return 1
            case ChangeProfile(customer_id=customer_id):
                self._readable(customer_id)
                return 1
            case EraseCustomer(customer_id=customer_id):
                if customer_id not in self.erased:
                    raise Refused("customer_not_found")
                was, self.erased[customer_id] = self.erased[customer_id], True
                return 0 if was else 1
            case RegisterUnit(code=code):
                was = code in self.units
                self.units.add(code)
                return 0 if was else 1
            case SetRiskRule():
                return 1
            case _:
                return self._change(command)

    def _change(self, command: Any) -> int:  # noqa: ANN401, C901, PLR0912 - one case each
        """A change of one account's terms."""
        self._exist([command.account_id])
        account = self.accounts[command.account_id]
        match command:
            case LinkCustomer(customer_id=customer_id, role=role):
                self._readable(customer_id)
                self._open_now(account)
                if (customer_id, role) in account.holders:
                    return 0
                account.holders.add((customer_id, role))
            case UnlinkCustomer(customer_id=customer_id, role=role):
                if (customer_id, role) not in account.holders:
                    raise Refused("link_not_found")
                account.holders.remove((customer_id, role))
            case FreezeAccount(cause=cause, effect=effect):
                self._open_now(account)
                if (cause, effect) in account.blocks:
                    return 0
                account.blocks.add((cause, effect))
            case UnfreezeAccount(cause=cause, effect=asked):
                lifted = {b for b in account.blocks if b[0] == cause and asked in (None, b[1])}
                if not lifted:
                    raise Refused("block_not_found")
                account.blocks -= lifted
                return len(lifted)
            case SetLimit(limit=limit):
                self._open_now(account)
                minor = None if limit is None else int(limit)
                if account.limit == minor:
                    return 0
                account.limit = minor
            case CloseAccount():
                if account.closed:
                    return 0
                if account.balance():
                    raise Refused("account_not_empty")
                account.closed = True
            case ReopenAccount():
                if not account.closed:
                    raise Refused("account_not_closed")
                account.closed = False
            case _:
                raise AssertionError(command)
        return 1

    def _open(self, command: OpenAccount) -> int:
        """A new account under a chosen id."""
        if command.currency not in (*ISO, *self.units):
            raise Refused("unknown_currency")
        if command.customer_id is not None:
            self._readable(command.customer_id)
        limit = 0 if command.account_type == "liability" else None
        if not isinstance(command.limit, msgspec.UnsetType):
            limit = None if command.limit is None else int(command.limit)
        account = Account(command.account_type, command.currency, limit)
        if command.customer_id is not None:
            account.holders.add((command.customer_id, "owner"))
        self.accounts[command.account_id or ""] = account
        return 1

    def _at_channel(self, command: Deposit | Withdraw) -> int:
        """Cash in or out; the channel's account is opened by the first entry that needs it."""
        self._exist([command.account_id])
        channel = f"bank:{command.channel}:{command.currency}"
        if channel == command.account_id:
            raise Refused("same_account")
        amount, currency = int(command.amount), command.currency
        own = (command.account_id, "credit", amount, currency)
        cash = (channel, "debit", amount, currency)
        legs = [cash, own]
        if isinstance(command, Withdraw):
            legs = [(own[0], "debit", *own[2:]), (cash[0], "credit", *cash[2:])]
        self._fit([own])
        if channel in self.accounts:
            return self._book(command, legs)
        self.accounts[channel] = Account("asset", currency, None)
        self.position += 1
        try:
            return self._book(command, legs)
        except Refused:
            del self.accounts[channel]
            self.position -= 1
            raise

    def _reverse(self, command: ReverseEntry) -> int:
        """The mirror of an entry, once."""
        original = self.entries.get(command.reverses)
        if original is None:
            raise Refused("entry_not_found")
        if original.is_reversal:
            raise Refused("not_reversible")
        if original.is_reversed:
            raise Refused("already_reversed")
        other = {"debit": "credit", "credit": "debit"}
        legs = [(name, other[side], *rest) for name, side, *rest in original.legs]
        events = self._book(command, legs)
        original.is_reversed = True
        return events

    def _book(self, command: Any, legs: list[Any]) -> int:  # noqa: ANN401 - any entry command
        """Book legs whose accounts were found to exist and to fit."""
        for name, side, _, _ in legs:
            account = self.accounts[name]
            self._open_now(account)
            if any(effect in (side, "full") for _, effect in account.blocks):
                raise Refused("account_blocked")
        if command.reference in self.references:
            raise Refused("reference_conflict")
        after = {name: copy.copy(self.accounts[name]) for name, *_ in legs}
        for name, side, amount, _ in legs:
            setattr(after[name], side, getattr(after[name], side) + amount)
        if not getattr(command, "force", False):
            for name, account in after.items():
                limit, left = account.limit, account.balance()
                if limit is not None and left < -limit and left < self.accounts[name].balance():
                    raise Refused("insufficient_funds")
        self.accounts.update(after)
        entry = Entry(legs, is_reversal=isinstance(command, ReverseEntry))
        self.entries[command.entry_id or f"jrn_{self.position + 1}"] = entry
        if command.reference is not None:
            self.references.add(command.reference)
        return 1

    def _exist(self, names: list[str]) -> None:
        """Every account exists."""
        if any(name not in self.accounts for name in names):
            raise Refused("account_not_found")

    def _fit(self, legs: list[Any]) -> None:
        """Every account is kept in its leg's currency."""
        for name, _, _, currency in legs:
            if self.accounts[name].currency != currency:
                known = currency in (*ISO, *self.units)
                raise Refused("currency_mismatch" if known else "unknown_currency")

    def _open_now(self, account: Account) -> None:
        """The account is not closed."""
        if account.closed:
            raise Refused("account_closed")

    def _readable(self, customer_id: str) -> None:
        """The customer exists and was not forgotten."""
        if customer_id not in self.erased:
            raise Refused("customer_not_found")
        if self.erased[customer_id]:
            raise Refused("customer_erased")


def _content(command: Command) -> tuple[type, dict[str, Any]]:
    """What a command says, without its key and with the limit that leaving it out means."""
    fields = msgspec.structs.asdict(command)
    del fields["key"]
    if isinstance(command, OpenAccount) and command.limit is msgspec.UNSET:
        fields["limit"] = "0" if command.account_type == "liability" else None
    return type(command), fields
