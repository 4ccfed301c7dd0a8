"""From what clients recorded to operations on single accounts, holds and profiles.

One command is one operation however often it was sent: from when it was first sent without being
refused until its first answer. An attempt that was refused had no effect and used up no key, so
that it is an operation of its own, on the object that the refusal names. Items of a batch are
operations that overlap. Left out is what the models do not know, and with it every account that it
touches: see ``Recording.left_out``.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from tests.faults.bank_rules import Ask, Side, Told
from tests.faults.commands_sent import Sent, merged, sent_in
from tests.faults.history import Attempt, History
from tests.faults.linearizability import Operation

BankOperation = Operation[Ask, Told]
Place = tuple[str, str]
"""``account``, ``hold`` or ``customer``, and the id."""
Leg = tuple[str, Side, int, int]
"""An account, the side posted to, the amount, and by how much more is held there."""

_NO_EFFECT = {"batch_failed", "not_attempted", "repeated_in_batch"}
_NAMED_BY_HOLD = {
    "hold_already_captured",
    "hold_already_voided",
    "hold_expired",
    "hold_not_found",
    "exceeds_hold",
}
_ON_ACCOUNT = {"insufficient_funds", "account_blocked", "version_conflict", "block_not_found"}
_SEEN_OF_ACCOUNT = {
    "posted_minor": "posted",
    "held_minor": "held_out",
    "limit_minor": "limit",
    "version": "version",
}
_SHOWN_OF_ACCOUNT = {
    **_SEEN_OF_ACCOUNT,
    "incoming_held_minor": "held_in",
}
_MOVEMENTS = {
    "transfer",
    "deposit",
    "withdraw",
    "post_entry",
    "reverse_entry",
    "place_hold",
    "capture_hold",
    "void_hold",
}
_TERMS = {"set_limit", "freeze_account", "unfreeze_account", "link_customer", "unlink_customer"}
_PROFILES = {"register_customer", "change_profile"}
_NOT_KNOWN = {"balancing", "force", "effective_date", "ceiling", "if_balance"}
_EXPIRES = {"timeout_s", "expires_at"}


@dataclass(slots=True)
class Recording:
    """The operations on each object, and the accounts that were left out, with the reason."""

    operations: dict[Place, list[BankOperation]] = field(default_factory=lambda: defaultdict(list))
    left_out: dict[str, str] = field(default_factory=dict)

    def searched(self) -> dict[Place, list[BankOperation]]:
        """The objects that the models know all about, from their beginning."""
        return {
            place: mine
            for place, mine in sorted(self.operations.items())
            if not (place[0] == "account" and place[1] in self.left_out)
            and any(item.input.what in _BEGINNINGS for item in mine)
        }


_BEGINNINGS = {"open_account", "place_hold", "register_customer"}


def record(history: History) -> Recording:
    """All that clients recorded, by object."""
    sent = [one for attempt in history.attempts for one in sent_in(attempt)]
    maker = _Maker(sent)
    by_key: dict[str, list[Sent]] = defaultdict(list)
    for one in sent:
        by_key[one.key].append(one)
    for attempts in by_key.values():
        for one in merged(attempts):
            maker.add(one)
    told = sorted(_told(sent, history))
    moments = [at for at, _ in told]
    newest = list(accumulate((position for _, position in told), max, initial=0))
    for attempt in history.reads():
        # What anybody had been told before it began.
        maker.add_read(attempt, newest[bisect_left(moments, attempt.invoked_at)])
    return maker.recording


def _told(sent: Sequence[Sent], history: History) -> Iterator[tuple[float, int]]:
    """When a client was told of a position, and of which."""
    for one in sent:
        if one.completed_at is not None and one.position is not None:
            yield one.completed_at, one.position
    for read in history.reads():
        position = _position_of(read)
        if read.completed_at is not None and position is not None:
            yield read.completed_at, position


def _position_of(read: Attempt) -> int | None:
    """The position that a read's answer reflects."""
    position = (read.answer or {}).get("position")
    return position if isinstance(position, int) else None


