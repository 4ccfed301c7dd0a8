"""Passwords, readable codes, patience with failed attempts, and handing out what one has."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import readable_codes, staff
from api.authority import RoleTerms, Showing, authority_of
from api.default_roles import DEFAULT_ROLES
from api.delegation import is_within
from api.lock_out import PATIENCE
from api.passwords import CHARACTERS_MIN, Passwords, weakness_of
from api.staff import StaffError

SECRET = b"S" * 32


def _bytes(count: int) -> bytes:
    """Bytes that everyone may know."""
    return bytes(range(count))


@pytest.mark.parametrize(
    "password",
    [
        "four wild geese at noon",
        "a kettle of green herons",
        "kZ8-2f!q0Lw_",
        "\u00fcber sieben br\u00fccken musst du gehn",
        "\u6625\u7720\u4e0d\u89c9\u6681\u5904\u5904\u95fb\u557c\u9e1f\u591c\u6765",
    ],
)
def test_long_passwords_of_any_characters_are_taken(password: str) -> None:
    """Sentences in any script, and what a password manager makes up."""
    assert weakness_of(password, "t-4711") is None


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("short", "12 to 128"),
        ("x" * 11, "12 to 128"),
        ("ab cd" * 30, "12 to 128"),
        ("aaaaaaaaaaaa", "different"),
        ("abcabcabcabc", "different"),
        ("123456789012", "row"),
        ("abcdefghijklm", "row"),
        ("987654321098", "row"),
        ("secret7secret7", "repeated"),
        ("Password1234!", "tried first"),
        ("P@ssw0rd12345", "tried first"),
        ("Qwertyuiop12", "tried first"),
        ("Passwort2026!", "tried first"),
        ("me is t-4711 xyz", "your own id"),
    ],
)
def test_what_everybody_tries_first_is_refused(password: str, rule: str) -> None:
    """And the rule that it breaks is told."""
    found = weakness_of(password, "t-4711")
    assert found is not None
    assert rule in found


def test_a_kept_password_is_right_for_itself_alone() -> None:
    """And for no other server's secret; however its accents were typed."""
    passwords = Passwords(SECRET, _bytes)
    kept = passwords.hashed("caf\u00e9 at the corner")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert passwords.is_right(kept, "cafe\u0301 at the corner")
    assert not passwords.is_right(kept, "cafe at the corner")
    assert not passwords.is_right(None, "caf\u00e9 at the corner")
    assert not passwords.is_right("$argon2id$nonsense", "x")
    assert not Passwords(b"T" * 32, _bytes).is_right(kept, "caf\u00e9 at the corner")
    assert not passwords.is_outdated(kept)


def test_first_passwords_are_long_and_typed_with_ease() -> None:
    """120 bits, without letters that are mixed up, and good enough to be a password."""
    password = Passwords(SECRET, _bytes).initial()
    assert len(password.replace("-", "")) == 24
    assert weakness_of(password, "t-4711") is None
    assert set(password) <= set(readable_codes.ALPHABET + "-")


@given(st.binary(min_size=10, max_size=10))
def test_a_code_is_read_as_it_was_written(raw: bytes) -> None:
    """In any case, with o for 0, i and l for 1, and with or without hyphens."""
    code = readable_codes.written(raw)
    assert readable_codes.read(code) == code.replace("-", "")
    mistyped = code.upper().replace("0", "O").replace("1", "l").replace("-", " ")
    assert readable_codes.read(mistyped) == readable_codes.read(code)


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_codes_differ_where_their_bytes_do(one: bytes, other: bytes) -> None:
    """80 bits are 16 characters: nothing is lost."""
    assert (readable_codes.written(one) == readable_codes.written(other)) == (one == other)
    assert len(readable_codes.read(readable_codes.written(one))) == 16


@pytest.mark.parametrize("patience", PATIENCE.values(), ids=list(PATIENCE))
def test_one_waits_ever_longer_up_to_an_hour(patience: object) -> None:
    """Not at all after the first few failures, then each time twice as long."""
    wait_s = patience.wait_s  # type: ignore[attr-defined]
    waits = [wait_s(failures) for failures in range(1, 200)]
    first = next(number for number, wait in enumerate(waits) if wait)
    assert first >= 4
    assert waits == sorted(waits)
    assert waits[-1] == 3_600 == wait_s(10**9)
    for before, after in zip(waits[first:], waits[first + 1 :], strict=False):
        assert after == min(2 * before, 3_600)


