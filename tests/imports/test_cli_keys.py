"""``ledger keys``: narrowed, rotated, ended; what is refused, and what is recorded of it."""

import hashlib
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.imports.conftest import Run
from tests.imports.test_cli import answer
from tests.security.certificates import Authority

from api.runtime import Runtime
from ledger_core import access_log


def test_a_key_is_narrowed_by_options(run: Run, tmp_path: Path) -> None:
    """Scopes, a pace, an end and a certificate, as the list says them again."""
    issued = Authority(tmp_path / "authority").issue("client")
    options = ("--scope", "risk.*", "--scope", "accounts.read", "--rate", "2.5", "--days", "30")
    made = answer(
        run("keys", "create", "reader", *options, "--certificate", str(issued.file), "--json")
    )
    (listed,) = answer(run("keys", "list", "--json"))
    assert listed["key_id"] == made["key_id"]
    assert listed["scopes"] == ["accounts.read", "risk.*"]
    assert (listed["rate_per_s"], listed["status"]) == (2.5, "active")
    der = ssl.PEM_cert_to_DER_cert(issued.file.read_text())
    assert listed["certificate_sha256"] == hashlib.sha256(der).hexdigest()
    span = datetime.fromisoformat(listed["expires_at"]) - datetime.fromisoformat(
        listed["created_at"]
    )
    assert timedelta(days=29) < span < timedelta(days=31)
    assert "accounts.read,risk.*" in run("keys", "list")[1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nobody",), "There is no role of that name; there are: admin, analyst, "),
        (("reader", "--scope", "no.such"), "1 to 100 permissions"),
        (("reader", "--days", "0"), "--days is a number from 1"),
        (("reader", "--rate", "0"), "A rate is 0.01 to 100,000"),
        (("reader", "--name", ""), "A key's name has 1 to 100 printable characters"),
        (("reader", "--certificate", "nothing.pem"), "No such file"),
        (("reader", "--reason", "x" * 201), "--reason: "),
    ],
)
def test_a_key_that_cannot_be_is_refused_in_a_sentence(
    run: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    """And none is made, or none that anything could be opened by."""
    code, printed, problem = run("keys", "create", *arguments)
    assert (code, printed, problem.count("\n")) == (1, "", 1)
    assert sentence in problem
    assert all(key["status"] == "revoked" for key in answer(run("keys", "list", "--json")))


def test_a_key_is_rotated_with_an_overlap(run: Run) -> None:
    """The old one is ending, the new one the same; neither is rotated twice by mistake."""
    made = answer(run("keys", "create", "teller", "--name", "till", "--days", "10", "--json"))
    new = answer(run("keys", "rotate", made["key_id"], "--overlap-hours", "1.5", "--json"))
    assert new["replaces"] == made["key_id"]
    old, other = answer(run("keys", "list", "--json"))
    assert (old["status"], other["status"]) == ("ending", "active")
    assert (other["replaces"], other["name"], other["person"]) == (
        old["key_id"],
        "till",
        old["key_id"],
    )
    left = datetime.fromisoformat(old["revoked_at"]) - datetime.fromisoformat(other["created_at"])
    assert timedelta(minutes=89) < left < timedelta(minutes=91)
    code, _, problem = run("keys", "rotate", made["key_id"])
    assert (code, "rotated already" in problem) == (1, True)
    assert run("keys", "rotate", "0" * 16)[0] == 1
    assert run("keys", "rotate", new["key_id"], "--overlap-hours", "-1")[0] == 1
    assert run("keys", "revoke", old["key_id"])[0] == 0


def test_what_is_done_to_keys_is_recorded(run: Run, runtime: Runtime) -> None:
    """By whom, about which key, and why."""
    made = answer(run("keys", "create", "reader", "--reason", "ticket 5", "--json"))
    run("keys", "revoke", made["key_id"], "--reason", "ticket 6")
    with runtime.connect("ledger_reader") as connection:
        found = access_log.read_after(connection, runtime.ledger_id("main"), 0)
    assert [(item.operation, list(item.subjects), item.reason) for item in found] == [
        ("create_key", [f"key:{made['key_id']}"], "ticket 5"),
        ("revoke_key", [f"key:{made['key_id']}"], "ticket 6"),
    ]
