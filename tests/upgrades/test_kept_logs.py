"""The log of every released version loads, verifies, answers as it did, and is gone on with."""

import json
from collections.abc import Iterable, Mapping

from tests.upgrades import history
from tests.upgrades.conftest import Kept

from api import api_keys, bulk
from api.runtime import Runtime
from ledger_core import log, merkle
from projections import runner
from projections.balance_queries import balances
from projections.verification import verify

CLI = "cli"


def test_a_kept_log_is_gone_on_with(kept: Kept) -> None:
    """Migrated, verified, read, retried and written on: nothing of it has changed."""
    told = kept.told
    with Runtime(kept.settings) as runtime:
        ledger_id = runtime.ledger_id("main")
        assert _head(runtime, ledger_id) == (told["position"], told["frontier"])
        _require_verified(runtime, ledger_id, told["position"])
        assert _posted(runtime, ledger_id) == {
            item["account_id"]: int(item["posted_minor"]) for item in told["balances"]["balances"]
        }

        again = _load(runtime, ledger_id, history.commands())
        unknown_then = sum(item["code"] == "validation_error" for item in told["load"]["refusals"])
        assert again.replayed == told["load"]["recorded"]
        assert again.recorded <= unknown_then
        assert again.lines == told["load"]["lines"]
        # What no version knew better is refused for the same reason.
        assert {item.code for item in again.refusals} == {"insufficient_funds"}

        later = _load(runtime, ledger_id, history.later())
        assert (later.recorded, later.refused) == (later.lines, 0)
        _require_verified(runtime, ledger_id, told["position"] + again.recorded + later.recorded)


def test_what_was_sealed_and_given_out_still_opens(kept: Kept) -> None:
    """The API key of before is good, its customers' profiles open, and who was erased is not."""
    with Runtime(kept.settings) as runtime:
        ledger_id = runtime.ledger_id("main")
        presented = api_keys.parse(kept.told["api_key"])
        assert presented is not None
        with runtime.connect("ledger_reader") as connection:
            key = api_keys.find(connection, ledger_id, presented.key_id)
        assert api_keys.matches(key, presented, kept.settings.server_secret)

        # To see that it is another name the one of then is opened; where the key was destroyed,
        # nobody can see it any more.
        report = _load(runtime, ledger_id, [_registering("ben", 1), _registering("cay", 2)])
    assert [(item.line, item.code) for item in report.refusals] == [(1, "idempotency_conflict")]
    assert report.replayed == 1


def _registering(customer_id: str, number: int) -> Mapping[str, object]:
    """The command that registered a customer, under another name."""
    first = list(history.commands())[number]
    assert first["customer_id"] == customer_id
    return {**first, "profile": {"name": "Somebody Else"}}


def _load(
    runtime: Runtime, ledger_id: int, commands: Iterable[Mapping[str, object]]
) -> bulk.LoadReport:
    """Carry out commands as ``ledger load`` does."""
    lines = [json.dumps(command).encode() for command in commands]
    return bulk.load(runtime, ledger_id, lines, CLI, lambda _: None)


def _head(runtime: Runtime, ledger_id: int) -> tuple[int, str]:
    """The log's last position, and what its tree comes to, in hexadecimal."""
    with runtime.connect("ledger_reader") as connection:
        head = log.read_head(connection, ledger_id)
    return head.position, merkle.to_bytes(head.frontier).hex()


def _require_verified(runtime: Runtime, ledger_id: int, least: int) -> None:
    """Everything agrees with the log, which is at least that long."""
    with runtime.connect("ledger_projector") as connection:
        runner.ensure_registered(connection, ledger_id)
        verdict = verify(connection, ledger_id)
    assert verdict.ok, verdict.findings
    assert verdict.events >= least


def _posted(runtime: Runtime, ledger_id: int) -> dict[str, int]:
    """The posted balance of every account, in minor units."""
    with runtime.engine.connect() as connection:
        page = balances(connection, ledger_id, limit=1000)
    return {item.account_id: item.posted_minor for item in page.items}
