"""The command line: ``ledger …``. The same code path as HTTP, without the server.

Every command works whether or not a server runs: it starts the embedded PostgreSQL if need be and
leaves it running for the others. Exit code 0 means done; 1 refused or failed; 2 a wrong call.
Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from api import (
    cli_accesses,
    cli_audit,
    cli_backup,
    cli_checkpoints,
    cli_customers,
    cli_keys,
    cli_replay,
    cli_roles,
    cli_tokens,
)
from api.cli_alarms import alarms_app
from api.cli_export import export_app, import_log
from api.cli_keystore import keystore_app
from api.cli_sample import sample
from api.cli_staff import staff_app
from api.cli_support import (
    Common,
    Failed,
    PointInTime,
    answer,
    catch_up,
    database_problem,
    day_named,
    fail,
    is_json,
    ledger_name,
    lines_of,
    open_runtime,
    progress_bar,
    projecting,
    reading,
    writing_runtime,
)

app = App(
    name="ledger",
    help="An event-sourced double-entry ledger: commands in, events kept, views out.",
    version_flags=["--version"],
)
import_app = App(name="import", help="Import files of other systems, whole or not at all.")
keys_app = App(name="keys", help="API keys: who may call the HTTP API.")
app.command(import_app)
app.command(keys_app)
cli_checkpoints.register(app, keys_app)
cli_keys.register(keys_app)
cli_roles.register(app)
cli_tokens.register(app)
cli_audit.register(app)
app.command(keystore_app)
app.command(alarms_app)
app.command(export_app)
app.command(staff_app)
app.command(sample)
cli_backup.register(app)
cli_replay.register(app)
cli_accesses.register(app)
cli_customers.register(app, keystore_app)
import_app.command(import_log, name="log")

HOST = "127.0.0.1"
PORT = 8000
ACTOR = "cli"


def main() -> None:
    """Run the command line; problems are one sentence on standard error, never a traceback."""
    from api.bulk import ImportRefused
    from api.embedded_postgres import EmbeddedPostgresError
    from api.migrations import SchemaError
    from api.settings import SettingsError
    from api.surroundings import SettingError
    from ledger_core.errors import LedgerError
    from ledger_core.key_provider import VaultError

    told = (Failed, ImportRefused, LedgerError, EmbeddedPostgresError, SchemaError)
    try:
        app(sys.argv[1:])
    except (*told, SettingsError, SettingError) as problem:
        fail(str(problem))
    except VaultError as problem:
        fail(f"The key store does not fit: {problem}.")
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        fail("Interrupted.")
    except Exception as problem:
        sentence = database_problem(problem)
        if sentence is None:
            raise
        fail(sentence)


@app.command
def serve(
    *, host: str = HOST, port: int = PORT, demo: bool = False, common: Common | None = None
) -> None:
    """Serve the HTTP API and keep the projections up to date, until interrupted.

    With --demo, a sample bank is loaded on the first start and a key and first calls are printed.
    """
    from api import first_start
    from api.serve import serve as serve_http
    from api.settings import PORT_MAX

    if not 1 <= port <= PORT_MAX:
        msg = f"--port is a number from 1 to {PORT_MAX}."
        raise Failed(msg)
    with writing_runtime() as runtime:
        ledger_id = runtime.create_ledger(ledger_name(common))
        if demo:
            print(
                first_start.greeting(first_start.prepare(runtime, ledger_id), host, port),
                flush=True,
            )
        serve_http(runtime, host, port)


@app.command
def migrate(*, common: Common | None = None) -> None:
    """Bring the database's schema up to date, and create the ledger if there is none.

    With LEDGER_MIGRATION_URL, for the role that owns the tables, the role in LEDGER_DATABASE_URL
    needs no right of its own: it is given ledger_program.
    """
    from api import migrations

    common = common or Common()
    with open_runtime() as runtime:
        if runtime.owner_url is not None:
            migrations.hand_out(runtime.owner_url, runtime.database_url)
        ledger_id = runtime.create_ledger(common.ledger)
    answer(common, {"ledger": common.ledger, "ledger_id": ledger_id}, "The schema is up to date.")


@app.command
def stop(*, common: Common | None = None) -> None:
    """Stop the embedded PostgreSQL server, which serves every ledger of this data folder."""
    from api import embedded_postgres

    stopped = embedded_postgres.stop(embedded_postgres.default_data_dir())
    text = "Stopped." if stopped else "No embedded server was running."
    answer(common or Common(), {"stopped": stopped}, text)


@app.command(name="database-url")
def database_url(
    *, login: str = "program", superuser: bool = False, common: Common | None = None
) -> None:
    """Print the URL of the database, password included, for psql and other tools.

    --login says for whom: program (reads everything, changes nothing until it says in which role),
    analyst (the masked views of the schema analytics), owner (of the tables: migrations, backups),
    or superuser.
    """
    from api import cli_database

    url = cli_database.url_for("superuser" if superuser else login)
    answer(common or Common(), {"url": url}, url)


@app.command
def load(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)], /, *, common: Common | None = None
) -> None:
    """Carry out the commands of FILE, one JSON object a line as in POST /v1/batch; - is stdin.

    Each line carries its own "key", so a file can be loaded again after an interruption: what was
    recorded is replayed, never doubled. Malformed and refused lines are listed; then the exit code
    is 1, and all other lines were carried out.
    """
    from api import bulk

    common = common or Common()
    with (
        writing_runtime() as runtime,
        lines_of(file) as lines,
        progress_bar(common, "commands") as progress,
    ):
        ledger_id = runtime.create_ledger(common.ledger)
        with projecting(runtime):
            report = bulk.load(runtime, ledger_id, lines, ACTOR, progress)
    text = (
        f"{report.lines} lines: {report.recorded} recorded, {report.replayed} replayed,"
        f" {report.unchanged} unchanged, {report.refused} refused."
    )
    if report.pending_approval:
        text += f" {report.pending_approval} wait for approval."
    answer(common, report, text)
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
    with writing_runtime() as runtime, progress_bar(common, "files", len(files)) as progress:
        ledger_id = runtime.create_ledger(common.ledger)
        catch_up(runtime, ledger_id)
        report = importing.import_camt053(runtime, ledger_id, files, ACTOR, progress)
    text = (
        f"{report.files} files, {report.statements} statements ({report.new_statements} new),"
        f" {report.entries} entries: {report.recorded} events recorded,"
        f" {report.replayed} were there already."
    )
    for carried in report.carried_forward:
        text += f"\nBalance carried forward: {carried}"
    answer(common, report, text)


@import_app.command(name="journal")
def import_journal(
    file: Path,
    /,
    *,
    without_payees: Annotated[bool, Parameter(negative="")] = False,
    common: Common | None = None,
) -> None:
    """Import a plain-text accounting journal (ledger or hledger syntax), whole or not at all.

    What cannot be read exactly is refused with its line and the reason. Payees become descriptions,
    which nobody can erase: with --without-payees they are left out.
    """
    from api import clock
    from api import import_journal as importing

    common = common or Common()
    with writing_runtime() as runtime:
        ledger_id = runtime.create_ledger(common.ledger)
        catch_up(runtime, ledger_id)
        report = importing.import_journal(
            runtime,
            ledger_id,
            file,
            ACTOR,
            today=clock.today(),
            payees="drop" if without_payees else "keep",
        )
    text = (
        f"{report.entries} entries on {report.accounts} accounts in {report.units} units:"
        f" {report.recorded} events recorded, {report.replayed} were there already."
    )
    answer(common, report, text)


@app.command
def balances(*, point: PointInTime | None = None, common: Common | None = None) -> None:
    """Every account's balance: posted, held, available.

    "balance" is on the account's normal side; "net" is debits minus credits.
    """
    from api import output
    from projections import balance_queries

    with reading(common, point, "list_accounts") as (connection, ledger_id, as_of, value_date):
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
        output.balances(found, as_json=is_json(common), ledger=ledger_name(common))


@app.command
def statement(
    account: str, /, *, point: PointInTime | None = None, common: Common | None = None
) -> None:
    """Every posting on ACCOUNT with the running balance."""
    from api import output
    from projections import statement_queries

    subject = f"account:{account}"
    with reading(common, point, "get_statement", subject) as read:
        connection, ledger_id, as_of, value_date = read
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
        output.statement(pages, as_json=is_json(common), ledger=ledger_name(common))


@app.command(name="trial-balance")
def trial_balance(*, point: PointInTime | None = None, common: Common | None = None) -> None:
    """Every account's balance on its debit or credit side; both sides must be equal."""
    from api import output
    from projections import trial_balance_queries

    with reading(common, point, "get_trial_balance") as (connection, ledger_id, as_of, value_date):
        found = trial_balance_queries.trial_balance(
            connection, ledger_id, as_of=as_of, value_date=value_date
        )
        output.trial_balance(found, as_json=is_json(common), ledger=ledger_name(common))


