"""Logs at random, decided by the ledger's own rules, with all that moves or reserves money."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from tests.rules.harness import (
    captured,
    decide,
    deposited,
    fall_due,
    held,
    opened,
    record,
    transfer,
    voided,
    withdrawn,
)
from tests.strategies import START

from ledger_core import events, log
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.books import Books, Event
from ledger_core.commands import Command
from ledger_core.customers import RegisterCustomer
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import LedgerError
from ledger_core.exchanges import Exchange
from ledger_core.journal import Side
from ledger_core.reversals import ReverseEntry

ACCOUNTS = ("A", "B", "C", "Åsa", 'quo"te', "back\\slash")
TEXTS = ("rent", 'said "no"', ',"data":{"x":1}', "päivä", "a\\b", "\N{SNOWMAN}", ',"text":"')


@dataclass
class LogMaker:
    """A ledger without a database: its books, and its leaves as the ledger would store them."""

    seed: int
    books: Books = field(default_factory=Books)
    leaves: list[bytes] = field(default_factory=list)
    holds: int = 0

    def __post_init__(self) -> None:
        """Begin at the usual time, with the accounts open."""
        self.chance = random.Random(self.seed)
        self.books.recorded_at = START
        for name in ACCOUNTS:
            self.run(opened(name, limit="100000"))
        self.run(opened("yen", currency="JPY"))

    def run(self, command: Command) -> None:
        """Carry a command out, if it can be; its key stands on the last of its events."""
        try:
            happened = decide(self.books, command)
        except LedgerError:
            return
        key = f"key-{self.chance.getrandbits(64):x}" if self.chance.random() < 0.9 else None
        for event in happened:
            self._append(event, key if event is happened[-1] else None)
            record(self.books, event)

    def grow(self, count: int) -> "LogMaker":
        """Go on until there are at least so many events."""
        while len(self.leaves) < count:
            if self.chance.random() < 0.3:
                moment = self.books.recorded_at + timedelta(
                    microseconds=self.chance.choice([1, 999_999, 7_000_000, 3_600_000_000])
                )
                for event in fall_due(self.books, moment):
                    self._append(event, None)
            self.run(self.chance.choice(_COMMANDS)(self))
        return self

    def _append(self, event: Event, key: str | None) -> None:
        """Store an event."""
        position = len(self.leaves) + 1
        name, version = events.name_of(event)
        self.leaves.append(
            log.leaf_of(
                position,
                log.micros(self.books.recorded_at),
                name,
                version,
                key,
                self.chance.choice(["teller:1", "clerk \N{SNOWMAN}", 'the "boss"']),
                events.tags_of(event, position),
                events.encode(event),
            )
        )

    def two(self) -> tuple[str, str]:
        """Two accounts."""
        one, other = self.chance.sample(ACCOUNTS, 2)
        return one, other

    def late_hold(self) -> str:
        """A hold that was placed not long ago, if any."""
        return f"h{max(1, self.holds - self.chance.randrange(5))}"

    def amount(self) -> int:
        """An amount, now and then a very large one."""
        return self.chance.choice([1, 99, 1_250, 50_000, self.chance.randrange(1, 10**6)])


def _deposit(maker: LogMaker) -> Command:
    """Money comes in."""
    text = maker.chance.choice((None, None, *TEXTS))
    return deposited(maker.chance.choice(ACCOUNTS), maker.amount(), description=text)


def _transfer(maker: LogMaker) -> Command:
    """Money changes hands."""
    metadata = maker.chance.choice([None, None, {"n": maker.chance.choice(TEXTS)}])
    return transfer(*maker.two(), maker.amount(), metadata=metadata)


def _entry(maker: LogMaker) -> Command:
    """An entry of several postings."""
    one, other = maker.two()
    amount, part = maker.amount() + 1, 1
    lines = (
        _line(one, "debit", amount),
        _line(other, "credit", amount - part),
        _line(maker.chance.choice(ACCOUNTS), "credit", part),
    )
    name = f"e{maker.chance.randrange(10_000)}" if maker.chance.random() < 0.5 else None
    return PostEntry(postings=lines, entry_id=name)


def _line(account_id: str, side: Side, amount_minor: int) -> PostingLine:
    """One posting of an entry."""
    return PostingLine(account_id=account_id, side=side, amount=str(amount_minor), currency="EUR")


def _hold(maker: LogMaker) -> Command:
    """Money is set aside."""
    maker.holds += 1
    chosen = f"h{maker.holds}" if maker.chance.random() < 0.8 else None
    timeout = maker.chance.choice([None, 60, 86_400])
    multi = maker.chance.random() < 0.5
    return held(
        *maker.two(), maker.amount(), chosen, timeout_s=timeout, multi_capture=multi, force=True
    )


def _capture(maker: LogMaker) -> Command:
    """A hold is settled, wholly or in part."""
    amount = maker.chance.choice(["all", "0", "1", "50"])
    return captured(maker.late_hold(), amount)


def _void(maker: LogMaker) -> Command:
    """A hold is let go."""
    return voided(maker.late_hold())


def _reverse(maker: LogMaker) -> Command:
    """An entry is mirrored."""
    known = list(maker.books.entries)
    name = maker.chance.choice(known) if known else "jrn_1"
    return ReverseEntry(reverses=name, force=True)


def _exchange(maker: LogMaker) -> Command:
    """Euro are sold for yen."""
    return Exchange(
        debit_account_id=maker.chance.choice(ACCOUNTS),
        credit_account_id="yen",
        amount=str(maker.amount()),
        currency="EUR",
        counter_currency="JPY",
        rate="161.25",
    )


def _allocate(maker: LogMaker) -> Command:
    """An amount is split."""
    one, other = maker.two()
    return Allocate(
        sources=(Source(account_id=one),),
        destinations=(Destination(account_id=other),),
        amount=str(maker.amount()),
        currency="EUR",
    )


def _customer(maker: LogMaker) -> Command:
    """Somebody becomes a customer."""
    return RegisterCustomer(profile={"name": f"Somebody {maker.amount()}"})


def _block(maker: LogMaker) -> Command:
    """An account is blocked, on its debit side, or freed."""
    if maker.chance.random() < 0.4:
        return FreezeAccount(account_id="C", cause="court", effect="debit")
    return UnfreezeAccount(account_id="C", cause="court")


_COMMANDS: tuple[Callable[[LogMaker], Command], ...] = (
    _deposit,
    _deposit,
    _transfer,
    _transfer,
    _transfer,
    lambda maker: withdrawn(maker.chance.choice(ACCOUNTS), maker.amount()),
    _entry,
    _hold,
    _hold,
    _capture,
    _capture,
    _void,
    _reverse,
    _exchange,
    _allocate,
    _customer,
    _block,
)
