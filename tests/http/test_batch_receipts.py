"""Receipts of batches: one for each event, each proven by the verifier that trusts nothing."""

import json
from typing import Any

import psycopg
import pytest
from tests.http.bank import Bank, Json
from tests.verifier.checks import verify

from api import receipts
from api.batches import RECEIPTS_MAX
from ledger_verify.notes import Key, parse_keys


def deposit(key: str, amount: object = "5", **fields: object) -> Json:
    """A deposit to account a."""
    command = {"type": "deposit", "account_id": "a", "amount": amount, "currency": "EUR"}
    return command | {"key": key} | fields


def post(
    bank: Bank, commands: list[Json], *, mode: str = "each", asked: str = "true", query: str = ""
) -> Any:  # noqa: ANN401 - a response
    """Post a batch that asks for receipts."""
    headers = bank.headers("admin", **{"Ledger-Receipt": asked})
    body = {"mode": mode, "commands": commands}
    return bank.client.post(f"/v1/batch{query}", json=body, headers=headers)


def keys_of(bank: Bank) -> list[Key]:
    """The public keys as the ledger lists them."""
    return parse_keys(bank.get("/v1/keys/checkpoints").content)


def require_proven(bank: Bank, results: list[Json], keys: list[Key] | None = None) -> None:
    """Each result has a receipt of its own event, and the verifier takes each by itself."""
    keys = keys or keys_of(bank)
    for item in results:
        receipt = item["receipt"]
        assert receipt["position"] == item["position"]
        report = verify(json.dumps(receipt).encode(), keys=keys)
        assert report.verdict == "proven", report.findings


def test_each_event_of_a_batch_has_a_receipt(bank: Bank) -> None:
    """As many as may be asked for, under one checkpoint; the leaf is the item's own event."""
    bank.open("a")
    commands = [deposit(f"k{at}", str(at + 1)) for at in range(RECEIPTS_MAX)]
    answer = post(bank, commands)
    results = answer.json()["results"]
    assert (answer.status_code, len(results)) == (200, RECEIPTS_MAX)
    require_proven(bank, results)
    assert len({item["receipt"]["checkpoint"] for item in results}) == 1
    for at, item in enumerate(results):
        assert f'"k{at}"' in item["receipt"]["leaf"].split("\n")[0]
    plain = bank.client.post("/v1/batch", json={"commands": commands}, headers=bank.headers())
    told = plain.json()["results"]
    assert [item["position"] for item in told] == [item["position"] for item in results]
    assert all("receipt" not in item for item in told)


def test_items_that_led_to_no_event_have_none(bank: Bank) -> None:
    """Refused: no member, as in any refusal. It was so already: null. Again: the first event's."""
    bank.open("a")
    bank.open("b")
    frozen = {"type": "freeze_account", "account_id": "b", "cause": "x"}
    first = post(bank, [deposit("one"), frozen | {"key": "frozen"}]).json()["results"][0]
    so_already = frozen | {"key": "already"}
    malformed = deposit("odd", 5)
    broken = {"type": "withdraw", "account_id": "a", "amount": "99", "currency": "EUR", "key": "w"}
    answer = post(bank, [deposit("one"), malformed, so_already, broken, deposit("two")]).json()
    again, odd, unchanged, refused, new = answer["results"]
    assert [item["status"] for item in answer["results"]] == [
        "replayed",
        "refused",
        "unchanged",
        "refused",
        "recorded",
    ]
    assert "receipt" not in odd
    assert "receipt" not in refused
    assert unchanged["receipt"] is None
    assert again["receipt"]["leaf"] == first["receipt"]["leaf"]
    require_proven(bank, [again, new])


@pytest.mark.parametrize("mode", ["each", "stop_on_error", "atomic"])
def test_receipts_in_every_mode(bank: Bank, mode: str) -> None:
    """All that was kept is proven; an atomic batch of which nothing was kept says why as ever."""
    bank.open("a")
    good = post(bank, [deposit("1"), deposit("2")], mode=mode).json()["results"]
    require_proven(bank, good)
    bad = post(bank, [deposit("3"), deposit("4", "0"), deposit("5")], mode=mode)
    results = bad.json()["results"]
    kept = [item for item in results if item["status"] == "recorded"]
    assert len(kept) == {"each": 2, "stop_on_error": 1, "atomic": 0}[mode]
    require_proven(bank, kept)
    assert all("receipt" not in item for item in results if item["status"] == "refused")
    assert bad.status_code == (422 if mode == "atomic" else 200)


