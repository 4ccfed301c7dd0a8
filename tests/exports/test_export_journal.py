"""Books as plain text: hledger and beancount, run as programs, come to the same balances."""

import csv
import io
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import strategies
from tests.exports.house import House, Json, account, move

from api import csv_text, export_journal, export_reports
from api.archives import ArchiveRefused
from api.export_journal import Format
from api.journal_names import (
    ROOTS,
    beancount_account,
    beancount_unit,
    hledger_account,
    hledger_unit,
)
from api.runtime import Runtime
from ledger_core.money import decimal_text
from projections import balance_queries
from projections.balance_queries import Balance
from projections.reading import NOW, AsOf

HLEDGER = shutil.which("hledger")
BEAN_CHECK = str(Path(sys.executable).with_name("bean-check"))
needs_hledger = pytest.mark.skipif(HLEDGER is None, reason="hledger is not installed")
_numbers = itertools.count(1)


def text_of(house: House, form: Format, as_of: AsOf = NOW, value_date: date | None = None) -> str:
    """The journal."""
    with house.runtime.engine.connect() as connection:
        moment = export_reports.pinned(connection, house.ledger_id, as_of)
        pieces = export_journal.journal(
            connection, house.ledger_id, "books", moment, value_date=value_date, form=form
        )
        return b"".join(pieces).decode()


def balances_of(house: House, as_of: AsOf = NOW, value_date: date | None = None) -> list[Balance]:
    """What the ledger itself says."""
    with house.runtime.engine.connect() as connection:
        moment = export_reports.pinned(connection, house.ledger_id, as_of)
        return list(export_reports.balances_at(connection, house.ledger_id, moment, value_date))


