"""Databases of tests: copies of the migrated template, and who logs in to them as whom."""

import os
import time
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from api import embedded_postgres

GIVEN_URL = "LEDGER_TEST_DATABASE_URL"
"""Names the server to test on, for a role that may create databases; unset, the embedded one."""
RUN_FOLDER = "LEDGER_TEST_RUN_FOLDER"
"""Set by the process that controls the run, inherited by its workers."""


def clone(server_url: str, template: str, name: str) -> str:
    """Make a database like a template; its URL for who owns it.

    Rights on the database itself do not come along with a copy.
    """
    database, like = sql.Identifier(name), sql.Identifier(template)
    grant = sql.SQL("GRANT CREATE ON DATABASE {} TO ledger_replayer").format(database)
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(database, like))
        connection.execute(grant)
    return with_database(server_url, name)


def drop(server_url: str, name: str) -> None:
    """Drop a database, whoever is still connected to it.

    An autovacuum worker belongs to nobody whom we may end: it is soon done, so try again.
    """
    statement = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server_url, autocommit=True) as connection:
        for _ in range(20):
            try:
                connection.execute(statement)
            except psycopg.errors.InsufficientPrivilege:
                time.sleep(0.5)
            else:
                return


def with_database(server_url: str, name: str) -> str:
    """The same URL with another database."""
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


def owner_of(url: str) -> str:
    """URL of the same database for who owns it, and so could tamper with it."""
    return _logging_in(url, "owner")


def program_of(url: str) -> str:
    """URL of the same database for the program, which owns nothing in it."""
    return _logging_in(url, "program")


def superuser_of(url: str) -> str:
    """URL of the same database for the server's superuser, from whom nothing in it is hidden."""
    return _logging_in(url, "superuser")


def _logging_in(url: str, login: embedded_postgres.Login) -> str:
    """The URL for another role; on a server that was given, for the role that was given."""
    if os.environ.get(GIVEN_URL):
        return url
    cluster = embedded_postgres.ensure_running(Path(os.environ[RUN_FOLDER]) / "cluster")
    return cluster.url(str(conninfo_to_dict(url)["dbname"]), login=login)
