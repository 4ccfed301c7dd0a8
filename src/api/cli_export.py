"""``ledger export …``, ``ledger import log`` and ``ledger sample``: evidence for outsiders.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

from cyclopts import App, Parameter

from api.cli_support import (
    Common,
    Failed,
    PointInTime,
    answer,
    catch_up,
    ledger_name,
    open_runtime,
    progress_bar,
    reading,
    record_read,
)

export_app = App(name="export", help="Write out the log, evidence and reports, for others.")

Output = Annotated[Path, Parameter(name=["--output", "-o"], allow_leading_hyphen=True)]
"""The file to write; - is standard output."""
STDOUT = Path("-")


@export_app.command(name="log")
def export_log(
    *,
    output: Output,
    first: Annotated[int, Parameter(name="--from")] = 1,
    last: Annotated[int | None, Parameter(name="--to")] = None,
    common: Common | None = None,
) -> None:
    """Write the log as one archive that ledger-verify checks without trusting us.

    Given the FILE of an export that was interrupted, that export is completed.

    Parameters
    ----------
    output
        The file to write; - is standard output.
    first
        The first position to export. With a checkpoint of size n from an earlier export, go on
        from n + 1.
    last
        The last position to export; left out, all there is.
    """
    from api import export_log as exporting
    from api.archives import ArchiveRefused

    common = common or Common()
    path = None if str(output) == "-" else output
    with open_runtime() as runtime, progress_bar(common, "events") as progress:
        ledger_id = runtime.ledger_id(common.ledger)
        catch_up(runtime, ledger_id)
        record_read(runtime, ledger_id, common, "export_log")
        try:
            export = exporting.begin(
                runtime,
                ledger_id,
                common.ledger,
                first=first,
                last=last,
                path=path,
                progress=progress,
            )
            if path is None:
                to_stdout(export.stream())
                return
            report = export.write(path)
        except ArchiveRefused as problem:
            raise Failed(str(problem)) from None
    text = (
        f"{output}: positions {report.first} to {report.last} of ledger {report.ledger},"
        f" root {report.root}."
    )
    answer(common, report, text)
    if report.missing:
        msg = f"{report.missing} positions are missing from the log; the archive has what is there."
        raise Failed(msg)
    if report.stopped is not None:
        msg = f"Nothing of this log is signed any more: {report.stopped}. The archive has it as is."
        raise Failed(msg)


@export_app.command(name="evidence")
def export_evidence(
    kind: Literal["account", "customer"],
    subject: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    output: Output,
    at_position: int | None = None,
    common: Common | None = None,
) -> None:
    """Write a bundle of all events about an account or customer, each proven to be in the log.

    Parameters
    ----------
    kind
        account or customer.
    subject
        Its id.
    output
        The file to write; - is standard output.
    at_position
        Up to this event; left out, all there is.
    """
    from api import evidence
    from api.archives import ArchiveRefused

    common = common or Common()
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        catch_up(runtime, ledger_id)
        record_read(runtime, ledger_id, common, "export_evidence", f"{kind}:{subject}")
        make = evidence.of_account if kind == "account" else evidence.of_customer
        try:
            bundle = make(runtime, ledger_id, common.ledger, subject, at_position)
            if str(output) == "-":
                to_stdout(bundle.stream())
                return
            report = bundle.write(output)
        except ArchiveRefused as problem:
            raise Failed(str(problem)) from None
    text = f"{output}: {report.events} events of {kind} {subject}, root {report.root}."
    answer(common, report, text)


@export_app.command(name="trial-balance")
def export_trial_balance(
    *,
    output: Output = STDOUT,
    format_: Annotated[Literal["csv"], Parameter(name="--format")] = "csv",
    point: PointInTime | None = None,
    common: Common | None = None,
) -> None:
    """Write the trial balance as CSV: every account's balance on its debit or credit side.

    Parameters
    ----------
    output
        The file to write; - is standard output.
    format_
        csv, which no spreadsheet takes for a formula.
    """
    from api import csv_text, export_reports

    with reading(common, point, "export_trial_balance") as read:
        connection, ledger_id, as_of, value_date = read
        moment = export_reports.pinned(connection, ledger_id, as_of)
        rows = export_reports.trial_balance(connection, ledger_id, moment, value_date)
        lines = csv_text.lines(export_reports.TRIAL_BALANCE, rows)
        to_output(common, output, lines, moment.position, f"trial balance as {format_}")


@export_app.command(name="general-ledger")
def export_general_ledger(
    *,
    output: Output = STDOUT,
    format_: Annotated[Literal["csv"], Parameter(name="--format")] = "csv",
    point: PointInTime | None = None,
    common: Common | None = None,
) -> None:
    """Write the general ledger as CSV: every posting by account, with the balance after it.

    Parameters
    ----------
    output
        The file to write; - is standard output.
    format_
        csv, which no spreadsheet takes for a formula.
    """
    from api import csv_text, export_reports

    with reading(common, point, "export_general_ledger") as read:
        connection, ledger_id, as_of, value_date = read
        moment = export_reports.pinned(connection, ledger_id, as_of)
        rows = export_reports.general_ledger(connection, ledger_id, moment, value_date)
        lines = csv_text.lines(export_reports.GENERAL_LEDGER, rows)
        to_output(common, output, lines, moment.position, f"general ledger as {format_}")


@export_app.command(name="journal")
def export_journal(
    *,
    output: Output = STDOUT,
    format_: Annotated[Literal["hledger", "beancount"], Parameter(name="--format")] = "hledger",
    point: PointInTime | None = None,
    common: Common | None = None,
) -> None:
    """Write the books as a plain-text journal that asserts every account's balance.

    Parameters
    ----------
    output
        The file to write; - is standard output.
    format_
        For which program: hledger or beancount.
    """
    from api import export_journal as exporting
    from api import export_reports
    from api.archives import ArchiveRefused

    with reading(common, point, "export_journal") as read:
        connection, ledger_id, as_of, value_date = read
        moment = export_reports.pinned(connection, ledger_id, as_of)
        try:
            text = exporting.journal(
                connection,
                ledger_id,
                ledger_name(common),
                moment,
                value_date=value_date,
                form=format_,
            )
            to_output(common, output, text, moment.position, f"journal for {format_}")
        except ArchiveRefused as problem:
            raise Failed(str(problem)) from None


def import_log(
    archive: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    keys: Path | None = None,
    common: Common | None = None,
) -> None:
    """Import the log of ARCHIVE (- is stdin) into an empty or new ledger, whole or not at all.

    The result has the same positions, times and root. Keys of persons are in no archive: profiles
    stay unreadable here.

    Parameters
    ----------
    keys
        The keys.json that is trusted; left out, the archive's own keys, which whoever made the
        archive made too.
    """
    from api import import_log as importing
    from api.archives import ArchiveRefused

    common = common or Common()
    with open_runtime() as runtime, progress_bar(common, "events") as progress:
        try:
            trusted = None if keys is None else keys.read_bytes()
            with opened(archive) as file:
                report = importing.import_log(
                    runtime,
                    common.ledger,
                    file,
                    at=runtime.now(),
                    keys=trusted,
                    progress=progress,
                )
        except ArchiveRefused as problem:
            msg = f"{problem} Nothing was imported."
            raise Failed(msg) from None
        except OSError as error:
            msg = f"{error.filename}: {error.strerror}"
            raise Failed(msg) from None
        catch_up(runtime, runtime.ledger_id(common.ledger))
    text = f"Ledger {report.ledger}: {report.events} events of {report.origin}, root {report.root}."
    if report.keys == "archive":
        text += (
            "\nThe checkpoint was checked with the keys in the archive itself: whoever made the"
            " archive made the keys. Give --keys to be sure whose it is."
        )
    if report.persons:
        text += f"\n{report.persons} persons cannot be read here: their keys are not in an archive."
    answer(common, report, text)


@contextmanager
def opened(file: Path) -> Iterator[IO[bytes]]:
    """A file to read, or standard input for ``-``."""
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb") as found:
        yield found


def to_output(
    common: Common | None, output: Path, pieces: Iterable[bytes], position: int, what: str
) -> None:
    """Write a text to a file, or to standard output for ``-``; a file is there whole or not."""
    if str(output) == "-":
        to_stdout(pieces)
        return
    part = output.with_name(f".{output.name}.part")
    try:
        with part.open("wb") as file:
            for piece in pieces:
                file.write(piece)
        part.replace(output)
    except OSError as error:
        msg = f"{output}: {error.strerror}"
        raise Failed(msg) from None
    finally:
        part.unlink(missing_ok=True)
    document = {"output": str(output), "position": position}
    answer(common or Common(), document, f"{output}: {what}, as of position {position}.")


def to_stdout(pieces: Iterable[bytes]) -> None:
    """Write bytes to standard output."""
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
