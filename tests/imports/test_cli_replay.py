"""The command line back in time: replays, differences, explanations."""

import json
from typing import Any

import psycopg
import pytest
from tests.imports.conftest import Run

BANK = "\n".join(
    json.dumps(command)
    for command in (
        {"type": "register_customer", "key": "c", "customer_id": "C", "profile": {"name": "Zoë"}},
        {"type": "open_account", "key": "a", "account_id": "A", "currency": "EUR"},
        {"type": "open_account", "key": "b", "account_id": "B", "currency": "EUR"},
        {
            "type": "deposit",
            "key": "d",
            "account_id": "A",
            "amount": "1250000",
            "currency": "EUR",
            "value_date": "2024-02-20",
        },
        {
            "type": "place_hold",
            "key": "h",
            "debit_account_id": "A",
            "credit_account_id": "B",
            "amount": "300",
            "currency": "EUR",
            "hold_id": "H",
        },
        {"type": "freeze_account", "key": "f", "account_id": "B", "cause": "court"},
        {"type": "withdraw", "key": "w", "account_id": "B", "amount": "1", "currency": "EUR"},
    )
)


@pytest.fixture
def loaded(run: Run) -> Run:
    """A bank in which seven commands were sent, the last of them refused."""
    assert json.loads(run("load", "-", "--json", stdin=BANK)[1])["refused"] == 1
    return run


def answer(result: tuple[int, str, str]) -> Any:  # noqa: ANN401 - JSON
    """The JSON document of a command that succeeded."""
    code, printed, problems = result
    assert code == 0, problems
    return json.loads(printed)


def test_a_replay_is_made_listed_queried_and_dropped(loaded: Run, database_url: str) -> None:
    """At a position, a time, the head; any SQL tool reads it."""
    made = answer(loaded("replay", "--at", "5", "--into", "march", "--json"))
    assert (made["schema"], made["position"], made["asked"]) == ("march", 5, "5")
    assert made["ledger"] == "main"
    at = answer(loaded("replay", "--at", "2999-01-01T00:00:00+00:00", "--into", "later", "--json"))
    head = answer(loaded("replay", "--into", "head", "--json"))
    assert (at["root"], head["asked"]) == (head["root"], "head")
    early = answer(loaded("replay", "--at", "1999-01-01T00:00Z", "--into", "early", "--json"))
    assert (early["position"], early["recorded_at"]) == (0, None)
    listed = answer(loaded("replay", "list", "--json"))
    assert [item["schema"] for item in listed] == ["early", "head", "later", "march"]
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT account_id, credits_posted_minor, debits_held_minor FROM march.accounts"
            " WHERE account_id = ANY(ARRAY['A', 'B']) ORDER BY 1"
        ).fetchall()
        assert [(name, int(posted), int(held)) for name, posted, held in rows] == [
            ("A", 1_250_000, 0),
            ("B", 0, 0),
        ]
    again = loaded("replay", "--at", "6", "--into", "march")
    assert (again[0], "there already" in again[2]) == (1, True)
    replaced = answer(loaded("replay", "--at", "6", "--into", "march", "--replace", "--json"))
    assert replaced["position"] == 6
    assert answer(loaded("replay", "drop", "march", "--json"))["dropped"]
    assert answer(loaded("verify", "--json"))["ok"]


def test_what_changed_is_told(loaded: Run) -> None:
    """Between positions and times, of some kinds, by value date; as a table and as JSON."""
    found = answer(loaded("diff", "--from", "4", "--json"))
    assert (found["from_position"], found["to_position"]) == (4, 8)
    told = {(item["kind"], item["id"]): item["change"] for item in found["changes"]}
    assert told["account", "A"] == "changed"
    assert told["hold", "H"] == "appeared"
    (flag,) = [item for item in found["changes"] if item["kind"] == "flag"]
    assert flag["change"] == "appeared"
    (posted,) = [
        field
        for item in found["changes"]
        if item["id"] == "A"
        for field in item["fields"]
        if field["field"] == "posted_minor"
    ]
    assert posted == {"field": "posted_minor", "from": "0", "to": "1250000"}
    back = answer(loaded("diff", "--from", "8", "--to", "4", "--kind", "hold", "--json"))
    assert [(item["id"], item["change"]) for item in back["changes"]] == [("H", "vanished")]
    day = ("--value-date", "2024-01-31", "--kind", "account")
    valued = answer(loaded("diff", "--from", "4", "--to", "6", *day, "--json"))
    names = {field["field"] for item in valued["changes"] for field in item["fields"]}
    assert "posted_minor" not in names
    code, printed, _ = loaded("diff", "--from", "1999-01-01T00:00Z", "--kind", "customer")
    assert (code, "profile.name" in printed, "Zoë" in printed) == (0, True, False)


