"""How much a run measures.

``FULL`` takes ten minutes at most, ``QUICK`` two or three; ``SMOKE`` only shows that it all works.
"""

import msgspec


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How long, how much, how often."""

    accounts: int
    rounds: int
    insert_s: float
    copy_rows: int
    log_transfers: int
    """Transfers in the log that is rebuilt and verified, beside the openings."""
    library_commands: int
    http_s: float
    sweep: tuple[int, ...]
    load_lines: int
    end_to_end: int
    statement_postings: int
    recorder_s: float


SMOKE = Sizes(
    accounts=500,
    rounds=1,
    insert_s=0.2,
    copy_rows=2_000,
    log_transfers=2_000,
    library_commands=2_000,
    http_s=0.3,
    sweep=(1, 64, 256),
    load_lines=2_000,
    end_to_end=4_000,
    statement_postings=4_000,
    recorder_s=0.2,
)
QUICK = Sizes(
    accounts=100_000,
    rounds=1,
    insert_s=1.5,
    copy_rows=40_000,
    log_transfers=100_000,
    library_commands=40_000,
    http_s=2.5,
    sweep=(1, 64, 256),
    load_lines=100_000,
    end_to_end=300_000,
    statement_postings=150_000,
    recorder_s=1.5,
)
FULL = Sizes(
    accounts=100_000,
    rounds=2,
    insert_s=2,
    copy_rows=80_000,
    log_transfers=150_000,
    library_commands=40_000,
    http_s=2.5,
    sweep=(1, 8, 64, 256),
    load_lines=150_000,
    end_to_end=2_000_000,
    statement_postings=1_000_000,
    recorder_s=2,
)
MODES = {"smoke": SMOKE, "quick": QUICK, "full": FULL}
"""By the value of the variable ``BENCH``."""
