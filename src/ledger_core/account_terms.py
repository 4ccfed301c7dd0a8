"""Opening, closing and reopening accounts.

The events are the account's own (``accounts``); this module decides them.
"""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.accounts import (
    Account,
    AccountClosed,
    AccountOpened,
    AccountReopened,
    AccountType,
)
from ledger_core.errors import (
    AccountExists,
    AccountNotClosed,
    AccountNotEmpty,
    KycNotCleared,
)
from ledger_core.fields import (
    ACCOUNT_PREFIX,
    require_id,
    require_metadata,
    require_new_id,
    require_text,
)
from ledger_core.money import limit_from_text, limit_text, scale_of

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants


class OpenAccount(
    msgspec.Struct, frozen=True, kw_only=True, tag="open_account", forbid_unknown_fields=True
):
    """Open an account in one currency.

    ``limit`` is how far below zero it may go, in minor units (with a minus sign: how much must
    stay); null means without limit. Left out, a liability account (a customer's) may not be
    overdrawn and any other has no limit. ``ceiling`` is the most that the balance may be, open
    incoming holds included; null means without ceiling.
    """

    key: str = ""
    account_id: str | None = None
    account_type: AccountType = "liability"
    currency: str
    limit: str | msgspec.UnsetType | None = msgspec.UNSET
    ceiling: str | None = None
    code: str | None = None
    name: str | None = None
    customer_id: str | None = None
    metadata: dict[str, str] | None = None

    def needs(self, wants: "Wants") -> None:
        """The id must be free, and the owner known."""
        if self.account_id is not None:
            wants.accounts.add(self.account_id)
        if self.customer_id is not None:
            wants.customers.add(self.customer_id)


class CloseAccount(
    msgspec.Struct, frozen=True, kw_only=True, tag="close_account", forbid_unknown_fields=True
):
    """Close an account that is at zero and has no open hold."""

    key: str = ""
    account_id: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The account."""
        wants.accounts.add(self.account_id)


class ReopenAccount(
    msgspec.Struct, frozen=True, kw_only=True, tag="reopen_account", forbid_unknown_fields=True
):
    """Open a closed account again."""

    key: str = ""
    account_id: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The account."""
        wants.accounts.add(self.account_id)


def decide_opening(books: "Books", command: OpenAccount) -> tuple[AccountOpened, ...]:
    """Open the account.

    Raises:
        ValidationFailed: a malformed field.
        UnknownCurrency: not an ISO 4217 currency nor a registered unit.
        AccountExists: the id is taken.
        CustomerNotFound, CustomerErasedAlready: the owner is unknown or forgotten.
        KycNotCleared: the owner's identification is pending or was rejected.
    """
    require_new_id(command.account_id, field="account_id", prefix=ACCOUNT_PREFIX)
    require_text(command.code, field="code")
    require_text(command.name, field="name")
    require_metadata(command.metadata)
    if command.customer_id is not None:
        require_id(command.customer_id, field="customer_id")
    limit_minor = _limit_minor(command)
    ceiling_minor = limit_from_text(command.ceiling, field="ceiling")
    scale = scale_of(command.currency, books.units)
    if command.account_id in books.accounts:
        raise AccountExists(position=books.accounts[command.account_id].terms.account_no)
    if command.customer_id is not None:
        kyc_status = books.customer(command.customer_id).kyc_status
        if kyc_status not in (None, "cleared"):
            raise KycNotCleared(customer_id=command.customer_id, kyc_status=kyc_status)
    return (
        AccountOpened(
            account_type=command.account_type,
            currency=command.currency,
            scale=scale,
            account_id=command.account_id,
            limit_minor=limit_minor,
            code=command.code,
            name=command.name,
            customer_id=command.customer_id,
            metadata=command.metadata,
            ceiling_minor=ceiling_minor,
        ),
    )


def decide_closing(books: "Books", command: CloseAccount) -> tuple[AccountClosed, ...]:
    """Close the account; ``()`` where it is closed already.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound: no such account.
        AccountNotEmpty: it has a balance or an open hold.
    """
    account = _changeable(books, command.account_id, command.reason)
    if account.terms.status == "closed":
        return ()
    held_minor = account.debits_held_minor + account.credits_held_minor
    if account.posted_minor or held_minor:
        raise AccountNotEmpty(
            account_id=command.account_id,
            posted_minor=str(account.posted_minor),
            held_minor=str(held_minor),
        )
    return (AccountClosed(command.account_id, command.reason),)


def decide_reopening(books: "Books", command: ReopenAccount) -> tuple[AccountReopened, ...]:
    """Reopen the account.

    Raises:
        ValidationFailed: a malformed field.
        AccountNotFound: no such account.
        AccountNotClosed: it is open.
    """
    account = _changeable(books, command.account_id, command.reason)
    if account.terms.status == "open":
        raise AccountNotClosed(account_id=command.account_id)
    return (AccountReopened(command.account_id, command.reason),)


def opening_of(event: AccountOpened) -> OpenAccount:
    """The command whose first answer this event was, without its key."""
    return OpenAccount(
        account_id=event.account_id,
        account_type=event.account_type,
        currency=event.currency,
        limit=limit_text(event.limit_minor),
        ceiling=limit_text(event.ceiling_minor),
        code=event.code,
        name=event.name,
        customer_id=event.customer_id,
        metadata=event.metadata,
    )


def with_default_limit(command: OpenAccount) -> OpenAccount:
    """The command with the limit that leaving it out means, as the event remembers it."""
    if command.limit is not msgspec.UNSET:
        return command
    return msgspec.structs.replace(command, limit=limit_text(_limit_minor(command)))


def closing_of(event: AccountClosed) -> CloseAccount:
    """The command whose first answer this event was, without its key."""
    return CloseAccount(account_id=event.account_id, reason=event.reason)


def reopening_of(event: AccountReopened) -> ReopenAccount:
    """The command whose first answer this event was, without its key."""
    return ReopenAccount(account_id=event.account_id, reason=event.reason)


def _limit_minor(command: OpenAccount) -> int | None:
    """The limit as given, else none for the bank's own accounts and zero for liabilities."""
    if isinstance(command.limit, msgspec.UnsetType):
        return 0 if command.account_type == "liability" else None
    return limit_from_text(command.limit)


def _changeable(books: "Books", account_id: str, reason: str | None) -> Account:
    """The account, after the shape of the fields was checked."""
    require_id(account_id, field="account_id")
    require_text(reason, field="reason")
    return books.account(account_id)
