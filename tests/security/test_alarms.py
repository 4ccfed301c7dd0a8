"""Alarms over HTTP: raised by what happens, shown to who may, acknowledged by somebody else."""

import time
from typing import TYPE_CHECKING, Any

import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.http.bank import Bank, Json

from api import alarm_keeper
from api.app import create_app
from ledger_core import access_log
from projections import alarms

if TYPE_CHECKING:
    from projections.alarm_rules import Watch


def _judge(bank: Bank) -> None:
    """Do the projector's part: judge what was read by now."""
    with bank.runtime.connect("ledger_projector") as connection:
        alarms.keep_up(connection, bank.ledger_id, None)


def _alarms(bank: Bank, query: str = "", role: str = "security") -> list[Json]:
    """The alarms as the API shows them, with all that was read by now."""
    _judge(bank)
    answer = bank.client.get(f"/v1/alarms{query}", headers=bank.headers(role))
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["alarms"]
    return found


def _acknowledge(
    bank: Bank, alarm_id: str, *, role: str = "security", reason: str = ""
) -> Response:
    """Acknowledge an alarm."""
    said = {"Ledger-Reason": reason} if reason else {}
    path = f"/v1/alarms/{alarm_id}/acknowledgement"
    return bank.client.post(path, headers=bank.headers(role, **said))


def _auditor(bank: Bank) -> dict[str, str]:
    """The headers of an auditor, who always says why."""
    return bank.headers("auditor", **{"Ledger-Reason": "yearly review"})


def _key_id(bank: Bank, role: str) -> str:
    """The id of the key of that role."""
    return bank.keys[role].split("_")[2]


@pytest.fixture
def probed(bank: Bank) -> Bank:
    """A bank in which the reader's key was denied twenty reads."""
    for _ in range(20):
        assert bank.client.get("/v1/events", headers=bank.headers("reader")).status_code == 403
    return bank


def test_many_denied_reads_raise_an_alarm(probed: Bank) -> None:
    """It says who, how often and since when, and names nobody's data."""
    found = _alarms(probed, "?rule=denied_reads")
    (alarm,) = found
    assert (alarm["actor"], alarm["status"]) == (f"key:{_key_id(probed, 'reader')}", "open")
    assert (alarm["count"], alarm["threshold"], alarm["rule_position"]) == (20, 20, 0)
    assert alarm["number"] > alarm["first_number"]
    one = probed.client.get(f"/v1/alarms/{alarm['alarm_id']}", headers=_auditor(probed))
    assert one.json() == alarm


def test_an_alarm_is_acknowledged_with_a_reason_by_somebody_else(probed: Bank) -> None:
    """Once; it stands in the access log, and nowhere else; refusals acknowledge nothing."""
    (alarm,) = _alarms(probed, "?status=open&rule=denied_reads")
    alarm_id = alarm["alarm_id"]
    refused = _acknowledge(probed, alarm_id)
    assert (refused.status_code, refused.json()["code"]) == (400, "reason_required")
    for role in ("reader", "teller", "analyst", "auditor"):
        assert _acknowledge(probed, alarm_id, role=role, reason="case 7").status_code == 403
    assert _acknowledge(probed, "alarm_denied_reads_9999", reason="x").status_code == 404
    assert _alarms(probed, "?status=open&rule=denied_reads")
    done = _acknowledge(probed, alarm_id, reason="case 7: a script of ours")
    assert (done.status_code, done.json()["status"]) == (200, "acknowledged")
    again = _acknowledge(probed, alarm_id, role="admin", reason="me too")
    assert again.json() == done.json()
    assert _alarms(probed, "?status=open&rule=denied_reads") == []
    (shown,) = _alarms(probed, "?status=acknowledged")
    assert shown["acknowledged_by"] == f"key:{_key_id(probed, 'security')}"
    assert shown["acknowledged_reason"] == "case 7: a script of ours"
    with probed.runtime.connect("ledger_reader") as connection:
        accesses = access_log.read_after(connection, probed.ledger_id, 0)
    (said,) = [item for item in accesses if item.number == shown["acknowledged_number"]]
    assert (said.operation, said.status) == ("acknowledge_alarm", 200)
    assert said.subjects == [f"alarm:{alarm_id}"]


def test_nobody_acknowledges_an_alarm_about_themselves(bank: Bank) -> None:
    """Somebody else has to see to it."""
    for _ in range(20):
        assert bank.client.get("/v1/accounts/none", headers=bank.headers("admin")).is_error
    (alarm,) = _alarms(bank, "?rule=denied_reads")
    refused = _acknowledge(bank, alarm["alarm_id"], role="admin", reason="it was me")
    assert (refused.status_code, refused.json()["code"]) == (403, "own_alarm")
    assert _acknowledge(bank, alarm["alarm_id"], reason="spoke to them").status_code == 200


