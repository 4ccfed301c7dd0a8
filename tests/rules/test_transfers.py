"""Transfers, deposits and withdrawals: what they book, and why they are refused."""

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import (
    Given,
    deposited,
    given,
    held,
    opened,
    transfer,
    with_field,
    withdrawn,
)

from ledger_core import transfers
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount
from ledger_core.accounts import AccountOpened, BlockEffect
from ledger_core.blocks import FreezeAccount
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.books import Books
from ledger_core.commands import differing_fields
from ledger_core.deposits import Channel, channel_account_id
from ledger_core.errors import (
    AccountIsBlocked,
    AccountIsClosed,
    AccountNotFound,
    CurrencyMismatch,
    InsufficientFunds,
    ReferenceConflict,
    SameAccount,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.groups import AddToGroup, CreateGroup
from ledger_core.journal import JournalEntryPosted, Posting
from ledger_core.periods import ClosePeriod
from ledger_core.transfers import Transfer
from ledger_core.units import RegisterUnit

if TYPE_CHECKING:
    from ledger_core.commands import Command


def bank() -> Given:
    """A with 100, B with nothing, both of customers; J in yen."""
    return given(opened("A"), opened("B"), opened("J", currency="JPY"), deposited("A", 100))


def test_a_transfer_debits_the_payer_and_credits_the_payee() -> None:
    """One entry with both legs, and everything that the caller said of it."""
    fields = {
        "value_date": date(2026, 2, 1),
        "entry_id": "e",
        "reference": "r",
        "description": "rent",
        "metadata": {"invoice": "7"},
    }
    books = (
        bank()
        .when(transfer("A", "B", 30, **fields))
        .then(
            JournalEntryPosted(
                "transfer",
                (Posting("A", "debit", 30, "EUR"), Posting("B", "credit", 30, "EUR")),
                date(2026, 2, 1),
                "e",
                "r",
                "rent",
                {"invoice": "7"},
            )
        )
    )
    assert books.accounts["A"].posted_minor == 70
    assert books.accounts["B"].posted_minor == 30


PLAIN = opened("A", limit="10"), opened("B", account_type="asset"), deposited("A", 100)


def plainly(books: Books, *some: Transfer) -> tuple[JournalEntryPosted, ...]:
    """What the short way books of these transfers, which nothing else had a chance to."""
    keyed = [with_field(item, "key", f"key-{at}") for at, item in enumerate(some)]
    savepoint = books.savepoint()
    booked = transfers.book_plain(books, keyed, (), is_final=False)
    books.rollback(savepoint)
    return tuple(booked)


def test_the_short_way_ends_before_what_is_special() -> None:
    """What comes before is booked, each on what the one before left; the rest is left alone."""
    books = given(*PLAIN).books
    some = [transfer("A", "B", 100), transfer("A", "B", 10), transfer("A", "B", 1)]
    assert [entry.postings[0].amount_minor for entry in plainly(books, *some)] == [100, 10]
    assert books.accounts["A"].posted_minor == 100
    first, last = (with_field(transfer("A", "B", 1), "key", key) for key in ("k1", "k2"))
    batch = (first, deposited("A", 1, key="d"), last)
    (entry,) = transfers.book_plain(books, batch, (), is_final=True)
    assert entry.postings[0].amount_minor == 1
    assert books.accounts["A"].posted_minor == 99


@pytest.mark.parametrize("key", ["", "a b", "\u00e9", "k" * 256, "used"])
def test_a_key_that_is_malformed_or_used_is_special(key: str) -> None:
    """So is one that a transfer just before has."""
    books = given(*PLAIN).books
    command = with_field(transfer("A", "B", 1), "key", key)
    assert not transfers.book_plain(books, [command], {"used"}, is_final=True)
    twice = [with_field(transfer("A", "B", 1), "key", "k")] * 2
    assert len(transfers.book_plain(books, twice, (), is_final=True)) == 1


@pytest.mark.parametrize("amount_minor", [1, 109, 110])
def test_a_plain_transfer_is_decided_the_short_way(amount_minor: int) -> None:
    """Nothing said but accounts, amount and currency, and nothing in its way."""
    books = given(*PLAIN).books
    command = transfer("A", "B", amount_minor)
    assert plainly(books, command) == transfers.decide(books, command)


@pytest.mark.parametrize(
    ("happened", "command"),
    [
        ((), transfer("A", "B", 111)),
        ((), transfer("A", "A", 1)),
        ((), transfer("A", "X", 1)),
        ((), transfer("A", "B", 1, currency="USD")),
        ((), with_field(transfer("A", "B", 1), "amount", "01")),
        ((), with_field(transfer("A", "B", 1), "amount", "0")),
        ((), transfer("A", "B", 1, value_date=date(2026, 1, 2))),
        ((), transfer("A", "B", 1, entry_id="e")),
        ((), transfer("A", "B", 1, reference="r")),
        ((), transfer("A", "B", 1, description="d")),
        ((), transfer("A", "B", 1, metadata={"n": "v"})),
        ((), transfer("A", "B", 1, code="c")),
        ((), transfer("A", "B", 1, if_version={"A": 1})),
        ((), transfer("A", "B", 1, if_balance={"A": BalanceCondition(posted=Bounds(gte="0"))})),
        ((), transfer("A", "B", 1, balancing="debit")),
        ((), transfer("A", "B", 1, force=True)),
        ((FreezeAccount(account_id="A", cause="court", effect="debit"),), transfer("A", "B", 1)),
        ((FreezeAccount(account_id="B", cause="court", effect="credit"),), transfer("A", "B", 1)),
        ((SetLimit(account_id="B", limit=None, ceiling="500"),), transfer("A", "B", 1)),
        (
            (
                CreateGroup(group_id="g", name="G", currency="EUR"),
                AddToGroup(group_id="g", account_id="B"),
            ),
            transfer("A", "B", 1),
        ),
        ((opened("C"), CloseAccount(account_id="C")), transfer("A", "C", 1)),
    ],
)
def test_whatever_is_special_is_decided_the_long_way(
    happened: tuple["Command", ...], command: Transfer
) -> None:
    """The short way has no answer of its own to anything that a rule might have a say in."""
    assert plainly(given(*PLAIN, *happened).books, command) == ()


def test_a_closed_period_does_not_stop_todays_plain_transfers() -> None:
    """Unless it comes to include today, by a clock that went back."""
    books = given(*PLAIN, ClosePeriod(through=date(2025, 6, 30))).books
    assert plainly(books, transfer("A", "B", 1))
    books.recorded_at = datetime(2025, 6, 30, 23, tzinfo=UTC)
    assert plainly(books, transfer("A", "B", 1)) == ()


def test_a_deposit_opens_the_channels_account_once() -> None:
    """The first entry of a channel and currency opens its account, the next ones use it."""
    first = given(opened("A")).when(deposited("A", 7, channel="atm"))
    entry = JournalEntryPosted(
        "deposit",
        (Posting("bank:atm:EUR", "debit", 7, "EUR"), Posting("A", "credit", 7, "EUR")),
        channel="atm",
    )
    books = first.then(
        AccountOpened("asset", "EUR", 2, account_id="bank:atm:EUR", name="atm"), entry
    )
    assert books.accounts["bank:atm:EUR"].posted_minor == 7
    Given(books).when(deposited("A", 7, channel="atm")).then(entry)


def test_a_withdrawal_takes_from_the_account_and_the_channel() -> None:
    """Cash goes out: the account is debited, the counter credited."""
    books = (
        bank()
        .when(withdrawn("A", 100))
        .then(
            JournalEntryPosted(
                "withdrawal",
                (
                    Posting("A", "debit", 100, "EUR"),
                    Posting("bank:counter:EUR", "credit", 100, "EUR"),
                ),
                channel="counter",
            )
        )
    )
    assert books.accounts["bank:counter:EUR"].posted_minor == 0


def test_a_refused_first_deposit_leaves_no_channel_account() -> None:
    """Judging an entry on an account that is not open yet leaves nothing behind."""
    answer = given(opened("A"), FreezeAccount(account_id="A", cause="court", effect="credit")).when(
        deposited("A", 1)
    )
    answer.then_refuses(AccountIsBlocked, causes=["court"], side="credit")
    assert answer.books.accounts.keys() == {"A"}
    given(opened("A")).when(withdrawn("A", 1)).then_refuses(InsufficientFunds)


@pytest.mark.parametrize("channel", get_args(Channel))
def test_every_channel_has_an_account_of_its_own(channel: str) -> None:
    """One a channel and currency."""
    answer = bank().when(deposited("J", 5, currency="JPY", channel=channel))
    assert answer.error is None
    account = answer.books.accounts[channel_account_id(channel, "JPY")]
    assert (account.posted_minor, account.terms.scale) == (5, 0)


def test_a_registered_unit_moves_like_a_currency() -> None:
    """Its channel account has the unit's scale."""
    answer = given(RegisterUnit(code="PTS", scale=3), opened("P", currency="PTS")).when(
        deposited("P", 5, currency="PTS")
    )
    assert answer.error is None
    assert answer.books.accounts["bank:counter:PTS"].terms.scale == 3


@pytest.mark.parametrize(
    ("debit", "credit", "field"),
    [
        ("X", "B", "debit_account_id"),
        ("A", "X", "credit_account_id"),
        ("X", "X", "debit_account_id"),
    ],
)
def test_both_accounts_must_exist(debit: str, credit: str, field: str) -> None:
    """The refusal names the field, not what stood in it."""
    bank().when(transfer(debit, credit, 1)).then_refuses(AccountNotFound, field=field)


def test_cash_needs_an_account_too() -> None:
    """Deposits and withdrawals name an account that exists."""
    bank().when(deposited("X", 1)).then_refuses(AccountNotFound, field="account_id")
    bank().when(withdrawn("X", 1)).then_refuses(AccountNotFound, field="account_id")


def test_an_account_does_not_pay_itself() -> None:
    """Neither by transfer nor by paying the counter at the counter."""
    bank().when(transfer("A", "A", 1)).then_refuses(SameAccount)
    bank().when(deposited("bank:counter:EUR", 1)).then_refuses(SameAccount)
    bank().when(withdrawn("bank:counter:EUR", 1)).then_refuses(SameAccount)
    assert bank().when(withdrawn("bank:counter:EUR", 1, channel="atm")).error is None


def test_accounts_are_kept_in_one_currency() -> None:
    """Another currency is a mismatch, one that nobody knows is unknown."""
    bank().when(transfer("A", "J", 1)).then_refuses(CurrencyMismatch, account_id="J")
    bank().when(transfer("A", "B", 1, currency="JPY")).then_refuses(
        CurrencyMismatch, account_id="A", account_currency="EUR"
    )
    bank().when(transfer("A", "B", 1, currency="PTS")).then_refuses(UnknownCurrency)
    bank().when(deposited("A", 1, currency="JPY")).then_refuses(CurrencyMismatch)
    bank().when(withdrawn("A", 1, currency="eur")).then_refuses(UnknownCurrency)


@pytest.mark.parametrize("effect", get_args(BlockEffect))
def test_a_block_stops_its_side_only(effect: str) -> None:
    """Debits, credits or both, from whichever command they come."""
    frozen: list[Command] = [opened("A"), opened("B"), deposited("A", 9), deposited("B", 9)]
    block = FreezeAccount(account_id="A", cause="court", effect=effect)  # type: ignore[arg-type]
    for command, side in (
        (transfer("A", "B", 1), "debit"),
        (withdrawn("A", 1), "debit"),
        (transfer("B", "A", 1), "credit"),
        (deposited("A", 1), "credit"),
    ):
        answer = given(*frozen, block).when(command)
        if effect in (side, "full"):
            answer.then_refuses(AccountIsBlocked, account_id="A", side=side, causes=["court"])
        else:
            assert answer.error is None


def test_a_closed_account_takes_nothing() -> None:
    """On either side, by any command."""
    closed: list[Command] = [
        opened("A"),
        opened("B"),
        deposited("A", 9),
        CloseAccount(account_id="B"),
    ]
    for command in (transfer("A", "B", 1), transfer("B", "A", 1), deposited("B", 1)):
        given(*closed).when(command).then_refuses(AccountIsClosed, account_id="B")


def test_a_reference_is_taken_once() -> None:
    """Whatever kind of entry took it first."""
    taken: list[Command] = [opened("A"), deposited("A", 5, reference="r")]
    given(*taken).when(deposited("A", 5, reference="r")).then_refuses(ReferenceConflict, position=3)
    given(*taken, opened("B")).when(transfer("A", "B", 1, reference="r")).then_refuses(
        ReferenceConflict, position=3
    )


@draw(st.integers(0, 300), st.integers(0, 300), st.integers(1, 700))
def test_the_limit_may_be_reached_exactly(money: int, limit: int, amount: int) -> None:
    """An amount passes if and only if money and limit cover it, and the figures are shown."""
    happened: list[Command] = [opened("A", limit=str(limit)), opened("B")]
    if money:
        happened.append(deposited("A", money))
    answer = given(*happened).when(transfer("A", "B", amount))
    if amount <= money + limit:
        assert answer.error is None
        assert answer.books.accounts["A"].available_minor == money + limit - amount
    else:
        answer.then_refuses(
            InsufficientFunds,
            account_id="A",
            available_minor=str(money + limit),
            limit_minor=str(limit),
            needed_minor=str(amount),
        )


def balancing_bank() -> Given:
    """A may give 120: 100 and a limit of 50, less 30 held. B may take 55: 70, less 10 and 5."""
    return given(
        opened("A", limit="50"),
        opened("B", ceiling="70", limit="0"),
        opened("X", limit=None),
        deposited("A", 100),
        deposited("B", 10),
        held("A", "X", 30, "out"),
        held("X", "B", 5, "in"),
    )


@pytest.mark.parametrize(
    ("balancing", "asked", "moved"),
    [
        ("debit", 500, 120),
        ("debit", 121, 120),
        ("debit", 120, 120),
        ("debit", 119, 119),
        ("credit", 500, 55),
        ("credit", 55, 55),
        ("credit", 54, 54),
        ("both", 500, 55),
        ("both", 1, 1),
    ],
)
def test_a_balancing_transfer_moves_what_fits(balancing: str, asked: int, moved: int) -> None:
    """Up to its amount, as far as the named side allows; what was asked for is kept beside it."""
    command = transfer("A", "B", asked, balancing=balancing, force=True)
    (entry,) = balancing_bank().when(command).events
    assert isinstance(entry, JournalEntryPosted)
    assert [posting.amount_minor for posting in entry.postings] == [moved, moved]
    assert entry.asked == {
        "type": "transfer",
        "debit_account_id": "A",
        "credit_account_id": "B",
        "amount": str(asked),
        "currency": "EUR",
        "balancing": balancing,
        "force": True,
    }
    assert differing_fields(command, entry, None) == ()
    other = with_field(command, "amount", str(asked + 1))
    assert differing_fields(other, entry, None) == ("amount",)


@pytest.mark.parametrize(
    ("command", "moved"),
    [
        (transfer("B", "X", 500, balancing="debit"), 10),
        (transfer("X", "A", 500, balancing="debit"), 0),
        (transfer("A", "X", 500, balancing="credit"), 0),
        (transfer("A", "X", 500, balancing="both"), 0),
        (transfer("A", "X", 0, balancing="debit"), 0),
        (transfer("bank:counter:EUR", "X", 500, balancing="debit"), 0),
        (transfer("X", "bank:counter:EUR", 500, balancing="credit"), 110),
    ],
)
def test_a_balancing_transfer_may_find_nothing(command: Transfer, moved: int) -> None:
    """An account without the limit in question may come to zero, and no further."""
    answer = balancing_bank().when(command)
    assert answer.error is None
    amounts = [
        posting.amount_minor
        for event in answer.events
        if isinstance(event, JournalEntryPosted)
        for posting in event.postings
    ]
    assert amounts == [moved] * 2 * (moved > 0)


def test_only_a_balancing_transfer_may_be_of_nothing() -> None:
    """Another one names what it moves."""
    balancing_bank().when(transfer("A", "B", 0)).then_refuses(ValidationFailed, field="amount")


def test_the_banks_own_accounts_have_no_limit_unless_one_is_set() -> None:
    """An asset may be credited below zero; with a limit of zero it may not."""
    free = given(opened("cash", account_type="asset"), opened("B", limit=None))
    books = free.when(transfer("B", "cash", 5)).books
    assert books.accounts["cash"].posted_minor == -5
    given(opened("cash", account_type="asset", limit="0"), opened("B", limit=None)).when(
        transfer("B", "cash", 5)
    ).then_refuses(InsufficientFunds, account_id="cash")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", "0"),
        ("amount", ""),
        ("amount", "-1"),
        ("amount", "+1"),
        ("amount", "1.5"),
        ("amount", "1e3"),
        ("amount", " 1"),
        ("amount", "1_0"),
        ("amount", "٣"),
        ("amount", "²"),
        ("amount", "01"),
        ("amount", "9" * 37),
        ("amount", "NaN"),
        ("debit_account_id", ""),
        ("credit_account_id", "a\nb"),
        ("credit_account_id", " B"),
        ("credit_account_id", "x" * 201),
        ("entry_id", ""),
        ("entry_id", "jrn_7"),
        ("entry_id", "bank:x"),
        ("reference", ""),
        ("reference", "a\u202eb"),
        ("description", "x" * 501),
        ("description", "a\u2028b"),
        ("description", "\ud800"),
        ("metadata", {"": "x"}),
        ("metadata", {"x" * 41: "x"}),
        ("metadata", {"a": ""}),
        ("metadata", {"a": "\0"}),
        ("metadata", {f"n{number}": "x" for number in range(21)}),
    ],
)
def test_a_malformed_field_is_named_and_not_repeated(name: str, value: object) -> None:
    """The field and its rule are in the refusal; what the caller wrote is not."""
    answer = bank().when(with_field(transfer("A", "B", 1), name, value))
    answer.then_refuses(ValidationFailed, field=name)
    if isinstance(value, str) and len(value) > 2:
        assert value not in str(answer.error)


def test_the_largest_amount_moves() -> None:
    """Thirty-six digits, and sums beyond them."""
    most = 10**36 - 1
    books = given(opened("A"), opened("B"), deposited("A", most), deposited("A", most)).books
    books = Given(books).when(transfer("A", "B", most)).books
    assert books.accounts["A"].posted_minor == most
    assert books.accounts["A"].credits_posted_minor == 2 * most
