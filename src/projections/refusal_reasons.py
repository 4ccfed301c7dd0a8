"""Why a command was refused: what was seen, and the events that made it so.

A refusal recorded at a position was judged on everything before it. The events are looked for by
the refusal's code: the block, the limit, the closed period, what had taken the id; where a balance
decided, the balance is explained as it was then.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Text, bindparam, select, text

from ledger_core import events, group, period, standing_order
from ledger_core.accounts import (
    Account,
    AccountClosed,
    AccountOpened,
    BlockPlaced,
    GroupMemberAdded,
    accounts_of,
)
from ledger_core.approvals import ApprovalFailed
from ledger_core.customers import CustomerErased, CustomerProfileChanged, CustomerRegistered
from ledger_core.errors import LedgerError, RefusalNotFound, leaves
from ledger_core.events import Recorded
from ledger_core.fields import can_exist
from ledger_core.group import GroupCreated, GroupLimitSet
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted
from ledger_core.period import PeriodClosed
from ledger_core.refusals import CommandRefused
from ledger_core.standing_order import StandingOrderRunRefused
from projections.balance_queries import accounts_of_ids
from projections.explaining import PROJECTIONS_READ as PROJECTIONS_OF_BALANCES
from projections.explaining import BalanceExplanation, explain_balance
from projections.reading import (
    EVENT_COLUMNS,
    NOW,
    AsOf,
    Reading,
    log_events,
    recorded_of,
    resolve,
)
from projections.tag_queries import events_tagged

PROJECTIONS_READ = (*PROJECTIONS_OF_BALANCES, "customer_360")
MEMBERS_MAX = 100
"""Members of a group whose balances are explained; a group may have more."""

_Refused = CommandRefused | StandingOrderRunRefused | ApprovalFailed


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """An event that stands behind a refusal: where, when, what it was, and what it said."""

    position: int
    recorded_at: datetime
    type: str
    data: dict[str, Any]


class RefusalExplanation(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded refusal, judged on everything up to ``judged_position``.

    ``sentence`` is what its code means, ``seen`` what its caller was shown, ``command`` what was
    asked for. ``facts`` are the events that made it so, ``balances`` the balances that decided,
    each as it was then. Neither is there where the reason is what did not exist, or in the command
    itself. ``members_left_out`` says how many balances of a large group are not explained.
    """

    refusal_position: int
    recorded_at: datetime
    actor: str
    code: str
    sentence: str
    seen: dict[str, Any]
    command: dict[str, Any]
    judged_position: int
    facts: tuple[Fact, ...]
    balances: tuple[BalanceExplanation, ...]
    members_left_out: int = 0
    position: int
    reflected_at: datetime | None


def explain_refusal(  # noqa: PLR0913 - which refusal, and how much of the balances
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    position: int | None = None,
    key: str | None = None,
    as_of: AsOf = NOW,
    limit: int = 10,
) -> RefusalExplanation:
    """The refusal at a position, or the newest of a command with a key, and what stood behind it.

    Of each balance the newest ``limit`` postings are shown.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
        RefusalNotFound: no refusal was recorded there, or under that key, by then.
    """
    reading = resolve(conn, ledger_id, as_of, *PROJECTIONS_READ)
    at = _position_of_key(conn, ledger_id, reading, key) if position is None else position
    if at is None or not 0 < at <= reading.position:
        raise RefusalNotFound(field="position" if key is None else "key")
    actor, item = _event_at(conn, ledger_id, at)
    event = item.event
    if not isinstance(event, CommandRefused | StandingOrderRunRefused | ApprovalFailed):
        raise RefusalNotFound(field="position")
    before = resolve(conn, ledger_id, AsOf(position=at - 1), *PROJECTIONS_READ)
    search = _Search(conn, ledger_id, before, event, limit)
    facts = {fact.position: fact for fact in search.facts()}
    balances = tuple(search.balances())
    return RefusalExplanation(
        refusal_position=at,
        recorded_at=item.recorded_at,
        actor=actor,
        code=event.code,
        sentence=_sentence(event.code),
        seen=event.seen,
        command=_command_of(event),
        judged_position=at - 1,
        facts=tuple(_fact(facts[place]) for place in sorted(facts)),
        balances=balances,
        members_left_out=search.members_left_out,
        position=reading.position,
        reflected_at=reading.recorded_at,
    )


