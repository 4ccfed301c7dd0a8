"""``ledger roles``: the default roles, and those that the ledger set or retired."""

import json

from tests.imports.conftest import Run

ROLE = '{"type": "set_role", "key": "r", "name": "cashier", "permissions": ["movements.*"], %s}'


def test_roles_are_shown_with_what_they_grant(run: Run) -> None:
    """By name, with their amounts; as JSON like the API shows them."""
    lines = [
        ROLE % '"amount_max": {"EUR": "500"}',
        '{"type": "retire_role", "key": "x", "name": "reader"}',
    ]
    code, _, complaint = run("load", "-", stdin="\n".join(lines))
    assert (code, complaint) == (0, "")
    code, printed, _ = run("roles", "cashier")
    assert code == 0
    assert "cashier  active  ledger  at most: 500 EUR" in printed
    assert "movements.post" in printed
    shown = {role["name"]: role for role in json.loads(run("roles", "--json")[1])}
    assert shown["reader"]["status"] == "retired"
    assert shown["reader"]["operations"] == []
    assert shown["admin"]["source"] == "default"
    assert shown["cashier"]["amount_max"] == {"EUR": "500"}


def test_a_role_that_there_is_not_is_one_sentence(run: Run) -> None:
    """Exit code 1, and no table."""
    run("migrate")
    code, printed, complaint = run("roles", "nobody")
    assert (code, printed) == (1, "")
    assert complaint.strip() == "ledger: There is no role of that name."
