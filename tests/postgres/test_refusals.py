"""Refused movements in the log: who, what, why, what was seen; bounded, and no key used up."""

from datetime import timedelta

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import captured, deposited, held, opened, transfer, voided, withdrawn

from ledger_core import commands, refusals
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.blocks import FreezeAccount
from ledger_core.commands import Command
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.exchanges import Exchange
from ledger_core.log import StoredEvent
from ledger_core.refusals import CommandRefused
from ledger_core.reversals import ReverseEntry
from ledger_core.templates import PostTemplate
from projections.verification import verify

GARBAGE = "any text at all " * 5_000


def _entry(currency: str) -> PostEntry:
    """An entry that is not balanced, one leg of it in that currency."""
    return PostEntry(
        key="k",
        postings=(
            PostingLine(account_id="A", side="debit", amount="1", currency="EUR"),
            PostingLine(account_id="nobody", side="credit", amount="1", currency=currency),
        ),
    )


def _allocation(currency: str) -> Allocate:
    """An allocation to an account that does not exist."""
    return Allocate(
        key="k",
        amount="1",
        currency=currency,
        sources=(Source(account_id="A"),),
        destinations=(Destination(account_id="nobody"),),
    )


def _exchange(currency: str, counter_currency: str) -> Exchange:
    """An exchange for an account that does not exist."""
    return Exchange(
        key="k",
        debit_account_id="A",
        credit_account_id="nobody",
        amount="1",
        currency=currency,
        counter_currency=counter_currency,
        rate="1",
    )


def _refusals(world: World) -> list[tuple[StoredEvent, CommandRefused]]:
    """Every refusal of the log, as stored and as it means."""
    return [
        (stored, event)
        for stored, event in zip(world.stored(), world.events(), strict=True)
        if isinstance(event, CommandRefused)
    ]


def test_a_refusal_says_what_its_caller_was_told(bank: World) -> None:
    """Who asked for what, the code, and the figures that were seen: word for word."""
    command = transfer("A", "B", 1_001, key="k", description="too much")
    [outcome] = bank.run(command, actor="key:ann")
    assert outcome.error is not None
    assert outcome.error.seen == {
        "position": 4,
        "account_id": "A",
        "posted_minor": "1000",
        "held_minor": "0",
        "available_minor": "1000",
        "limit_minor": "0",
        "needed_minor": "1001",
    }
    [(stored, refused)] = _refusals(bank)
    assert refused.code == "insufficient_funds"
    assert refused.seen == outcome.error.seen
    assert refused.unrecorded == 0
    assert commands.from_builtins(refused.command) == command
    assert (stored.position, stored.actor, stored.command_key) == (5, "key:ann", None)
    assert stored.tags == ["refusal:insufficient_funds", "account:A", "account:B"]


def test_a_refusal_changes_nothing_but_the_position(bank: World) -> None:
    """No balance, no version, no hold; the views take it in like any event."""
    before = bank.folded()
    bank.run(transfer("A", "B", 1_001, key="k"), captured("nothing", key="c"))
    after = bank.folded()
    assert after.position == before.position + 2
    assert (after.accounts, after.states) == (before.accounts, before.states)
    assert bank.catch_up() == after.position
    assert verify(bank.projector, bank.ledger_id).ok


def test_a_refusal_does_not_use_up_its_key(bank: World) -> None:
    """The same command is judged anew, again and again, and done when it can be."""
    command = transfer("A", "B", 1_001, key="k", entry_id="e", reference="r")
    for ledger in (bank.main, bank.ledger()):
        assert answers(bank.run(command, ledger=ledger)) == ["insufficient_funds"]
    bank.run(deposited("A", 1, key="more"))
    assert answers(bank.run(command)) == ["recorded"]
    assert answers(bank.run(command)) == ["replayed"]
    assert len(_refusals(bank)) == 2


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (transfer("A", "B", 1_001, key="k"), "insufficient_funds"),
        (transfer("A", "C", 1, key="k"), "account_closed"),
        (transfer("A", "nobody", 1, key="k"), "account_not_found"),
        (transfer("A", "A", 1, key="k"), "same_account"),
        (transfer("A", "Y", 1, key="k"), "currency_mismatch"),
        (withdrawn("F", 1, key="k"), "account_blocked"),
        (deposited("B", 11, key="k"), "limit_exceeded"),
        (transfer("A", "B", 1, key="k", reference="r"), "reference_conflict"),
        (transfer("A", "B", 1, key="k", if_version={"A": 9}), "version_conflict"),
        (ReverseEntry(key="k", reverses="nothing"), "entry_not_found"),
        (held("A", "B", 1_001, "I", key="k"), "insufficient_funds"),
        (captured("H", 11, key="k"), "exceeds_hold"),
        (captured("nothing", key="k"), "hold_not_found"),
        (voided("H", key="k", currency="JPY"), "hold_mismatch"),
    ],
)
def test_every_refused_movement_is_recorded(bank: World, command: Command, code: str) -> None:
    """Whatever the reason, as long as the ledger had to look to find it."""
    bank.run(
        opened("C", key="1"),
        CloseAccount(key="2", account_id="C"),
        opened("Y", key="3", currency="JPY"),
        opened("F", key="4"),
        FreezeAccount(key="5", account_id="F", cause="court"),
        deposited("A", 10, key="6", reference="r"),
        held("A", "B", 10, key="7"),
        SetLimit(key="8", account_id="B", limit="0", ceiling="20"),
    )
    assert answers(bank.run(command)) == [code]
    assert [refused.code for _, refused in _refusals(bank)] == [code]


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (transfer("A", "B", 0, key="k"), "validation_error"),
        (transfer("A", "B", 1, key=""), "validation_error"),
        (transfer("A", "B", 1, key="first"), "idempotency_conflict"),
        (transfer("A", "B", 1, key="k", currency="XXY"), "unknown_currency"),
        (transfer("A", "nobody", 1, key="k", currency=GARBAGE), "unknown_currency"),
        (deposited("nobody", 1, key="k", currency=GARBAGE), "unknown_currency"),
        (held("A", "nobody", 1, "I", key="k", currency=GARBAGE), "unknown_currency"),
        (captured("H", key="k", currency=GARBAGE), "unknown_currency"),
        (voided("H", key="k", currency=GARBAGE), "unknown_currency"),
        (voided("H", key="k", code=GARBAGE), "validation_error"),
        (_allocation(GARBAGE), "unknown_currency"),
        (_entry(GARBAGE), "unknown_currency"),
        (PostTemplate(key="k", template="none", currency=GARBAGE), "unknown_currency"),
        (_exchange(GARBAGE, "USD"), "unknown_currency"),
        (_exchange("EUR", GARBAGE), "unknown_currency"),
        (transfer("A", "B", 1, key="k", entry_id="e"), "entry_exists"),
        (held("A", "B", 11, key="k"), "hold_exists"),
        (opened("A", key="k", currency="JPY"), "account_exists"),
        (CloseAccount(key="k", account_id="A"), "account_not_empty"),
        (FreezeAccount(key="k", account_id="nobody", cause="x"), "account_not_found"),
    ],
)
def test_what_is_wrong_with_a_request_is_not_recorded(
    bank: World, command: Command, code: str
) -> None:
    """A malformed or doubled request, and a change that moves no money, leave no event."""
    bank.run(deposited("A", 1, key="e", entry_id="e"), held("A", "B", 10, key="h"))
    assert answers(bank.run(command)) == [code]
    assert _refusals(bank) == []


