"""What the commands of the command line share: their common options, and how they work and end.

Imports are made inside the functions, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import Group, Parameter

if TYPE_CHECKING:
    from datetime import date

    import sqlalchemy

    from api.runtime import Runtime
    from projections.reading import AsOf

_COMMON = Group("Everywhere")
_TIME = Group("Point in time")
DEFAULT_LEDGER = "main"


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    ledger: str = DEFAULT_LEDGER
    """The ledger's name."""
    json: Annotated[bool, Parameter(name="--json", negative="")] = False
    """Print one JSON document and nothing else."""
    reason: str = ""
    """Why you read this; it stays in the access log for good. No names: a case number."""


@Parameter(name="*", group=_TIME)
@dataclass(frozen=True)
class PointInTime:
    """What was known when, about which day."""

    as_of: str | None = None
    """What the ledger knew at this instant (ISO 8601), for example 2026-03-03T18:00+00:00."""
    at_position: int | None = None
    """What the ledger knew after this event."""
    value_date: str | None = None
    """Count only what counts on or before this day (YYYY-MM-DD)."""


class Failed(Exception):  # noqa: N818 - not an error of the program's.
    """The command could not do what was asked; the message says why."""


def database_problem(error: BaseException) -> str | None:
    """What to tell about an error of the database, in one sentence; ``None`` if it is none.

    Only the server's own sentence is repeated: no statement, no values, no password.
    """
    import psycopg

    cause = getattr(error, "orig", error)  # SQLAlchemy wraps the driver's errors.
    if not isinstance(cause, psycopg.Error):
        return None
    said = " ".join((cause.diag.message_primary or str(cause)).split())
    if isinstance(cause, psycopg.errors.InsufficientPrivilege) or "permission denied to" in said:
        return (
            f"The database role lacks a right: {said}. Run `ledger migrate` with"
            " LEDGER_MIGRATION_URL set to a role with CREATEROLE that owns the database: it brings"
            " the schema up to date and lets this role act as ledger_program."
        )
    if isinstance(cause, psycopg.OperationalError):
        return f"The database does not answer: {said}"
    if cause.sqlstate is None:
        return f"The database driver failed with {type(cause).__name__}."
    return f"The database refused with {type(cause).__name__} ({cause.sqlstate}): {said}"


def fail(message: str) -> NoReturn:
    """Say why on standard error and exit with 1."""
    print(f"ledger: {message}", file=sys.stderr)
    raise SystemExit(1)


@contextmanager
def open_runtime() -> Iterator[Runtime]:
    """The runtime of this command, closed at its end."""
    from api import settings
    from api.runtime import Runtime

    with Runtime(settings.load()) as runtime:
        yield runtime


@contextmanager
def writing_runtime() -> Iterator[Runtime]:
    """The runtime of a command that writes: the database is whole, and belongs to this program.

    Raises:
        SchemaError: it is not; see ``start_checks``.
    """
    from api import start_checks

    with open_runtime() as runtime:
        with runtime.connect("ledger_writer") as connection:
            start_checks.require_own(connection, runtime.settings.server_secret)
        with runtime.connect("ledger_reader") as connection:
            start_checks.require_whole(connection)
        yield runtime


@contextmanager
def projecting(runtime: Runtime) -> Iterator[None]:
    """Keep the projections up to date in a process of its own while the block runs."""
    from api.serve import Projector

    projector = Projector(runtime.database_url)
    try:
        yield
    finally:
        projector.stop()


@contextmanager
def reading(
    common: Common | None, point: PointInTime | None, operation: str, *subjects: str
) -> Iterator[tuple[sqlalchemy.Connection, int, AsOf, date | None]]:
    """A read on views that have caught up with the log, recorded as ``record_read`` does."""
    as_of, value_date = moment(point)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        catch_up(runtime, ledger_id)
        record_read(runtime, ledger_id, common, operation, *subjects)
        with runtime.engine.connect() as connection:
            yield connection, ledger_id, as_of, value_date


def record_read(
    runtime: Runtime, ledger_id: int, common: Common | None, operation: str, *subjects: str
) -> None:
    """Have it in the access log that something is read, before it is shown.

    ``subjects`` are as in ``account:anna``; none means the ledger as a whole.

    Raises:
        Failed: the reason is malformed, or missing where it is required; or the read cannot be
            recorded.
    """
    from api import cli_reads

    cli_reads.record(
        runtime, ledger_id, "" if common is None else common.reason, operation, subjects
    )


def catch_up(runtime: Runtime, ledger_id: int) -> None:
    """Bring the views up to the log's head, with what is due by now."""
    from api import due
    from projections import runner

    with runtime.connect("ledger_projector") as connection:
        runner.catch_up(connection, ledger_id)
        due.record(runtime, ledger_id, connection)


def moment(point: PointInTime | None) -> tuple[AsOf, date | None]:
    """The point in time asked for.

    Raises:
        Failed: it cannot be read.
    """
    from datetime import date, datetime

    from projections.reading import AsOf

    point = point or PointInTime()
    if point.at_position is not None and point.at_position < 1:
        msg = "--at-position is the position of an event: 1 or more."
        raise Failed(msg)
    if point.as_of is not None and point.at_position is not None:
        msg = "Give --as-of or --at-position, not both."
        raise Failed(msg)
    try:
        instant = None if point.as_of is None else datetime.fromisoformat(point.as_of)
        value_date = None if point.value_date is None else date.fromisoformat(point.value_date)
    except ValueError:
        msg = "--as-of is an ISO 8601 instant, --value-date a day as YYYY-MM-DD."
        raise Failed(msg) from None
    if instant is not None and instant.tzinfo is None:
        msg = "--as-of needs an offset, for example 2026-03-03T18:00+00:00."
        raise Failed(msg)
    return AsOf(position=point.at_position, recorded_at=instant), value_date


def day_named(text: str | None, otherwise: date) -> date:
    """The day that an option names, or another where it is left out.

    Raises:
        Failed: it is no day.
    """
    from datetime import date

    try:
        return otherwise if text is None else date.fromisoformat(text)
    except ValueError:
        msg = "--date is a day as YYYY-MM-DD."
        raise Failed(msg) from None


@contextmanager
def lines_of(file: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a file, or of standard input for ``-``.

    Raises:
        Failed: it cannot be opened.
    """
    from api.bulk import read_lines

    if str(file) == "-":
        yield read_lines(sys.stdin.buffer)
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise Failed(msg) from None
    with opened:
        yield read_lines(opened)


@contextmanager
def progress_bar(
    common: Common, unit: str, total: int | None = None
) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal; nothing elsewhere or with --json."""
    if common.json or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), unit, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(unit, total=total)
        yield lambda done: bar.update(task, completed=done)


def answer(common: Common, answer: object, text: str) -> None:
    """Print the answer as JSON, or as text."""
    from api import output

    print(output.as_json(answer) if common.json else text)


def is_json(common: Common | None) -> bool:
    """Whether JSON was asked for."""
    return common is not None and common.json


def ledger_name(common: Common | None) -> str:
    """The ledger's name."""
    return DEFAULT_LEDGER if common is None else common.ledger
