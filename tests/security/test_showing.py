"""Who sees what of a person: masks by role wherever a profile is shown, and unmasking."""

from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from tests.http.bank import Bank, Json

from api import routes
from api.authority import authority_of
from api.default_roles import DEFAULT_ROLES
from api.masking import masked
from api.permissions import PERMISSION_OF
from ledger_core.access_role import DEFAULT_NAMES
from ledger_core.customers import PERSONAL_FIELDS

PROFILE = {
    "name": "Quirina Vexworth",
    "birth_date": "1987-11-23",
    "email": "quirina@vexworth.example",
    "phone": "+99 555 0188 42",
    "address": "Zugspitzgasse 77, Quellheim",
    "identity_number": "QX77Y88Z99",
    "tax_number": "TX-5566-7788",
}
PUBLIC = {"language": "de", "segment": "retail"}
WAYS = (
    ("/v1/customers/vex", "get_customer"),
    ("/v1/customers", "list_customers"),
    ("/v1/accounts/vex-1?expand=holders", "get_customer"),
    ("/v1/customers/search", "search_customers"),
)


@pytest.fixture
def house(bank: Bank) -> Bank:
    """A bank with one customer, of whom everything is known, and an account."""
    assert PROFILE.keys() == PERSONAL_FIELDS
    body = {"customer_id": "vex", "profile": {**PROFILE, **PUBLIC}}
    assert bank.post("/v1/customers", body).is_success
    account = {"account_id": "vex-1", "currency": "EUR", "customer_id": "vex"}
    assert bank.post("/v1/accounts", account).is_success
    bank.catch_up()
    return bank


def ask(bank: Bank, path: str, role: str, reason: str = "case 1") -> Response:
    """Read as somebody in that role, with a reason; a search is for the e-mail."""
    headers = bank.headers(role, **({"Ledger-Reason": reason} if reason else {}))
    if path == "/v1/customers/search":
        return bank.client.post(path, json={"fields": {"email": PROFILE["email"]}}, headers=headers)
    return bank.client.get(path, headers=headers)


def customers_in(document: Json) -> list[Json]:
    """The customers of an answer, wherever in it they stand."""
    found: list[Json] = document.get("customers", [document])
    return found


@pytest.mark.parametrize("role", DEFAULT_NAMES)
@pytest.mark.parametrize(("path", "operation"), WAYS)
def test_every_role_sees_what_it_may_everywhere(
    house: Bank, path: str, operation: str, role: str
) -> None:
    """Each field whole, masked or not at all, as the role says; nothing else of it anywhere."""
    authority = authority_of([DEFAULT_ROLES[role]], None)
    answer = ask(house, path, role)
    if not authority.may(operation) or (
        "search" in path and authority.personal["email"] == "hidden"
    ):
        assert answer.status_code == 403, answer.text
        assert not [text for text in PROFILE.values() if text in answer.text]
        return
    assert answer.status_code == 200, answer.text
    (shown,) = customers_in(answer.json())
    for field, text in PROFILE.items():
        showing = authority.personal[field]
        expected = {"clear": text, "masked": masked(field, text), "hidden": None}[showing]
        assert shown["profile"].get(field) == expected
        assert (field in shown["masked"]) == (showing == "masked")
        assert (field in shown["hidden"]) == (showing == "hidden")
        assert (text in answer.text) == (showing == "clear")
    assert {name: shown["profile"][name] for name in PUBLIC} == PUBLIC


def test_some_roles_mask_some_hide_and_one_sees_all() -> None:
    """The default roles differ: the test above sees each way of showing."""
    ways = {
        role: {authority_of([DEFAULT_ROLES[role]], None).personal[name] for name in PROFILE}
        for role in DEFAULT_NAMES
    }
    assert ways == {
        "reader": {"masked"},
        "analyst": {"hidden"},
        "teller": {"clear", "masked"},
        "auditor": {"clear"},
        "security": {"hidden"},
        "admin": {"masked"},
    }


@pytest.mark.parametrize("role", sorted({*DEFAULT_NAMES} - {"auditor"}))
def test_no_view_shows_what_the_role_masks(house: Bank, role: str) -> None:
    """Every view and every way of asking: no field in clear but those that the role sees."""
    authority = authority_of([DEFAULT_ROLES[role]], None)
    unseen = [text for name, text in PROFILE.items() if authority.personal[name] != "clear"]
    assert unseen
    ids = {
        "customer_id": "vex",
        "account_id": "vex-1",
        "position": "1",
        "kept_id": "x",
        "entry_id": "x",
        "hold_id": "x",
        "request_id": "x",
    }
    asked = 0
    for view in routes.VIEWS:
        if view.operation == "unmask_customer":
            continue
        try:
            path = view.path.format_map(ids)
        except KeyError:
            continue
        answer = ask(house, path, role)
        asked += answer.status_code == 200
        assert not [text for text in unseen if text in answer.text], path
    assert asked > (3 if role == "security" else 15)


