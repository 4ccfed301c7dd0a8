"""The ledger's write side on PostgreSQL: identity, batches and reversals."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, transfer, with_field

from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount
from ledger_core.blocks import FreezeAccount
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.ledger import Submission
from ledger_core.reversals import ReverseEntry

# Identity and retries ---------------------------------------------------------------------------


def test_a_retry_gets_the_first_answer_and_has_no_second_effect(bank: World) -> None:
    """Same key, same content: same position, time and event, marked as replayed."""
    command = transfer("A", "B", 100, key="pay-1", description="rent")
    first = bank.run(command)[0]
    for ledger in (bank.main, bank.ledger()):
        again = bank.run(command, ledger=ledger)[0]
        assert again.status == "replayed"
        assert (again.position, again.recorded_at, again.event) == (
            first.position,
            first.recorded_at,
            first.event,
        )
    assert bank.posted("A", "B") == [900, 100]
    assert len(bank.stored()) == 5


def test_a_key_with_other_content_names_every_field_that_differs(bank: World) -> None:
    """The conflict names the fields and the first event's position, and moves nothing."""
    first = bank.run(transfer("A", "B", 100, key="pay-1", description="rent"))[0]
    other = transfer("B", "A", 99, key="pay-1", description="food")
    outcome = bank.run(other)[0]
    assert outcome.error is not None
    assert outcome.error.code == "idempotency_conflict"
    assert outcome.error.seen["position"] == first.position
    assert outcome.error.seen["fields"] == [
        "description",
        "debit_account_id",
        "credit_account_id",
        "amount",
    ]
    assert bank.posted("A", "B") == [900, 100]


def test_a_key_used_for_another_kind_of_command_is_a_conflict(bank: World) -> None:
    """A key belongs to one command, of whatever type."""
    bank.run(RegisterCustomer(key="reg", customer_id="c", profile={"name": "Ann"}))
    bank.run(ChangeProfile(key="change", customer_id="c", changes={"phone": "1"}, reason="moved"))
    bank.catch_up()  # So that a new writer does not come across the customer by itself.
    for ledger in (bank.main, bank.ledger()):
        for key in ("reg", "change", "open-a"):
            outcome = bank.run(transfer("A", "B", 1, key=key), ledger=ledger)[0]
            assert outcome.error is not None
            assert outcome.error.code == "idempotency_conflict"
            assert outcome.error.seen["fields"] == ["type"]


def test_one_key_twice_at_once_counts_once(bank: World) -> None:
    """Within a submission and across the submissions of a transaction, the first wins."""
    command = transfer("A", "B", 100, key="pay-1")
    changed = transfer("A", "B", 101, key="pay-1")
    results = bank.main.execute(
        [Submission((command, command, changed), "a"), Submission((command,), "b")]
    )
    assert [answers(outcomes) for outcomes in results] == [
        ["recorded", "replayed", "idempotency_conflict"],
        ["replayed"],
    ]
    assert len({results[0][0].position, results[0][1].position, results[1][0].position}) == 1
    assert bank.posted("A", "B") == [900, 100]


def test_a_refused_command_does_not_use_up_its_key(bank: World) -> None:
    """The retry is judged anew, with the money that has come meanwhile."""
    command = transfer("A", "B", 1_500, key="too-much")
    assert answers(bank.run(command)) == ["insufficient_funds"]
    assert answers(bank.run(command)) == ["insufficient_funds"]
    bank.run(deposited("A", 500, key="more"))
    assert answers(bank.run(command)) == ["recorded"]
    assert bank.posted("A", "B") == [0, 1_500]


def test_a_retry_is_answered_whatever_became_of_the_accounts(bank: World) -> None:
    """Identity comes before every other check: closed, blocked or empty does not matter."""
    command = transfer("A", "B", 1_000, key="all")
    bank.run(command, CloseAccount(key="close", account_id="A"))
    bank.run(FreezeAccount(key="freeze", account_id="B", cause="court"))
    assert answers(bank.run(command)) == ["replayed"]
    assert answers(bank.run(transfer("A", "B", 1, key="new"))) == ["account_closed"]


def test_identity_comes_before_shape(bank: World) -> None:
    """A known key or id is answered as such, however malformed the rest of the command is."""
    bank.run(transfer("A", "B", 1, key="pay", entry_id="e"))
    malformed = with_field(transfer("A", "B", 1, key="pay"), "amount", "-1")
    assert answers(bank.run(malformed)) == ["idempotency_conflict"]
    malformed = with_field(with_field(malformed, "key", "new"), "entry_id", "e")
    assert answers(bank.run(malformed)) == ["entry_exists"]
    assert answers(bank.run(with_field(malformed, "entry_id", None))) == ["validation_error"]


def test_an_idempotency_key_is_required(bank: World) -> None:
    """Without one, or with one that cannot be a key, nothing is looked up or recorded."""
    for key in ("", "a b", "k" * 256, "ключ"):
        outcome = bank.run(transfer("A", "B", 1, key=key))[0]
        assert outcome.error is not None
        assert outcome.error.seen["field"] == "key"
    assert answers(bank.run(transfer("A", "B", 1, key="k" * 255))) == ["recorded"]


