"""What all movements share: each check by what it refuses and all that it then says was seen."""

from datetime import date
from typing import Any

import pytest
from tests.rules.harness import (
    Given,
    captured,
    deposited,
    given,
    held,
    opened,
    transfer,
    with_field,
    withdrawn,
)
from tests.strategies import START

from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount
from ledger_core.accounts import AccountOpened
from ledger_core.blocks import FreezeAccount
from ledger_core.booking import BalanceCondition, Bounds, asked_of, fields_of
from ledger_core.commands import Command
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import (
    AccountIsBlocked,
    AccountIsClosed,
    AccountNotFound,
    ConditionFailed,
    CurrencyMismatch,
    EntryExists,
    ExceedsHold,
    HoldNotFound,
    InsufficientFunds,
    LedgerError,
    LimitExceeded,
    PeriodIsClosed,
    ReferenceConflict,
    UnknownCurrency,
    VersionConflict,
)
from ledger_core.exchanges import Exchange
from ledger_core.group import Group
from ledger_core.groups import AddToGroup, CreateGroup, SetGroupLimit
from ledger_core.journal import JournalEntryPosted, Posting, Side
from ledger_core.periods import ClosePeriod
from ledger_core.units import RegisterUnit

BANK: tuple[Command, ...] = (
    opened("A", limit="50"),
    opened("B", ceiling="70"),
    opened("J", currency="JPY"),
    opened("X", limit=None),
    deposited("A", 100, entry_id="taken", reference="known"),
    held("A", "X", 30, "out"),
    held("X", "B", 5, "in"),
)
"""A has 100 and a limit of 50, of which 30 are held; B may come to 70, and will get 5."""
ENTRY_AT = 6
"""The position of the deposit; its channel's account was opened just before."""
VERSION = 3
"""Of A: opened, one entry, one hold."""


def _line(account_id: str, side: Side, amount_minor: int) -> PostingLine:
    """A leg in euro."""
    return PostingLine(account_id=account_id, side=side, amount=str(amount_minor), currency="EUR")


def _group(case: Given) -> Group:
    """The group g, which must be there."""
    group = case.books.kept("group", "g")
    assert isinstance(group, Group)
    return group


