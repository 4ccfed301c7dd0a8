"""The checker's own fold: what the events of a log come to, in a few dictionaries.

Written from ``docs/`` alone and sharing nothing with the program, so that both are not wrong in the
same way. Knows the events that a fault run leads to; another one is a finding. Money is counted as
signed sums: what was debited, what was credited, what holds will do.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from tests.faults.history import Finding

_GROWS_BY_CREDIT = frozenset({"liability", "equity", "income"})


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it stands in the log."""

    position: int
    recorded_at: datetime
    type: str
    version: int
    tags: list[str]
    key: str | None
    actor: str
    stored: bytes
    leaf_hash: bytes

    @property
    def data(self) -> dict[str, Any]:
        """The event's fields."""
        fields: dict[str, Any] = msgspec.json.decode(self.stored)
        return fields


@dataclass(slots=True)
class Account:
    """An account; amounts in minor units."""

    account_id: str
    currency: str
    grows_by_credit: bool
    limit: int | None
    ceiling: int | None
    debits: int = 0
    credits: int = 0
    debits_held: int = 0
    credits_held: int = 0
    version: int = 1
    last_position: int = 0
    blocks: set[tuple[str, str]] = field(default_factory=set)

    def touch(self, position: int) -> None:
        """Count an event once, however often it names the account."""
        if position != self.last_position:
            self.version += 1
            self.last_position = position

    @property
    def posted(self) -> int:
        """The balance on the normal side."""
        balance = self.credits - self.debits
        return balance if self.grows_by_credit else -balance

    @property
    def outgoing(self) -> int:
        """What open holds will take."""
        return self.debits_held if self.grows_by_credit else self.credits_held

    @property
    def incoming(self) -> int:
        """What open holds will bring."""
        return self.credits_held if self.grows_by_credit else self.debits_held

    def excess(self) -> tuple[int, int]:
        """How far it is below its floor, and above its ceiling; 0 is within."""
        below = 0 if self.limit is None else -(self.posted - self.outgoing + self.limit)
        above = 0 if self.ceiling is None else self.posted + self.incoming - self.ceiling
        return max(below, 0), max(above, 0)

    def is_blocked(self, side: str) -> bool:
        """Whether a block forbids that side."""
        return any(effect in {side, "full"} for _, effect in self.blocks)

    def seen(self) -> dict[str, Any]:
        """What a balance over HTTP should say of it."""
        left = None if self.limit is None else self.posted - self.outgoing + self.limit
        return {
            "posted_minor": str(self.posted),
            "debits_posted_minor": str(self.debits),
            "credits_posted_minor": str(self.credits),
            "held_minor": str(self.outgoing),
            "incoming_held_minor": str(self.incoming),
            "available_minor": _text(left),
            "limit_minor": _text(self.limit),
            "ceiling_minor": _text(self.ceiling),
            "version": self.version,
            "blocks": sorted(self.blocks),
        }


@dataclass(slots=True)
class Hold:
    """A hold: how much of it is left, and until when."""

    debit: str
    credit: str
    left: int
    multi_capture: bool
    expires_at: datetime | None
    is_open: bool = True


