"""Commands that go back in time: ``ledger replay``, ``ledger diff``, ``ledger explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from api.cli_support import (
    Common,
    Failed,
    answer,
    is_json,
    ledger_name,
    open_runtime,
    progress_bar,
    reading,
    record_read,
)

if TYPE_CHECKING:
    from datetime import date

    from projections.diffed_states import Kind
    from projections.reading import AsOf

replay_app = App(
    name="replay", help="All projections as they stood, in a schema that any SQL tool can query."
)
explain_app = App(name="explain", help="The events behind a balance, a risk flag, a refusal.")
diff_app = App(name="diff", help="What changed from one moment to another.")

At = Annotated[str | None, Parameter(name="--at")]
POSITION_DIGITS_MAX = 18


def register(app: App) -> None:
    """Add the commands to the program's."""
    for commands in (replay_app, diff_app, explain_app):
        app.command(commands)


@replay_app.default
def replay(
    *,
    into: str,
    at: At = None,
    replace: Annotated[bool, Parameter(negative="")] = False,
    common: Common | None = None,
) -> None:
    """Rebuild every projection as it stood, from the log alone, into a schema of its own.

    --at is a position or an ISO 8601 instant (without it: the end of the log). The schema has the
    tables of the live views and replay_info; the role ledger_reader may read it. One that is there
    is replaced with --replace, if a replay made it.
    """
    from api import replays
    from projections.replaying import ReplayRefused

    common = common or Common()
    as_of = point(at, "--at")
    with open_runtime() as runtime, progress_bar(common, "events") as progress:
        record_read(runtime, runtime.ledger_id(common.ledger), common, "replay")
        try:
            made = replays.make(
                runtime,
                common.ledger,
                as_of,
                at or "head",
                into,
                replace=replace,
                progress=lambda done, _: progress(done),
            )
        except ReplayRefused as refused:
            raise Failed(str(refused)) from None
    when = "" if made.recorded_at is None else f", recorded {made.recorded_at.isoformat()}"
    text = (
        f"{made.schema} shows ledger {made.ledger} after position {made.position}{when}."
        f"\nroot {made.root}"
    )
    answer(common, made, text)


@replay_app.command(name="list")
def replay_list(*, common: Common | None = None) -> None:
    """Every replay in the database: its schema, ledger, position and root."""
    from api import replays

    common = common or Common()
    with open_runtime() as runtime:
        found = replays.every(runtime)
    lines = [f"{item.schema}  {item.ledger}  {item.position}  {item.root}" for item in found]
    answer(common, found, "\n".join(lines) or "No replays.")


@replay_app.command(name="drop")
def replay_drop(schema: str, /, *, common: Common | None = None) -> None:
    """Drop the schema of a replay; none that anything else made."""
    from api import replays
    from projections.replaying import ReplayRefused

    with open_runtime() as runtime:
        try:
            replays.drop(runtime, schema)
        except ReplayRefused as refused:
            raise Failed(str(refused)) from None
    answer(common or Common(), {"schema": schema, "dropped": True}, "Dropped.")


@diff_app.default
def diff(
    *,
    from_: Annotated[str, Parameter(name="--from")],
    to: str | None = None,
    kind: list[str] | None = None,
    value_date: str | None = None,
    common: Common | None = None,
) -> None:
    """What appeared, changed or vanished from one moment to another.

    --from and --to are positions or ISO 8601 instants; without --to, now. --kind, as often as need
    be: account, customer, flag, hold, limit_change, … (all of them). With --value-date, accounts
    are compared by what counts on or before that day.
    """
    from api import time_output
    from projections.diffing import Between, whole_diff

    between = Between(
        begin=point(from_, "--from"),
        end=point(to, "--to"),
        kinds=_kinds(kind),
        value_date=_day(value_date),
    )
    with reading(common, None, "get_diff") as (connection, ledger_id, _, _):
        found = whole_diff(connection, ledger_id, between)
        time_output.diff(found, as_json=is_json(common), ledger=ledger_name(common))


