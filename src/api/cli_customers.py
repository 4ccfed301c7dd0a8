"""``ledger customer`` and ``ledger find-customers``: people, masked unless there is a reason.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from api.cli_support import (
    Common,
    Failed,
    PointInTime,
    answer,
    catch_up,
    is_json,
    ledger_name,
    moment,
    open_runtime,
    progress_bar,
    record_read,
)

if TYPE_CHECKING:
    from api.customer_search import Found
    from api.runtime import Runtime
    from ledger_core.blind_index import Form

# Some values of seven fields.
FIELDS_BYTES_MAX = 65_536


def register(app: App, keystore_app: App) -> None:
    """Add the commands to the program's, and those of the key store."""
    app.command(customer)
    app.command(find_customers, name="find-customers")
    keystore_app.command(reindex)


def customer(
    customer_id: str,
    /,
    *,
    unmask: Annotated[bool, Parameter(negative="")] = False,
    point: PointInTime | None = None,
    common: Common | None = None,
) -> None:
    """Everything about a customer: profile, accounts, balances, recent activity, open flags.

    Personal fields are masked. With --unmask they are shown whole; that needs a --reason, and both
    stay in the access log.
    """
    from api import masking, output, profiles, subjects
    from projections import customer_queries

    if unmask and not (common or Common()).reason.strip():
        msg = "Say why you need the personal fields: --unmask needs a --reason."
        raise Failed(msg)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        catch_up(runtime, ledger_id)
        as_of, _ = moment(point)
        with runtime.engine.connect() as connection:
            found = customer_queries.customer(connection, ledger_id, customer_id, as_of=as_of)
        with runtime.connect("ledger_reader") as keys:
            personal = masking.CLEAR if unmask else masking.ALL_MASKED
            profile = profiles.shown(runtime.vault, keys, ledger_id, [found], personal)[0]
        shown = subjects.of_commands((found,)) | {f"customer:{customer_id}"}
        operation = "unmask_customer" if unmask else "get_customer"
        record_read(runtime, ledger_id, common, operation, *shown)
        output.customer(found, profile, as_json=is_json(common), ledger=ledger_name(common))


def find_customers(
    file: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    exact: Annotated[bool, Parameter(negative="")] = False,
    limit: int | None = None,
    common: Common | None = None,
) -> None:
    """Find customers by personal fields, given as one JSON object in FILE; - is stdin.

    For example {"name": "weber, anna", "birth_date": "1990-01-31"}. Never on the command line:
    that would stand in the list of processes and in the shell's history. Case, accents,
    punctuation and the order of a name's words do not matter, unless --exact is given.
    """
    import msgspec

    common = common or Common()
    fields = _fields(file)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        catch_up(runtime, ledger_id)
        found = _found(runtime, ledger_id, fields, "exact" if exact else "normal", limit)
        about = [f"customer:{item.customer_id}" for item, _ in found.customers]
        record_read(runtime, ledger_id, common, "search_customers", *about)
    shown = [
        {"customer_id": item.customer_id, **msgspec.structs.asdict(profile)}
        for item, profile in found.customers
    ]
    lines = [
        f"{item.customer_id}  {profile.profile.get('name', '')}"
        for item, profile in found.customers
    ]
    lines += ["There are more: ask for another field, too."] if found.is_more else []
    text = "\n".join(lines) or "Nobody was found."
    answer(common, {"ledger": common.ledger, "customers": shown, "more": found.is_more}, text)


def reindex(
    *, check: Annotated[bool, Parameter(negative="")] = False, common: Common | None = None
) -> None:
    """Make the blind indexes of every customer anew: what is searched when a person is looked for.

    For a ledger of before there were any, after another LEDGER_SERVER_SECRET, and after the key
    store was restored from a copy. Servers may go on working. With --check nothing is changed, and
    the exit code is 1 where the index is not as it should be.
    """
    from api import reindexing

    common = common or Common()
    with open_runtime() as runtime, progress_bar(common, "customers") as progress:
        ledger_id = runtime.ledger_id(common.ledger)
        report = reindexing.reindex(runtime, ledger_id, is_repair=not check, progress=progress)
    verb = "to be" if check else "were"
    text = (
        f"{report.customers} customers: {report.added} tokens {verb} added,"
        f" {report.removed} {verb} removed."
    )
    answer(common, report, text)
    if check and (report.added or report.removed):
        raise SystemExit(1)


def _found(
    runtime: Runtime, ledger_id: int, fields: dict[str, str], form: Form, limit: int | None
) -> Found:
    """Who has these values, masked.

    Raises:
        Failed: a value or the limit is malformed, or the index is not complete.
    """
    from api import customer_search, masking
    from api.customer_search import FOUND_DEFAULT, FOUND_MAX
    from ledger_core.errors import ValidationFailed

    limit = FOUND_DEFAULT if limit is None else limit
    if not 1 <= limit <= FOUND_MAX:
        msg = f"--limit is a number from 1 to {FOUND_MAX}."
        raise Failed(msg)
    try:
        customer_search.require_searchable(fields)
        with runtime.engine.connect() as connection:
            return runtime.search.find(
                connection, ledger_id, masking.ALL_MASKED, fields=fields, form=form, limit=limit
            )
    except ValidationFailed as error:
        msg = f"{error.field}: {error.rule}."
        raise Failed(msg) from None
    except customer_search.IndexIncompleteError as problem:
        raise Failed(str(problem)) from None


def _fields(file: Path) -> dict[str, str]:
    """The fields in a file, or on standard input for ``-``.

    Raises:
        Failed: it cannot be read, or is no object of personal fields; its content is not repeated.
    """
    import msgspec

    from ledger_core.customers import PERSONAL_FIELDS

    try:
        if str(file) == "-":
            text = sys.stdin.buffer.read(FIELDS_BYTES_MAX)
        else:
            with file.open("rb") as opened:
                text = opened.read(FIELDS_BYTES_MAX)
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise Failed(msg) from None
    known = ", ".join(sorted(PERSONAL_FIELDS))
    try:
        fields = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = {}
    if not fields or not fields.keys() <= PERSONAL_FIELDS:
        msg = f"One JSON object of personal fields with texts is needed: {known}."
        raise Failed(msg)
    return fields
