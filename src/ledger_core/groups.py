"""Making account groups, setting their limits, joining accounts to them.

The events, the state and the rule for movements are the kernel's (``group``, ``accounts``); this
module decides them. A group's limits judge the movements that come: joining, leaving and setting
a limit are allowed whatever the total is then.
"""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.accounts import GROUPS_MAX, GroupMemberAdded, GroupMemberRemoved, require_open
from ledger_core.errors import CurrencyMismatch, GroupExists, GroupNotFound, ValidationFailed
from ledger_core.fields import GROUP_PREFIX, require_id, require_new_id, require_text
from ledger_core.group import KIND, MEMBERS_MAX, Group, GroupCreated, GroupLimitSet
from ledger_core.journal import Side
from ledger_core.money import limit_from_text, limit_text, scale_of

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class CreateGroup(
    msgspec.Struct, frozen=True, kw_only=True, tag="create_group", forbid_unknown_fields=True
):
    """Make a group of accounts in one currency.

    Its total counts on ``side``: for customers' accounts, credits less debits. ``limit`` is how far
    below zero the total may go, in minor units (with a minus sign: how much must stay),
    ``ceiling`` the most that it may be; null means without such a limit.
    """

    key: str = ""
    group_id: str | None = None
    name: str
    currency: str
    side: Side = "credit"
    limit: str | None = None
    ceiling: str | None = None

    def needs(self, wants: "Wants") -> None:
        """An id chosen by the caller must be free."""
        if self.group_id is not None:
            wants.kept.add((KIND, self.group_id))