def test_unmasking_shows_everything_for_a_reason(house: Bank) -> None:
    """All personal fields, or those that are named; and it is in the access log as what it is."""
    answer = ask(house, "/v1/customers/vex/personal", "admin", "case 2026-7")
    assert answer.status_code == 200, answer.text
    assert answer.json()["personal"] == PROFILE
    assert answer.json()["erased"] is False
    assert "no-store" in answer.headers["cache-control"]
    two = ask(house, "/v1/customers/vex/personal?fields=phone,identity_number", "admin")
    assert two.json()["personal"] == {name: PROFILE[name] for name in ("phone", "identity_number")}
    log = ask(house, "/v1/customers/vex/accesses", "auditor").json()["accesses"]
    unmasked = [item for item in log if item["operation"] == "unmask_customer"]
    assert [item["reason"] for item in unmasked] == ["case 1", "case 2026-7"]
    assert {item["status"] for item in unmasked} == {200}
    assert unmasked[0]["subjects"] == ["customer:vex"]


def test_unmasking_without_a_reason_is_refused_and_recorded(house: Bank) -> None:
    """Whatever the settings: nothing is shown."""
    answer = ask(house, "/v1/customers/vex/personal", "admin", "")
    assert (answer.status_code, answer.json()["code"]) == (400, "reason_required")
    assert not [text for text in PROFILE.values() if text in answer.text]
    log = ask(house, "/v1/accesses?operation=unmask_customer", "auditor").json()["accesses"]
    assert [(item["status"], item["subjects"]) for item in log] == [(400, ["customer:vex"])]


@pytest.mark.parametrize("role", sorted({*DEFAULT_NAMES} - {"admin"}))
def test_unmasking_is_a_permission_of_its_own(house: Bank, role: str) -> None:
    """Not even who sees everything unmasks: there is nothing masked for them."""
    assert PERMISSION_OF["unmask_customer"] == "customers.unmask"
    answer = ask(house, "/v1/customers/vex/personal", role)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/customers/vex/personal?fields=language", 422, "validation_error"),
        ("/v1/customers/vex/personal?fields=phone,", 422, "validation_error"),
        ("/v1/customers/vex/personal?fields=Quirina", 422, "validation_error"),
        ("/v1/customers/vex/personal?other=1", 422, "validation_error"),
        ("/v1/customers/nobody/personal", 404, "customer_not_found"),
    ],
)
def test_what_cannot_be_unmasked_is_refused(house: Bank, path: str, status: int, code: str) -> None:
    """Fields that are none, and customers that there are not; what was sent is not repeated."""
    answer = ask(house, path, "admin")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "Quirina" not in answer.text


def test_the_erased_cannot_be_unmasked(house: Bank) -> None:
    """There is nothing to show, at once and as of any moment."""
    assert house.post("/v1/customers/vex/erasure", {"reason": "asked"}).is_success
    for path in (
        "/v1/customers/vex/personal",
        "/v1/customers/vex/personal?as_of_position=1",
    ):
        answer = ask(house, path, "admin").json()
        assert (answer["personal"], answer["erased"]) == (None, True)
    shown = ask(house, "/v1/customers/vex", "teller").json()
    members: dict[str, Any] = {"profile": None, "masked": [], "hidden": [], "erased": True}
    assert {name: shown[name] for name in members} == members


def test_the_past_is_masked_as_the_present(house: Bank) -> None:
    """A former name is as personal as the present one."""
    change = {"changes": {"name": "Quirina Newname"}, "reason": "married"}
    assert house.post("/v1/customers/vex/profile", change).is_success
    house.catch_up()
    before = ask(house, "/v1/customers/vex?as_of_position=1", "reader")
    assert before.json()["profile"]["name"] == "Q*** V***"
    then = ask(house, "/v1/customers/vex/personal?as_of_position=1&fields=name", "admin")
    assert then.json()["personal"] == {"name": PROFILE["name"]}


def test_profiles_are_unsealed_in_one_place_that_shows_them() -> None:
    """What shows a person goes through the masks; the others show nothing of what they read."""
    source = Path(__file__).parents[2] / "src" / "api"
    found = {path.name for path in source.rglob("*.py") if ".unseal" in path.read_text()}
    assert found == {"profiles.py", "reindexing.py", "second_factors.py"}
