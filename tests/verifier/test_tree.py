"""The verifier's tree is that of RFC 9162: so says another implementation, and so does ours."""

import pymerkle  # type: ignore[import-untyped]  # It has no types.
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verifier.archives import path, reader

from ledger_core import proofs
from ledger_verify import merkle

leaf_lists = st.lists(st.binary(max_size=40), min_size=1, max_size=40)


def other(leaves: list[bytes]) -> pymerkle.InmemoryTree:
    """The tree of another implementation over the same leaves."""
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for leaf in leaves:
        tree.append_entry(leaf)
    return tree


def hashes_of(leaves: list[bytes]) -> list[bytes]:
    """The leaves' hashes."""
    return [merkle.leaf_hash(leaf) for leaf in leaves]


@settings(deadline=None)
@given(leaf_lists, st.lists(st.integers(0, 40), max_size=4))
def test_roots_are_those_of_pymerkle(leaves: list[bytes], cuts: list[int]) -> None:
    """However many leaves are added at a time, the root is the one of another implementation."""
    theirs, hashes = other(leaves), hashes_of(leaves)
    tree, last = merkle.Tree(), 0
    for cut in sorted({*(cut for cut in cuts if cut <= len(leaves)), len(leaves)}):
        tree.extend(hashes[last:cut])
        last = cut
        assert tree.root() == theirs.get_root(cut)
    assert merkle.root_of(hashes) == theirs.get_root(len(leaves))


@settings(deadline=None)
@given(leaf_lists, st.data())
def test_inclusion_proofs_agree(leaves: list[bytes], data: st.DataObject) -> None:
    """Their proofs hold here, ours are theirs, and nothing else is proven."""
    size = data.draw(st.integers(1, len(leaves)))
    index = data.draw(st.integers(0, size - 1))
    theirs, hashes = other(leaves), hashes_of(leaves)
    root = theirs.get_root(size)
    proof = theirs.prove_inclusion(index + 1, size)
    # They list the leaf itself first.
    found = list(proof.path[1:])
    assert found == path(hashes[:size], index)
    assert merkle.is_included(hashes[index], index, size, found, root)
    assert not merkle.is_included(hashes[index], index, size, [*found, root], root)
    assert not merkle.is_included(hashes[index], index, size, found, merkle.EMPTY_ROOT)
    if found:
        assert not merkle.is_included(hashes[index], index, size, found[:-1], root)
        wrong = [merkle.EMPTY_ROOT, *found[1:]]
        assert not merkle.is_included(hashes[index], index, size, wrong, root)
    elsewhere = data.draw(st.integers(0, size))
    if elsewhere == size or hashes[elsewhere] != hashes[index]:
        assert not merkle.is_included(hashes[index], elsewhere, size, found, root)


@settings(deadline=None)
@given(leaf_lists, st.data())
def test_consistency_proofs_agree(leaves: list[bytes], data: st.DataObject) -> None:
    """A longer tree is proven to continue a shorter one, and only then.

    The roots are the other implementation's; its consistency paths are of another form.
    """
    size = data.draw(st.integers(1, len(leaves)))
    first = data.draw(st.integers(0, size))
    theirs, hashes = other(leaves), hashes_of(leaves)
    roots = theirs.get_root(first) if first else merkle.EMPTY_ROOT, theirs.get_root(size)
    found = list(proofs.consistency_path(first, size, reader(hashes[:size])))
    assert merkle.is_consistent(first, roots[0], size, roots[1], found)
    assert not merkle.is_consistent(first, roots[0], size, roots[1], [*found, roots[1]])
    if first:
        assert not merkle.is_consistent(first, roots[0], size, merkle.leaf_hash(b"other"), found)
    assert not merkle.is_consistent(first, merkle.leaf_hash(b"other"), size, roots[1], found)
    if found:
        assert not merkle.is_consistent(first, roots[0], size, roots[1], found[:-1])


def test_a_frontier_must_fit_its_size() -> None:
    """A tree cannot begin in a state that none can have."""
    with pytest.raises(ValueError, match="frontier"):
        merkle.Tree(3, [bytes(32)])


def test_a_tree_goes_on_from_its_frontier() -> None:
    """Going on from what stands before gives the same root as beginning at the first leaf."""
    hashes = [merkle.leaf_hash(bytes([number])) for number in range(100)]
    for size in range(100):
        nodes = []
        at = 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                nodes.append(merkle.root_of(hashes[at : at + (1 << level)]))
                at += 1 << level
        tree = merkle.Tree(size, nodes)
        tree.extend(hashes[size:])
        assert tree.root() == merkle.root_of(hashes)
