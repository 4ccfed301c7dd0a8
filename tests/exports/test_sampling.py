"""Samples: seed and log decide, as documented, and anybody comes to the same."""

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.exports.house import House, lines, members

from api import evidence, sampling
from api.archives import ArchiveRefused
from api.sampling import Plan, Sample


def draw(house: House, **fields: Any) -> Sample:  # noqa: ANN401 - the plan's own
    """The sample of a plan on the whole log."""
    plan = Plan(**{"seed": "s", "size": 5, "last": house.head()[0], **fields})
    return sampling.draw(house.runtime, house.ledger_id, plan)


def entries(house: House, currency: str | None = None) -> dict[int, int]:
    """Position and sum of debits in a currency of every entry that has some."""
    found = {}
    for row in house.stored():
        if row[2] == "JournalEntryPosted":
            lines_ = json.loads(row[7])["postings"]
            amount = sum(
                line["amount_minor"]
                for line in lines_
                if line["side"] == "debit" and line["currency"] == currency
            )
            if amount or currency is None:
                found[row[0]] = amount
    return found


def smallest(seed: str, positions: list[int], size: int) -> list[int]:
    """The documented rule, in Python: the smallest numbers are drawn."""
    return sorted(
        sorted(positions, key=lambda at: (sha256(f"{seed}:{at}".encode()).digest(), at))[:size]
    )


@given(seed=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
       size=st.integers(1, 60))  # fmt: skip
def test_records_with_the_smallest_numbers_are_drawn(house: House, seed: str, size: int) -> None:
    """Entries alone, or events of every type, of the whole log or of a part."""
    positions = list(entries(house))
    found = draw(house, seed=seed, size=size)
    assert [item.position for item in found.drawn] == smallest(seed, positions, size)
    assert found.candidates == len(positions)
    some = draw(house, seed=seed, size=size, kind="events", first=4, last=20)
    assert [item.position for item in some.drawn] == smallest(seed, list(range(4, 21)), size)


def test_the_number_stands_beside_each_record(house: House) -> None:
    """As anybody computes it; with the hash of the leaf."""
    stored = {row[0]: bytes(row[8]).hex() for row in house.stored()}
    for item in draw(house, seed="x").drawn:
        assert item.number == sha256(f"x:{item.position}".encode()).hexdigest()
        assert item.leaf_hash == stored[item.position]


def test_amounts_narrow_what_can_be_drawn(house: House) -> None:
    """Entries that move the currency, and so much of it at least."""
    amounts = entries(house, "EUR")
    every = draw(house, size=100, currency="EUR")
    assert {item.position: item.amount_minor for item in every.drawn} == amounts
    large = draw(house, size=100, currency="EUR", min_amount_minor=123)
    assert {item.position for item in large.drawn} == {
        at for at, amount in amounts.items() if amount >= 123
    }


@given(seed=st.text("abc", min_size=1, max_size=5), size=st.integers(1, 200))
def test_money_is_drawn_at_equal_intervals(house: House, seed: str, size: int) -> None:
    """Laid end to end, whatever covers a drawn unit is drawn, as often as it covers one."""
    amounts = entries(house, "EUR")
    total = sum(amounts.values())
    interval = max(total // size, 1)
    start = 1 + int.from_bytes(sha256(seed.encode()).digest(), "big") % interval
    units = [start + count * interval for count in range(size)]
    expected, laid = {}, 0
    for position, amount in sorted(amounts.items()):
        hits = sum(laid < unit <= laid + amount for unit in units)
        laid += amount
        if hits:
            expected[position] = hits
    found = draw(house, seed=seed, size=size, method="monetary", currency="EUR")
    assert {item.position: item.hits for item in found.drawn} == expected
    assert (found.total_minor, found.interval_minor, found.start_minor) == (
        total,
        interval,
        start,
    )
    assert sum(expected.values()) == size


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"seed": ""}, "seed"),
        ({"size": 0}, "size"),
        ({"size": 10**9}, "size"),
        ({"method": "monetary"}, "--currency"),
        ({"min_amount_minor": 1}, "--currency"),
        ({"currency": "EUR", "kind": "events"}, "Only entries"),
        ({"currency": "EUR", "min_amount_minor": -1}, "0 or more"),
        ({"first": 9, "last": 8}, "positions 1 to"),
        ({"last": 10_000}, "positions 1 to"),
    ],
)
def test_plans_that_make_no_sense_are_refused(
    house: House, fields: dict[str, Any], said: str
) -> None:
    """In one sentence that names what is wrong."""
    with pytest.raises(ArchiveRefused, match=said):
        draw(house, **fields)


def test_no_candidates_give_an_empty_sample(house: House) -> None:
    """By record and by money."""
    assert draw(house, currency="XAU").drawn == ()
    assert draw(house, currency="XAU", method="monetary").drawn == ()


def test_a_sample_comes_with_its_evidence(house: House) -> None:
    """A bundle like that of an account, which says how the sample was drawn."""
    found = draw(house, seed="audit 2026", size=3)
    positions = [item.position for item in found.drawn]
    bundle = evidence.of_positions(
        house.runtime,
        house.ledger_id,
        house.ledger,
        evidence.Subject("sample", "audit 2026"),
        positions,
        size=found.plan.last,
        sample={"candidates": found.candidates},
        introduction=["Sample"],
    )
    parts = members(b"".join(bundle.stream()))
    head = json.loads(parts["evidence.json"])
    assert head["subject"] == {"kind": "sample", "id": "audit 2026"}
    assert head["sample"] == {"candidates": found.candidates}
    assert [json.loads(line)["position"] for line in lines([parts["proofs.jsonl"]])] == positions
