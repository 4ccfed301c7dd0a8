"""Proofs about the tree, by the definition in RFC 9162 and against another's library."""

from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import (  # type: ignore[import-untyped]  # It has no types.
    ConsistencyProof,
    InclusionProof,
    InmemoryTree,
    verify_consistency,
    verify_inclusion,
)

from ledger_core import merkle, proofs
from ledger_core.proofs import Node

LEAVES_MAX = 300
LEAVES = [merkle.leaf_hash(b"%d" % number) for number in range(LEAVES_MAX)]

Sizes = st.integers(1, LEAVES_MAX)
Garbled = st.sampled_from(["cut", "longer", "flipped", "swapped"])


def nodes_at(wanted: Sequence[Node]) -> list[bytes]:
    """The roots of perfect subtrees of the leaves."""
    return [proofs.root_of_perfect(b"".join(LEAVES[node.start : node.end])) for node in wanted]


def root(size: int) -> bytes:
    """The root of the first so many leaves, by the append's own arithmetic."""
    return merkle.root(merkle.extend(merkle.EMPTY, LEAVES[:size]))


def defined_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of RFC 9162 section 2.1.3.1, word for word."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*defined_path(index, leaves[:split]), defined_root(leaves[split:])]
    return [*defined_path(index - split, leaves[split:]), defined_root(leaves[:split])]


def defined_subproof(first: int, leaves: list[bytes], is_known: bool) -> list[bytes]:  # noqa: FBT001 - as in the RFC
    """SUBPROOF of RFC 9162 section 2.1.4.1, word for word."""
    if first == len(leaves):
        return [] if is_known else [defined_root(leaves)]
    split = _split(len(leaves))
    if first <= split:
        return [*defined_subproof(first, leaves[:split], is_known), defined_root(leaves[split:])]
    return [
        *defined_subproof(first - split, leaves[split:], False),  # noqa: FBT003 - as in the RFC
        defined_root(leaves[:split]),
    ]


def defined_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 9162 section 2.1.1 over leaves that are hashed already."""
    if len(hashes) == 1:
        return hashes[0]
    split = _split(len(hashes))
    left, right = defined_root(hashes[:split]), defined_root(hashes[split:])
    return sha256(b"\x01" + left + right).digest()


def _split(count: int) -> int:
    """The largest power of two below a count."""
    split = 1
    while split * 2 < count:
        split *= 2
    return split


@pytest.mark.parametrize("size", [*range(1, 70), 127, 128, 129, 255, 256, 257])
def test_every_leaf_of_every_shape_is_proven_as_defined(size: int) -> None:
    """The path of each leaf is the definition's, leads to the root, and no longer one does."""
    assert proofs.root_at(size, nodes_at) == root(size)
    for index in range(size):
        path = proofs.inclusion_path(index, size, nodes_at)
        assert list(path) == defined_path(index, LEAVES[:size])
        assert proofs.verify_inclusion(LEAVES[index], index, size, path, root(size))
        longer = (*path, root(size))
        assert not proofs.verify_inclusion(LEAVES[index], index, size, longer, root(size))


@pytest.mark.parametrize("second", [*range(1, 70), 127, 128, 129, 255, 256, 257])
def test_every_growth_is_proven_as_defined(second: int) -> None:
    """The proof from each smaller size is the definition's and holds; none from nothing."""
    for first in range(1, second + 1):
        path = proofs.consistency_path(first, second, nodes_at)
        assert list(path) == defined_subproof(first, LEAVES[:second], True)  # noqa: FBT003 - as in the RFC
        assert proofs.verify_consistency(first, second, root(first), root(second), path)
    assert proofs.consistency_path(0, second, nodes_at) == ()
    assert proofs.verify_consistency(0, second, sha256(b"").digest(), root(second), ())


@given(Sizes, st.data())
def test_another_implementation_agrees(size: int, data: st.DataObject) -> None:
    """Roots and proofs are those of pymerkle, and it verifies ours as we verify its."""
    index = data.draw(st.integers(0, size - 1))
    first = data.draw(st.integers(1, size))
    tree = InmemoryTree(algorithm="sha256")
    for number in range(size):
        tree.append_entry(b"%d" % number)
    theirs = tree.prove_inclusion(index + 1, size)  # It counts from 1.
    path = proofs.inclusion_path(index, size, nodes_at)
    assert theirs.path == [LEAVES[index], *path]
    ours = InclusionProof.deserialize(theirs.serialize() | {"path": _hex([LEAVES[index], *path])})
    verify_inclusion(LEAVES[index], root(size), ours)
    grown = tree.prove_consistency(first, size)
    verify_consistency(root(first), root(size), grown)
    if first < size:
        assert proofs.consistency_path(first, size, nodes_at) == _as_in_the_rfc(grown, first)


