"""What the ledger itself exports, from PostgreSQL, in the auditor's hands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from tests.exports.house import House, members, move
from tests.verifier.checks import verify

from api import evidence, export_log, receipts
from api.runtime import Runtime
from api.settings import Settings
from ledger_verify.notes import Key, parse_keys
from ledger_verify.vocabulary import FIELDS, VERSIONS


@pytest.fixture
def house(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A ledger with something of everything, exported in segments of ten events."""
    monkeypatch.setattr(export_log, "SEGMENT_EVENTS", 10)
    with Runtime(Settings(tmp_path / "data", database_url, bytes(32), bytes(32))) as runtime:
        found = House(runtime)
        found.fill()
        yield found


def keys_of(house: House, path: Path) -> list[Key]:
    """The public keys of the ledger."""
    return parse_keys(members(house.export(path))["keys.json"])


def newest(found: dict[str, bytes]) -> bytes:
    """The last checkpoint of an export."""
    return [data for name, data in found.items() if name.startswith("checkpoints/")][-1]


def test_an_untouched_ledger_is_proven(house: House, tmp_path: Path) -> None:
    """The whole log, then what came later, against the checkpoint of the first time."""
    first = house.export(tmp_path / "first.tar")
    keys = keys_of(house, tmp_path / "first.tar")
    kept = newest(members(first))
    report = verify(first.read_bytes(), keys=keys)
    assert report.verdict == "proven", report.findings
    end = house.head()[0]
    assert report.last_position == end
    house.load(*(move("a", "A", amount) for amount in range(1, 25)))
    for start in (1, end + 1):
        later = house.export(tmp_path / f"from-{start}.tar", start)
        report = verify(later.read_bytes(), [kept], keys)
        assert report.verdict == "proven", report.findings
        assert any("that you kept" in text for text in report.checked)


def test_who_changes_the_database_is_found(
    house: House, tmp_path: Path, superuser_url: str
) -> None:
    """Changed in the table by who may do anything: the event is named by its position."""
    house.export(tmp_path / "first.tar")
    keys, kept = keys_of(house, tmp_path / "first.tar"), newest(members(tmp_path / "first.tar"))
    (position,) = (row[0] for row in house.stored() if b"gold-2" in row[7] and b"kind" in row[7])
    with psycopg.connect(superuser_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            "UPDATE ledger.events SET data = replace(data::text, 'gold-2', 'gold-1')::json"
            " WHERE position = %s",
            (position,),
        )
    report = verify(house.export(tmp_path / "second.tar").read_bytes(), [kept], keys)
    assert report.first_bad == (position, position), report.findings
    assert {found.kind for found in report.findings} >= {"leaf", "balance"}


def test_real_receipts_and_evidence(house: House) -> None:
    """Every event's receipt, and the bundles of an account and a customer, are proven."""
    runtime, settings = house.runtime, house.runtime.settings
    end = house.head()[0]
    keys: list[Key] = []
    with runtime.connect("ledger_reader") as connection:
        for position in range(1, end + 1):
            signed = runtime.notary.covering(house.ledger_id, position)
            receipt = receipts.receipt(connection, settings, position, signed)
            keys = keys or parse_keys(_keys(house))
            for data in (msgspec.json.encode(receipt), receipts.text_of(receipt).encode()):
                report = verify(data, keys=keys)
                assert report.verdict == "proven", (position, report.findings)
    place = (runtime, house.ledger_id, house.ledger)
    for bundle in (evidence.of_account(*place, "a"), evidence.of_customer(*place, "zoe")):
        report = verify(b"".join(bundle.stream()), keys=keys)
        assert report.verdict == "proven", report.findings
        assert report.events > 1


def test_the_schema_names_every_event_that_the_verifier_knows(house: House, tmp_path: Path) -> None:
    """The schema of events that comes with an export describes all fields that move money."""
    found = members(house.export(tmp_path / "first.tar"))
    schema: dict[str, Any] = json.loads(found["schema/events.json"])
    assert set(VERSIONS) <= set(schema["$defs"])
    for name, fields in FIELDS.items():
        assert fields == set(schema["$defs"][name]["properties"])


def _keys(house: House) -> bytes:
    """The document of public keys, as the ledger publishes it."""
    export = export_log.begin(house.runtime, house.ledger_id, house.ledger)
    return members(b"".join(export.stream()))["keys.json"]
