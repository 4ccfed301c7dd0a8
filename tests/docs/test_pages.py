"""Every block of the README and the pages does what its page says, in order, as a reader would."""

from collections.abc import Callable

import pytest
from tests.docs.conftest import blocks_of

Run = Callable[[list[str]], list[str]]

# What each block of a page must show, in order; the README's first block starts the server.
README: tuple[tuple[str, ...], ...] = (
    (),
    ('"recorded"', "JournalEntryPosted", "position"),
    ("Lunch", '"1250"'),
    ('"value_date"', "alice-current"),
    ("bank:counter:EUR", "closing balance", "Alice Example", "Total"),
    ("All agree",),
    ("3 lines: 3 recorded, 0 replayed", "3 lines: 0 recorded, 3 replayed"),
    ("2 entries", '"net": "640.00"', '"net": "3.00"'),
    ("Stopped",),
)
API: tuple[tuple[str, ...], ...] = (
    (),
    ("AccountOpened", "JournalEntryPosted", "BlockPlaced"),
    ("dempotency-replayed: true", "idempotency_conflict", '"amount"', "account_blocked"),
    ('"rent-may"', '"recorded":2'),
    ('"posted_minor":"5700"', '"position":20', "totals"),
    ('"next"', '"CustomerRegistered"', "structuring", "Alice Example"),
)
CLI: tuple[tuple[str, ...], ...] = (
    ("1 entries", "Assets:Wallet [CHF]", "-210.00", "Import:Conversion"),
    ("alice-current", "not open then", "swapped"),
)
RISK: tuple[tuple[str, ...], ...] = (
    ("RiskRuleSet", "parameters.count", "1 to 100", '"structuring"'),
)
PATH = 'export PATH="$PWD/.venv/bin:$PATH"'


def test_the_readme_begins_with_one_command() -> None:
    """Nothing comes before ``make run``."""
    assert blocks_of("README.md")[0].strip() == "make run"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("README.md", README),
        ("docs/api.md", API),
        ("docs/cli.md", CLI),
        ("docs/risk-flags.md", RISK),
    ],
)
def test_every_block_does_what_its_page_says(
    server: str, run_blocks: Run, page: str, shown: tuple[tuple[str, ...], ...]
) -> None:
    """The blocks run without a failure, and print what the page promises."""
    assert "export LEDGER_KEY=lk_" in server
    assert server.count("curl -s http://127.0.0.1") == 3
    blocks = blocks_of(page)
    outputs = run_blocks(blocks[1:] if page == "README.md" else [PATH, *blocks])
    outputs = outputs if page == "README.md" else outputs[1:]
    for output, texts in zip(outputs, shown, strict=True):
        for text in texts:
            assert text in output