@pytest.mark.parametrize(
    ("happened", "command", "kind", "seen"),
    [
        (
            (),
            transfer("A", "J", 1),
            CurrencyMismatch,
            {"account_id": "J", "account_currency": "JPY"},
        ),
        (
            (),
            transfer("A", "B", 1, currency="JPY"),
            CurrencyMismatch,
            {"account_id": "A", "account_currency": "EUR"},
        ),
        ((), transfer("A", "B", 1, currency="PTS"), UnknownCurrency, {}),
        (
            (CloseAccount(account_id="J"),),
            deposited("J", 1, currency="JPY"),
            AccountIsClosed,
            {"account_id": "J"},
        ),
        (
            (
                FreezeAccount(account_id="A", cause="b", effect="debit"),
                FreezeAccount(account_id="A", cause="a", effect="full"),
                FreezeAccount(account_id="A", cause="c", effect="credit"),
            ),
            transfer("A", "X", 1),
            AccountIsBlocked,
            {"account_id": "A", "side": "debit", "causes": ["a", "b"]},
        ),
        (
            (
                FreezeAccount(account_id="B", cause="b", effect="debit"),
                FreezeAccount(account_id="B", cause="c", effect="credit"),
            ),
            transfer("A", "B", 1),
            AccountIsBlocked,
            {"account_id": "B", "side": "credit", "causes": ["c"]},
        ),
        ((), transfer("A", "X", 1, entry_id="taken"), EntryExists, {"position": ENTRY_AT}),
        ((), transfer("A", "X", 1, entry_id="out"), EntryExists, {"position": ENTRY_AT + 1}),
        ((), transfer("A", "X", 1, reference="known"), ReferenceConflict, {"position": ENTRY_AT}),
        (
            (ClosePeriod(through=date(2026, 1, 31)),),
            transfer("A", "X", 1, value_date=date(2026, 1, 31)),
            PeriodIsClosed,
            {"value_date": "2026-01-31", "closed_through": "2026-01-31"},
        ),
        (
            (),
            transfer("A", "X", 1, if_version={"A": VERSION + 1}),
            VersionConflict,
            {"account_id": "A", "version": VERSION},
        ),
        ((), transfer("A", "X", 1, if_version={"Z": 1}), AccountNotFound, {"field": "if_version"}),
        (
            (),
            transfer("A", "X", 1, if_balance={"Z": BalanceCondition(posted=Bounds(eq="0"))}),
            AccountNotFound,
            {"field": "if_balance"},
        ),
        (
            (),
            transfer("A", "X", 1, if_balance={"A": BalanceCondition(available=Bounds(gt="119"))}),
            ConditionFailed,
            {"account_id": "A", "balance": "available", "would_be_minor": "119"},
        ),
        ((), captured("out", 31), ExceedsHold, {"hold_id": "out", "remaining_minor": "30"}),
        (
            (),
            transfer("A", "X", 121),
            InsufficientFunds,
            {
                "account_id": "A",
                "posted_minor": "100",
                "held_minor": "30",
                "available_minor": "120",
                "limit_minor": "50",
                "needed_minor": "121",
            },
        ),
        (
            (),
            transfer("X", "B", 66),
            LimitExceeded,
            {
                "account_id": "B",
                "posted_minor": "0",
                "held_minor": "5",
                "ceiling_minor": "70",
                "reached_minor": "71",
            },
        ),
        (
            (),
            held("A", "X", 121, "H"),
            InsufficientFunds,
            {
                "account_id": "A",
                "posted_minor": "100",
                "held_minor": "30",
                "available_minor": "120",
                "limit_minor": "50",
                "needed_minor": "121",
            },
        ),
        (
            (),
            held("X", "B", 66, "H"),
            LimitExceeded,
            {
                "account_id": "B",
                "posted_minor": "0",
                "held_minor": "5",
                "ceiling_minor": "70",
                "reached_minor": "71",
            },
        ),
    ],
)
def test_a_refusal_says_exactly_what_was_seen(
    happened: tuple[Command, ...],
    command: Command,
    kind: type[LedgerError],
    seen: dict[str, object],
) -> None:
    """Nothing more and nothing less; the books are as they were."""
    case = given(*BANK, *happened)
    before = dict(case.books.accounts)
    error = case.when(command).error
    assert type(error) is kind
    assert error.seen == seen
    assert case.books.accounts == before


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (transfer("A", "nobody", 1, currency="E\nR"), UnknownCurrency),
        (transfer("A", "nobody", 1, currency=""), UnknownCurrency),
        (transfer("A", "nobody", 1, currency="x" * 65), UnknownCurrency),
        (transfer("A", "nobody", 1, currency="x" * 64), AccountNotFound),
        (transfer("A", "nobody", 1, currency="PTS"), AccountNotFound),
        (
            Exchange(
                debit_account_id="A",
                credit_account_id="nobody",
                amount="1",
                currency="EUR",
                counter_currency="x" * 65,
                rate="1",
            ),
            UnknownCurrency,
        ),
        (captured("nothing", currency="x" * 65), UnknownCurrency),
        (captured("nothing", currency="PTS"), HoldNotFound),
    ],
)
def test_what_no_currency_can_be_called_is_refused_before_anything_is_looked_up(
    command: Command, kind: type[LedgerError]
) -> None:
    """Refusals from then on are recorded, so no text of any form or length comes that far."""
    answer = given(*BANK).when(command)
    answer.then_refuses(kind)


