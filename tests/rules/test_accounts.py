"""Accounts: opening, limits, blocks, holders, closing, and what is available."""

from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, deposited, given, opened, with_field, withdrawn
from tests.strategies import START, effects

from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount, ReopenAccount
from ledger_core.accounts import (
    BLOCKS_MAX,
    HOLDERS_MAX,
    Account,
    AccountClosed,
    AccountHolderLinked,
    AccountHolderUnlinked,
    AccountOpened,
    AccountReopened,
    AccountType,
    Block,
    BlockEffect,
    BlockLifted,
    BlockPlaced,
    Holder,
    LimitSet,
    Terms,
    evolve,
    normal_side,
    posted,
    require_within_limit,
)
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.customers import EraseCustomer, RegisterCustomer
from ledger_core.errors import (
    AccountExists,
    AccountIsClosed,
    AccountNotClosed,
    AccountNotEmpty,
    AccountNotFound,
    BlockNotFound,
    CustomerErasedAlready,
    CustomerNotFound,
    InsufficientFunds,
    KycNotCleared,
    LinkNotFound,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.journal import Posting, Side
from ledger_core.units import RegisterUnit

if TYPE_CHECKING:
    from ledger_core.commands import Command

ANN = RegisterCustomer(customer_id="ann", profile={"name": "Ann"})
BEN = RegisterCustomer(customer_id="ben", profile={"name": "Ben"})


def account_of(
    account_type: AccountType, limit_minor: int | None, sums: tuple[int, int, int, int]
) -> Account:
    """An account with these sums posted and held, debit before credit."""
    terms = Terms("X", 1, account_type, "EUR", 2, normal_side(account_type), START)
    changed = evolve(Account(terms, *sums, 1, 1), LimitSet("X", limit_minor), 2)
    assert changed.version == 2
    return changed


# Opening ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("account_type", get_args(AccountType))
def test_a_customers_account_may_not_be_overdrawn_unless_so_agreed(account_type: str) -> None:
    """Left out, the limit is nothing for a liability and none at all for the bank's accounts."""
    events = given().when(opened("X", account_type=account_type)).events
    limit_minor = 0 if account_type == "liability" else None
    assert events == (
        AccountOpened(account_type, "EUR", 2, account_id="X", limit_minor=limit_minor),  # type: ignore[arg-type]
    )
    for text, minor in ((None, None), ("0", 0), ("500", 500)):
        event = given().when(opened("X", account_type=account_type, limit=text)).events[0]
        assert isinstance(event, AccountOpened)
        assert event.limit_minor == minor


def test_an_account_has_all_that_was_said_of_it() -> None:
    """In its event, and in its terms from then on."""
    command = opened(
        "A",
        account_type="asset",
        currency="JPY",
        limit="7",
        ceiling="9",
        code="1000",
        name="Cash",
        customer_id="ann",
        metadata={"n": "v"},
    )
    said: dict[str, Any] = {
        "account_id": "A",
        "limit_minor": 7,
        "ceiling_minor": 9,
        "code": "1000",
        "name": "Cash",
        "metadata": {"n": "v"},
    }
    books = (
        given(ANN).when(command).then(AccountOpened("asset", "JPY", 0, customer_id="ann", **said))
    )
    assert books.accounts["A"].terms == Terms(
        account_no=2,
        account_type="asset",
        currency="JPY",
        scale=0,
        normal_side="debit",
        opened_at=START,
        status="open",
        blocks=(),
        holders=(Holder("ann", "owner"),),
        groups=(),
        **said,
    )


@pytest.mark.parametrize(("status", "is_opened"), [("cleared", True), ("pending", False)])
def test_an_account_is_opened_for_who_is_known(status: str, *, is_opened: bool) -> None:
    """The refusal names the customer and says what is the matter."""
    known = RegisterCustomer(customer_id="cy", profile={"name": "Cy", "kyc_status": status})
    answer = given(known).when(opened("A", customer_id="cy"))
    if is_opened:
        assert answer.error is None
    else:
        assert isinstance(answer.error, KycNotCleared)
        assert answer.error.seen == {"customer_id": "cy", "kyc_status": status}


def test_an_account_without_a_chosen_id_is_named_by_its_position() -> None:
    """``acc_<position>``; a caller cannot choose an id of that form, or one of the bank's."""
    books = given(opened("A")).when(opened("B").__class__(currency="JPY")).books
    assert books.accounts["acc_2"].terms.scale == 0
    for name in ("acc_9", "bank:counter:EUR"):
        given().when(opened(name)).then_refuses(ValidationFailed, field="account_id")


def test_the_currency_must_be_known() -> None:
    """In ISO 4217, or registered as a unit."""
    given().when(opened("A", currency="PTS")).then_refuses(UnknownCurrency)
    books = given(RegisterUnit(code="PTS", scale=4)).when(opened("A", currency="PTS")).books
    assert books.accounts["A"].terms.scale == 4


def test_an_id_is_taken_once() -> None:
    """The refusal says where the first account stands."""
    given(opened("B"), opened("A")).when(opened("A")).then_refuses(AccountExists, position=2)


def test_the_owner_must_be_known_and_not_forgotten() -> None:
    """An account opened for a customer has that customer as owner."""
    books = given(ANN).when(opened("A", customer_id="ann")).books
    assert books.accounts["A"].terms.holders == (Holder("ann", "owner"),)
    given().when(opened("A", customer_id="ann")).then_refuses(CustomerNotFound)
    given(ANN, EraseCustomer(customer_id="ann", reason="asked")).when(
        opened("A", customer_id="ann")
    ).then_refuses(CustomerErasedAlready)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("account_id", ""),
        ("code", ""),
        ("name", "a\nb"),
        ("limit", "-0"),
        ("ceiling", "01"),
        ("limit", ""),
        ("limit", "00"),
        ("limit", "1.0"),
        ("metadata", {"a": ""}),
    ],
)
def test_a_malformed_opening_is_refused(name: str, value: object) -> None:
    """The field is named."""
    given().when(with_field(opened("A"), name, value)).then_refuses(ValidationFailed, field=name)


