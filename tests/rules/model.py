"""What a ledger should say and hold, told a second time in the plainest way: dictionaries.

Shares no code with the rules. Knows only the commands that ``machine`` draws, all well-formed.
"""

import copy
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

import msgspec
from tests.rules.model_movements import MOVEMENTS
from tests.rules.model_splits import Splits
from tests.rules.model_state import ISO, Account, Group, Refused

from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount
from ledger_core.allocations import Allocate
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry
from ledger_core.exchanges import Exchange
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.periods import ClosePeriod, ReopenPeriod
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import SetRiskRule
from ledger_core.standing_orders import CreateOrder
from ledger_core.templates import DefineTemplate, PostTemplate, RetireTemplate
from ledger_core.transfers import Transfer
from ledger_core.units import RegisterUnit

Answers = list[tuple[str, int]]
"""A word for each command, with the position of its event or 0."""

UNRECORDED = {
    "validation_error",
    "unknown_currency",
    "idempotency_conflict",
    "entry_exists",
    "hold_exists",
}
"""Refusals that leave no event even where money was to move."""


@dataclass
class Model(Splits):
    """A ledger: what it answers, and what it holds then."""

    def submit(self, commands: list[Command], mode: str, *, dry_run: bool = False) -> Answers:
        """Answer each command in a word, with the position of its event where it has one."""
        first = self.position
        self._fall_due()
        before = copy.deepcopy(self)
        answers = self._answer_all(commands, mode)
        if dry_run:
            self.__dict__.update(before.__dict__)
        if self.position > first:
            self.last = self.moment
        return answers

    def _answer_all(self, commands: list[Command], mode: str) -> Answers:
        """Answer the commands as far as the mode goes."""
        before = copy.deepcopy(self)
        answers: Answers = []
        for index, command in enumerate(commands):
            try:
                answer = self.answer(command)
                if mode == "atomic":
                    _not_repeated(answer, before.position)
                answers.append(answer)
            except Refused as refused:
                code = str(refused)
                answers.append((code, 0))
                rest = len(commands) - index - 1
                if mode == "atomic":
                    self.__dict__.update(before.__dict__)
                    failed = [("batch_failed", 0)]
                    return failed * index + [(code, 0)] + failed * rest
                if isinstance(command, MOVEMENTS) and code not in UNRECORDED:
                    self.position += 1
                if mode == "stop_on_error":
                    return answers + [("not_attempted", 0)] * rest
        return answers

    def answer(self, command: Command) -> tuple[str, int]:
        """Answer one command and change what it changes."""
        places = self.places(command)
        for place in (*places, _chosen_id(command)):
            if place in self.used:
                first, position = self.used[place]
                if self.says_the_same(first, command, position):
                    return "replayed", position
                is_key = place in places
                raise Refused("idempotency_conflict" if is_key else place[0])
        events = self.carry_out(command)
        self.position += events or 1
        self.used[places[0]] = (command, self.position)
        if isinstance(command, OpenAccount | RegisterCustomer | CreateGroup):
            self.used[_chosen_id(command)] = (command, self.position)
        return "recorded" if events else "unchanged", self.position

    def places(self, command: Command) -> tuple[tuple[str, str], ...]:
        """Where the command's first answer is looked up; it is kept at the first of them."""
        return (("key", command.key),)

    def says_the_same(self, first: Command, command: Command, position: int) -> bool:
        """Whether a command says what the first one said, perhaps in the figure it came to."""
        if isinstance(first, CaptureHold) and isinstance(command, CaptureHold):
            came_to = self.came_to.get(position)
            if first.amount == "all" and command.amount == came_to:
                first = msgspec.structs.replace(first, amount=came_to)
        return _content(first) == _content(command)

    def _fall_due(self) -> None:
        """Whatever is due happens before anything else, earliest first."""
        due: list[tuple[datetime, str, str, Any]] = [
            (hold.expires_at, "hold", name, hold)
            for name, hold in self.holds.items()
            if hold.status == "open" and hold.expires_at is not None
        ]
        due += [
            (_midnight(day), "limit_change", f"{name}:{day}", (name, day))
            for name, day in self.changes
        ]
        for moment, kind, _, what in sorted(due, key=lambda item: item[:3]):
            if moment > self.moment:
                break
            if kind == "hold":
                self.position += self.free(what, "expired")
            else:
                limit, ceiling, keeps = self.changes.pop(what)
                self._set_limits(self.accounts[what[0]], limit, ceiling, keeps=keeps)
                self.position += 1

    def carry_out(self, command: Command) -> int:  # noqa: C901, PLR0911, PLR0912 - one case each
        """How many events the command comes to."""
        match command:
            case Transfer():
                return self.transfer(command)
            case Deposit() | Withdraw():
                return self.at_channel(command)
            case PostEntry():
                return self.post(command)
            case ReverseEntry():
                return self.reverse(command)
            case PlaceHold():
                return self.place(command)
            case CaptureHold():
                return self.capture(command)
            case VoidHold():
                return self.void(command)
            case Exchange():
                return self.exchange(command)
            case Allocate():
                return self.allocate(command)
            case PostTemplate():
                return self.post_template(command)
            case DefineTemplate() | RetireTemplate():
                return self.change_template(command)
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
                is_new = code not in self.units
                self.units.add(code)
                return int(is_new)
            case SetRiskRule():
                return 1
            case ClosePeriod() | ReopenPeriod():
                return self._change_period(command)
            case CreateGroup() | SetGroupLimit() | AddToGroup() | RemoveFromGroup():
                return self._change_group(command)
            case _:
                return self._change(command)

    def _change(self, command: Any) -> int:  # noqa: ANN401, C901, PLR0912 - one case each
        """A change of one account's terms."""
        if isinstance(command, SetLimit) and (command.effective_date or self.today) < self.today:
            raise Refused("validation_error")
        self.exist([command.account_id])
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
                account.version += len(lifted)
                return len(lifted)
            case SetLimit():
                return self._set_limit(command, account)
            case CloseAccount():
                if account.closed:
                    return 0
                if account.balance() or any(account.held.values()):
                    raise Refused("account_not_empty")
                account.closed = True
            case ReopenAccount():
                if not account.closed:
                    raise Refused("account_not_closed")
                account.closed = False
            case _:
                raise AssertionError(command)
        account.version += 1
        return 1

    def _set_limit(self, command: SetLimit, account: Account) -> int:
        """New limits, now or from a day on."""
        self._open_now(account)
        limit, ceiling, keeps = _minor(command.limit), None, True
        if not isinstance(command.ceiling, msgspec.UnsetType):
            ceiling, keeps = _minor(command.ceiling), False
        if command.effective_date is not None and command.effective_date > self.today:
            place = (command.account_id, command.effective_date)
            if self.changes.get(place) == (limit, ceiling, keeps):
                return 0
            self.changes[place] = (limit, ceiling, keeps)
            return 1
        if account.limit == limit and (keeps or account.ceiling == ceiling):
            return 0
        self._set_limits(account, limit, ceiling, keeps=keeps)
        return 1

    def _set_limits(
        self, account: Account, limit: int | None, ceiling: int | None, *, keeps: bool
    ) -> None:
        """The limits are so from now on."""
        account.limit = limit
        account.ceiling = account.ceiling if keeps else ceiling
        account.version += 1

    def _change_period(self, command: ClosePeriod | ReopenPeriod) -> int:
        """Days are closed, or open again."""
        closed = self.closed_through
        if isinstance(command, ReopenPeriod):
            if closed is None or (command.after is not None and command.after >= closed):
                return 0
            self.closed_through = command.after
            return 1
        if command.through >= self.today:
            raise Refused("validation_error")
        late_posting = command.late_posting or self.late_posting
        is_closed = closed is not None and command.through <= closed
        if is_closed and late_posting == self.late_posting:
            return 0
        if closed is not None and command.through < closed:
            raise Refused("validation_error")
        self.closed_through = command.through
        self.late_posting = late_posting
        return 1

    def _change_group(
        self, command: CreateGroup | SetGroupLimit | AddToGroup | RemoveFromGroup
    ) -> int:
        """A group is made, limited, joined or left."""
        name = command.group_id or ""
        if isinstance(command, CreateGroup):
            if command.currency not in (*ISO, *self.units):
                raise Refused("unknown_currency")
            limit, ceiling = _minor(command.limit), _minor(command.ceiling)
            self.groups[name] = Group(command.currency, command.side, limit, ceiling)
            return 1
        if name not in self.groups:
            raise Refused("group_not_found")
        group = self.groups[name]
        if isinstance(command, SetGroupLimit):
            before = (group.limit, group.ceiling)
            group.limit = _minor(command.limit)
            if not isinstance(command.ceiling, msgspec.UnsetType):
                group.ceiling = _minor(command.ceiling)
            return int(before != (group.limit, group.ceiling))
        self.exist([command.account_id])
        account = self.accounts[command.account_id]
        if isinstance(command, AddToGroup):
            if account.currency != group.currency:
                raise Refused("currency_mismatch")
            self._open_now(account)
        if isinstance(command, AddToGroup) == (name in account.groups):
            return 0
        account.groups ^= {name}
        account.version += 1
        return 1

    def _open(self, command: OpenAccount) -> int:
        """A new account under a chosen id."""
        if command.currency not in (*ISO, *self.units):
            raise Refused("unknown_currency")
        if command.customer_id is not None:
            self._readable(command.customer_id)
        limit = 0 if command.account_type == "liability" else None
        if not isinstance(command.limit, msgspec.UnsetType):
            limit = _minor(command.limit)
        account = Account(command.account_type, command.currency, limit, _minor(command.ceiling))
        if command.customer_id is not None:
            account.holders.add((command.customer_id, "owner"))
        self.accounts[command.account_id or ""] = account
        return 1

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


