"""What money must do, told a second time in the plainest way, event by event.

Shares nothing with the rules but the events. Says what is wrong with the event that comes next.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from ledger_core.accounts import AccountOpened, BlockLifted, BlockPlaced, LimitSet, normal_side
from ledger_core.books import Event
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted, Posting
from ledger_core.refusals import CommandRefused
from ledger_core.unchanged import NothingChanged


@dataclass(slots=True)
class Account:
    """What is posted and held on an account, by side."""

    currency: str
    normal: str
    limit: int | None
    posted: dict[str, int] = field(default_factory=lambda: {"debit": 0, "credit": 0})
    held: dict[str, int] = field(default_factory=lambda: {"debit": 0, "credit": 0})
    blocks: set[tuple[str, str]] = field(default_factory=set)

    def left(self) -> int:
        """How much may still go out."""
        out = "debit" if self.normal == "credit" else "credit"
        return self.posted[self.normal] - self.posted[out] - self.held[out] + (self.limit or 0)


@dataclass(slots=True)
class Hold:
    """What is still held, from whom and for whom, and until when."""

    rest: int
    debit: str
    credit: str
    expires_at: datetime | None


@dataclass(slots=True)
class Model:
    """All accounts, the holds that are open, and what was debited in all by currency."""

    accounts: dict[str, Account] = field(default_factory=dict)
    holds: dict[str, Hold] = field(default_factory=dict)
    debits: dict[str, int] = field(default_factory=dict)
    lines: int = 0

    def take_in(self, event: Event, recorded_at: datetime) -> Iterator[str]:
        """Take in the event that comes next; what is wrong about it."""
        yield from self._overdue(event, recorded_at)
        match event:
            case JournalEntryPosted():
                yield from self._entry(event)
            case HoldPlaced():
                yield from self._placed(event)
            case HoldReleased():
                hold = self.holds.pop(event.hold_id, None)
                if hold is None or hold.rest != event.amount_minor:
                    yield f"hold {event.hold_id} is freed of what it does not hold"
                else:
                    self._hold(hold, -hold.rest)
            case AccountOpened():
                if event.account_id is None or event.account_id in self.accounts:
                    yield f"account {event.account_id} is opened twice"
                else:
                    self.accounts[event.account_id] = Account(
                        event.currency, normal_side(event.account_type), event.limit_minor
                    )
            case LimitSet() | BlockPlaced() | BlockLifted():
                self._terms(event)
            case NothingChanged() | CommandRefused():
                pass
            case _:
                yield f"nobody asked for {type(event).__name__}"

    def _terms(self, event: LimitSet | BlockPlaced | BlockLifted) -> None:
        """What an account allows has changed."""
        account = self.accounts[event.account_id]
        if isinstance(event, LimitSet):
            account.limit = event.limit_minor
        elif isinstance(event, BlockPlaced):
            account.blocks.add((event.cause, event.effect))
        else:
            account.blocks.discard((event.cause, event.effect))

    def _overdue(self, event: Event, recorded_at: datetime) -> Iterator[str]:
        """What is due happens before anything else is recorded."""
        if isinstance(event, HoldReleased) and event.cause == "expired":
            return
        for name, hold in self.holds.items():
            if hold.expires_at is not None and hold.expires_at <= recorded_at:
                yield f"hold {name} was due at {hold.expires_at.isoformat()}, and is still open"

    def _entry(self, event: JournalEntryPosted) -> Iterator[str]:
        """Both sides are equal, and nobody goes beyond a limit."""
        sums: dict[str, int] = {}
        touched = {posting.account_id for posting in event.postings}
        before = {name: self.accounts[name].left() for name in touched if name in self.accounts}
        if before.keys() != touched:
            yield f"accounts {sorted(touched - before.keys())} were never opened"
            return
        if event.hold_id is not None:
            yield from self._captured(event, event.hold_id)
        for posting in event.postings:
            account = self.accounts[posting.account_id]
            signed = posting.amount_minor if posting.side == "debit" else -posting.amount_minor
            sums[posting.currency] = sums.get(posting.currency, 0) + signed
            account.posted[posting.side] += posting.amount_minor
            if posting.side == "debit":
                amount = self.debits.get(posting.currency, 0) + posting.amount_minor
                self.debits[posting.currency] = amount
            yield from _out_of_place(account, posting)
        self.lines += len(event.postings)
        if any(sums.values()):
            yield f"the entry does not balance: {sums}"
        for name, left in before.items():
            yield from self._beyond(name, left)

    def _captured(self, event: JournalEntryPosted, hold_id: str) -> Iterator[str]:
        """Part of a hold was booked."""
        hold = self.holds.get(hold_id)
        taken = event.postings[0].amount_minor + event.freed_minor
        if hold is None or hold.rest < taken:
            yield f"more of hold {hold_id} is captured than it holds"
            return
        self._hold(hold, -taken)
        hold.rest -= taken
        if not hold.rest:
            del self.holds[hold_id]

    def _placed(self, event: HoldPlaced) -> Iterator[str]:
        """Something is held on both accounts."""
        name = event.hold_id or ""
        if name in self.holds:
            yield f"hold {name} is placed twice"
        hold = Hold(
            event.amount_minor, event.debit_account_id, event.credit_account_id, event.expires_at
        )
        before = self.accounts[hold.debit].left()
        self._hold(hold, hold.rest)
        self.holds[name] = hold
        yield from self._beyond(hold.debit, before)

    def _hold(self, hold: Hold, change: int) -> None:
        """Hold more, or less."""
        self.accounts[hold.debit].held["debit"] += change
        self.accounts[hold.credit].held["credit"] += change

    def _beyond(self, name: str, before: int) -> Iterator[str]:
        """An account was taken further beyond its limit."""
        account = self.accounts[name]
        left = account.left()
        if account.limit is not None and left < 0 and left < before:
            yield f"account {name} is {-left} beyond its limit"


def _out_of_place(account: Account, posting: Posting) -> Iterator[str]:
    """A posting that the account does not take."""
    if account.currency != posting.currency:
        yield f"{posting.currency} is posted to an account in {account.currency}"
    if posting.amount_minor <= 0:
        yield "a posting is not above 0"
    if any(effect in (posting.side, "full") for _, effect in account.blocks):
        yield f"account {posting.account_id} is blocked for a {posting.side}"
