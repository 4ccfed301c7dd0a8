"""API keys and roles: nothing without a key, nothing beyond its role, nothing of another ledger."""

import asyncio
import time
from datetime import timedelta

import pytest
from starlette.routing import Route
from tests.http.bank import Bank

from api import api_keys, clock
from api.authority import Authority
from api.callers import Credential
from api.edge import PUBLIC_PATHS
from api.key_ring import KeyRing
from api.key_scheme import KeyScheme
from api.permissions import PERMISSION_OF
from api.problems import Problem
from api.reads import Reads
from api.remembering import REMEMBERED_S
from api.role_book import RoleBook
from api.roles import default_roles_of
from api.routes import ACTIONS
from ledger_core import commands
from ledger_core.access_role import DEFAULT_NAMES

SECRET = b"S" * 32
PUBLIC_ACTIONS = frozenset(action.path for action in ACTIONS if action.public)


def _operations(bank: Bank) -> list[tuple[str, str, str, list[str]]]:
    """Method, path, operation and roles of every route of the OpenAPI document."""
    document = bank.client.get("/openapi.json").json()
    return [
        (method.upper(), path, operation["operationId"], operation.get("x-roles", []))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_no_route_answers_without_a_key_but_health_and_the_documents(bank: Bank) -> None:
    """Every route of the application, and every address that is none."""
    app = bank.client.app
    routes = [route for route in app.routes if isinstance(route, Route)]  # type: ignore[attr-defined]
    assert len(routes) > 30
    for route in routes:
        for method in route.methods or ():
            path = route.path.replace("{", "").replace("}", "")
            answer = bank.client.request(method, path)
            if path in PUBLIC_ACTIONS:  # Whoever logs in has no credential yet.
                assert answer.status_code in {400, 401, 415, 422}, path
                continue
            assert (answer.status_code == 401) == (path not in PUBLIC_PATHS), path
    assert bank.client.get("/v1/nothing").status_code == 401
    refused = bank.client.get("/v1/info")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.json()["code"] == "unauthenticated"


def test_every_operation_and_command_has_its_roles(bank: Bank) -> None:
    """The table of roles is complete, and has nothing that is not there."""
    operations = {
        name for _, path, name, _ in _operations(bank) if path not in PUBLIC_PATHS | PUBLIC_ACTIONS
    }
    tags = {str(kind.__struct_config__.tag) for kind in commands.wire_types()}
    assert operations | tags == set(PERMISSION_OF)


def test_a_role_may_do_what_the_table_says_and_nothing_else(bank: Bank) -> None:
    """Every operation with a key of every role: 403 exactly where the table has not that role."""
    for method, path, operation, documented in _operations(bank):
        if path in PUBLIC_PATHS | PUBLIC_ACTIONS:
            continue
        assert list(default_roles_of(operation)) == documented
        for role in DEFAULT_NAMES:
            headers = bank.headers(role) | {"Content-Type": "application/json"}
            answer = bank.client.request(
                method, path.replace("{", "").replace("}", ""), headers=headers
            )
            is_refused = answer.status_code == 403
            assert is_refused == (role not in default_roles_of(operation)), (
                operation,
                role,
                answer.text,
            )
            if is_refused:
                assert answer.json()["code"] == "forbidden"


def test_readers_and_auditors_command_nothing() -> None:
    """Only tellers and admins move money; only auditors and admins read the log."""
    tags = {str(kind.__struct_config__.tag) for kind in commands.wire_types()}
    for tag in tags - {"set_role", "retire_role"}:
        assert set(default_roles_of(tag)) <= {"teller", "admin"}
    assert default_roles_of("set_role") == default_roles_of("retire_role") == ["admin", "security"]
    assert default_roles_of("erase_customer") == default_roles_of("register_unit") == ["admin"]
    assert default_roles_of("list_events") == ["admin", "auditor"]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer x",
        "Bearer lk_1_2_3",
        "Bearer lk_1_aaaa_bbbb_cccc",
        "Basic {key}",
        "{key}",
        "Bearer {key}x",
        "Bearer {key} {key}",
        "Bearer lk_99999999999999999999_a_b",
        "Bearer lk_\u00b2_a_b",
    ],
)
def test_what_is_not_a_key_opens_nothing(bank: Bank, header: str) -> None:
    """Anything but Bearer and a key as it was given out."""
    value = header.format(key=bank.keys["admin"]).encode("latin-1")
    answer = bank.client.get("/v1/info", headers={b"Authorization": value})
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


def test_the_secret_of_one_key_does_not_open_another(bank: Bank) -> None:
    """Key id and secret belong together."""
    one, other = bank.keys["reader"].split("_"), bank.keys["admin"].split("_")
    mixed = "_".join([*other[:3], one[3]])
    answer = bank.client.get("/v1/info", headers={"Authorization": f"Bearer {mixed}"})
    assert answer.status_code == 401


def test_a_revoked_key_stops_working_within_two_seconds(bank: Bank) -> None:
    """Keys are remembered for a moment only."""
    headers = bank.headers("reader")
    assert bank.client.get("/v1/info", headers=headers).status_code == 200
    key_id = bank.keys["reader"].split("_")[2]
    with bank.runtime.connect("ledger_writer") as connection:
        assert api_keys.revoke(connection, bank.ledger_id, key_id, clock.now())
        assert not api_keys.revoke(connection, bank.ledger_id, key_id, clock.now())
    assert 2 * REMEMBERED_S <= 2
    time.sleep(2 * REMEMBERED_S + 0.05)
    assert bank.client.get("/v1/info", headers=headers).status_code == 401