def _chosen_id(command: Command) -> tuple[str, str]:
    """What the command would be refused with if its chosen id were taken; and that id."""
    for field, code in (
        ("customer_id", "customer_exists" if isinstance(command, RegisterCustomer) else ""),
        ("account_id", "account_exists" if isinstance(command, OpenAccount) else ""),
        ("group_id", "group_exists" if isinstance(command, CreateGroup) else ""),
        ("order_id", "order_exists" if isinstance(command, CreateOrder) else ""),
        ("request_id", "approval_exists" if isinstance(command, RequestApproval) else ""),
        ("hold_id", "hold_exists" if isinstance(command, PlaceHold) else ""),
        ("entry_id", "entry_exists"),
    ):
        if code and getattr(command, field, None) is not None:
            return code, getattr(command, field)
    return "", ""


def _minor(text: str | None) -> int | None:
    """An amount in minor units, or none."""
    return None if text is None else int(text)


def _midnight(day: date) -> datetime:
    """The moment at which a day begins."""
    return datetime.combine(day, time(), UTC)


def _content(command: Command) -> tuple[type, dict[str, Any]]:
    """What a command says, without its key and with the limit that leaving it out means."""
    fields = msgspec.structs.asdict(command)
    del fields["key"]
    if isinstance(command, OpenAccount) and command.limit is msgspec.UNSET:
        fields["limit"] = "0" if command.account_type == "liability" else None
    return type(command), fields


def _not_repeated(answer: tuple[str, int], begun: int) -> None:
    """The answer is not that of an earlier item of the same batch, which began after ``begun``."""
    if answer[0] == "replayed" and answer[1] > begun:
        raise Refused("repeated_in_batch")
