"""What a bank that does one thing after the other answers about one account, one hold, one profile.

These are the models that ``linearizability`` holds a history against, written from the semantics
that callers are told, not from the program: small numbers, no events. An account's model knows
balance, what is held, limit, blocks and version; a hold's what is left of it; a profile's its
fields. Amounts are minor units on the account's normal side.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from tests.faults.linearizability import Model

Side = Literal["debit", "credit"]


@dataclass(frozen=True, slots=True)
class Ask:
    """What was asked of one object.

    The changes are those of the object if the command is carried out; ``side`` is the side that is
    posted to, ``limit`` the one that is set. ``hold`` is the amount asked for of a hold, ``None``
    for all of it. A read is ``strict`` where it asked for all that anybody had been told before;
    ``least`` is the position that it asked for.
    """

    what: str
    posted: int = 0
    held_out: int = 0
    held_in: int = 0
    side: Side | None = None
    limit: int | None = None
    cause: str | None = None
    effect: str | None = None
    versions: tuple[int, ...] | None = None
    hold: int | None = None
    fields: tuple[tuple[str, str | None], ...] = ()
    is_multiple: bool = False
    may_expire: bool = False
    is_strict: bool = True
    least: int | None = None

    def __str__(self) -> str:
        """What was asked, without what was not."""
        changes = [
            f"{name} {change:+}"
            for name, change in (
                ("balance", self.posted),
                ("held", self.held_out),
                ("incoming", self.held_in),
            )
            if change
        ]
        if self.what in {"set_limit", "open_account"}:
            changes.append(f"limit {self.limit}")
        if self.what in {"place_hold", "capture_hold"} and not changes:
            changes.append("all" if self.hold is None else str(self.hold))
        changes += [f"{name} {value}" for name, value in self.fields]
        changes += [item for item in (self.cause, self.effect) if item is not None]
        if self.versions is not None:
            changes.append(f"if version {self.versions}")
        return " ".join([self.what, *changes])


@dataclass(frozen=True, slots=True)
class Told:
    """What was answered: ``done``, ``unchanged``, a refusal's code, or ``read``; and what was seen.

    ``position`` is where the command's event stands, or (refusals, reads) what the answer is as of.
    ``seen`` are fields of the object's state that the answer shows.
    """

    outcome: str
    position: int | None = None
    seen: tuple[tuple[str, object], ...] = ()

    def __str__(self) -> str:
        """The answer in one line."""
        shown = "".join(f" {name}={value}" for name, value in self.seen)
        return f"{self.outcome} at {self.position}{shown}"


class Account(NamedTuple):
    """An account as its customer sees it."""

    posted: int = 0
    held_out: int = 0
    held_in: int = 0
    limit: int | None = None
    blocks: tuple[tuple[str, str], ...] = ()
    version: int = 1

    def __str__(self) -> str:
        """All figures."""
        blocks = "".join(f", blocked: {cause} {effect}" for cause, effect in self.blocks)
        return (
            f"balance {self.posted}, held {self.held_out}, incoming {self.held_in},"
            f" limit {self.limit}, version {self.version}{blocks}"
        )


class Hold(NamedTuple):
    """What is left of a hold; ``open``, or how it ended."""

    status: str
    left: int
    is_multiple: bool
    may_expire: bool


Profile = tuple[tuple[str, str], ...]


def _account(state: Account | None, ask: Ask, told: Told | None) -> tuple[Account | None, ...]:
    """What an account may be after an operation on it."""
    outcome = "done" if told is None else told.outcome
    if ask.what == "open_account":
        return (Account(limit=ask.limit),) if state is None and outcome == "done" else ()
    if state is None or (told and any(getattr(state, name) != value for name, value in told.seen)):
        return ()
    if outcome not in {"done", "unchanged"}:
        return (state,) if _is_right(state, ask, outcome) else ()
    if not _has_version(state, ask) or _refusal(state, ask) is not None:
        return ()
    after = _carried_out(state, ask)
    if told is not None and ask.what in {"set_limit", "freeze_account"}:
        return () if (after == state) == (outcome == "done") else (after,)
    return (after,)


def _has_version(state: Account, ask: Ask) -> bool:
    """Whether the account has a version that the command takes."""
    return ask.versions is None or state.version in ask.versions


def _is_right(state: Account, ask: Ask, outcome: str) -> bool:
    """Whether an answer without an effect is right."""
    if outcome == "version_conflict":
        return not _has_version(state, ask)
    if outcome in {"insufficient_funds", "account_blocked", "block_not_found"}:
        return _refusal(state, ask) == outcome
    return True  # A read, whose figures were compared, or what the model knows nothing of.


def _refusal(state: Account, ask: Ask) -> str | None:
    """Why an account refuses, in the order of the checks; ``None``: it does not."""
    if ask.what == "unfreeze_account":
        return None if _lifted(state, ask) else "block_not_found"
    if any(effect in {ask.side, "full"} for _, effect in state.blocks) and ask.side is not None:
        return "account_blocked"
    if state.limit is None:
        return None
    before = state.posted - state.held_out + state.limit
    left = before + ask.posted - ask.held_out
    return "insufficient_funds" if left < 0 and left < before else None


def _carried_out(state: Account, ask: Ask) -> Account:
    """The account after an operation that was not refused."""
    match ask.what:
        case "set_limit":
            after = state._replace(limit=ask.limit)
        case "freeze_account":
            blocks = {*state.blocks, (ask.cause or "", ask.effect or "full")}
            after = state._replace(blocks=tuple(sorted(blocks)))
        case "unfreeze_account":
            lifted = _lifted(state, ask)
            rest = tuple(block for block in state.blocks if block not in lifted)
            return state._replace(blocks=rest, version=state.version + len(lifted))
        case _:
            return state._replace(
                posted=state.posted + ask.posted,
                held_out=state.held_out + ask.held_out,
                held_in=state.held_in + ask.held_in,
                version=state.version + 1,
            )
    return after if after == state else after._replace(version=state.version + 1)


def _lifted(state: Account, ask: Ask) -> list[tuple[str, str]]:
    """The blocks that an unfreezing lifts."""
    return [
        (cause, effect)
        for cause, effect in state.blocks
        if cause == ask.cause and ask.effect in {None, effect}
    ]


_RESOLVED = {"hold_already_captured": "captured", "hold_already_voided": "voided"}


def _hold(state: Hold | None, ask: Ask, told: Told | None) -> tuple[Hold | None, ...]:
    """What a hold may be after an operation on it; one that may expire may have, at any moment."""
    outcome = "done" if told is None else told.outcome
    if ask.what == "place_hold":
        placed = Hold("open", ask.hold or 0, ask.is_multiple, ask.may_expire)
        return (placed,) if outcome == "done" and state is None else ()
    if state is None:
        return (state,) if outcome == "hold_not_found" else ()
    if outcome == "done":
        return _resolved(state, ask, told)
    if outcome == "hold_expired" and state.status == "open" and state.may_expire:
        return (state._replace(status="expired", left=0),)
    if outcome == "hold_expired" or outcome in _RESOLVED:
        return (state,) if state.status == _RESOLVED.get(outcome, "expired") else ()
    is_open = state.status == "open" and outcome != "hold_not_found"
    is_more = ask.hold is not None and ask.hold > state.left
    return (state,) if is_open and (outcome != "exceeds_hold" or is_more) else ()


def _resolved(state: Hold, ask: Ask, told: Told | None) -> tuple[Hold, ...]:
    """An open hold after a capture or voiding that was carried out; no other can be."""
    taken = state.left if ask.hold is None else ask.hold
    if state.status != "open" or taken > state.left:
        return ()
    freed = 0 if state.is_multiple and ask.what == "capture_hold" else state.left - taken
    if ask.what == "void_hold":
        taken, freed = 0, state.left
    moved = {"captured": taken, "freed": freed}
    if told is not None and any(moved[name] != value for name, value in told.seen):
        return ()
    left = state.left - taken - freed
    status = "voided" if ask.what == "void_hold" else "captured"
    return (state._replace(status=status if left == 0 else "open", left=left),)


def _profile(state: Profile | None, ask: Ask, told: Told | None) -> tuple[Profile | None, ...]:
    """What a customer's profile may be after an operation on it."""
    outcome = "done" if told is None else told.outcome
    if ask.what == "register_customer":
        return (_with({}, ask),) if state is None and outcome == "done" else ()
    if state is None:
        return ()
    if told is not None and outcome == "read":
        known = dict(state)
        return (state,) if all(known.get(name) == value for name, value in told.seen) else ()
    after = _with(dict(state), ask)
    is_told = told is not None and outcome in {"done", "unchanged"}
    return () if is_told and (after == state) == (outcome == "done") else (after,)


def _with(known: dict[str, str], ask: Ask) -> Profile:
    """A profile with fields set, or cleared."""
    changed = {**known, **dict(ask.fields)}
    return tuple(sorted((name, value) for name, value in changed.items() if value is not None))


ACCOUNT: Model[Account | None, Ask, Told] = Model(None, _account)
HOLD: Model[Hold | None, Ask, Told] = Model(None, _hold)
PROFILE: Model[Profile | None, Ask, Told] = Model(None, _profile)
