"""Connections to PostgreSQL: one way to open them, each in the role of what it is for.

The roles are the append-only guarantee: none that the program runs as may update or delete an
event (see ``migrations``). ``json`` columns arrive as the exact stored bytes.
"""

from typing import Any, Literal

import psycopg
import sqlalchemy
from psycopg.abc import Buffer
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo

Role = Literal["ledger_writer", "ledger_projector", "ledger_reader", "ledger_replayer"]
"""What the program acts as: its login is a member of these and owns nothing itself.

Only ``ledger_replayer`` may create anything: the schemas of replays, which it owns.
"""

CONNECT_TIMEOUT_S = 10
# Reads run in a bounded pool: 100 connections is what PostgreSQL allows by default.
POOL_SIZE = 10
POOL_OVERFLOW = 10

# A plan made for a table of ten rows is a disaster at ten million, and a growing log passes through
# every size: plans are made anew for each statement. The writer looks up nothing but single rows.
_CUSTOM_PLANS = {"plan_cache_mode": "force_custom_plan"}
_PLANNING: dict[Role, dict[str, str]] = {
    "ledger_writer": {**_CUSTOM_PLANS, "enable_seqscan": "off"},
    # What a batch changes is looked up by its keys, in indexes whose pages are mostly in memory: as
    # on a disk, reading the whole of a table would look cheaper for some hundred rows of it.
    "ledger_projector": {**_CUSTOM_PLANS, "random_page_cost": "1.1"},
    # A page of a statement must not take two more processes of a small server; and where plans may
    # be parallel, reading all lines looks cheaper than an index does.
    "ledger_reader": {**_CUSTOM_PLANS, "max_parallel_workers_per_gather": "0"},
    "ledger_replayer": {},
}


class _BytesLoader(Loader):
    """Hand a column over as the bytes that the server sent."""

    def load(self, data: Buffer) -> bytes:
        """The bytes, copied out of the driver's buffer."""
        return bytes(data)


def connect(
    url: str, role: Role, *, timeout_s: float | None = None
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection in autocommit mode, in UTC, acting as ``role`` and nothing more.

    The server gives up a statement that takes longer than ``timeout_s``.

    Raises:
        psycopg.OperationalError: the server does not answer or refuses the login.
    """
    given = conninfo_to_dict(_plain(url))
    settings = {"role": role, "timezone": "UTC", **_PLANNING[role]}
    if timeout_s is not None:
        settings["statement_timeout"] = f"{timeout_s * 1_000:.0f}"
    options = " ".join(
        [
            str(given.pop("options", None) or ""),
            *(f"-c {name}={settings[name]}" for name in settings),
        ]
    ).strip()
    conninfo = make_conninfo(
        **{name: str(value) for name, value in given.items() if value is not None},
        options=options,
        connect_timeout=CONNECT_TIMEOUT_S,
        application_name=role,
    )
    connection = psycopg.connect(conninfo, autocommit=True)
    connection.adapters.register_loader("json", _BytesLoader)
    return connection


def engine(url: str, role: Role, *, timeout_s: float | None = None) -> sqlalchemy.Engine:
    """A pooled SQLAlchemy engine over the same connections, for queries."""
    return sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=lambda: connect(url, role, timeout_s=timeout_s),
        isolation_level="REPEATABLE READ",
        pool_size=POOL_SIZE,
        max_overflow=POOL_OVERFLOW,
        pool_pre_ping=True,
    )


def _plain(url: str) -> str:
    """The URL without SQLAlchemy's driver suffix."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