@explain_app.command(name="balance")
def explain_balance(  # noqa: PLR0913 - the options of the command
    account: str,
    /,
    *,
    at: At = None,
    value_date: str | None = None,
    currency: str | None = None,
    limit: int = 100,
    common: Common | None = None,
) -> None:
    """Every posting, open hold and limit behind the balance of ACCOUNT, adding up to it.

    The newest --limit postings are shown; all others are carried forward as their exact sum.
    """
    from api import time_output
    from projections import explaining

    as_of, day = point(at, "--at"), _day(value_date)
    _require_limit(limit)
    with reading(common, None, "get_balance_explanation", f"account:{account}") as (
        connection,
        ledger_id,
        _,
        _,
    ):
        found = explaining.explain_balance(
            connection,
            ledger_id,
            account,
            as_of=as_of,
            value_date=day,
            currency=currency,
            limit=limit,
        )
        time_output.balance(found, as_json=is_json(common), ledger=ledger_name(common))
        if not found.adds_up:
            msg = "The events do NOT add up to the balance: the view is damaged."
            raise Failed(msg)


@explain_app.command(name="flag")
def explain_flag(flag_id: str, /, *, at: At = None, common: Common | None = None) -> None:
    """The rule by which the risk flag FLAG_ID was raised, and the movements that met it."""
    from api import time_output
    from projections import flag_reasons

    as_of = point(at, "--at")
    with reading(common, None, "get_flag_explanation", f"flag:{flag_id}") as (
        connection,
        ledger_id,
        _,
        _,
    ):
        found = flag_reasons.explain_flag(connection, ledger_id, flag_id, as_of=as_of)
        time_output.flag(found, as_json=is_json(common), ledger=ledger_name(common))
        if not found.adds_up:
            msg = "The movements do NOT come to the flag's figures: the view is damaged."
            raise Failed(msg)


@explain_app.command(name="refusal")
def explain_refusal(
    which: str, /, *, at: At = None, limit: int = 10, common: Common | None = None
) -> None:
    """Why a command was refused: by the POSITION of its refusal, or by the command's KEY.

    A number is a position. Of balances that decided, the newest --limit postings are shown.
    """
    from api import time_output
    from projections import refusal_reasons

    as_of = point(at, "--at")
    _require_limit(limit)
    position = int(which) if _is_position(which) else None
    with reading(common, None, "get_refusal_explanation", f"refusal:{which}") as (
        connection,
        ledger_id,
        _,
        _,
    ):
        found = refusal_reasons.explain_refusal(
            connection,
            ledger_id,
            position=position,
            key=which if position is None else None,
            as_of=as_of,
            limit=limit,
        )
        time_output.refusal(found, as_json=is_json(common), ledger=ledger_name(common))


def point(text: str | None, option: str) -> AsOf:
    """The moment that an option names: a position, an instant, or (without it) now.

    Raises:
        Failed: it is neither.
    """
    from datetime import datetime

    from projections.reading import NOW, AsOf

    if text is None:
        return NOW
    if _is_position(text):
        return AsOf(position=int(text))
    msg = f"{option} is a position, or an instant with its offset: 2026-03-03T18:00+00:00."
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise Failed(msg) from None
    if instant.tzinfo is None:
        raise Failed(msg)
    return AsOf(recorded_at=instant)


def _is_position(text: str) -> bool:
    """Whether a text is a position: plain digits."""
    return text.isascii() and text.isdigit() and len(text) <= POSITION_DIGITS_MAX


def _kinds(asked: list[str] | None) -> tuple[Kind, ...]:
    """The kinds asked for, or all.

    Raises:
        Failed: there is no such kind.
    """
    from projections.diffed_states import KINDS

    if asked is None:
        return KINDS
    if set(asked) - set(KINDS):
        msg = f"--kind is one of {', '.join(KINDS)}."
        raise Failed(msg)
    return tuple(kind for kind in KINDS if kind in asked)


def _day(text: str | None) -> date | None:
    """The value date asked for.

    Raises:
        Failed: it is no day.
    """
    from datetime import date

    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        msg = "--value-date is a day as YYYY-MM-DD."
        raise Failed(msg) from None


def _require_limit(limit: int) -> None:
    """The limit is one.

    Raises:
        Failed: it is not.
    """
    from projections.reading import PAGE_ITEMS_MAX

    if not 1 <= limit <= PAGE_ITEMS_MAX:
        msg = f"--limit is a number from 1 to {PAGE_ITEMS_MAX}."
        raise Failed(msg)
