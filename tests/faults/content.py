"""What the event of a command must say: the command's own fields, found again in the event.

Written from ``docs/`` alone, as is ``fold``.
"""

from collections.abc import Callable
from typing import Any

from tests.faults.fold import Row

_Compared = dict[str, tuple[object, object]]
"""By field: what the command asked for, and what the event has."""

# The events that a command may lead to; all may find everything as it should be.
_TYPES = {
    "transfer": {"JournalEntryPosted"},
    "deposit": {"JournalEntryPosted"},
    "withdraw": {"JournalEntryPosted"},
    "post_entry": {"JournalEntryPosted"},
    "reverse_entry": {"JournalEntryPosted"},
    "place_hold": {"HoldPlaced"},
    "capture_hold": {"JournalEntryPosted", "HoldReleased"},
    "void_hold": {"HoldReleased"},
    "open_account": {"AccountOpened"},
    "set_limit": {"LimitSet"},
    "freeze_account": {"BlockPlaced"},
    "unfreeze_account": {"BlockLifted"},
    "register_customer": {"CustomerRegistered"},
    "change_profile": {"CustomerProfileChanged"},
}
UNCHANGED = "NothingChanged"
# Fields that a command and its event both have, under one name.
_SAME = (
    "account_id",
    "customer_id",
    "currency",
    "hold_id",
    "entry_id",
    "reference",
    "reverses",
    "debit_account_id",
    "credit_account_id",
    "cause",
    "multi_capture",
)


def differences(operation: str, command: dict[str, Any], row: Row) -> list[str]:
    """In what the event is not what the command asked for."""
    data = row.data
    if row.type == UNCHANGED:
        kept = data["command"]
        return [name for name, value in command.items() if kept.get(name) != value]
    if row.type not in _TYPES[operation]:
        return ["type"]
    pairs = {
        name: (command[name], data[name]) for name in _SAME if name in command and name in data
    }
    if operation in _PAIRS and row.type != "HoldReleased":
        pairs |= _PAIRS[operation](command, data)
    return [name for name, (asked, recorded) in pairs.items() if asked != recorded]


def _transfer(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    return _two_legs(command, data, command["debit_account_id"], command["credit_account_id"])


def _deposit(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    return _two_legs(command, data, _counter(command), command["account_id"])


def _withdrawal(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    return _two_legs(command, data, command["account_id"], _counter(command))


def _counter(command: dict[str, Any]) -> str:
    """The bank's account on the other side."""
    return f"bank:counter:{command['currency']}"


def _two_legs(command: dict[str, Any], data: dict[str, Any], debit: str, credit: str) -> _Compared:
    """A movement from one account to another, and the names that it takes."""
    amount, currency = int(command["amount"]), command["currency"]
    asked = [(debit, "debit", amount, currency), (credit, "credit", amount, currency)]
    names = ("entry_id", "reference")
    return {
        "postings": (asked, _legs(data["postings"])),
        **{name: (command.get(name), data.get(name)) for name in names},
    }


def _entry(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    asked = [
        (leg["account_id"], leg["side"], int(leg["amount"]), leg["currency"])
        for leg in command["postings"]
    ]
    return {"postings": (asked, _legs(data["postings"]))}


def _legs(postings: list[dict[str, Any]]) -> list[tuple[str, str, int, str]]:
    """The postings of an event."""
    return [
        (leg["account_id"], leg["side"], leg["amount_minor"], leg["currency"]) for leg in postings
    ]


def _hold(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    return {"amount": (int(command["amount"]), data["amount_minor"])}


def _capture(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    if "amount" not in command:
        return {}
    return {"amount": (int(command["amount"]), data["postings"][0]["amount_minor"])}


def _limit(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    limit = command["limit"]
    return {"limit": (None if limit is None else int(limit), data.get("limit_minor"))}


def _freeze(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    return {"effect": (command["effect"], data["effect"])}


def _registration(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    return {"segment": (command["profile"]["segment"], data["public"]["segment"])}


def _profile(command: dict[str, Any], data: dict[str, Any]) -> _Compared:
    changes = command["changes"]
    return {
        "segment": (changes["segment"], data["public"]["segment"]),
        "email": ("email" in changes, "email" in data["sealed"]),
        "reason": (command["reason"], data["reason"]),
    }


_PAIRS: dict[str, Callable[[dict[str, Any], dict[str, Any]], _Compared]] = {
    "transfer": _transfer,
    "deposit": _deposit,
    "withdraw": _withdrawal,
    "post_entry": _entry,
    "place_hold": _hold,
    "capture_hold": _capture,
    "open_account": _limit,
    "set_limit": _limit,
    "freeze_account": _freeze,
    "register_customer": _registration,
    "change_profile": _profile,
}


def answer_differences(answer: dict[str, Any], row: Row) -> list[str]:
    """In what the answer to a single command is not what the event says."""
    wrong = []
    if answer["position"] != row.position:
        wrong.append("position")
    if answer["recorded_at"].replace("Z", "+00:00") != row.recorded_at.isoformat():
        wrong.append("recorded_at")
    if answer["status"] == "unchanged":
        return wrong + ["type"] * (row.type != UNCHANGED)
    if answer["type"] != row.type:
        return [*wrong, "type"]
    data = row.data
    if "amount" in answer and answer["amount"] != str(data["amount_minor"]):
        wrong.append("amount")
    if "postings" in answer:
        told = [(leg["account_id"], leg["side"], leg["amount"]) for leg in answer["postings"]]
        kept = [
            (leg["account_id"], leg["side"], str(leg["amount_minor"])) for leg in data["postings"]
        ]
        wrong += ["postings"] * (told != kept)
    return wrong