def test_a_key_that_is_presented_in_vain_again_and_again(bank: Bank) -> None:
    """A wrong secret of a key that exists is an access with 401, and five are an alarm."""
    key = bank.keys["teller"]
    wrong = key[:-6] + ("aaaaaa" if key[-6:] != "aaaaaa" else "bbbbbb")
    for presented in [wrong] * 5 + ["lk_1_zzzzzzzz_" + "z" * 40]:
        answer = bank.client.get("/v1/accounts", headers={"Authorization": f"Bearer {presented}"})
        assert answer.status_code == 401
    # What is recorded beside the answer is there by the time that a later read is.
    deadline = time.monotonic() + 20
    while not (found := _alarms(bank, "?rule=failed_log_ins")):
        assert time.monotonic() < deadline
    (alarm,) = found
    assert (alarm["actor"], alarm["count"]) == (f"key:{_key_id(bank, 'teller')}", 5)


def test_a_rule_is_set_as_every_risk_rule(bank: Bank) -> None:
    """With its own parameters, shown beside the others; and the alarms go by it."""
    body: dict[str, Any] = {"rule": "bulk_reading", "parameters": {"customers": 2, "minutes": 5}}
    assert bank.post("/v1/risk-rules", body).status_code == 201
    shown = bank.get("/v1/risk-rules").json()["risk_rules"]
    (rule,) = [item for item in shown if item["rule"] == "bulk_reading"]
    assert rule["parameters"] == {"customers": 2, "minutes": 5}
    refused = bank.post("/v1/risk-rules", body | {"parameters": {"customers": 0}})
    assert refused.json()["errors"][0]["field"] == "parameters.customers"
    for name in ("a", "b"):
        bank.post("/v1/customers", {"customer_id": name, "profile": {"name": "Ann"}})
    bank.catch_up()
    _judge(bank)
    assert bank.client.get("/v1/customers", headers=bank.headers("reader")).status_code == 200
    (alarm,) = _alarms(bank, "?rule=bulk_reading")
    assert (alarm["count"], alarm["threshold"], alarm["rule_position"]) == (2, 2, 1)


def test_pages_and_filters(bank: Bank) -> None:
    """Newest first; a cursor goes on; what is not asked for is left out."""
    body = {"rule": "denied_reads", "parameters": {"count": 1, "minutes": 1}}
    assert bank.post("/v1/risk-rules", body).is_success
    bank.catch_up()
    _judge(bank)
    for role in ("reader", "teller", "analyst"):
        bank.client.get("/v1/events", headers=bank.headers(role))
    _judge(bank)
    headers = _auditor(bank)
    first = bank.client.get("/v1/alarms?limit=2&rule=denied_reads", headers=headers).json()
    second = bank.client.get(
        f"/v1/alarms?limit=2&rule=denied_reads&cursor={first['next']}", headers=headers
    ).json()
    numbers = [item["number"] for item in (*first["alarms"], *second["alarms"])]
    assert (numbers, second["next"]) == (sorted(numbers, reverse=True), "")
    assert len(numbers) == 3
    actor = f"key:{_key_id(bank, 'teller')}"
    assert {item["actor"] for item in _alarms(bank, f"?actor={actor}")} == {actor}
    assert _alarms(bank, "?since=2999-01-01T00:00:00Z") == []
    for query in ("?rule=large_movement", "?status=x", "?other=1", "?cursor=x", "?limit=0"):
        answer = bank.client.get(f"/v1/alarms{query}", headers=headers)
        assert answer.status_code in {400, 422}, query


def test_who_may_see_alarms(bank: Bank) -> None:
    """Auditors, security and administrators; no other ledger's."""
    for role, status in (
        ("reader", 403),
        ("analyst", 403),
        ("teller", 403),
        ("auditor", 200),
        ("security", 200),
        ("admin", 200),
    ):
        headers = bank.headers(role, **{"Ledger-Reason": "yearly review"})
        assert bank.client.get("/v1/alarms", headers=headers).status_code == status, role
    for name in ("alarm_denied_reads_1", "x", "%00", "alarm_denied_reads_99999999999999999999"):
        answer = bank.client.get(f"/v1/alarms/{name}", headers=_auditor(bank))
        assert answer.status_code in {404, 422}


def test_a_listing_waits_for_the_access_it_is_asked_for(probed: Bank) -> None:
    """As long as it may, and then says how far it is."""
    headers = _auditor(probed)
    answer = probed.client.get("/v1/alarms?min_number=9999&wait_s=0.01", headers=headers)
    assert (answer.status_code, answer.json()["number"]) == (200, 0)
    _judge(probed)
    answer = probed.client.get("/v1/alarms?min_number=20", headers=headers)
    assert answer.json()["number"] >= 20


def test_the_keeper_tells_of_alarms_and_the_figures_count_them(own_bank: Bank) -> None:
    """One line each, with ids; what is raised and what is open, by rule."""
    for _ in range(20):
        own_bank.client.get("/v1/events", headers=own_bank.headers("reader"))
    watches: dict[int, Watch] = {}
    with own_bank.runtime.connect("ledger_projector") as connection:
        alarm_keeper.keep_up(connection, watches)
        alarm_keeper.keep_up(connection, watches)
    assert set(watches) == {own_bank.ledger_id}
    text = own_bank.client.get("/metrics").text
    figure = f'{{ledger_id="{own_bank.ledger_id}",rule="denied_reads"}} 1.0'
    assert f"ledger_alarms_raised{figure}" in text
    assert f"ledger_alarms_open{figure}" in text
    with TestClient(create_app(own_bank.runtime)) as other:
        assert f"ledger_alarms_open{figure}" in other.get("/metrics").text
