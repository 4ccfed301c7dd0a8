"""Allocations on accounts: who can give, what is refused in which order, what is booked."""

from typing import Any

import pytest
from tests.rules.harness import Given, deposited, given, opened, with_field

from ledger_core.account_terms import CloseAccount
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.blocks import FreezeAccount
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.commands import Command, differing_fields
from ledger_core.errors import (
    AccountIsBlocked,
    AccountIsClosed,
    AccountNotFound,
    ConditionFailed,
    CurrencyMismatch,
    EntryExists,
    InsufficientFunds,
    LedgerError,
    ReferenceConflict,
    SameAccount,
    UnknownCurrency,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.holds import PlaceHold
from ledger_core.journal import JournalEntryPosted, Posting


def of(account_id: str | None = None, **fields: Any) -> Source:  # noqa: ANN401
    """A source."""
    return Source(account_id=account_id, **fields)


def to(account_id: str | None = None, **fields: Any) -> Destination:  # noqa: ANN401
    """A destination."""
    return Destination(account_id=account_id, **fields)


def allocate(
    amount: int | str,
    sources: list[Source],
    destinations: list[Destination],
    **fields: Any,  # noqa: ANN401
) -> Allocate:
    """An allocation in euro unless said otherwise."""
    return Allocate(
        amount=str(amount),
        sources=tuple(sources),
        destinations=tuple(destinations),
        **{"currency": "EUR", **fields},
    )


def bank(*happened: Command) -> Given:
    """A has 100, B 50 and an overdraft of 20; the world and a till are without limit."""
    return given(
        opened("A"),
        opened("B", limit="20"),
        opened("X"),
        opened("Y"),
        opened("world", account_type="equity"),
        opened("till", account_type="asset"),
        opened("yen", currency="JPY"),
        deposited("A", 100),
        deposited("B", 50),
        *happened,
    )


def moved(given_books: Given, command: Allocate) -> list[tuple[str, str, int]]:
    """From, to and amount of what the command books, which must be one entry of such pairs."""
    answer = given_books.when(command)
    assert answer.error is None, answer.error
    (entry,) = answer.events
    assert isinstance(entry, JournalEntryPosted)
    assert entry.kind == "allocation"
    pairs = zip(entry.postings[::2], entry.postings[1::2], strict=True)
    found = []
    for debit, credit in pairs:
        assert (debit.side, credit.side) == ("debit", "credit")
        assert debit.amount_minor == credit.amount_minor
        found.append((debit.account_id, credit.account_id, debit.amount_minor))
    return found


def test_the_entry_debits_sources_and_credits_destinations() -> None:
    """Pair by pair in the order of both, what is kept stays; the command is kept as it was put."""
    command = allocate(
        120,
        [of("A"), of("B")],
        [to("X", share="50%"), to(kept=True, share="25%"), to("Y", share="remaining")],
        description="d",
    )
    assert moved(bank(), command) == [("A", "X", 60), ("A", "Y", 10), ("B", "Y", 20)]
    answer = bank().when(with_field(command, "key", "k"))
    (entry,) = answer.events
    assert isinstance(entry, JournalEntryPosted)
    assert entry.description == "d"
    assert differing_fields(command, entry, None) == ()
    assert differing_fields(with_field(command, "rounding", "first"), entry, None) == ("rounding",)


def test_the_postings_are_of_the_currency_asked_for() -> None:
    """On both sides of every movement."""
    command = allocate(5, [of("world2")], [to("yen", max="2"), to("yen2")], currency="JPY")
    happened = (
        opened("yen2", currency="JPY"),
        opened("world2", currency="JPY", account_type="equity"),
    )
    (entry,) = bank(*happened).when(command).events
    assert isinstance(entry, JournalEntryPosted)
    assert entry.postings == (
        Posting("world2", "debit", 2, "JPY"),
        Posting("yen", "credit", 2, "JPY"),
        Posting("world2", "debit", 3, "JPY"),
        Posting("yen2", "credit", 3, "JPY"),
    )


@pytest.mark.parametrize(
    ("rounding", "parts"), [("largest_remainder", (33, 67)), ("first", (34, 66))]
)
def test_the_rounding_that_is_named_decides_what_fits(
    rounding: str, parts: tuple[int, int]
) -> None:
    """A fixed amount inside a share is exact: it fits the share as it is rounded, not otherwise."""
    shares = ("33.3%", "66.7%")
    fits = [
        to(inner=(to(name, fixed=str(part)),), share=share)
        for name, part, share in zip("XY", parts, shares, strict=True)
    ]
    command = allocate(100, [of("world")], fits, rounding=rounding)
    assert moved(bank(), command) == [("world", "X", parts[0]), ("world", "Y", parts[1])]
    other = {"largest_remainder": "first", "first": "largest_remainder"}[rounding]
    bank().when(with_field(command, "rounding", other)).then_refuses(
        ValidationFailed, field="destinations[0].inner"
    )
    halves = [of("world", share="33.3%"), of("till", share="66.7%")]
    found = moved(bank(), allocate(100, halves, [to("X")], rounding=rounding))
    assert found == [("world", "X", parts[0]), ("till", "X", parts[1])]


def test_an_account_gives_what_it_has_available() -> None:
    """Its balance, less what is held, plus its limit; without a limit whatever it is asked for."""
    hold = PlaceHold(debit_account_id="A", credit_account_id="X", amount="30", currency="EUR")
    legs = [of("A"), of("B"), of("world")]
    assert moved(bank(hold), allocate(150, legs, [to("X")])) == [
        ("A", "X", 70),
        ("B", "X", 70),
        ("world", "X", 10),
    ]
    assert moved(bank(), allocate(70, [of("B")], [to("X")])) == [("B", "X", 70)]
    bank().when(allocate(71, [of("B")], [to("X")])).then_refuses(
        InsufficientFunds, field="sources", available_minor="70", needed_minor="71"
    )
    assert moved(bank(), allocate(10**30, [of("till")], [to("X")])) == [("till", "X", 10**30)]


def test_an_account_with_a_ceiling_gives_up_to_it() -> None:
    """A debit raises the balance of an asset, so its ceiling bounds what it can be debited."""
    safe = opened("safe", account_type="asset", ceiling="40")
    assert moved(bank(safe), allocate(60, [of("safe"), of("A")], [to("X")])) == [
        ("safe", "X", 40),
        ("A", "X", 20),
    ]


def test_all_is_what_is_there() -> None:
    """Overdrafts are; an account without limit gives its balance, and nothing of what it lacks."""
    legs = [of("A", max="30"), of("B"), of("world"), of("till")]
    assert moved(bank(), allocate("all", legs, [to("X")])) == [("A", "X", 30), ("B", "X", 70)]
    funded = bank(deposited("world", 5))
    assert moved(funded, allocate("all", [of("world")], [to("X")])) == [("world", "X", 5)]
    bank().when(allocate("all", [of("X")], [to("Y")])).then_nothing()
    bank().when(allocate("all", [of("A")], [to("X", fixed="101"), to("Y")])).then_refuses(
        InsufficientFunds, field="destinations", available_minor="100", needed_minor="101"
    )
    bank().when(allocate("all", [of("A")], [to("X", max="99")])).then_refuses(
        ValidationFailed, field="destinations"
    )
    bank().when(allocate("all", [of("A", share="100%")], [to("X")])).then_refuses(
        ValidationFailed, field="sources[0].share"
    )


def test_a_share_that_is_short_is_refused_though_others_could_pay() -> None:
    """The account at fault is named with its figures."""
    legs = [of("A", share="80%"), of("world", share="remaining")]
    bank().when(allocate(200, legs, [to("X")])).then_refuses(
        InsufficientFunds, account_id="A", available_minor="100", needed_minor="160"
    )


def test_forced_accounts_count_as_without_limit() -> None:
    """The first gives everything; but all that they have is still what is there."""
    command = allocate(300, [of("A"), of("B")], [to("X")], force=True)
    assert moved(bank(), command) == [("A", "X", 300)]
    everything = allocate("all", [of("A"), of("B")], [to("X")], force=True)
    assert moved(bank(), everything) == [("A", "X", 100), ("B", "X", 70)]


def test_what_is_all_kept_changes_nothing() -> None:
    """Nothing to move is no refusal; conditions and names are looked at all the same."""
    kept = allocate(10, [of("A")], [to(kept=True)])
    bank().when(kept).then_nothing()
    bank().when(with_field(kept, "if_version", {"A": 9})).then_refuses(VersionConflict)


ONE = allocate(10, [of("A")], [to("X")])


@pytest.mark.parametrize(
    ("command", "kind", "seen"),
    [
        (with_field(ONE, "amount", "0"), ValidationFailed, {"field": "amount"}),
        (with_field(ONE, "amount", "ALL"), ValidationFailed, {"field": "amount"}),
        (with_field(ONE, "sources", ()), ValidationFailed, {"field": "sources"}),
        (with_field(ONE, "reference", ""), ValidationFailed, {"field": "reference"}),
        (
            allocate(10, [of("nobody")], [to("X", fixed="11")]),
            ValidationFailed,
            {"field": "destinations"},
        ),
        (
            allocate(10, [of(inner=(of("A"), of("nobody")))], [to("X")]),
            AccountNotFound,
            {"field": "sources[0].inner[1].account_id"},
        ),
        (
            allocate(10, [of("A")], [to("nobody", max="1"), to("X")]),
            AccountNotFound,
            {"field": "destinations[0].account_id"},
        ),
        (allocate(10, [of("A")], [to("X", max="1"), to("A")]), SameAccount, {"account_id": "A"}),
        (
            allocate(10, [of("A"), of("yen")], [to("X")]),
            CurrencyMismatch,
            {"account_id": "yen", "account_currency": "JPY"},
        ),
        (with_field(ONE, "currency", "QQQ"), UnknownCurrency, {}),
    ],
)
def test_what_does_not_fit_is_refused_and_named(
    command: Allocate, kind: type[LedgerError], seen: dict[str, object]
) -> None:
    """Form first, then accounts, sides, currencies."""
    bank().when(command).then_refuses(kind, **seen)


def test_every_account_must_take_its_side_even_where_its_part_is_nothing() -> None:
    """Whether the answer is a refusal does not depend on how far the money goes."""
    spare = allocate(10, [of("A"), of("B")], [to("X", max="10"), to("Y")])
    assert moved(bank(), spare) == [("A", "X", 10)]
    blocked = bank(FreezeAccount(account_id="B", cause="c", effect="debit"))
    blocked.when(spare).then_refuses(AccountIsBlocked, account_id="B", side="debit")
    bank(CloseAccount(account_id="Y")).when(spare).then_refuses(AccountIsClosed, account_id="Y")
    other_side = FreezeAccount(account_id="B", cause="c", effect="credit")
    assert moved(bank(other_side), spare) == [("A", "X", 10)]
    unwilling = bank(FreezeAccount(account_id="Y", cause="c", effect="credit"))
    unwilling.when(spare).then_refuses(AccountIsBlocked, account_id="Y", side="credit")
    paying = bank(FreezeAccount(account_id="Y", cause="c", effect="debit"))
    assert moved(paying, spare) == [("A", "X", 10)]


def test_too_little_money_comes_last() -> None:
    """Taken names and broken conditions are said first."""
    short = allocate(101, [of("A")], [to("X")])
    books = bank(with_field(with_field(ONE, "entry_id", "e"), "reference", "r"))
    books.when(with_field(short, "entry_id", "e")).then_refuses(EntryExists)
    books.when(with_field(short, "reference", "r")).then_refuses(ReferenceConflict)
    books.when(with_field(short, "if_version", {"A": 9})).then_refuses(VersionConflict)
    books.when(short).then_refuses(InsufficientFunds)
    condition = {"X": BalanceCondition(posted=Bounds(lt="20"))}
    books.when(with_field(ONE, "if_balance", condition)).then_refuses(
        ConditionFailed, account_id="X", would_be_minor="20"
    )


def test_a_ceiling_of_a_destination_holds() -> None:
    """The last check is that of every entry."""
    full = opened("full", ceiling="5")
    answer = bank(full).when(allocate(10, [of("A")], [to("full")]))
    assert answer.error is not None
    assert answer.error.code == "limit_exceeded"