class Fold:
    """What the log comes to up to the last row taken; rules that a row breaks become findings."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self.accounts: dict[str, Account] = {}
        self.holds: dict[str, Hold] = {}
        self.customers: dict[str, dict[str, str]] = {}
        self.subjects: set[str] = set()
        self.identities: set[tuple[str, str, int]] = set()
        self.findings: list[Finding] = []
        self._postings: dict[str, list[tuple[str, str, int]]] = {}
        self._reversed: set[str] = set()
        self._names: set[tuple[str, str]] = set()
        self._takers: dict[str, Callable[[Row, dict[str, Any]], None]] = {
            "AccountOpened": self._account_opened,
            "JournalEntryPosted": self._entry_posted,
            "HoldPlaced": self._hold_placed,
            "HoldReleased": self._hold_released,
            "LimitSet": self._limit_set,
            "BlockPlaced": self._block_placed,
            "BlockLifted": self._block_lifted,
            "CustomerRegistered": self._customer_registered,
            "CustomerProfileChanged": self._profile_changed,
            "NothingChanged": lambda row, data: None,  # noqa: ARG005 - it changes nothing
            "CommandRefused": lambda row, data: None,  # noqa: ARG005 - nor does this
        }

    def take(self, row: Row) -> None:
        """Take in the next event."""
        taker = self._takers.get(row.type)
        if taker is None:
            self._find("event", f"position {row.position} is a {row.type}, for which nobody asked")
            return
        self._check_due(row)
        try:
            taker(row, row.data)
        except KeyError as missing:
            self._find("event", f"position {row.position} ({row.type}) names {missing}: not there")

    def totals(self) -> dict[str, tuple[int, int]]:
        """Debits and credits of all accounts, by currency."""
        totals: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for account in self.accounts.values():
            debits, credits_ = totals[account.currency]
            totals[account.currency] = (debits + account.debits, credits_ + account.credits)
        return totals

    def _find(self, rule: str, detail: str) -> None:
        self.findings.append(Finding(rule, detail))

    def _account_opened(self, row: Row, data: dict[str, Any]) -> None:
        name = data.get("account_id", f"acc_{row.position}")
        if name in self.accounts:
            self._find("event", f"position {row.position} opens {name} once more")
            return
        self.accounts[name] = Account(
            name,
            data["currency"],
            data["account_type"] in _GROWS_BY_CREDIT,
            data.get("limit_minor"),
            data.get("ceiling_minor"),
            last_position=row.position,
        )

    def _entry_posted(self, row: Row, data: dict[str, Any]) -> None:
        postings = [
            (leg["account_id"], leg["side"], leg["amount_minor"], leg["currency"])
            for leg in data["postings"]
        ]
        entry_id = data.get("entry_id", f"jrn_{row.position}")
        self._check_balanced(row, postings)
        touched = {name: self.accounts[name] for name, *_ in postings}
        for name, side, _, currency in postings:
            if touched[name].is_blocked(side):
                self._find("blocked", f"position {row.position} posts a {side} on blocked {name}")
            if touched[name].currency != currency:
                self._find("currency", f"position {row.position} posts {currency} on {name}")
        before = {name: account.excess() for name, account in touched.items()}
        for name, side, amount, _ in postings:
            account = touched[name]
            if side == "debit":
                account.debits += amount
            else:
                account.credits += amount
        if "hold_id" in data:
            self._capture(row, data, postings[0][2])
        for account in touched.values():
            account.touch(row.position)
        if not data.get("forced"):
            self._check_limits(row, before)
        self._take_names(row, data)
        self._reverse(row, data, [leg[:3] for leg in postings])
        self._postings[entry_id] = [leg[:3] for leg in postings]

    def _check_balanced(self, row: Row, postings: list[tuple[str, str, int, str]]) -> None:
        sums: dict[str, int] = defaultdict(int)
        for _, side, amount, currency in postings:
            if amount <= 0:
                self._find("money", f"position {row.position} posts {amount}")
            sums[currency] += amount if side == "debit" else -amount
        for currency, left in sums.items():
            if left:
                self._find("money", f"position {row.position}: {currency} is off by {left}")

    def _check_limits(self, row: Row, before: dict[str, tuple[int, int]]) -> None:
        """No account is beyond a limit, unless no further than it was."""
        for name, was in before.items():
            now = self.accounts[name].excess()
            if any(after > max(earlier, 0) for after, earlier in zip(now, was, strict=True)):
                self._find(
                    "limit", f"position {row.position} takes {name} beyond its limits by {now}"
                )

    def _reverse(self, row: Row, data: dict[str, Any], legs: list[tuple[str, str, int]]) -> None:
        original = data.get("reverses")
        if original is None:
            return
        if original in self._reversed:
            self._find("reversal", f"position {row.position} reverses {original} once more")
        self._reversed.add(original)
        opposite = {"debit": "credit", "credit": "debit"}
        mirror = [(name, opposite[side], amount) for name, side, amount in self._postings[original]]
        if sorted(mirror) != sorted(legs):
            self._find("reversal", f"position {row.position} is not the mirror of {original}")

    def _hold_placed(self, row: Row, data: dict[str, Any]) -> None:
        name = data.get("hold_id", f"hld_{row.position}")
        if name in self.holds:
            self._find("hold", f"position {row.position} places {name} once more")
        expires_at = data.get("expires_at")
        hold = self.holds[name] = Hold(
            data["debit_account_id"],
            data["credit_account_id"],
            data["amount_minor"],
            data.get("multi_capture", False),
            None if expires_at is None else datetime.fromisoformat(expires_at),
        )
        for account_id, side in ((hold.debit, "debit"), (hold.credit, "credit")):
            if self.accounts[account_id].is_blocked(side):
                self._find("blocked", f"position {row.position} holds a {side} on {account_id}")
        before = {name: self.accounts[name].excess() for name in (hold.debit, hold.credit)}
        self._hold(row, hold, hold.left)
        self._check_limits(row, before)
        self._take_names(row, data)

    def _hold_released(self, row: Row, data: dict[str, Any]) -> None:
        hold = self._open_hold(row, data["hold_id"])
        amount = data["amount_minor"]
        if amount != hold.left:
            self._find("hold", f"position {row.position} frees {amount}, {hold.left} was held")
        if data["cause"] == "expired" and not (
            hold.expires_at is not None
            and datetime.fromisoformat(data["due_at"]) == hold.expires_at <= row.recorded_at
        ):
            self._find("hold", f"position {row.position} lets {data['hold_id']} expire too early")
        self._settle(row, hold, amount, is_over=True)

    def _capture(self, row: Row, data: dict[str, Any], amount: int) -> None:
        hold = self._open_hold(row, data["hold_id"])
        if hold.expires_at is not None and hold.expires_at <= row.recorded_at:
            self._find("hold", f"position {row.position} captures {data['hold_id']}, which is due")
        settled = amount + data.get("freed_minor", 0)
        if settled > hold.left:
            self._find("hold", f"position {row.position} settles {settled} of {hold.left} held")
        if not hold.multi_capture and settled != hold.left:
            self._find("hold", f"position {row.position} leaves {hold.left - settled} held")
        self._settle(row, hold, settled, is_over=settled >= hold.left)

    def _open_hold(self, row: Row, hold_id: str) -> Hold:
        hold = self.holds[hold_id]
        if not hold.is_open:
            self._find("hold", f"position {row.position} resolves {hold_id} once more")
        return hold

    def _settle(self, row: Row, hold: Hold, amount: int, *, is_over: bool) -> None:
        self._hold(row, hold, -amount)
        hold.left -= amount
        hold.is_open = not is_over

    def _hold(self, row: Row, hold: Hold, change: int) -> None:
        """Hold more or less on both accounts."""
        debit, credit = self.accounts[hold.debit], self.accounts[hold.credit]
        debit.debits_held += change
        credit.credits_held += change
        debit.touch(row.position)
        credit.touch(row.position)

    def _check_due(self, row: Row) -> None:
        """What fell due is recorded before anything else."""
        if row.type == "HoldReleased" and row.key is None:
            return
        for name, hold in self.holds.items():
            if hold.is_open and hold.expires_at is not None and hold.expires_at <= row.recorded_at:
                self._find("hold", f"position {row.position} comes before {name} expired")

    def _limit_set(self, row: Row, data: dict[str, Any]) -> None:
        account = self.accounts[data["account_id"]]
        account.limit = data["limit_minor"]
        if not data.get("keeps_ceiling"):
            account.ceiling = data.get("ceiling_minor")
        account.touch(row.position)

    def _block_placed(self, row: Row, data: dict[str, Any]) -> None:
        account = self.accounts[data["account_id"]]
        block = data["cause"], data["effect"]
        if block in account.blocks:
            self._find("block", f"position {row.position} blocks {account.account_id} once more")
        account.blocks.add(block)
        account.touch(row.position)

    def _block_lifted(self, row: Row, data: dict[str, Any]) -> None:
        account = self.accounts[data["account_id"]]
        account.blocks.remove((data["cause"], data["effect"]))
        account.touch(row.position)

    def _customer_registered(self, row: Row, data: dict[str, Any]) -> None:
        name = data.get("customer_id", f"cus_{row.position}")
        if name in self.customers:
            self._find("event", f"position {row.position} registers {name} once more")
        self.customers[name] = dict(data.get("public", {}))
        self.subjects.add(data["subject"])

    def _profile_changed(self, row: Row, data: dict[str, Any]) -> None:
        profile = self.customers[data["customer_id"]]
        profile.update(data.get("public", {}))
        if row.key is None:
            self._find("event", f"position {row.position} changes a profile without a key")

    def _take_names(self, row: Row, data: dict[str, Any]) -> None:
        """The ids and references that an entry or hold takes; each is taken once."""
        kinds = [("reference", "reference")]
        if row.type == "JournalEntryPosted":
            kinds += [("entry", "entry_id"), ("reversal", "reverses")]
        for kind, name in kinds:
            if name not in data:
                continue
            if (kind, data[name]) in self._names:
                self._find("identity", f"position {row.position} takes {kind} {data[name]} again")
            self._names.add((kind, data[name]))
            self.identities.add((kind, data[name], row.position))


def states_at(rows: list[Row], positions: set[int]) -> Iterator[tuple[int, Fold]]:
    """The fold as it is after each of those positions; the last is the whole, whatever was asked.

    It is the same fold each time: look at it before the next.
    """
    fold = Fold()
    if 0 in positions:
        yield 0, fold
    for row in rows:
        fold.take(row)
        if row.position in positions:
            yield row.position, fold
    if not rows or rows[-1].position not in positions:
        yield (rows[-1].position if rows else 0), fold


def _text(amount: int | None) -> str | None:
    """An amount as HTTP has it."""
    return None if amount is None else str(amount)
