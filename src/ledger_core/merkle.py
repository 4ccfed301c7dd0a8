"""The Merkle tree over a ledger's events, kept as its frontier.

Every stored event is a leaf of the SHA-256 tree of RFC 9162 section 2.1. The frontier (the roots
of the perfect subtrees that the leaves fill so far) is all that an append needs: at most 64
hashes, one hash of work per leaf on average, however long the log.

Deliberately does not know: what a leaf's bytes mean, where the frontier is stored, or how to prove
that an event is in the tree.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec

HASH_SIZE = 32
"""Bytes in a SHA-256 hash."""

SIZE_MAX = 2**63 - 1
"""Most leaves in one tree: a log position is a PostgreSQL bigint."""

_SIZE_BYTES = 8
_LEAF_PREFIX = b"\x00"
_NODE_PREFIX = b"\x01"


class Frontier(msgspec.Struct, frozen=True):
    """The state of the tree after its first ``size`` leaves.

    ``nodes`` holds the roots of its perfect subtrees from left to right, the largest first: one for
    each bit that is set in ``size``.

    Raises:
        ValueError: the size is out of range, or the nodes do not fit it.
    """

    size: int
    nodes: tuple[bytes, ...]

    def __post_init__(self) -> None:
        """Refuse a frontier that no sequence of leaves can have."""
        if not 0 <= self.size <= SIZE_MAX:
            raise ValueError("a frontier's size must be between 0 and 2**63 - 1")
        if len(self.nodes) != self.size.bit_count():
            raise ValueError("a frontier must have one node for each bit set in its size")
        if any(len(node) != HASH_SIZE for node in self.nodes):
            raise ValueError("each node of a frontier must be 32 bytes long")


EMPTY = Frontier(size=0, nodes=())
"""The tree of a ledger that has no event yet."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of one event's exact stored bytes as a leaf."""
    return sha256(_LEAF_PREFIX + data).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """As ``leaf_hash``, of many."""
    return [sha256(_LEAF_PREFIX + data).digest() for data in leaves]


def extend(frontier: Frontier, leaf_hashes: Iterable[bytes]) -> Frontier:
    """Frontier after ``leaf_hashes`` (see ``leaf_hash``) are added in order.

    Raises:
        ValueError: a hash is not 32 bytes long, or the tree would exceed ``SIZE_MAX``.
    """
    size = frontier.size
    nodes = list(frontier.nodes)
    pop, push, prefix = nodes.pop, nodes.append, _NODE_PREFIX
    for leaf in leaf_hashes:
        if len(leaf) != HASH_SIZE:
            raise ValueError("each leaf hash must be 32 bytes long")
        node = leaf
        filled = size
        while filled & 1:
            node = sha256(prefix + pop() + node).digest()
            filled >>= 1
        push(node)
        size += 1
    return Frontier(size=size, nodes=tuple(nodes))


def root(frontier: Frontier) -> bytes:
    """Merkle tree hash (RFC 9162 section 2.1.1); of no leaves, the hash of nothing."""
    if not frontier.nodes:
        return sha256(b"").digest()
    *left, node = frontier.nodes
    for sibling in reversed(left):
        node = sha256(_NODE_PREFIX + sibling + node).digest()
    return node


def to_bytes(frontier: Frontier) -> bytes:
    """Frontier as stored: its size in 8 bytes, big-endian, then its nodes left to right."""
    return frontier.size.to_bytes(_SIZE_BYTES, "big") + b"".join(frontier.nodes)


def from_bytes(data: bytes) -> Frontier:
    """Frontier that ``to_bytes`` stored.

    Raises:
        ValueError: the bytes are not those of a frontier.
    """
    if len(data) < _SIZE_BYTES:
        raise ValueError("a stored frontier must begin with its size in 8 bytes")
    nodes = tuple(
        data[start : start + HASH_SIZE] for start in range(_SIZE_BYTES, len(data), HASH_SIZE)
    )
    return Frontier(size=int.from_bytes(data[:_SIZE_BYTES], "big"), nodes=nodes)
