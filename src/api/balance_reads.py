"""Reads of balances, answered in groups: those that wait at one moment share one statement.

What a writer does for commands that wait (``ledger_core.writer``), for the read that comes most
often: the way to the database and back is paid once for the whole group, and while it is under way
the next group gathers. That they were read is recorded before any of them is told (``accesses``).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, datetime
from functools import partial

import msgspec

from api import admission
from api.accesses import PUT_OFF_S, Recorder
from api.admission import Room
from api.intake import QUEUE_S
from api.problems import Problem
from api.reads import LOST
from api.settings import Recording
from api.telling import Telling
from ledger_core.access_log import NewAccess
from ledger_core.accounts import AccountStatus, AccountType, Block, Holder
from ledger_core.journal import Side
from ledger_core.log import Connection
from ledger_core.money import decimal_text
from projections.balance_queries import Balance
from projections.present_balances import present_balances

# As many as one statement reads in a few milliseconds.
GROUP_MAX = 500
_TOLD_AT_ONCE = 50
"""In a turn of the loop (``api.telling``)."""
# As the writer waits for its callers (``ledger_core.writer``).
GATHER_S = 0.002

_Place = tuple[int, str]


class BalanceDocument(msgspec.Struct, frozen=True, gc=False):
    """The document of ``routes.balances.BalanceAnswer``, member by member."""

    position: int
    recorded_at: datetime | None
    account_id: str
    account_no: int
    account_type: AccountType
    currency: str
    scale: int
    normal_side: Side
    status: AccountStatus
    code: str | None
    name: str | None
    metadata: dict[str, str] | None
    opened_at: datetime
    posted_minor: str
    posted: str
    debits_posted_minor: str
    credits_posted_minor: str
    held_minor: str
    incoming_held_minor: str
    available_minor: str | None
    available: str | None
    limit_minor: str | None
    ceiling_minor: str | None
    groups: tuple[str, ...]
    blocks: tuple[Block, ...]
    holders: tuple[Holder, ...]
    version: int
    value_date: date | None


class BalanceText(msgspec.Struct, frozen=True, gc=False):
    """A balance as it is sent, what its headers say of it, and the customers whom it shows."""

    body: bytes
    version: int
    position: int
    customers: tuple[str, ...] = ()


Found = BalanceText | BaseException | None
Access = Callable[[BalanceText], NewAccess]
"""The access that telling somebody a balance amounts to."""


class _Asked(msgspec.Struct, frozen=True):
    """Who is to be told of which account of which ledger, and how that is recorded."""

    place: _Place
    access: Access
    tell: Callable[[Found], None]
    begun_at_s: float
    among: int


_Told = tuple[_Asked, Found]


class BalanceReads:
    """Answers whoever asks for a balance as it stands now; used by one event loop."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        now: Callable[[], datetime],
        recorder: Recorder,
        recording: Recording = "strict",
        queue_s: float = QUEUE_S,
    ) -> None:
        """Read in a thread and on a connection of its own, begun when first needed.

        What would be answered later than ``queue_s`` after it was asked is refused.
        """
        self.room = Room(admission.reads(queue_s))
        self._recorder = recorder
        self._recording = recording
        self._late: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="balances")
        self._connect = connect
        self._now = now
        self._connection: Connection | None = None
        self._waiting: list[_Asked] = []
        self._telling: Telling[_Told] | None = None
        self._is_serving = False
        self._next: asyncio.Handle | None = None
        self._is_soon = False
        self._answered = 0

    async def read(self, ledger_id: int, account_id: str, access: Access) -> BalanceText | None:
        """As ``ask``, for who can wait.

        Raises:
            LedgerBusy: too many wait already.
            Problem: the access could not be recorded.
        """
        future: asyncio.Future[BalanceText | None] = asyncio.get_running_loop().create_future()
        self.ask(ledger_id, account_id, access, partial(_settle, future))
        return await future

    def ask(
        self, ledger_id: int, account_id: str, access: Access, tell: Callable[[Found], None]
    ) -> None:
        """Have somebody told the account's balance; ``None`` if it takes more than a look-up.

        That is so where there is no such account, where projections stand apart, and where
        something was due that is to be recorded first. A failure is told, too. A balance is told
        once its access is durable, or put off (``Recorder.record_soon``); nothing is recorded where
        ``None`` is told.

        Raises:
            LedgerBusy: it would not be answered in time.
        """
        among = self.room.begin(1)
        now_s = time.monotonic()
        self._waiting.append(_Asked((ledger_id, account_id), access, tell, now_s, among))
        if not self._is_serving:
            self._begin_soon()

    def close(self) -> None:
        """Wait for the group under way, record what was put off, and close the connection."""
        self._thread.submit(self._record_the_rest)
        self._thread.shutdown()
        self._recorder.close()
        self._disconnect()

    def _begin_soon(self) -> None:
        """Begin after this turn of the loop with half of those back who were answered last.

        Else in a moment: what records a group costs as much for one as for fifty.
        """
        is_enough = 2 * len(self._waiting) >= self._answered
        if self._next is not None:
            if self._is_soon or not is_enough:
                return
            self._next.cancel()
        loop = asyncio.get_running_loop()
        self._is_soon = is_enough
        if is_enough:
            self._next = loop.call_soon(self._begin)
        else:
            self._next = loop.call_later(GATHER_S, self._begin)

    def _begin(self) -> None:
        """Answer those who wait by now."""
        self._next = None
        group = self._waiting[:GROUP_MAX]
        del self._waiting[:GROUP_MAX]
        if not group:
            return
        self._is_serving = True
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._texts, group)
        future.add_done_callback(partial(self._tell, group))

    def _tell(
        self, group: Sequence[_Asked], future: "asyncio.Future[dict[_Place, BalanceText]]"
    ) -> None:
        """Tell a group what was found, or why nothing could be; the next may begin meanwhile."""
        failure, texts = future.exception(), {}
        if failure is None:
            texts = future.result()
        self._answered = len(group)
        self._is_serving = False
        loop = asyncio.get_running_loop()
        if self._waiting:
            self._begin_soon()
        if self._late is None and self._recorder.puts_off:
            self._late = loop.call_later(PUT_OFF_S, self._catch_up)
        if self._telling is None or self._telling.loop is not loop:
            self._telling = Telling(loop, self._tell_one, _TOLD_AT_ONCE)
        self._telling.put(*[(asked, failure or texts.get(asked.place)) for asked in group])

    def _tell_one(self, told: "_Told") -> None:
        """Tell one who waits."""
        asked, found = told
        self.room.end(1)
        if not isinstance(found, BaseException):
            self.room.learn(asked.among, time.monotonic() - asked.begun_at_s)
        asked.tell(found)

    def _catch_up(self) -> None:
        """Have recorded what was put off."""
        self._late = None
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._thread, self._record_the_rest)
        future.add_done_callback(self._look_again)

    def _look_again(self, _future: "asyncio.Future[None]") -> None:
        """Try once more soon what could not be recorded; nobody is told a balance meanwhile."""
        if self._late is None and self._recorder.puts_off:
            self._late = asyncio.get_running_loop().call_later(PUT_OFF_S, self._catch_up)

    def _texts(self, group: Sequence[_Asked]) -> dict[_Place, BalanceText]:
        """The answers to a group; a connection that was lost meanwhile is made anew, once."""
        wanted: dict[int, set[str]] = {}
        for asked in group:
            ledger_id, account_id = asked.place
            wanted.setdefault(ledger_id, set()).add(account_id)
        try:
            texts = self._look_up(wanted)
        except LOST:
            self._disconnect()
            texts = self._look_up(wanted)
        self._record(
            [(asked, text) for asked in group if (text := texts.get(asked.place)) is not None]
        )
        return texts

    def _record(self, shown: Sequence[tuple[_Asked, BalanceText]]) -> None:
        """Record what is about to be told; first, if it tells of a customer."""
        accesses = [(asked.place[0], asked.access(text)) for asked, text in shown]
        if self._recording == "prompt" and not any(text.customers for _, text in shown):
            self._recorder.record_soon(accesses, time.monotonic())
        elif accesses:
            self._recorder.record(accesses)

    def _record_the_rest(self) -> None:
        """Record what was put off, as far as that can be done."""
        if self._recorder.puts_off:
            with suppress(Problem):  # It is in the log of the program, and tried again.
                self._recorder.record(())

    def _look_up(self, wanted: dict[int, set[str]]) -> dict[_Place, BalanceText]:
        """The answers about accounts of some ledgers, each ledger's of one moment."""
        if self._connection is None:
            self._connection = self._connect()
        texts: dict[_Place, BalanceText] = {}
        for ledger_id, account_ids in wanted.items():
            present = present_balances(self._connection, ledger_id, account_ids)
            if present.due_at is not None and present.due_at <= self._now():
                continue
            for account_id, found in present.balances.items():
                texts[ledger_id, account_id] = text_of(found)
        return texts

    def _disconnect(self) -> None:
        """Let go of the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _settle(future: asyncio.Future[BalanceText | None], found: Found) -> None:
    """Tell a future, if somebody still waits for it."""
    if future.done():
        return
    if isinstance(found, BaseException):
        future.set_exception(found)
    else:
        future.set_result(found)


_encode = msgspec.json.Encoder().encode


def text_of(found: Balance) -> BalanceText:
    """The balance as it is sent."""
    scale, available_minor = found.scale, found.available_minor
    document = BalanceDocument(
        found.position,
        found.recorded_at,
        found.account_id,
        found.account_no,
        found.account_type,
        found.currency,
        scale,
        found.normal_side,
        found.status,
        found.code,
        found.name,
        found.metadata,
        found.opened_at,
        str(found.posted_minor),
        decimal_text(found.posted_minor, scale),
        str(found.debits_posted_minor),
        str(found.credits_posted_minor),
        str(found.held_minor),
        str(found.incoming_held_minor),
        _text(available_minor),
        None if available_minor is None else decimal_text(available_minor, scale),
        _text(found.limit_minor),
        _text(found.ceiling_minor),
        found.groups,
        found.blocks,
        found.holders,
        found.version,
        found.value_date,
    )
    customers = tuple(holder.customer_id for holder in found.holders)
    return BalanceText(_encode(document), found.version, found.position, customers)


def _text(amount_minor: int | None) -> str | None:
    """Minor units as they are sent."""
    return None if amount_minor is None else str(amount_minor)