def program(*command: str) -> subprocess.CompletedProcess[str]:
    """Run another's program."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)


def hledger_balances(file: Path) -> dict[str, Decimal]:
    """What hledger adds up from the entries, without our assertions, by account."""
    assert HLEDGER is not None
    done = program(
        HLEDGER, "-f", str(file), "balance", "--flat", "--empty", "-N", "-O", "json",
        "--ignore-assertions",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = {}
    for name, _, _, amounts in json.loads(done.stdout, parse_float=Decimal)[0]:
        (amount,) = amounts or [{"aquantity": {"decimalMantissa": 0, "decimalPlaces": 0}}]
        quantity = amount["aquantity"]
        found[name] = Decimal(quantity["decimalMantissa"]).scaleb(-quantity["decimalPlaces"])
    return found


def net(found: Balance) -> Decimal:
    """Debits less credits."""
    return Decimal(
        decimal_text(found.debits_posted_minor - found.credits_posted_minor, found.scale)
    )


def check_hledger(house: House, file: Path, as_of: AsOf = NOW, day: date | None = None) -> None:
    """Hledger takes the journal, strictly, and its balances are ours."""
    assert HLEDGER is not None
    file.write_text(text_of(house, "hledger", as_of, day))
    checks = ("accounts", "commodities", "balancednoautoconversion")
    done = program(HLEDGER, "-f", str(file), "check", *checks)
    assert done.returncode == 0, done.stderr
    expected = {
        hledger_account(item.account_type, item.account_id): net(item)
        for item in balances_of(house, as_of, day)
    }
    found = hledger_balances(file)
    assert {name: found.get(name, Decimal(0)) for name in expected} == expected
    assert set(found) <= set(expected)


def check_beancount(house: House, file: Path, as_of: AsOf = NOW, day: date | None = None) -> None:
    """Beancount takes the journal, and finds every asserted balance; each of ours is asserted."""
    text = text_of(house, "beancount", as_of, day)
    file.write_text(text)
    done = program(BEAN_CHECK, "-C", str(file))
    assert done.returncode == 0, done.stderr + done.stdout
    asserted = dict(re.findall(r"^\S+ balance (\S+)  (\S+) ~ 0 \S+$", text, re.MULTILINE))
    assert {name: Decimal(amount) for name, amount in asserted.items()} == {
        beancount_account(item.account_type, item.account_id, item.account_no): net(item)
        for item in balances_of(house, as_of, day)
    }


@needs_hledger
def test_hledger_agrees_on_something_of_everything(house: House, tmp_path: Path) -> None:
    """Odd ids, all exponents, units, exchange, reversal, capture, back-dated and future entries."""
    check_hledger(house, tmp_path / "all.journal")
    position = house.head()[0]
    for at in (5, 20, position - 6):
        check_hledger(house, tmp_path / f"at-{at}.journal", AsOf(position=at))
    for day in (date(2024, 2, 28), date(2024, 2, 29), date(2026, 12, 31)):
        check_hledger(house, tmp_path / f"{day}.journal", day=day)


def test_beancount_agrees_on_something_of_everything(house: House, tmp_path: Path) -> None:
    """The same for beancount."""
    check_beancount(house, tmp_path / "all.beancount")
    position = house.head()[0]
    check_beancount(house, tmp_path / "past.beancount", AsOf(position=position - 6))
    check_beancount(house, tmp_path / "day.beancount", day=date(2024, 2, 29))


def test_a_wrong_balance_is_found_by_beancount(house: House, tmp_path: Path) -> None:
    """Our assertions bite: one minor unit off, and bean-check fails."""
    text = text_of(house, "beancount")
    wrong = re.sub(r"(balance Liabilities:A-\d+  -?\d+\.\d)\d", r"\g<1>9", text, count=1)
    assert wrong != text
    file = tmp_path / "wrong.beancount"
    file.write_text(wrong)
    done = program(BEAN_CHECK, "-C", str(file))
    assert done.returncode != 0
    assert "Balance failed" in done.stderr


@needs_hledger
def test_a_wrong_amount_is_found_by_hledger(house: House, tmp_path: Path) -> None:
    """Another amount in an entry that still balances: an assertion fails."""
    assert HLEDGER is not None
    text = text_of(house, "hledger")
    wrong = text.replace("2.50 EUR", "2.51 EUR").replace("-2.50 EUR", "-2.51 EUR")
    assert wrong != text
    file = tmp_path / "wrong.journal"
    file.write_text(wrong)
    assert program(HLEDGER, "-f", str(file), "check").returncode != 0


def test_a_journal_of_nothing_is_one(runtime: Runtime, tmp_path: Path) -> None:
    """A ledger without accounts or entries."""
    empty = House(runtime, "empty")
    empty.catch_up()
    check_beancount(empty, tmp_path / "empty.beancount")
    if HLEDGER is not None:
        file = tmp_path / "empty.journal"
        file.write_text(text_of(empty, "hledger"))
        assert program(HLEDGER, "-f", str(file), "check").returncode == 0
    empty.load(account("only"))
    check_beancount(empty, tmp_path / "one.beancount")


def test_years_that_beancount_cannot_read_are_refused(house: House) -> None:
    """In one sentence; hledger can."""
    house.load(move("a", "A", 1, value_date="3000-01-01"))
    with pytest.raises(ArchiveRefused, match="hledger"):
        text_of(house, "beancount")
    assert "3000-01-01" in text_of(house, "hledger")
    assert "ledger-account" in text_of(house, "beancount", value_date=date(2999, 12, 31))


def test_no_name_of_a_person_is_in_it(house: House) -> None:
    """Neither the profile's nor its e-mail."""
    for form in ("hledger", "beancount"):
        text = text_of(house, form)
        assert "Hidden" not in text
        assert "zoe@" not in text


CURRENCIES = {"EUR": 2, "JPY": 0, "TND": 3, "CLF": 4, "BTC x": 8, "pts": 0}


