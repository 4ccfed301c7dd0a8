"""Finding customers by personal fields over HTTP: who may, by what, and what it leaves behind."""

import pytest
from httpx2 import Response
from structlog.testing import capture_logs
from tests.http.bank import Bank, Json

from api import reindexing
from api.routes.customer_search import SearchFields
from api.runtime import Runtime
from ledger_core.customers import PERSONAL_FIELDS

ANNA = {"name": "Annika Qwertz", "phone": "+99 555 0177", "birth_date": "1990-01-31"}
OTHER = {"name": "Annika Qwertz", "birth_date": "1955-05-05"}


@pytest.fixture
def house(bank: Bank) -> Bank:
    """Two customers of one name, and a third."""
    return _filled(bank)


def _filled(bank: Bank) -> Bank:
    """Register the customers."""
    for customer_id, profile in (("a1", ANNA), ("a2", OTHER), ("b", {"name": "Ben Asdfg"})):
        body = {"customer_id": customer_id, "profile": profile}
        assert bank.post("/v1/customers", body).is_success
    bank.catch_up()
    return bank


def search(bank: Bank, body: Json, role: str = "teller", **headers: str) -> Response:
    """Ask for customers."""
    return bank.client.post(
        "/v1/customers/search", json=body, headers=bank.headers(role, **headers)
    )


def found(answer: Response) -> list[str]:
    """The customers found."""
    assert answer.status_code == 200, answer.text
    return [item["customer_id"] for item in answer.json()["customers"]]


def test_customers_are_found_by_any_spelling_or_the_exact_one(house: Bank) -> None:
    """By one field or several, all of which have to agree."""
    assert found(search(house, {"fields": {"name": "QWERTZ, annika"}})) == ["a1", "a2"]
    both = {"name": "qwertz annika", "birth_date": "31.1.1990"}
    assert found(search(house, {"fields": both})) == ["a1"]
    assert found(search(house, {"fields": both, "match": "exact"})) == []
    assert found(search(house, {"fields": ANNA, "match": "exact"})) == ["a1"]
    assert found(search(house, {"fields": {"phone": "0099-555 0177"}})) == ["a1"]
    assert found(search(house, {"fields": {"name": "Annika"}})) == []
    assert found(search(house, {"fields": {"email": "nobody@example.org"}})) == []


def test_an_answer_says_of_which_moment_it_is(house: Bank) -> None:
    """And waits for the position that it is asked for."""
    change = {"changes": {"name": "Bent Asdfg"}, "reason": "typo"}
    position = house.post("/v1/customers/b/profile", change).json()["position"]
    late = search(house, {"fields": {"name": "bent asdfg"}, "min_position": position, "wait_s": 0})
    assert late.status_code == 409
    house.catch_up()
    answer = search(house, {"fields": {"name": "bent asdfg"}, "min_position": position})
    assert found(answer) == ["b"]
    assert answer.json()["position"] == position
    assert found(search(house, {"fields": {"name": "ben asdfg"}})) == []


def test_a_view_that_is_behind_finds_nobody_by_what_it_does_not_show(house: Bank) -> None:
    """The index knows the new name at once; who is shown has the name that was asked for."""
    change = {"changes": {"name": "Bent Asdfg"}, "reason": "typo"}
    assert house.post("/v1/customers/b/profile", change).is_success
    assert found(search(house, {"fields": {"name": "bent asdfg"}})) == []
    house.catch_up()
    assert found(search(house, {"fields": {"name": "bent asdfg"}})) == ["b"]


def test_a_search_is_no_listing(house: Bank) -> None:
    """No more are shown than were asked for, and that there are others is said."""
    answer = search(house, {"fields": {"name": "annika qwertz"}, "limit": 1})
    assert (found(answer), answer.json()["more"]) == (["a1"], True)
    whole = search(house, {"fields": {"name": "annika qwertz"}, "limit": 2})
    assert (found(whole), whole.json()["more"]) == (["a1", "a2"], False)


def test_who_searched_and_whom_it_showed_is_recorded(house: Bank) -> None:
    """Also a search that found nobody; what was searched for stands nowhere."""
    with capture_logs() as logs:
        body = {"fields": {"name": "annika qwertz"}}
        search(house, body, **{"Ledger-Reason": "case 9"})
        search(house, {"fields": {"name": "Nobody Qwertz"}})
    headers = house.headers("auditor", **{"Ledger-Reason": "review"})
    log = house.client.get(
        "/v1/accesses", params={"operation": "search_customers"}, headers=headers
    ).json()["accesses"]
    assert [(item["subjects"], item["reason"], item["status"]) for item in log] == [
        ([], "", 200),
        (["customer:a1", "customer:a2"], "case 9", 200),
    ]
    assert "wertz" not in (str(logs) + str(log)).lower()


