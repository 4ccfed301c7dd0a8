"""Movements as data: what is kept of one, and what it would book if nothing held it back."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import decide, deposited, given, opened, transfer, withdrawn
from tests.rules.machine_commands import commands as any_command

from ledger_core import movements
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.commands import Command
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import ValidationFailed
from ledger_core.journal import JournalEntryPosted
from ledger_core.movements import MovementCommand

BANK: tuple[Command, ...] = (opened("A"), opened("B"), deposited("A", 1_000))
RICH: dict[str, Any] = {"if_balance": {"A": BalanceCondition(posted=Bounds(gte="99999"))}}
"""A condition that does not hold."""


def test_what_is_kept_of_a_movement_is_one_text_however_it_was_put() -> None:
    """What was left out is not kept, and names are in the order of the alphabet at every depth."""
    one = transfer("A", "B", 10, metadata={"b": "2", "a": "1"})
    other = transfer("A", "B", 10, metadata={"a": "1", "b": "2"})
    expected = (
        b'{"amount":"10","credit_account_id":"B","currency":"EUR","debit_account_id":"A",'
        b'"metadata":{"a":"1","b":"2"},"type":"transfer"}'
    )
    for movement in (one, other):
        assert msgspec.json.encode(movements.kept(movement)) == expected


def test_a_refusal_names_the_metadata_that_are_the_ledgers() -> None:
    """All of them, in the order of the alphabet: the caller chooses other names."""
    movement = transfer("A", "B", 10, metadata={"due_date": "x", "mine": "y"})
    with pytest.raises(ValidationFailed) as refusal:
        movements.require_keepable(movement, notes=frozenset({"order_id", "due_date"}))
    assert refusal.value.field == "command.metadata"
    assert refusal.value.rule == "no due_date or order_id: the ledger's"
    movements.require_keepable(movement, notes=frozenset({"order_id"}))


@pytest.mark.parametrize(
    ("movement", "freed"),
    [
        (transfer("A", "B", 10), transfer("A", "B", 10, force=True)),
        (transfer("A", "B", 5_000), transfer("A", "B", 5_000, force=True)),
        (transfer("A", "B", 10, **RICH), transfer("A", "B", 10, force=True)),
        (transfer("A", "B", 5_000, balancing="debit"), transfer("A", "B", 5_000, force=True)),
        (withdrawn("B", 7), withdrawn("B", 7, force=True)),
    ],
)
def test_what_holds_a_movement_back_does_not_count(movement: Any, freed: Command) -> None:  # noqa: ANN401 - a movement
    """It is told as if it were forced, without conditions, and of its whole amount."""
    books = given(*BANK).books
    assert movements.would_book(books, movement) == decide(books, freed)


@draw(st.lists(any_command, max_size=25))
def test_no_movement_comes_to_more_than_it_would_if_nothing_held_it_back(
    happened: list[Command],
) -> None:
    """So whoever is asked about that is asked about enough, whatever it finds on its day."""
    bank = given(*BANK, opened("C", limit="50"), opened("D", currency="JPY"))
    for command in happened:
        freed = None
        if isinstance(command, MovementCommand):
            freed = movements.would_book(bank.books, command)
        answer = bank.when(command)
        if freed is not None:
            assert debited(answer.events) <= debited(freed)


def debited(events: tuple[object, ...]) -> Counter[str]:
    """The debits of all entries, by currency."""
    sums: Counter[str] = Counter()
    for event in events:
        if isinstance(event, JournalEntryPosted):
            for posting in event.postings:
                sums[posting.currency] += posting.amount_minor if posting.side == "debit" else 0
    return sums


def test_what_cannot_be_told_is_nothing_that_can_be_compared() -> None:
    """All that there is, or what could not be booked at all."""
    books = given(*BANK).books
    drain = Allocate(
        amount="all",
        currency="EUR",
        sources=(Source(account_id="A"),),
        destinations=(Destination(account_id="B"),),
    )
    assert movements.would_book(books, drain) is None
    some = msgspec.structs.replace(drain, amount="7")
    assert movements.would_book(books, some) == decide(
        books, msgspec.structs.replace(some, force=True)
    )
    assert movements.would_book(books, transfer("A", "unknown", 7)) is None
    lines = (
        PostingLine(account_id="A", side="debit", amount="7", currency="EUR"),
        PostingLine(account_id="B", side="credit", amount="7", currency="EUR"),
    )
    entry = PostEntry(postings=lines)  # It has no amount of its own.
    assert movements.would_book(books, entry) == decide(
        books, PostEntry(postings=lines, force=True)
    )
