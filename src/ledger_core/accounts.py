"""Accounts: what they are, how events change them, and the balance rules everybody shares.

The kernel of the ledger. The same ``evolve`` and ``posted`` are used when a command is decided,
when a projection is kept up to date and when the log is verified, so that a balance has one
definition. Sums are kept for both sides and only ever grow; a balance is their difference on the
account's normal side. Knows no database and no clock.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Literal, assert_never

import msgspec

from ledger_core.errors import AccountIsBlocked, AccountIsClosed, InsufficientFunds
from ledger_core.fields import ACCOUNT_PREFIX
from ledger_core.journal import JournalEntryPosted, Posting, Side

AccountType = Literal["asset", "liability", "equity", "income", "expense"]
BlockEffect = Literal["debit", "credit", "full"]
HolderRole = Literal["owner", "joint", "authorised"]
AccountStatus = Literal["open", "closed"]

# An account with more causes to block it or more holders than this is a data error.
BLOCKS_MAX = 50
HOLDERS_MAX = 100


class AccountOpened(msgspec.Struct, frozen=True, omit_defaults=True):
    """An account was opened; its currency and scale never change.

    ``limit_minor`` is how far below zero the available balance may go on the account's normal
    side; ``None`` means without limit. ``account_id`` absent means ``acc_<position>``.
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
    """The account's limit changed; ``None`` means without limit."""

    account_id: str
    limit_minor: int | None
    reason: str | None = None


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


AccountEvent = (
    AccountOpened
    | BlockPlaced
    | BlockLifted
    | AccountClosed
    | AccountReopened
    | LimitSet
    | AccountHolderLinked
    | AccountHolderUnlinked
)


class Block(msgspec.Struct, frozen=True, order=True):
    """A block in force: why, and which side it forbids."""

    cause: str
    effect: BlockEffect


class Holder(msgspec.Struct, frozen=True, order=True):
    """A customer's role on an account."""

    customer_id: str
    role: HolderRole


class Terms(msgspec.Struct, frozen=True):
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


class Account(msgspec.Struct, frozen=True, gc=False):
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


def evolve(account: Account, event: AccountEvent, position: int) -> Account:
    """The account after an event on its terms; ``AccountOpened`` begins one: see ``opened``."""
    terms = account.terms
    match event:
        case BlockPlaced(cause=cause, effect=effect):
            changed = _with(terms, blocks=tuple(sorted({*terms.blocks, Block(cause, effect)})))
        case BlockLifted(cause=cause, effect=effect):
            lifted = Block(cause, effect)
            changed = _with(terms, blocks=tuple(b for b in terms.blocks if b != lifted))
        case AccountClosed():
            changed = _with(terms, status="closed")
        case AccountReopened():
            changed = _with(terms, status="open")
        case LimitSet(limit_minor=limit_minor):
            changed = _with(terms, limit_minor=limit_minor)
        case AccountHolderLinked(customer_id=customer_id, role=role):
            held = {*terms.holders, Holder(customer_id, role)}
            changed = _with(terms, holders=tuple(sorted(held)))
        case AccountHolderUnlinked(customer_id=customer_id, role=role):
            ended = Holder(customer_id, role)
            changed = _with(terms, holders=tuple(h for h in terms.holders if h != ended))
        case AccountOpened():
            msg = "an account is opened once; replaying its opening onto it is a bug"
            raise AssertionError(msg)
        case _:
            assert_never(event)
    return msgspec.structs.replace(
        account, terms=changed, version=account.version + 1, last_position=position
    )


def accounts_of(event: JournalEntryPosted | AccountEvent, position: int) -> Iterable[str]:
    """The ids of the accounts that an event touches, each once, in posting order."""
    match event:
        case JournalEntryPosted(postings=postings):
            return dict.fromkeys(posting.account_id for posting in postings)
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
    """An entry leaves the account within its limit, or closer to it than it was.

    Exactly reaching the limit is allowed, and so is any entry whose net effect does not lower
    the balance, even on an account that is beyond its limit already.

    Raises:
        InsufficientFunds: with what was available, the limit, and what the entry takes.
    """
    if before.terms.limit_minor is None:
        return
    available_minor = before.available_minor
    left_minor = after.available_minor
    if available_minor is None or left_minor is None or left_minor >= 0:
        return
    if left_minor < available_minor:
        raise InsufficientFunds(
            account_id=before.terms.account_id,
            posted_minor=str(before.posted_minor),
            held_minor=str(before.outgoing_held_minor),
            available_minor=str(available_minor),
            limit_minor=str(before.terms.limit_minor),
            needed_minor=str(available_minor - left_minor),
        )


def _with(terms: Terms, **changes: object) -> Terms:
    """The terms with some of them changed."""
    return msgspec.structs.replace(terms, **changes)
