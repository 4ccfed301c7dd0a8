"""What the command line shows is in the access log before it is shown, with who and why."""

import getpass
import json
from pathlib import Path

import pytest
from tests.imports.conftest import Run
from tests.imports.test_cli import BANK, answer

from api import cli
from api.runtime import Runtime
from ledger_core import access_log
from ledger_core.access_log import StoredAccess

# Those below, and those that show no account and no customer.
_KNOWN = {
    *("balances", "statement", "trial-balance", "customer", "accesses", "diff", "explain"),
    *("replay", "export", "sample"),
    "find-customers",  # See test_cli_customers.
    "alarms",  # See test_cli_alarms.
    *("serve", "migrate", "stop", "database-url", "load", "import", "keys", "rebuild", "verify"),
    *("run-orders", "checkpoint", "prove", "audit", "audits", "keystore"),
    "check-token",  # It opens no ledger at all.
    *("backup", "restore"),  # See tests/backup.
    *("staff", "roles"),  # See test_cli_staff, test_cli_roles.
}
_FLAGS = {"--help", "-h", "--version"}


def _accesses(runtime: Runtime) -> list[StoredAccess]:
    """The access log of the main ledger."""
    with runtime.connect("ledger_reader") as connection:
        return access_log.read_after(connection, runtime.ledger_id("main"), 0)


@pytest.fixture
def bank(run: Run) -> Run:
    """A bank with account A of customer C."""
    assert answer(run("load", "-", "--json", stdin=BANK))["recorded"] == 4
    return run


@pytest.mark.parametrize(
    ("command", "operation", "subjects"),
    [
        (("balances",), "list_accounts", ["ledger"]),
        (("statement", "A"), "get_statement", ["account:A"]),
        (("trial-balance",), "get_trial_balance", ["ledger"]),
        (("customer", "C"), "get_customer", ["account:A", "customer:C"]),
        (("customer", "C", "--unmask"), "unmask_customer", ["account:A", "customer:C"]),
        (("accesses",), "list_accesses", ["ledger"]),
        (("accesses", "--subject", "customer:C"), "list_accesses", ["customer:C"]),
        (("diff", "--from", "1"), "get_diff", ["ledger"]),
        (("explain", "balance", "A"), "get_balance_explanation", ["account:A"]),
        (("replay", "--into", "march"), "replay", ["ledger"]),
        (("export", "log", "-o", "log.tar"), "export_log", ["ledger"]),
        (
            ("export", "evidence", "customer", "C", "-o", "c.tar"),
            "export_evidence",
            ["customer:C"],
        ),
        (("export", "trial-balance", "-o", "t.csv"), "export_trial_balance", ["ledger"]),
        (("export", "general-ledger", "-o", "g.csv"), "export_general_ledger", ["ledger"]),
        (("export", "journal", "-o", "j.journal"), "export_journal", ["ledger"]),
        (("sample", "--seed", "1", "--size", "1"), "draw_sample", ["ledger"]),
    ],
)
def test_what_is_shown_is_recorded(  # noqa: PLR0913, PLR0917 - a row of the table, and where it is tried
    bank: Run,
    runtime: Runtime,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    operation: str,
    subjects: list[str],
) -> None:
    """One access: the user of the operating system, what was called, about whom, and why."""
    monkeypatch.chdir(tmp_path)
    code, _, problems = bank(*command, "--reason", "case 7")
    assert code == 0, problems
    (access,) = _accesses(runtime)
    assert (access.operation, access.subjects) == (operation, subjects)
    assert (access.actor, access.reason) == (f"cli:{getpass.getuser()}", "case 7")
    assert access.status == 200
    assert access.position == answer(bank("verify", "--json"))["position"]


def test_a_new_command_is_looked_at_here() -> None:
    """Whoever adds a command says above whether it shows books, and if so adds it to the table."""
    assert set(cli.app) - _FLAGS == _KNOWN


def test_a_malformed_reason_shows_nothing(bank: Run, runtime: Runtime) -> None:
    """One sentence, exit code 1."""
    code, printed, problems = bank("customer", "C", "--reason", "x" * 201)
    assert (code, printed) == (1, "")
    assert "--reason" in problems
    assert _accesses(runtime) == []


def test_a_reason_may_be_required(
    bank: Run, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of whoever asks for a customer, or for anything."""
    monkeypatch.setenv("LEDGER_REASON_REQUIRED", "customers")
    assert bank("customer", "C")[:2] == (1, "")
    assert bank("customer", "C", "--reason", "case 7")[0] == 0
    assert bank("balances")[0] == 0
    monkeypatch.setenv("LEDGER_REASON_REQUIRED", "all")
    assert bank("balances")[:2] == (1, "")
    monkeypatch.setenv("LEDGER_REASON_REQUIRED", "whatever")
    code, _, problems = bank("balances")
    assert code == 1
    assert "none, customers or all" in problems
    assert [item.operation for item in _accesses(runtime)] == ["get_customer", "list_accounts"]


def test_auditors_list_accesses(bank: Run) -> None:
    """Newest first, by any filter; what cannot be understood is refused in a sentence."""
    bank("statement", "A", "--reason", "one")
    bank("customer", "C", "--reason", "two")
    found = json.loads(bank("accesses", "--subject", "account:A", "--json")[1])
    assert [item["reason"] for item in found] == ["", "two", "one"]
    assert json.loads(bank("accesses", "--until", found[2]["at"], "--json")[1]) == [found[2]]
    assert "get_statement  account:A  one" in bank("accesses", "--operation", "get_statement")[1]
    assert bank("accesses", "--actor", "key:none")[1] == "No accesses.\n"
    for wrong in (("--subject", "A"), ("--since", "monday"), ("--limit", "0")):
        code, printed, problems = bank("accesses", *wrong)
        assert (code, printed) == (1, "")
        assert wrong[0] in problems
