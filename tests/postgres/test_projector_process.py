"""The projector's process: whatever goes wrong in it, it ends, and its parent starts another."""

import subprocess
import sys

from tests.postgres.ledger_harness import World

ENDS_S = 60.0


def test_a_failure_ends_the_process(bank: World) -> None:
    """An event that cannot be read stops the projections, and the process with all its threads."""
    bank.connect().execute(
        "INSERT INTO ledger.events SELECT ledger_id, position + 1, recorded_at, 'MoonLanded', 1,"
        " '{}', NULL, 'forger', '{}'::json, sha256('') FROM ledger.heads"
    )
    bank.connect().execute("UPDATE ledger.heads SET position = position + 1")
    process = subprocess.Popen(
        [sys.executable, "-m", "api.projector"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    process.stdin.write(bank.url.encode() + b"\n")
    process.stdin.flush()  # Its parent, this test, goes on holding the other end.
    try:
        assert process.wait(ENDS_S) != 0
    finally:
        process.kill()
        process.communicate()