_BY_KEY = text(
    "SELECT e.position FROM views.event_tags t JOIN ledger.events e"
    " ON e.ledger_id = t.ledger_id AND e.position = t.position"
    " WHERE t.ledger_id = :ledger_id AND t.slot = :slot AND t.tag ^@ 'refusal:'"
    " AND t.position <= :position AND e.ledger_id = :ledger_id"
    " AND e.data->'command'->>'key' = :key ORDER BY e.position DESC LIMIT 1"
).bindparams(bindparam("key", type_=Text))


def _position_of_key(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, key: str | None
) -> int | None:
    """Where the newest refusal of a command with that key is recorded."""
    if key is None or not can_exist(key):
        return None
    found: int | None = conn.execute(
        _BY_KEY,
        {
            "ledger_id": ledger_id,
            "slot": reading.slots["event_tags"],
            "position": reading.position,
            "key": key,
        },
    ).scalar()
    return found


def _event_at(conn: sqlalchemy.Connection, ledger_id: int, position: int) -> tuple[str, Recorded]:
    """Who acted at a position, and the event."""
    row = conn.execute(
        select(*EVENT_COLUMNS, sqlalchemy.literal_column("actor", Text)).where(
            log_events.c.ledger_id == ledger_id, log_events.c.position == position
        )
    ).one()
    return row.actor, recorded_of(row)


def _command_of(event: _Refused) -> dict[str, Any]:
    """What was asked for, or what stands for it."""
    match event:
        case CommandRefused():
            return event.command
        case StandingOrderRunRefused():
            return {
                "type": "run_order",
                "order_id": event.order_id,
                "due_date": event.due_date.isoformat(),
            }
        case ApprovalFailed():
            return {"type": "approve_request", "request_id": event.request_id}


def _sentence(code: str) -> str:
    """What a code means."""
    return next((leaf.sentence for leaf in leaves() if leaf.code == code), LedgerError.sentence)


def _fact(item: Recorded) -> Fact:
    """The event as a fact."""
    name, _ = events.name_of(item.event)
    return Fact(
        position=item.position,
        recorded_at=item.recorded_at,
        type=name,
        data=msgspec.to_builtins(item.event, enc_hook=str),
    )


