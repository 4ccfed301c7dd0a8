"""Customers: registration, change, erasure; and that only sealed fields enter an event."""

import pytest
from hypothesis import given as draw
from hypothesis import strategies as st
from tests.rules.harness import Given, given, opened, with_field

from ledger_core.account_holders import LinkCustomer
from ledger_core.customers import (
    KYC_STATUSES,
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
    KycNotCleared,
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
        ({"name": "Ann", "kyc_status": "unknown"}, "profile.kyc_status"),
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


# Identification ---------------------------------------------------------------------------------


@draw(st.lists(st.none() | st.sampled_from(KYC_STATUSES), min_size=1, max_size=5))
def test_an_account_is_opened_for_whom_the_bank_knows(statuses: list[str | None]) -> None:
    """A status that is given must be ``cleared``; the last one counts, and none is no judgement."""
    profile = {"name": "Ann"}
    if statuses[0] is not None:
        profile["kyc_status"] = statuses[0]
    changes = [
        ChangeProfile(customer_id="ann", changes={"kyc_status": status}, reason="checked")
        for status in statuses[1:]
    ]
    other = ChangeProfile(customer_id="ann", changes={"language": "nl"}, reason="moved")
    case = given(RegisterCustomer(customer_id="ann", profile=profile), *changes, other)
    assert case.books.customers["ann"].kyc_status == statuses[-1]
    assert case.books.customers["ann"].last_position == len(statuses) + 1
    answer = case.when(opened("A", customer_id="ann"))
    if statuses[-1] in (None, "cleared"):
        assert answer.error is None
    else:
        answer.then_refuses(KycNotCleared, customer_id="ann", kyc_status=statuses[-1])


def test_who_was_not_cleared_may_still_be_a_holder_and_be_erased() -> None:
    """Only opening an account for somebody asks; erasure leaves the status as it was."""
    ann = RegisterCustomer(customer_id="ann", profile={"name": "Ann", "kyc_status": "rejected"})
    case = given(ann, opened("A"))
    assert case.when(LinkCustomer(account_id="A", customer_id="ann")).error is None
    books = case.when(EraseCustomer(customer_id="ann", reason="asked")).books
    assert books.customers["ann"].kyc_status == "rejected"
    case.when(opened("B", customer_id="ann")).then_refuses(CustomerErasedAlready)