def test_a_balance_a_flag_and_a_refusal_are_explained(loaded: Run) -> None:
    """By their events, which add up."""
    balance = answer(loaded("explain", "balance", "A", "--json"))
    assert (balance["posted_minor"], balance["held_minor"], balance["adds_up"]) == (
        "1250000",
        "300",
        True,
    )
    assert [line["position"] for line in balance["postings"]] == [5]
    early = answer(loaded("explain", "balance", "A", "--value-date", "2024-01-31", "--json"))
    assert (early["posted_minor"], early["postings"]) == ("0", [])
    flag = answer(loaded("explain", "flag", "flag_large_movement_2_5", "--json"))
    assert (flag["rule_position"], flag["movements"][0]["in_minor"]) == (0, "1250000")
    by_key = answer(loaded("explain", "refusal", "w", "--json"))
    assert [fact["type"] for fact in by_key["facts"]] == ["BlockPlaced"]
    by_position = answer(loaded("explain", "refusal", "8", "--json"))
    assert by_position == by_key
    for what in (("balance", "A"), ("flag", "flag_large_movement_2_5"), ("refusal", "w")):
        code, printed, problem = loaded("explain", *what)
        assert (code, problem) == (0, "")
        assert printed.strip()


def test_a_view_that_is_damaged_is_not_explained_away(loaded: Run, superuser_url: str) -> None:
    """The events do not come to the figure: exit code 1."""
    assert loaded("explain", "balance", "A")[0] == 0
    with psycopg.connect(superuser_url) as connection:
        connection.execute("UPDATE views.accounts SET credits_posted_minor = 1")
    code, printed, problem = loaded("explain", "balance", "A", "--json")
    assert (code, json.loads(printed)["adds_up"]) == (1, False)
    assert "do NOT add up" in problem


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("replay", "--into", "views"), "not one that a replay may touch"),
        (("replay", "--into", "Big"), "lower-case letters"),
        (("replay", "--at", "99", "--into", "x"), "ends at position 8"),
        (("replay", "--at", "yesterday", "--into", "x"), "--at is a position, or an instant"),
        (("replay", "--at", "2026-01-01", "--into", "x"), "--at is a position, or an instant"),
        (("replay", "--into", "x", "--ledger", "nowhere"), "no ledger with that name"),
        (("replay", "drop", "x"), "There is no schema x"),
        (("diff", "--from", "0", "--to", "2026"), "not reached that position"),
        (("diff", "--from", "now"), "--from is a position"),
        (("diff", "--from", "0", "--kind", "money"), "--kind is one of account"),
        (("diff", "--from", "0", "--value-date", "today"), "--value-date is a day"),
        (("explain", "balance", "nobody"), "There is no such account"),
        (("explain", "balance", "A", "--currency", "JPY"), "kept in another currency"),
        (("explain", "balance", "A", "--limit", "0"), "--limit is a number from 1 to 1000"),
        (("explain", "flag", "none"), "no such risk flag"),
        (("explain", "refusal", "1"), "No refusal is recorded there"),
        (("explain", "refusal", "nokey"), "No refusal is recorded there"),
    ],
)
def test_a_problem_is_one_sentence(loaded: Run, arguments: tuple[str, ...], sentence: str) -> None:
    """Exit code 1 and standard error, without a traceback."""
    code, _, problem = loaded(*arguments)
    assert code == 1
    assert sentence in problem
    assert problem.count("\n") == 1