@pytest.mark.parametrize(
    "command",
    [
        transfer("A", "X", 120),
        transfer("X", "B", 65),
        held("A", "X", 120, "H"),
        held("X", "B", 65, "H"),
        captured("out", 30),
        transfer("A", "X", 1, entry_id="new", reference="new"),
        transfer("A", "X", 1, if_version={"A": VERSION}),
        transfer("A", "X", 121, force=True),
        transfer("X", "B", 66, force=True),
        held("A", "X", 121, "H", force=True),
        # Only what an entry comes to as a whole counts.
        PostEntry(
            postings=(_line("A", "debit", 200), _line("A", "credit", 80), _line("X", "credit", 120))
        ),
        PostEntry(
            postings=(_line("B", "credit", 90), _line("B", "debit", 25), _line("X", "debit", 65))
        ),
    ],
)
def test_what_reaches_its_bound_exactly_is_booked(command: Command) -> None:
    """And what is forced, beyond."""
    assert given(*BANK).when(command).error is None


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (transfer("A", "X", 61), InsufficientFunds),
        (held("A", "X", 61, "H"), InsufficientFunds),
        (transfer("X", "N", 41), LimitExceeded),
        (held("X", "N", 41, "H"), LimitExceeded),
        (transfer("A", "X", 60), None),
        (held("A", "X", 60, "H"), None),
        (transfer("X", "N", 40), None),
        (held("X", "N", 40, "H"), None),
        (transfer("A", "N", 100), None),
        (captured("out"), None),
    ],
)
def test_a_group_holds_its_members_whatever_limits_they_have(
    command: Command, kind: type[LedgerError] | None
) -> None:
    """A has 100, of which 30 are held; with N, which has no limit, it must keep 10 and 110."""
    case = given(
        opened("A", limit=None),
        opened("N", limit=None),
        opened("X", limit=None),
        transfer("X", "A", 100),
        held("A", "X", 30, "out"),
        CreateGroup(group_id="g", name="n", currency="EUR", limit="-10", ceiling="140"),
        AddToGroup(group_id="g", account_id="A"),
        AddToGroup(group_id="g", account_id="N"),
    )
    answer = case.when(command)
    if kind is None:
        assert answer.error is None, answer.error
    else:
        answer.then_refuses(kind, group_id="g")


def test_beyond_a_limit_only_what_goes_further_is_refused() -> None:
    """What leaves the account as it is, or takes it nearer, is booked; each limit alone counts."""
    case = given(
        *BANK,
        transfer("A", "X", 200, force=True),
        deposited("B", 10),
        SetLimit(account_id="B", limit="0", ceiling="3"),
        opened("Y", limit=None, ceiling="70"),
    )
    for name in ("A", "B"):
        as_it_is = PostEntry(postings=(_line(name, "debit", 1), _line(name, "credit", 1)))
        assert case.when(as_it_is).error is None
    case.when(withdrawn("A", 1)).then_refuses(InsufficientFunds, available_minor="-80")
    case.when(deposited("B", 1)).then_refuses(LimitExceeded, reached_minor="16")
    assert case.when(withdrawn("B", 1)).error is None
    case.when(transfer("X", "Y", 71)).then_refuses(LimitExceeded, account_id="Y")
    assert case.when(transfer("X", "Y", 70)).error is None


def test_a_group_beyond_its_ceiling_by_what_is_to_come_goes_no_further() -> None:
    """Nor further beyond; what leaves it as far, or takes it nearer, is booked."""
    case = given(
        opened("A", limit=None),
        opened("X", limit=None),
        transfer("X", "A", 100),
        held("X", "A", 30, "in"),
        CreateGroup(group_id="g", name="n", currency="EUR", ceiling="120"),
        AddToGroup(group_id="g", account_id="A"),
    )
    assert _group(case).last_position == case.books.position
    case.when(transfer("X", "A", 1)).then_refuses(LimitExceeded, reached_minor="131")
    assert case.when(transfer("A", "X", 1)).error is None
    assert case.when(transfer("A", "X", 1)).error is None
    assert case.when(SetGroupLimit(group_id="g", limit="5", ceiling="120")).error is None
    assert _group(case).last_position == case.books.position
    case.when(AddToGroup(group_id="g", account_id="J")).then_refuses(AccountNotFound)
    yen = case.when(opened("J", currency="JPY")).books
    Given(yen).when(AddToGroup(group_id="g", account_id="J")).then_refuses(
        CurrencyMismatch, account_id="J", account_currency="JPY", group_currency="EUR"
    )


