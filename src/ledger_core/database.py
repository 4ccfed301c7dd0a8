"""Connections to PostgreSQL: one way to open them, each in the role of what it is for.

The roles are the append-only guarantee: none that the program runs as may update or delete an
event (see ``migrations``). ``json`` columns arrive as the exact stored bytes.

No end of a connection waits for ever for the other: both notice within half a minute that the
network lost it (``KEEPALIVES``), what stands still inside a transaction loses its locks
(``_BOUNDS``), and a server that is there but says nothing is given up (``_ANSWER_S``). What the URL
says of the first two goes before what is said here.
"""

from typing import Any, Literal, TypeVar

import psycopg
import sqlalchemy
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_T = TypeVar("_T")

Role = Literal["ledger_writer", "ledger_projector", "ledger_reader", "ledger_replayer"]
"""What the program acts as: its login is a member of these and owns nothing itself.

Only ``ledger_replayer`` may create anything: the schemas of replays, which it owns.
"""

CONNECT_TIMEOUT_S = 10
KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
"""After so many seconds of silence the peer is asked whether it is there, so often, so many times.

Left to the system, a partner whom the network took away is missed after two hours.
"""
UNACKNOWLEDGED_MS = 10_000
"""What was sent and is not acknowledged for so long is taken for lost; the system waits 15 min.

Only this end is told: not every system has this, and a server's would fill its log with saying so.
"""
LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.IdleInTransactionSessionTimeout,
)
"""What a statement raises whose connection is gone, or is to be taken for gone."""
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

# A process that stands still, or a machine that is gone, must not keep others from the ledger: the
# server ends a session that does nothing inside a transaction. Between two statements of one lie
# milliseconds; a large batch, or a key of Vault's, takes seconds. Whoever waits for such a lock
# gives up, tells its callers to come again, and tries anew. Readers lock nothing, and an export
# goes as slowly as its caller takes it.
_IDLE = {"idle_in_transaction_session_timeout": "30s"}
_BOUNDS: dict[Role, dict[str, str]] = {
    "ledger_writer": {**_IDLE, "lock_timeout": "10s"},
    "ledger_projector": _IDLE,
    "ledger_reader": {},
    "ledger_replayer": {},
}

_ANSWER_S: dict[Role, float | None] = {
    "ledger_writer": 60.0,
    "ledger_projector": 900.0,
    "ledger_reader": None,
    "ledger_replayer": None,
}
"""A server that takes longer for one statement is taken for gone: it hangs, or what is before it.

Nothing else notices that: packets are acknowledged by a machine whose programs stand still. A
writer's statements take milliseconds; a projection's rebuild compares millions of rows by one.
"""
# A server that lives ends a read itself; it has so long to say so.
_SAYS_SO_S = 10.0


class BoundedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection whose statements do not wait for an answer for ever."""

    answer_s: float | None = None

    def wait(self, gen: PQGen[_T], interval: float = 0.1, timeout: float | None = None) -> _T:
        """Wait for the server, as the driver does at every statement; then let go of it.

        Raises:
            psycopg.OperationalError: it does not answer; the connection is closed.
        """
        try:
            return super().wait(gen, interval, self.answer_s if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:  # noqa: SLF001 - it has no other name
            self.close()
            raise


class _BytesLoader(Loader):
    """Hand a column over as the bytes that the server sent."""

    def load(self, data: Buffer) -> bytes:
        """The bytes, copied out of the driver's buffer."""
        return bytes(data)


def connect(
    url: str, role: Role, *, timeout_s: float | None = None
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection in autocommit mode, in UTC, acting as ``role`` and nothing more.

    The server gives up a statement that takes longer than ``timeout_s``. Where it is not heard of
    at all, the statement raises one of ``LOST``, sooner or later.

    Raises:
        psycopg.OperationalError: the server does not answer or refuses the login.
    """
    given = conninfo_to_dict(_plain(url))
    settings = {"role": role, "timezone": "UTC", **_PLANNING[role]}
    if timeout_s is not None:
        settings["statement_timeout"] = f"{timeout_s * 1_000:.0f}"
    bounds = {f"tcp_{name}": str(value) for name, value in KEEPALIVES.items()} | _BOUNDS[role]
    options = " ".join(
        [
            *(f"-c {name}={bounds[name]}" for name in bounds),
            str(given.pop("options", None) or ""),
            *(f"-c {name}={settings[name]}" for name in settings),
        ]
    )
    parameters = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "tcp_user_timeout": UNACKNOWLEDGED_MS,
        **KEEPALIVES,
        **{name: value for name, value in given.items() if value is not None},
    }
    conninfo = make_conninfo(
        **{name: str(value) for name, value in parameters.items()},
        options=options,
        application_name=role,
    )
    connection = BoundedConnection.connect(conninfo, autocommit=True)
    connection.answer_s = _ANSWER_S[role] if timeout_s is None else timeout_s + _SAYS_SO_S
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
