"""Checkpoints, proofs, receipts and tiles over HTTP, checked with nothing but what was answered."""

import base64
from hashlib import sha256
from typing import Any

import psycopg
import pytest
from tests.http.bank import Bank, Json

from ledger_core import checkpoints, merkle, proofs
from ledger_core.notes import PublicKey

TILE = "/v1/tlog/tile"


def keys_of(bank: Bank) -> list[PublicKey]:
    """The public keys as the API lists them."""
    document = bank.get("/v1/keys/checkpoints", role="reader").json()
    return [
        PublicKey(key["name"], key["algorithm"], base64.b64decode(key["public_key"]))
        for key in document["keys"]
    ]


def head_of(bank: Bank) -> int:
    """The last position of the log."""
    return int(bank.get("/v1/info").json()["position"])


def hashes(texts: list[str]) -> list[bytes]:
    """Hashes behind base64."""
    return [base64.b64decode(text) for text in texts]


def post_transfer(bank: Bank, key: str, **headers: str) -> Any:  # noqa: ANN401 - a response
    """Post a transfer of 1 from a to b."""
    body = {"debit_account_id": "a", "credit_account_id": "b", "amount": "1", "currency": "EUR"}
    given = bank.headers("admin", **{"Idempotency-Key": key}, **headers)
    return bank.client.post("/v1/transfers", json=body, headers=given)


@pytest.fixture
def busy(bank: Bank) -> Bank:
    """A bank with a few hundred events: one full tile, and some beyond it."""
    bank.open("a", 1_000)
    bank.open("b")
    commands = [
        {
            "type": "transfer",
            "key": f"t{number}",
            "debit_account_id": "a",
            "credit_account_id": "b",
            "amount": "1",
            "currency": "EUR",
        }
        for number in range(296)
    ]
    assert bank.post("/v1/batch", {"commands": commands}).is_success
    return bank


def test_the_newest_checkpoint_is_a_signed_note(bank: Bank) -> None:
    """Any role reads it; it verifies with the listed keys; later ones follow the log."""
    bank.open("a")
    head = head_of(bank)
    answer = bank.get("/v1/checkpoint", role="reader")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    found = checkpoints.verify(answer.text, keys_of(bank))
    assert found.size == head
    assert found.origin == f"ledger-core.invalid/{bank.ledger}"
    bank.open("b")
    assert checkpoints.parse(bank.get("/v1/checkpoint").text)[0].size == head
    covering = bank.get("/v1/checkpoint", min_position=head + 1)
    assert checkpoints.parse(covering.text)[0].size == head_of(bank)
    beyond = bank.get("/v1/checkpoint", min_position=head_of(bank) + 1)
    assert (beyond.status_code, beyond.json()["errors"][0]["field"]) == (422, "min_position")


def test_checkpoints_are_signed_on_demand_and_listed(bank: Bank) -> None:
    """Of the head, or of a size; the list has each once, the newest first, page by page."""
    bank.open("a")
    bank.open("b")
    head = head_of(bank)
    first = bank.client.post("/v1/checkpoints", headers=bank.headers("auditor"))
    assert (first.status_code, first.json()["size"]) == (201, head)
    assert first.headers["location"] == f"/v1/checkpoints/{head}"
    for size in (1, head - 1, 0, 1):
        again = bank.client.post("/v1/checkpoints", json={"size": size}, headers=bank.headers())
        assert again.json()["size"] == size
    sizes, cursor = [], None
    while cursor != "":
        page = bank.get("/v1/checkpoints", limit=3, cursor=cursor, role="reader").json()
        sizes += [item["size"] for item in page["checkpoints"]]
        cursor = page["next"]
        assert page["position"] == head
    assert sizes == sorted({head, head - 1, 1, 0}, reverse=True)
    one = bank.get(f"/v1/checkpoints/{head}").json()
    assert one == first.json()
    assert checkpoints.verify(one["note"], keys_of(bank)).root.hex() == one["root"]
    assert one["timestamp"] is None
    assert bank.get(f"/v1/checkpoints/{head + 1}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"size": 987_654}, 422),
        ({"size": -1}, 422),
        ({"size": "1"}, 422),
        ({"log": "others"}, 422),
        ({"unknown": 1}, 422),
    ],
)
def test_what_cannot_be_signed_is_refused(bank: Bank, body: Json, status: int) -> None:
    """A size beyond the log, or none; another log; a field that is not known."""
    answer = bank.client.post("/v1/checkpoints", json=body, headers=bank.headers())
    assert answer.status_code == status
    assert "987654" not in answer.text


