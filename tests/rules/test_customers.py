"""Customers: registration, change, erasure; and that only sealed fields enter an event."""

import pytest
from tests.rules.harness import Given, given, with_field

from ledger_core.customers import (
    PERSONAL_FIELDS,
    ChangeProfile,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    EraseCustomer,
    RegisterCustomer,
)
from ledger_core.errors import (
    CustomerErasedAlready,
    CustomerExists,
    CustomerNotFound,
    ValidationFailed,
)

REGISTER = RegisterCustomer(
    customer_id="ann", profile={"name": "Ann Smith", "email": "ann@b.example", "language": "en"}
)
CHANGE = ChangeProfile(
    customer_id="ann", changes={"phone": "123", "email": None, "segment": "retail"}, reason="asked"
)
ERASE = EraseCustomer(customer_id="ann", reason="her wish")


def test_a_registration_holds_personal_fields_sealed() -> None:
    """What identifies nobody stays readable."""
    given().when(REGISTER).then(
        CustomerRegistered(
            "sub_0",
            {"name": "htimS nnA", "email": "elpmaxe.b@nna"},
            {"language": "en"},
            "ann",
        )
    )


def test_a_customer_without_a_chosen_id_is_named_by_position() -> None:
    """``cus_<position>``, a form that callers cannot choose."""
    books = given(REGISTER).when(with_field(REGISTER, "customer_id", None)).books
    assert books.customers["cus_2"].customer_no == 2
    given().when(with_field(REGISTER, "customer_id", "cus_2")).then_refuses(
        ValidationFailed, field="customer_id"
    )


def test_a_customer_id_is_taken_once() -> None:
    """The refusal says where the first customer stands."""
    given(REGISTER).when(REGISTER).then_refuses(CustomerExists, position=1)


def test_a_change_says_what_was_set_and_what_was_cleared() -> None:
    """Field by field, with the reason."""
    given(REGISTER).when(CHANGE).then(
        CustomerProfileChanged("ann", "asked", {"phone": "321"}, {"segment": "retail"}, ("email",))
    )


def test_who_was_erased_cannot_be_changed() -> None:
    """The key is destroyed once; the second erasure is no event."""
    books = given(REGISTER).when(ERASE).then(CustomerErased("ann", "sub_0", "her wish"))
    Given(books).when(ERASE).then_nothing()
    Given(books).when(CHANGE).then_refuses(CustomerErasedAlready)
    Given(books).when(REGISTER).then_refuses(CustomerExists, position=1)


def test_only_known_customers_are_changed_or_erased() -> None:
    """Nothing is created by naming it."""
    given().when(CHANGE).then_refuses(CustomerNotFound, field="customer_id")
    given().when(ERASE).then_refuses(CustomerNotFound, field="customer_id")


@pytest.mark.parametrize(
    ("profile", "field"),
    [
        ({}, "profile"),
        ({"email": "a@b.example"}, "profile.name"),
        ({"name": "Ann", "shoe_size": "44"}, "profile"),
        ({"name": ""}, "profile.name"),
        ({"name": " Ann"}, "profile.name"),
        ({"name": "A\nB"}, "profile.name"),
        ({"name": "Ann", "address": "x" * 501}, "profile.address"),
    ],
)
def test_a_malformed_profile_is_refused_without_repeating_it(
    profile: dict[str, str], field: str
) -> None:
    """The field is named; the person is not."""
    answer = given().when(RegisterCustomer(profile=profile))
    answer.then_refuses(ValidationFailed, field=field)
    assert "Ann" not in str(answer.error)


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("changes", {}, "changes"),
        ("changes", {"name": None}, "changes.name"),
        ("changes", {"shoe_size": "44"}, "changes"),
        ("changes", {"phone": ""}, "changes.phone"),
        ("reason", "", "reason"),
        ("customer_id", "", "customer_id"),
    ],
)
def test_a_malformed_change_is_refused(name: str, value: object, field: str) -> None:
    """A name can be changed but not cleared; a reason is required."""
    given(REGISTER).when(with_field(CHANGE, name, value)).then_refuses(
        ValidationFailed, field=field
    )


def test_a_malformed_erasure_is_refused() -> None:
    """It too needs a reason."""
    given(REGISTER).when(with_field(ERASE, "reason", "")).then_refuses(
        ValidationFailed, field="reason"
    )


def test_every_personal_field_can_be_given_and_cleared() -> None:
    """All but the name, which stays until the person is erased."""
    everything = dict.fromkeys(sorted(PERSONAL_FIELDS), "x")
    books = given().when(RegisterCustomer(customer_id="ann", profile=everything)).books
    clear = {name: None for name in everything if name != "name"}
    event = (
        Given(books)
        .when(ChangeProfile(customer_id="ann", changes=dict(clear), reason="asked"))
        .events[0]
    )
    assert isinstance(event, CustomerProfileChanged)
    assert event.cleared == tuple(sorted(clear))
