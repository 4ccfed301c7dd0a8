"""Proofs about the tree: that a leaf is in it, and that a tree only grew (RFC 9162, section 2.1).

A proof is a list of hashes. Making one asks for the roots of a few perfect subtrees, all at once
(``NodesAt``); checking one needs nothing but the hashes. Deliberately does not know: where nodes
are stored, what a leaf means, or who signed a root.
"""

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple

from ledger_core import merkle

_NODE_PREFIX = b"\x01"


class Node(NamedTuple):
    """A perfect subtree: the ``number``-th, from 0, of those with ``2**height`` leaves."""

    height: int
    number: int

    @property
    def start(self) -> int:
        """Index of its first leaf."""
        return self.number << self.height

    @property
    def end(self) -> int:
        """Index of the leaf after its last."""
        return (self.number + 1) << self.height


NodesAt = Callable[[Sequence[Node]], Sequence[bytes]]
"""Reads the roots of perfect subtrees, in the order asked for."""

# A stretch of leaves, whose root is a proof's element: first index, and the one after the last.
_Range = tuple[int, int]


def hash_nodes(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return sha256(_NODE_PREFIX + left + right).digest()


def root_of_perfect(hashes: bytes) -> bytes:
    """The root over a power of two of hashes, given one after another."""
    nodes = hashes
    while len(nodes) > merkle.HASH_SIZE:
        nodes = b"".join(
            [
                sha256(_NODE_PREFIX + nodes[at : at + 2 * merkle.HASH_SIZE]).digest()
                for at in range(0, len(nodes), 2 * merkle.HASH_SIZE)
            ]
        )
    return nodes


def root_at(size: int, nodes_at: NodesAt) -> bytes:
    """The root of the tree of the first ``size`` leaves.

    Raises:
        ValueError: no tree has that size.
    """
    _require_size(size)
    if not size:
        return sha256(b"").digest()
    return _roots([(0, size)], nodes_at)[0]


def inclusion_path(index: int, size: int, nodes_at: NodesAt) -> tuple[bytes, ...]:
    """The proof that leaf ``index`` (from 0) is in the tree of the first ``size`` leaves.

    From the leaf's sibling up to the root's child.

    Raises:
        ValueError: that tree has no such leaf.
    """
    _require_size(size)
    if not 0 <= index < size:
        raise ValueError("the leaf must be in the tree: 0 <= index < size")
    return _roots(_inclusion_ranges(index, size), nodes_at)


def consistency_path(first: int, second: int, nodes_at: NodesAt) -> tuple[bytes, ...]:
    """The proof that the tree of ``second`` leaves begins with that of ``first``.

    Empty where there is nothing to prove: equal sizes, and a first tree without leaves.

    Raises:
        ValueError: ``first`` is larger than ``second``, or no tree has that size.
    """
    _require_size(second)
    if not 0 <= first <= second:
        raise ValueError("the first tree must not be larger than the second")
    return _roots(_consistency_ranges(first, second), nodes_at)


def verify_inclusion(
    leaf_hash: bytes, index: int, size: int, path: Sequence[bytes], root: bytes
) -> bool:
    """Whether the path leads from that leaf to that root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size <= merkle.SIZE_MAX or not _are_hashes([leaf_hash, root, *path]):
        return False
    sides = _sides(index, size - 1, len(path))
    if sides is None:
        return False
    found = leaf_hash
    for sibling, is_left in zip(path, sides, strict=True):
        found = hash_nodes(sibling, found) if is_left else hash_nodes(found, sibling)
    return found == root


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the path shows that the second tree begins with the first (section 2.1.4.2)."""
    if not 0 <= first <= second <= merkle.SIZE_MAX:
        return False
    if not _are_hashes([first_root, second_root, *path]):
        return False
    if first in {0, second}:
        known = second_root if first else sha256(b"").digest()
        return not path and first_root == known
    # The subtree in which the first tree ends; where it is the whole of it, its root is known.
    height = (first & -first).bit_length() - 1
    place, last = (first - 1) >> height, (second - 1) >> height
    hashes = path if place else (first_root, *path)
    sides = _sides(place, last, len(hashes) - 1)
    if sides is None:
        return False
    old = new = hashes[0]
    for sibling, is_left in zip(hashes[1:], sides, strict=True):
        new = hash_nodes(sibling, new) if is_left else hash_nodes(new, sibling)
        old = hash_nodes(sibling, old) if is_left else old
    return old == first_root and new == second_root


def subtrees(start: int, end: int) -> list[Node]:
    """The perfect subtrees of a stretch of leaves of the tree, the largest first.

    ``start`` is a multiple of the largest power of two within the stretch, as everywhere in the
    tree.
    """
    nodes = []
    while start < end:
        height = (end - start).bit_length() - 1
        nodes.append(Node(height, start >> height))
        start += 1 << height
    return nodes


def _inclusion_ranges(index: int, size: int) -> list[_Range]:
    """PATH of RFC 9162, section 2.1.3.1: what lies beside the leaf, from the bottom up."""
    start, end, found = 0, size, list[_Range]()
    while end - start > 1:
        split = start + _largest_power_below(end - start)
        if index < split:
            found.append((split, end))
            end = split
        else:
            found.append((start, split))
            start = split
    return found[::-1]


def _consistency_ranges(first: int, second: int) -> list[_Range]:
    """PROOF of RFC 9162, section 2.1.4.1: stretches that make up both trees."""
    if first in {0, second}:
        return []
    start, end, found = 0, second, list[_Range]()
    while first < end:
        split = start + _largest_power_below(end - start)
        if first <= split:
            found.append((split, end))
            end = split
        else:
            found.append((start, split))
            start = split
    # The whole first tree is known to whoever checks.
    return ([(start, end)] if start else []) + found[::-1]


def _roots(ranges: Iterable[_Range], nodes_at: NodesAt) -> tuple[bytes, ...]:
    """The root of each stretch of leaves, from one question for all their subtrees."""
    wanted = [subtrees(start, end) for start, end in ranges]
    nodes = iter(nodes_at([node for group in wanted for node in group]))
    roots = []
    for group in wanted:
        *left, root = [next(nodes) for _ in group]
        for sibling in reversed(left):
            root = hash_nodes(sibling, root)
        roots.append(root)
    return tuple(roots)


def _sides(place: int, last: int, count: int) -> list[bool] | None:
    """Of each sibling on the way from a node to the root, whether it stands on the left.

    ``place`` and ``last`` are the indices, on one level, of the node and of the last node. ``None``
    where the way has not that many siblings.
    """
    sides = []
    while last:
        if place & 1 or place != last:
            sides.append(bool(place & 1))
        place, last = place >> 1, last >> 1
    return sides if len(sides) == count else None


def _largest_power_below(count: int) -> int:
    """The largest power of two that is smaller than ``count``, which is 2 or more."""
    return 1 << ((count - 1).bit_length() - 1)


def _require_size(size: int) -> None:
    """A tree may have that many leaves.

    Raises:
        ValueError: it may not.
    """
    if not 0 <= size <= merkle.SIZE_MAX:
        raise ValueError("a tree's size must be between 0 and 2**63 - 1")


def _are_hashes(values: Iterable[bytes]) -> bool:
    """Whether each has the length of a hash."""
    return all(len(value) == merkle.HASH_SIZE for value in values)
