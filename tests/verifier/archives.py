"""Exports made by hand from the format's description, to be damaged at will.

The ledger's own exporter is tested in ``test_real_exports``; here every part can be replaced.
"""

import base64
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from tests.verifier.logs import LogMaker

from ledger_core import checkpoints, merkle, proofs
from ledger_core.accounts import Account
from ledger_core.checkpoints import Checkpoint, KeyPair

ORIGIN = "ledger.example/test"
SIGNED_AT_S = 1_772_443_800
SEGMENT_EVENTS = 60

KEYS = KeyPair(
    Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    MLDSA44PrivateKey.from_seed_bytes(bytes(range(32, 64))),
)

Members = dict[str, bytes]


@dataclass(frozen=True)
class Export:
    """What an export is made of, before it is signed and packed."""

    leaves: Sequence[bytes]
    balances: bytes
    sizes: Sequence[int]
    keys: KeyPair = KEYS
    has_hashes: bool = True
    first: int = 1

    def members(self) -> Members:
        """The files in order, the manifest last."""
        hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves]
        before = merkle.extend(merkle.EMPTY, hashes[: self.first - 1])
        last = len(self.leaves)
        found: Members = {
            "export.json": _json(
                {
                    "format": "ledger-export/1",
                    "ledger": "test",
                    "origin": ORIGIN,
                    "from": self.first,
                    "to": last,
                    "frontier_before": [node.hex() for node in before.nodes],
                    "segment_events": SEGMENT_EVENTS,
                    "created_at": "2026-03-02T09:30:00Z",
                }
            ),
            "keys.json": keys_document(self.keys),
            "schema/events.json": _json({"format": "ledger-event-schemas/1", "events": []}),
        }
        for first, end in _segments(self.first, last):
            place = f"{first:012}-{end:012}"
            found[f"events/{place}.jsonl"] = b"".join(map(line_of, self.leaves[first - 1 : end]))
            if self.has_hashes:
                found[f"hashes/{place}.bin"] = b"".join(hashes[first - 1 : end])
        if self.first == 1:
            found["balances.jsonl"] = self.balances
        for size in self.sizes:
            found[f"checkpoints/{size}.txt"] = self.checkpoint(size)
        root = merkle.root(merkle.extend(merkle.EMPTY, hashes))
        found["manifest.json"] = manifest(found, last, root)
        return found

    def checkpoint(self, size: int) -> bytes:
        """The signed checkpoint of the first events."""
        hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves[:size]]
        root = merkle.root(merkle.extend(merkle.EMPTY, hashes))
        return checkpoints.sign(
            self.keys, ORIGIN, Checkpoint(ORIGIN, size, root), SIGNED_AT_S
        ).encode()

    def receipt(self, position: int, size: int) -> dict[str, object]:
        """The receipt of an event under the checkpoint of the first events."""
        hashes = [merkle.leaf_hash(leaf) for leaf in self.leaves[:size]]
        return {
            "format": "ledger-receipt/1",
            "origin": ORIGIN,
            "position": position,
            "leaf": self.leaves[position - 1].decode(),
            "proof": [base64.b64encode(node).decode() for node in path(hashes, position - 1)],
            "checkpoint": self.checkpoint(size).decode(),
        }


def export_of(maker: LogMaker) -> Export:
    """An export of a whole log, with checkpoints every so often."""
    count = len(maker.leaves)
    sizes = sorted({*range(SEGMENT_EVENTS // 2, count, SEGMENT_EVENTS // 2), count})
    return Export(tuple(maker.leaves), balances_of(maker.books.accounts), sizes)


def balances_of(accounts: Mapping[str, Account]) -> bytes:
    """The balances as the ledger's own kernel has them."""
    return b"".join(
        json.dumps(
            {
                "account": name,
                "currency": account.terms.currency,
                "debits_posted": str(account.debits_posted_minor),
                "credits_posted": str(account.credits_posted_minor),
                "debits_held": str(account.debits_held_minor),
                "credits_held": str(account.credits_held_minor),
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ).encode()
        + b"\n"
        for name, account in sorted(accounts.items())
    )


def line_of(leaf: bytes) -> bytes:
    """The line of an event in an export."""
    header, _, data = leaf.partition(b"\n")
    if b"\n" in data:
        text = json.dumps(data.decode(), ensure_ascii=False).encode()
        return b'{"leaf":%s,"text":%s}\n' % (header, text)
    return b'{"leaf":%s,"data":%s}\n' % (header, data)


def keys_document(keys: KeyPair, name: str = ORIGIN) -> bytes:
    """The document with the public keys."""
    return _json(
        {
            "format": "ledger-keys/1",
            "origin": name,
            "keys": [
                {
                    "name": key.name,
                    "algorithm": key.algorithm,
                    "key_id": key.key_id.hex(),
                    "public_key": base64.b64encode(key.raw).decode(),
                    "vkey": key.vkey,
                }
                for key in keys.public(name)
            ],
        }
    )


def manifest(members: Mapping[str, bytes], size: int, root: bytes) -> bytes:
    """The list of all files, with their hashes."""
    return _json(
        {
            "format": "ledger-manifest/1",
            "root": root.hex(),
            "size": size,
            "members": [
                {"name": name, "bytes": len(data), "sha256": sha256(data).hexdigest()}
                for name, data in members.items()
                if name != "manifest.json"
            ],
        }
    )


def relisted(members: Members) -> Members:
    """The same files with a manifest that fits them, as an insider would make it."""
    old = json.loads(members["manifest.json"])
    return members | {"manifest.json": manifest(members, old["size"], bytes.fromhex(old["root"]))}


def tar_of(members: Mapping[str, bytes]) -> bytes:
    """The files as one uncompressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The inclusion path of a leaf in the tree over these hashes, by the ledger's own code."""
    return list(proofs.inclusion_path(index, len(hashes), reader(hashes)))


def reader(hashes: Sequence[bytes]) -> proofs.NodesAt:
    """Nodes of the tree over these hashes, each computed when it is asked for."""

    def nodes_at(nodes: Sequence[proofs.Node]) -> list[bytes]:
        """The roots of perfect subtrees."""
        return [
            merkle.root(merkle.extend(merkle.EMPTY, hashes[node.start : node.end]))
            for node in nodes
        ]

    return nodes_at


def _segments(first: int, last: int) -> Iterable[tuple[int, int]]:
    """The first and last position of each file of events."""
    while first <= last:
        end = min(last, -(-first // SEGMENT_EVENTS) * SEGMENT_EVENTS)
        yield first, end
        first = end + 1


def _json(value: object) -> bytes:
    """A document."""
    return json.dumps(value, indent=1).encode() + b"\n"
