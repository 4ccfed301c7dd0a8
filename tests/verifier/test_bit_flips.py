"""A thousand single bits, flipped anywhere in an export: each is found, and named where it is."""

import random

import pytest
from tests.verifier.archives import Export, tar_of
from tests.verifier.checks import export, verify

ROUNDS, FLIPS = 20, 50
HELD_AT = 90


def flipped(data: bytes, bit: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_each_flip_is_found_where_it_is(number: int) -> None:
    """Every file has its share; events and stored hashes are named by position, exactly."""
    made = export(number % 4, 100)
    made = Export(made.leaves, made.balances, [50, len(made.leaves)])
    members, held = made.members(), [made.checkpoint(HELD_AT)]
    chance = random.Random(number)
    for _ in range(FLIPS):
        name = chance.choice(list(members))
        bit = chance.randrange(len(members[name]) * 8)
        report = verify(members | {name: flipped(members[name], bit)}, held)
        place = (name, bit, report.findings)
        assert report.verdict == "doubt", place
        if name.startswith("events/"):
            before = members[name][: bit // 8].count(b"\n")
            position = int(name[7:19]) + before
            assert report.first_bad == (position, position), place
            found = report.first_bad_member
            assert found is not None
            assert found.member == name, place
            assert found.line in {None, before + 1}, place
        elif name.startswith("hashes/"):
            position = int(name[7:19]) + bit // 8 // 32
            assert report.first_bad == (position, position), place
            assert {item.member for item in report.findings} == {name}, place
        else:
            assert report.first_bad is None, place
            if name == "manifest.json":
                assert all("manifest.json" in item.what for item in report.findings), place
            else:
                found = report.first_bad_member
                assert found is not None
                assert found.member == name, place


@pytest.mark.parametrize("number", range(4))
def test_without_stored_hashes_the_place_is_a_range(number: int) -> None:
    """The range between two checkpoints holds the event that was changed."""
    made = export(number, 100)
    bare = Export(made.leaves, made.balances, [40, 80, len(made.leaves)], has_hashes=False)
    members = bare.members()
    chance = random.Random(number)
    names = [name for name in members if name.startswith("events/")]
    for _ in range(FLIPS):
        name = chance.choice(names)
        bit = chance.randrange(len(members[name]) * 8)
        position = int(name[7:19]) + members[name][: bit // 8].count(b"\n")
        report = verify(members | {name: flipped(members[name], bit)})
        bad = report.first_bad
        assert bad is not None
        assert bad[0] <= position <= bad[1], (name, bit, position, report.findings)
        assert bad[1] - bad[0] < 40


def test_flips_in_the_container() -> None:
    """The tar's own headers and padding are checked to the last bit."""
    made = export(1, 60)
    data = tar_of(made.members())
    chance = random.Random(1)
    for _ in range(150):
        bit = chance.randrange(len(data) * 8)
        report = verify(flipped(data, bit))
        assert report.verdict == "doubt", bit


@pytest.mark.parametrize("number", range(6))
def test_a_cut_archive_is_found(number: int) -> None:
    """However much of the end is missing, it is told."""
    made = export(2, 60)
    data = tar_of(made.members())
    chance = random.Random(number)
    for _ in range(10):
        assert verify(data[: chance.randrange(len(data) - 9_000)]).verdict == "doubt"