class _Search:
    """Looks for what stands behind one refusal, in the ledger as it was when it was judged."""

    def __init__(
        self,
        conn: sqlalchemy.Connection,
        ledger_id: int,
        reading: Reading,
        event: _Refused,
        limit: int,
    ) -> None:
        """Look nothing up yet."""
        self._conn = conn
        self._ledger_id = ledger_id
        self._reading = reading
        self._event = event
        self._limit = limit
        self._command = _command_of(event)
        self.members_left_out = 0

    def facts(self) -> Iterable[Recorded]:
        """The events that made it so."""
        code, seen = self._event.code, self._event.seen
        if isinstance(self._event, StandingOrderRunRefused):
            yield from self._tagged(f"{standing_order.KIND}:{self._event.order_id}")
        if isinstance(self._event, ApprovalFailed):
            yield from self._tagged(f"approval:{self._event.request_id}")
        at = seen.get("position")
        if code in _BY_POSITION and isinstance(at, int) and 0 < at <= self._reading.position:
            yield _event_at(self._conn, self._ledger_id, at)[1]
        hold_id = seen.get("hold_id") or self._command.get("hold_id")
        if hold_id is not None and ("hold" in code):
            yield from self._of_types(
                f"hold:{hold_id}", HoldPlaced, HoldReleased, JournalEntryPosted
            )
        if seen.get("group_id") is not None:
            yield from self._last(f"{group.KIND}:{seen['group_id']}", GroupCreated, GroupLimitSet)
        if seen.get("customer_id") is not None:
            yield from self._of_types(
                f"customer:{seen['customer_id']}",
                CustomerRegistered,
                CustomerProfileChanged,
                CustomerErased,
            )
        finder = _FINDERS.get(code)
        if finder is not None:
            yield from finder(self)

    def balances(self) -> Iterable[BalanceExplanation]:
        """The balances that decided, as they were."""
        if self._event.code not in _BY_BALANCE:
            return
        names = self._members() if "group_id" in self._event.seen else self._accounts()
        self.members_left_out = max(0, len(names) - MEMBERS_MAX)
        for account in accounts_of_ids(
            self._conn, self._ledger_id, self._reading, names[:MEMBERS_MAX]
        ):
            yield explain_balance(
                self._conn,
                self._ledger_id,
                account.terms.account_id,
                as_of=AsOf(position=self._reading.position),
                limit=self._limit,
            )

    def blocks(self) -> Iterable[Recorded]:
        """The blocks in force that forbid the side: each where it was placed last."""
        side = self._event.seen.get("side")
        for account in self._account_states():
            in_force = {
                (block.cause, block.effect)
                for block in account.terms.blocks
                if side is None or block.effect in {side, "full"}
            }
            placed = {
                (item.event.cause, item.event.effect): item
                for item in self._tagged(f"account:{account.terms.account_id}")
                if isinstance(item.event, BlockPlaced)
            }
            yield from (item for block, item in placed.items() if block in in_force)

    def closing(self) -> Iterable[Recorded]:
        """Where the account was closed."""
        for name in self._accounts():
            yield from self._last(f"account:{name}", AccountClosed)

    def opening(self) -> Iterable[Recorded]:
        """Where the account was opened, and its currency settled."""
        for name in self._accounts():
            yield from self._last(f"account:{name}", AccountOpened)

    def closed_period(self) -> Iterable[Recorded]:
        """Where the period was closed."""
        yield from self._last(f"{period.KIND}:{period.PERIOD_ID}", PeriodClosed)

    def newest_change(self) -> Iterable[Recorded]:
        """The event that gave the account its version."""
        for account in self._account_states():
            yield _event_at(self._conn, self._ledger_id, account.last_position)[1]

    def _accounts(self) -> list[str]:
        """The accounts that the refusal is about: the one that it saw, else those it names."""
        seen = self._event.seen.get("account_id")
        if seen is not None:
            return [str(seen)]
        names = ("account_id", "debit_account_id", "credit_account_id")
        named = [self._command[name] for name in names if self._command.get(name)]
        named += [line["account_id"] for line in self._command.get("postings", ())]
        return list(dict.fromkeys(map(str, named)))

    def _members(self) -> list[str]:
        """The accounts of the group that the refusal is about, as they were."""
        group_id = self._event.seen["group_id"]
        items = self._of_types(f"{group.KIND}:{group_id}", GroupMemberAdded)
        added = dict.fromkeys(
            name for item in items for name in accounts_of(item.event, item.position)
        )
        found = accounts_of_ids(self._conn, self._ledger_id, self._reading, list(added))
        return [item.terms.account_id for item in found if group_id in item.terms.groups]

    def _account_states(self) -> list[Account]:
        """The accounts as they were."""
        return accounts_of_ids(self._conn, self._ledger_id, self._reading, self._accounts())

    def _tagged(self, tag: str) -> list[Recorded]:
        """The events about something, but for refusals."""
        found = events_tagged(self._conn, self._ledger_id, self._reading, tag)
        return [item for item in found if not isinstance(item.event, CommandRefused)]

    def _of_types(self, tag: str, *kinds: type) -> list[Any]:
        """Those of the events about something that are of some types."""
        return [item for item in self._tagged(tag) if isinstance(item.event, kinds)]

    def _last(self, tag: str, *kinds: type) -> list[Recorded]:
        """The last of them."""
        return self._of_types(tag, *kinds)[-1:]


_BY_BALANCE = frozenset(
    {"insufficient_funds", "limit_exceeded", "condition_failed", "account_not_empty"}
)
# Refusals whose ``position`` is that of what stood in the way; of others, it is the last one seen.
_BY_POSITION = frozenset(
    {
        "already_reversed",
        "hold_already_captured",
        "hold_already_voided",
        "hold_expired",
        "not_a_hold",
        "not_reversible",
        "reference_conflict",
    }
)
_FINDERS: Mapping[str, Callable[[_Search], Iterable[Recorded]]] = {
    "account_blocked": _Search.blocks,
    "account_closed": _Search.closing,
    "currency_mismatch": _Search.opening,
    "period_closed": _Search.closed_period,
    "version_conflict": _Search.newest_change,
}
