"""Self-audits over HTTP, as figures, on the command line's code path, and as a job."""

import base64
import json
import threading
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs
from tests.http.bank import Bank

from api import clock, self_audit, self_audits, signing_keys
from api.runtime import Runtime
from api.self_audit import SelfAuditJob
from api.self_audit_figures import latest_audits
from api.self_audit_order import Order, decode, encode
from api.self_audits import SelfAudit
from api.settings import Settings, SettingsError, load
from ledger_core import checkpoints
from projections import runner


def _audit(bank: Bank) -> SelfAudit:
    """Audit the bank's ledger now, and store the result."""
    bank.catch_up()
    runtime = bank.runtime
    with runtime.connect("ledger_reader") as reader, runtime.connect("ledger_writer") as writer:
        started_at = clock.now()
        audited = self_audit.run(
            self_audit.auditor_of(runtime.vault, bank.ledger_id),
            reader,
            rest=lambda _: True,
            wait=lambda: None,
        )
        assert audited is not None
        ledger = (bank.ledger_id, bank.ledger)
        return self_audits.record(writer, runtime.settings, ledger, audited, started_at)


def _damage(bank: Bank, superuser_url: str) -> None:
    """Change an account behind the program's back."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        changed = superuser.execute(
            "UPDATE views.accounts SET credits_posted_minor = credits_posted_minor + 1"
            " WHERE account_id = 'a' AND ledger_id = %s",
            (bank.ledger_id,),
        )
        assert changed.rowcount == 1


def test_there_is_none_before_the_first(bank: Bank) -> None:
    """An empty list, and nothing that is the newest."""
    assert bank.get("/v1/audits").json() == {"audits": [], "position": 0, "next": ""}
    assert bank.get("/v1/audits/latest").status_code == 404


def test_a_result_is_shown_as_it_was_signed(bank: Bank) -> None:
    """The note holds by the published keys; its lines are those of the answer."""
    bank.open("a", 500)
    stored = _audit(bank)
    answer = bank.get("/v1/audits/latest", role="auditor").json()
    assert (answer["kind"], answer["findings_count"], answer["findings"]) == ("full", 0, [])
    assert answer["position"] == bank.get("/v1/info").json()["position"]
    assert answer["imbalance_minor"] == {"EUR": "0"}
    keys = signing_keys.load(bank.runtime.settings)
    origin = f"{bank.runtime.settings.notary.origin}/{bank.ledger}"
    text = checkpoints.verify_statement(answer["note"], keys.public_keys(origin))
    assert text.splitlines() == [
        "ledger-audit/1",
        origin,
        str(answer["position"]),
        base64.b64encode(bytes.fromhex(answer["root"])).decode(),
        "0",
        stored.ended_at.isoformat(),
        "full",
        sha256(b"[]").hexdigest(),
    ]


def test_results_are_listed_the_newest_first_page_by_page(bank: Bank) -> None:
    """The cursor goes on where the page ended."""
    for _ in range(3):
        _audit(bank)
    first = bank.get("/v1/audits", limit=2).json()
    assert [item["audit_no"] for item in first["audits"]] == [3, 2]
    second = bank.get("/v1/audits", limit=2, cursor=first["next"]).json()
    assert ([item["audit_no"] for item in second["audits"]], second["next"]) == ([1], "")
    for bad in ("limit=0", "cursor=x", "other=1", "limit=x"):
        refused = bank.client.get(f"/v1/audits?{bad}", headers=bank.headers())
        assert refused.status_code in {400, 422}, bad
    refused = bank.client.get("/v1/audits/latest?other=1", headers=bank.headers())
    assert refused.status_code in {400, 422}


@pytest.mark.parametrize("role", ["reader", "teller"])
def test_they_are_for_auditors(bank: Bank, role: str) -> None:
    """What is wrong with a ledger is not for everyone."""
    for address in ("/v1/audits", "/v1/audits/latest"):
        assert bank.client.get(address, headers=bank.headers(role)).status_code == 403


def test_a_finding_is_loud(own_bank: Bank, superuser_url: str) -> None:
    """In the answer, the figures, the state of health, and the log; and signed as such."""
    own_bank.open("a", 500)
    assert own_bank.client.get("/readyz").json()["self_audit"] == "none yet"
    clean = _audit(own_bank)
    assert own_bank.client.get("/readyz").json()["self_audit"] == "nothing found"
    _damage(own_bank, superuser_url)
    with capture_logs() as logs:
        self_audit.told(own_bank.ledger_id, _audit(own_bank))
    assert {"error"} == {line["log_level"] for line in logs}
    assert logs[0]["event"] == "SELF-AUDIT FINDS THE LEDGER DAMAGED"
    assert logs[1]["account_id"] == "a"
    answer = own_bank.get("/v1/audits/latest").json()
    assert answer["findings_count"] >= 1
    finding = next(item for item in answer["findings"] if item["account_id"] == "a")
    assert finding["kind"] == "accounts"
    assert answer["imbalance_minor"] == {"EUR": "-1"}
    lines = answer["note"].splitlines()
    assert lines[4] == str(answer["findings_count"])
    text = json.dumps(answer["findings"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert lines[7] == sha256(text.encode()).hexdigest()
    assert own_bank.client.get("/readyz").json()["self_audit"] == "findings"
    figures = own_bank.client.get("/metrics").text
    where = f'{{ledger_id="{own_bank.ledger_id}"}}'
    assert f"ledger_last_verified_position{where} {float(clean.position)}" in figures
    assert f"ledger_self_audit_findings{where} {float(answer['findings_count'])}" in figures
    assert 'ledger_imbalance_minor{currency="EUR",ledger_id="' in figures
    assert "ledger_self_audit_ended_seconds" in figures
    assert "ledger_self_audit_duration_seconds" in figures


def _run_job(runtime: Runtime, every: timedelta, until: int, ledger_id: int) -> list[SelfAudit]:
    """Let the job run until a ledger has so many results."""
    stop = threading.Event()
    job = SelfAuditJob(runtime.settings, runtime.database_url, stop)
    thread = threading.Thread(target=job.run_forever, args=(every,))
    thread.start()
    try:
        with runtime.connect("ledger_reader") as reader:
            while len(found := self_audits.listed(reader, ledger_id, None, 10)) < until:
                assert thread.is_alive()
                stop.wait(0.05)
    finally:
        stop.set()
        thread.join()
    return found


def test_the_job_audits_what_is_due(own_bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ledger, again and again; a small ledger in full each time."""
    monkeypatch.setattr(self_audit, "LOOK_S", 0.05)
    own_bank.open("a", 500)
    own_bank.catch_up()
    other = own_bank.runtime.create_ledger("other")
    with own_bank.runtime.connect("ledger_projector") as projector:
        runner.catch_up(projector, other)
    found = _run_job(own_bank.runtime, timedelta(0), 3, own_bank.ledger_id)
    assert {item.kind for item in found} == {"full"}
    assert {item.findings_count for item in found} == {0}
    with own_bank.runtime.connect("ledger_reader") as reader:
        assert self_audits.listed(reader, other, None, 1)[0].position == 0
        assert len(latest_audits(reader)) == 2