class _Maker:
    """Makes the operations of commands and reads; knows which accounts and holds there are."""

    def __init__(self, sent: Sequence[Sent]) -> None:
        """Look for what was opened and placed."""
        self.recording = Recording()
        self._sides: dict[str, Side] = {}
        self._holds: dict[str, Sent] = {}
        for one in sent:
            if one.operation == "open_account":
                account_id = one.command.get("account_id") or one.answer.get("account_id")
                kind = one.command.get("account_type", "liability")
                side: Side = "debit" if kind in {"asset", "expense"} else "credit"
                if account_id is not None:
                    self._sides[str(account_id)] = side
            elif one.operation == "place_hold":
                hold_id = self._hold_id(one)
                if hold_id is not None:
                    self._holds.setdefault(hold_id, one)

    def add(self, one: Sent) -> None:
        """Take in a command's one operation on each of its objects."""
        if one.outcome in _NO_EFFECT:
            return
        if one.operation in _PROFILES:
            self._profile(one)
        elif one.operation == "open_account":
            self._opening(one)
        elif one.operation in _TERMS and not _NOT_KNOWN & one.command.keys():
            self._terms(one)
        elif one.operation in _MOVEMENTS and not _NOT_KNOWN & one.command.keys():
            self._movement(one)
        else:
            named = [value for value in _texts(one.command) if value in self._sides]
            self._leave_out(named, f"this {one.operation} is not in the model")

    def add_read(self, read: Attempt, newest: int) -> None:
        """Take in a read of a balance, or of a customer."""
        answer = read.answer or {}
        least = read.command.get("min_position")
        is_strict = least is not None and int(least) >= newest
        position = _position_of(read)
        if read.operation == "read_customer":
            covered = {*(answer.get("masked") or ()), *(answer.get("hidden") or ())}
            profile = answer.get("profile") or {}
            shown = sorted((name, text) for name, text in profile.items() if name not in covered)
            place: Place = ("customer", str(read.command["customer_id"]))
            seen: tuple[tuple[str, object], ...] = tuple(shown)
        else:
            place = ("account", str(read.command["account_id"]))
            seen = (*_shown(answer, _SHOWN_OF_ACCOUNT), ("blocks", _blocks(answer)))
        ask = Ask("read", is_strict=is_strict, least=None if least is None else int(least))
        told = Told("read", position, seen)
        self._add(place, read.client, (read.invoked_at, read.completed_at), ask, told)

    def _opening(self, one: Sent) -> None:
        """An account's beginning."""
        account_id = one.command.get("account_id") or one.answer.get("account_id")
        if account_id is None or one.outcome not in {None, "done"}:
            return
        is_customers = one.command.get("account_type", "liability") == "liability"
        limit = one.command.get("limit", "0" if is_customers else None)
        ask = Ask("open_account", limit=None if limit is None else int(limit))
        if one.command.get("ceiling") is not None:
            self.recording.left_out[str(account_id)] = "it has a ceiling"
        self._put(("account", str(account_id)), one, ask)

    def _terms(self, one: Sent) -> None:
        """A change of an account's terms."""
        command = one.command
        limit = command.get("limit")
        effect = command.get("effect")
        if one.operation == "freeze_account":
            effect = effect or "full"
        if one.outcome not in {None, "done", "unchanged", *_ON_ACCOUNT}:
            return
        ask = Ask(
            one.operation,
            limit=None if limit is None else int(limit),
            cause=command.get("cause"),
            effect=effect,
            versions=one.if_match,
        )
        self._put(("account", str(command["account_id"])), one, ask)

    def _profile(self, one: Sent) -> None:
        """A customer's beginning, or a change of the profile."""
        customer_id = one.command.get("customer_id") or one.answer.get("customer_id")
        if customer_id is not None and one.outcome in {None, "done", "unchanged"}:
            fields = one.command.get("changes") or one.command.get("profile") or {}
            ask = Ask(one.operation, fields=tuple(sorted(fields.items())))
            self._put(("customer", str(customer_id)), one, ask)

    def _movement(self, one: Sent) -> None:
        """A movement: an operation on the hold that it is about, and on each of its accounts."""
        hold_id = self._hold_id(one)
        placed = None if hold_id is None else self._holds.get(hold_id)
        if hold_id is not None:
            self._on_hold(hold_id, one)
            if placed is None:
                return
        legs = _legs(one, placed)
        if placed is not None and _EXPIRES & placed.command.keys():
            self._leave_out(_accounts(placed), "what is held there goes by itself")
        elif legs is None:
            named = self._sides if placed is None else _accounts(placed)
            self._leave_out(named, f"the amounts of a {one.operation} are not known")
        else:
            for account_id, side, posted, held in legs:
                if account_id in self._sides and self._concerns(one, account_id):
                    ask = self._change(one, account_id, side, (posted, held))
                    self._put(("account", account_id), one, ask)

    def _leave_out(self, account_ids: Iterable[str], reason: str) -> None:
        """Do not search the operations of these accounts."""
        for account_id in account_ids:
            self.recording.left_out[account_id] = reason

    def _on_hold(self, hold_id: str, one: Sent) -> None:
        """The operation on the hold itself."""
        if one.outcome not in {None, "done", *_NAMED_BY_HOLD}:
            return
        amount = one.command.get("amount")
        ask = Ask(
            one.operation,
            hold=None if amount in {None, "all"} else int(amount),
            is_multiple=bool(one.command.get("multi_capture")),
            may_expire=bool(_EXPIRES & one.command.keys()),
        )
        seen: tuple[tuple[str, object], ...] = ()
        if one.operation != "place_hold" and one.outcome == "done" and "type" in one.answer:
            taken, freed = _taken(one.answer)
            seen = (("captured", taken), ("freed", freed))
        self._put(("hold", hold_id), one, ask, seen)

    @staticmethod
    def _concerns(one: Sent, account_id: str) -> bool:
        """Whether the command's outcome says anything of the account."""
        if one.outcome in {None, "done"}:
            return True
        seen = one.answer.get("seen") or {}
        return one.outcome in _ON_ACCOUNT and seen.get("account_id") == account_id

    def _change(self, one: Sent, account_id: str, side: Side, moved: tuple[int, int]) -> Ask:
        """What a movement does to an account on one of its sides."""
        posted, held = moved
        is_normal = side == self._sides[account_id]
        versions = (one.command.get("if_version") or {}).get(account_id)
        return Ask(
            one.operation,
            posted=posted if is_normal else -posted,
            held_out=0 if is_normal else held,
            held_in=held if is_normal else 0,
            side=None if one.operation == "void_hold" else side,
            versions=None if versions is None else (int(versions),),
        )

    def _put(
        self, place: Place, one: Sent, ask: Ask, seen: tuple[tuple[str, object], ...] = ()
    ) -> None:
        """Take in the operation of a command on one object."""
        told = None
        if one.outcome is not None:
            if place[0] == "account" and one.outcome not in {"done", "unchanged"}:
                seen = _shown(one.answer.get("seen") or {}, _SEEN_OF_ACCOUNT)
            told = Told(one.outcome, one.position, seen)
        self._add(place, one.client, (one.invoked_at, one.completed_at), ask, told)

    def _add(
        self,
        place: Place,
        client: int,
        times: tuple[float, float | None],
        ask: Ask,
        told: Told | None,
    ) -> None:
        """Take in an operation."""
        self.recording.operations[place].append(Operation(client, times[0], times[1], ask, told))

    @staticmethod
    def _hold_id(one: Sent) -> str | None:
        """The hold that a command is about, if it is about one and that is known."""
        if one.operation not in {"place_hold", "capture_hold", "void_hold"}:
            return None
        found = one.command.get("hold_id") or one.answer.get("hold_id") or one.answer.get("id")
        return None if found is None else str(found)


