"""The log over HTTP: the archive that the command line writes, for auditors alone."""

import io
import json
import tarfile

import pytest
from tests.http.bank import Bank


def parts_of(content: bytes) -> dict[str, bytes]:
    """The members of an archive."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        return {
            info.name: found.read() for info in tar if (found := tar.extractfile(info)) is not None
        }


def test_an_auditor_takes_the_log_along(bank: Bank) -> None:
    """The whole log as it stands, with its manifest; the file has a name."""
    bank.open("a", 100)
    bank.open("b", 5)
    answer = bank.get("/v1/export/log", role="auditor")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-tar"
    parts = parts_of(answer.content)
    events = bank.events()
    assert f'"{bank.ledger}-1-{len(events)}.tar"' in answer.headers["content-disposition"]
    head = json.loads(parts["export.json"])
    assert (head["ledger"], head["from"], head["to"]) == (bank.ledger, 1, len(events))
    lines = parts[f"events/{1:012}-{len(events):012}.jsonl"].splitlines()
    assert [json.loads(line)["data"] for line in lines] == [item["data"] for item in events]
    assert "manifest.json" in parts
    assert "balances.jsonl" in parts


def test_a_range_can_be_asked_for(bank: Bank) -> None:
    """Going on where an earlier export ended."""
    bank.open("a", 100)
    answer = bank.get("/v1/export/log", role="auditor", from_position=2, to_position=3)
    head = json.loads(parts_of(answer.content)["export.json"])
    assert (head["from"], head["to"], len(head["frontier_before"])) == (2, 3, 1)


def test_an_empty_log_is_an_archive(bank: Bank) -> None:
    """From 1 to 0."""
    head = json.loads(parts_of(bank.get("/v1/export/log").content)["export.json"])
    assert (head["from"], head["to"]) == (1, 0)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from_position": 0}, "from_position"),
        ({"from_position": 99}, "from_position"),
        ({"from_position": 3, "to_position": 2}, "from_position"),
        ({"to_position": 99}, "to_position"),
        ({"to_position": -1}, "to_position"),
        ({"from_position": "SECRET"}, "from_position"),
        ({"unknown": 1}, "known parameters"),
    ],
)
def test_a_range_that_is_not_there_is_refused(
    bank: Bank, query: dict[str, object], field: str
) -> None:
    """With the parameter's name, and never what was sent."""
    bank.open("a", 100)
    answer = bank.get("/v1/export/log", role="auditor", **query)
    assert answer.status_code == 422
    assert field in answer.text
    assert "SECRET" not in answer.text


@pytest.mark.parametrize("role", ["reader", "teller"])
def test_others_may_not(bank: Bank, role: str) -> None:
    """Only auditors and administrators."""
    bank.open("a", 100)
    assert bank.get("/v1/export/log", role=role).status_code == 403
