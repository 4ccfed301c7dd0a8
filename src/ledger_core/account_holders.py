"""Links between customers and accounts: owner, joint holder, authorised signatory.

The events are the account's own (``accounts``); this module decides them.
"""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.accounts import (
    HOLDERS_MAX,
    AccountHolderLinked,
    AccountHolderUnlinked,
    Holder,
    HolderRole,
    require_open,
)
from ledger_core.errors import LinkNotFound, ValidationFailed
from ledger_core.fields import require_id, require_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class LinkCustomer(
    msgspec.Struct, frozen=True, kw_only=True, tag="link_customer", forbid_unknown_fields=True
):
    """Give a customer a role on an account."""

    key: str = ""
    account_id: str
    customer_id: str
    role: HolderRole = "owner"

    def needs(self, wants: "Wants") -> None:
        """Both ends of the link."""
        wants.accounts.add(self.account_id)
        wants.customers.add(self.customer_id)


class UnlinkCustomer(
    msgspec.Struct, frozen=True, kw_only=True, tag="unlink_customer", forbid_unknown_fields=True
):
    """Take a role on an account away from a customer."""

    key: str = ""
    account_id: str
    customer_id: str
    role: HolderRole = "owner"
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The account; a link to a forgotten customer can still be ended."""
        wants.accounts.add(self.account_id)


def decide_link(books: "Books", command: LinkCustomer) -> tuple[AccountHolderLinked, ...]:
    """Link the customer; ``()`` where the role is held already.

    Raises:
        ValidationFailed: a malformed field, or too many holders.
        AccountNotFound, CustomerNotFound: either end is unknown.
        CustomerErasedAlready: the person was forgotten.
        AccountIsClosed: the account is closed.
    """
    require_id(command.account_id, field="account_id")
    require_id(command.customer_id, field="customer_id")
    account = books.account(command.account_id)
    books.customer(command.customer_id)
    require_open(account)
    if Holder(command.customer_id, command.role) in account.terms.holders:
        return ()
    if len(account.terms.holders) >= HOLDERS_MAX:
        raise ValidationFailed("customer_id", f"at most {HOLDERS_MAX} holders of one account")
    return (AccountHolderLinked(command.account_id, command.customer_id, command.role),)


def decide_unlink(books: "Books", command: UnlinkCustomer) -> tuple[AccountHolderUnlinked, ...]:
    """End the link.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound: no such account.
        LinkNotFound: the customer does not hold that role.
    """
    require_id(command.account_id, field="account_id")
    require_id(command.customer_id, field="customer_id")
    require_text(command.reason, field="reason")
    account = books.account(command.account_id)
    if Holder(command.customer_id, command.role) not in account.terms.holders:
        raise LinkNotFound(account_id=command.account_id, role=command.role)
    return (
        AccountHolderUnlinked(
            command.account_id, command.customer_id, command.role, command.reason
        ),
    )


def link_of(event: AccountHolderLinked) -> LinkCustomer:
    """The command whose first answer this event was, without its key."""
    return LinkCustomer(account_id=event.account_id, customer_id=event.customer_id, role=event.role)


def unlink_of(event: AccountHolderUnlinked) -> UnlinkCustomer:
    """The command whose first answer this event was, without its key."""
    return UnlinkCustomer(
        account_id=event.account_id,
        customer_id=event.customer_id,
        role=event.role,
        reason=event.reason,
    )