def test_neither_atomic_batches_nor_dry_runs_record_refusals(bank: World) -> None:
    """All or nothing leaves nothing, and what is only tried was not refused."""
    batch = (transfer("A", "B", 1, key="1"), transfer("A", "B", 1_001, key="2"))
    bank.run(*batch, mode="atomic")
    bank.run(*batch, dry_run=True)
    bank.run(*batch, mode="atomic", dry_run=True)
    assert len(bank.stored()) == 4
    assert answers(bank.run(*batch, mode="stop_on_error")) == ["recorded", "insufficient_funds"]
    assert [refused.code for _, refused in _refusals(bank)] == ["insufficient_funds"]


def test_a_dry_run_counts_the_refusals_that_there_would_be(
    bank: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every position is the one that doing it gives, and the caller's bound is not used up."""
    monkeypatch.setattr(refusals, "RECORDED_MAX", 2)
    batch = [
        transfer("A", "B", amount, key=f"{number}")
        for number, amount in enumerate((1_001, 1, 1_002, 2, 1_003, 3))
    ]
    tried = bank.run(*batch, dry_run=True)
    assert len(bank.stored()) == 4
    done = bank.run(*batch)
    assert [item.position for item in tried] == [item.position for item in done]
    assert [item.position for item in done] == [4, 6, 6, 8, 8, 9]
    assert len(_refusals(bank)) == 2


def test_a_batch_records_each_refusal_in_its_place(bank: World) -> None:
    """Between the items before and after it; each saw what had been done by then."""
    outcomes = bank.run(
        transfer("A", "B", 600, key="1"),
        transfer("A", "B", 401, key="2"),
        transfer("A", "B", 300, key="3"),
        transfer("A", "B", 101, key="4"),
    )
    assert [item.position for item in outcomes] == [5, 5, 7, 7]
    seen = [(stored.position, refused.seen) for stored, refused in _refusals(bank)]
    assert [(at, told["position"], told["available_minor"]) for at, told in seen] == [
        (6, 5, "400"),
        (8, 7, "100"),
    ]


def test_refusals_are_bounded_by_caller_and_counted(
    bank: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three a minute here: beyond, only their number is kept, and the next one says it."""
    monkeypatch.setattr(refusals, "RECORDED_MAX", 3)
    over = [transfer("A", "B", 1_001, key=f"o{number}") for number in range(5)]
    assert answers(bank.run(*over, actor="key:a")) == ["insufficient_funds"] * 5
    assert answers(bank.run(*over, actor="key:b")) == ["insufficient_funds"] * 5
    assert [stored.actor for stored, _ in _refusals(bank)] == ["key:a"] * 3 + ["key:b"] * 3
    bank.now += timedelta(minutes=1)
    bank.run(over[0], actor="key:a")
    bank.run(over[0], actor="key:a")
    assert [refused.unrecorded for _, refused in _refusals(bank)][6:] == [2, 0]


def test_the_documented_bound_is_a_hundred_a_minute(bank: World) -> None:
    """As the documentation says; all of them in one batch."""
    over = [transfer("A", "B", 1_001, key=f"o{number}") for number in range(150)]
    assert answers(bank.run(*over)) == ["insufficient_funds"] * 150
    assert len(_refusals(bank)) == 100
    assert bank.folded().position == 104