def _as_in_the_rfc(theirs: ConsistencyProof, first: int) -> tuple[bytes, ...]:
    """The RFC's form of pymerkle's proof, which is the path of the first leaf that is new.

    Up to the first node on its left the RFC has them hashed together; that node comes before, or
    is left out where it is the whole first tree.
    """
    at = theirs.subset.index(1)
    merged = theirs.path[0]
    for sibling in theirs.path[1:at]:
        merged = proofs.hash_nodes(merged, sibling)
    before = theirs.path[at : at + 1] if first & (first - 1) else []
    return (*before, merged, *theirs.path[at + 1 :])


def _hex(hashes: Sequence[bytes]) -> list[str]:
    """Hashes as pymerkle writes them."""
    return [item.hex() for item in hashes]


@given(Sizes, Garbled, st.data())
def test_a_garbled_inclusion_proof_is_refused(size: int, garbled: str, data: st.DataObject) -> None:
    """A proof that was cut, lengthened or altered, or of another leaf, place or size."""
    index = data.draw(st.integers(0, size - 1))
    path = proofs.inclusion_path(index, size, nodes_at)
    verify = proofs.verify_inclusion
    other = data.draw(st.integers(0, LEAVES_MAX - 1).filter(lambda number: number != index))
    assert not verify(LEAVES[other], index, size, path, root(size))
    assert not verify(LEAVES[index], other, size, path, root(size))
    assert not verify(LEAVES[index], index, size, path, root(size)[::-1])
    changed = _garbled(list(path), garbled, data)
    if changed is not None:
        assert not verify(LEAVES[index], index, size, changed, root(size))


@given(Sizes, Sizes, Garbled, st.data())
def test_a_garbled_consistency_proof_is_refused(
    one: int, other: int, garbled: str, data: st.DataObject
) -> None:
    """A proof that was cut, lengthened or altered, or of other sizes or roots."""
    first, second = sorted((one, other))
    path = proofs.consistency_path(first, second, nodes_at)
    verify = proofs.verify_consistency
    assert verify(first, second, root(first), root(second), path)
    assert not verify(first, second, root(first)[::-1], root(second), path)
    assert not verify(first, second, root(first), root(second)[::-1], path)
    if first < second:
        assert not verify(second, first, root(second), root(first), path)
    changed = _garbled(list(path), garbled, data)
    if changed is not None:
        assert not verify(first, second, root(first), root(second), changed)


@given(st.integers(1, 400), st.integers(0, 400), st.lists(st.binary(max_size=40), max_size=12))
def test_no_made_up_proof_fails_otherwise_than_by_no(
    size: int, index: int, path: list[bytes]
) -> None:
    """Whatever somebody sends is refused, never an error."""
    zero = bytes(32)
    assert not proofs.verify_inclusion(zero, index, size, path, zero[::-1] + b"x")
    assert not proofs.verify_inclusion(b"short", index, size, path, zero)
    assert not proofs.verify_consistency(size, index, b"1" * 32, b"2" * 32, path)


def _garbled(path: list[bytes], how: str, data: st.DataObject) -> list[bytes] | None:
    """Another path, or ``None`` where it cannot be made of this one."""
    if how == "longer":
        at = data.draw(st.integers(0, len(path)))
        return [*path[:at], bytes(32), *path[at:]]
    if not path:
        return None
    at = data.draw(st.integers(0, len(path) - 1))
    if how == "cut":
        return path[:at] + path[at + 1 :]
    if how == "flipped":
        return [*path[:at], bytes([path[at][0] ^ 1]) + path[at][1:], *path[at + 1 :]]
    swapped = path[::-1]
    return None if swapped == path else swapped


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (3, 3), (0, 2**63)])
def test_what_cannot_be_proven_is_refused(index: int, size: int) -> None:
    """No path for a leaf that the tree does not have, or a tree that there cannot be."""
    with pytest.raises(ValueError, match="must be"):
        proofs.inclusion_path(index, size, nodes_at)


@pytest.mark.parametrize(("first", "second"), [(3, 2), (-1, 2), (0, 2**63), (5, -1)])
def test_no_growth_backwards(first: int, second: int) -> None:
    """No proof from a larger tree to a smaller one."""
    with pytest.raises(ValueError, match="must"):
        proofs.consistency_path(first, second, nodes_at)


def test_a_long_log_is_proven_with_few_nodes() -> None:
    """At 100 million leaves a proof asks for some 50 nodes at most, all at once."""
    asked: list[int] = []

    def count(wanted: Sequence[Node]) -> list[bytes]:
        """Only count."""
        asked.append(len(wanted))
        return [bytes(32)] * len(wanted)

    size = 99_999_999
    for index in (0, 1, size // 3, size - 257, size - 1):
        assert len(proofs.inclusion_path(index, size, count)) <= 27
        proofs.consistency_path(index + 1, size, count)
    assert max(asked) <= 54
    assert len(asked) == 10
