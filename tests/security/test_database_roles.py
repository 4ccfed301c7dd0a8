"""Who may do what in the database: each role tries what it may not, as itself, and is refused."""

import json
from collections.abc import Iterator
from typing import LiteralString, get_args

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url
from tests import databases
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, opened
from tests.strategies import START

from api import clock, migrations
from ledger_core import database
from ledger_core.account_holders import LinkCustomer
from ledger_core.customers import RegisterCustomer
from ledger_core.database import Role
from ledger_core.log import Connection
from projections import replaying
from projections.replaying import Wanted

ROLES: tuple[Role, ...] = get_args(Role)
OURS = ("ledger", "views", "keystore", "audit", "analytics", "alarms")
PASSWORD = "of-the-test"
LOGINS = ("ledger_program", "ledger_analyst", *ROLES)

PROFILE = {
    "name": "Qxanalysed Person",
    "phone": "+31 20 555 0101",
    "segment": "Qxsegment of Free Text",
    "residence_country": "NL",
    "language": "nl",
}


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A ledger with a customer, an account with names on it, and money."""
    with World(database_url) as world:
        world.run(
            RegisterCustomer(key="r", customer_id="Qxcustomer", profile=PROFILE),
            opened("Qxaccount", key="a", name="Qxname of account", metadata={"note": "Qxmeta"}),
            LinkCustomer(key="l", account_id="Qxaccount", customer_id="Qxcustomer", role="owner"),
            deposited("Qxaccount", 12_345, key="d", description="Qxdescription"),
        )
        world.catch_up()
        yield world


@pytest.fixture
def login(owner_url: str, superuser_url: str) -> Iterator["Logins"]:
    """Makes roles that log in, each a member of one of ours and of nothing else."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        made = Logins(superuser, owner_url)
        yield made
        made.drop()


class Logins:
    """Roles of their own, as a bank's administrator makes them."""

    def __init__(self, superuser: Connection, url: str) -> None:
        """None yet."""
        self._superuser = superuser
        self._url = url
        self._names: list[str] = []

    def url(self, *member_of: str) -> str:
        """URL of the database for a new role that is a member of these."""
        name = f"person_{clock.random_bytes(8).hex()}"
        self._names.append(name)
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
        self._superuser.execute(create.format(sql.Identifier(name), sql.Literal(PASSWORD)))
        for role in member_of:
            grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name))
            self._superuser.execute(grant)
        url = make_url(self._url).set(username=name, password=PASSWORD)
        return url.render_as_string(hide_password=False)

    def drop_database(self, name: str) -> None:
        """Drop a database, whoever of them is still at the door."""
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        self._superuser.execute(drop)

    def drop(self) -> None:
        """Take them away."""
        for name in self._names:
            self._superuser.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            self._superuser.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def _refused(connection: Connection, statements: list[LiteralString]) -> list[LiteralString]:
    """Those of the statements for which the right is lacking."""
    refused: list[LiteralString] = []
    for statement in statements:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            refused.append(statement)
    return refused


def _rows(
    connection: Connection, query: LiteralString, *values: object
) -> list[tuple[object, ...]]:
    """What a query gives."""
    return connection.execute(query, values).fetchall()


CHANGES: list[LiteralString] = [
    "UPDATE ledger.events SET data = '{}'",
    "DELETE FROM ledger.events",
    "TRUNCATE ledger.events",
    "INSERT INTO ledger.ledgers VALUES (9, 'nine', now())",
    "UPDATE ledger.heads SET position = 0",
    "UPDATE views.accounts SET debits_posted_minor = 0",
    "DELETE FROM audit.accesses",
    "UPDATE keystore.subject_keys SET wrapped_key = NULL, destroyed_at = now()",
    "UPDATE keystore.api_keys SET revoked_at = NULL",
    "UPDATE alembic_version SET version_num = '0001'",
]
MAKES: list[LiteralString] = [
    "CREATE TABLE public.mine (n integer)",
    "CREATE TABLE ledger.mine (n integer)",
    "CREATE TABLE analytics.mine (n integer)",
    "CREATE VIEW analytics.mine AS SELECT 1",
    "CREATE FUNCTION public.mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "CREATE DATABASE mine",
    "ALTER TABLE ledger.events ADD COLUMN mine text",
    "CREATE INDEX ON ledger.events (actor)",
    "DROP TABLE ledger.events",
    "DROP VIEW analytics.accounts",
    "DROP SCHEMA keystore CASCADE",
    "ALTER ROLE ledger_analyst SUPERUSER",
    "GRANT ledger_writer TO ledger_analyst",
    "COPY ledger.ledgers TO '/tmp/stolen'",
    "SELECT pg_read_file('/etc/passwd')",
    "ALTER SYSTEM SET log_statement = 'all'",
]


