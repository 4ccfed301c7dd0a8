"""Accounts: what they are, how events change them, and the balance rules everybody shares.

The kernel of the ledger. The same ``evolve`` and ``posted`` are used when a command is decided,
when a projection is kept up to date and when the log is verified, so that a balance has one
definition. Sums are kept for both sides and only ever grow; a balance is their difference on the
account's normal side. Knows no database and no clock.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, TypeVar, assert_never

import msgspec

from ledger_core.errors import (
    AccountIsBlocked,
    AccountIsClosed,
    InsufficientFunds,
    LimitExceeded,
)
from ledger_core.fields import ACCOUNT_PREFIX
from ledger_core.journal import (
    HoldEvent,
    HoldPlaced,
    HoldReleased,
    JournalEntryPosted,
    Posting,
    Side,
)

AccountType = Literal["asset", "liability", "equity", "income", "expense"]
BlockEffect = Literal["debit", "credit", "full"]
HolderRole = Literal["owner", "joint", "authorised"]
AccountStatus = Literal["open", "closed"]
_Item = TypeVar("_Item", "Block", "Holder", str)

# An account with more causes to block it or more holders than this is a data error.
BLOCKS_MAX = 50
HOLDERS_MAX = 100
GROUPS_MAX = 10


class AccountOpened(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account was opened; its currency and scale never change.

    ``limit_minor`` is how far below zero the available balance may go on the account's normal
    side (negative: how far above zero it must stay), ``ceiling_minor`` the most that it may be;
    ``None`` means without such a limit. ``account_id`` absent means ``acc_<position>``.
    """

    account_type: AccountType
    currency: str
    scale: int
    account_id: str | None = None
    limit_minor: int | None = None
    code: str | None = None
    name: str | None = None
    customer_id: str | None = None
    metadata: dict[str, str] | None = None
    ceiling_minor: int | None = None


class BlockPlaced(msgspec.Struct, frozen=True, omit_defaults=True):
    """A side of the account, or all of it, was blocked for a cause; causes stack."""

    account_id: str
    cause: str
    effect: BlockEffect
    reason: str | None = None


class BlockLifted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The block of that cause and effect was lifted; others stay in force.

    ``asked_effect`` is what the command named; ``None`` meant every effect of the cause.
    """

    account_id: str
    cause: str
    effect: BlockEffect
    reason: str | None = None
    asked_effect: BlockEffect | None = None


class AccountClosed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The account was closed at a balance of zero."""

    account_id: str
    reason: str | None = None


class AccountReopened(msgspec.Struct, frozen=True, omit_defaults=True):
    """A closed account was opened again, under its old terms."""

    account_id: str
    reason: str | None = None


class LimitSet(msgspec.Struct, frozen=True, omit_defaults=True):
    """The account's limits changed; ``None`` means without such a limit.

    With ``keeps_ceiling`` the ceiling was not named and stays as it is. ``due_at`` is set where a
    day was named, and says from when on the change is in force: from the beginning (UTC) of the
    day if it had been scheduled, from its recording if it was asked for on that very day.
    """

    account_id: str
    limit_minor: int | None
    reason: str | None = None
    ceiling_minor: int | None = None
    due_at: datetime | None = None
    keeps_ceiling: bool = False


class AccountHolderLinked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A customer became owner, joint holder or authorised signatory of an account."""

    account_id: str
    customer_id: str
    role: HolderRole


class AccountHolderUnlinked(msgspec.Struct, frozen=True, omit_defaults=True):
    """A customer ceased to hold that role on an account."""

    account_id: str
    customer_id: str
    role: HolderRole
    reason: str | None = None


class GroupMemberAdded(msgspec.Struct, frozen=True):
    """An account joined a group."""

    group_id: str
    account_id: str


class GroupMemberRemoved(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account left a group."""

    group_id: str
    account_id: str
    reason: str | None = None


