"""Batches: many commands in one request, each answered, or all or none."""

import json
import time

import pytest
from tests.http.bank import Bank, Json

from api.batches import COMMANDS_MAX
from api.wire import BATCH_BYTES_MAX


def _deposit(amount: object = "5", **fields: object) -> Json:
    """A deposit to account a."""
    return {
        "type": "deposit",
        "account_id": "a",
        "amount": amount,
        "currency": "EUR",
        **fields,
    }


def _statuses(document: Json) -> list[str]:
    """What became of each item: its status, or the code of its refusal."""
    return [
        item["error"]["code"] if item["status"] == "refused" else item["status"]
        for item in document["results"]
    ]


def test_ten_thousand_commands_are_answered_in_order(bank: Bank) -> None:
    """Positions rise with the items, and the sum is exact."""
    bank.open("a")
    commands = [_deposit(str(at + 1), key=f"k{at}") for at in range(10_000)]
    answer = bank.post("/v1/batch", {"commands": commands})
    document = answer.json()
    assert (answer.status_code, document["recorded"], document["refused"]) == (200, 10_000, 0)
    positions = [item["position"] for item in document["results"]]
    first = positions[0]
    assert positions == list(range(first, first + 10_000))
    assert document["position"] == positions[-1]
    assert document["results"][0]["id"] == f"jrn_{first}"
    shown = bank.get("/v1/accounts/a/balance").json()
    assert shown["posted_minor"] == str(sum(range(10_001)))
    again = bank.post("/v1/batch", {"commands": commands}).json()
    assert (again["replayed"], again["recorded"]) == (10_000, 0)
    assert [item["position"] for item in again["results"]] == positions


@pytest.mark.parametrize("body", [[], [{"x": 1}] * (COMMANDS_MAX + 1)], ids=["none", "too many"])
def test_the_number_of_commands_is_bounded(bank: Bank, body: list[Json]) -> None:
    """A batch has 1 to 20,000 commands."""
    answer = bank.post("/v1/batch", {"commands": body})
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert answer.json()["errors"][0]["pointer"] == "/commands"


def test_a_batch_of_nothing_but_malformed_items_is_answered_in_time(bank: Bank) -> None:
    """Twenty thousand refusals take seconds, not minutes."""
    begun_s = time.monotonic()
    document = bank.post("/v1/batch", {"commands": [{"type": "x"}] * COMMANDS_MAX}).json()
    assert document["refused"] == COMMANDS_MAX
    assert time.monotonic() - begun_s < 15