def test_a_chosen_id_is_an_identity(bank: World) -> None:
    """Same id, same content: replayed, under any key; other content: it exists."""
    entry = transfer("A", "B", 100, key="k1", entry_id="rent-may")
    customer = RegisterCustomer(key="k2", customer_id="c", profile={"name": "Ann", "phone": "1"})
    account = opened("C", key="k3", name="Savings")
    assert answers(bank.run(entry, customer, account)) == ["recorded"] * 3
    identified: list[Command] = [entry, customer, account]
    others: list[Command] = [
        transfer("A", "B", 101, key="k1", entry_id="rent-may"),
        RegisterCustomer(key="k2", customer_id="c", profile={"name": "Ann", "phone": "2"}),
        opened("C", key="k3", name="Current"),
    ]
    for ledger in (bank.main, bank.ledger()):
        again = [with_field(command, "key", f"again-{command.key}") for command in identified]
        assert answers(bank.run(*again, ledger=ledger)) == ["replayed"] * 3
        other = [with_field(command, "key", f"other-{command.key}") for command in others]
        outcomes = bank.run(*other, ledger=ledger)
        assert answers(outcomes) == ["entry_exists", "customer_exists", "account_exists"]
        assert [item.error.seen["fields"] for item in outcomes if item.error is not None] == [
            ["amount"],
            ["profile"],
            ["name"],
        ]
    assert len(bank.stored()) == 7


def test_a_chosen_id_counts_within_its_own_transaction(bank: World) -> None:
    """The second command of the same id in one submission is the same or a conflict."""
    outcomes = bank.run(
        transfer("A", "B", 1, key="k1", entry_id="e"),
        transfer("A", "B", 1, key="k2", entry_id="e"),
        transfer("A", "B", 2, key="k3", entry_id="e"),
        deposited("A", 1, key="k4", entry_id="e"),
        opened("N", key="k5"),
        opened("N", key="k6"),
        opened("N", key="k7", currency="JPY"),
    )
    assert answers(outcomes) == [
        "recorded",
        "replayed",
        "entry_exists",
        "entry_exists",
        "recorded",
        "replayed",
        "account_exists",
    ]


def test_a_reference_is_unique_in_the_ledger(bank: World) -> None:
    """Two entries cannot carry one business reference, in one transaction or in two."""
    outcomes = bank.run(
        transfer("A", "B", 1, key="k1", reference="INV-7"),
        transfer("A", "B", 1, key="k2", reference="INV-7"),
        deposited("A", 1, key="k3", reference="INV-8"),
    )
    assert answers(outcomes) == ["recorded", "reference_conflict", "recorded"]
    for ledger in (bank.main, bank.ledger()):
        outcome = bank.run(transfer("A", "B", 1, key="k4", reference="INV-7"), ledger=ledger)[0]
        assert outcome.error is not None
        assert outcome.error.code == "reference_conflict"
        assert outcome.error.seen["position"] == outcomes[0].position


@pytest.mark.parametrize(
    "command",
    [
        transfer("A\0", "B", 1),
        transfer("A", "\ud800", 1),
        transfer("A", "B", 1, reference="\0"),
        transfer("A", "B", 1, entry_id="\ud800"),
        transfer("A", "B", 1, key="\0"),
        transfer("A", "B", 1, key="\ud800"),
        transfer("A", "B", 1, metadata={"\0": "x"}),
        deposited("A", 1, currency="\0"),
        ReverseEntry(reverses="\0"),
        EraseCustomer(customer_id="\0", reason="x"),
        RegisterCustomer(profile={"name": "\ud800"}),
        opened("N", customer_id="\ud800"),
        SetLimit(account_id="x" * 100_000, limit="0"),
    ],
)
def test_text_that_cannot_be_stored_harms_only_its_own_command(
    bank: World, command: Command
) -> None:
    """NUL, surrogates and endless ids are refused; the others of the transaction are recorded."""
    good = transfer("A", "B", 1, key="good")
    key = command.key or "bad"
    results = bank.main.execute(
        [Submission((with_field(command, "key", key),), "a"), Submission((good,), "b")]
    )
    error = results[0][0].error
    assert error is not None
    assert error.code in {
        "validation_error",
        "currency_mismatch",
        "unknown_currency",
        "account_not_found",
        "customer_not_found",
    }
    assert answers(results[1]) == ["recorded"]
    assert len(bank.stored()) == 5


# Batches ----------------------------------------------------------------------------------------


def test_each_item_for_itself(bank: World) -> None:
    """The refusals of a batch do not touch the other items, and stand between them."""
    outcomes = bank.run(
        transfer("A", "B", 600, key="1"),
        transfer("A", "B", 600, key="2"),
        transfer("A", "B", 400, key="3"),
    )
    assert answers(outcomes) == ["recorded", "insufficient_funds", "recorded"]
    assert [item.position for item in outcomes] == [5, 5, 7]


