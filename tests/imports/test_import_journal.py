"""``ledger import journal``: whole or not at all, twice changes nothing, balances as expected."""

import json
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api.bulk import ImportRefused
from api.import_journal import NO_COMMODITY, Payees, import_journal
from api.output import all_pages
from api.runtime import Runtime
from ledger_core import log
from projections import balance_queries, runner

JOURNALS = Path(__file__).parents[3] / "shared" / "data" / "journals" / "journals.jsonl"
TODAY = date(2026, 1, 1)
# The corpus is other people's: some of it may be beyond reading, none may be read wrongly.
EXACT_MIN = 470


@pytest.fixture
def imported(runtime: Runtime, tmp_path: Path) -> Callable[..., Any]:
    """Import a journal's text into a ledger; the report."""

    def run(
        text: str, ledger: str = "main", name: str = "test.journal", payees: Payees = "keep"
    ) -> Any:  # noqa: ANN401
        """Write the file, bring the views forward, import."""
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        ledger_id = runtime.create_ledger(ledger)
        with runtime.connect("ledger_projector") as connection:
            runner.catch_up(connection, ledger_id)
        return import_journal(runtime, ledger_id, file, "test", today=TODAY, payees=payees)

    return run


def nets(runtime: Runtime, ledger: str = "main") -> dict[tuple[str, str], Decimal]:
    """Debits less credits by account name and commodity, where not zero."""
    ledger_id = runtime.ledger_id(ledger)
    with runtime.connect("ledger_projector") as connection:
        runner.catch_up(connection, ledger_id)
    with runtime.engine.connect() as connection:
        found = all_pages(
            lambda after: balance_queries.balances(connection, ledger_id, after=after, limit=1000)
        )
    return {
        (balance.name, balance.currency): Decimal(net).scaleb(-balance.scale)
        for balance in found
        if (net := balance.debits_posted_minor - balance.credits_posted_minor)
    }


def head(runtime: Runtime, ledger: str = "main") -> int:
    """The ledger's last position."""
    with runtime.connect("ledger_reader") as connection:
        return log.read_head(connection, runtime.ledger_id(ledger)).position


GROCERIES = """
2026-01-02 * Opening
    Assets:Cash           100.00 EUR
    Equity:Opening

2026-01-03 (17) Grocer
    Expenses:Food          12.345 EUR
    Assets:Cash

2026-01-04 Shares
    Assets:Shares         3 ACME @ 10.00 EUR
    Assets:Cash
"""


def test_a_journal_becomes_balances(runtime: Runtime, imported: Callable[..., Any]) -> None:
    """Elided amounts and prices are booked exactly, once a commodity."""
    report = imported(GROCERIES)
    assert report.entries == 3
    found = nets(runtime)
    assert found["Assets:Cash", "EUR/3"] == Decimal("57.655")
    assert found["Expenses:Food", "EUR/3"] == Decimal("12.345")
    assert found["Assets:Shares", "ACME"] == Decimal(3)
    for unit in ("EUR/3", "ACME"):
        assert sum(net for (_, other), net in found.items() if other == unit) == 0


def test_importing_twice_changes_nothing(runtime: Runtime, imported: Callable[..., Any]) -> None:
    """The second import replays every command and appends no event."""
    first = imported(GROCERIES)
    position = head(runtime)
    second = imported(GROCERIES)
    assert (second.recorded, second.replayed) == (0, first.recorded)
    assert head(runtime) == position


def test_a_journal_that_grew_adds_only_what_is_new(
    runtime: Runtime, imported: Callable[..., Any]
) -> None:
    """Earlier entries are replayed; two that are alike are two."""
    coffee = "\n2026-01-05 Coffee\n    Expenses:Coffee    2.000 EUR\n    Assets:Cash\n"
    imported(GROCERIES)
    imported(GROCERIES + coffee + coffee)
    assert nets(runtime)["Expenses:Coffee", "EUR/3"] == Decimal(4)


