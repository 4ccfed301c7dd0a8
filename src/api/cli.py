"""The command line: ``ledger …``. The same code path as HTTP, without the server.

Every command works whether or not a server runs: it starts the embedded PostgreSQL if need be and
leaves it running for the others. Exit code 0 means done; 1 refused or failed; 2 a wrong call.
Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Group, Parameter

from api.roles import Role

if TYPE_CHECKING:
    from datetime import date

    import sqlalchemy

    from api.runtime import Runtime
    from projections.reading import AsOf

app = App(
    name="ledger",
    help="An event-sourced double-entry ledger: commands in, events kept, views out.",
    version_flags=["--version"],
)
import_app = App(name="import", help="Import files of other systems, whole or not at all.")
keys_app = App(name="keys", help="API keys: who may call the HTTP API.")
app.command(import_app)
app.command(keys_app)

_COMMON = Group("Everywhere")
_TIME = Group("Point in time")
DEFAULT_LEDGER = "main"
HOST = "127.0.0.1"
PORT = 8000
ACTOR = "cli"


@Parameter(name="*", group=_COMMON)
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    ledger: str = DEFAULT_LEDGER
    """The ledger's name."""
    json: Annotated[bool, Parameter(name="--json", negative="")] = False
    """Print one JSON document and nothing else."""


@Parameter(name="*", group=_TIME)
@dataclass(frozen=True)
class PointInTime:
    """What was known when, about which day."""

    as_of: str | None = None
    """What the ledger knew at this instant (ISO 8601 with offset), for example 2026-03-03T18:00Z."""
    at_position: int | None = None
    """What the ledger knew after this event."""
    value_date: str | None = None
    """Count only what counts on or before this day (YYYY-MM-DD)."""


class Failed(Exception):  # noqa: N818 - not an error of the program's.
    """The command could not do what was asked; the message says why."""


def main() -> None:
    """Run the command line; problems are one sentence on standard error, never a traceback."""
    import psycopg
    from api.bulk import ImportRefused
    from api.embedded_postgres import EmbeddedPostgresError
    from api.settings import SettingsError
    from ledger_core.errors import LedgerError
    from ledger_core.vault import VaultError

    try:
        app()
    except (Failed, ImportRefused, LedgerError, EmbeddedPostgresError, SettingsError) as problem:
        _stop(str(problem))
    except VaultError as problem:
        _stop(f"The key store does not fit: {problem}.")
    except psycopg.OperationalError as problem:
        _stop(f"The database does not answer: {problem}".strip())
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _stop("Interrupted.")


@app.command
def serve(*, host: str = HOST, port: int = PORT, demo: bool = False, common: Common | None = None) -> None:
    """Serve the HTTP API and keep the projections up to date, until interrupted.

    With --demo, a sample bank is loaded on the first start and a key and first calls are printed.
    """
    from api import first_start
    from api.serve import serve as serve_http

    with _runtime() as runtime:
        ledger_id = runtime.create_ledger(_name(common))
        if demo:
            print(first_start.greeting(first_start.prepare(runtime, ledger_id), host, port), flush=True)
        serve_http(runtime, host, port)


@app.command
def migrate(*, common: Common | None = None) -> None:
    """Bring the database's schema up to date, and create the ledger if there is none of its name."""
    common = common or Common()
    with _runtime() as runtime:
        ledger_id = runtime.create_ledger(common.ledger)
    _answer(common, {"ledger": common.ledger, "ledger_id": ledger_id}, "The schema is up to date.")


@app.command
def stop() -> None:
    """Stop the embedded PostgreSQL server."""
    from api import embedded_postgres

    stopped = embedded_postgres.stop(embedded_postgres.default_data_dir())
    print("Stopped." if stopped else "No embedded server was running.")


@app.command(name="database-url")
def database_url(*, superuser: bool = False) -> None:
    """Print the URL of the database, password included, for psql and other tools."""
    from api import embedded_postgres, settings

    given = settings.load()
    if given.database_url is not None:
        print(given.database_url)
    else:
        cluster = embedded_postgres.ensure_running(given.data_dir)
        print(cluster.url(superuser=superuser))


@app.command
def load(file: Path, *, common: Common | None = None) -> None:
    """Carry out the commands of FILE, one JSON object a line as in POST /v1/batch; - is stdin.

    Each line carries its own "key", so a file can be loaded again after an interruption: what was
    recorded is replayed, never doubled. Malformed and refused lines are listed; then the exit code
    is 1, and all other lines were carried out.
    """
    from api import bulk

    common = common or Common()
    with _runtime() as runtime, _open(file) as lines, _progress(common, "commands") as progress:
        ledger_id = runtime.create_ledger(common.ledger)
        with _projecting(runtime):
            report = bulk.load(runtime, ledger_id, lines, ACTOR, progress)
    text = (
        f"{report.lines} lines: {report.recorded} recorded, {report.replayed} replayed,"
        f" {report.unchanged} unchanged, {report.refused} refused."
    )
    _answer(common, report, text)
    if report.refused:
        if not common.json:
            for refusal in report.refusals:
                print(f"line {refusal.line}: {refusal.code}: {refusal.reason}", file=sys.stderr)
        raise SystemExit(1)