def test_a_day_of_guessing_is_some_thirty_guesses() -> None:
    """What the numbers come to, for one person: far from NIST's hundred in a row."""
    guesses, seconds = 0, 0
    while seconds < 86_400:
        guesses += 1
        seconds += max(1, PATIENCE["person"].wait_s(guesses))
    assert 20 <= guesses <= 35


def _terms(**changes: object) -> RoleTerms:
    """A role that may post up to 100 EUR and sees masked fields."""
    terms = RoleTerms(
        name="clerk",
        permissions=("movements.post", "customers.read"),
        amount_max={"EUR": 10_000},
    )
    return msgspec.structs.replace(terms, **changes)


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({}, "yes"),
        ({"permissions": ("movements.post",)}, "yes"),
        ({"permissions": ("movements.post", "customers.list")}, "no"),
        ({"permissions": ("*",)}, "no"),
        ({"amount_max": {"EUR": 9_999}}, "yes"),
        ({"amount_max": {"EUR": 10_001}}, "no"),
        ({"amount_max": {"USD": 1}}, "no"),
        ({"amount_max": None}, "no"),
        ({"personal_default": "hidden"}, "yes"),
        ({"personal_default": "clear"}, "no"),
        ({"personal": {"name": "clear"}}, "no"),
    ],
)
def test_nobody_hands_out_more_than_they_have(changes: Mapping[str, object], allowed: str) -> None:
    """Neither permissions, nor amounts, nor fields."""
    held = authority_of([_terms()], None)
    assert is_within(held, authority_of([_terms(**changes)], None)) == (allowed == "yes")


def test_an_administrator_hands_out_every_default_role_and_nobody_else_all() -> None:
    """Whoever may unmask may have others see in clear."""
    authorities = {name: authority_of([terms], None) for name, terms in DEFAULT_ROLES.items()}
    assert all(is_within(authorities["admin"], given) for given in authorities.values())
    for name in authorities.keys() - {"admin"}:
        assert not is_within(authorities[name], authorities["admin"])
        assert not is_within(authorities["security"], authorities[name]) or name == "security"


_SHOWINGS: list[Showing] = ["clear", "masked", "hidden"]
_ROLES = st.builds(
    lambda permissions, amount_max, shown: RoleTerms(
        name="drawn",
        permissions=tuple(permissions),
        amount_max=amount_max,
        personal_default=shown,
    ),
    st.sets(st.sampled_from(["movements.post", "customers.read", "accounts.*", "reports.read"])),
    st.none() | st.dictionaries(st.sampled_from(["EUR", "USD"]), st.integers(0, 100)),
    st.sampled_from(_SHOWINGS),
)


@given(st.lists(_ROLES, min_size=1, max_size=3), st.sets(st.sampled_from(["movements.post"])))
def test_a_part_of_what_one_has_is_within_it(roles: list[RoleTerms], scopes: set[str]) -> None:
    """Any of the roles alone, and any scopes of them."""
    held = authority_of(roles, None)
    assert is_within(held, held)
    assert is_within(held, authority_of(roles, tuple(scopes)))
    assert all(is_within(held, authority_of([role], None)) for role in roles)


@pytest.mark.parametrize(
    ("person_id", "roles", "permissions", "field"),
    [
        ("", ["teller"], [], "person_id"),
        ("a b", ["teller"], [], "person_id"),
        ("\u00e4", ["teller"], [], "person_id"),
        ("x" * 101, ["teller"], [], "person_id"),
        ("ann\n", ["teller"], [], "person_id"),
        ("ann", [], [], "roles"),
        ("ann", ["teller", "teller"], [], "roles"),
        ("ann", [f"r{number}" for number in range(21)], [], "roles"),
        ("ann", ["teller"], ["Ops"], "permissions"),
        ("ann", ["teller"], [f"p{number}" for number in range(21)], "permissions"),
    ],
)
def test_people_have_opaque_ids_few_roles_and_plain_permissions(
    person_id: str, roles: list[str], permissions: list[str], field: str
) -> None:
    """Any other form names the field at fault."""
    staff.require_forms("t-4711", ["teller"], ["ops"])
    with pytest.raises(StaffError) as refused:
        staff.require_forms(person_id, roles, permissions)
    assert refused.value.field == field


@given(st.text(max_size=CHARACTERS_MIN - 1))
def test_no_short_password_is_taken(password: str) -> None:
    """Whatever its characters."""
    assert weakness_of(password, "ann") is not None