def _accounts(one: Sent) -> tuple[str, str]:
    """The accounts that a movement debits and credits; the bank's own have no name here."""
    account_id = str(one.command.get("account_id"))
    match one.operation:
        case "deposit":
            return "", account_id
        case "withdraw":
            return account_id, ""
        case _:
            return str(one.command["debit_account_id"]), str(one.command["credit_account_id"])


def _legs(one: Sent, placed: Sent | None) -> list[Leg] | None:
    """What a movement does to accounts: side, amount posted, and by how much more is held there.

    ``None`` where that cannot be told from what the client knows.
    """
    match one.operation:
        case "post_entry":
            postings = one.command["postings"]
        case "reverse_entry" if one.outcome == "done":
            postings = one.answer.get("postings")
        case "reverse_entry":
            return None if one.outcome is None else []
        case _:
            moved = _moved(one, placed)
            debit, credit = _accounts(one if placed is None else placed)
            return None if moved is None else [(debit, "debit", *moved), (credit, "credit", *moved)]
    if postings is None:
        return None
    return [(leg["account_id"], leg["side"], int(leg["amount"]), 0) for leg in postings]


def _moved(one: Sent, placed: Sent | None) -> tuple[int, int] | None:
    """What a movement posts, and by how much it changes what is held; ``None``: cannot be told."""
    if one.operation == "place_hold":
        return 0, int(one.command["amount"])
    if placed is None:
        return int(one.command["amount"]), 0
    if one.outcome not in {None, "done"}:
        return 0, 0
    if one.outcome == "done" and "type" in one.answer:
        taken, freed = _taken(one.answer)
        return taken, -taken - freed
    if placed.command.get("multi_capture"):
        return None
    held = int(placed.command["amount"])
    amount = one.command.get("amount", "all")
    taken = 0 if one.operation == "void_hold" else held if amount == "all" else int(amount)
    return taken, -held


def _taken(answer: Mapping[str, Any]) -> tuple[int, int]:
    """What was captured of a hold, and what was freed of it, as the answer says."""
    if answer["type"] == "JournalEntryPosted":
        return int(answer["postings"][0]["amount"]), int(answer.get("freed") or 0)
    return 0, int(answer["amount"])


def _shown(document: Mapping[str, Any], names: Mapping[str, str]) -> tuple[tuple[str, object], ...]:
    """Those of the figures that a document shows, as the models call them."""
    return tuple(
        (ours, None if document[theirs] is None else int(document[theirs]))
        for theirs, ours in names.items()
        if theirs in document
    )


def _blocks(answer: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The blocks that an account's document shows."""
    return tuple(sorted((block["cause"], block["effect"]) for block in answer["blocks"]))


def _texts(command: Mapping[str, Any]) -> Iterator[str]:
    """Every text in a command."""
    for value in command.values():
        match value:
            case str():
                yield value
            case dict():
                yield from _texts(value)
                yield from value
            case list():
                for item in value:
                    yield from _texts({"": item})