AccountEvent = (
    AccountOpened
    | BlockPlaced
    | BlockLifted
    | AccountClosed
    | AccountReopened
    | LimitSet
    | AccountHolderLinked
    | AccountHolderUnlinked
    | GroupMemberAdded
    | GroupMemberRemoved
)
# What changes an account's sums, not its terms.
Movement = JournalEntryPosted | HoldEvent


class Block(msgspec.Struct, frozen=True, order=True, gc=False):
    """A block in force: why, and which side it forbids."""

    cause: str
    effect: BlockEffect


class Holder(msgspec.Struct, frozen=True, order=True, gc=False):
    """A customer's role on an account."""

    customer_id: str
    role: HolderRole


class Terms(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What changes seldom about an account."""

    account_id: str
    account_no: int
    account_type: AccountType
    currency: str
    scale: int
    normal_side: Side
    opened_at: datetime
    status: AccountStatus = "open"
    limit_minor: int | None = None
    code: str | None = None
    name: str | None = None
    blocks: tuple[Block, ...] = ()
    holders: tuple[Holder, ...] = ()
    metadata: dict[str, str] | None = None
    ceiling_minor: int | None = None
    groups: tuple[str, ...] = ()

    @property
    def is_limited(self) -> bool:
        """Whether a movement can be beyond any limit of the account's own."""
        return self.limit_minor is not None or self.ceiling_minor is not None


class Account(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An account after some event: its terms and its sums, all in minor units and never negative.

    ``version`` counts the events that touched the account; ``last_position`` is the last of them.
    """

    terms: Terms
    debits_posted_minor: int
    credits_posted_minor: int
    debits_held_minor: int
    credits_held_minor: int
    version: int
    last_position: int

    @property
    def posted_minor(self) -> int:
        """Posted balance on the normal side; negative means overdrawn."""
        if self.terms.normal_side == "credit":
            return self.credits_posted_minor - self.debits_posted_minor
        return self.debits_posted_minor - self.credits_posted_minor

    @property
    def outgoing_held_minor(self) -> int:
        """What open holds will take from the account."""
        if self.terms.normal_side == "credit":
            return self.debits_held_minor
        return self.credits_held_minor

    @property
    def incoming_held_minor(self) -> int:
        """What open holds will bring to the account."""
        if self.terms.normal_side == "credit":
            return self.credits_held_minor
        return self.debits_held_minor

    @property
    def available_minor(self) -> int | None:
        """Posted less outgoing holds plus the limit; ``None`` where there is no limit.

        Incoming holds do not fund.
        """
        limit_minor = self.terms.limit_minor
        if limit_minor is None:
            return None
        return self.posted_minor - self.outgoing_held_minor + limit_minor


_NORMAL_SIDE: dict[AccountType, Side] = {
    "asset": "debit",
    "expense": "debit",
    "liability": "credit",
    "equity": "credit",
    "income": "credit",
}


def normal_side(account_type: AccountType) -> Side:
    """The side on which an account of this type grows."""
    return _NORMAL_SIDE[account_type]


def account_id_at(event: AccountOpened, position: int) -> str:
    """The account's id: the caller's own, else the one derived from its position."""
    return event.account_id if event.account_id is not None else f"{ACCOUNT_PREFIX}{position}"


def opened(event: AccountOpened, position: int, recorded_at: datetime) -> Account:
    """The account as it is after its first event."""
    customer_id = event.customer_id
    terms = Terms(
        account_id=account_id_at(event, position),
        account_no=position,
        account_type=event.account_type,
        currency=event.currency,
        scale=event.scale,
        normal_side=normal_side(event.account_type),
        opened_at=recorded_at,
        limit_minor=event.limit_minor,
        code=event.code,
        name=event.name,
        holders=() if customer_id is None else (Holder(customer_id, "owner"),),
        metadata=event.metadata,
        ceiling_minor=event.ceiling_minor,
    )
    return Account(terms, 0, 0, 0, 0, 1, position)


def posted(account: Account, posting: Posting, position: int) -> Account:
    """The account after one posting of an entry at ``position``.

    Several postings of one entry count as one event, so the version grows once a position.
    """
    version = account.version if account.last_position == position else account.version + 1
    if posting.side == "debit":
        return Account(
            account.terms,
            account.debits_posted_minor + posting.amount_minor,
            account.credits_posted_minor,
            account.debits_held_minor,
            account.credits_held_minor,
            version,
            position,
        )
    return Account(
        account.terms,
        account.debits_posted_minor,
        account.credits_posted_minor + posting.amount_minor,
        account.debits_held_minor,
        account.credits_held_minor,
        version,
        position,
    )


def posted_plainly(account: Account, posting: Posting, position: int) -> Account | None:
    """As ``posted``, where nothing about the account can stand in the way of the posting.

    ``None`` where something can, so that it has to be looked into: the account is closed, blocked,
    in a group, has a ceiling, is kept in another currency, or would be beyond its limit.
    """
    terms = account.terms
    if (
        terms.currency != posting.currency
        or terms.status != "open"
        or terms.blocks
        or terms.groups
        or terms.ceiling_minor is not None
    ):
        return None
    after = posted(account, posting, position)
    if terms.limit_minor is not None:
        left_minor = after.posted_minor - after.outgoing_held_minor + terms.limit_minor
        return None if left_minor < 0 else after
    return after


def held(account: Account, side: Side, change_minor: int, position: int) -> Account:
    """The account after a hold on one side of it grew (or, below zero, shrank) at ``position``."""
    version = account.version if account.last_position == position else account.version + 1
    return Account(
        account.terms,
        account.debits_posted_minor,
        account.credits_posted_minor,
        account.debits_held_minor + (change_minor if side == "debit" else 0),
        account.credits_held_minor + (change_minor if side == "credit" else 0),
        version,
        position,
    )


def held_changes(event: Movement) -> tuple[tuple[str, Side, int], ...]:
    """By how much a movement changes what is held: account, side, minor units (negative: less).

    A capture ceases to hold what it settles and what it frees.
    """
    match event:
        case HoldPlaced():
            change_minor = event.amount_minor
        case HoldReleased():
            change_minor = -event.amount_minor
        case _:
            if event.hold_id is None:
                return ()
            debit, credit = event.postings
            change_minor = -(debit.amount_minor + event.freed_minor)
            return (
                (debit.account_id, "debit", change_minor),
                (credit.account_id, "credit", change_minor),
            )
    return (
        (event.debit_account_id, "debit", change_minor),
        (event.credit_account_id, "credit", change_minor),
    )


def moved(account: Account, event: Movement, position: int) -> Account:
    """The account after all that one movement does to it: postings, and what is held."""
    account_id = account.terms.account_id
    if isinstance(event, JournalEntryPosted):
        for posting in event.postings:
            if posting.account_id == account_id:
                account = posted(account, posting, position)
    for held_id, side, change_minor in held_changes(event):
        if held_id == account_id:
            account = held(account, side, change_minor, position)
    return account


def evolve(account: Account, event: AccountEvent, position: int) -> Account:
    """The account after an event on its terms; ``AccountOpened`` begins one: see ``opened``."""
    return msgspec.structs.replace(
        account,
        terms=_with(account.terms, **_changes(account.terms, event)),
        version=account.version + 1,
        last_position=position,
    )


def _changes(terms: Terms, event: AccountEvent) -> dict[str, object]:
    """The terms that an event changes, as they are after it."""
    match event:
        case BlockPlaced() | BlockLifted():
            return {"blocks": _changed(terms.blocks, Block(event.cause, event.effect), event)}
        case AccountHolderLinked() | AccountHolderUnlinked():
            holder = Holder(event.customer_id, event.role)
            return {"holders": _changed(terms.holders, holder, event)}
        case GroupMemberAdded() | GroupMemberRemoved():
            return {"groups": _changed(terms.groups, event.group_id, event)}
        case AccountClosed():
            return {"status": "closed"}
        case AccountReopened():
            return {"status": "open"}
        case LimitSet():
            ceiling_minor = terms.ceiling_minor if event.keeps_ceiling else event.ceiling_minor
            return {"limit_minor": event.limit_minor, "ceiling_minor": ceiling_minor}
        case AccountOpened():
            msg = "an account is opened once; replaying its opening onto it is a bug"
            raise AssertionError(msg)
        case _:
            assert_never(event)


def _changed(present: tuple[_Item, ...], item: _Item, event: AccountEvent) -> tuple[_Item, ...]:
    """What is in force after an event that adds an item, or takes it away; in order."""
    others = [other for other in present if other != item]
    if isinstance(event, BlockPlaced | AccountHolderLinked | GroupMemberAdded):
        others.append(item)
    return tuple(sorted(others))


def accounts_of(event: Movement | AccountEvent, position: int) -> Iterable[str]:
    """The ids of the accounts that an event touches, each once, in posting order."""
    match event:
        case JournalEntryPosted(postings=postings):
            return dict.fromkeys(posting.account_id for posting in postings)
        case HoldPlaced() | HoldReleased():
            return (event.debit_account_id, event.credit_account_id)
        case AccountOpened():
            return (account_id_at(event, position),)
        case _:
            return (event.account_id,)


def require_open(account: Account) -> None:
    """The account takes postings and changes.

    Raises:
        AccountIsClosed: it is closed.
    """
    if account.terms.status != "open":
        raise AccountIsClosed(account_id=account.terms.account_id)


def require_not_blocked(account: Account, side: Side) -> None:
    """No block forbids postings on that side.

    Raises:
        AccountIsBlocked: with the causes in force.
    """
    if not account.terms.blocks:
        return
    causes = [block.cause for block in account.terms.blocks if block.effect in (side, "full")]
    if causes:
        raise AccountIsBlocked(account_id=account.terms.account_id, side=side, causes=causes)


def require_within_limit(before: Account, after: Account) -> None:
    """A movement leaves the account within its limits, or closer to them than it was.

    Exactly reaching a limit is allowed, and so is any movement whose net effect does not take the
    balance further beyond it, even on an account that is beyond its limit already. Open holds
    count on the side on which they will be posted.

    Raises:
        InsufficientFunds: with what was available, the limit, and what the movement takes.
        LimitExceeded: with what the balance may grow to, and what it would grow to.
    """
    terms = before.terms
    if terms.limit_minor is not None:
        left_minor = after.posted_minor - after.outgoing_held_minor + terms.limit_minor
        if left_minor < 0:
            available_minor = before.posted_minor - before.outgoing_held_minor + terms.limit_minor
            if left_minor < available_minor:
                raise InsufficientFunds(
                    account_id=terms.account_id,
                    posted_minor=str(before.posted_minor),
                    held_minor=str(before.outgoing_held_minor),
                    available_minor=str(available_minor),
                    limit_minor=str(terms.limit_minor),
                    needed_minor=str(available_minor - left_minor),
                )
    if terms.ceiling_minor is not None:
        reached_minor = after.posted_minor + after.incoming_held_minor
        present_minor = before.posted_minor + before.incoming_held_minor
        if reached_minor > max(terms.ceiling_minor, present_minor):
            raise LimitExceeded(
                account_id=terms.account_id,
                posted_minor=str(before.posted_minor),
                held_minor=str(before.incoming_held_minor),
                ceiling_minor=str(terms.ceiling_minor),
                reached_minor=str(reached_minor),
            )


def headroom(account: Account, side: Side) -> int:
    """How much a balancing movement may post on that side, in minor units: never negative.

    On the side that lowers the balance, what is available; on the other, what its ceiling leaves.
    An account without the limit in question counts as one that may come to zero: its postings on
    the other side are what can be balanced (as TigerBeetle's balancing transfers do).
    """
    terms = account.terms
    if side == terms.normal_side:
        most_minor = terms.ceiling_minor or 0
        return max(0, most_minor - account.posted_minor - account.incoming_held_minor)
    limit_minor = terms.limit_minor or 0
    return max(0, account.posted_minor - account.outgoing_held_minor + limit_minor)


def _with(terms: Terms, **changes: object) -> Terms:
    """The terms with some of them changed."""
    return msgspec.structs.replace(terms, **changes)
