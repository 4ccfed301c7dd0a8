"""Access roles as data: set, set anew, retired; and what several of them allow together."""

from typing import Any

import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from tests.rules.harness import given

from api.authority import (
    Authority,
    RoleTerms,
    authority_of,
    expanded,
    is_within_amounts,
    merged,
)
from api.default_roles import DEFAULT_ROLES
from api.delegation import is_within
from api.permissions import MOVING, PERMISSION_OF, PERMISSIONS
from api.role_book import in_force
from ledger_core.access_role import DEFAULT_NAMES, AccessRole, RoleRetired, RoleSet
from ledger_core.access_roles import PERMISSIONS_MAX, ROLES_MAX, RetireRole, SetRole
from ledger_core.errors import RoleNotFound, UnknownCurrency, ValidationFailed

CASHIER = SetRole(name="cashier", permissions=("movements.post",), amount_max={"EUR": "500"})


def test_a_role_is_set_and_set_anew() -> None:
    """The last definition counts, the same one again changes nothing."""
    books = given().when(CASHIER).then(RoleSet("cashier", ("movements.post",), {"EUR": "500"}))
    again = given(CASHIER)
    again.when(CASHIER).then_nothing()
    wider = SetRole(name="cashier", permissions=("movements.*",))
    books = again.when(wider).then(RoleSet("cashier", ("movements.*",)))
    role = books.kept("role", "cashier")
    assert role == AccessRole("cashier", "active", RoleSet("cashier", ("movements.*",)), 1, 2)


def test_a_role_is_retired_and_comes_back_when_it_is_set() -> None:
    """Its terms are remembered, and the same definition is a change then."""
    retire = RetireRole(name="cashier", reason="r")
    bank = given(CASHIER)
    books = bank.when(retire).then(RoleRetired("cashier", "r"))
    assert [role.status for role in books.kept_of("role")] == ["retired"]
    given(CASHIER, retire).when(retire).then_nothing()
    given(CASHIER, retire).when(CASHIER).then(
        RoleSet("cashier", ("movements.post",), {"EUR": "500"})
    )


def test_a_default_role_can_be_retired_and_no_other() -> None:
    """What every ledger has from the start needs no definition; a name of nothing is refused."""
    for name in DEFAULT_NAMES:
        given().when(RetireRole(name=name)).then(RoleRetired(name))
    given().when(RetireRole(name="nobody")).then_refuses(RoleNotFound, field="name")
    assert set(DEFAULT_NAMES) == set(DEFAULT_ROLES)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "Teller"}, "name"),
        ({"name": "x" * 41}, "name"),
        ({"permissions": ("transfer",)}, "permissions"),
        ({"permissions": ("a.b", "a.b")}, "permissions"),
        ({"permissions": ("*.read",)}, "permissions"),
        ({"permissions": ("accounts.read\n",)}, "permissions"),
        ({"permissions": tuple(f"a.p{n}" for n in range(PERMISSIONS_MAX + 1))}, "permissions"),
        ({"reason_for": ("x",)}, "reason_for"),
        ({"step_up_for": ("X.y",)}, "step_up_for"),
        ({"amount_max": {"EUR": "-1"}}, "amount_max"),
        ({"amount_max": {"EUR": "1.5"}}, "amount_max"),
        ({"personal": {"language": "clear"}}, "personal"),
        ({"description": "a\nb"}, "description"),
    ],
)
def test_a_malformed_role_is_refused(fields: dict[str, Any], field: str) -> None:
    """The field is named."""
    given_fields: dict[str, Any] = {"name": "cashier", "permissions": ("a.b",)} | fields
    given().when(SetRole(**given_fields)).then_refuses(ValidationFailed, field=field)


def test_an_amount_is_in_a_currency_that_there_is() -> None:
    """ISO 4217, or a unit of the ledger."""
    role = SetRole(name="cashier", permissions=(), amount_max={"XXQ": "5"})
    given().when(role).then_refuses(UnknownCurrency)


def test_there_are_not_more_roles_than_a_ledger_can_look_through() -> None:
    """One more is refused; those that are there can still be set."""
    roles = [SetRole(name=f"r{number}", permissions=()) for number in range(ROLES_MAX)]
    bank = given(*roles)
    bank.when(SetRole(name="one-more", permissions=())).then_refuses(ValidationFailed, field="name")
    bank.when(SetRole(name="r0", permissions=("*",))).then(RoleSet("r0", ("*",)))


def test_what_a_ledger_defines_goes_before_the_default() -> None:
    """And what it retires is gone, defined or not."""
    assert in_force(()) == DEFAULT_ROLES
    own = AccessRole("teller", "active", RoleSet("teller", ("info.read",)), 1, 1)
    gone = AccessRole("reader", "retired", None, 2, 2)
    roles = in_force((own, gone))
    assert roles["teller"].permissions == ("info.read",)
    assert "reader" not in roles
    assert roles["admin"] == DEFAULT_ROLES["admin"]


def _terms(name: str = "x", *permissions: str, **more: Any) -> RoleTerms:  # noqa: ANN401
    """A role's terms."""
    return RoleTerms(name=name, permissions=permissions, **more)