def test_a_body_beyond_the_limit_is_refused(bank: Bank) -> None:
    """The limit of a batch is larger than a single command's, and is one."""
    answer = bank.post_raw("/v1/batch", b" " * (BATCH_BYTES_MAX + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


MALFORMED: tuple[tuple[str, str, str], ...] = (
    (
        '{"type":"deposit","account_id":"a","amount":5,"currency":"EUR"}',
        "validation_error",
        "/amount",
    ),
    ('{"type":"secret"}', "validation_error", "/type"),
    ('{"account_id":"a"}', "validation_error", "/type"),
    ('{"type":"deposit","secret":1}', "validation_error", ""),
    ('"secret"', "validation_error", ""),
    ("null", "validation_error", ""),
    ("[[[]]]", "validation_error", ""),
    (
        '{"type":"deposit","account_id":"a","amount":"5","amount":"6","currency":"EUR"}',
        "duplicate_member",
        "",
    ),
    (
        '{"type":"deposit","account_id":"a\\u0000","amount":"6","currency":"EUR"}',
        "validation_error",
        "/account_id",
    ),
    (
        '{"type":"deposit","account_id":"none","amount":"6","currency":"EUR"}',
        "account_not_found",
        "",
    ),
)


@pytest.mark.parametrize(("item", "code", "pointer"), MALFORMED)
def test_a_malformed_item_does_not_spoil_the_others(
    bank: Bank, item: str, code: str, pointer: str
) -> None:
    """In mode each, the item alone is refused, and its pointer says which it was."""
    bank.open("a")
    good = json.dumps(_deposit())
    answer = bank.post_raw("/v1/batch", f'{{"commands":[{good},{item},{good}]}}'.encode())
    assert answer.status_code == 200, answer.text
    assert _statuses(answer.json()) == ["recorded", code, "recorded"]
    assert "secret" not in answer.text
    errors = answer.json()["results"][1]["error"].get("errors", [])
    assert [error["pointer"] for error in errors] == (
        [f"/commands/1{pointer}"] if code == "validation_error" else []
    )


@pytest.mark.parametrize(
    "item",
    [_deposit(5), _deposit("0"), _deposit(currency="USD"), _deposit(key="a b"), {"type": "x"}],
)
def test_stop_on_error_attempts_nothing_after_the_first_refusal(bank: Bank, item: Json) -> None:
    """What went before the refusal is kept; what comes after it was not attempted."""
    bank.open("a")
    commands = [_deposit(), item, _deposit(), _deposit(7)]
    document = bank.post("/v1/batch", {"mode": "stop_on_error", "commands": commands}).json()
    statuses = _statuses(document)
    assert statuses[0] == "recorded"
    assert statuses[1] not in {"recorded", "not_attempted"}
    assert statuses[2:] == ["not_attempted", "not_attempted"]
    assert bank.get("/v1/accounts/a/balance").json()["posted_minor"] == "5"


@pytest.mark.parametrize(
    "item",
    [_deposit(5), _deposit("0"), _deposit(currency="USD"), _deposit(key="a b"), {"type": "x"}],
)
def test_an_atomic_batch_leaves_nothing_when_one_item_is_refused(bank: Bank, item: Json) -> None:
    """The item at fault says why, the others batch_failed, and the log has no event of it."""
    bank.open("a")
    count = len(bank.events())
    commands = [_deposit(), item, _deposit()]
    answer = bank.post("/v1/batch", {"mode": "atomic", "commands": commands}, key="batch")
    document = answer.json()
    assert (answer.status_code, document["code"]) == (422, "batch_failed")
    statuses = _statuses(document)
    assert (statuses[0], statuses[2]) == ("batch_failed", "batch_failed")
    assert statuses[1] != "batch_failed"
    assert len(bank.events()) == count
    commands[1] = _deposit()
    again = bank.post("/v1/batch", {"mode": "atomic", "commands": commands}, key="batch")
    assert (again.status_code, again.json()["recorded"]) == (200, 3)


def test_items_without_a_key_take_the_headers(bank: Bank) -> None:
    """The header's key and the item's index make a key, so that a batch can be sent again."""
    bank.open("a")
    commands = [_deposit(), _deposit(key="own"), _deposit()]
    assert bank.post("/v1/batch", {"commands": commands}, key="k").json()["recorded"] == 3
    keys = [event["command_key"] for event in bank.events()]
    assert keys[-3:] == ["k/0", "own", "k/2"]
    assert bank.post("/v1/batch", {"commands": commands}, key="k").json()["replayed"] == 3


def test_an_item_without_any_key_is_refused(bank: Bank) -> None:
    """Without header and key there is no command."""
    bank.open("a")
    commands = [_deposit(key="own"), _deposit()]
    answer = bank.client.post("/v1/batch", json={"commands": commands}, headers=bank.headers())
    assert _statuses(answer.json()) == ["recorded", "idempotency_key_required"]
    error = answer.json()["results"][1]["error"]["errors"][0]
    assert error["pointer"] == "/commands/1/key"


def test_a_key_used_twice_in_a_batch_has_one_effect(bank: Bank) -> None:
    """The second item with the same content is a replay, with another it is a conflict."""
    bank.open("a")
    commands = [_deposit(key="k"), _deposit(key="k"), _deposit("6", key="k")]
    document = bank.post("/v1/batch", {"commands": commands}).json()
    assert _statuses(document) == ["recorded", "replayed", "idempotency_conflict"]
    assert bank.get("/v1/accounts/a/balance").json()["posted_minor"] == "5"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"mode":"all","commands":[]}', "validation_error"),
        ('{"commands":[],"secret":1}', "validation_error"),
        ('{"mode":"each"}', "validation_error"),
        ('{"commands":{}}', "validation_error"),
        ('{"mode":"each","mode":"atomic","commands":[{"type":"x"}]}', "duplicate_member"),
        ('{"commands":[{"type":"x"}],"commands":[]}', "duplicate_member"),
        ('{"commands":[{]}', "malformed_json"),
        ('{"commands":[' + "[" * 100_000 + "]" * 100_000 + "]}", "malformed_json"),
        ('{"commands":[NaN]}', "malformed_json"),
        ('{"commands":["\\ud800"]}', "malformed_json"),
    ],
)
def test_a_malformed_batch_is_refused_as_a_whole(bank: Bank, body: str, code: str) -> None:
    """What is around the items must be right, too."""
    answer = bank.post_raw("/v1/batch", body.encode())
    assert answer.json()["code"] == code, answer.text
    assert answer.status_code in {400, 422}
    assert "secret" not in answer.text
    assert bank.events() == []


def test_a_teller_may_not_smuggle_an_admins_command_in(bank: Bank) -> None:
    """Each item is judged by its own command's roles."""
    bank.post("/v1/customers", {"customer_id": "c", "profile": {"name": "N"}})
    bank.open("a")
    commands = [_deposit(), {"type": "erase_customer", "customer_id": "c", "reason": "x"}]
    document = bank.post("/v1/batch", {"commands": commands}, role="teller").json()
    assert _statuses(document) == ["recorded", "forbidden"]
    assert bank.get("/v1/customers/c").json()["erased"] is False
