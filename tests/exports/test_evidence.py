"""Evidence bundles: what is in them is proven to be in the log, and is all there is about it."""

import base64
import json
from pathlib import Path

import pytest
from tests.exports.house import House, lines, members, move

from api import evidence, log_lines, trusted_keys
from api.archives import ArchiveRefused
from api.evidence import Bundle
from ledger_core import merkle, proofs
from ledger_core.errors import AccountNotFound, CustomerNotFound


def of_account(house: House, account_id: str, position: int | None = None) -> Bundle:
    """Evidence of an account."""
    return evidence.of_account(house.runtime, house.ledger_id, house.ledger, account_id, position)


def of_customer(house: House, customer_id: str) -> Bundle:
    """Evidence of a customer."""
    return evidence.of_customer(house.runtime, house.ledger_id, house.ledger, customer_id)


def proven(bundle: Bundle) -> list[int]:
    """The positions in a bundle, each of which is proven to be in the signed tree."""
    found = members(b"".join(bundle.stream()))
    head = json.loads(found["evidence.json"])
    note = found[f"checkpoints/{head['size']}.txt"].decode()
    keys = trusted_keys.parse(found["keys.json"])
    signed = trusted_keys.checked(note, head["origin"], keys)
    assert signed.size == head["size"]
    positions = []
    events, paths = lines([found["events.jsonl"]]), lines([found["proofs.jsonl"]])
    for line, text in zip(events, paths, strict=True):
        header, data = log_lines.halves(line)
        proof = json.loads(text)
        position = json.loads(header)[0]
        assert proof["position"] == position
        path = [base64.b64decode(item, validate=True) for item in proof["proof"]]
        leaf = merkle.leaf_hash(header + b"\n" + data)
        assert proofs.verify_inclusion(leaf, position - 1, signed.size, path, signed.root)
        positions.append(position)
    assert positions == sorted(set(positions))
    return positions


def tagged(house: House, *tags: str) -> list[int]:
    """Where the log has any of these tags."""
    return [row[0] for row in house.stored() if set(tags) & set(row[4])]


@pytest.mark.parametrize("account_id", ["a", "A", "a:b", "=cmd()", "bank:counter:EUR"])
def test_everything_about_an_account_is_in_it(house: House, account_id: str) -> None:
    """Exactly the events that carry its tag, each proven."""
    expected = tagged(house, f"account:{account_id}")
    assert len(expected) > 1
    assert proven(of_account(house, account_id)) == expected


def test_a_customer_comes_with_the_accounts_held(house: House) -> None:
    """The customer's own events, and all of the accounts."""
    assert proven(of_customer(house, "zoe")) == tagged(house, "customer:zoe", "account:a")
    assert proven(of_customer(house, "max")) == tagged(house, "customer:max")


def test_many_events_are_proven_in_pieces(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However few are read at a time, the bytes are the same."""
    whole = b"".join(of_account(house, "a").stream())
    monkeypatch.setattr(evidence, "PROVEN_AT_ONCE", 3)
    monkeypatch.setattr(evidence, "_POSITIONS_AT_ONCE", 2)
    assert b"".join(of_account(house, "a").stream()) == whole


def test_the_same_position_gives_the_same_bytes(house: House, tmp_path: Path) -> None:
    """Whenever it is made, and whatever happened since."""
    position = house.head()[0]
    first = b"".join(of_account(house, "a", position).stream())
    house.load(move("a", "A", 1))
    path = tmp_path / "a.tar"
    report = of_account(house, "a", position).write(path)
    assert path.read_bytes() == first
    assert report.events == len(tagged(house, "account:a")) - 1
    assert b"".join(of_account(house, "a").stream()) != first


def test_the_report_is_for_people_and_knows_no_names(house: House) -> None:
    """Balance, every event, how to check; what is personal is sealed."""
    text = members(b"".join(of_customer(house, "zoe").stream()))["report.txt"].decode()
    assert "Customer zoe" in text
    assert "account a (owner)" in text
    assert "ledger-verify" in text
    assert "cannot prove that no event was left out" in text
    assert "email, name (sealed)" in text
    whole = b"".join(members(b"".join(of_customer(house, "zoe").stream())).values())
    assert b"Hidden" not in whole
    account = members(b"".join(of_account(house, "a").stream()))["report.txt"].decode()
    assert "transfer first, value date" in account
    assert "reverses first" in account


def test_what_does_not_exist_is_refused(house: House, tmp_path: Path) -> None:
    """An unknown account or customer, one not open then, a file that is there."""
    with pytest.raises(AccountNotFound):
        of_account(house, "nobody")
    with pytest.raises(AccountNotFound):
        of_account(house, "a", 1)
    with pytest.raises(CustomerNotFound):
        of_customer(house, "nobody")
    path = tmp_path / "there.tar"
    path.write_text("mine")
    with pytest.raises(ArchiveRefused, match="there already"):
        of_account(house, "a").write(path)
    assert path.read_text() == "mine"