@import_app.command(name="camt053")
def import_camt053(files: list[Path], /, *, common: Common | None = None) -> None:
    """Import ISO 20022 bank statements (camt.053), all FILES or none.

    Refused: a statement whose opening balance and entries do not give its closing balance, and one
    that does not continue its account's statements. Importing a file again changes nothing.
    """
    from api import import_camt053 as importing

    common = common or Common()
    with _runtime() as runtime, _progress(common, "files", len(files)) as progress:
        ledger_id = runtime.create_ledger(common.ledger)
        _catch_up(runtime, ledger_id)
        report = importing.import_camt053(runtime, ledger_id, files, ACTOR, progress)
    text = (
        f"{report.files} files, {report.statements} statements ({report.new_statements} new),"
        f" {report.entries} entries: {report.recorded} events recorded,"
        f" {report.replayed} were there already."
    )
    for carried in report.carried_forward:
        text += f"\nBalance carried forward: {carried}"
    _answer(common, report, text)


@import_app.command(name="journal")
def import_journal(file: Path, /, *, common: Common | None = None) -> None:
    """Import a plain-text accounting journal (ledger or hledger syntax), whole or not at all.

    What cannot be read exactly is refused with its line and the reason.
    """
    from api import clock
    from api import import_journal as importing

    common = common or Common()
    with _runtime() as runtime:
        ledger_id = runtime.create_ledger(common.ledger)
        _catch_up(runtime, ledger_id)
        report = importing.import_journal(runtime, ledger_id, file, ACTOR, today=clock.today())
    text = (
        f"{report.entries} entries on {report.accounts} accounts in {report.units} units:"
        f" {report.recorded} events recorded, {report.replayed} were there already."
    )
    _answer(common, report, text)


@app.command
def balances(*, point: PointInTime | None = None, common: Common | None = None) -> None:
    """Every account's balance: posted, held, available.

    "balance" is on the account's normal side; "net" is debits minus credits.
    """
    from api import output
    from projections import balance_queries

    with _reading(common, point) as (connection, ledger_id, as_of, value_date):
        found = output.all_pages(
            lambda after: balance_queries.balances(
                connection,
                ledger_id,
                as_of=as_of,
                value_date=value_date,
                after=after,
                limit=output.PAGE,
            )
        )
        output.balances(found, as_json=_is_json(common), ledger=_name(common))


@app.command
def statement(
    account: str, /, *, point: PointInTime | None = None, common: Common | None = None
) -> None:
    """Every posting on ACCOUNT with the running balance."""
    from api import output
    from projections import statement_queries

    with _reading(common, point) as (connection, ledger_id, as_of, value_date):
        pages = output.statement_pages(
            lambda after: statement_queries.statement(
                connection,
                ledger_id,
                account,
                as_of=as_of,
                value_date=value_date,
                after=after,
                limit=output.PAGE,
            )
        )
        output.statement(pages, as_json=_is_json(common), ledger=_name(common))


@app.command(name="trial-balance")
def trial_balance(*, point: PointInTime | None = None, common: Common | None = None) -> None:
    """Every account's balance on its debit or credit side; both sides must be equal."""
    from api import output
    from projections import trial_balance_queries

    with _reading(common, point) as (connection, ledger_id, as_of, value_date):
        found = trial_balance_queries.trial_balance(
            connection, ledger_id, as_of=as_of, value_date=value_date
        )
        output.trial_balance(found, as_json=_is_json(common), ledger=_name(common))


@app.command
def customer(
    customer_id: str, /, *, point: PointInTime | None = None, common: Common | None = None
) -> None:
    """Everything about a customer: profile, accounts, balances, recent activity, open flags."""
    from api import output
    from projections import customer_queries

    with _runtime() as runtime:
        ledger_id = runtime.ledger_id(_name(common))
        _catch_up(runtime, ledger_id)
        as_of, _ = _point(point)
        with runtime.engine.connect() as connection:
            found = customer_queries.customer(connection, ledger_id, customer_id, as_of=as_of)
        with runtime.connect("ledger_reader") as keys:
            profile = runtime.vault.unseal(keys, ledger_id, found.subject, found.sealed)
        output.customer(found, profile, as_json=_is_json(common), ledger=_name(common))


@app.command
def rebuild(name: str, /, *, common: Common | None = None) -> None:
    """Rebuild the projection NAME beside the live one, compare, and swap; "all" for every one."""
    from projections import runner

    common = common or Common()
    known = [projection.name for projection in runner.PROJECTIONS]
    if name != "all" and name not in known:
        msg = f"There is no projection of that name; there are: {', '.join(known)}, all."
        raise Failed(msg)
    with _runtime() as runtime, _progress(common, "events") as progress:
        ledger_id = runtime.ledger_id(common.ledger)
        _catch_up(runtime, ledger_id)
        with runtime.connect("ledger_projector") as connection:
            reports = [
                runner.rebuild(connection, ledger_id, each, lambda done, _: progress(done))
                for each in (known if name == "all" else [name])
            ]
    lines: list[str] = []
    for report in reports:
        lines.append(f"{report.name}: {report.events} events, {report.rows} rows, swapped.")
        lines += [f"  differed from the live one: {difference}" for difference in report.differences]
    _answer(common, reports, "\n".join(lines))


