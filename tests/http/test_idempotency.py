"""Keys: the first answer again, byte for byte; never a second effect, never another's answer."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.http.bank import Bank, Json

DEPOSIT: Json = {"account_id": "a", "amount": "5", "currency": "EUR"}

REPEATED: tuple[tuple[str, Json], ...] = (
    ("/v1/customers", {"customer_id": "c", "profile": {"name": "N", "segment": "retail"}}),
    ("/v1/customers", {"profile": {"name": "N"}}),
    ("/v1/customers/old/profile", {"changes": {"email": "x@y.z"}, "reason": "asked"}),
    ("/v1/customers/old/erasure", {"reason": "asked"}),
    ("/v1/accounts", {"currency": "EUR", "metadata": {"k": "v"}}),
    ("/v1/accounts/a/limit", {"limit": "100"}),
    ("/v1/accounts/a/freeze", {"cause": "x"}),
    ("/v1/deposits", DEPOSIT | {"value_date": "2024-02-29", "reference": "r", "entry_id": "e"}),
    ("/v1/units", {"code": "MILES", "scale": 3}),
    ("/v1/risk-rules", {"rule": "velocity", "parameters": {"count": 3}}),
)


@pytest.mark.parametrize(("path", "body"), REPEATED)
def test_a_repeated_command_gets_the_first_answer_again(bank: Bank, path: str, body: Json) -> None:
    """Same status, same bytes, the same address, marked as replayed, and no second event."""
    bank.open("a")
    bank.post("/v1/customers", {"customer_id": "old", "profile": {"name": "N"}})
    first = bank.post(path, body, key="k")
    count = len(bank.events())
    again = bank.post(path, body, key="k")
    assert (again.status_code, again.content) == (first.status_code, first.content) != (200, b"")
    assert first.status_code == 201
    assert again.headers.get("location") == first.headers.get("location")
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(bank.events()) == count


def test_a_repeated_answer_survives_a_restart(own_bank: Bank) -> None:
    """The answer is made from the log, so a new process gives the same bytes."""
    own_bank.open("a")
    first = own_bank.post("/v1/deposits", DEPOSIT, key="k")
    own_bank.runtime.close()
    again = own_bank.post("/v1/deposits", DEPOSIT, key="k")
    assert again.content == first.content
    assert again.headers["idempotency-replayed"] == "true"


def test_another_content_under_the_same_key_is_a_conflict(bank: Bank) -> None:
    """The refusal names the fields that differ and the first event's position."""
    bank.open("a")
    first = bank.post("/v1/deposits", DEPOSIT, key="k")
    answer = bank.post("/v1/deposits", DEPOSIT | {"amount": "6", "channel": "atm"}, key="k")
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")
    assert sorted(answer.json()["seen"]["fields"]) == ["amount", "channel"]
    assert answer.json()["seen"]["position"] == first.json()["position"]


def test_a_refused_command_does_not_use_up_its_key(bank: Bank) -> None:
    """After a refusal the same key is judged anew."""
    bank.open("a")
    bank.open("b")
    body = {"debit_account_id": "a", "credit_account_id": "b", "amount": "5", "currency": "EUR"}
    assert bank.post("/v1/transfers", body, key="k").status_code == 422
    bank.post("/v1/deposits", DEPOSIT)
    assert bank.post("/v1/transfers", body, key="k").status_code == 201


def test_one_key_from_many_callers_at_once_has_one_effect(bank: Bank) -> None:
    """Eight callers with one key get the same bytes; one event is recorded."""
    bank.open("a")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: bank.post("/v1/deposits", DEPOSIT, key="k"), range(8)))
    assert len({answer.content for answer in answers}) == 1
    assert {answer.status_code for answer in answers} == {201}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 7
    assert sum(event["command_key"] == "k" for event in bank.events()) == 1


def test_the_key_comes_in_the_header_or_in_the_body(bank: Bank) -> None:
    """Either place will do, both must agree, and without one there is no command."""
    bank.open("a")
    headers = bank.headers()
    post = bank.client.post
    assert post("/v1/deposits", json=DEPOSIT | {"key": "k"}, headers=headers).status_code == 201
    assert bank.post("/v1/deposits", DEPOSIT | {"key": "k"}, key="k").headers[
        "idempotency-replayed"
    ]
    missing = post("/v1/deposits", json=DEPOSIT, headers=headers)
    assert (missing.status_code, missing.json()["code"]) == (400, "idempotency_key_required")
    differing = bank.post("/v1/deposits", DEPOSIT | {"key": "k"}, key="l")
    assert (differing.status_code, differing.json()["code"]) == (400, "idempotency_key_mismatch")


@pytest.mark.parametrize("key", ["x" * 256, "a b", "", "\x7f"])
def test_a_malformed_key_is_refused(bank: Bank, key: str) -> None:
    """A key is 1 to 255 printable characters without blanks."""
    bank.open("a")
    count = len(bank.events())
    answer = bank.post("/v1/deposits", DEPOSIT, key=key)
    assert answer.status_code in {400, 422}
    assert len(bank.events()) == count