# Limits -----------------------------------------------------------------------------------------


def test_a_limit_is_set_for_what_comes() -> None:
    """It may be below what is used already; the same limit again is no event."""
    used = given(opened("A", limit="100"), withdrawn("A", 80))
    books = used.when(SetLimit(account_id="A", limit="50", reason="review")).then(
        LimitSet("A", 50, "review", keeps_ceiling=True)
    )
    assert books.accounts["A"].available_minor == -30
    Given(books).when(SetLimit(account_id="A", limit="50")).then_nothing()
    Given(books).when(withdrawn("A", 1)).then_refuses(InsufficientFunds, available_minor="-30")
    assert Given(books).when(deposited("A", 1)).error is None
    Given(books).when(SetLimit(account_id="A", limit=None)).then(
        LimitSet("A", None, keeps_ceiling=True)
    )


def test_a_limit_needs_an_open_account() -> None:
    """Unknown and closed accounts take none."""
    given().when(SetLimit(account_id="A", limit="1")).then_refuses(AccountNotFound)
    given(opened("A"), CloseAccount(account_id="A")).when(
        SetLimit(account_id="A", limit="1")
    ).then_refuses(AccountIsClosed)
    given(opened("A")).when(SetLimit(account_id="A", limit="x")).then_refuses(
        ValidationFailed, field="limit"
    )


_sums = st.tuples(*[st.integers(0, 1_000)] * 4)


@draw(
    st.sampled_from(get_args(AccountType)),
    st.none() | st.integers(-500, 500),
    _sums,
    st.sampled_from(get_args(Side)),
    st.integers(1, 2_000),
)
def test_an_account_goes_beyond_its_limit_by_no_entry(
    account_type: AccountType,
    limit_minor: int | None,
    sums: tuple[int, int, int, int],
    side: Side,
    amount_minor: int,
) -> None:
    """Allowed are: without limit, up to the limit exactly, and towards it from beyond."""
    before = account_of(account_type, limit_minor, sums)
    after = posted(before, Posting("X", side, amount_minor, "EUR"), 3)
    debits, credited, debits_held, credits_held = sums
    grows = account_type in ("asset", "expense")
    balance = debits - credited if grows else credited - debits
    held = credits_held if grows else debits_held
    towards = (side == "debit") == grows
    left = balance - held + (amount_minor if towards else -amount_minor)
    assert before.posted_minor == balance
    if limit_minor is None:
        assert before.available_minor is None
        allowed = True
    else:
        assert before.available_minor == balance - held + limit_minor
        allowed = left >= -limit_minor or towards
    if allowed:
        require_within_limit(before, after)
    else:
        with pytest.raises(InsufficientFunds) as refusal:
            require_within_limit(before, after)
        assert refusal.value.seen["needed_minor"] == str(amount_minor)