@app.command
def verify(*, common: Common | None = None) -> None:
    """Fold the whole log from the start and compare everything with it.

    Bytes against leaf hashes, the tree against the sealed head, debits against credits, and every
    account, line, customer and flag of every projection against the fold. Exit code 1 on any
    finding.
    """
    from projections import verification

    common = common or Common()
    with _runtime() as runtime, _progress(common, "events") as progress:
        ledger_id = runtime.ledger_id(common.ledger)
        with runtime.connect("ledger_projector") as connection:
            verdict = verification.verify(connection, ledger_id, lambda done, _: progress(done))
    lines = [f"{finding.kind}: {finding.message}" for finding in verdict.findings]
    if verdict.ok:
        lines.append(f"{verdict.events} events verified; root {verdict.root}. All agree.")
    else:
        lines.append(f"{verdict.events} events read; the ledger does NOT verify.")
    _answer(common, verdict, "\n".join(lines))
    if not verdict.ok:
        raise SystemExit(1)


@keys_app.command(name="create")
def keys_create(
    role: Role, /, *, name: str = "cli", days: int | None = None, common: Common | None = None
) -> None:
    """Make an API key of ROLE (reader, teller, auditor or admin); it is shown once."""
    from datetime import timedelta

    from api import clock

    common = common or Common()
    with _runtime() as runtime:
        ledger_id = runtime.create_ledger(common.ledger)
        expires_at = None if days is None else clock.now() + timedelta(days=days)
        key = runtime.create_key(ledger_id, role, name, expires_at)
    _answer(common, {"key": key, "role": role, "ledger": common.ledger}, key)


@keys_app.command(name="list")
def keys_list(*, common: Common | None = None) -> None:
    """The ledger's API keys, without their secrets."""
    from api import api_keys

    common = common or Common()
    with _runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        with runtime.connect("ledger_reader") as connection:
            found = api_keys.list_keys(connection, ledger_id)
    lines = [
        f"{key.key_id}  {key.role:8} {'revoked' if key.revoked_at else 'active':8} {key.name}"
        for key in found
    ]
    _answer(common, found, "\n".join(lines) or "No keys.")


@keys_app.command(name="revoke")
def keys_revoke(key_id: str, /, *, common: Common | None = None) -> None:
    """Make an API key invalid, at once and for good."""
    from api import api_keys, clock

    common = common or Common()
    with _runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        with runtime.connect("ledger_writer") as connection:
            if not api_keys.revoke(connection, ledger_id, key_id, clock.now()):
                msg = "There is no active key of that id."
                raise Failed(msg)
    _answer(common, {"key_id": key_id, "revoked": True}, "Revoked.")


def _stop(message: str) -> None:
    """Say why on standard error and exit with 1."""
    print(f"ledger: {message}", file=sys.stderr)
    raise SystemExit(1)


@contextmanager
def _runtime() -> Iterator[Runtime]:
    """The runtime of this command, closed at its end."""
    from api import settings
    from api.runtime import Runtime

    with Runtime(settings.load()) as runtime:
        yield runtime


@contextmanager
def _projecting(runtime: Runtime) -> Iterator[None]:
    """Keep the projections up to date in a process of its own while the block runs."""
    from api.serve import Projector

    projector = Projector(runtime.database_url)
    try:
        yield
    finally:
        projector.stop()


@contextmanager
def _reading(
    common: Common | None, point: PointInTime | None
) -> Iterator[tuple[sqlalchemy.Connection, int, AsOf, date | None]]:
    """A read on views that have caught up with the log."""
    as_of, value_date = _point(point)
    with _runtime() as runtime:
        ledger_id = runtime.ledger_id(_name(common))
        _catch_up(runtime, ledger_id)
        with runtime.engine.connect() as connection:
            yield connection, ledger_id, as_of, value_date


def _catch_up(runtime: Runtime, ledger_id: int) -> None:
    """Bring the views up to the log's head."""
    from projections import runner

    with runtime.connect("ledger_projector") as connection:
        runner.catch_up(connection, ledger_id)


def _point(point: PointInTime | None) -> tuple[AsOf, date | None]:
    """The point in time asked for.

    Raises:
        Failed: it cannot be read.
    """
    from datetime import date, datetime

    from projections.reading import AsOf

    point = point or PointInTime()
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


@contextmanager
def _open(file: Path) -> Iterator[Iterator[bytes]]:
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
def _progress(common: Common, unit: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
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


def _answer(common: Common, answer: object, text: str) -> None:
    """Print the answer as JSON, or as text."""
    from api import output

    print(output.as_json(answer) if common.json else text)


def _is_json(common: Common | None) -> bool:
    """Whether JSON was asked for."""
    return common is not None and common.json


def _name(common: Common | None) -> str:
    """The ledger's name."""
    return DEFAULT_LEDGER if common is None else common.ledger


if __name__ == "__main__":
    main()