def test_no_request_waits_for_a_key_that_is_in_use(bank: Bank) -> None:
    """It is looked up again before it is forgotten, and a revoked one is forgotten as soon."""
    header = bank.headers("reader")["Authorization"].encode()

    async def use() -> int:
        """Use the key for two seconds, then revoke it; how often it was known without waiting."""
        reads = Reads(bank.runtime.engine, lambda: bank.runtime.connect("ledger_reader"))
        ring = KeyRing((KeyScheme(reads, SECRET),), RoleBook(reads))
        assert ring.remembered(header) is None
        await ring.caller([(b"authorization", header)])
        known = 0
        for _ in range(40):
            await asyncio.sleep(0.05)
            known += ring.remembered(header) is not None
        with bank.runtime.connect("ledger_writer") as connection:
            key_id = bank.keys["reader"].split("_")[2]
            assert api_keys.revoke(connection, bank.ledger_id, key_id, clock.now())
        for _ in range(int(2 * REMEMBERED_S / 0.05) + 1):
            await asyncio.sleep(0.05)
            ring.remembered(header)
        assert ring.remembered(header) is None
        with pytest.raises(Problem):
            await ring.caller([(b"authorization", header)])
        reads.close()
        return known

    # A slow moment of the machine may cost some.
    assert asyncio.run(use()) > 30


def test_a_key_that_many_present_at_once_is_looked_up_once(bank: Bank) -> None:
    """In an overload its lapse must not cost each request what it costs one; a wrong key, too."""
    header = bank.headers("reader")["Authorization"].encode()
    asked: list[int] = []

    class Counting(RoleBook):
        """Counts what comes after the look-up of a key."""

        async def authority(self, credential: Credential) -> Authority:
            """Count, then look up."""
            asked.append(credential.ledger_id)
            return await super().authority(credential)

    async def use() -> None:
        """Present it fifty times at one moment, and one that is wrong."""
        reads = Reads(bank.runtime.engine, lambda: bank.runtime.connect("ledger_reader"))
        ring = KeyRing((KeyScheme(reads, SECRET),), Counting(reads))
        present = [(b"authorization", header)]
        found = await asyncio.gather(*(ring.caller(present) for _ in range(50)))
        assert {caller.key_id for caller in found} == {found[0].key_id}
        wrong = [(b"authorization", header + b"x")]
        refused = await asyncio.gather(
            *(ring.caller(wrong) for _ in range(50)), return_exceptions=True
        )
        assert {type(error) for error in refused} == {Problem}
        reads.close()

    asyncio.run(use())
    assert asked == [bank.ledger_id]


def test_an_expired_key_opens_nothing(bank: Bank) -> None:
    """A key is good until the moment at which it expires."""
    past = clock.now() - timedelta(seconds=1)
    key = bank.runtime.create_key(bank.ledger_id, "admin", "gone", past)
    headers = {"Authorization": f"Bearer {key}"}
    assert bank.client.get("/v1/info", headers=headers).status_code == 401


def test_a_key_opens_its_own_ledger_only(bank: Bank) -> None:
    """Two ledgers in one database know nothing of each other."""
    bank.open("a", 5)
    other = bank.runtime.create_ledger(f"{bank.ledger}-other")
    key = bank.runtime.create_key(other, "admin", "theirs")
    bank.catch_up()
    headers = {"Authorization": f"Bearer {key}"}
    assert bank.client.get("/v1/info", headers=headers).json()["ledger"] == f"{bank.ledger}-other"
    assert bank.client.get("/v1/accounts", headers=headers).json()["accounts"] == []
    assert bank.client.get("/v1/accounts/a", headers=headers).status_code == 404
    assert bank.client.get("/v1/events", headers=headers).json()["events"] == []
    body = {"account_id": "a", "amount": "5", "currency": "EUR", "key": "k"}
    assert bank.client.post("/v1/deposits", json=body, headers=headers).status_code == 404


def test_the_database_holds_no_key(bank: Bank) -> None:
    """What is stored is a keyed hash; the secret is nowhere."""
    secret = bank.keys["admin"].split("_")[3]
    with bank.runtime.connect("ledger_writer") as connection:
        keys = api_keys.list_keys(connection, bank.ledger_id)
        assert {key.role for key in keys} == set(DEFAULT_NAMES)
        assert all(secret not in repr(key) and len(key.secret_hash) == 32 for key in keys)
        row = connection.execute(
            "SELECT * FROM keystore.api_keys WHERE role = 'admin' AND ledger_id = %s",
            (bank.ledger_id,),
        ).fetchone()
        assert secret not in str(row)
        assert bytes.fromhex(secret) not in list(row or ())
        at = clock.now()
        assert api_keys.authenticate(connection, bank.keys["admin"], SECRET, at) is not None
        assert api_keys.authenticate(connection, bank.keys["admin"], b"T" * 32, at) is None


@pytest.mark.parametrize("name", ["", "x" * 101, "a\nb"])
def test_a_keys_name_is_one_printable_line(bank: Bank, name: str) -> None:
    """A name that cannot be shown is refused."""
    with pytest.raises(ValueError, match="printable"):
        bank.runtime.create_key(bank.ledger_id, "reader", name)
