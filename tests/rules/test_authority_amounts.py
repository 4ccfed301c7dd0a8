"""How much a command moves, as a caller's bounds see it: now, and when it runs after approval.

One table says it for every kind of command. What a command moves is exactly the least bound under
which it is allowed, so each line is tried with its own figures and with one unit less of each.
"""

from datetime import date
from typing import Any

import msgspec
import pytest
from tests.rules.harness import captured, decide, deposited, given, held, opened, transfer, voided
from tests.rules.harness import withdrawn as paid_out

from ledger_core import authority_amounts, commands
from ledger_core.account_limits import SetLimit
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.approvals import ApprovalRequested, ApproveRequest
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.books import Books
from ledger_core.commands import ApprovableCommand, Command, RequestApproval
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import AmountAboveAuthority
from ledger_core.exchanges import Exchange
from ledger_core.reversals import ReverseEntry
from ledger_core.schedules import Schedule
from ledger_core.standing_orders import ChangeOrder, CreateOrder

DAILY = Schedule(first_date=date(2026, 3, 30), unit="day")
RICH: dict[str, Any] = {"if_balance": {"A": BalanceCondition(posted=Bounds(gte="99999"))}}
"""A condition that does not hold."""
DRAIN = Allocate(
    amount="all",
    currency="EUR",
    sources=(Source(account_id="A"),),
    destinations=(Destination(account_id="B"),),
)
SHARED = Allocate(
    amount="31",
    currency="EUR",
    sources=(Source(account_id="A"),),
    destinations=(Destination(account_id="B", share="50%"), Destination(account_id="C")),
)
SWAP = Exchange(
    debit_account_id="A",
    credit_account_id="D",
    amount="20",
    currency="EUR",
    counter_amount="23",
    counter_currency="USD",
)


def leg(account_id: str, side: Any, amount: int, currency: str = "EUR") -> PostingLine:  # noqa: ANN401 - a side
    """A line of an entry."""
    return PostingLine(account_id=account_id, side=side, amount=str(amount), currency=currency)


MANY = PostEntry(
    postings=(
        leg("A", "debit", 11),
        leg("B", "credit", 16),
        leg("C", "debit", 5),
        leg("D", "debit", 7, "USD"),
        leg("E", "credit", 7, "USD"),
    ),
    force=True,
)
BANK: tuple[Command, ...] = (
    opened("A"),
    opened("B"),
    opened("C"),
    opened("D", currency="USD"),
    opened("E", currency="USD"),
    deposited("A", 1_000, entry_id="cash"),
    held("A", "B", 300, "large"),
    MANY,
    PostEntry(
        postings=(leg("A", "debit", 40), leg("C", "debit", 2), leg("B", "credit", 42)),
        entry_id="spread",
        force=True,
    ),
    transfer("A", "C", 50, entry_id="moved"),
    transfer("C", "B", 43),
    CreateOrder(order_id="small", schedule=DAILY, command=transfer("A", "B", 50)),
    CreateOrder(order_id="swaps", schedule=DAILY, command=SWAP),
    CreateOrder(order_id="drains", schedule=DAILY, command=DRAIN),
    ChangeOrder(
        order_id="swaps", from_date=date(2026, 5, 1), command=transfer("A", "B", 12, force=False)
    ),
)
FREE = 599
"""What A has free to spend then."""