def test_units_of_any_scale_are_exchanged() -> None:
    """The rate is of whole units: 2 points of 3 decimals at 1.5 are 3 euro of 2 decimals."""
    case = given(
        RegisterUnit(code="PTS", scale=3), opened("P", currency="PTS", limit=None), opened("A")
    )
    command = Exchange(
        debit_account_id="P",
        credit_account_id="A",
        amount="2000",
        currency="PTS",
        counter_currency="EUR",
        rate="1.5",
    )
    assert case.when(command).books.accounts["A"].posted_minor == 300
    back = Exchange(
        debit_account_id="A",
        credit_account_id="P",
        amount="300",
        currency="EUR",
        counter_currency="PTS",
        rate="2",
    )
    assert case.when(back).books.accounts["P"].posted_minor == 4000


def test_an_account_counts_the_events_that_touch_it() -> None:
    """One for each, however many legs it has there and whether it also frees what was held."""
    case = given(opened("A"), opened("X", limit=None))
    expected = 1
    for command in (
        deposited("A", 100),
        held("A", "X", 30, "H"),
        PostEntry(
            postings=(_line("A", "debit", 7), _line("A", "credit", 2), _line("X", "credit", 5))
        ),
        captured("H", 10),
        FreezeAccount(account_id="A", cause="c", effect="credit"),
    ):
        assert case.when(command).error is None
        expected += 1
        account = case.books.accounts["A"]
        assert (account.version, account.last_position) == (expected, case.books.position)
    opening = case.when(opened("B")).books
    assert opening.accounts["B"].last_position == opening.position


def test_a_registered_unit_has_a_channels_account_of_its_scale() -> None:
    """Opened by the first deposit, as for a currency."""
    unit = RegisterUnit(code="PTS", scale=3)
    case = given(unit, opened("P", currency="PTS"))
    opening, _ = case.when(deposited("P", 5, currency="PTS")).events
    assert opening == AccountOpened(
        "asset", "PTS", 3, account_id="bank:counter:PTS", name="counter"
    )


@pytest.mark.parametrize(("balancing", "moved"), [("debit", 120), ("credit", 65), ("both", 65)])
def test_a_balancing_movement_is_bounded_by_the_named_sides(balancing: str, moved: int) -> None:
    """By what the debited account has, by what the credited one may take, or by both."""
    command = transfer("A", "B", 500, balancing=balancing, force=True)
    (entry,) = given(*BANK).when(command).events
    assert isinstance(entry, JournalEntryPosted)
    assert entry.postings[0].amount_minor == moved
    other = transfer("X", "B", 500, balancing="both", force=True)
    assert given(*BANK, deposited("X", 9)).when(other).error is None
    (entry,) = given(*BANK, deposited("X", 7)).when(other).events
    assert isinstance(entry, JournalEntryPosted)
    assert entry.postings[0].amount_minor == 2


def test_a_capture_takes_nothing_that_was_not_held_already() -> None:
    """It books what its hold kept free, so neither limit nor ceiling is any nearer."""
    case = given(*BANK, transfer("A", "X", 120), transfer("X", "B", 65))
    assert case.when(captured("out")).error is None
    assert case.when(captured("in")).error is None
    assert case.books.accounts["A"].available_minor == 0
    assert case.books.accounts["B"].posted_minor == 70


