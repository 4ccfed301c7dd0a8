"""``ledger import camt053``: exact, chained, all files or none, twice changes nothing."""

import random
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from api.bulk import ImportRefused
from api.import_camt053 import CamtReport, import_camt053
from api.runtime import Runtime
from ledger_core import log
from projections import balance_queries, runner, verification

DATA = Path(__file__).parents[3] / "shared" / "data" / "camt053"
ACCOUNT = "DE02120300000000202051"
FIRST = date(2026, 1, 5)


@pytest.fixture
def imported(runtime: Runtime) -> Callable[[Sequence[Path]], CamtReport]:
    """Import files into the main ledger."""

    def run(files: Sequence[Path]) -> CamtReport:
        """Bring the views forward, import."""
        ledger_id = runtime.create_ledger("main")
        _catch_up(runtime, ledger_id)
        return import_camt053(runtime, ledger_id, files, "test")

    return run


def statement_xml(number: int, opening: str, entries: Sequence[str], closing: str) -> str:
    """A statement of one day; a negative entry is a debit."""
    day = (FIRST + timedelta(days=number)).isoformat()
    rows = "".join(
        f'<Ntry><Amt Ccy="EUR">{entry.removeprefix("-")}</Amt>'
        f"<CdtDbtInd>{'DBIT' if entry.startswith('-') else 'CRDT'}</CdtDbtInd><Sts>BOOK</Sts>"
        f"<BookgDt><Dt>{day}</Dt></BookgDt><AcctSvcrRef>R{index}</AcctSvcrRef></Ntry>"
        for index, entry in enumerate(entries)
    )
    balances = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>"
        f'<Amt Ccy="EUR">{amount.removeprefix("-")}</Amt>'
        f"<CdtDbtInd>{'DBIT' if amount.startswith('-') else 'CRDT'}</CdtDbtInd>"
        f"<Dt><Dt>{day}</Dt></Dt></Bal>"
        for code, amount in (("OPBD", opening), ("CLBD", closing))
    )
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt>'
        f"<Id>S{number}</Id><Acct><Id><IBAN>{ACCOUNT}</IBAN></Id><Ccy>EUR</Ccy></Acct>"
        f"{balances}{rows}</Stmt></BkToCstmrStmt></Document>"
    )


@pytest.fixture
def statement(tmp_path: Path) -> Callable[..., Path]:
    """Write a statement file."""

    def write(number: int, opening: str, entries: Sequence[str], closing: str) -> Path:
        """The file of day ``number``."""
        path = tmp_path / f"day-{number}.xml"
        path.write_text(statement_xml(number, opening, entries, closing))
        return path

    return write


def balance(runtime: Runtime, account_id: str = ACCOUNT, value_date: date | None = None) -> Decimal:
    """The account's posted balance."""
    ledger_id = runtime.ledger_id("main")
    _catch_up(runtime, ledger_id)
    with runtime.engine.connect() as connection:
        found = balance_queries.balance(connection, ledger_id, account_id, value_date=value_date)
    return Decimal(found.posted_minor).scaleb(-2)


def head(runtime: Runtime) -> int:
    """The ledger's last position."""
    with runtime.connect("ledger_reader") as connection:
        return log.read_head(connection, runtime.ledger_id("main")).position