class SetGroupLimit(
    msgspec.Struct, frozen=True, kw_only=True, tag="set_group_limit", forbid_unknown_fields=True
):
    """Set a group's limits, in minor units; null means without such a limit.

    A ``ceiling`` left out stays as it is.
    """

    key: str = ""
    group_id: str
    limit: str | None
    ceiling: str | msgspec.UnsetType | None = msgspec.UNSET
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The group."""
        wants.kept.add((KIND, self.group_id))


class AddToGroup(
    msgspec.Struct, frozen=True, kw_only=True, tag="add_to_group", forbid_unknown_fields=True
):
    """Join an account to a group in its currency."""

    key: str = ""
    group_id: str
    account_id: str

    def needs(self, wants: "Wants") -> None:
        """Both."""
        wants.kept.add((KIND, self.group_id))
        wants.accounts.add(self.account_id)


class RemoveFromGroup(
    msgspec.Struct, frozen=True, kw_only=True, tag="remove_from_group", forbid_unknown_fields=True
):
    """Take an account out of a group."""

    key: str = ""
    group_id: str
    account_id: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """Both."""
        wants.kept.add((KIND, self.group_id))
        wants.accounts.add(self.account_id)


def decide_creation(books: "Books", command: CreateGroup) -> tuple[GroupCreated, ...]:
    """Make the group.

    Raises:
        ValidationFailed: a malformed field.
        UnknownCurrency: not an ISO 4217 currency nor a registered unit.
        GroupExists: the id is taken.
    """
    require_new_id(command.group_id, field="group_id", prefix=GROUP_PREFIX)
    require_text(command.name, field="name")
    limit_minor = limit_from_text(command.limit)
    ceiling_minor = limit_from_text(command.ceiling, field="ceiling")
    scale_of(command.currency, books.units)
    if command.group_id is not None:
        taken = books.kept(KIND, command.group_id)
        if isinstance(taken, Group):
            raise GroupExists(position=taken.position)
    return (
        GroupCreated(
            name=command.name,
            currency=command.currency,
            group_id=command.group_id,
            side=command.side,
            limit_minor=limit_minor,
            ceiling_minor=ceiling_minor,
        ),
    )


def decide_limit(books: "Books", command: SetGroupLimit) -> tuple[GroupLimitSet, ...]:
    """Set the limits; ``()`` where they are so already. A limit below what is used is allowed.

    Raises:
        ValidationFailed: a malformed field.
        GroupNotFound: no such group.
    """
    require_id(command.group_id, field="group_id")
    require_text(command.reason, field="reason")
    limit_minor = limit_from_text(command.limit)
    keeps_ceiling = isinstance(command.ceiling, msgspec.UnsetType)
    ceiling_minor = None
    if not isinstance(command.ceiling, msgspec.UnsetType):
        ceiling_minor = limit_from_text(command.ceiling, field="ceiling")
    group = _group(books, command.group_id)
    if group.limit_minor == limit_minor and (keeps_ceiling or group.ceiling_minor == ceiling_minor):
        return ()
    return (
        GroupLimitSet(
            command.group_id,
            limit_minor,
            command.reason,
            ceiling_minor,
            keeps_ceiling,
        ),
    )


def decide_joining(books: "Books", command: AddToGroup) -> tuple[GroupMemberAdded, ...]:
    """Join the account; ``()`` where it is a member already.

    Raises:
        ValidationFailed: a malformed field, or too many members or groups.
        GroupNotFound, AccountNotFound: either is unknown.
        CurrencyMismatch: the account is kept in another currency.
        AccountIsClosed: the account is closed.
    """
    require_id(command.group_id, field="group_id")
    require_id(command.account_id, field="account_id")
    group = _group(books, command.group_id)
    account = books.account(command.account_id)
    if account.terms.currency != group.currency:
        raise CurrencyMismatch(
            account_id=command.account_id,
            account_currency=account.terms.currency,
            group_currency=group.currency,
        )
    require_open(account)
    if command.group_id in account.terms.groups:
        return ()
    if len(group.members) >= MEMBERS_MAX:
        raise ValidationFailed("group_id", f"at most {MEMBERS_MAX} accounts in a group")
    if len(account.terms.groups) >= GROUPS_MAX:
        raise ValidationFailed("account_id", f"at most {GROUPS_MAX} groups of one account")
    return (GroupMemberAdded(command.group_id, command.account_id),)


def decide_leaving(books: "Books", command: RemoveFromGroup) -> tuple[GroupMemberRemoved, ...]:
    """Take the account out; ``()`` where it is no member.

    Raises:
        ValidationFailed: a malformed field.
        GroupNotFound, AccountNotFound: either is unknown.
    """
    require_id(command.group_id, field="group_id")
    require_id(command.account_id, field="account_id")
    require_text(command.reason, field="reason")
    _group(books, command.group_id)
    account = books.account(command.account_id)
    if command.group_id not in account.terms.groups:
        return ()
    return (GroupMemberRemoved(command.group_id, command.account_id, command.reason),)


def creation_of(event: GroupCreated) -> CreateGroup:
    """The command whose first answer this event was, without its key."""
    return CreateGroup(
        group_id=event.group_id,
        name=event.name,
        currency=event.currency,
        side=event.side,
        limit=limit_text(event.limit_minor),
        ceiling=limit_text(event.ceiling_minor),
    )


def limit_of(event: GroupLimitSet) -> SetGroupLimit:
    """The command whose first answer this event was, without its key."""
    return SetGroupLimit(
        group_id=event.group_id,
        limit=limit_text(event.limit_minor),
        ceiling=msgspec.UNSET if event.keeps_ceiling else limit_text(event.ceiling_minor),
        reason=event.reason,
    )


def joining_of(event: GroupMemberAdded) -> AddToGroup:
    """The command whose first answer this event was, without its key."""
    return AddToGroup(group_id=event.group_id, account_id=event.account_id)


def leaving_of(event: GroupMemberRemoved) -> RemoveFromGroup:
    """The command whose first answer this event was, without its key."""
    return RemoveFromGroup(
        group_id=event.group_id, account_id=event.account_id, reason=event.reason
    )


def _group(books: "Books", group_id: str) -> Group:
    """The group of that id.

    Raises:
        GroupNotFound: none.
    """
    group = books.kept(KIND, group_id)
    if not isinstance(group, Group):
        raise GroupNotFound(field="group_id")
    return group
