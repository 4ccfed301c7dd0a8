"""How many events a second ledger-verify checks, on one core.

Makes an export of a large log in a temporary folder: the events are encoded, hashed and signed by
the ledger's own code, without a database. Then runs the verifier as an auditor would, in a process
of its own, and measures the CPU seconds that process took.

    python -m benchmarks.verifying [EVENTS]
"""

import argparse
import base64
import json
import os
import random
import subprocess  # Runs the verifier itself.
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from ledger_core import checkpoints, events, log, merkle
from ledger_core.accounts import AccountOpened
from ledger_core.books import Event
from ledger_core.checkpoints import Checkpoint, KeyPair
from ledger_core.customers import CustomerRegistered
from ledger_core.journal import (
    EntryKind,
    HoldPlaced,
    HoldReleased,
    JournalEntryPosted,
    Posting,
    Side,
)

ORIGIN = "ledger.example/benchmark"
ACCOUNTS = 10_000
SEGMENT_EVENTS = 100_000
# Of a hundred events: so many are transfers; the rest are read with more care.
TRANSFERS, CAPTURES, ENTRIES = 88, 6, 4
START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)


class Maker:
    """A log at random: mostly transfers, some with metadata, holds, entries of four postings."""

    def __init__(self, folder: Path, count: int) -> None:
        """Prepare a log of so many events."""
        self.folder = folder
        self.count = count
        self.chance = random.Random(1)
        self.sums = [[0, 0, 0, 0] for _ in range(ACCOUNTS)]

    def write(self) -> Path:
        """Write the export and its keys."""
        keys = KeyPair(Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate())
        path = self.folder / "log.tar"
        members: list[dict[str, object]] = []
        frontier, last = merkle.EMPTY, 0
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:

            def add(name: str, data: bytes) -> None:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, BytesIO(data))
                members.append(
                    {"name": name, "bytes": len(data), "sha256": sha256(data).hexdigest()}
                )

            head: dict[str, object] = {
                "format": "ledger-export/1",
                "ledger": "benchmark",
                "origin": ORIGIN,
            }
            head |= {"from": 1, "to": self.count, "frontier_before": []}
            add("export.json", _json(head))
            document = _keys_document(keys)
            (self.folder / "keys.json").write_bytes(document)
            add("keys.json", document)
            notes: list[tuple[int, bytes]] = []
            leaves: list[bytes] = []
            for position, leaf in enumerate(self.leaves(), 1):
                leaves.append(leaf)
                if len(leaves) < SEGMENT_EVENTS and position < self.count:
                    continue
                place = f"{last + 1:012}-{position:012}"
                add(f"events/{place}.jsonl", b"".join(map(_line, leaves)))
                hashes = merkle.leaf_hashes(leaves)
                add(f"hashes/{place}.bin", b"".join(hashes))
                frontier, last, leaves = merkle.extend(frontier, hashes), position, []
                signed = Checkpoint(ORIGIN, position, merkle.root(frontier))
                notes.append((position, checkpoints.sign(keys, ORIGIN, signed, 0).encode()))
            add("balances.jsonl", b"".join(self.balances()))
            for size, note in notes:
                add(f"checkpoints/{size}.txt", note)
            (self.folder / "old.txt").write_bytes(notes[len(notes) // 2][1])
            manifest = {"format": "ledger-manifest/1", "root": merkle.root(frontier).hex()}
            add("manifest.json", _json(manifest | {"size": self.count, "members": members}))
        return path

    def leaves(self) -> Iterator[bytes]:
        """Every leaf, in order."""
        recorded_at_us = log.micros(START)
        for position, event in enumerate(self.happenings(), 1):
            recorded_at_us += self.chance.randrange(40)
            name, version = events.name_of(event)
            tags = events.tags_of(event, position)
            key = f"{self.chance.getrandbits(128):032x}"
            yield log.leaf_of(
                position, recorded_at_us, name, version, key, "key:1", tags, events.encode(event)
            )

    def happenings(self) -> Iterator[Event]:
        """Every event, in order."""
        made = 0
        for number in range(ACCOUNTS):
            yield AccountOpened("liability", "EUR", 2, _name(number))
            made += 1
        while made < self.count:
            for event in self._some():
                yield event
                made += 1
                if made == self.count:
                    return

    def balances(self) -> Iterator[bytes]:
        """The lines of the balances."""
        for number, sums in enumerate(self.sums):
            names = ("debits_posted", "credits_posted", "debits_held", "credits_held")
            amounts = {name: str(amount) for name, amount in zip(names, sums, strict=True)}
            yield _json({"account": _name(number), "currency": "EUR"} | amounts)

    def _some(self) -> Iterator[Event]:
        """What happens next."""
        kind = self.chance.randrange(100)
        one, other = self.chance.sample(range(ACCOUNTS), 2)
        amount = self.chance.randrange(1, 1_000_000)
        if kind < TRANSFERS:
            text = "Invoice 2026/1234" if kind % 2 else None
            yield self._entry("transfer", (one, other), amount, description=text)
        elif kind < TRANSFERS + CAPTURES:
            hold_id = f"h{self.chance.getrandbits(64):x}"
            self._hold(one, other, amount)
            yield HoldPlaced(_name(one), _name(other), amount, "EUR", hold_id)
            self._hold(one, other, -amount)
            if kind % 2:
                yield self._entry("capture", (one, other), amount, hold_id=hold_id)
            else:
                yield HoldReleased(hold_id, _name(one), _name(other), amount, "EUR", "voided")
        elif kind < TRANSFERS + CAPTURES + ENTRIES:
            third, fourth = self.chance.sample(range(ACCOUNTS), 2)
            yield self._entry(
                "journal", (one, other, third, fourth), amount, metadata={"invoice": "1234"}
            )
        else:
            yield CustomerRegistered(f"sub_{kind}", {"name": "s1.c2VhbGVk"})

    def _entry(
        self,
        kind: EntryKind,
        numbers: tuple[int, ...],
        amount: int,
        **fields: Any,  # noqa: ANN401 - its own
    ) -> Event:
        """An entry that debits and credits in turn."""
        postings = []
        for index, number in enumerate(numbers):
            self.sums[number][index % 2] += amount
            side: Side = "credit" if index % 2 else "debit"
            postings.append(Posting(_name(number), side, amount, "EUR"))
        return JournalEntryPosted(kind, tuple(postings), **fields)

    def _hold(self, one: int, other: int, change: int) -> None:
        """What is held on two accounts changes."""
        self.sums[one][2] += change
        self.sums[other][3] += change


def main() -> None:
    """Make the export, verify it three times each way, and tell the best."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("events", type=int, nargs="?", default=1_000_000)
    count = parser.parse_args().events
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = Maker(folder, count).write()
        print(f"{count:,} events, {path.stat().st_size / 1e6:,.0f} MB", flush=True)
        for title, option in (
            ("hashes, signatures, tree, order", ["--no-balances"]),
            ("the same, and balances replayed", []),
        ):
            best = min(_seconds(folder, path, option) for _ in range(3))
            print(f"{title}: {best:.2f} CPU seconds, {count / best:,.0f} events/s", flush=True)


def _seconds(folder: Path, path: Path, options: list[str]) -> float:
    """CPU seconds of one verification, from the program's start to its end."""
    before = os.times()
    command = [sys.executable, "-m", "ledger_verify", str(path)]
    command += ["--keys", str(folder / "keys.json")]
    done = subprocess.run(
        [*command, "--checkpoint", str(folder / "old.txt"), *options],
        capture_output=True,
        check=False,
    )
    after = os.times()
    if done.returncode:
        raise SystemExit(done.stdout.decode() + done.stderr.decode())
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def _keys_document(keys: KeyPair) -> bytes:
    """The public keys."""
    return _json(
        {
            "format": "ledger-keys/1",
            "origin": ORIGIN,
            "keys": [
                {
                    "name": key.name,
                    "algorithm": key.algorithm,
                    "key_id": key.key_id.hex(),
                    "public_key": base64.b64encode(key.raw).decode(),
                    "vkey": key.vkey,
                }
                for key in keys.public(ORIGIN)
            ],
        }
    )


def _line(leaf: bytes) -> bytes:
    """The line of an event in an export."""
    header, _, data = leaf.partition(b"\n")
    return b'{"leaf":%s,"data":%s}\n' % (header, data)


def _name(number: int) -> str:
    """An account's id."""
    return f"account-{number:05}"


def _json(value: object) -> bytes:
    """A line of JSON."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


if __name__ == "__main__":
    main()