# Blocks -----------------------------------------------------------------------------------------


def test_blocks_stack_by_cause() -> None:
    """Lifting one cause leaves the others in force."""
    court = FreezeAccount(account_id="A", cause="court", effect="debit")
    fraud = FreezeAccount(account_id="A", cause="fraud", effect="full", reason="called in")
    frozen = given(opened("A"), court).when(fraud)
    books = frozen.then(BlockPlaced("A", "fraud", "full", "called in"))
    Given(books).when(court).then_nothing()
    books = (
        Given(books)
        .when(UnfreezeAccount(account_id="A", cause="fraud"))
        .then(BlockLifted("A", "fraud", "full"))
    )
    assert books.accounts["A"].terms.blocks == (Block("court", "debit"),)
    Given(books).when(UnfreezeAccount(account_id="A", cause="fraud")).then_refuses(
        BlockNotFound, account_id="A"
    )


def test_lifting_a_cause_lifts_every_effect_of_it_or_the_one_named() -> None:
    """One event a block, each saying what was asked."""
    frozen: list[Command] = [
        opened("A"),
        *(
            FreezeAccount(account_id="A", cause="court", effect=effect)
            for effect in get_args(BlockEffect)
        ),
    ]
    given(*frozen).when(UnfreezeAccount(account_id="A", cause="court", effect="credit")).then(
        BlockLifted("A", "court", "credit", asked_effect="credit")
    )
    given(*frozen).when(UnfreezeAccount(account_id="A", cause="court", reason="over")).then(
        BlockLifted("A", "court", "credit", "over"),
        BlockLifted("A", "court", "debit", "over"),
        BlockLifted("A", "court", "full", "over"),
    )


@draw(st.lists(st.tuples(st.sampled_from("xyz"), effects, st.booleans()), max_size=20))
def test_blocks_are_a_set(turns: list[tuple[str, BlockEffect, bool]]) -> None:
    """Whatever is placed and lifted in whatever order, what remains is what was not lifted."""
    case = given(opened("A"))
    expected: set[Block] = set()
    for cause, effect, is_placed in turns:
        block = Block(cause, effect)
        if is_placed:
            case.when(FreezeAccount(account_id="A", cause=cause, effect=effect))
            expected.add(block)
        else:
            answer = case.when(UnfreezeAccount(account_id="A", cause=cause, effect=effect))
            assert (answer.error is None) == (block in expected)
            expected.discard(block)
        assert case.books.accounts["A"].terms.blocks == tuple(sorted(expected))


def test_blocks_have_a_bound_and_need_an_open_account() -> None:
    """Causes are counted; closed and unknown accounts take none."""
    many = [FreezeAccount(account_id="A", cause=f"c{n}") for n in range(BLOCKS_MAX + 1)]
    given(opened("A"), *many[:-1]).when(many[-1]).then_refuses(ValidationFailed, field="cause")
    given().when(many[0]).then_refuses(AccountNotFound)
    given().when(UnfreezeAccount(account_id="A", cause="x")).then_refuses(AccountNotFound)
    given(opened("A"), CloseAccount(account_id="A")).when(many[0]).then_refuses(AccountIsClosed)
    for bad in ("", "a\tb"):
        given(opened("A")).when(FreezeAccount(account_id="A", cause=bad)).then_refuses(
            ValidationFailed, field="cause"
        )


# Closing and reopening --------------------------------------------------------------------------


