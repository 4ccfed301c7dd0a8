"""The Merkle frontier against the definition in RFC 9162."""

from collections.abc import Callable
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import merkle

CERTIFICATE_TRANSPARENCY_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
"""The leaves of the test tree that certificate-transparency implementations share."""

CERTIFICATE_TRANSPARENCY_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The root after none, one, two … of those leaves."""


def merkle_tree_hash(leaves: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    left, right = merkle_tree_hash(leaves[:split]), merkle_tree_hash(leaves[split:])
    return sha256(b"\x01" + left + right).digest()


def frontier_of(leaves: list[bytes]) -> merkle.Frontier:
    """Frontier of a whole tree."""
    return merkle.extend(merkle.EMPTY, map(merkle.leaf_hash, leaves))


@pytest.mark.parametrize("size", range(len(CERTIFICATE_TRANSPARENCY_ROOTS)))
def test_the_known_answers_hold(size: int) -> None:
    """The roots that certificate-transparency implementations share are ours, naively or not."""
    leaves = CERTIFICATE_TRANSPARENCY_LEAVES[:size]
    expected = bytes.fromhex(CERTIFICATE_TRANSPARENCY_ROOTS[size])
    assert merkle_tree_hash(leaves) == expected
    assert merkle.root(frontier_of(leaves)) == expected


@pytest.mark.parametrize("size", range(130))
def test_every_shape_of_tree_has_the_defined_root(size: int) -> None:
    """Each size up to past two full subtrees of 64 gives the root of the definition."""
    leaves = [b"%d" % number for number in range(size)]
    assert merkle.root(frontier_of(leaves)) == merkle_tree_hash(leaves)


@given(st.lists(st.lists(st.binary(max_size=40), max_size=9), max_size=9))
def test_the_root_does_not_depend_on_the_batches(batches: list[list[bytes]]) -> None:
    """Leaves added in any batches, stored in between, give the root of the definition."""
    frontier = merkle.EMPTY
    for batch in batches:
        frontier = merkle.extend(frontier, (merkle.leaf_hash(leaf) for leaf in batch))
        frontier = merkle.from_bytes(merkle.to_bytes(frontier))
    leaves = [leaf for batch in batches for leaf in batch]
    assert frontier == frontier_of(leaves)
    assert frontier.size == len(leaves)
    assert merkle.root(frontier) == merkle_tree_hash(leaves)


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=40), st.data())
def test_any_other_leaf_gives_another_root(leaves: list[bytes], data: st.DataObject) -> None:
    """One byte changed in one leaf changes the root."""
    index = data.draw(st.integers(0, len(leaves) - 1))
    changed = [*leaves[:index], leaves[index] + b"!", *leaves[index + 1 :]]
    assert merkle.root(frontier_of(changed)) != merkle.root(frontier_of(leaves))


def test_extending_leaves_the_given_frontier_as_it_was() -> None:
    """An append that is rolled back can be tried again from the same frontier."""
    before = frontier_of([b"a", b"b", b"c"])
    stored = merkle.to_bytes(before)
    merkle.extend(before, [merkle.leaf_hash(b"d")])
    assert merkle.to_bytes(before) == stored


def test_the_stored_form_is_fixed() -> None:
    """A frontier stored by any version of the program is its size, then its nodes."""
    frontier = merkle.Frontier(size=258, nodes=(b"L" * 32, b"R" * 32))
    assert merkle.to_bytes(frontier) == bytes.fromhex("0000000000000102") + b"L" * 32 + b"R" * 32
    assert merkle.to_bytes(merkle.EMPTY) == bytes(8)


@given(st.binary(max_size=110))
def test_bytes_that_load_are_exactly_those_stored(data: bytes) -> None:
    """Whatever loads is stored as the same bytes again; the rest is refused as a value error."""
    try:
        frontier = merkle.from_bytes(data)
    except ValueError:
        return
    assert merkle.to_bytes(frontier) == data


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:7],
        lambda data: data[:-1],
        lambda data: data + b"\x00",
        lambda data: data[:-32],
        lambda data: data + bytes(32),
        lambda data: b"\xff" + data[1:],
        lambda data: data[:7] + b"\x07" + data[8:],
    ],
)
def test_a_damaged_frontier_is_refused(damage: Callable[[bytes], bytes]) -> None:
    """A frontier that was cut, lengthened or given another size does not load."""
    stored = merkle.to_bytes(frontier_of([b"a", b"b", b"c"]))
    with pytest.raises(ValueError, match="frontier"):
        merkle.from_bytes(damage(stored))


def test_a_leaf_that_is_no_hash_is_refused() -> None:
    """An event's bytes passed in place of their hash are caught."""
    with pytest.raises(ValueError, match="32 bytes"):
        merkle.extend(merkle.EMPTY, [b"not a hash", b"nor this"])


def test_a_full_tree_takes_no_more() -> None:
    """The size never leaves the range of a position."""
    full = merkle.Frontier(size=merkle.SIZE_MAX, nodes=(bytes(32),) * 63)
    with pytest.raises(ValueError, match="size"):
        merkle.extend(full, [merkle.leaf_hash(b"")])


def test_a_leaf_is_hashed_apart_from_nodes() -> None:
    """With a prefix of its own (RFC 9162, section 2.1.1)."""
    data = [b"", b"event"]
    assert merkle.leaf_hashes(data) == [sha256(b"\x00" + leaf).digest() for leaf in data]