def test_an_entry_says_all_that_its_command_said() -> None:
    """The command itself only where the rest does not tell it: it had a condition."""
    legs = Posting("A", "debit", 7, "EUR"), Posting("X", "credit", 7, "EUR")
    command = transfer(
        "A",
        "X",
        7,
        key="k",
        value_date=date(2026, 2, 1),
        entry_id="e",
        reference="r",
        description="d",
        metadata={"n": "v"},
        code="c",
        force=True,
    )
    entry = JournalEntryPosted(
        "transfer",
        legs,
        date(2026, 2, 1),
        "e",
        "r",
        "d",
        {"n": "v"},
        forced=True,
        code="c",
    )
    assert given(*BANK).when(command).events == (entry,)
    assert fields_of(entry) == {
        "value_date": date(2026, 2, 1),
        "entry_id": "e",
        "reference": "r",
        "description": "d",
        "metadata": {"n": "v"},
        "code": "c",
        "force": True,
    }
    named: dict[str, Any] = {
        "value_date": date(2026, 2, 1),
        "entry_id": "e",
        "reference": "r",
        "description": "d",
        "metadata": {"n": "v"},
    }
    assert given(*BANK).when(transfer("A", "X", 7, **named)).events == (
        JournalEntryPosted("transfer", legs, **named),
    )
    conditions: tuple[dict[str, Any], ...] = (
        {"if_version": {"A": VERSION}},
        {"if_balance": {"A": BalanceCondition(posted=Bounds(eq="93"))}},
    )
    for fields in conditions:
        (event,) = given(*BANK).when(transfer("A", "X", 7, key="k", **fields)).events
        asked = asked_of(transfer("A", "X", 7, **fields))
        assert event == JournalEntryPosted("transfer", legs, asked=asked)
    assert given(*BANK).when(transfer("A", "X", 7, code="c")).events == (
        JournalEntryPosted("transfer", legs, code="c"),
    )
    assert given(*BANK).when(transfer("A", "X", 7, force=True)).events == (
        JournalEntryPosted("transfer", legs, forced=True),
    )


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (OpenAccount(key="k", currency="EUR"), {"type": "open_account", "currency": "EUR"}),
        (
            OpenAccount(key="k", currency="EUR", limit=None, metadata={}),
            {"type": "open_account", "currency": "EUR", "limit": None, "metadata": {}},
        ),
        (
            withdrawn("A", 7, key="k", value_date=date(2026, 2, 1)),
            {
                "type": "withdraw",
                "account_id": "A",
                "amount": "7",
                "currency": "EUR",
                "value_date": "2026-02-01",
            },
        ),
    ],
)
def test_what_was_asked_is_what_was_not_left_out(command: Any, asked: dict[str, object]) -> None:  # noqa: ANN401 - any command
    """In plain values, and never the key: a retry has it, another command has another."""
    assert asked_of(command) == asked


def test_a_late_entry_is_moved_and_remembers_the_day_that_it_named() -> None:
    """Where the ledger is set so; one of an open day stays as it is."""
    case = given(*BANK, ClosePeriod(through=date(2026, 1, 31), late_posting="next_open"))
    late = transfer("A", "X", 1, value_date=date(2026, 1, 15))
    (event,) = case.when(late).events
    assert isinstance(event, JournalEntryPosted)
    assert (event.value_date, event.original_value_date) == (date(2026, 2, 1), date(2026, 1, 15))
    assert fields_of(event)["value_date"] == date(2026, 1, 15)
    for day in (None, date(2026, 2, 1)):
        (event,) = case.when(with_field(late, "value_date", day)).events
        assert isinstance(event, JournalEntryPosted)
        assert (event.value_date, event.original_value_date) == (day, None)


def test_an_account_of_the_banks_is_opened_by_its_first_entry_and_not_by_a_refused_one() -> None:
    """It is an asset without limit; conditions on it count it as it will be."""
    case = given(*BANK)
    card = "bank:card:EUR"
    refused = withdrawn("A", 121, channel="card")
    case.when(refused).then_refuses(InsufficientFunds)
    assert card not in case.books.accounts
    condition = {card: BalanceCondition(posted=Bounds(eq="-120"))}
    command = withdrawn("A", 120, channel="card", if_version={card: 1}, if_balance=condition)
    position = case.books.position
    opening, _ = case.when(command).events
    assert opening == AccountOpened("asset", "EUR", 2, account_id=card, name="card")
    account = case.books.accounts[card]
    assert (account.terms.account_no, account.version) == (position + 1, 2)
    assert account.terms.opened_at == START
    again = Given(case.books).when(deposited("A", 1, channel="card"))
    assert len(again.events) == 1
