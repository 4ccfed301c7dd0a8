"""Balances and single accounts are linearizable: many clients, two writers, few accounts.

The writers and PostgreSQL are the real ones, in one process, so that as many operations as possible
overlap on one account; servers die and connections are lost among them. Fault runs ask the same of
servers behind HTTP (``run``).
"""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.faults.bank_history import record
from tests.faults.bank_model import findings
from tests.faults.history import Attempt, History
from tests.faults.small_bank import SmallBank, lose_answer, lose_connection

ACCOUNTS = ("a", "b", "c")
CLIENTS = 6
STEPS = 40


@pytest.fixture
def bank(database_url: str, tmp_path: Path) -> Iterator[SmallBank]:
    """Two servers of a ledger of their own, and three accounts with a little on them."""
    bank = SmallBank(database_url, tmp_path)
    for name in ACCOUNTS:
        bank.send(0, "open_account", f"open-{name}", account_id=name, currency="EUR", limit="50")
        bank.send(1, "deposit", f"first-{name}", account_id=name, amount="300", currency="EUR")
    yield bank
    bank.close()


def test_a_contended_history_is_linearizable(bank: SmallBank) -> None:
    """Whoever overlaps whom: each account has an order that explains all, and positions agree."""
    history = _contended(bank)
    assert findings(history) == []
    recording = record(history)
    assert not recording.left_out
    searched = {place[1]: mine for place, mine in recording.searched().items()}
    assert all(len(searched[name]) > STEPS for name in ACCOUNTS)
    kinds = {item.output.outcome for name in ACCOUNTS for item in searched[name] if item.output}
    assert {"done", "read", "insufficient_funds", "account_blocked", "version_conflict"} <= kinds


def test_one_lie_in_a_contended_history_is_found(bank: SmallBank) -> None:
    """A read that misses the last transfer, a transfer that never was: either is found."""
    history = _contended(bank)
    reads = [item for item in history.reads() if item.command["account_id"] == "a"]
    last, before = (
        reads[-1],
        next(item for item in reversed(reads) if _posted(item) != _posted(reads[-1])),
    )
    assert last.answer is not None
    stale = msgspec.structs.replace(
        last, answer={**last.answer, "posted_minor": str(_posted(before))}
    )
    _assert_found(history, last, stale)
    done = [item for item in history.attempts if item.operation == "transfer"]
    lost = next(item for item in done if item.is_acknowledged)
    refused = {"code": "account_not_found", "seen": {}}
    _assert_found(history, lost, msgspec.structs.replace(lost, status=404, answer=refused))


def _assert_found(history: History, item: Attempt, lie: Attempt) -> None:
    """With the lie in the place of one attempt, and of its repetitions, there are findings."""
    told = History()
    told.attempts = [
        lie if other is item else other
        for other in history.attempts
        if other is item or other.key is None or other.key != item.key
    ]
    assert {"linearizability", "answer_at_position"} <= {found.rule for found in findings(told)}


def _posted(read: Attempt) -> int:
    """The balance that was read."""
    return int((read.answer or {})["posted_minor"])


def _contended(bank: SmallBank) -> History:
    """What clients record who all use the same three accounts, and a last read of each."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(_client, bank, number) for number in range(CLIENTS)]:
            done.result()
    for name in ACCOUNTS:
        bank.read(name, bank.newest)
    return bank.history


def _client(bank: SmallBank, number: int) -> None:
    """One client's steps; whatever is in doubt is sent again until it is told."""
    choose = random.Random(number)
    for step in range(STEPS):
        index, key = choose.randrange(2), f"{number}-{step}"
        if choose.random() < 0.03:
            bank.servers[index].before_commit = choose.choice((lose_connection, lose_answer))
        debit, credit = choose.sample(ACCOUNTS, 2)
        match choose.choices(("transfer", "limit", "block", "read"), (10, 2, 1, 4))[0]:
            case "read":
                bank.read(debit, bank.newest)
            case "limit":
                shown = bank.read(debit, bank.newest).answer or {}
                version = int(shown["version"])
                limit = str(choose.randrange(5) * 20)
                bank.send(index, "set_limit", key, if_match=version, account_id=debit, limit=limit)
            case "block":
                block: dict[str, Any] = {"account_id": debit, "cause": f"cause {number}"}
                bank.send(index, "freeze_account", key, **block, effect="debit")
                bank.read(credit, bank.newest)  # Meanwhile others meet the block.
                bank.send(1 - index, "unfreeze_account", f"{key}-off", **block)
            case _:
                amount = str(choose.randrange(1, 120))
                ways = {"debit_account_id": debit, "credit_account_id": credit}
                movement: dict[str, Any] = {**ways, "amount": amount, "currency": "EUR"}
                bank.send(index, "transfer", key, **movement)
                if choose.random() < 0.2:
                    bank.send(1 - index, "transfer", key, **movement)
