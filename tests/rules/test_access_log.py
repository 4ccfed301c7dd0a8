"""What an access says, byte for byte, and how its subjects and its reason are found and bounded."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from tests.strategies import ids

from api import subjects
from api.problems import Problem
from api.reasons import reason_of
from ledger_core import access_log, merkle
from ledger_core.access_log import LEDGER, SUBJECTS_MAX, StoredAccess
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.errors import ValidationFailed
from ledger_core.transfers import Transfer

AT = datetime(2026, 3, 3, 12, tzinfo=UTC)


def test_a_leaf_is_a_json_array_of_every_column_but_the_hash() -> None:
    """Golden bytes: who holds a checkpoint of the access log rebuilds its tree from these."""
    access = StoredAccess(
        7,
        AT,
        "key:1",
        "get_customer",
        ("account:a", "customer:ü"),
        'a "b"',
        "request-1",
        200,
        None,
        b"",
    )
    leaf = (
        '[7,1772539200000000,"key:1","get_customer",["account:a","customer:ü"],"a \\"b\\"",'
        '"request-1",200,null]'
    ).encode()
    assert access_log.leaf_of(access) == leaf
    assert access_log.leaf_hash_of(access) == merkle.leaf_hash(leaf)


@pytest.mark.parametrize("reason", ["", "case 7", "ü" * 200, "“quoted” \\ 'all'; --"])
def test_a_reason_is_one_line_of_text_or_nothing(reason: str) -> None:
    """Any writing, up to 200 characters."""
    access_log.require_reason(reason)
    assert reason_of([(b"ledger-reason", f" {reason} ".encode())]) == reason


@pytest.mark.parametrize(
    "header", [b"x" * 201, b"a\x00b", b"a\x1bb", b"\xff", "a\u202eb".encode(), "a\u2028b".encode()]
)
def test_a_reason_that_hides_something_is_refused(header: bytes) -> None:
    """Control and invisible characters, what is too long and what is no UTF-8."""
    with pytest.raises(Problem):
        reason_of([(b"ledger-reason", header)])


def test_a_reason_is_given_once() -> None:
    """Of two nobody could say which was meant; without one it is empty."""
    assert reason_of([(b"other", b"x")]) == ""
    with pytest.raises(Problem):
        reason_of([(b"ledger-reason", b"a"), (b"ledger-reason", b"a")])


@pytest.mark.parametrize("text", ["anna", ":anna", "account:", "ACCOUNT:a", "account:a\nb", ""])
def test_a_subject_is_a_kind_and_an_id(text: str) -> None:
    """Anything else names nothing."""
    with pytest.raises(ValidationFailed):
        access_log.require_subject(text)


@given(account_id=ids, customer_id=ids)
def test_an_answer_is_about_the_accounts_and_customers_that_it_names(
    account_id: str, customer_id: str
) -> None:
    """Wherever they stand; but not those of somebody's own members, nor mere counterparties."""
    document = {
        "position": 9,
        "items": [{"account_id": account_id, "counterparties": ["other"]}],
        "holders": [{"customer_id": customer_id}],
        "metadata": {"account_id": "free text"},
        "profile": {"customer_id": "free text"},
    }
    shown = subjects.of_answer(json.dumps(document).encode(), b"application/json")
    assert shown.subjects == {f"account:{account_id}", f"customer:{customer_id}"}
    assert shown.position == 9


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"debit_account_id": "a", "credit_account_id": "b"}, {"account:a", "account:b"}),
        ({"tags": ["account:a", "hold:h", "customer:c"]}, {"account:a", "customer:c"}),
        ({"members": ["a", "b"]}, {"account:a", "account:b"}),
        ([{"account_id": "a"}, [{"account_id": "b"}]], {"account:a", "account:b"}),
        ({"account_id": None, "account_no": 7}, set()),
        ({"position": -1}, set()),
    ],
)
def test_the_members_that_name_somebody(document: object, expected: set[str]) -> None:
    """Whatever ends in account_id or customer_id, tags of events, members of groups."""
    shown = subjects.of_answer(json.dumps(document).encode(), b"application/json; charset=utf-8")
    assert shown.subjects == expected


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"a,b\n", b"text/csv"),
        (b"{", b"application/json"),
        (b"[" * 10_000, b"application/json"),
        (b" " * (subjects.BODY_BYTES_MAX + 1), b"application/json"),
    ],
)
def test_what_cannot_be_looked_through_shows_the_ledger(body: bytes, media_type: bytes) -> None:
    """Rather too much is said to have been read than too little."""
    assert subjects.of_answer(body, media_type).subjects == {LEDGER}


def test_more_subjects_than_can_be_listed_are_the_ledger() -> None:
    """In order and each once, up to the bound."""
    many = [f"account:a{number}" for number in range(SUBJECTS_MAX)]
    assert subjects.listed(many, many) == tuple(sorted(many))
    assert subjects.listed(many, ["customer:c"]) == (LEDGER,)


@pytest.mark.parametrize(
    ("operation", "path", "query", "expected"),
    [
        ("get_account", {"account_id": "a%2Fb"}, b"", {"account:a/b"}),
        ("get_hold", {"kept_id": "h"}, b"", {"hold:h"}),
        ("get_event", {"position": "12"}, b"", {"event:12"}),
        ("get_tile", {"level": "0"}, b"", set()),
        ("get_account", {"account_id": "a%00"}, b"", set()),
        ("list_holds", {}, b"account_id=a&limit=5", {"account:a"}),
        ("list_accounts", {}, b"customer_id=c%20d", {"customer:c d"}),
        ("list_events", {}, b"tag=account%3Aa", {"account:a"}),
        ("list_events", {}, b"tag=refusal%3Ax", set()),
        ("list_events", {}, b"\xff=%ff", set()),
        ("list_events", {}, b"&".join([b"a=1"] * 200), set()),
    ],
)
def test_the_address_says_what_is_asked_about(
    operation: str, path: dict[str, object], query: bytes, expected: set[str]
) -> None:
    """Ids in the path by their kind, and the filters of listings."""
    assert subjects.of_address(operation, path, query) == expected


def test_a_dry_run_is_about_the_accounts_of_its_commands() -> None:
    """What was refused for its form names nobody."""
    command = Transfer(
        key="k", debit_account_id="a", credit_account_id="b", amount="1", currency="EUR"
    )
    assert subjects.of_commands((command, Problem)) == {"account:a", "account:b"}
    lines = (
        PostingLine(account_id="c", side="debit", amount="1", currency="EUR"),
        PostingLine(account_id="d", side="credit", amount="1", currency="EUR"),
    )
    assert subjects.of_commands((PostEntry(key="k", postings=lines),)) == {"account:c", "account:d"}