def test_what_is_hidden_cannot_be_searched(house: Bank) -> None:
    """To be told who has a value is to see it; not every role may search at all."""
    for role in ("reader", "analyst", "security"):
        assert search(house, {"fields": {"name": "x"}}, role).json()["code"] == "forbidden"
    assert found(search(house, {"fields": {"name": "ben asdfg"}}, "admin")) == ["b"]
    answer = search(house, {"fields": {"name": "ben asdfg"}}, "auditor", **{"Ledger-Reason": "r"})
    assert found(answer) == ["b"]
    assert answer.json()["customers"][0]["profile"] == {"name": "Ben Asdfg"}


def test_an_erased_person_is_not_found(house: Bank) -> None:
    """At once, before the views know of it."""
    assert house.post("/v1/customers/a1/erasure", {"reason": "asked"}).is_success
    assert found(search(house, {"fields": {"name": "annika qwertz"}})) == ["a2"]
    house.catch_up()
    assert found(search(house, {"fields": {"name": "annika qwertz"}})) == ["a2"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"fields": {}},
        {"fields": {"name": None}},
        {"fields": {"name": ""}},
        {"fields": {"name": "   "}},
        {"fields": {"name": "Qwertz\u0007"}},
        {"fields": {"name": "Q" * 501}},
        {"fields": {"name": 5}},
        {"fields": {"name": ["Qwertz"]}},
        {"fields": {"language": "Qwertz"}},
        {"fields": {"name": "Qwertz"}, "match": "Qwertz"},
        {"fields": {"name": "Qwertz"}, "limit": 0},
        {"fields": {"name": "Qwertz"}, "limit": 51},
        {"fields": {"name": "Qwertz"}, "wait_s": 31},
        {"fields": {"name": "Qwertz"}, "wait_s": -1},
        {"fields": {"name": "Qwertz"}, "min_position": "1"},
        {"fields": {"name": "Qwertz"}, "Qwertz": 1},
    ],
)
def test_malformed_searches_are_refused_without_an_echo(house: Bank, body: Json) -> None:
    """The field and the rule are named, never the value."""
    answer = search(house, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "validation_error")
    assert "Qwertz" not in answer.text


def test_every_personal_field_can_be_asked_for() -> None:
    """A new field cannot be forgotten."""
    assert set(SearchFields.__struct_fields__) == PERSONAL_FIELDS


def test_another_ledger_is_another_world(house: Bank, shared_runtime: Runtime) -> None:
    """A key of one ledger finds nobody of another."""
    other = Bank(shared_runtime, house.client, f"{house.ledger}-other")
    assert found(search(other, {"fields": {"name": "annika qwertz"}})) == []


def test_a_ledger_of_before_is_not_searched_half(own_bank: Bank) -> None:
    """Nobody is told that there is nobody, where not everybody could have been found."""
    _filled(own_bank)
    runtime, ledger_id = own_bank.runtime, own_bank.ledger_id
    with runtime.connect("ledger_writer") as connection:
        connection.execute("DELETE FROM keystore.blind_indexes WHERE customer_id = 'b'")
    body = {"fields": {"name": "annika qwertz"}}
    answer = search(own_bank, body)
    assert (answer.status_code, answer.json()["code"]) == (503, "search_index_incomplete")
    assert _reindexed(runtime, ledger_id, is_repair=False) == (3, 2, 0)
    assert search(own_bank, body).status_code == 503
    assert _reindexed(runtime, ledger_id) == (3, 2, 0)
    assert _reindexed(runtime, ledger_id) == (3, 0, 0)
    assert found(search(own_bank, body)) == ["a1", "a2"]
    assert found(search(own_bank, {"fields": {"name": "ben asdfg"}})) == ["b"]


def test_reindexing_takes_away_what_should_not_be_there(own_bank: Bank) -> None:
    """Tokens of another secret, of the erased, and of values that nobody has any more."""
    _filled(own_bank)
    runtime, ledger_id = own_bank.runtime, own_bank.ledger_id
    with runtime.connect("ledger_writer") as connection:
        stale = runtime.blind_index.stored(connection, ledger_id, ["a1"])
    assert own_bank.post("/v1/customers/a1/erasure", {"reason": "asked"}).is_success
    with runtime.connect("ledger_writer") as connection:
        runtime.blind_index.add(connection, ledger_id, stale)
        connection.execute(
            "INSERT INTO keystore.blind_indexes"
            " (ledger_id, token, customer_id, field, form, key_id)"
            " SELECT ledger_id, sha256(token), customer_id, field, form, 'old'"
            " FROM keystore.blind_indexes WHERE customer_id = 'b'"
        )
    assert _reindexed(runtime, ledger_id) == (3, 0, 8)
    with runtime.connect("ledger_writer") as connection:
        assert runtime.blind_index.stored(connection, ledger_id, ["a1"]) == set()


def _reindexed(runtime: Runtime, ledger_id: int, *, is_repair: bool = True) -> tuple[int, int, int]:
    """What reindexing counts."""
    report = reindexing.reindex(runtime, ledger_id, is_repair=is_repair)
    return report.customers, report.added, report.removed