@st.composite
def ledgers(draw: Callable[[st.SearchStrategy[Any]], Any]) -> list[Json]:
    """Draw the commands of a ledger: accounts of any id and type, and whatever moves on them."""
    commands: list[Json] = [
        {"type": "register_unit", "code": code, "scale": scale}
        for code, scale in CURRENCIES.items()
        if code in {"BTC x", "pts"}
    ]
    names = draw(st.lists(_account_ids, min_size=2, max_size=8, unique=True))
    currencies = draw(st.lists(st.sampled_from(sorted(CURRENCIES)), min_size=1, max_size=3))
    by_currency: dict[str, list[str]] = {}
    for name in names:
        currency = draw(st.sampled_from(currencies))
        by_currency.setdefault(currency, []).append(name)
        kind = draw(st.sampled_from(sorted(ROOTS)))
        commands.append(account(name, currency, account_type=kind))
    entries = []
    for number in range(draw(st.integers(0, 12))):
        currency = draw(st.sampled_from(sorted(by_currency)))
        accounts = by_currency[currency]
        amount = draw(st.integers(1, 10**15))
        extra: Json = {}
        if draw(st.booleans()):
            extra["value_date"] = draw(_days).isoformat()
        if draw(st.booleans()):
            extra["description"] = draw(strategies.one_line_text)
        if len(accounts) < 2 or draw(st.booleans()):
            one = {"account_id": accounts[0], "amount": str(amount), "currency": currency}
            commands.append({"type": "deposit", "key": f"e{number}", **one, **extra})
        else:
            debit, credit = draw(st.permutations(accounts))[:2]
            entry_id = f"e{number}"
            entries.append(entry_id)
            moved = move(debit, credit, amount, currency, entry_id=entry_id, **extra)
            commands.append({"key": f"e{number}", **moved})
    undone = draw(st.lists(st.sampled_from(entries), unique=True)) if entries else []
    commands += [
        {"type": "reverse_entry", "key": f"r{name}", "reverses": name, "on_original_date": True}
        for name in undone
    ]
    return commands


_account_ids = st.one_of(
    st.sampled_from(
        ["a", "A", "a:b", "a::b", ":a", "a:", "(x)", "[x]", "a  b", "; x", "*", "!", "-1", "A-1",
         "X%20", "%", "1", "Assets", "Assets:Cash", "ß", "账户", "=1", '"', "\\", "|",
         "A-1-2", "é:è"]
    ),
    strategies.ids.filter(lambda text: not re.match("acc_|bank:", text)),
)  # fmt: skip
_days = st.dates(date(1900, 1, 1), date(2200, 12, 31))


@pytest.fixture
def fresh(runtime: Runtime) -> Callable[[], House]:
    """A ledger of its own for each example."""
    return lambda: House(runtime, f"example-{next(_numbers)}")


@needs_hledger
@settings(max_examples=25)
@given(commands=ledgers(), at=st.integers(1, 40), day=st.none() | _days)
def test_hledger_agrees_on_any_ledger(
    fresh: Callable[[], House], tmp_path: Path, commands: list[Json], at: int, day: date | None
) -> None:
    """Every account's balance is ours: in all, at a position, by a value date."""
    house = fresh()
    house.load(*commands)
    check_hledger(house, tmp_path / "any.journal")
    check_hledger(house, tmp_path / "past.journal", AsOf(position=min(at, house.head()[0])), day)


@pytest.mark.timeout(400)
@settings(max_examples=12)
@given(commands=ledgers(), day=st.none() | _days)
def test_beancount_agrees_on_any_ledger(
    fresh: Callable[[], House], tmp_path: Path, commands: list[Json], day: date | None
) -> None:
    """The same for beancount."""
    house = fresh()
    house.load(*commands)
    check_beancount(house, tmp_path / "any.beancount", day=day)


@given(st.lists(st.tuples(strategies.account_types, strategies.ids), unique_by=lambda it: it[1]))
def test_no_two_accounts_have_one_name(pairs: list[tuple[Any, str]]) -> None:
    """Whatever their ids; and every name has the form that the other program wants."""
    hledger = {hledger_account(kind, name) for kind, name in pairs}
    bean = {beancount_account(kind, name, number) for number, (kind, name) in enumerate(pairs, 1)}
    assert len(hledger) == len(bean) == len(pairs)
    for name in bean:
        assert re.fullmatch(r"[A-Z][a-z]+(:[A-Z0-9][A-Za-z0-9-]*)+", name)
    for name in hledger:
        assert not re.search(r"\s|;|::", name)


@given(st.lists(strategies.ids, unique=True))
def test_no_two_units_have_one_name(codes: list[str]) -> None:
    """Registered units; currencies of ISO 4217 are their own names."""
    assert len({hledger_unit(code) for code in codes}) == len(codes)
    assert len({beancount_unit(code, at) for at, code in enumerate(codes, 1)}) == len(codes)
    assert (hledger_unit("EUR"), beancount_unit("EUR", None)) == ("EUR", "EUR")


