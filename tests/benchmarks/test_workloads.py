"""The workloads are what they say: shares, popularity, keys, and nothing that a ledger refuses."""

from collections import Counter
from itertools import islice, pairwise
from typing import Any, get_args
from uuid import UUID

import msgspec
import pytest

from benchmarks import workloads
from ledger_core.commands import WireCommand

ACCOUNTS = 1_000


def sample(
    name: workloads.Name, count: int, keys: workloads.KeyForm = "uuid7"
) -> list[dict[str, Any]]:
    """Some commands of a workload."""
    return [dict(item) for item in islice(workloads.commands(name, 1, ACCOUNTS, keys), count)]


@pytest.mark.parametrize("name", get_args(workloads.Name))
def test_commands_decode(name: workloads.Name) -> None:
    """Every command of a workload is one that the ledger takes."""
    for command in sample(name, 2_000):
        msgspec.convert(command, WireCommand)
    for command in islice(workloads.opening(10), 400):
        msgspec.convert(command, WireCommand)


@pytest.mark.parametrize("name", ["W1", "W2", "W3"])
def test_transfers_are_between_two_accounts_that_are_opened(name: workloads.Name) -> None:
    """W1, W2 and W3 are transfers between different accounts, each opened beforehand."""
    opened = {command.get("account_id") for command in workloads.opening(ACCOUNTS)}
    for command in sample(name, 5_000):
        assert command["type"] == "transfer"
        assert command["debit_account_id"] != command["credit_account_id"]
        assert {command["debit_account_id"], command["credit_account_id"]} <= opened


def test_w1_follows_zipf() -> None:
    """In W1 the account of rank r is drawn about 1/r as often as the first."""
    drawn = Counter(command["debit_account_id"] for command in sample("W1", 60_000))
    names = workloads.account_ids(ACCOUNTS)
    first = drawn[names[0]]
    # The first meets itself most often, and such pairs are left out.
    assert drawn[names[9]] == pytest.approx(first / 10 * 1.14, rel=0.25)
    assert drawn[names[99]] == pytest.approx(first / 100 * 1.14, rel=0.5)


def test_w2_is_uniform_and_w3_hot() -> None:
    """W2 favours nobody; in W3 the same account is debited by every transfer."""
    uniform = Counter(command["debit_account_id"] for command in sample("W2", 50_000))
    assert len(uniform) == ACCOUNTS
    assert max(uniform.values()) < 2 * 50_000 / ACCOUNTS
    assert {command["debit_account_id"] for command in sample("W3", 1_000)} == {
        workloads.account_ids(ACCOUNTS)[0]
    }


def test_w4_has_its_shares() -> None:
    """W4 has the shares that the issue gives; captures and liftings follow what they belong to."""
    found = Counter(command["type"] for command in sample("W4", 50_000))
    units = 50_000 - found["capture_hold"] - found["unfreeze_account"]
    shares = {kind: count / units for kind, count in found.items()}
    assert shares["transfer"] == pytest.approx(0.70, abs=0.01)
    assert shares["deposit"] == pytest.approx(0.10, abs=0.01)
    assert shares["withdraw"] == pytest.approx(0.10, abs=0.01)
    assert shares["place_hold"] == pytest.approx(0.05, abs=0.01)
    assert shares["freeze_account"] + shares["change_profile"] == pytest.approx(0.05, abs=0.01)
    followed = sample("W4", 5_000)
    for command, after in pairwise(followed):
        if command["type"] == "place_hold":
            assert (after["type"], after["hold_id"]) == ("capture_hold", command["hold_id"])
        if command["type"] == "freeze_account":
            assert (after["type"], after["cause"]) == ("unfreeze_account", command["cause"])


def test_keys_are_unique_and_of_their_form() -> None:
    """Keys are UUIDs of version 7 in the order of time, or random text; none comes twice."""
    ordered = [command["key"] for command in sample("W4", 5_000)]
    assert len(set(ordered)) == len(ordered)
    assert {UUID(key).version for key in ordered} == {7}
    assert sorted(ordered[:1]) <= sorted(ordered[-1:])
    text = [command["key"] for command in sample("W1", 5_000, keys="text")]
    assert len(set(text)) == len(text)
    assert text != sorted(text)


def test_seeds_differ_and_repeat() -> None:
    """The same seed gives the same transfers, another seed others; only keys are always new."""
    fields = ("debit_account_id", "credit_account_id", "amount")

    def moves(seed: int) -> list[tuple[object, ...]]:
        """What the first transfers move."""
        stream = islice(workloads.commands("W2", seed, ACCOUNTS), 50)
        return [tuple(command[field] for field in fields) for command in stream]

    assert moves(1) == moves(1)
    assert moves(1) != moves(2)