MOVES: tuple[tuple[Command, dict[str, int], dict[str, int]], ...] = (
    (transfer("A", "B", 10), {"EUR": 10}, {"EUR": 10}),
    (transfer("A", "B", 10, force=True), {"EUR": 10}, {"EUR": 10}),
    (transfer("A", "B", 5_000, balancing="debit"), {"EUR": FREE}, {"EUR": 5_000}),
    (deposited("A", 10), {"EUR": 10}, {"EUR": 10}),
    (paid_out("A", 10), {"EUR": 10}, {"EUR": 10}),
    (MANY, {"EUR": 16, "USD": 7}, {"EUR": 16, "USD": 7}),
    (SWAP, {"EUR": 20, "USD": 23}, {"EUR": 20, "USD": 23}),
    (SHARED, {"EUR": 31}, {"EUR": 31}),
    (held("A", "B", 10, None), {"EUR": 10}, {"EUR": 10}),
    (held("A", "B", 5_000, None, balancing="debit"), {"EUR": FREE}, {"EUR": 5_000}),
    (captured("large"), {"EUR": 300}, {"EUR": 300}),
    (captured("large", 120), {"EUR": 120}, {"EUR": 120}),
    (voided("large"), {}, {}),
    (ReverseEntry(reverses="moved", force=True), {"EUR": 50}, {"EUR": 50}),
    (ReverseEntry(reverses="spread"), {"EUR": 42}, {"EUR": 42}),
    (SetLimit(account_id="A", limit="7"), {}, {}),
    (CreateOrder(schedule=DAILY, command=transfer("A", "B", 10)), {"EUR": 10}, {"EUR": 10}),
    (CreateOrder(schedule=DAILY, command=SWAP), {"EUR": 20, "USD": 23}, {"EUR": 20, "USD": 23}),
    (
        CreateOrder(schedule=DAILY, command=transfer("A", "B", 5_000, balancing="debit")),
        {"EUR": 5_000},
        {"EUR": 5_000},
    ),
    (
        CreateOrder(schedule=DAILY, command=transfer("A", "B", 10, **RICH)),
        {"EUR": 10},
        {"EUR": 10},
    ),
    (ChangeOrder(order_id="small", amount="10"), {"EUR": 10}, {"EUR": 10}),
    # What is ordered already for later counts too, where its days change: the most of them all.
    (
        ChangeOrder(order_id="swaps", schedule=Schedule(first_date=date(2026, 4, 1), unit="week")),
        {"EUR": 20, "USD": 23},
        {"EUR": 20, "USD": 23},
    ),
    (
        ChangeOrder(
            order_id="swaps",
            command=transfer("A", "B", 11),
            schedule=Schedule(first_date=date(2026, 4, 1), unit="week"),
        ),
        {"EUR": 12},
        {"EUR": 12},
    ),
)
"""A command, what it moves now, and the most that it may move by the time it runs."""

LATER: tuple[tuple[Command, dict[str, int]], ...] = (
    (transfer("A", "B", 5_000), {"EUR": 5_000}),
    (transfer("A", "B", 10, **RICH), {"EUR": 10}),
    (paid_out("B", 5_000), {"EUR": 5_000}),
    (captured("large", 120, **RICH), {"EUR": 120}),
    (captured("large", 120, if_version={"A": 1}), {"EUR": 120}),
    (ReverseEntry(reverses="cash"), {"EUR": 1_000}),
    (ReverseEntry(reverses="moved", **RICH), {"EUR": 50}),
    (ReverseEntry(reverses="moved", if_version={"A": 1}), {"EUR": 50}),
)
"""Commands that are refused now, and what they may move once nothing holds them back."""

UNTOLD: tuple[Command, ...] = (
    DRAIN,
    CreateOrder(schedule=DAILY, command=DRAIN),
    ChangeOrder(order_id="drains", schedule=Schedule(first_date=date(2026, 4, 1), unit="week")),
    transfer("A", "unknown", 10),
    captured("unknown"),
    ReverseEntry(reverses="unknown"),
    ChangeOrder(order_id="unknown", amount="7"),
)
"""Commands of which nobody can tell what they move by the time they run."""


def books() -> Books:
    """A bank with money on account A, of which a part is reserved."""
    return given(*BANK).books


def refused(bank: Books, command: Command, bound: dict[str, int]) -> dict[str, object] | None:
    """What the refusal says under a bound of that type of command; ``None``: it is allowed."""
    bounds = {commands.tag_of(command): bound}
    decided = () if isinstance(command, ApproveRequest) else decide(bank, command)
    try:
        authority_amounts.require_within(bank, command, decided, bounds)
    except AmountAboveAuthority as error:
        return dict(error.seen)
    return None


def refused_later(
    bank: Books, command: ApprovableCommand, bound: dict[str, int]
) -> dict[str, object] | None:
    """As ``refused``, of a command that is to wait, and of whoever approves it."""
    said: list[dict[str, object] | None] = []
    bounds = {commands.tag_of(command): bound}
    asked = RequestApproval(command=command, approvers=("ops",), request_id="q")
    try:
        authority_amounts.require_later_within(bank, command, bounds)
        said.append(None)
    except AmountAboveAuthority as error:
        said.append(dict(error.seen))
    try:
        authority_amounts.require_within(bank, asked, (), bounds)
        said.append(None)
    except AmountAboveAuthority as error:
        said.append(dict(error.seen))
    assert said[0] == said[1], "whether the ledger or the maker lets it wait"
    return said[0]


def test_the_bank_has_what_the_table_says() -> None:
    """So that balancing movements find less than they name."""
    account = books().accounts["A"]
    assert account.posted_minor - account.outgoing_held_minor == FREE


@pytest.mark.parametrize(("command", "now", "later"), MOVES)
def test_a_command_is_allowed_up_to_exactly_what_it_moves(
    command: Any,  # noqa: ANN401 - a command that may wait
    now: dict[str, int],
    later: dict[str, int],
) -> None:
    """One unit less of any currency is too little, and the refusal says how much."""
    bank = books()
    for ask, moved in ((refused, now), (refused_later, later)):
        assert ask(bank, command, moved) is None
        for currency, amount_minor in moved.items():
            assert ask(bank, command, {**moved, currency: amount_minor - 1}) == {
                "currency": currency,
                "amount_minor": str(amount_minor),
                "amount_max_minor": str(amount_minor - 1),
            }


