"""What happened since a case began, as the ledger's own log tells it to its auditors."""

from typing import TYPE_CHECKING

from tests.conformance.cases import Json
from tests.conformance.house import Desk, moved_in
from tests.conformance.seen import Happenings

if TYPE_CHECKING:
    from tests.conformance.adapter import Adapter

_KINDS = {
    "HoldPlaced": "pending",
    "AccountOpened": "opened",
    "BlockPlaced": "blocked",
    "BlockLifted": "unblocked",
    "LimitSet": "limit_set",
    "AccountClosed": "closed",
}
_ENTRY_KINDS = {"capture": "captured", "reversal": "reversed"}
# What the log holds beside what happened in the business.
_REFUSED, _NOTHING = "CommandRefused", "NothingChanged"


def events(adapter: "Adapter", op: Json) -> Happenings:
    """What happened since the case began, refusals left out."""
    rows: list[Json] = []
    for desk in adapter.desks.values():
        events = since_setup(adapter, desk)
        rows += [_event_row(adapter, event) for event in events if event["type"] != _REFUSED]
    if op.get("account") is not None:
        rows = [row for row in rows if op["account"] in row["accounts"]]
    return Happenings(tuple(rows))


def _event_row(adapter: "Adapter", event: Json) -> Json:
    """What is said of one event."""
    data = event["data"]
    labels = {known: label for label, known in adapter.known_ids.items()}
    of = data.get("reverses") or data.get("hold_id")
    row = {
        "kind": _kind(event),
        "id": label_of(adapter, event),
        "of": None if event["type"] == "HoldPlaced" else labels.get(of, of),
        "amount": moved_in(data),
        "accounts": [tag.partition(":")[2] for tag in event["tags"] if tag.startswith("account:")],
        "outcome": "success",
    }
    postings = data.get("postings") or ()
    for name, side in (("dr", "debit"), ("cr", "credit")):
        row[name] = data.get(f"{side}_account_id") or next(
            (line["account_id"] for line in postings if line["side"] == side), None
        )
    return {name: value for name, value in row.items() if value is not None}


def _kind(event: Json) -> str:
    """What happened, in a word."""
    data = event["data"]
    if event["type"] == "JournalEntryPosted":
        return _ENTRY_KINDS.get(data["kind"], "posted")
    if event["type"] == "HoldReleased":
        return str(data["cause"])
    return _KINDS.get(event["type"], str(event["type"]))


def audit_log(adapter: "Adapter", _op: Json) -> Happenings:
    """Every command that was carried out or refused, and how many events it left.

    The commands of an atomic group are one; what opened the case is left out.
    """
    groups: dict[object, Json] = {}
    for desk in adapter.desks.values():
        for event in since_setup(adapter, desk):
            data, is_refusal = event["data"], event["type"] == _REFUSED
            key = data["command"]["key"] if is_refusal else event["command_key"]
            if key not in adapter.sent:
                continue
            place, label = adapter.sent[key]
            # A refused command may be tried again under its key: that is another line.
            group = groups.setdefault(
                (place, event["position"] if is_refusal else None),
                {"outcome": "failure" if is_refusal else "success", "items": 0, "id": label},
            )
            if is_refusal:
                group["reason"] = data["code"]
            else:
                group["items"] += 1
    return Happenings(tuple(groups.values()))


def since_setup(adapter: "Adapter", desk: Desk) -> list[Json]:
    """The events since the case began, without what the adapter did on its own account."""
    return [
        event
        for event in desk.events(adapter.setup_positions[desk.ledger_id])
        if event["type"] != _NOTHING
        and (event["command_key"] is None or event["command_key"] in adapter.sent)
    ]


def label_of(adapter: "Adapter", event: Json) -> str:
    """The case's id of what an event recorded; else its position."""
    _, label = adapter.sent.get(event["command_key"], ((), None))
    return str(event["position"]) if label is None else label


def position_of(adapter: "Adapter", label: str) -> int:
    """Where what the case calls so was recorded."""
    for desk in adapter.desks.values():
        for event in since_setup(adapter, desk):
            if event["type"] != _REFUSED and label_of(adapter, event) == label:
                position: int = event["position"]
                return position
    msg = f"the case names {label}, and nothing of that id was recorded"
    raise LookupError(msg)
