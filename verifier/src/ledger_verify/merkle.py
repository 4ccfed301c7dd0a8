"""The Merkle tree of RFC 9162, section 2.1: growing it, and checking proofs about it.

Written from the RFC. Knows hashes only: not what a leaf means.
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256

SIZE_MAX = 2**63 - 1
"""Most leaves in a tree: positions are signed 64-bit numbers."""

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    """Hash of a leaf's bytes (section 2.1.1)."""
    return sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of two subtrees side by side (section 2.1.1)."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that only grows: the roots of the perfect subtrees that its leaves fill so far."""

    __slots__ = ("_levels", "size")

    def __init__(self, size: int = 0, nodes: Sequence[bytes] = ()) -> None:
        """Begin after ``size`` leaves, whose subtrees have these roots, the largest first.

        Raises:
            ValueError: there is not one node for each bit set in the size.
        """
        if not 0 <= size <= SIZE_MAX or len(nodes) != size.bit_count():
            msg = "the frontier does not fit its size"
            raise ValueError(msg)
        self.size = size
        smallest_first = list(nodes)[::-1]
        bits = [level for level in range(size.bit_length()) if size >> level & 1]
        self._levels: list[bytes | None] = [None] * size.bit_length()
        for level, node in zip(bits, smallest_first, strict=True):
            self._levels[level] = node

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Add leaves by their hashes, in order: level by level, whole levels at a time."""
        self.size += len(hashes)
        levels, level = self._levels, 0
        row = list(hashes)
        while row:
            if level == len(levels):
                levels.append(None)
            waiting = levels[level]
            if waiting is not None:
                row.insert(0, waiting)
            levels[level] = row.pop() if len(row) & 1 else None
            pairs = iter(row)
            row = [sha256(b"\x01" + left + right).digest() for left, right in zip(pairs, pairs)]  # noqa: B905 - the row is even
            level += 1

    def root(self) -> bytes:
        """Hash of the whole tree."""
        root: bytes | None = None
        for node in self._levels:
            if node is not None:
                root = node if root is None else node_hash(node, root)
        return EMPTY_ROOT if root is None else root

    def copy(self) -> "Tree":
        """The same tree, to grow in another way."""
        other = Tree()
        other.size = self.size
        other._levels = list(self._levels)
        return other


def is_included(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves that the leaf with that hash stands at ``index`` (section 2.1.3.2).

    ``index`` counts from 0; ``size`` and ``root`` are those of the tree.
    """
    if not 0 <= index < size <= SIZE_MAX:
        return False
    at, last, reached = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            reached = node_hash(sibling, reached)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            reached = node_hash(reached, sibling)
        at >>= 1
        last >>= 1
    return last == 0 and reached == root


def is_consistent(
    first_size: int, first_root: bytes, size: int, root: bytes, path: Sequence[bytes]
) -> bool:
    """Whether the path proves that the second tree only added to the first (section 2.1.4.2).

    An empty tree is a beginning of every tree, without any proof.
    """
    if not 0 <= first_size <= size <= SIZE_MAX:
        return False
    if first_size == size:
        return not path and first_root == root
    if first_size == 0:
        return not path and first_root == EMPTY_ROOT
    nodes = [first_root, *path] if first_size & (first_size - 1) == 0 else list(path)
    if not nodes:
        return False
    at, last = first_size - 1, size - 1
    while at & 1:
        at >>= 1
        last >>= 1
    return _folded(nodes, at, last) == (first_root, root)


def root_of(hashes: Iterable[bytes]) -> bytes:
    """Hash of the tree over leaves of these hashes."""
    tree = Tree()
    tree.extend(list(hashes))
    return tree.root()


def _folded(nodes: Sequence[bytes], at: int, last: int) -> tuple[bytes, bytes] | None:
    """Both roots that a consistency path amounts to; ``None`` if it is too long or too short."""
    before = after = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return None
        if at & 1 or at == last:
            before, after = node_hash(node, before), node_hash(node, after)
            while not at & 1 and at:
                at >>= 1
                last >>= 1
        else:
            after = node_hash(after, node)
        at >>= 1
        last >>= 1
    return (before, after) if last == 0 else None
