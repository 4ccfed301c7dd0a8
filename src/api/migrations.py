"""Bring a database to the tables that this version of the program expects.

The migrations are files of their own, run by Alembic (``migrations/env.py``); this module only
finds them, at the root of a checkout or beside the installed packages. It reads no configuration
file.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

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
    config = Config()
    config.set_main_option("script_location", str(_folder()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    # An attribute, not an option: options are interpolated, and a password may hold a percent sign.
    config.attributes["database_url"] = make_url(database_url).set(
        drivername="postgresql+psycopg",
    )
    command.upgrade(config, "head")


def _folder() -> Path:
    """Find the folder that holds the migrations."""
    packages = Path(__file__).resolve().parents[1]
    for folder in (packages.parent / FOLDERS[0], packages / FOLDERS[1]):
        if (folder / "env.py").is_file():
            return folder
    msg = f"No migrations beside {packages}: install ledger-core anew."
    raise MigrationsMissingError(msg)