def test_a_name_that_looks_made_is_numbered_too() -> None:
    """An id that ends like another's number cannot take that name."""
    assert beancount_account("asset", "a", 1) == "Assets:A-1"
    assert beancount_account("asset", "A-1", 2) == "Assets:A-1-2"
    assert beancount_account("asset", "Cash", 3) == "Assets:Cash"


def rows_of(pieces: Any) -> list[dict[str, str]]:  # noqa: ANN401 - lines of bytes
    """What a reader of CSV gets."""
    text = b"".join(pieces).decode()
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("day", [None, date(2024, 2, 29)])
def test_the_trial_balance_is_that_of_the_ledger(house: House, day: date | None) -> None:
    """Every account once, sides equal in every currency, amounts in both forms."""
    with house.runtime.engine.connect() as connection:
        moment = export_reports.pinned(connection, house.ledger_id, NOW)
        rows = rows_of(
            csv_text.lines(
                export_reports.TRIAL_BALANCE,
                export_reports.trial_balance(connection, house.ledger_id, moment, day),
            )
        )
        found = balance_queries.balances(connection, house.ledger_id, value_date=day).items
    assert [_plain(row["account_id"]) for row in rows] == [item.account_id for item in found]
    for row, item in zip(rows, found, strict=True):
        signed = int(row["debit_minor"]) - int(row["credit_minor"])
        assert signed == item.debits_posted_minor - item.credits_posted_minor
        assert Decimal(row["debit"]) == Decimal(row["debit_minor"]).scaleb(-item.scale)
    for currency in {row["currency"] for row in rows}:
        same = [row for row in rows if row["currency"] == currency]
        assert sum(int(row["debit_minor"]) for row in same) == sum(
            int(row["credit_minor"]) for row in same
        )


@pytest.mark.parametrize("day", [None, date(2024, 2, 29)])
def test_the_general_ledger_adds_up_to_every_balance(house: House, day: date | None) -> None:
    """Every posting once; the last balance of each account is the ledger's."""
    with house.runtime.engine.connect() as connection:
        moment = export_reports.pinned(connection, house.ledger_id, NOW)
        rows = rows_of(
            csv_text.lines(
                export_reports.GENERAL_LEDGER,
                export_reports.general_ledger(connection, house.ledger_id, moment, day),
            )
        )
    last = {_plain(row["account_id"]): int(row["balance_minor"]) for row in rows}
    expected = {item.account_id: item.posted_minor for item in balances_of(house, NOW, day)}
    assert {name: last.get(name, 0) for name in expected} == expected
    places = [(row["position"], row["line"]) for row in rows]
    assert len(set(places)) == len(places) > 0


def _plain(cell: str) -> str:
    """A text cell as it was."""
    return cell.removeprefix("'")


def test_no_cell_of_text_is_a_formula(house: House) -> None:
    """What begins like one has an apostrophe before it, and is quoted."""
    with house.runtime.engine.connect() as connection:
        moment = export_reports.pinned(connection, house.ledger_id, NOW)
        text = b"".join(
            csv_text.lines(
                export_reports.GENERAL_LEDGER,
                export_reports.general_ledger(connection, house.ledger_id, moment, None),
            )
        ).decode()
    assert '"\'=cmd()"' in text
    assert '"\'@SUM(1)"' in text
    assert '"\'=1+1 ; ""x"" \\ (*)"' in text
    assert not re.search(r'(^|,)"?[=@+]', text, re.MULTILINE)
    assert "Hidden" not in text


@given(strategies.one_line_text | st.sampled_from(["'", "''x", "=1", "'=1", "＝1", "-", "+1"]))  # noqa: RUF001 - a wide sign
def test_a_cell_gives_its_text_back(text: str) -> None:
    """One apostrophe off gives the text; no cell begins as a formula does."""
    (row,) = rows_of(csv_text.lines(["cell"], [[text]]))
    cell = row["cell"]
    assert cell[0] not in "=+-@\t\r\n＝＋－＠"  # noqa: RUF001 - the wide signs
    assert cell in {text, f"'{text}"}
    assert not text.startswith("'") or cell == f"'{text}"
