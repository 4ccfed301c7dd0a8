"""The command line: exit codes, JSON, standard input, and problems in one sentence."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.imports.conftest import Run

BANK = "\n".join(
    json.dumps(command)
    for command in (
        {"type": "register_customer", "key": "c", "customer_id": "C", "profile": {"name": "Zoë"}},
        {"type": "open_account", "key": "a", "account_id": "A", "currency": "EUR"},
        {"type": "link_customer", "key": "l", "account_id": "A", "customer_id": "C"},
        {"type": "deposit", "key": "d", "account_id": "A", "amount": "1250", "currency": "EUR"},
    )
)

DAMAGED_KEY = (
    "UPDATE keystore.subject_keys"
    " SET wrapped_key = set_byte(wrapped_key, 3, get_byte(wrapped_key, 3) # 1)"
)


def answer(result: tuple[int, str, str]) -> Any:  # noqa: ANN401 - JSON
    """The JSON document of a command that succeeded."""
    code, printed, problems = result
    assert code == 0, problems
    return json.loads(printed)


def test_load_reads_standard_input_and_can_be_repeated(run: Run) -> None:
    """Every line counts once, however often it is loaded."""
    first = answer(run("load", "-", "--json", stdin=BANK))
    again = answer(run("load", "-", "--json", stdin=BANK))
    assert (first["recorded"], first["refused"]) == (4, 0)
    assert (again["recorded"], again["replayed"]) == (0, 4)


def test_load_lists_what_it_refuses_and_carries_out_the_rest(run: Run, tmp_path: Path) -> None:
    """Bad lines are named by number and code, never repeated, and the exit code is 1."""
    lines = [
        '{"type": "open_account", "key": "a", "account_id": "A", "currency": "EUR"}',
        "not json SECRET",
        "",
        '{"type": "deposit", "key": "b", "account_id": "A", "amount": "0", "currency": "EUR"}',
        '{"type": "deposit", "account_id": "A", "amount": "1", "currency": "EUR"}',
        '{"type": "unheard-of", "key": "c"}',
        '{"type": "deposit", "key": "d", "account_id": "A", "amount": "5", "currency": "EUR"}',
        '{"type": "withdraw", "key": "e", "account_id": "A", "amount": "6", "currency": "EUR"}',
        "x" * 2_000_000,
    ]
    file = tmp_path / "bad.jsonl"
    file.write_text("\n".join(lines))
    code, printed, _ = run("load", str(file), "--json")
    report = json.loads(printed)
    assert code == 1
    assert (report["lines"], report["recorded"], report["refused"]) == (8, 2, 6)
    assert [(refusal["line"], refusal["code"]) for refusal in report["refusals"]] == [
        (2, "malformed_json"),
        (4, "validation_error"),
        (5, "validation_error"),
        (6, "validation_error"),
        (8, "insufficient_funds"),
        (9, "malformed_json"),
    ]
    assert "SECRET" not in printed


def test_load_takes_no_member_twice_and_no_claim_about_statements(run: Run) -> None:
    """What HTTP refuses is refused in a file as well, with the same code."""
    lines = (
        '{"type": "open_account", "key": "a", "key": "b", "currency": "EUR"}\n'
        '{"type": "record_statement", "key": "c", "account_id": "A"}\n'
        '{"type": "open_account", "key": "d", "currency": 5}\n'
    )
    code, printed, _ = run("load", "-", "--json", stdin=lines)
    refusals = json.loads(printed)["refusals"]
    assert code == 1
    assert [refusal["code"] for refusal in refusals] == [
        "duplicate_member",
        "validation_error",
        "validation_error",
    ]
    assert "currency" in refusals[2]["reason"]


def test_every_view_answers_in_json(run: Run) -> None:
    """Each document parses and holds the figures."""
    answer(run("load", "-", "--json", stdin=BANK))
    balances = answer(run("balances", "--json"))["balances"]
    assert [(row["account_id"], row["balance"], row["net"]) for row in balances] == [
        ("A", "12.50", "-12.50"),
        ("bank:counter:EUR", "12.50", "12.50"),
    ]
    statement = answer(run("statement", "A", "--json"))
    assert (statement["closing"], statement["lines"][0]["amount_minor"]) == ("12.50", "1250")
    trial = answer(run("trial-balance", "--json"))
    assert trial["totals"][0]["debit_minor"] == trial["totals"][0]["credit_minor"] == "1250"
    customer = answer(run("customer", "C", "--json"))
    assert (customer["profile"], customer["masked"]) == ({"name": "Z***"}, ["name"])
    unmasked = answer(run("customer", "C", "--json", "--unmask", "--reason", "case 7"))
    assert (unmasked["profile"], unmasked["masked"]) == ({"name": "Zoë"}, [])
    assert customer["accounts"][0]["balance"]["posted_minor"] == "1250"
    assert answer(run("verify", "--json"))["ok"] is True
    assert all(report["swapped"] for report in answer(run("rebuild", "all", "--json")))


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (DAMAGED_KEY, "damaged"),
        ("DELETE FROM keystore.subject_keys", "gone"),
        ("UPDATE views.accounts SET credits_posted_minor = 1 WHERE account_id = 'A'", None),
    ],
)
def test_verify_names_what_was_tampered_with(
    run: Run, superuser_url: str, damage: str, found: str | None
) -> None:
    """A customer's key or an account's balance: the finding is in the document, the exit code 1."""
    answer(run("load", "-", "--json", stdin=BANK))
    assert answer(run("verify", "--json"))["ok"]
    with psycopg.connect(superuser_url) as connection:
        connection.execute(damage)
    code, printed, _ = run("verify", "--json")
    findings = json.loads(printed)["findings"]
    assert code == 1
    if found is not None:
        assert [(item["customer_id"], item["found"]) for item in findings] == [("C", found)]
    else:
        assert findings[0]["account_id"] == "A"


def test_the_past_can_be_asked_for(run: Run) -> None:
    """Before the deposit the account is empty; before its opening it is unknown."""
    answer(run("load", "-", "--json", stdin=BANK))
    before = answer(run("balances", "--json", "--at-position", "3"))["balances"]
    assert [(row["account_id"], row["balance"]) for row in before] == [("A", "0.00")]
    early = answer(run("statement", "A", "--json", "--value-date", "1999-12-31"))
    assert (early["lines"], early["closing_minor"]) == ([], "0")
    code, _, problem = run("statement", "A", "--as-of", "2001-01-01T00:00:00Z")
    assert code == 1
    assert "There is no such account in this ledger." in problem


def test_keys_are_made_shown_once_and_revoked(run: Run) -> None:
    """The list holds neither the secret nor its hash."""
    key = answer(run("keys", "create", "teller", "--name", "till", "--json"))["key"]
    listed = answer(run("keys", "list", "--json"))
    assert [(row["role"], row["name"]) for row in listed] == [("teller", "till")]
    assert "secret" not in json.dumps(listed)
    assert key.rsplit("_", 1)[1] not in json.dumps(listed)
    assert answer(run("keys", "revoke", listed[0]["key_id"], "--json"))["revoked"]
    assert run("keys", "revoke", listed[0]["key_id"])[0] == 1


def test_a_key_says_who_acts_by_it_and_what_that_person_may_approve(run: Run) -> None:
    """Without a person the key is one of its own; what has no form is refused in a sentence."""
    many = ("--permission", "risk", "--permission", "ops")
    assert run("keys", "create", "teller", "--person", "ann", *many)[0] == 0
    assert run("keys", "create", "reader")[0] == 0
    ann, other = answer(run("keys", "list", "--json"))
    assert (ann["person"], ann["permissions"]) == ("ann", ["ops", "risk"])
    assert (other["person"], other["permissions"]) == (other["key_id"], [])
    assert "ann  ops,risk" in run("keys", "list")[1]
    code, _, problem = run("keys", "create", "teller", "--permission", "Ops")
    assert (code, problem.count("\n")) == (1, 1)
    assert "a-z" in problem


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("balances", "--ledger", "nowhere"), "There is no ledger with that name."),
        (("statement", "nobody"), "There is no such account"),
        (("customer", "nobody"), "There is no such customer"),
        (("rebuild", "nothing"), "There is no projection of that name"),
        (("balances", "--as-of", "yesterday"), "--as-of is an ISO 8601 instant"),
        (("balances", "--as-of", "2026-01-01T00:00:00"), "--as-of needs an offset"),
        (("balances", "--as-of", "2026-01-01T00:00Z", "--at-position", "1"), "not both"),
        (("balances", "--at-position", "99"), "have not reached that position"),
        (("load", "missing.jsonl"), "No such file"),
        (("import", "camt053", "missing.xml"), "missing.xml: cannot be read"),
        (("import", "journal", "missing.journal"), "missing.journal: cannot be read"),
    ],
)
def test_a_problem_is_one_sentence_and_exit_code_1(
    run: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    """Standard error says why, without a traceback."""
    run("migrate")
    code, _, problem = run(*arguments)
    assert code == 1
    assert sentence in problem
    assert "Traceback" not in problem