def test_a_statement_is_booked_exactly(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """The opening balance is carried forward, and the balance after the entries is the closing."""
    report = imported([statement(0, "10.00", ["5.5", "-0.2"], "15.30")])
    assert balance(runtime) == Decimal("15.30")
    assert balance(runtime, "bank:clearing:EUR") == Decimal("15.30")
    assert report.carried_forward == (f"{ACCOUNT} 2026-01-05 10.00 EUR",)


def test_importing_twice_changes_nothing(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """The second import replays every command."""
    files = [statement(0, "0", ["5"], "5"), statement(1, "5", ["-7.25"], "-2.25")]
    imported(files)
    position = head(runtime)
    report = imported(files)
    assert (report.recorded, report.new_statements) == (0, 0)
    assert head(runtime) == position
    assert balance(runtime) == Decimal("-2.25")


def test_a_statement_that_does_not_close_leaves_nothing(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """A wrong amount is refused with file and figures, and good files beside it are not booked."""
    good = statement(0, "0", ["5"], "5")
    bad = statement(1, "5", ["1.01"], "6")
    with pytest.raises(ImportRefused, match=r"day-1\.xml.*6\.01.*6.*Nothing was imported"):
        imported([good, bad])
    assert head(runtime) == 0


def test_a_statement_that_does_not_continue_is_refused(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """A missing day is noticed by the balances on both sides of it."""
    imported([statement(0, "0", ["5"], "5")])
    position = head(runtime)
    with pytest.raises(ImportRefused, match=r"day-2\.xml.*expected opening balance 5.00, found 9"):
        imported([statement(2, "9", ["1"], "10")])
    assert head(runtime) == position


def test_a_refusal_names_file_and_statement(
    imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """Of many statements in a file, it is said which one does not add up."""
    with pytest.raises(ImportRefused, match=r"day-3\.xml: statement S3: opening balance"):
        imported([statement(3, "0", ["5"], "6")])


def test_an_account_of_several_currencies_is_one_for_each(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """The second currency of an IBAN has an account and a chain of its own, in any order."""
    euros, more_euros = statement(0, "0", ["5"], "5"), statement(2, "5", ["1"], "6")
    dollars = statement(1, "0", ["7"], "7")
    dollars.write_text(dollars.read_text().replace("EUR", "USD"))
    imported([dollars, euros])
    imported([more_euros])
    more_dollars = statement(3, "7", ["2"], "9")
    more_dollars.write_text(more_dollars.read_text().replace("EUR", "USD"))
    imported([more_dollars])
    assert balance(runtime) == Decimal(6)
    assert balance(runtime, f"{ACCOUNT}:USD") == Decimal(9)
    position = head(runtime)
    assert imported([euros, dollars, more_euros, more_dollars]).recorded == 0
    assert head(runtime) == position


def test_pages_that_share_the_dates_of_their_statement_are_booked(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """Each page bears the whole period's dates; together or one by one, they chain by balances."""
    pages = []
    for number, (opening, closing) in enumerate((("1", "6"), ("6", "11"), ("11", "16")), 1):
        page = statement(number, opening, ["5"], closing)
        days = [(FIRST + timedelta(days=place)).isoformat() for place in (number, 28, 30)]
        text = page.read_text().replace(f"<Id>S{number}</Id>", "<Id>S</Id>")
        head_part, tail = text.split("CLBD")
        text = head_part.replace(days[0], days[1]) + "CLBD" + tail.replace(days[0], days[2])
        number_of_page = f"<StmtPgntn><PgNb>{number}</PgNb></StmtPgntn><Acct>"
        page.write_text(text.replace("<Acct>", number_of_page))
        pages.append(page)
    imported(pages[1::-1])
    imported(pages[2:])
    assert balance(runtime) == Decimal(16)


def test_statements_of_one_day_stay_in_order(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """Two statements of a day, the second opening lower: the next day continues the second."""
    imported([statement(0, "9", ["-7"], "2")])
    again = statement(0, "2", ["-1"], "1")
    again.write_text(again.read_text().replace("<Id>S0</Id>", "<Id>S0-2</Id>"))
    imported([again])
    imported([statement(1, "1", ["4"], "5")])
    assert balance(runtime) == Decimal(5)


def test_a_changed_copy_of_an_imported_statement_is_refused(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """The same statement with other figures, though they add up, is a conflict of keys."""
    imported([statement(0, "0", ["5", "1"], "6")])
    position = head(runtime)
    with pytest.raises(ImportRefused, match=r"day-0\.xml"):
        imported([statement(0, "0", ["4", "2"], "6")])
    assert head(runtime) == position


def test_a_statement_before_the_first_takes_over_what_was_carried_forward(
    runtime: Runtime, imported: Callable[..., CamtReport], statement: Callable[..., Path]
) -> None:
    """Files may come in any order as long as they fit their neighbours."""
    imported([statement(1, "5", ["2"], "7")])
    imported([statement(0, "1", ["4"], "5")])
    assert balance(runtime) == Decimal(7)
    assert balance(runtime, value_date=FIRST) == Decimal(5)
    assert balance(runtime, value_date=FIRST - timedelta(days=1)) == 0


def test_all_the_bank_files_of_other_people(
    runtime: Runtime, imported: Callable[..., CamtReport]
) -> None:
    """84 files in one call: every chain closes where the bank says, and the views verify."""
    files = sorted(DATA.glob("*/*.xml"))
    if not files:
        pytest.skip("the statements are not here")
    first = imported(files)
    assert first.entries == 1965
    assert balance(runtime, "BE68793230773034") == Decimal("41965.11")
    position = head(runtime)
    assert imported(files).recorded == 0
    assert head(runtime) == position
    with runtime.connect("ledger_projector") as connection:
        verdict = verification.verify(connection, runtime.ledger_id("main"))
    assert verdict.ok, verdict.findings


def test_the_bank_files_one_by_one(runtime: Runtime, imported: Callable[..., CamtReport]) -> None:
    """The day-to-day chain holds when each file is a call of its own; a missing day is found."""
    files = sorted((DATA / "settlement").glob("*.xml"))
    if not files:
        pytest.skip("the statements are not here")
    left_out = random.Random(3).randrange(10, len(files) - 1)
    for file in files[:left_out]:
        imported([file])
    position = head(runtime)
    with pytest.raises(ImportRefused, match="does not continue"):
        imported([files[left_out + 1]])
    assert head(runtime) == position
    imported([files[left_out]])
    imported([files[left_out + 1]])


def _catch_up(runtime: Runtime, ledger_id: int) -> None:
    """Bring the views forward."""
    with runtime.connect("ledger_projector") as connection:
        runner.catch_up(connection, ledger_id)
