"""What is malformed: each a clear 4xx problem, nothing recorded, nothing of it repeated."""

import json

import pytest
from tests.http.bank import Bank, Json

GOOD: Json = {
    "debit_account_id": "a",
    "credit_account_id": "b",
    "amount": "5",
    "currency": "EUR",
}
TEXT = json.dumps(GOOD)


def _with(**fields: object) -> bytes:
    """The good transfer with some fields changed."""
    return json.dumps(GOOD | fields).encode()


def _put(value: str) -> bytes:
    """The good transfer with a raw JSON value as its amount."""
    return TEXT.replace('"5"', value).encode()


BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "malformed_json"),
    "cut off": (TEXT[:-1].encode(), 400, "malformed_json"),
    "two documents": ((TEXT + TEXT).encode(), 400, "malformed_json"),
    "trailing comma": ((TEXT[:-1] + ",}").encode(), 400, "malformed_json"),
    "single quotes": (b"{'amount': '5'}", 400, "malformed_json"),
    "byte order mark": (b"\xef\xbb\xbf" + TEXT.encode(), 400, "malformed_json"),
    "not utf-8": (_put('"\xff"').replace(b"\xc3\xbf", b"\xff"), 400, "malformed_json"),
    "utf-16": (TEXT.encode("utf-16"), 400, "malformed_json"),
    "lone surrogate": (_put('"\\ud800"'), 400, "malformed_json"),
    "raw control character": (_put('"\x01"'), 400, "malformed_json"),
    "nan": (_put("NaN"), 400, "malformed_json"),
    "infinity": (_put("-Infinity"), 400, "malformed_json"),
    "leading zero": (_put("007"), 400, "malformed_json"),
    "array": (b"[]", 422, "validation_error"),
    "null": (b"null", 422, "validation_error"),
    "string": (b'"secret-value"', 422, "validation_error"),
    "deep arrays": (b"[" * 100_000, 422, "validation_error"),
    "deep objects": (_put('{"a":' * 50_000), 422, "validation_error"),
    "deep metadata": (
        TEXT[:-1].encode() + b',"metadata":{"x":' + b"[" * 90_000,
        422,
        "validation_error",
    ),
    "duplicate member": ((TEXT[:-1] + ',"amount":"6"}').encode(), 400, "duplicate_member"),
    "escaped duplicate": ((TEXT[:-1] + ',"\\u0061mount":"6"}').encode(), 400, "duplicate_member"),
    "duplicate metadata": (
        (TEXT[:-1] + ',"metadata":{"k":"1","k":"2"}}').encode(),
        400,
        "duplicate_member",
    ),
    "unknown field": (_with(secret_value=1), 422, "validation_error"),
    "wrong case": (TEXT.replace("amount", "Amount").encode(), 422, "validation_error"),
    "missing field": (b'{"amount":"5"}', 422, "validation_error"),
    "other type": (_with(type="deposit"), 422, "validation_error"),
    "number for amount": (_put("5"), 422, "validation_error"),
    "fraction for amount": (_put("5.5"), 422, "validation_error"),
    "huge number": (_put("1" + "0" * 5_000), 422, "validation_error"),
    "huge exponent": (_put("1e400"), 422, "validation_error"),
    "true for amount": (_put("true"), 422, "validation_error"),
    "null for amount": (_put("null"), 422, "validation_error"),
    "decimal amount": (_with(amount="5.50"), 422, "validation_error"),
    "negative amount": (_with(amount="-5"), 422, "validation_error"),
    "zero amount": (_with(amount="0"), 422, "validation_error"),
    "amount of 37 digits": (_with(amount="1" * 37), 422, "validation_error"),
    "amount in Arabic digits": (_with(amount="\u0665"), 422, "validation_error"),
    "impossible date": (_with(value_date="2024-02-30"), 422, "validation_error"),
    "time for date": (_with(value_date="2024-02-28T00:00:00Z"), 422, "validation_error"),
    "control character": (_with(description="x\ny"), 422, "validation_error"),
    "nul in id": (_with(debit_account_id="a\0"), 422, "validation_error"),
    "bidirectional override": (_with(description="x\u202ey"), 422, "validation_error"),
    "long id": (_with(debit_account_id="x" * 201), 422, "validation_error"),
    "unknown currency": (_with(currency="XXQ"), 422, "unknown_currency"),
    "unknown account": (_with(debit_account_id="nobody"), 404, "account_not_found"),
    "nul in unknown reference": (_with(reference="a\0"), 422, "validation_error"),
    "nul in entry id": (_with(entry_id="a\0"), 422, "validation_error"),
}


@pytest.mark.parametrize(("body", "status", "code"), BODIES.values(), ids=BODIES.keys())
def test_malformed_bodies_are_refused_clearly(
    bank: Bank, body: bytes, status: int, code: str
) -> None:
    """Status and code say what is wrong; nothing is booked and nothing repeated."""
    bank.open("a", 10)
    bank.open("b")
    count = len(bank.events())
    answer = bank.post_raw("/v1/transfers", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert {event["type"] for event in bank.events()[count:]} <= {"CommandRefused"}
    assert bank.post("/v1/transfers", GOOD).status_code == 201


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("profile.name", {"profile": {"name": "Eve\x07secret"}}),
        ("profile.name", {"profile": {"name": ""}}),
        ("profile.name", {"profile": {"email": "secret@x.y"}}),
        ("profile", {"profile": {"name": "Eve", "secret_field": "x"}}),
        ("profile", {"profile": {}}),
        ("profile", {"profile": {"name": 5}}),
        ("customer_id", {"customer_id": "x\0secret", "profile": {"name": "Eve"}}),
        ("customer_id", {"customer_id": "cus_7", "profile": {"name": "Eve"}}),
    ],
)
def test_malformed_customers_are_refused_by_field(bank: Bank, field: str, body: Json) -> None:
    """The field is named, with its pointer; what was sent is not."""
    answer = bank.post("/v1/customers", body)
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert error["field"] == field
    assert error["pointer"] == "/" + field.replace(".", "/")
    assert "secret" not in answer.text
    assert bank.events() == []


