"""``ledger accesses``: who read what. To look at that is recorded there as well."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli_support import Common, Failed, answer, ledger_name, open_runtime, record_read

if TYPE_CHECKING:
    from datetime import datetime

    from cyclopts import App

    from ledger_core.access_log import StoredAccess

SHOWN_DEFAULT = 100
SHOWN_MAX = 10_000


def register(app: App) -> None:
    """Add the command to the program's."""
    app.command(accesses)


def accesses(  # noqa: PLR0913 - the filters of a listing
    *,
    subject: str | None = None,
    actor: str | None = None,
    operation: str | None = None,
    since: str | None = None,
    until: str | None = None,
    limit: int = SHOWN_DEFAULT,
    common: Common | None = None,
) -> None:
    """Who read what about which account or customer, when, why and with what answer; newest first.

    Parameters
    ----------
    subject
        What was read about: account:ID, customer:ID, entry:ID …; ledger is all of it at once.
    actor
        Who read: key:ID of an API key, or cli:USER.
    operation
        What was called, for example get_customer.
    since
        Recorded then or later (ISO 8601 with its offset).
    until
        Recorded then or earlier.
    limit
        How many to show at most.
    """
    from ledger_core import access_log
    from ledger_core.errors import ValidationFailed

    if subject is not None:
        try:
            access_log.require_subject(subject)
        except ValidationFailed as error:
            msg = f"--subject: {error.rule}."
            raise Failed(msg) from None
    if not 1 <= limit <= SHOWN_MAX:
        msg = f"--limit is a number from 1 to {SHOWN_MAX}."
        raise Failed(msg)
    filters = access_log.AccessFilters(
        subjects=() if subject is None else (subject,),
        actor=actor,
        operation=operation,
        since=_instant("--since", since),
        until=_instant("--until", until),
    )
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        record_read(
            runtime, ledger_id, common, "list_accesses", *(() if subject is None else (subject,))
        )
        with runtime.connect("ledger_reader") as connection:
            last = access_log.read_head(connection, ledger_id).number
            found = access_log.find(connection, ledger_id, filters, up_to=last, limit=limit)
    shown = [
        {
            "number": item.number,
            "at": item.at,
            "actor": item.actor,
            "operation": item.operation,
            "subjects": list(item.subjects),
            "reason": item.reason,
            "request_id": item.request_id,
            "status": item.status,
            "position": item.position,
            "leaf_hash": item.leaf_hash.hex(),
        }
        for item in found
    ]
    answer(common or Common(), shown, "\n".join(map(_line, found)) or "No accesses.")


def _line(item: StoredAccess) -> str:
    """An access on one line; of many subjects the first few."""
    first = 3
    subjects = " ".join(item.subjects[:first])
    if len(item.subjects) > first:
        subjects += f" and {len(item.subjects) - first} more"
    return (
        f"{item.number:>8}  {item.at.isoformat(timespec='milliseconds')}  {item.status}"
        f"  {item.actor}  {item.operation}  {subjects or '-'}  {item.reason or '-'}"
    )


def _instant(option: str, text: str | None) -> datetime | None:
    """The instant that an option names.

    Raises:
        Failed: it is none, or without its offset.
    """
    from datetime import datetime

    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        msg = f"{option} is an ISO 8601 instant with its offset: 2026-03-03T18:00+00:00."
        raise Failed(msg)
    return found