def test_the_program_owns_nothing(world: World) -> None:
    """No table, view, function, schema or database belongs to it or to what it acts as."""
    rows = _rows(
        world.writer,
        "SELECT o.name FROM ("
        " SELECT relname AS name, relowner AS owner FROM pg_class"
        " UNION ALL SELECT nspname, nspowner FROM pg_namespace"
        " UNION ALL SELECT proname, proowner FROM pg_proc"
        " UNION ALL SELECT datname, datdba FROM pg_database"
        " UNION ALL SELECT typname, typowner FROM pg_type"
        ") o WHERE pg_get_userbyid(o.owner) = ANY(%s)",
        list(LOGINS),
    )
    assert rows == []


def test_no_role_of_ours_is_mighty(world: World) -> None:
    """None is a superuser, makes roles or databases, replicates, or looks past row security."""
    rows = _rows(
        world.writer,
        "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)"
        " AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)",
        list(LOGINS),
    )
    assert rows == []


def test_the_program_reads_and_changes_nothing_until_it_says_as_whom(
    world: World, login: Logins
) -> None:
    """A member of ledger_program, as it logs in; and no role that it may take makes anything."""
    with psycopg.connect(login.url("ledger_program"), autocommit=True) as connection:
        assert _refused(connection, CHANGES) == CHANGES
        assert _refused(connection, MAKES) == MAKES
        assert _rows(connection, "SELECT count(*) FROM ledger.events")[0][0] == len(world.stored())
        for role in ("ledger_writer", "ledger_projector", "ledger_reader"):
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            assert _refused(connection, MAKES) == MAKES
            making: list[LiteralString] = ["CREATE SCHEMA mine"]
            assert _refused(connection, making) == making
            connection.execute("RESET ROLE")


@pytest.mark.usefixtures("world")
def test_the_writer_can_append_and_no_more(login: Logins) -> None:
    """Of the log: SELECT and INSERT; of the views: SELECT."""
    statements: list[LiteralString] = [
        item for item in CHANGES if "subject_keys" not in item and "api_keys" not in item
    ]
    allowed = {"INSERT INTO ledger.ledgers VALUES (9, 'nine', now())"}
    allowed |= {"UPDATE ledger.heads SET position = 0"}
    with database.connect(login.url("ledger_program"), "ledger_writer") as connection:
        refused = _refused(connection, [item for item in statements if item not in allowed])
        assert set(refused) == set(statements) - allowed
        rights = _rows(
            connection,
            "SELECT table_schema, string_agg(DISTINCT privilege_type, ',' ORDER BY privilege_type)"
            " FROM information_schema.table_privileges WHERE grantee = 'ledger_writer'"
            " AND table_schema = ANY(%s) GROUP BY 1 ORDER BY 1",
            ["ledger", "views"],
        )
    assert rights == [("ledger", "INSERT,SELECT"), ("views", "SELECT")]


def test_a_replay_is_made_by_a_role_that_owns_only_replays(world: World, login: Logins) -> None:
    """It may create schemas; it writes neither the log nor the views, and sees no key."""
    url = login.url("ledger_program")
    wanted = Wanted(schema="march", ledger_id=world.ledger_id, ledger="test", position=2, asked="2")
    with (
        database.connect(url, "ledger_replayer") as replayer,
        database.connect(url, "ledger_projector") as projector,
    ):
        assert _refused(replayer, CHANGES) == CHANGES
        assert _refused(replayer, MAKES) == MAKES
        keys: list[LiteralString] = [
            "SELECT * FROM keystore.subject_keys",
            "SELECT * FROM keystore.api_keys",
            "SELECT * FROM ledger.events",
        ]
        assert _refused(replayer, keys) == keys
        assert replaying.replay_into(replayer, projector, wanted, START).position == 2
        owners = _rows(
            replayer,
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
            " WHERE relnamespace = 'march'::regnamespace",
        )
        assert owners == [("ledger_replayer",)]
        replaying.drop(replayer, "march")


def test_an_analyst_sees_the_masked_views_and_nothing_else(world: World, login: Logins) -> None:
    """No table of ours can be read, and no view of theirs shows who anybody is."""
    with psycopg.connect(login.url("ledger_analyst"), autocommit=True) as connection:
        assert _refused(connection, CHANGES) == CHANGES
        assert _refused(connection, MAKES) == MAKES
        for role in (*ROLES, "ledger_program"):
            taking = sql.SQL("SET ROLE {}").format(sql.Identifier(role))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(taking)
        seen = []
        for schema, name in _relations(world):
            everything = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, name))
            try:
                seen += [str(row[0]) for row in connection.execute(everything)]
            except psycopg.errors.InsufficientPrivilege:
                assert schema != "analytics", name
            else:
                assert schema == "analytics", f"{schema}.{name}"
    text = "\n".join(seen)
    assert "12345" in text
    assert "NL" in text
    for hidden in ("Qx", "sub_", "s1.", "5550101", "555 0101"):
        assert hidden not in text


