"""Alarms on the command line: listed, acknowledged with a reason, raised anew."""

import json

import pytest
from tests.imports.conftest import Run
from tests.imports.test_cli import BANK, answer

from api.runtime import Runtime
from ledger_core import access_log
from ledger_core.access_log import AccessWriter, NewAccess


@pytest.fixture
def probed(run: Run, runtime: Runtime) -> Run:
    """A bank in which key:1 was denied twenty reads, and ann failed to log in."""
    assert answer(run("load", "-", "--json", stdin=BANK))["recorded"] == 4
    denied = NewAccess("key:1", "get_customer", ("customer:C",), "", "request", 403)
    failed = NewAccess("person:ann", "log_in", (), "", "request", 401)
    with runtime.connect("ledger_writer") as connection:
        writer = AccessWriter(connection)
        writer.append(runtime.ledger_id("main"), runtime.now(), [denied] * 20 + [failed] * 5)
    return run


def test_alarms_are_listed_whether_or_not_a_server_runs(probed: Run) -> None:
    """Raised from what was read by now, newest first; by rule, actor and status."""
    found = answer(probed("alarms", "list", "--json"))
    assert {item["alarm_id"] for item in found} >= {
        "alarm_failed_log_ins_25",
        "alarm_denied_reads_20",
    }
    (denied,) = answer(probed("alarms", "list", "--rule", "denied_reads", "--json"))
    assert (denied["actor"], denied["count"], denied["status"]) == ("key:1", 20, "open")
    (failed,) = answer(probed("alarms", "list", "--actor", "person:ann", "--json"))
    assert failed["rule"] == "failed_log_ins"
    code, printed, _ = probed("alarms", "list", "--status", "acknowledged")
    assert (code, printed) == (0, "No alarms.\n")


def test_an_alarm_is_acknowledged_once_and_with_a_reason(probed: Run, runtime: Runtime) -> None:
    """It is an access; what is no alarm is refused, in one sentence."""
    answer(probed("alarms", "list", "--json"))
    for arguments, said in (
        (("alarm_denied_reads_20",), "--reason"),
        (("alarm_denied_reads_20", "--reason", "x" * 201), "200"),
        (("alarm_denied_reads_21", "--reason", "x"), "no such alarm"),
    ):
        code, printed, complained = probed("alarms", "acknowledge", *arguments)
        assert (code, printed) == (1, "")
        assert said in complained
        assert complained.count("\n") == 1
    for _ in range(2):
        code, printed, _ = probed(
            "alarms", "acknowledge", "alarm_denied_reads_20", "--reason", "c7"
        )
        assert code == 0
        assert "alarm_denied_reads_20 was acknowledged by cli:" in printed
    (shown,) = answer(probed("alarms", "list", "--status", "acknowledged", "--json"))
    assert shown["acknowledged_reason"] == "c7"
    with runtime.connect("ledger_reader") as connection:
        accesses = access_log.read_after(connection, runtime.ledger_id("main"), 25)
    said_so = [item for item in accesses if item.operation == "acknowledge_alarm"]
    assert [item.subjects for item in said_so] == [["alarm:alarm_denied_reads_20"]] * 2
    assert shown["acknowledged_number"] == said_so[0].number


def test_a_rebuild_finds_the_same(probed: Run) -> None:
    """And the verification agrees."""
    before = answer(probed("alarms", "list", "--json"))
    assert answer(probed("alarms", "rebuild", "--json")) == {"alarms": len(before)}
    again = answer(probed("alarms", "list", "--json"))
    assert [item for item in again if item in before] == before
    code, printed, _ = probed("verify")
    assert (code, "All agree" in printed) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("list", "--rule", "large_movement"), 1),
        (("list", "--limit", "0"), 1),
        (("list", "--status", "x"), 1),
        (("list", "--other"), 1),
        (("acknowledge",), 1),
    ],
)
def test_a_wrong_call_is_refused(run: Run, arguments: tuple[str, ...], code: int) -> None:
    """Without a traceback."""
    found, _, complained = run("alarms", *arguments)
    assert found >= code
    assert complained
    assert "Traceback" not in complained


def test_an_empty_ledger_has_no_alarms(run: Run) -> None:
    """Nor does a look at them make one, by day or by night."""
    run("migrate")
    assert json.loads(run("alarms", "list", "--json")[1]) == []
