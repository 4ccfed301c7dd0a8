"""Bring a database to the tables that this version of the program expects.

The migrations are files of their own, run by Alembic (``migrations/env.py``); this module only
finds them, at the root of a checkout or beside the installed packages. It reads no configuration
file.
"""

from pathlib import Path

import psycopg

FOLDERS = ("migrations", "ledger_core_migrations")
"""At the root of a checkout; beside the packages in an installation (see ``pyproject.toml``)."""


class MigrationsMissingError(RuntimeError):
    """The installation lacks the folder of migrations."""


def upgrade(database_url: str) -> None:
    """Run every migration that ``database_url`` has not seen yet; none is run twice.

    Safe to call from many processes at once: one upgrades, the others wait and find it done.

    Raises:
        MigrationsMissingError: the installation is damaged.
    """
    folder = _folder()
    if _stands_at(database_url) == _newest(folder):
        return
    # Only now: Alembic takes a third of a second to import, and most starts need none of it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from sqlalchemy import make_url  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    # An attribute, not an option: options are interpolated, and a password may hold a percent sign.
    config.attributes["database_url"] = make_url(database_url).set(
        drivername="postgresql+psycopg",
    )
    command.upgrade(config, "head")


def _stands_at(database_url: str) -> str | None:
    """The revision that the database stands at, or ``None`` where it has none."""
    url = database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(url) as connection:
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