def test_nothing_after_the_first_refusal_is_attempted(bank: World) -> None:
    """``stop_on_error`` keeps what came before, and says of the rest that it was not tried."""
    batch = (
        transfer("A", "B", 600, key="1"),
        transfer("A", "B", 600, key="2"),
        transfer("A", "B", 400, key="3"),
    )
    outcomes = bank.run(*batch, mode="stop_on_error")
    assert answers(outcomes) == ["recorded", "insufficient_funds", "not_attempted"]
    assert outcomes[2].error is not None
    assert outcomes[2].error.seen == {"item": 1}
    assert bank.posted("A", "B") == [400, 600]
    bank.run(deposited("A", 1_000, key="more"))
    assert answers(bank.run(*batch, mode="stop_on_error")) == ["replayed", "recorded", "recorded"]


def test_all_or_nothing(bank: World) -> None:
    """The item at fault says why, the others say batch_failed, and no event is left."""
    before = bank.stored()
    batch = (
        opened("C", key="open-c"),
        transfer("A", "C", 600, key="1", entry_id="e", reference="r"),
        ReverseEntry(key="2", reverses="e"),
        FreezeAccount(key="3", account_id="A", cause="court"),
        RegisterCustomer(key="4", customer_id="c", profile={"name": "Ann"}),
        transfer("A", "B", 600, key="5"),
        deposited("B", 5, key="6"),
    )
    outcomes = bank.run(*batch, mode="atomic")
    assert answers(outcomes) == ["batch_failed"] * 5 + ["account_blocked", "batch_failed"]
    assert {
        item.error.seen["item"] for item in outcomes if item.error and "item" in item.error.seen
    } == {5}
    assert bank.stored() == before
    assert bank.count("SELECT count(*) FROM ledger.identities") == 0
    # Neither is anything left in the writer's memory: the same names and keys can be used.
    assert (
        answers(bank.run(*batch[:3], transfer("A", "B", 600, key="5"), mode="atomic"))
        == ["recorded"] * 4
    )
    assert bank.posted("A", "B", "C") == [400, 600, 0]
    assert answers(bank.run(*batch[:3], mode="atomic")) == ["replayed"] * 3


def test_an_atomic_batch_stands_alone_in_its_transaction(bank: World) -> None:
    """Its failure takes back nothing of the submissions before and after it."""
    results = bank.main.execute(
        [
            Submission((transfer("A", "B", 300, key="1", entry_id="x"),), "a"),
            Submission(
                (transfer("A", "B", 700, key="2", entry_id="y"), transfer("A", "B", 1, key="3")),
                "b",
                "atomic",
            ),
            Submission((transfer("A", "B", 700, key="2", entry_id="y"),), "c"),
        ]
    )
    assert [answers(outcomes) for outcomes in results] == [
        ["recorded"],
        ["batch_failed", "insufficient_funds"],
        ["recorded"],
    ]
    assert results[2][0].position == 6
    assert bank.posted("A", "B") == [0, 1_000]


# Reversals --------------------------------------------------------------------------------------


def test_an_entry_is_reversed_once_whoever_tries(bank: World) -> None:
    """Of ten reversals at once, each from a writer of its own, exactly one is booked."""
    entry_id = f"jrn_{bank.run(transfer('A', 'B', 100, key='pay'))[0].position}"
    start = threading.Barrier(10)
    ledgers = [bank.ledger() for _ in range(10)]

    def reverse(number: int) -> str:
        """Try once."""
        start.wait()
        command = ReverseEntry(key=f"rev-{number}", reverses=entry_id)
        return answers(bank.run(command, ledger=ledgers[number]))[0]

    with ThreadPoolExecutor(10) as pool:
        said = sorted(pool.map(reverse, range(10)))
    assert said == ["already_reversed"] * 9 + ["recorded"]
    assert bank.posted("A", "B") == [1_000, 0]


def test_what_was_reversed_stays_reversed(bank: World) -> None:
    """By position or chosen id, in one transaction, in the next, and after a restart."""
    pay = transfer("A", "B", 100, key="pay", entry_id="rent")
    outcomes = bank.run(
        pay, ReverseEntry(key="r1", reverses="rent"), ReverseEntry(key="r2", reverses="rent")
    )
    assert answers(outcomes) == ["recorded", "recorded", "already_reversed"]
    reversal_id = f"jrn_{outcomes[1].position}"
    for ledger in (bank.main, bank.ledger()):
        again = bank.run(
            ReverseEntry(key="r3", reverses="rent"),
            ReverseEntry(key="r4", reverses=reversal_id),
            ReverseEntry(key="r5", reverses=f"jrn_{outcomes[0].position}"),
            ReverseEntry(key="r6", reverses="jrn_1"),
            ReverseEntry(key="r7", reverses="jrn_999999999999999999"),
            ledger=ledger,
        )
        assert answers(again) == [
            "already_reversed",
            "not_reversible",
            "entry_not_found",
            "entry_not_found",
            "entry_not_found",
        ]