@pytest.mark.parametrize("moment", ["secret", "2026-01-31", "2026-01-31T12:00:00", 5])
def test_a_moment_needs_its_offset(bank: Bank, moment: str | int) -> None:
    """Where a field is an instant, the rule says so, whatever else was sent."""
    answer = bank.post("/v1/holds", GOOD | {"expires_at": moment})
    assert answer.status_code == 422
    error = answer.json()["errors"][0]
    assert (error["field"], "secret" in answer.text) == ("expires_at", False)
    assert "a time with its offset: 2026-01-31T12:00:00Z" in json.dumps(error)


@pytest.mark.parametrize("path", ["/v1/transfers", "/v1/customers", "/v1/accounts/a/freeze"])
def test_a_body_of_ten_megabytes_is_refused(bank: Bank, path: str) -> None:
    """A body beyond the limit is a clear refusal, and the connection goes on."""
    answer = bank.post_raw(path, b'{"description":"' + b"x" * 10_000_000 + b'"}')
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert bank.events() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_other_content_types_are_refused(bank: Bank, headers: dict[str, str]) -> None:
    """Only JSON in UTF-8 is taken."""
    answer = bank.post_raw("/v1/transfers", TEXT.encode(), **headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["application/json", "APPLICATION/JSON; charset=UTF-8"])
def test_json_is_taken_however_it_is_spelt(bank: Bank, media_type: str) -> None:
    """The media type is case-insensitive and may name UTF-8."""
    bank.open("a", 10)
    bank.open("b")
    headers = {"Content-Type": media_type}
    assert bank.post_raw("/v1/transfers", TEXT.encode(), **headers).status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing-secret", 404, "not_found"),
        ("GET", "/v1/transfers", 405, "method_not_allowed"),
        ("DELETE", "/v1/accounts/a", 405, "method_not_allowed"),
        ("POST", "/v1/transfers/", 404, "not_found"),
        ("GET", "/v1/entries/none", 404, "entry_not_found"),
        ("GET", "/v1/entries/jrn_1", 404, "entry_not_found"),
        ("GET", "/v1/events/999", 404, "not_found"),
        ("GET", "/v1/accounts/none", 404, "account_not_found"),
        ("GET", "/v1/customers/none", 404, "customer_not_found"),
        ("GET", "/v1/accounts/%00", 422, "validation_error"),
        ("GET", "/v1/accounts/%FF", 422, "validation_error"),
        ("POST", "/v1/accounts/%FF/freeze", 400, "malformed_json"),
    ],
)
def test_every_refusal_is_a_problem_document(
    bank: Bank, method: str, path: str, status: int, code: str
) -> None:
    """What the framework refuses has the same form as what the ledger refuses."""
    bank.open("a")
    bank.catch_up()
    headers = bank.headers() | {"Content-Type": "application/json", "Idempotency-Key": "k"}
    answer = bank.client.request(method, path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:ledger:problem:{code}"
    assert answer.json()["status"] == status
    assert "secret" not in answer.text
    if status == 405:
        assert answer.headers["allow"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("secret=1", None),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=1e2", "limit"),
        ("limit=secret", "limit"),
        ("limit=1&limit=2", None),
        ("as_of=2024-01-31", "as_of"),
        ("as_of=2024-01-31T12:00:00", "as_of"),
        ("as_of=2024-01-31T12:00:00+01:00", "as_of"),
        ("as_of=2024-13-31T12:00:00Z", "as_of"),
        ("as_of=1700000000", "as_of"),
        ("as_of_position=-1", "as_of_position"),
        ("as_of_position=9999999999999999999", "as_of_position"),
        ("as_of=2024-01-31T12:00:00Z&as_of_position=1", None),
        ("value_date=20240131", "value_date"),
        ("value_date=2024-02-30", "value_date"),
        ("wait_s=31", "wait_s"),
        ("wait_s=nan", "wait_s"),
        ("min_position=x", "min_position"),
        ("currency=a%00b", "currency"),
        ("prefix=%00", "prefix"),
        ("account_type=secret", "account_type"),
    ],
)
def test_malformed_queries_are_refused(bank: Bank, query: str, field: str | None) -> None:
    """A parameter that is unknown, malformed or given twice is refused, and never repeated."""
    answer = bank.client.get(f"/v1/accounts?{query}", headers=bank.headers())
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.text
    assert [error.get("field") for error in answer.json()["errors"]] == [field]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "moment", ["0001-01-01T00:00:00%2B14:00", "9999-12-31T23:59:59-14:00", "2024-02-29T12:00Z"]
)
def test_the_edges_of_time_are_taken(bank: Bank, moment: str) -> None:
    """Any instant of the calendar is a moment one may ask about."""
    bank.open("a")
    bank.catch_up()
    answer = bank.client.get(f"/v1/accounts?as_of={moment}", headers=bank.headers())
    assert answer.status_code == 200, answer.text
