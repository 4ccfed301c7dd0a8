"""``python -m benchmarks.proving``: tiles and proofs on a log as long as you like.

The log is made up: leaves without events, which is all that tiles and proofs look at. Figures:
leaves a second that become tiles, and the time of an inclusion and of a consistency proof at random
places, as the server makes them (nodes read, proof made and checked), one at a time.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

from api import embedded_postgres, migrations
from ledger_core import database, log, merkle, proofs, tiles
from ledger_core.log import Connection

EVENTS = 5_000_000
PROOFS = 2_000
STEP = 200_000
P50, P99 = 0.5, 0.99

_FILL = """
    INSERT INTO ledger.events
        (ledger_id, position, recorded_at, type, version, tags, actor, data, leaf_hash)
    SELECT 1, n, '2026-01-01T00:00:00Z', 'MadeUp', 1, '{}', 'benchmark', '{}',
        sha256(n::text::bytea)
    FROM generate_series(%s, %s) AS n
"""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proving", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="length of the log")
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory() as folder:
        url = embedded_postgres.ensure_running(Path(folder)).url(login="owner")
        try:
            migrations.upgrade(url)
            with (
                database.connect(url, "ledger_writer") as writer,
                database.connect(url, "ledger_reader") as reader,
            ):
                _measure(writer, reader, events)
        finally:
            embedded_postgres.stop(Path(folder))


def _measure(writer: Connection, reader: Connection, events: int) -> None:
    """Fill a log, build its tiles, and prove."""
    from api import clock  # noqa: PLC0415 - for the one time it is asked for

    ledger_id = log.create_ledger(writer, "made-up", clock.now())
    frontier = merkle.EMPTY
    for first in range(1, events + 1, STEP):
        last = min(first + STEP - 1, events)
        writer.execute(_FILL, (first, last))
        hashes = (sha256(b"%d" % number).digest() for number in range(first, last + 1))
        frontier = merkle.extend(frontier, hashes)
    writer.execute(
        "UPDATE ledger.heads SET position = %s, frontier = %s", (events, merkle.to_bytes(frontier))
    )
    begun, cpu = time.monotonic(), time.process_time()
    while tiles.extend(writer, ledger_id, "events", events):
        pass
    wall, cpu = time.monotonic() - begun, time.process_time() - cpu
    print(
        f"{events:,} leaves to tiles: {events / wall:,.0f}/s,"
        f" {cpu / events * 1e6:.2f} µs of Python each"
    )
    draw = random.Random(1)

    def include() -> None:
        """An inclusion proof in the newest tree or in an older one."""
        size = events if draw.random() < P50 else draw.randint(1, events)
        index = draw.randrange(size)
        with reader.transaction():
            tree = tiles.Tree(reader, ledger_id)
            head = tiles.head(reader, ledger_id, "events")
            tree.read_ahead(
                partial(proofs.inclusion_path, index, size),
                partial(proofs.root_at, size),
                partial(proofs.consistency_path, size, head.size),
            )
            root = tree.root_within(head, size)
            path = proofs.inclusion_path(index, size, tree.nodes_at)
            leaf = tiles.leaf_hashes(reader, ledger_id, "events", index, index + 1)
        assert proofs.verify_inclusion(leaf, index, size, path, root)

    def grow() -> None:
        """A consistency proof between two sizes."""
        first, second = sorted(draw.randint(1, events) for _ in range(2))
        with reader.transaction():
            tree = tiles.Tree(reader, ledger_id)
            head = tiles.head(reader, ledger_id, "events")
            tree.read_ahead(
                *(partial(proofs.root_at, size) for size in (first, second)),
                *(partial(proofs.consistency_path, size, head.size) for size in (first, second)),
                partial(proofs.consistency_path, first, second),
            )
            roots = [tree.root_within(head, size) for size in (first, second)]
            path = proofs.consistency_path(first, second, tree.nodes_at)
        assert proofs.verify_consistency(first, second, roots[0], roots[1], path)

    _report("inclusion proof", include)
    _report("consistency proof", grow)


def _report(name: str, prove: Callable[[], None]) -> None:
    """Measure many proofs, one at a time."""
    taken, cpu = [], time.process_time()
    for _ in range(PROOFS):
        begun = time.monotonic()
        prove()
        taken.append((time.monotonic() - begun) * 1_000)
    taken.sort()
    cpu = (time.process_time() - cpu) / PROOFS * 1_000
    p50, p99 = (taken[int(len(taken) * share)] for share in (P50, P99))
    print(
        f"{name}: {p50:.2f} ms p50, {p99:.2f} ms p99, {taken[-1]:.2f} ms at most of {PROOFS:,};"
        f" {cpu:.2f} ms of Python each"
    )


if __name__ == "__main__":
    main()
