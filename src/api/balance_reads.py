"""Reads of balances, answered in groups: those that wait at one moment share one statement.

What a writer does for commands that wait (``ledger_core.writer``), for the read that comes most
often: the way to the database and back is paid once for the whole group, and while it is under way
the next group gathers.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from functools import partial

import msgspec

from api.reads import LOST
from ledger_core.accounts import AccountStatus, AccountType, Block, Holder
from ledger_core.errors import LedgerBusy
from ledger_core.journal import Side
from ledger_core.log import Connection
from ledger_core.money import decimal_text
from projections.balance_queries import Balance
from projections.present_balances import present_balances

# Each waits with a connection of its own, and for milliseconds: so many are a server that stands.
WAITING_MAX = 10_000
# As many as one statement reads in a few milliseconds.
GROUP_MAX = 500

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
    """A balance as it is sent, and what its headers say of it."""

    body: bytes
    version: int
    position: int


Found = BalanceText | BaseException | None


class _Asked(msgspec.Struct, frozen=True):
    """Who is to be told of which account of which ledger."""

    place: _Place
    tell: Callable[[Found], None]


class BalanceReads:
    """Answers whoever asks for a balance as it stands now; used by one event loop."""

    def __init__(self, connect: Callable[[], Connection], now: Callable[[], datetime]) -> None:
        """Read in a thread and on a connection of its own, begun when first needed."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="balances")
        self._connect = connect
        self._now = now
        self._connection: Connection | None = None
        self._waiting: list[_Asked] = []
        self._serving: asyncio.Task[None] | None = None

    async def read(self, ledger_id: int, account_id: str) -> BalanceText | None:
        """As ``ask``, for who can wait.

        Raises:
            LedgerBusy: too many wait already.
        """
        future: asyncio.Future[BalanceText | None] = asyncio.get_running_loop().create_future()
        self.ask(ledger_id, account_id, partial(_settle, future))
        return await future

    def ask(self, ledger_id: int, account_id: str, tell: Callable[[Found], None]) -> None:
        """Have somebody told the account's balance; ``None`` if it takes more than a look-up.

        That is so where there is no such account, where projections stand apart, and where
        something was due that is to be recorded first. A failure is told, too.

        Raises:
            LedgerBusy: too many wait already.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise LedgerBusy
        self._waiting.append(_Asked((ledger_id, account_id), tell))
        if self._serving is None:
            self._serving = asyncio.get_running_loop().create_task(self._serve())

    def close(self) -> None:
        """Wait for the group under way, and close the connection."""
        self._thread.shutdown()
        self._disconnect()

    async def _serve(self) -> None:
        """Answer one group after the other until nobody waits."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            group = self._waiting[:GROUP_MAX]
            del self._waiting[:GROUP_MAX]
            failure, texts = None, {}
            try:
                texts = await loop.run_in_executor(self._thread, self._texts, group)
            except Exception as error:  # noqa: BLE001 - it is told to each of those who wait
                failure = error
            for asked in group:
                loop.call_soon(asked.tell, failure or texts.get(asked.place))
        self._serving = None

    def _texts(self, group: Sequence[_Asked]) -> dict[_Place, BalanceText]:
        """The answers to a group; a connection that was lost meanwhile is made anew, once."""
        wanted: dict[int, set[str]] = {}
        for asked in group:
            ledger_id, account_id = asked.place
            wanted.setdefault(ledger_id, set()).add(account_id)
        try:
            return self._look_up(wanted)
        except LOST:
            self._disconnect()
            return self._look_up(wanted)

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
    return BalanceText(_encode(document), found.version, found.position)


def _text(amount_minor: int | None) -> str | None:
    """Minor units as they are sent."""
    return None if amount_minor is None else str(amount_minor)
