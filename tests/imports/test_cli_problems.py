"""The command line when something is wrong: one sentence, exit code 1, no secret, no traceback."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url
from tests.imports.conftest import Run

PASSWORD = "hunter2"


@pytest.fixture
def stranger_url(database_url: str, superuser_url: str) -> Iterator[str]:
    """URL of the database for a role that may log in and nothing else."""
    name = f"stranger_{secrets.token_hex(8)}"
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(PASSWORD)
            )
        )
        yield (
            make_url(database_url)
            .set(username=name, password=PASSWORD)
            .render_as_string(hide_password=False)
        )
        superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _is_one_sentence(problem: str) -> bool:
    """Whether a complaint is one line for people."""
    return problem.startswith("ledger: ") and problem.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "nonsense-hunter2",
        "mysql://me:hunter2@localhost/ledger",
        "postgresql://me:hunter2@localhost:port/ledger",
        "postgresql://me:hunter2@localhost:99999/ledger",
        "postgresql://me:hun@hunter2@localhost/ledger",
        "postgresql://me:12/hunter2@localhost/ledger",
        "postgresql://me:hunter2/3@localhost/ledger",
        "postgresql://me:hunter2%zz@localhost/ledger",
        "postgresql://me:hunter2@localhost/ledger?unheard=of",
        "host=localhost password=hunter2",
        "postgresql://me:hunter2@[::1/ledger",
    ],
)
def test_a_malformed_url_is_one_sentence_without_its_password(run: Run, url: str) -> None:
    """What the variable must look like is said, what it holds is not."""
    code, printed, problem = run("migrate", url=url)
    assert (code, printed) == (1, "")
    assert _is_one_sentence(problem)
    assert "LEDGER_DATABASE_URL must have the form" in problem
    assert PASSWORD not in problem


@pytest.mark.parametrize("command", ["migrate", "balances"])
def test_a_server_that_does_not_answer_is_one_sentence(run: Run, command: str) -> None:
    """Nobody listens on port 1."""
    url = f"postgresql://me:{PASSWORD}@127.0.0.1:1/ledger"
    code, _, problem = run(command, url=url)
    assert code == 1
    assert _is_one_sentence(problem)
    assert "The database does not answer" in problem
    assert PASSWORD not in problem


def test_a_wrong_password_is_one_sentence(run: Run, stranger_url: str) -> None:
    """Neither the wrong nor the right one is shown."""
    code, _, problem = run("migrate", url=stranger_url.replace(PASSWORD, "wrong-one"))
    assert code == 1
    assert _is_one_sentence(problem)
    assert "wrong-one" not in problem


def test_a_role_without_rights_is_told_which_right_it_lacks(run: Run, stranger_url: str) -> None:
    """On a database that is there already, the role may not act as the program's roles."""
    code, _, problem = run("migrate", url=stranger_url)
    assert code == 1
    assert _is_one_sentence(problem)
    assert "permission denied" in problem
    assert "CREATEROLE" in problem
    assert PASSWORD not in problem


def test_a_migration_without_rights_is_told_which_right_it_lacks(
    run: Run, stranger_url: str, superuser_url: str
) -> None:
    """On an empty database the migrations themselves are refused."""
    name = f"empty_{secrets.token_hex(8)}"
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            url = make_url(stranger_url).set(database=name).render_as_string(hide_password=False)
            code, _, problem = run("migrate", url=url)
        finally:
            superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
    assert code == 1
    assert _is_one_sentence(problem)
    assert "permission denied" in problem
    assert "CREATEROLE" in problem
    assert PASSWORD not in problem


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("serve", "--port", "99999"), "--port is a number from 1 to 65535."),
        (("serve", "--port", "0"), "--port is a number from 1 to 65535."),
        (("balances", "--at-position", "-1"), "--at-position is the position of an event"),
        (("balances", "--at-position", "0"), "--at-position is the position of an event"),
        (("customer", "nobody", "--at-position=-5"), "--at-position is the position of an event"),
        (("migrate", "--ledger", "Not a name"), "field=ledger"),
        (("migrate", "--ledger", ""), "field=ledger"),
        (("migrate", "--ledger", "../main"), "field=ledger"),
        (("migrate", "--ledger", "x" * 64), "field=ledger"),
        (("migrate", "--ledger", "\udcff"), "field=ledger"),
        (("balances", "--ledger", "\udcff"), "There is no ledger with that name."),
        (("balances", "--ledger", "\0"), "There is no ledger with that name."),
    ],
)
def test_an_option_out_of_range_is_one_sentence(
    run: Run, arguments: tuple[str, ...], sentence: str
) -> None:
    """Refused before anything is served, read or created."""
    run("migrate")
    code, _, problem = run(*arguments)
    assert code == 1
    assert _is_one_sentence(problem)
    assert sentence in problem


def test_a_key_for_a_mistyped_ledger_creates_none(run: Run, database_url: str) -> None:
    """Only the default ledger is there before its first use."""
    code, _, problem = run("keys", "create", "reader", "--ledger", "typo")
    assert code == 1
    assert "There is no ledger with that name." in problem
    assert run("keys", "create", "reader")[0] == 0
    assert run("migrate", "--ledger", "branch-2.eu_1")[0] == 0
    assert run("keys", "create", "reader", "--ledger", "branch-2.eu_1")[0] == 0
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT name FROM ledger.ledgers ORDER BY ledger_id").fetchall()
    assert rows == [("main",), ("branch-2.eu_1",)]
