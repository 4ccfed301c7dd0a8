"""Insiders who rewrite history, recompute every hash and sign everything with the stolen key.

An older checkpoint in the auditor's hands finds each of them; without one, nothing can.
"""

import json
import random
from collections.abc import Callable

import pytest
from tests.verifier.archives import Export
from tests.verifier.checks import export, verify

from ledger_verify.balances import SUMS
from ledger_verify.books import Books
from ledger_verify.lines import split_leaf
from ledger_verify.plain import Malformed

Leaves = list[bytes]
Rewrite = Callable[[Leaves, int, random.Random], Leaves]

SEEDS = range(5)
KEPT = 120


def with_header(leaf: bytes, index: int, value: object) -> bytes:
    """The leaf with another column."""
    header, _, data = leaf.partition(b"\n")
    columns = json.loads(header)
    columns[index] = value
    return _compact(columns) + b"\n" + data


def with_data(leaf: bytes, change: Callable[[dict[str, object]], None]) -> bytes:
    """The leaf with other data."""
    header, _, data = leaf.partition(b"\n")
    event = json.loads(data)
    change(event)
    return header + b"\n" + _compact(event)


def renumbered(leaves: Leaves) -> Leaves:
    """The same leaves with positions that have no gap."""
    return [with_header(leaf, 0, position) for position, leaf in enumerate(leaves, 1)]


def amount(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """Another amount on both sides, so that the entry still balances."""
    extra = chance.randrange(1, 1_000)

    def more(event: dict[str, object]) -> None:
        postings = event.get("postings")
        if isinstance(postings, list):
            for posting in postings[:2]:
                posting["amount_minor"] += extra
        else:
            event["note"] = extra

    return [*leaves[:at], with_data(leaves[at], more), *leaves[at + 1 :]]


def actor(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """Somebody else did it."""
    changed = with_header(leaves[at], 5, f"somebody-{chance.randrange(99)}")
    return [*leaves[:at], changed, *leaves[at + 1 :]]


def time(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """It was recorded a little earlier, not before the event before it."""
    del chance
    before = json.loads(leaves[at - 1].partition(b"\n")[0])[1]
    old = json.loads(leaves[at].partition(b"\n")[0])[1]
    changed = with_header(leaves[at], 1, before if before != old else old)
    if changed == leaves[at]:
        changed = with_header(leaves[at], 6, [])
    return [*leaves[:at], changed, *leaves[at + 1 :]]


def drop(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """An event disappears, and the rest moves up."""
    del chance
    return renumbered([*leaves[:at], *leaves[at + 1 :]])


def insert(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """An event appears that never was."""
    copied = with_header(leaves[at], 4, f"made-up-{chance.getrandbits(32)}")
    return renumbered([*leaves[:at], copied, *leaves[at:]])


def swap(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """Two events change places."""
    del chance
    times = [json.loads(leaf.partition(b"\n")[0])[1] for leaf in leaves]
    changed = renumbered([*leaves[:at], leaves[at + 1], leaves[at], *leaves[at + 2 :]])
    return [with_header(leaf, 1, moment) for leaf, moment in zip(changed, times, strict=True)]


def truncate(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """The log ends earlier."""
    del chance
    return leaves[:at]


def rename(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """An account has another name, from the beginning."""
    del chance, at
    return [leaf.replace(b'"B"', b'"Z"').replace(b"account:B", b"account:Z") for leaf in leaves]


def key(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """It was another command."""
    changed = with_header(leaves[at], 4, f"other-{chance.getrandbits(32)}")
    return [*leaves[:at], changed, *leaves[at + 1 :]]


def describe(leaves: Leaves, at: int, chance: random.Random) -> Leaves:
    """It was about something else."""
    del chance
    changed = with_data(leaves[at], lambda event: event.update(description="Consulting"))
    return [*leaves[:at], changed, *leaves[at + 1 :]]


REWRITES: tuple[Rewrite, ...] = (
    amount,
    actor,
    time,
    drop,
    insert,
    swap,
    truncate,
    rename,
    key,
    describe,
)


def signed_again(leaves: Leaves, old: Export) -> Export:
    """All that follows from the events, made anew as well as it can be."""
    books = Books()
    try:
        for leaf in leaves:
            books.apply(split_leaf(leaf))
    except Malformed:
        return Export(tuple(leaves), old.balances, [len(leaves)])
    lines = [
        {"account": name.decode(), "currency": account.currency.decode()}
        | {field: str(getattr(account, field)) for field in SUMS}
        for name, account in sorted(books.accounts.items())
    ]
    balances = b"".join(_compact(line) + b"\n" for line in lines)
    sizes = sorted({*range(30, len(leaves), 30), len(leaves)})
    return Export(tuple(leaves), balances, sizes)


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("seed", SEEDS)
def test_an_older_checkpoint_finds_it(rewrite: Rewrite, seed: int) -> None:
    """Fifty rewrites: each is found, and the change lies where the verdict says."""
    made = export(seed, 150)
    chance = random.Random(seed)
    leaves = list(made.leaves)
    at = chance.randrange(10, KEPT - 1)
    changed = rewrite(leaves, at, chance)
    first = next(
        (
            number
            for number, (old, new) in enumerate(zip(leaves, changed, strict=False), 1)
            if old != new
        ),
        len(changed) + 1,
    )
    forged = signed_again(changed, made)
    report = verify(forged.members(), [made.checkpoint(KEPT)])
    assert report.verdict == "doubt"
    assert report.first_bad is not None
    assert report.first_bad[0] <= first <= report.first_bad[1], report.findings
    # Two checkpoints narrow it down.
    early = max(1, first - 3)
    report = verify(forged.members(), [made.checkpoint(early - 1), made.checkpoint(KEPT)])
    assert report.first_bad is not None
    assert early <= report.first_bad[0] <= first <= report.first_bad[1], report.findings


@pytest.mark.parametrize("rewrite", [actor, key, truncate])
def test_without_an_older_checkpoint_nothing_can(rewrite: Rewrite) -> None:
    """A careful insider with the key makes a new history: the verdict says what is missing."""
    made = export(1, 150)
    forged = signed_again(rewrite(list(made.leaves), 60, random.Random(1)), made)
    report = verify(forged.members())
    assert report.verdict == "proven"
    assert any("no earlier checkpoint was given" in text for text in report.unchecked)


def test_two_histories_of_one_size() -> None:
    """A checkpoint of the same size with another root is told as what it is."""
    made = export(1, 150)
    forged = signed_again(actor(list(made.leaves), 60, random.Random(1)), made)
    report = verify(forged.members(), [made.checkpoint(90)])
    assert any("two histories were signed" in found.what for found in report.findings)


def _compact(value: object) -> bytes:
    """JSON as the ledger writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
