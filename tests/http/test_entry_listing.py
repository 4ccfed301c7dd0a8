"""Lists of entries end to end: filters, pages, and what is refused."""

from urllib.parse import quote

import pytest
from tests.http.bank import Bank, Json


@pytest.fixture
def busy(bank: Bank) -> Bank:
    """Two accounts and entries of several kinds, some with metadata and codes."""
    bank.open("a", 10_000)
    bank.open("b")
    for number, day in enumerate(("2024-01-10", "2024-02-10", "2024-03-10"), 1):
        answer = bank.post(
            "/v1/transfers",
            {
                "debit_account_id": "a",
                "credit_account_id": "b",
                "amount": str(number),
                "currency": "EUR",
                "value_date": day,
                "code": "rent",
                "reference": f"ref-{number}",
                "metadata": {"run": "7", "odd name=&": f"§ {number}"},
            },
        )
        assert answer.status_code == 201, answer.text
    return bank


def _listed(bank: Bank, **params: str) -> list[Json]:
    """The entries that a list has."""
    answer = bank.get("/v1/entries", **params)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["entries"]
    return found


def test_each_entry_is_listed_as_it_is_shown_alone(busy: Bank) -> None:
    """The same document, its reversal included."""
    position = _listed(busy, reference="ref-2")[0]["position"]
    busy.post(f"/v1/entries/jrn_{position}/reversal", {})
    found = _listed(busy)
    assert [item["kind"] for item in found] == ["deposit", *["transfer"] * 3, "reversal"]
    for item in found:
        assert item == busy.get(f"/v1/entries/{item['entry_id']}").json()
    assert found[2]["reversed_position"] == found[4]["position"]
    assert _listed(busy, order="desc") == found[::-1]


def test_every_filter_finds_what_it_says(busy: Bank) -> None:
    """Alone and together; a name of metadata may hold any character."""
    deposit, first, second, third = _listed(busy)
    odd = "metadata.odd name=&"
    for params, expected in (
        ({"account_id": "b"}, [first, second, third]),
        ({"account_id": "a", "side": "credit"}, [deposit]),
        ({"account_id": "a", "side": "debit"}, [first, second, third]),
        ({"account_id": "nobody"}, []),
        ({"account_id": "nobody", "side": "debit"}, []),
        ({"kind": "deposit"}, [deposit]),
        ({"code": "rent"}, [first, second, third]),
        ({"code": "rent", "account_id": "nobody"}, []),
        ({"reference": "ref-2"}, [second]),
        ({"reference": "never"}, []),
        ({"metadata.run": "7"}, [first, second, third]),
        ({"metadata.run": "70"}, []),
        ({odd: "§ 3", "metadata.run": "7"}, [third]),
        ({"from_position": second["position"]}, [second, third]),
        ({"to_position": first["position"]}, [deposit, first]),
        ({"value_date_from": "2024-02-10", "value_date_to": "2024-03-09"}, [second]),
        ({"as_of_position": first["position"], "code": "rent"}, [first]),
        ({"as_of": first["recorded_at"], "code": "rent"}, [first]),
    ):
        given = {name: str(value) for name, value in params.items()}
        assert _listed(busy, **given) == expected, params


def test_pages_are_of_the_moment_of_the_first(busy: Bank) -> None:
    """A cursor goes on where the page before ended, whatever was booked since."""
    whole = _listed(busy, code="rent")
    page = busy.get("/v1/entries", code="rent", limit=2).json()
    body = {"account_id": "a", "amount": "5", "currency": "EUR", "code": "rent"}
    assert busy.post("/v1/deposits", body).status_code == 201
    rest = busy.get("/v1/entries", code="rent", limit=2, cursor=page["next"]).json()
    assert page["entries"] + rest["entries"] == whole
    assert (rest["next"], rest["position"]) == ("", page["position"])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"code": "fee"},
        {"metadata.run": "7", "code": "rent"},
        {"metadata.run": "8"},
        {"code": "rent", "order": "desc"},
    ],
)
def test_a_cursor_is_bound_to_the_filters(busy: Bank, params: dict[str, str]) -> None:
    """Metadata and order too."""
    asked = {"metadata.run": "7"} if "metadata.run" in params else {"code": "rent"}
    cursor = busy.get("/v1/entries", limit=1, **asked).json()["next"]
    assert cursor
    answer = busy.get("/v1/entries", limit=1, cursor=cursor, **params)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("secret=1", None),
        ("metadata=secret", None),
        ("Metadata.run=secret", None),
        ("metadata.=secret", None),
        ("metadata.run=", None),
        ("metadata.run=1&metadata.run=2", None),
        ("metadata.run=a%00secret", None),
        (f"metadata.run={'x' * 501}", None),
        (f"metadata.{'x' * 41}=1", None),
        ("&".join(f"metadata.n{number}=secret" for number in range(6)), None),
        ("side=debit", None),
        ("side=secret&account_id=a", "side"),
        ("kind=secret", "kind"),
        ("account_id=%00secret", "account_id"),
        ("code=", "code"),
        ("reference=%00", "reference"),
        ("from_position=-1", "from_position"),
        ("to_position=1e3", "to_position"),
        ("value_date_from=2024-02-30", "value_date_from"),
        ("value_date_to=secret", "value_date_to"),
        ("order=secret", "order"),
        ("limit=0", "limit"),
        ("as_of_position=1&as_of=2024-01-31T12:00:00Z", None),
    ],
)
def test_malformed_filters_are_refused(bank: Bank, query: str, field: str | None) -> None:
    """Each as a validation error that repeats nothing of what was sent."""
    answer = bank.client.get(f"/v1/entries?{query}", headers=bank.headers())
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error"), answer.text
    assert [error.get("field") for error in answer.json()["errors"]] == [field]
    assert "secret" not in answer.text


def test_the_longest_metadata_is_found(bank: Bank) -> None:
    """Forty characters of name and five hundred of value, of any script."""
    name, value = "ñ" * 40, "漢" * 500
    bank.open("a")
    body = {"account_id": "a", "amount": "5", "currency": "EUR", "metadata": {name: value}}
    assert bank.post("/v1/deposits", body).status_code == 201
    bank.catch_up()
    path = f"/v1/entries?metadata.{quote(name)}={quote(value)}"
    assert len(bank.client.get(path, headers=bank.headers()).json()["entries"]) == 1