def test_a_bound_of_one_role_is_not_lifted_by_another_that_moves_nothing() -> None:
    """Each permission is bounded by the roles that grant it, and by no other."""
    teller = _terms("t", "movements.post", "accounts.read", amount_max={"EUR": 100})
    reader, approver = _terms("r", "accounts.read"), _terms("a", "approvals.vote")
    for others in ([reader], [approver], [reader, approver]):
        authority = authority_of([teller, *others], None)
        assert authority.amounts == {"movements.post": {"EUR": 100}}
        assert authority.amount_bounds is not None
        assert authority.amount_bounds["transfer"] == {"EUR": 100}
        assert "approve_request" not in authority.amount_bounds
        assert "get_account" not in authority.amount_bounds


def test_of_two_bounds_the_larger_counts_by_currency() -> None:
    """And none at all where one role has none."""
    one = _terms("1", "movements.post", amount_max={"EUR": 100, "USD": 5})
    two = _terms("2", "movements.post", amount_max={"EUR": 7, "GBP": 9})
    amounts = authority_of([one, two], None).amounts
    assert amounts == {"movements.post": {"EUR": 100, "USD": 5, "GBP": 9}}
    assert authority_of([one, _terms("3", "movements.*")], None).amount_bounds is None


def test_what_one_role_demands_is_not_demanded_of_who_may_by_another() -> None:
    """A reason and a second factor are asked where every role that grants it asks."""
    asks = _terms("1", "customers.*", reason_for=("*",), step_up_for=("customers.read",))
    free = _terms("2", "customers.read")
    alone = authority_of([asks], None)
    assert {"get_customer", "list_customers"} <= alone.reason_for
    assert alone.step_up_for == {"get_customer"}
    both = authority_of([asks, free], None)
    assert "get_customer" not in both.reason_for | both.step_up_for
    assert "list_customers" in both.reason_for
    assert alone.reason_for_commands == {"register_customer", "change_profile", "erase_customer"}


permissions = st.lists(
    st.sampled_from([*sorted(PERMISSIONS), "accounts.*", "customers.*", "*", "no.such"]),
    max_size=6,
    unique=True,
).map(tuple)
amounts = st.none() | st.dictionaries(st.sampled_from(["EUR", "USD"]), st.integers(0, 5))
terms = st.builds(
    RoleTerms,
    name=st.just("x"),
    permissions=permissions,
    amount_max=amounts,
    personal=st.dictionaries(
        st.sampled_from(["name", "phone"]), st.sampled_from(["clear", "masked", "hidden"])
    ),
    personal_default=st.sampled_from(["clear", "masked", "hidden"]),
    reason_for=permissions,
    step_up_for=permissions,
)
roles = st.lists(terms, min_size=1, max_size=3)


@for_all(roles, st.none() | permissions)
def test_scopes_only_ever_take_away(some: list[RoleTerms], scopes: tuple[str, ...] | None) -> None:
    """Whatever is named in them, nothing is there that the roles do not give."""
    whole, cut = authority_of(some, None), authority_of(some, scopes)
    assert cut.permissions <= whole.permissions
    assert is_within(whole, cut)
    if scopes is not None:
        assert cut.permissions == whole.permissions & expanded(scopes)


@for_all(roles, terms)
def test_another_role_only_ever_adds(some: list[RoleTerms], other: RoleTerms) -> None:
    """Permissions, amounts and fields: what was allowed stays allowed."""
    before, after = authority_of(some, None), authority_of([*some, other], None)
    assert is_within(after, before)


@for_all(roles, roles)
def test_merging_is_having_all_the_roles(one: list[RoleTerms], two: list[RoleTerms]) -> None:
    """But for what is demanded, which a merger leaves out."""
    both = merged(authority_of(one, None), authority_of(two, None))
    same = authority_of([*one, *two], None)
    for field in ("operations", "permissions", "amounts", "personal", "amount_bounds"):
        assert getattr(both, field) == getattr(same, field), field


@for_all(roles, roles)
def test_within_is_what_allows_no_movement_more(one: list[RoleTerms], two: list[RoleTerms]) -> None:
    """Checked one command, currency and amount at a time."""
    held, asked = authority_of(one, None), authority_of(two, None)
    operations = sorted(
        operation
        for operation in held.operations & asked.operations
        if PERMISSION_OF[operation] in MOVING
    )
    allows_more = any(
        _allows(asked, operation, currency, amount)
        and not _allows(held, operation, currency, amount)
        for operation in operations
        for currency in ("EUR", "USD", "GBP")
        for amount in (1, 3, 6)
    )
    if asked.permissions <= held.permissions and is_within_amounts(held, asked):
        assert not allows_more
    elif allows_more:
        assert not is_within(held, asked)


def _allows(authority: Authority, operation: str, currency: str, amount_minor: int) -> bool:
    """Whether an amount may be moved by one command."""
    bounds = (authority.amount_bounds or {}).get(operation)
    return bounds is None or amount_minor <= bounds.get(currency, 0)
