"""``ledger staff …``: the first person is taken in by it, and everything is recorded."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from api import cli
from api.runtime import Runtime
from ledger_core import access_log


class Done(msgspec.Struct, frozen=True):
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Runs one command on a data folder of the test's own, with its database."""
    monkeypatch.setenv("LEDGER_DATABASE_URL", database_url)
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path / "data"))

    def run_one(*words: str) -> Done:
        """How it ended."""
        monkeypatch.setattr(sys, "argv", ["ledger", "staff", *words])
        code = 0
        try:
            cli.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        printed = capsys.readouterr()
        return Done(code, printed.out, printed.err)

    return run_one


def test_a_person_comes_and_goes_by_the_command_line(run: Run, runtime: Runtime) -> None:
    """Create, list, roles, unlock, log out, disable, enable, reset: each in words and in JSON."""
    made = run("create", "boss", "--role", "admin", "--json")
    assert made.code == 0, made.err
    first = json.loads(made.out)
    assert (first["person_id"], first["roles"]) == ("boss", ["admin"])
    assert len(first["password"].replace("-", "")) == 24
    listed = run("list")
    assert listed.out.split() == ["boss", "admin", "-", "first", "password"]
    steps = (
        (("roles", "boss", "--role", "teller", "--permission", "ops"), "Done."),
        (("unlock", "boss"), "Unlocked."),
        (("log-out", "boss"), "0 sessions ended."),
        (("disable", "boss"), "Disabled."),
        (("enable", "boss", "--reason", "back from leave"), "Enabled."),
    )
    for words, expected in steps:
        done = run(*words)
        assert (done.code, done.out.strip()) == (0, expected), done.err
    again = run("reset", "boss")
    assert again.code == 0
    assert again.out.strip() != first["password"]
    (shown,) = json.loads(run("list", "--json").out)
    assert (shown["roles"], shown["permissions"]) == (["teller"], ["ops"])
    assert shown["created_by"].startswith("cli:")
    with runtime.connect("ledger_reader") as connection:
        found = access_log.read_after(connection, runtime.ledger_id("main"), 0)
    assert [item.operation for item in found][:2] == ["create_staff", "list_staff"]
    assert found[0].subjects == ["person:boss", "role:admin"]
    assert all(item.actor.startswith("cli:") for item in found)
    assert "back from leave" in {item.reason for item in found}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("create", "a b", "--role", "admin"), "PERSON: 1 to 100 letters"),
        (("create", "ann", "--role", "no-such"), "There is no such role; there are: admin,"),
        (("create", "ann", "--role", "admin", "--permission", "X"), "permissions: at most"),
        (("reset", "nobody"), "There is no person of that id."),
        (("roles", "nobody", "--role", "admin"), "There is no person of that id."),
        (("list", "--ledger", "nowhere"), "no ledger"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    run: Run, runtime: Runtime, words: tuple[str, ...], sentence: str
) -> None:
    """And the exit code is 1."""
    runtime.create_ledger("main")
    done = run(*words)
    assert done.code == 1
    assert sentence in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_a_role_is_needed(run: Run) -> None:
    """A wrong call exits with 2."""
    assert run("create", "ann").code == 2


def test_there_is_one_person_of_an_id(run: Run) -> None:
    """The second is refused."""
    assert run("create", "ann", "--role", "reader").code == 0
    again = run("create", "ann", "--role", "admin")
    assert (again.code, "already" in again.err) == (1, True)