def test_inclusion_is_proven_for_every_event(busy: Bank) -> None:
    """The path leads from the event's own leaf hash to the root that a checkpoint signs."""
    events = {event["position"]: event for event in busy.events()}
    for position in (1, 2, 255, 256, 257, 299):
        proof = busy.get("/v1/proofs/inclusion", position=position, role="reader").json()
        leaf = base64.b64decode(proof["leaf_hash"])
        assert leaf.hex() == events[position]["leaf_hash"]
        signed = checkpoints.verify(
            busy.get(f"/v1/checkpoints/{proof['size']}").json()["note"], keys_of(busy)
        )
        assert base64.b64encode(signed.root).decode() == proof["root"]
        assert proof["leaf_index"] == position - 1
        assert proofs.verify_inclusion(
            leaf, position - 1, signed.size, hashes(proof["proof"]), signed.root
        )
    smaller = busy.get("/v1/proofs/inclusion", position=3, size=5).json()
    leaves = [bytes.fromhex(events[position]["leaf_hash"]) for position in range(1, 6)]
    expected = merkle.root(merkle.extend(merkle.EMPTY, leaves))
    assert base64.b64decode(smaller["root"]) == expected


def test_consistency_is_proven_between_any_two_sizes(busy: Bank) -> None:
    """The path shows that the later root continues the earlier one."""
    head = busy.get("/v1/info").json()["position"]
    for first, second in ((0, 5), (1, head), (255, 256), (256, head), (head, head), (7, 300)):
        found = busy.get("/v1/proofs/consistency", first=first, second=second).json()
        roots = hashes([found["first_root"], found["second_root"]])
        assert proofs.verify_consistency(first, second, roots[0], roots[1], hashes(found["proof"]))


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/proofs/inclusion?position=0", "position"),
        ("/v1/proofs/inclusion?position=5&size=3", "position"),
        ("/v1/proofs/inclusion?position=1&size=99999", "size"),
        ("/v1/proofs/inclusion?position=-1", "position"),
        ("/v1/proofs/inclusion?position=1e3", "position"),
        ("/v1/proofs/inclusion?size=1", "position"),
        ("/v1/proofs/consistency?first=3&second=2", "first"),
        ("/v1/proofs/consistency?first=1&second=99999", "second"),
        ("/v1/proofs/consistency?first=1", "second"),
        ("/v1/proofs/inclusion?position=1&log=others", "log"),
    ],
)
def test_malformed_questions_name_the_field(busy: Bank, path: str, field: str) -> None:
    """What is asked for is not there, is no number, or is left out."""
    answer = busy.client.get(path, headers=busy.headers())
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["/v1/proofs/inclusion?position=99999", "/v1/events/0/receipt"])
def test_an_event_that_is_not_there_is_not_found(bank: Bank, path: str) -> None:
    """Neither beyond the log's end nor before its beginning."""
    assert bank.client.get(path, headers=bank.headers()).status_code == 404


def check_receipt(bank: Bank, receipt: Json) -> checkpoints.Checkpoint:
    """Check a receipt by the keys alone."""
    assert receipt["format"] == "ledger-receipt/1"
    signed = checkpoints.verify(receipt["checkpoint"], keys_of(bank))
    assert signed.origin == receipt["origin"]
    leaf = merkle.leaf_hash(receipt["leaf"].encode())
    path = hashes(receipt["proof"])
    index = receipt["position"] - 1
    assert proofs.verify_inclusion(leaf, index, signed.size, path, signed.root)
    return signed