@app.command
def rebuild(name: str, /, *, common: Common | None = None) -> None:
    """Rebuild the projection NAME beside the live one, compare, and swap; "all" for every one."""
    from projections import runner

    common = common or Common()
    known = [projection.name for projection in runner.PROJECTIONS]
    if name != "all" and name not in known:
        msg = f"There is no projection of that name; there are: {', '.join(known)}, all."
        raise Failed(msg)
    with open_runtime() as runtime, progress_bar(common, "events") as progress:
        ledger_id = runtime.ledger_id(common.ledger)
        catch_up(runtime, ledger_id)
        with runtime.connect("ledger_projector") as connection:
            names = known if name == "all" else [name]
            reports = runner.rebuild_all(
                connection, ledger_id, names, lambda done, _: progress(done)
            )
    lines: list[str] = []
    for report in reports:
        lines.append(f"{report.name}: {report.events} events, {report.rows} rows, swapped.")
        lines += [
            f"  differed from the live one: {difference}" for difference in report.differences
        ]
    answer(common, reports, "\n".join(lines))


@app.command
def verify(*, checkpoint: Path | None = None, common: Common | None = None) -> None:
    """Fold the whole log from the start and compare everything with it.

    Bytes against leaf hashes, the tree against the sealed head, debits against credits, and every
    account, line, customer and flag of every projection against the fold; and that every customer
    has a key that opens, unless erased. Exit code 1 on any finding.

    Parameters
    ----------
    checkpoint: A file or folder of checkpoints that were kept elsewhere: is the log what was signed
        then, and continued, or does anything lack? For after a restore or a failover.
    """
    from api import cli_backup
    from api.key_check import with_keys
    from projections import verification

    common = common or Common()
    with open_runtime() as runtime, progress_bar(common, "events") as progress:
        ledger_id = runtime.ledger_id(common.ledger)
        with runtime.connect("ledger_projector") as connection:
            verdict = verification.verify(connection, ledger_id, lambda done, _: progress(done))
        verdict = with_keys(runtime, ledger_id, verdict)
        compared = cli_backup.compared(runtime, ledger_id, common.ledger, checkpoint)
    lines = [f"{finding.kind}: {finding.message}" for finding in verdict.findings]
    if verdict.ok:
        lines.append(f"{verdict.accesses} accesses verified.")
        lines.append(f"{verdict.events} events verified; root {verdict.root}. All agree.")
    else:
        lines.append(f"{verdict.events} events read; the ledger does NOT verify.")
    lines += [] if compared is None else [compared.sentence]
    told = verdict if compared is None else cli_backup.with_comparison(verdict, compared)
    answer(common, told, "\n".join(lines))
    if not verdict.ok or (compared is not None and not compared.ok):
        raise SystemExit(1)


@app.command(name="run-orders")
def run_orders(*, date: str | None = None, common: Common | None = None) -> None:
    """Run every standing order that is due on a business date (YYYY-MM-DD; today, in UTC).

    Each occurrence runs once, however often this is called; missed days are caught up. What is
    refused is recorded with its reason and not tried again.
    """
    from api import business_day

    common = common or Common()
    with writing_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        day = business_day.run(runtime, ledger_id, day_named(date, runtime.now().date()), ACTOR)
    text = f"{day.business_date}: {day.ran} ran, {day.refused} refused, {day.already} ran already."
    answer(common, day, text)


if __name__ == "__main__":
    main()