def test_payees_can_be_left_out(runtime: Runtime, imported: Callable[..., Any]) -> None:
    """Then nothing of them is stored: the log is that of a journal with other payees."""
    text = "2026-03-01 * {}\n    Assets:Cash  5 EUR\n    Income:Gifts\n"
    for ledger, payee in (("one", "Aunt Quirina"), ("two", "Uncle Balthasar")):
        report = imported(text.format(payee), ledger, payees="drop")
        assert (report.entries, report.recorded) == (1, 3)
        assert imported(text.format(payee), ledger, payees="drop").recorded == 0
    one, two = (_written(runtime, ledger) for ledger in ("one", "two"))
    assert one == two
    assert not any("Aunt" in str(row) for row in one)
    imported(text.format("Aunt Quirina"), "three")
    assert any("Aunt Quirina" in str(row) for row in _written(runtime, "three"))


def _written(runtime: Runtime, ledger: str) -> list[tuple[Any, ...]]:
    """What the log holds, but for its times."""
    with runtime.connect("ledger_reader") as connection:
        rows = connection.execute(
            "SELECT position, type, tags, command_key, data::text FROM ledger.events"
            " WHERE ledger_id = %s ORDER BY position",
            (runtime.ledger_id(ledger),),
        )
        return rows.fetchall()


def test_what_cannot_be_read_leaves_nothing(runtime: Runtime, imported: Callable[..., Any]) -> None:
    """A refusal names file and line, and not even the entries before it are booked."""
    with pytest.raises(ImportRefused, match=r"test\.journal: line \d+: .*Nothing was imported"):
        imported(GROCERIES + "\n2026-01-06 Bad\n    Assets:Cash    5.00 EUR\n")
    assert head(runtime) == 0


def test_included_files_are_found_by_name_and_pattern(
    runtime: Runtime, imported: Callable[..., Any], tmp_path: Path
) -> None:
    """A pattern includes every file it fits; names are seen from the file that includes."""
    years = tmp_path / "years"
    (years / "parts").mkdir(parents=True)
    entry = "2026-01-0{0} a\n    Assets:{0}    1 EUR\n    Equity\n"
    (years / "1.journal").write_text(f"include parts/one.journal\n\n{entry.format(1)}")
    (years / "2.journal").write_text(entry.format(2))
    (years / "parts" / "one.journal").write_text(entry.format(3))
    assert imported("include years/*.journal\n").entries == 3
    assert nets(runtime)["Equity", "EUR"] == Decimal(-3)


@pytest.mark.parametrize("name", ["none.journal", "none/*", "../*.journal", "/etc/passwd", "/*"])
def test_an_include_that_cannot_be_read_is_refused(
    runtime: Runtime, imported: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    """What is missing or outside the journal's folder is refused at its line."""
    (tmp_path.parent / "outside.journal").write_text("2026-01-01 a\n    A  1 EUR\n    B\n")
    with pytest.raises(ImportRefused, match=r"test\.journal: line 1: an included file is"):
        imported(f"include {name}\n")
    assert head(runtime) == 0


def test_a_unit_that_needs_more_decimals_is_refused(
    runtime: Runtime, imported: Callable[..., Any]
) -> None:
    """A unit's scale is fixed at first use; a later journal cannot round it away."""
    imported("2026-01-01 a\n    Assets:A    1.25 XYZ\n    Equity:B\n")
    position = head(runtime)
    with pytest.raises(ImportRefused, match="needs 3 decimals"):
        imported("2026-01-02 b\n    Assets:A    1.255 XYZ\n    Equity:B\n", name="more.journal")
    assert head(runtime) == position


@pytest.mark.timeout(300)
def test_journals_of_other_people(runtime: Runtime, imported: Callable[..., Any]) -> None:
    """Every journal of the corpus gives exactly the expected balances, or is refused."""
    if not JOURNALS.exists():
        pytest.skip("the corpus is not here")
    exact, wrong = 0, []
    rows = [json.loads(line) for line in JOURNALS.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        ledger = f"corpus-{number}"
        try:
            imported(row["journal"], ledger)
        except ImportRefused:
            assert head(runtime, ledger) == 0
            continue
        found = nets(runtime, ledger)
        by_commodity = {
            (account, commodity.split("/")[0]): net for (account, commodity), net in found.items()
        }
        expected = {
            (account, commodity or NO_COMMODITY): Decimal(amount)
            for account, commodity, amount in row["expected"]
        }
        if all(by_commodity.get(key, Decimal()) == amount for key, amount in expected.items()):
            exact += 1
        else:
            wrong.append(row["file"])
    assert not wrong
    assert exact >= EXACT_MIN
