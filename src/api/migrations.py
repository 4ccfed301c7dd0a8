"""Bring a database to the tables that this version of the program expects.

The migrations are files of their own, run by Alembic (``migrations/env.py``); this module only
finds them, at the root of a checkout or beside the installed packages. It reads no configuration
file. They are run by the role that owns the tables, which the program does not act as otherwise.
"""

from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

FOLDERS = ("migrations", "ledger_core_migrations")
"""At the root of a checkout; beside the packages in an installation (see ``pyproject.toml``)."""


_IS_MEMBER = "SELECT pg_has_role(%s, 'ledger_program', 'MEMBER')"
_MAY_REPLAY = (
    "SELECT has_database_privilege('ledger_replayer', oid, 'CREATE'),"
    " pg_has_role(datdba, 'USAGE'), datname FROM pg_database WHERE datname = current_database()"
)


class MigrationsMissingError(RuntimeError):
    """The installation lacks the folder of migrations."""


class SchemaError(RuntimeError):
    """The program cannot work on the schema that it finds; the message says what to do."""


def bring_up(database_url: str, owner_url: str | None) -> None:
    """Bring the program's database up to date, by its owner if one is named.

    Without an owner the program's own role is tried, and only if there is something to do. A newer
    database is left as it is, if its schema says that this version may work on it.

    Raises:
        MigrationsMissingError: the installation is damaged.
        SchemaError: the two URLs name different databases, or the schema is too new.
        psycopg.Error, sqlalchemy.exc.SQLAlchemyError: a role lacks a right, or does not get in.
    """
    if _is_usable(database_url):
        return
    upgrade(owner_url or database_url)
    if owner_url is None:
        return
    hand_out(owner_url, database_url)
    if not _is_usable(database_url):
        msg = (
            "The owner and the program do not see the same schema: LEDGER_MIGRATION_URL and"
            " LEDGER_DATABASE_URL must name the same database."
        )
        raise SchemaError(msg)


def hand_out(owner_url: str, database_url: str) -> None:
    """Give what no migration can: rights that are of the server, or are lost in a restored copy.

    A dump has no rights on the database itself, and does not say who the program logs in as.
    """
    login = str(conninfo_to_dict(_plain(database_url)).get("user") or "")
    with psycopg.connect(_plain(owner_url)) as connection:
        if login:
            row = connection.execute(_IS_MEMBER, (login,)).fetchone()
            if row is not None and not row[0]:
                connection.execute(
                    sql.SQL("GRANT ledger_program TO {}").format(sql.Identifier(login))
                )
        row = connection.execute(_MAY_REPLAY).fetchone()
        if row is not None and not row[0] and row[1]:
            connection.execute(
                sql.SQL("GRANT CREATE ON DATABASE {} TO ledger_replayer").format(
                    sql.Identifier(row[2])
                )
            )


def upgrade(database_url: str, revision: str = "head") -> None:
    """Run every migration up to ``revision`` that ``database_url`` has not seen; none is run twice.

    Safe to call from many processes at once: one upgrades, the others wait and find it done. What
    a newer version made of the schema is never taken back.

    Raises:
        MigrationsMissingError: the installation is damaged.
        SchemaError: a newer version made the schema what this one cannot work on.
    """
    folder = _folder()
    stands_at, newest = _stands_at(database_url), _newest(folder)
    if stands_at == newest:
        return
    if stands_at is not None and stands_at > newest:
        require_bearable(database_url, stands_at, newest)
        return
    # Only now: Alembic takes a third of a second to import, and most starts need none of it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from sqlalchemy import URL  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    # An attribute, not an option: options are interpolated, and a password may hold a percent sign.
    # Every part by its name in libpq: SQLAlchemy's own form of a URL has one host at most.
    parts = conninfo_to_dict(_plain(database_url))
    config.attributes["database_url"] = URL.create(
        "postgresql+psycopg", query={name: str(value) for name, value in parts.items()}
    )
    command.upgrade(config, revision)


def require_bearable(database_url: str, stands_at: str, newest: str) -> None:
    """A schema that is newer than this version says that this version may work on it.

    Raises:
        SchemaError: it does not.
    """
    works_from = None
    with psycopg.connect(_plain(database_url)) as connection:
        found = connection.execute("SELECT to_regclass('ledger.compatibility')").fetchone()
        if found is not None and found[0] is not None:
            row = connection.execute("SELECT works_from FROM ledger.compatibility").fetchone()
            works_from = None if row is None else str(row[0])
    if works_from is None or works_from > newest:
        msg = (
            f"The database's schema ({stands_at}) is of a newer version of ledger-core, which this"
            f" one ({newest}) cannot work on: start the newer version, or restore a backup of"
            " before the upgrade."
        )
        raise SchemaError(msg)


def _is_usable(database_url: str) -> bool:
    """Whether the role may see that the schema is of this version, or of one that goes with it.

    Raises:
        SchemaError: it is newer, and does not.
    """
    newest = _newest(_folder())
    try:
        stands_at = _stands_at(database_url)
    except psycopg.errors.InsufficientPrivilege:
        return False  # Nobody has told it anything yet: what to do comes to the same.
    if stands_at is None or stands_at < newest:
        return False
    if stands_at > newest:
        require_bearable(database_url, stands_at, newest)
    return True


def _plain(url: str) -> str:
    """The URL without SQLAlchemy's driver suffix."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)


def _stands_at(database_url: str) -> str | None:
    """The revision that the database stands at, or ``None`` where it has none."""
    with psycopg.connect(_plain(database_url)) as connection:
        found = connection.execute("SELECT to_regclass('alembic_version')").fetchone()
        if found is None or found[0] is None:
            return None
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def _newest(folder: Path) -> str:
    """The last revision: files are named by revision, in order."""
    return max(path.name.split("_", 1)[0] for path in (folder / "versions").glob("[0-9]*_*.py"))


def _folder() -> Path:
    """Find the folder that holds the migrations."""
    packages = Path(__file__).resolve().parents[1]
    for folder in (packages.parent / FOLDERS[0], packages / FOLDERS[1]):
        if (folder / "env.py").is_file():
            return folder
    msg = f"No migrations beside {packages}: install ledger-core anew."
    raise MigrationsMissingError(msg)