def test_an_auditor_gets_the_receipt_of_any_event(busy: Bank) -> None:
    """As a document and as text of c2sp.org/tlog-proof; both prove the same."""
    for position in (1, 4, 256, 257):
        receipt = busy.get(f"/v1/events/{position}/receipt", role="auditor").json()
        signed = check_receipt(busy, receipt)
        headers = busy.headers("auditor", Accept="text/plain")
        text = busy.client.get(f"/v1/events/{position}/receipt", headers=headers)
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        top, _, note = text.text.partition("\n\n")
        kind, extra, index, *path = top.split("\n")
        assert kind == "c2sp.org/tlog-proof@v1"
        assert base64.b64decode(extra.removeprefix("extra ")) == receipt["leaf"].encode()
        assert index == f"index {position - 1}"
        assert (path, note) == (receipt["proof"], receipt["checkpoint"])
        assert signed.size >= position


def test_a_command_is_answered_with_its_receipt_if_asked_to(bank: Bank) -> None:
    """The member is there when the header is and proves the event; nothing else changes."""
    bank.open("a", 1_000)
    bank.open("b")
    plain = post_transfer(bank, "one")
    assert "receipt" not in plain.json()
    proven = post_transfer(bank, "two", **{"Ledger-Receipt": "true"})
    assert proven.status_code == 201
    receipt = proven.json()["receipt"]
    assert receipt["position"] == proven.json()["position"] == head_of(bank)
    check_receipt(bank, receipt)
    assert '"two"' in receipt["leaf"].split("\n")[0]
    again = post_transfer(bank, "one", **{"Ledger-Receipt": "true"}).json()
    check_receipt(bank, again.pop("receipt"))
    assert again == plain.json()
    for value in ("false", "true"):
        answer = post_transfer(bank, "two", **{"Ledger-Receipt": value})
        assert answer.headers["idempotency-replayed"] == "true"
        assert ("receipt" in answer.json()) == (value == "true")


def test_what_was_not_recorded_has_no_receipt(bank: Bank) -> None:
    """A dry run, and what was so already: null. A refusal is a problem as ever."""
    bank.open("a", 1_000)
    bank.open("b")
    head = head_of(bank)
    headers = bank.headers("admin", **{"Idempotency-Key": "dry", "Ledger-Receipt": "true"})
    body = {"debit_account_id": "a", "credit_account_id": "b", "amount": "1", "currency": "EUR"}
    dry = bank.client.post("/v1/transfers?dry_run=true", json=body, headers=headers)
    assert dry.json()["receipt"] is None
    refused = bank.client.post("/v1/transfers", json=body | {"amount": "9999"}, headers=headers)
    assert (refused.status_code, "receipt" in refused.json()) == (422, False)
    malformed = post_transfer(bank, "odd", **{"Ledger-Receipt": "please"})
    assert malformed.json()["errors"][0]["field"] == "Ledger-Receipt"
    assert head_of(bank) == head + 1  # The refusal, and not the odd one.


def test_tiles_make_up_the_tree(busy: Bank) -> None:
    """From tiles and entries alone the signed root is recomputed, as a monitor does."""
    note = busy.get("/v1/tlog/checkpoint", min_position=None, role="reader")
    signed = checkpoints.verify(note.text, keys_of(busy))
    size = signed.size
    full = busy.get(f"{TILE}/0/000", role="reader")
    assert full.headers["content-type"] == "application/octet-stream"
    assert "immutable" in full.headers["cache-control"]
    rest = busy.get(f"{TILE}/0/001.p/{size - 256}", role="reader")
    leaves = full.content + rest.content
    assert len(leaves) == 32 * size
    split = [leaves[at : at + 32] for at in range(0, len(leaves), 32)]
    assert merkle.root(merkle.extend(merkle.EMPTY, split)) == signed.root
    above = busy.get(f"{TILE}/1/000.p/1").content
    assert above == merkle.root(merkle.extend(merkle.EMPTY, split[:256]))
    bundle = busy.get(f"{TILE}/entries/000").content + (
        busy.get(f"{TILE}/entries/001.p/{size - 256}").content
    )
    found = []
    while bundle:
        length = int.from_bytes(bundle[:2], "big")
        found.append(sha256(b"\x00" + bundle[2 : 2 + length]).digest())
        bundle = bundle[2 + length :]
    assert found == split