def test_a_batch_that_is_only_tried_has_no_receipts(bank: Bank) -> None:
    """Nothing was recorded: null, also where a position is told."""
    bank.open("a")
    answer = post(bank, [deposit("1"), deposit("2")], query="?dry_run=true")
    assert [item["receipt"] for item in answer.json()["results"]] == [None, None]


@pytest.mark.parametrize("mode", ["each", "atomic"])
@pytest.mark.parametrize("item", [deposit(""), {"type": "x"}])
def test_a_batch_too_long_to_be_proven_is_refused_before_it_is_carried_out(
    bank: Bank, mode: str, item: Json
) -> None:
    """The rule is named, whatever the items are; nothing of it was recorded."""
    bank.open("a")
    before = bank.get("/v1/info").json()["position"]
    answer = post(bank, [item] * (RECEIPTS_MAX + 1), mode=mode)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["errors"] == [
        {
            "field": "commands",
            "pointer": "/commands",
            "rule": f"1 to {RECEIPTS_MAX} commands with Ledger-Receipt: true",
        }
    ]
    assert bank.get("/v1/info").json()["position"] == before


def test_the_header_says_true_or_false(bank: Bank) -> None:
    """Anything else is refused before anything is carried out."""
    bank.open("a")
    for value in ("please", "", "True", "1"):
        answer = post(bank, [deposit("1")], asked=value)
        assert answer.json()["errors"][0]["field"] == "Ledger-Receipt"
    assert "receipt" not in post(bank, [deposit("1")], asked="false").json()["results"][0]


def test_receipts_are_bounded_by_their_size_too(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that would make the answer too long are null; each can be asked for by position."""
    bank.open("a")
    first = post(bank, [deposit("0")]).json()["results"][0]["receipt"]
    monkeypatch.setattr(receipts, "LEAVES_BYTES_MAX", int(3.5 * len(first["leaf"])))
    monkeypatch.setattr(receipts, "PROVEN_AT_ONCE", 2)
    results = post(bank, [deposit(str(at)) for at in range(1, 6)]).json()["results"]
    require_proven(bank, results[:3])
    assert [item["receipt"] for item in results[3:]] == [None, None]
    later = bank.get(f"/v1/events/{results[4]['position']}/receipt").json()
    require_proven(bank, [results[4] | {"receipt": later}])


def test_a_booked_batch_is_answered_when_the_tree_is_damaged(
    own_bank: Bank, superuser_url: str
) -> None:
    """What can be proven is; where the notary has stopped nothing is, and it is booked anyway."""
    bank = own_bank
    bank.open("a")
    known = post(bank, [deposit(str(at)) for at in range(3)]).json()["results"]
    keys = keys_of(bank)
    with psycopg.connect(superuser_url, autocommit=True) as owner:
        owner.execute(
            "UPDATE ledger.events SET recorded_at = recorded_at - interval '1 second'"
            " WHERE position = %s",
            (known[1]["position"],),
        )
    results = post(bank, [deposit(str(at)) for at in range(4)]).json()["results"]
    assert [item["status"] for item in results] == [*["replayed"] * 3, "recorded"]
    assert results[1]["receipt"] is None
    require_proven(bank, [results[0], results[2], results[3]], keys)
    with psycopg.connect(superuser_url, autocommit=True) as owner:
        owner.execute("UPDATE ledger.events SET leaf_hash = sha256('x') WHERE position = 2")
    answer = post(bank, [deposit("5"), deposit("6")])
    assert (answer.status_code, answer.json()["recorded"]) == (200, 2)
    assert [item["receipt"] for item in answer.json()["results"]] == [None, None]
    assert bank.get("/v1/accounts/a/balance").json()["posted_minor"] == "30"


def test_no_receipt_can_be_given_and_yet_the_commands_are_answered(
    own_bank: Bank, superuser_url: str
) -> None:
    """Whatever keeps the notary from signing: one command, or many, were carried out."""
    bank = own_bank
    bank.open("a")
    with psycopg.connect(superuser_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE audit.checkpoints RENAME TO elsewhere")
    many = post(bank, [deposit("1"), deposit("2")])
    assert [item["receipt"] for item in many.json()["results"]] == [None, None]
    body = {"account_id": "a", "amount": "5", "currency": "EUR"}
    headers = bank.headers("admin", **{"Idempotency-Key": "single", "Ledger-Receipt": "true"})
    single = bank.client.post("/v1/deposits", json=body, headers=headers)
    assert (single.status_code, single.json()["receipt"]) == (201, None)
    with psycopg.connect(superuser_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE audit.elsewhere RENAME TO checkpoints")
    require_proven(bank, post(bank, [deposit("1"), deposit("3")]).json()["results"])