@pytest.mark.parametrize(("command", "later"), LATER)
def test_what_holds_a_command_back_today_does_not_count_later(
    command: Any,  # noqa: ANN401 - a command that may wait
    later: dict[str, int],
) -> None:
    """The money may be there then, the condition may hold."""
    bank = books()
    assert given(*BANK).when(command).error is not None
    assert refused_later(bank, command, later) is None
    less = {currency: amount_minor - 1 for currency, amount_minor in later.items()}
    assert refused_later(bank, command, less) is not None


@pytest.mark.parametrize("command", UNTOLD)
def test_what_cannot_be_told_is_above_every_bound(command: Any) -> None:  # noqa: ANN401 - a command
    """Without figures, since there are none; whoever is not bounded may still ask for it."""
    bank = books()
    assert refused_later(bank, command, {"EUR": 10**15, "USD": 10**15}) == {}
    authority_amounts.require_later_within(bank, command, {})


def test_an_order_of_what_cannot_be_told_is_above_every_bound_now() -> None:
    """Also where it is created without approval: nobody is asked at its runs."""
    assert refused(books(), CreateOrder(schedule=DAILY, command=DRAIN), {"EUR": 10**15}) == {}


def test_a_currency_that_is_not_named_is_bounded_to_nothing() -> None:
    """The first in the order of their codes is the one that the refusal names."""
    bank = books()
    expected = {"currency": "EUR", "amount_minor": "20", "amount_max_minor": "0"}
    assert refused(bank, SWAP, {}) == expected
    expected = {"currency": "USD", "amount_minor": "23", "amount_max_minor": "0"}
    assert refused(bank, SWAP, {"EUR": 20}) == expected
    back = PostEntry(
        postings=(
            leg("D", "debit", 1, "USD"),
            leg("E", "credit", 1, "USD"),
            leg("A", "debit", 1),
            leg("B", "credit", 1),
        ),
        force=True,
    )
    assert refused(bank, back, {}) == {
        "currency": "EUR",
        "amount_minor": "1",
        "amount_max_minor": "0",
    }


def test_all_that_one_command_leads_to_counts() -> None:
    """Entry after entry and hold after hold; of orders the most that one run will move."""
    bank, any_command = books(), transfer("A", "B", 1)

    def told(*sent: Command) -> dict[str, object]:
        """What is said to have been moved, were these the events of one command."""
        events = [event for command in sent for event in decide(bank, command)]
        bounds: dict[str, dict[str, int]] = {"transfer": {}}
        with pytest.raises(AmountAboveAuthority) as refusal:
            authority_amounts.require_within(bank, any_command, events, bounds)
        return dict(refusal.value.seen)

    moved = (transfer("A", "B", 10), held("A", "B", 7, None), SHARED, held("A", "B", 6, None))
    assert told(*moved)["amount_minor"] == told(*moved[::-1])["amount_minor"] == "54"
    orders = tuple(
        CreateOrder(schedule=DAILY, command=transfer("A", "B", amount)) for amount in (9, 20, 11)
    )
    assert told(*orders)["amount_minor"] == told(*orders[::-1])["amount_minor"] == "20"


def test_types_that_are_not_bounded_are_free() -> None:
    """A bound on deposits is none on transfers, now or later."""
    bank, pay = books(), transfer("A", "B", 10)
    authority_amounts.require_within(bank, pay, decide(bank, pay), {"deposit": {}})
    authority_amounts.require_later_within(bank, pay, {"deposit": {}})


@pytest.mark.parametrize(
    ("command", "later"), [*((command, later) for command, _, later in MOVES), *LATER]
)
def test_whoever_approves_is_bounded_by_what_may_come_of_it(
    command: Any,  # noqa: ANN401 - a command that may wait
    later: dict[str, int],
) -> None:
    """The bound is that of approvals; those of the command's own type are the maker's."""
    bank, vote = books(), ApproveRequest(request_id="q")
    fields = msgspec.to_builtins(command)
    bank.record(ApprovalRequested(fields, ("ops",), "ann", "key:ann", "q"))
    assert refused(bank, vote, later) is None
    for currency, amount_minor in later.items():
        said = refused(bank, vote, {**later, currency: amount_minor - 1})
        assert said is not None
        assert said["amount_minor"] == str(amount_minor)
    authority_amounts.require_within(bank, vote, (), {commands.tag_of(command): {}})
