"""``ledger alarms …``: what the rules over the access log found, and that somebody saw to it.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from cyclopts import App

from api.cli_support import Common, Failed, answer, ledger_name, open_runtime, record_read

if TYPE_CHECKING:
    from api.runtime import Runtime
    from projections.alarm_queries import ShownAlarm

SHOWN_DEFAULT = 100
SHOWN_MAX = 10_000

alarms_app = App(name="alarms", help="Alarms of the rules over the access log.")


@alarms_app.command(name="list")
def list_alarms(
    *,
    rule: str | None = None,
    actor: str | None = None,
    status: Literal["open", "acknowledged"] | None = None,
    limit: int = SHOWN_DEFAULT,
    common: Common | None = None,
) -> None:
    """The alarms that were raised, newest first, of all that was read by now.

    Parameters
    ----------
    rule
        Of this rule only, for example bulk_reading.
    actor
        About this actor only: key:ID, person:ID or cli:USER.
    status
        Only those that are open, or acknowledged.
    limit
        How many to show at most.
    """
    from ledger_core.risk_rules import ALARMS
    from projections import alarm_queries
    from projections.alarm_queries import AlarmFilters, AlarmStatus

    if rule is not None and rule not in ALARMS:
        msg = f"--rule is one of {', '.join(ALARMS)}."
        raise Failed(msg)
    if status is not None and status not in get_args(AlarmStatus):
        msg = "--status is open or acknowledged."
        raise Failed(msg)
    if not 1 <= limit <= SHOWN_MAX:
        msg = f"--limit is a number from 1 to {SHOWN_MAX}."
        raise Failed(msg)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        record_read(runtime, ledger_id, common, "list_alarms")
        _keep_up(runtime, ledger_id)
        with runtime.connect("ledger_reader") as connection:
            found = alarm_queries.alarms(
                connection, ledger_id, AlarmFilters(rule, actor, status), None, limit
            )
    answer(common or Common(), found, "\n".join(map(_line, found)) or "No alarms.")


@alarms_app.command
def acknowledge(alarm_id: str, /, *, common: Common | None = None) -> None:
    """Say that you have seen to ALARM_ID, and in --reason what you found. It stays for good."""
    from api import cli_reads
    from projections import alarm_queries

    common = common or Common()
    if not common.reason.strip():
        msg = "Say what you found: --reason."
        raise Failed(msg)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        with runtime.connect("ledger_reader") as connection:
            found = alarm_queries.alarm_of_id(connection, ledger_id, alarm_id)
        if found is None:
            msg = "There is no such alarm in this ledger."
            raise Failed(msg)
        if found.actor == cli_reads.actor():
            msg = "The alarm is about yourself: somebody else has to see to it."
            raise Failed(msg)
        record_read(runtime, ledger_id, common, "acknowledge_alarm", f"alarm:{found.alarm_id}")
        with runtime.connect("ledger_reader") as connection:
            found = alarm_queries.alarm_of_id(connection, ledger_id, alarm_id)
    text = "" if found is None else f"{found.alarm_id} was acknowledged by {found.acknowledged_by}."
    answer(common, found, text)


@alarms_app.command
def rebuild(*, common: Common | None = None) -> None:
    """Raise every alarm anew, from the access log and the rules as they were used."""
    from projections import alarms

    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(ledger_name(common))
        with runtime.connect("ledger_projector") as connection:
            count = alarms.rebuild(connection, ledger_id)
    answer(common or Common(), {"alarms": count}, f"{count} alarms, raised anew.")


def _keep_up(runtime: Runtime, ledger_id: int) -> None:
    """Raise the alarms of what was read by now, where no server does."""
    from projections import alarms

    with runtime.connect("ledger_projector") as connection:
        alarms.keep_up(connection, ledger_id, None)


def _line(item: ShownAlarm) -> str:
    """An alarm on one line."""
    by = "open" if item.acknowledged_by is None else f"acknowledged by {item.acknowledged_by}"
    at = item.raised_at.isoformat(timespec="seconds")
    return f"{at}  {item.alarm_id}  {item.actor}  {item.reason}  ({by})"