@pytest.mark.usefixtures("world")
def test_the_masked_views_add_up(login: Logins) -> None:
    """An analyst can work with them: by number, through all of them."""
    with psycopg.connect(login.url("ledger_analyst"), autocommit=True) as connection:
        rows = _rows(
            connection,
            "SELECT c.residence_country, c.language, c.segment, l.role, a.balance_minor,"
            " s.amount_minor, e.type FROM analytics.customers c"
            " JOIN analytics.customer_accounts l USING (ledger_id, customer_no)"
            " JOIN analytics.accounts a USING (ledger_id, account_no)"
            " JOIN analytics.statement_lines s USING (ledger_id, account_no)"
            " JOIN analytics.events e USING (ledger_id, position)",
        )
        assert rows == [("NL", "nl", None, "owner", 12_345, 12_345, "JournalEntryPosted")]
        sums = _rows(
            connection,
            "SELECT sum(debits_posted_minor), sum(credits_posted_minor)"
            " FROM analytics.trial_balance",
        )
        assert sums == [(12_345, 12_345)]


@pytest.mark.usefixtures("world")
def test_a_clever_condition_does_not_see_past_a_masked_view(login: Logins) -> None:
    """A cheap function in WHERE is not run on rows that the view leaves out."""
    with psycopg.connect(login.url("ledger_analyst"), autocommit=True) as connection:
        notices: list[str] = []
        connection.add_notice_handler(lambda item: notices.append(str(item.message_primary)))
        connection.execute(
            "CREATE FUNCTION pg_temp.peek(text) RETURNS boolean LANGUAGE plpgsql COST 0.0001"
            " AS $$ BEGIN RAISE NOTICE 'seen %', $1; RETURN true; END $$"
        )
        assert _rows(
            connection,
            "SELECT segment FROM analytics.customers WHERE pg_temp.peek(segment)",
        ) == [(None,)]
    assert not [item for item in notices if "Qx" in item]


def test_every_table_of_the_views_can_be_replayed_and_read(world: World) -> None:
    """A new table without its grants is found here and not at the bank."""
    rows = _rows(
        world.writer,
        "SELECT c.oid::regclass::text, r.role FROM pg_class c"
        " CROSS JOIN unnest(ARRAY['ledger_replayer', 'ledger_reader', 'ledger_writer']) r(role)"
        " WHERE c.relnamespace = 'views'::regnamespace AND c.relkind = 'r'"
        " AND NOT has_table_privilege(r.role, c.oid, 'SELECT')",
    )
    assert rows == []


def test_nothing_of_ours_is_open_to_everybody(world: World, login: Logins) -> None:
    """A role that is a member of nothing reads no table, no view and no schema of ours."""
    with psycopg.connect(login.url(), autocommit=True) as connection:
        for schema, name in _relations(world):
            reading = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(schema, name))
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(reading)
        assert _refused(connection, MAKES) == MAKES


def test_a_login_is_handed_its_role_by_who_owns_the_tables(
    world: World, login: Logins, owner_url: str
) -> None:
    """As ``ledger migrate`` does with LEDGER_MIGRATION_URL; also where the copy lost its rights."""
    url = login.url()
    with psycopg.connect(owner_url, autocommit=True) as owner:
        name = str(owner.info.dbname)
        revoke = sql.SQL("REVOKE CREATE ON DATABASE {} FROM ledger_replayer")
        owner.execute(revoke.format(sql.Identifier(name)))
    migrations.bring_up(url, owner_url)
    migrations.hand_out(owner_url, url)
    migrations.bring_up(url, None)
    with database.connect(url, "ledger_writer") as connection:
        assert _rows(connection, "SELECT count(*) FROM ledger.events")[0][0] == len(world.stored())
    with database.connect(url, "ledger_replayer") as connection:
        connection.execute("CREATE SCHEMA of_a_replay")
        connection.execute("DROP SCHEMA of_a_replay")


def test_a_program_without_rights_migrates_nothing(login: Logins, server_url: str) -> None:
    """On an empty database it is told so; the owner makes the schema and it works."""
    name = f"roles_{clock.random_bytes(8).hex()}"
    program = make_url(login.url()).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with pytest.raises(Exception, match="permission denied"):
                migrations.bring_up(program, None)
            migrations.bring_up(program, databases.with_database(server_url, name))
            with World(program) as world:
                world.run(opened("A", key="a"))
                assert world.catch_up() == 1
            with psycopg.connect(program) as own:
                owners = _rows(
                    own,
                    "SELECT DISTINCT pg_get_userbyid(relowner) = current_user FROM pg_class c"
                    " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = ANY(%s)",
                    list(OURS),
                )
            assert owners == [(False,)]
        finally:
            login.drop_database(name)


def test_two_urls_of_different_databases_are_noticed(
    login: Logins, database_url: str, server_url: str
) -> None:
    """The owner of one and the program of another: nothing is served."""
    name = f"roles_{clock.random_bytes(8).hex()}"
    program = make_url(login.url()).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            with pytest.raises(migrations.SchemaError, match="the same database"):
                migrations.bring_up(program, databases.owner_of(database_url))
        finally:
            login.drop_database(name)


def _relations(world: World) -> list[tuple[str, str]]:
    """Every table and view of ours, with its schema."""
    rows = _rows(
        world.writer,
        "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE relkind IN ('r', 'v') AND nspname = ANY(%s) ORDER BY 1, 2",
        list(OURS),
    )
    found = [(str(schema), str(name)) for schema, name in rows]
    assert len(found) > 30, json.dumps(found)
    return found