def test_the_job_goes_on_from_its_last_audit_of_a_large_ledger(
    own_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what came since is read, until a full audit is due again."""
    monkeypatch.setattr(self_audit, "LOOK_S", 0.05)
    monkeypatch.setattr(self_audit, "SMALL_EVENTS", 0)
    own_bank.open("a", 500)
    own_bank.catch_up()
    found = _run_job(own_bank.runtime, timedelta(0), 3, own_bank.ledger_id)
    kinds = [item.kind for item in found]
    assert (kinds[-1], set(kinds[:-1])) == ("full", {"continued"})
    assert {item.events for item in found[:-1]} == {0}
    monkeypatch.setattr(self_audit, "FULL_EVERY", timedelta(0))
    assert _run_job(own_bank.runtime, timedelta(0), 5, own_bank.ledger_id)[0].kind == "full"


def test_the_job_waits_until_an_audit_is_due(
    own_bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the last one: a restart makes no more of them."""
    monkeypatch.setattr(self_audit, "LOOK_S", 0.01)
    _audit(own_bank)
    later = own_bank.runtime.create_ledger("later")
    with own_bank.runtime.connect("ledger_projector") as projector:
        runner.catch_up(projector, later)
    _run_job(own_bank.runtime, timedelta(hours=1), 1, later)
    with own_bank.runtime.connect("ledger_reader") as reader:
        assert len(self_audits.listed(reader, own_bank.ledger_id, None, 10)) == 1


def test_no_role_changes_a_result(own_bank: Bank) -> None:
    """What an audit said stays said."""
    _audit(own_bank)
    for statement in (
        "UPDATE audit.self_audits SET findings_count = 0",
        "DELETE FROM audit.self_audits",
        "TRUNCATE audit.self_audits",
    ):
        with (
            own_bank.runtime.connect("ledger_writer") as writer,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            writer.execute(statement.encode())
    with (
        own_bank.runtime.connect("ledger_reader") as reader,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        reader.execute("INSERT INTO audit.self_audits SELECT * FROM audit.self_audits")


def test_the_order_of_the_process_holds_every_setting(tmp_path: Path) -> None:
    """What the server knows, its child knows, secrets and folders included."""
    settings = Settings(
        data_dir=tmp_path,
        database_url=None,
        key_encryption_key=bytes(range(32)),
        server_secret=b"S" * 32,
    )
    order = Order("postgresql://x", 5.0, settings)
    line = encode(order)
    assert line.count(b"\n") == 1
    assert decode(line) == order


@pytest.mark.parametrize(
    ("text", "seconds"), [("off", None), ("", 3600), ("1", 1), ("86400", 86400)]
)
def test_the_setting_says_how_often(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, seconds: float | None
) -> None:
    """Off, or seconds from the end of one audit to the next."""
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LEDGER_SELF_AUDIT", text)
    assert load().self_audit_s == seconds


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "on", "604801", "\uff11"])
def test_a_setting_that_says_nothing_sensible_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    """One sentence says what it must be."""
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LEDGER_SELF_AUDIT", text)
    with pytest.raises(SettingsError, match="LEDGER_SELF_AUDIT must be off, or"):
        load()