@pytest.mark.parametrize(
    "path",
    [
        "0/001",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/001.p/255",
        "0/x000/000",
        "0/0",
        "0/x001/000",
        "00/000",
        "8/000",
        "64/000",
        "1/000",
        "2/000.p/1",
        "0/-01",
        "0/000/",
        "entries/001",
        "entries/0000",
        "data/000",
        "0/x999/x999/x999/x999/x999/x999/999",
    ],
)
def test_no_tile_is_served_that_the_tree_does_not_have(busy: Bank, path: str) -> None:
    """Not full, not there, or not an address of a tile: not found, whatever it is."""
    answer = busy.get(f"{TILE}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_an_entry_too_long_for_a_bundle_is_said_to_be(bank: Bank) -> None:
    """Its length has no room in two bytes: the bundle is refused, event and proof are not."""
    bank.open("a", 1_000)
    names = [f"long-account-{number:04}-{'x' * 150}" for number in range(400)]
    commands = [
        {"type": "open_account", "key": name, "account_id": name, "currency": "EUR"}
        for name in names
    ]
    assert bank.post("/v1/batch", {"commands": commands}).is_success
    credits_ = [
        {"account_id": name, "side": "credit", "amount": "1", "currency": "EUR"} for name in names
    ]
    debit = {"account_id": "a", "side": "debit", "amount": "400", "currency": "EUR"}
    posted = bank.post("/v1/entries", {"postings": [debit, *credits_]})
    assert posted.status_code == 201, posted.text
    position = posted.json()["position"]
    width = position % 256
    refused = bank.get(f"{TILE}/entries/001.p/{width}")
    assert (refused.status_code, refused.json()["code"]) == (422, "entry_too_long")
    assert bank.get(f"{TILE}/0/001.p/{width}").is_success
    receipt = bank.get(f"/v1/events/{position}/receipt").json()
    assert len(receipt["leaf"]) > 65_535
    check_receipt(bank, receipt)


def test_a_tampered_log_is_not_proven(own_bank: Bank, superuser_url: str) -> None:
    """Neither receipts nor proofs are given for what is not as it was sealed; health says so."""
    bank = own_bank
    bank.open("a", 1_000)
    bank.open("b")
    assert bank.get("/v1/events/1/receipt").is_success
    with psycopg.connect(superuser_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger.events SET data = '{}' WHERE position = 2")
    answer = bank.get("/v1/events/2/receipt")
    assert (answer.status_code, answer.json()["code"]) == (503, "tree_damaged")
    with psycopg.connect(superuser_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger.events SET leaf_hash = sha256('x') WHERE position = 2")
    for path in ("/v1/proofs/inclusion?position=2", "/v1/proofs/consistency?first=1&second=3"):
        answer = bank.client.get(path, headers=bank.headers())
        assert (answer.status_code, answer.json()["code"]) == (503, "tree_damaged"), path
    assert bank.client.get("/readyz").json()["notary"] == "signing"
    booked = post_transfer(bank, "after", **{"Ledger-Receipt": "true"})
    assert (booked.status_code, booked.json()["receipt"]) == (201, None)
    stopped = bank.client.post("/v1/checkpoints", headers=bank.headers())
    assert (stopped.status_code, stopped.json()["code"]) == (503, "notary_stopped")
    assert bank.client.get("/readyz").json()["notary"] == "stopped"
    figures = bank.client.get("/metrics").text
    assert 'ledger_notary_stopped{ledger_id="1",log="events"} 1.0' in figures


def test_erasing_a_person_leaves_every_proof_as_it_was(bank: Bank) -> None:
    """What was proven before still is, by the same leaf and under the same checkpoint."""
    registered = bank.post("/v1/customers", {"customer_id": "c", "profile": {"name": "Zoë"}})
    position = registered.json()["position"]
    before = bank.get(f"/v1/events/{position}/receipt").json()
    assert "Zoë" not in before["leaf"]
    assert bank.post("/v1/customers/c/erasure", {"reason": "Asked to"}).is_success
    check_receipt(bank, before)
    after = bank.get("/v1/checkpoint", min_position=position + 1)
    signed = checkpoints.verify(after.text, keys_of(bank))
    grown = bank.get("/v1/proofs/consistency", first=1, second=signed.size).json()
    assert base64.b64decode(grown["second_root"]) == signed.root
    again = bank.get(f"/v1/events/{position}/receipt").json()
    assert again["leaf"] == before["leaf"]
    check_receipt(bank, again)
