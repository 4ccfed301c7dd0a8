"""``ledger export``, ``ledger import log`` and ``ledger sample`` as a person types them."""

import csv
import io
import json
import tarfile
from pathlib import Path

import psycopg
import pytest
from tests.imports.conftest import Run
from tests.imports.test_cli import BANK, answer


@pytest.fixture
def bank(run: Run) -> Run:
    """A bank with a customer, an account and a deposit: 5 events."""
    answer(run("load", "-", "--json", stdin=BANK))
    return run


def test_an_export_is_imported_elsewhere_with_the_same_root(bank: Run, tmp_path: Path) -> None:
    """Export, import under another name, verify: one root; a second import is refused."""
    file = str(tmp_path / "log.tar")
    exported = answer(bank("export", "log", "-o", file, "--json"))
    imported = answer(bank("import", "log", file, "--ledger", "copy", "--json"))
    assert imported["root"] == exported["root"]
    assert (imported["events"], imported["persons"], imported["keys"]) == (5, 1, "archive")
    verified = answer(bank("verify", "--ledger", "copy", "--json"))
    assert (verified["ok"], verified["root"]) == (True, exported["root"])
    shown = answer(bank("balances", "--ledger", "copy", "--json"))["balances"]
    assert shown == answer(bank("balances", "--json"))["balances"]
    person = answer(bank("customer", "C", "--ledger", "copy", "--json"))
    assert person["profile"] is None
    code, _, problem = bank("import", "log", file, "--ledger", "copy")
    assert (code, problem.count("\n")) == (1, 1)
    assert "not empty" in problem
    assert "Nothing was imported." in problem


def test_given_keys_are_trusted_and_others_are_not(bank: Run, tmp_path: Path) -> None:
    """The keys of the archive hold; a file that is none is said to be none."""
    file, keys = tmp_path / "log.tar", tmp_path / "keys.json"
    answer(bank("export", "log", "-o", str(file), "--json"))
    with tarfile.open(file) as tar:
        content = tar.extractfile("keys.json")
        assert content is not None
        keys.write_bytes(content.read())
    trusted = ("--keys", str(keys))
    imported = answer(bank("import", "log", str(file), "--ledger", "copy", *trusted, "--json"))
    assert imported["keys"] == "given"
    keys.write_text("no keys")
    code, _, problem = bank("import", "log", str(file), "--ledger", "other", *trusted)
    assert code == 1
    assert "keys.json was expected" in problem
    code, _, problem = bank("import", "log", str(tmp_path / "none.tar"), "--ledger", "other")
    assert code == 1
    assert "No such file" in problem


def test_evidence_is_written_once(bank: Run, tmp_path: Path) -> None:
    """Of an account and a customer; a file that is there is left alone."""
    for kind, subject, events in (("account", "A", 3), ("customer", "C", 4)):
        file = str(tmp_path / f"{kind}.tar")
        written = answer(bank("export", "evidence", kind, subject, "-o", file, "--json"))
        assert (written["kind"], written["id"], written["events"]) == (kind, subject, events)
        code, _, problem = bank("export", "evidence", kind, subject, "-o", file)
        assert (code, "there already" in problem) == (1, True)
        code, _, problem = bank("export", "evidence", kind, "nobody", "-o", file + "2")
        assert (code, problem.count("\n")) == (1, 1)
    assert bank("export", "evidence", "person", "C", "-o", "x")[0] == 2


def test_reports_come_as_csv_and_journals(bank: Run, tmp_path: Path) -> None:
    """On standard output or into a file, of now, of a position, of a value date."""
    code, printed, _ = bank("export", "trial-balance")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(printed, newline="")))
    assert [(row["account_id"], row["credit"], row["debit"]) for row in rows] == [
        ("A", "12.50", "0.00"),
        ("bank:counter:EUR", "0.00", "12.50"),
    ]
    code, printed, _ = bank("export", "general-ledger", "--at-position", "3")
    assert (code, printed.count("\n")) == (0, 1)
    code, printed, _ = bank("export", "trial-balance", "--value-date", "1999-12-31")
    assert (code, "12.50" in printed) == (0, False)
    file = tmp_path / "books.journal"
    written = answer(bank("export", "journal", "-o", str(file), "--json"))
    assert written == {"output": str(file), "position": 5}
    assert "Liabilities:A  -12.50 EUR" in file.read_text()
    code, printed, _ = bank("export", "journal", "--format", "beancount")
    assert (code, "Liabilities:A  -12.50 EUR" in printed) == (0, True)
    assert bank("export", "journal", "--format", "excel")[0] == 2
    code, _, problem = bank("export", "journal", "-o", str(tmp_path / "no" / "folder"))
    assert (code, problem.count("\n")) == (1, 1)


def test_a_sample_is_drawn_again(bank: Run, tmp_path: Path) -> None:
    """The same seed, the same records; with --bundle, their evidence."""
    one = bank("sample", "--seed", "x", "--size", "2", "--kind", "events")
    assert one == bank("sample", "--seed", "x", "--size", "2", "--kind", "events")
    assert one[1].count("\n") == 3
    bundle = str(tmp_path / "sample.tar")
    drawn = answer(
        bank("sample", "--seed", "x", "--size", "2", "--method", "monetary", "--currency", "EUR",
             "--bundle", bundle, "--json")
    )  # fmt: skip
    assert (drawn["total_minor"], [item["hits"] for item in drawn["drawn"]]) == ("1250", [2])
    with tarfile.open(bundle) as tar:
        assert tar.getnames()[0] == "evidence.json"
    code, _, problem = bank("sample", "--seed", "x", "--size", "2", "--min-amount", "5")
    assert (code, "--currency" in problem) == (1, True)
    assert bank("sample", "--size", "2")[0] == 2


def test_a_hole_in_the_log_is_said(bank: Run, tmp_path: Path, superuser_url: str) -> None:
    """The archive is written, and the exit code is 1."""
    answer(bank("balances", "--json"))
    with psycopg.connect(superuser_url) as connection:
        connection.execute("DELETE FROM ledger.events WHERE position = 3")
    code, _, problem = bank("export", "log", "-o", str(tmp_path / "hole.tar"))
    assert code == 1
    assert "missing" in problem
    with tarfile.open(tmp_path / "hole.tar") as tar:
        manifest = tar.extractfile("manifest.json")
        assert manifest is not None
        assert json.loads(manifest.read())["size"] == 5


def test_a_person_elsewhere_is_not_written_to(bank: Run, tmp_path: Path) -> None:
    """A profile whose key stayed at home is refused like that of somebody erased."""
    file = str(tmp_path / "log.tar")
    answer(bank("export", "log", "-o", file, "--json"))
    answer(bank("import", "log", file, "--ledger", "copy", "--json"))
    change = {
        "type": "change_profile",
        "key": "p",
        "customer_id": "C",
        "changes": {"name": "Other"},
        "reason": "married",
    }
    code, printed, _ = bank("load", "-", "--ledger", "copy", "--json", stdin=json.dumps(change))
    assert code == 1
    assert json.loads(printed)["refusals"][0]["code"] == "customer_erased"