def test_an_account_closes_at_zero_and_opens_again() -> None:
    """Its terms stay; closing twice is no event, opening an open one is refused."""
    close, reopen = CloseAccount(account_id="A", reason="moved"), ReopenAccount(account_id="A")
    books = given(opened("A", limit="7")).when(close).then(AccountClosed("A", "moved"))
    Given(books).when(close).then_nothing()
    books = Given(books).when(reopen).then(AccountReopened("A"))
    assert books.accounts["A"].terms.limit_minor == 7
    assert books.accounts["A"].version == 3
    Given(books).when(reopen).then_refuses(AccountNotClosed, account_id="A")


def test_an_account_with_money_or_debt_or_holds_does_not_close() -> None:
    """The balance is shown."""
    close = CloseAccount(account_id="A")
    given(opened("A"), deposited("A", 5)).when(close).then_refuses(
        AccountNotEmpty, posted_minor="5"
    )
    given(opened("A", limit="9"), withdrawn("A", 5)).when(close).then_refuses(
        AccountNotEmpty, posted_minor="-5"
    )
    case = given(opened("A"))
    held = Account(case.books.accounts["A"].terms, 3, 3, 0, 4, 1, 1)
    case.books.accounts["A"] = held
    case.when(close).then_refuses(AccountNotEmpty, posted_minor="0", held_minor="4")
    given().when(close).then_refuses(AccountNotFound)
    given().when(ReopenAccount(account_id="A")).then_refuses(AccountNotFound)


# Holders ----------------------------------------------------------------------------------------


def test_customers_hold_accounts_in_roles() -> None:
    """A role is given once and taken away once; a customer may have several."""
    joint = LinkCustomer(account_id="A", customer_id="ann", role="joint")
    case = given(ANN, BEN, opened("A", customer_id="ann"))
    case.when(joint).then(AccountHolderLinked("A", "ann", "joint"))
    case.when(joint).then_nothing()
    case.when(LinkCustomer(account_id="A", customer_id="ben", role="authorised"))
    books = case.when(
        UnlinkCustomer(account_id="A", customer_id="ann", role="owner", reason="sold")
    ).then(AccountHolderUnlinked("A", "ann", "owner", "sold"))
    assert books.accounts["A"].terms.holders == (
        Holder("ann", "joint"),
        Holder("ben", "authorised"),
    )
    case.when(UnlinkCustomer(account_id="A", customer_id="ann")).then_refuses(
        LinkNotFound, account_id="A", role="owner"
    )


def test_a_link_needs_both_ends() -> None:
    """An open account and a customer who is known; a forgotten one can still be unlinked."""
    link = LinkCustomer(account_id="A", customer_id="ann")
    erase = EraseCustomer(customer_id="ann", reason="asked")
    given(ANN).when(link).then_refuses(AccountNotFound)
    given(opened("A")).when(link).then_refuses(CustomerNotFound)
    given(opened("A"), ANN, erase).when(link).then_refuses(CustomerErasedAlready)
    given(opened("A"), ANN, CloseAccount(account_id="A")).when(link).then_refuses(AccountIsClosed)
    unlink = UnlinkCustomer(account_id="A", customer_id="ann")
    given(opened("A"), ANN, link, erase).when(unlink).then(
        AccountHolderUnlinked("A", "ann", "owner")
    )
    given(ANN).when(unlink).then_refuses(AccountNotFound)
    for name in ("account_id", "customer_id"):
        given().when(with_field(link, name, "")).then_refuses(ValidationFailed, field=name)
        given().when(with_field(unlink, name, "")).then_refuses(ValidationFailed, field=name)


def test_holders_have_a_bound() -> None:
    """More holders than that is a data error."""
    people = [
        RegisterCustomer(customer_id=f"c{n}", profile={"name": "x"}) for n in range(HOLDERS_MAX + 1)
    ]
    links = [LinkCustomer(account_id="A", customer_id=f"c{n}") for n in range(HOLDERS_MAX + 1)]
    given(opened("A"), *people, *links[:-1]).when(links[-1]).then_refuses(
        ValidationFailed, field="customer_id"
    )


def test_an_account_is_opened_once() -> None:
    """Folding an opening onto an account is a bug of the program, and stops it."""
    account = account_of("liability", 0, (0, 0, 0, 0))
    with pytest.raises(AssertionError, match="opened once"):
        evolve(account, AccountOpened("liability", "EUR", 2, account_id="X"), 3)
