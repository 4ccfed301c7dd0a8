"""Freezing and unfreezing: blocks with causes, which stack.

The events are the account's own (``accounts``); this module decides them.
"""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.accounts import (
    BLOCKS_MAX,
    Block,
    BlockEffect,
    BlockLifted,
    BlockPlaced,
    require_open,
)
from ledger_core.errors import BlockNotFound, ValidationFailed
from ledger_core.fields import require_id, require_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class FreezeAccount(
    msgspec.Struct, frozen=True, kw_only=True, tag="freeze_account", forbid_unknown_fields=True
):
    """Block debits, credits or (``full``) both, for a cause such as ``compliance``."""

    key: str = ""
    account_id: str
    cause: str
    effect: BlockEffect = "full"
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The account."""
        wants.accounts.add(self.account_id)


class UnfreezeAccount(
    msgspec.Struct, frozen=True, kw_only=True, tag="unfreeze_account", forbid_unknown_fields=True
):
    """Lift the blocks of one cause: of one effect where named, else all of that cause."""

    key: str = ""
    account_id: str
    cause: str
    effect: BlockEffect | None = None
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The account."""
        wants.accounts.add(self.account_id)


def decide_freeze(books: "Books", command: FreezeAccount) -> tuple[BlockPlaced, ...]:
    """Place the block; ``()`` where the same cause has the same effect already.

    Raises:
        ValidationFailed: a malformed field, or too many causes.
        AccountNotFound, AccountIsClosed: no such open account.
    """
    require_id(command.account_id, field="account_id")
    require_id(command.cause, field="cause")
    require_text(command.reason, field="reason")
    account = books.account(command.account_id)
    require_open(account)
    if Block(command.cause, command.effect) in account.terms.blocks:
        return ()
    if len(account.terms.blocks) >= BLOCKS_MAX:
        raise ValidationFailed("cause", f"at most {BLOCKS_MAX} blocks on one account")
    return (BlockPlaced(command.account_id, command.cause, command.effect, command.reason),)


def decide_unfreeze(books: "Books", command: UnfreezeAccount) -> tuple[BlockLifted, ...]:
    """Lift the blocks of that cause.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound: no such account.
        BlockNotFound: the account has no such block.
    """
    require_id(command.account_id, field="account_id")
    require_id(command.cause, field="cause")
    require_text(command.reason, field="reason")
    account = books.account(command.account_id)
    lifted = tuple(
        BlockLifted(command.account_id, block.cause, block.effect, command.reason, command.effect)
        for block in account.terms.blocks
        if block.cause == command.cause and command.effect in (None, block.effect)
    )
    if not lifted:
        raise BlockNotFound(account_id=command.account_id)
    return lifted


def freeze_of(event: BlockPlaced) -> FreezeAccount:
    """The command whose first answer this event was, without its key."""
    return FreezeAccount(
        account_id=event.account_id, cause=event.cause, effect=event.effect, reason=event.reason
    )


def unfreeze_of(event: BlockLifted) -> UnfreezeAccount:
    """The command whose first answer this event was, without its key."""
    return UnfreezeAccount(
        account_id=event.account_id,
        cause=event.cause,
        effect=event.asked_effect,
        reason=event.reason,
    )
