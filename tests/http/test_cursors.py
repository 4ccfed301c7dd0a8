"""Cursors: pages that hold together, and texts that nobody else can make."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.http.bank import Bank, Json

from api import cursors
from api.cursors import Place, Scope
from api.parameters import LIMIT_MAX
from api.problems import Problem

SECRET = b"S" * 32
SCOPE = Scope(1, "list_accounts", {"prefix": "a"})


@given(
    st.integers(0, 2**62),
    st.lists(st.integers(0, 2**62) | st.text(st.characters(codec="utf-8")), max_size=3),
)
def test_a_cursor_holds_its_place(position: int, after: list[int | str]) -> None:
    """What was written is read."""
    place = Place(position, tuple(after))
    assert cursors.read(SECRET, SCOPE, cursors.write(SECRET, SCOPE, place)) == place


@given(st.data())
def test_an_altered_cursor_is_refused(data: st.DataObject) -> None:
    """No other text of the same kind is a cursor."""
    text = cursors.write(SECRET, SCOPE, Place(7, ("a",)))
    at = data.draw(st.integers(0, len(text) - 3))
    other = data.draw(st.sampled_from("ABCabc019-_*é").filter(lambda letter: letter != text[at]))
    with pytest.raises(Problem):
        cursors.read(SECRET, SCOPE, text[:at] + other + text[at + 1 :])


@pytest.mark.parametrize(
    ("secret", "scope"),
    [
        (b"T" * 32, SCOPE),
        (SECRET, Scope(2, "list_accounts", {"prefix": "a"})),
        (SECRET, Scope(1, "list_customers", {"prefix": "a"})),
        (SECRET, Scope(1, "list_accounts", {"prefix": "b"})),
        (SECRET, Scope(1, "list_accounts", {})),
    ],
)
def test_a_cursor_is_good_for_its_own_listing_only(secret: bytes, scope: Scope) -> None:
    """Another server, ledger, listing or filter: refused."""
    with pytest.raises(Problem):
        cursors.read(secret, scope, cursors.write(SECRET, SCOPE, Place(7, ("a",))))


def _pages(bank: Bank, path: str, member: str, **params: str) -> list[Json]:
    """Every item of a listing, two at a time, with something new booked between pages."""
    items: list[Json] = []
    cursor = None
    for page in range(50):
        document = bank.get(path, limit=2, cursor=cursor, **params).json()
        items.extend(document[member])
        cursor = document["next"]
        if not cursor:
            return items
        bank.open(f"z{page}-{len(items)}", 5_000_000)
        bank.post("/v1/deposits", {"account_id": "a1", "amount": "1", "currency": "EUR"})
    raise AssertionError("the listing has no end")


@pytest.mark.parametrize(
    ("path", "member"),
    [
        ("/v1/accounts", "accounts"),
        ("/v1/accounts/a1/statement", "lines"),
        ("/v1/accounts/a1/statement?order=newest_first", "lines"),
        ("/v1/risk-flags", "flags"),
        ("/v1/customers", "customers"),
        ("/v1/entries", "entries"),
        ("/v1/entries?order=desc", "entries"),
    ],
)
def test_pages_together_are_the_whole_as_it_was_at_first(
    bank: Bank, path: str, member: str
) -> None:
    """Nothing is missed, doubled or slipped in while one turns pages."""
    for number in range(5):
        bank.open(f"a{number}", 2_000_000 + number)
        bank.post("/v1/customers", {"customer_id": f"c{number}", "profile": {"name": "N"}})
        bank.post("/v1/deposits", {"account_id": "a1", "amount": "5", "currency": "EUR"})
    path, _, query = path.partition("?")
    params = dict([query.split("=")]) if query else {}
    whole = bank.get(path, limit=1_000, **params).json()
    assert len(whole[member]) >= 5
    assert whole["next"] == ""
    assert _pages(bank, path, member, **params) == whole[member]


def test_a_page_has_a_most_whatever_is_asked(bank: Bank) -> None:
    """A larger limit gives the largest page, and the listing goes on behind it."""
    opened = [
        {
            "type": "open_account",
            "account_id": f"a{number:04}",
            "currency": "EUR",
            "key": f"{number}",
        }
        for number in range(LIMIT_MAX + 1)
    ]
    assert bank.post("/v1/batch", {"commands": opened}).json()["recorded"] == LIMIT_MAX + 1
    for limit in (LIMIT_MAX, LIMIT_MAX + 1, 10**17):
        page = bank.get("/v1/accounts", limit=limit).json()
        assert len(page["accounts"]) == LIMIT_MAX
        rest = bank.get("/v1/accounts", limit=limit, cursor=page["next"]).json()
        assert [item["account_id"] for item in rest["accounts"]] == [f"a{LIMIT_MAX:04}"]
        assert rest["next"] == ""
    assert len(bank.get("/v1/events", limit=10**17).json()["events"]) == LIMIT_MAX


def test_a_cursor_with_other_filters_is_refused(bank: Bank) -> None:
    """The cursor is bound to the request that it was given for."""
    for number in range(3):
        bank.open(f"a{number}")
    cursor = bank.get("/v1/accounts", limit=1, prefix="a").json()["next"]
    assert bank.get("/v1/accounts", limit=2, prefix="a", cursor=cursor).is_success
    for path, params in (
        ("/v1/accounts", {"prefix": "b"}),
        ("/v1/accounts", {}),
        ("/v1/accounts", {"prefix": "a", "value_date": "2024-01-01"}),
        ("/v1/accounts/a1/statement", {}),
        ("/v1/customers", {}),
    ):
        answer = bank.get(path, cursor=cursor, **params)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


@pytest.mark.parametrize("cursor", ["x", "é", "AAAA", "A" * 3_000, "null"])
def test_a_made_up_cursor_is_refused(bank: Bank, cursor: str) -> None:
    """Whatever is sent as a cursor, the refusal is the same."""
    answer = bank.get("/v1/accounts", cursor=cursor)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")
