"""What the commands that go back in time print: tables for people, one JSON document else."""

from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from api import output
from api.masking import ALL_MASKED, covered
from ledger_core.money import decimal_text
from projections.diffing import Change, Diff, FieldChange
from projections.explaining import BalanceExplanation
from projections.flag_reasons import FlagExplanation
from projections.refusal_reasons import RefusalExplanation

_TEXT_CHARACTERS_MAX = 120


def diff(found: Diff, *, as_json: bool, ledger: str) -> None:
    """Print what changed."""
    if as_json:
        document = msgspec.to_builtins(found)
        del document["next_after"]
        output.show_json({"ledger": ledger, **document})
        return
    table = output.table_of("what", "id", "change", "field", ">from", ">to")
    for change in found.changes:
        head = [change.kind, change.id, change.change]
        for field in change.fields:
            if change.change == "changed" or field.after or field.before:
                before, after = _values(change, field)
                table.add_row(*map(Text, [*head, _name(field), before, after]))
                head = ["", "", ""]
        for name in change.personal:
            table.add_row(*map(Text, [*head, f"profile.{name}", "(personal)", "(personal)"]))
            head = ["", "", ""]
    output.show(table)
    count = len(found.changes)
    Console().print(
        f"{count} changed from position {found.from_position} to {found.to_position}.",
        highlight=False,
    )


def balance(found: BalanceExplanation, *, as_json: bool, ledger: str) -> None:
    """Print the events behind a balance."""
    if as_json:
        output.show_json({"ledger": ledger, **_fields(found)})
        return
    _balance(found)


def flag(found: FlagExplanation, *, as_json: bool, ledger: str) -> None:
    """Print the movements behind a risk flag."""
    if as_json:
        output.show_json({"ledger": ledger, **_fields(found)})
        return
    raised = found.flag
    _say(f"{raised.flag_id} on {raised.account_id}: {raised.reason}")
    parameters = ", ".join(f"{name} {value}" for name, value in found.parameters.items())
    since = f"event {found.rule_position}" if found.rule_position else "the beginning"
    _say(f"Rule {raised.rule} as it stood since {since}: {parameters}")
    table = output.table_of(
        "position", "value date", "kind", "entry", ">in", ">out", ">sum in", ">sum out"
    )
    for item in found.movements:
        amount = decimal_text(item.amount_minor, found.scale)
        table.add_row(
            str(item.position),
            str(item.value_date),
            item.kind,
            Text(item.entry_id),
            amount if item.direction == "in" else "",
            amount if item.direction == "out" else "",
            decimal_text(item.in_minor, found.scale),
            decimal_text(item.out_minor, found.scale),
        )
    output.show(table)
    if found.quiet_since_position is not None:
        _say(f"Quiet since event {found.quiet_since_position}.")


def refusal(found: RefusalExplanation, *, as_json: bool, ledger: str) -> None:
    """Print what stood behind a refusal."""
    if as_json:
        document = _fields(found)
        document["balances"] = [_fields(item) for item in found.balances]
        output.show_json({"ledger": ledger, **document})
        return
    _say(f"Refused at position {found.refusal_position}: {found.code}. {found.sentence}")
    asked = ", ".join(f"{name} {value}" for name, value in found.command.items())
    _say(f"Asked by {found.actor}: {asked}")
    if found.seen:
        _say("Seen: " + ", ".join(f"{name} {value}" for name, value in found.seen.items()))
    if found.facts:
        table = output.table_of("position", "recorded", "event", "content")
        for fact in found.facts:
            table.add_row(
                str(fact.position),
                f"{fact.recorded_at:%Y-%m-%d %H:%M}",
                fact.type,
                Text(_short(", ".join(f"{name} {value}" for name, value in fact.data.items()))),
            )
        output.show(table)
    for item in found.balances:
        _balance(item)
    if found.members_left_out:
        _say(f"{found.members_left_out} more accounts of the group are left out.")


def _balance(found: BalanceExplanation) -> None:
    """Print a balance with its events."""
    scale = found.scale
    table = output.table_of("position", "value date", "kind", "text", ">change", ">balance")
    carried = found.carried_forward
    if carried is not None:
        table.add_row(
            f"< {carried.before_position}",
            "",
            "",
            "carried forward",
            "",
            decimal_text(carried.balance_minor, scale),
        )
    for line in found.postings:
        paired = line.reverses_position or line.reversed_position
        how = "reverses" if line.reverses_position else "reversed by"
        said = covered(line.description, ALL_MASKED) or ", ".join(line.counterparties)
        table.add_row(
            str(line.position),
            str(line.value_date),
            line.kind,
            Text(said if paired is None else f"{said} ({how} {paired})"),
            decimal_text(line.change_minor, scale),
            decimal_text(line.balance_minor, scale),
        )
    output.show(table)
    if found.holds or found.held_carried_minor or found.incoming_held_carried_minor:
        _holds(found)
    of_day = "" if found.value_date is None else f" by {found.value_date}"
    _say(
        f"{found.account_id}: posted {decimal_text(found.posted_minor, scale)}"
        f" {found.currency}{of_day} after position {found.position}"
    )
    if found.available_minor is not None and found.limit is not None:
        _say(
            f"held {decimal_text(found.held_minor, scale)},"
            f" limit {decimal_text(found.limit_minor or 0, scale)} ({found.limit.event} at position"
            f" {found.limit.position}), available {decimal_text(found.available_minor, scale)}"
        )


def _holds(found: BalanceExplanation) -> None:
    """Print the events on open holds."""
    scale = found.scale
    table = output.table_of("position", "hold", "event", ">outgoing", ">incoming")
    carried = (found.held_carried_minor, found.incoming_held_carried_minor)
    if any(carried):
        table.add_row("", "older holds", "", *(decimal_text(minor, scale) for minor in carried))
    for item in found.holds:
        change = decimal_text(item.change_minor, scale)
        is_incoming = item.side == found.normal_side
        table.add_row(
            str(item.position),
            Text(item.hold_id),
            item.change,
            "" if is_incoming else change,
            change if is_incoming else "",
        )
    output.show(table)


def _fields(found: msgspec.Struct) -> dict[str, Any]:
    """The fields of an answer, but for where its next page begins."""
    names = (name for name in found.__struct_fields__ if name != "next_after")
    return {name: getattr(found, name) for name in names}


def _name(field: FieldChange) -> str:
    """A field as people read it."""
    return field.field.removesuffix("_minor").replace("_", " ")


def _values(change: Change, field: FieldChange) -> tuple[str, str]:
    """A field before and after, amounts of accounts as people write them."""
    pair = (field.before, field.after)
    if change.scale is not None and field.field.endswith("_minor"):
        before, after = (
            "" if minor is None else decimal_text(int(minor), change.scale) for minor in pair
        )
        return before, after
    before, after = (
        "" if value is None else _short(value if isinstance(value, str) else _json(value))
        for value in pair
    )
    return before, after


def _json(value: object) -> str:
    """A value that is no text."""
    return msgspec.json.encode(value).decode()


def _short(text: str) -> str:
    """A text, cut where it is long."""
    return text if len(text) <= _TEXT_CHARACTERS_MAX else text[:_TEXT_CHARACTERS_MAX] + "…"


def _say(text: str) -> None:
    """Print a line as it is."""
    Console(soft_wrap=True).print(Text(text))
