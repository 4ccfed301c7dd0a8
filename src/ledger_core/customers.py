"""Customers: registration, profile, and the erasure of a person.

Personal fields enter this module already sealed (see ``vault``): what an event holds of a person
is ciphertext under the subject's own key, so that destroying that key forgets the person while
every hash, proof and balance still holds. Links to accounts are events of the account: see
``account_holders``.
"""

from typing import TYPE_CHECKING

import msgspec

from ledger_core.errors import CustomerErasedAlready, CustomerExists, ValidationFailed
from ledger_core.fields import CUSTOMER_PREFIX, require_id, require_new_id, require_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

PERSONAL_FIELDS = frozenset(
    {"name", "birth_date", "email", "phone", "address", "identity_number", "tax_number"}
)
PUBLIC_FIELDS = frozenset({"language", "segment", "residence_country", "kyc_status"})
KYC_STATUSES = ("pending", "cleared", "rejected")
"""How far the bank knows who the customer is; a customer without a status is not judged by it."""
PROFILE_FIELDS = PERSONAL_FIELDS | PUBLIC_FIELDS


class CustomerRegistered(msgspec.Struct, frozen=True, omit_defaults=True):
    """A customer became known to the bank.

    ``sealed`` maps personal fields to ciphertext under the key of ``subject``; ``public`` holds
    what identifies nobody. ``customer_id`` absent means ``cus_<position>``.
    """

    subject: str
    sealed: dict[str, str]
    public: dict[str, str] = {}
    customer_id: str | None = None


class CustomerProfileChanged(msgspec.Struct, frozen=True, omit_defaults=True):
    """Fields of a profile changed, for a reason; ``cleared`` names those that were removed."""

    customer_id: str
    reason: str
    sealed: dict[str, str] = {}
    public: dict[str, str] = {}
    cleared: tuple[str, ...] = ()


class CustomerErased(msgspec.Struct, frozen=True, omit_defaults=True):
    """The subject's key was destroyed: the person can no longer be read anywhere."""

    customer_id: str
    subject: str
    reason: str


CustomerEvent = CustomerRegistered | CustomerProfileChanged | CustomerErased


class Customer(msgspec.Struct, frozen=True):
    """What decisions need to know of a customer: nothing personal."""

    customer_id: str
    customer_no: int
    subject: str
    erased: bool
    last_position: int
    kyc_status: str | None = None

    @classmethod
    def registered(cls, event: CustomerRegistered, position: int) -> "Customer":
        """The customer after registration."""
        return cls(
            customer_id_at(event, position),
            position,
            event.subject,
            erased=False,
            last_position=position,
            kyc_status=event.public.get("kyc_status"),
        )

    def evolve(self, event: CustomerProfileChanged | CustomerErased, position: int) -> "Customer":
        """The customer after a later event."""
        if isinstance(event, CustomerErased):
            return msgspec.structs.replace(self, erased=True, last_position=position)
        kyc_status = event.public.get("kyc_status", self.kyc_status)
        if "kyc_status" in event.cleared:
            kyc_status = None
        return msgspec.structs.replace(self, kyc_status=kyc_status, last_position=position)


def customer_id_at(event: CustomerRegistered, position: int) -> str:
    """The customer's id: the caller's own, else the one derived from its position."""
    return event.customer_id if event.customer_id is not None else f"{CUSTOMER_PREFIX}{position}"


class RegisterCustomer(
    msgspec.Struct, frozen=True, kw_only=True, tag="register_customer", forbid_unknown_fields=True
):
    """Register a person or organisation; ``name`` is required, other profile fields optional."""

    key: str = ""
    customer_id: str | None = None
    profile: dict[str, str]

    def needs(self, wants: "Wants") -> None:
        """An id chosen by the caller must be free."""
        if self.customer_id is not None:
            wants.customers.add(self.customer_id)


class ChangeProfile(
    msgspec.Struct, frozen=True, kw_only=True, tag="change_profile", forbid_unknown_fields=True
):
    """Set or clear (null) fields of a profile, with the reason."""

    key: str = ""
    customer_id: str
    changes: dict[str, str | None]
    reason: str

    def needs(self, wants: "Wants") -> None:
        """The customer."""
        wants.customers.add(self.customer_id)


class EraseCustomer(
    msgspec.Struct, frozen=True, kw_only=True, tag="erase_customer", forbid_unknown_fields=True
):
    """Destroy the key under which everything personal of the customer is sealed."""

    key: str = ""
    customer_id: str
    reason: str

    def needs(self, wants: "Wants") -> None:
        """The customer."""
        wants.customers.add(self.customer_id)


class Sealed(msgspec.Struct, frozen=True):
    """A profile split into ciphertext and what identifies nobody, by the shell."""

    subject: str
    sealed: dict[str, str]
    public: dict[str, str]


def require_profile(profile: dict[str, str | None], *, field: str) -> None:
    """Known profile fields, each a line of text or (for a change) null.

    Raises:
        ValidationFailed: an unknown field, or a malformed value; values are not repeated.
    """
    if not profile:
        raise ValidationFailed(field, "at least one field")
    if not profile.keys() <= PROFILE_FIELDS:
        raise ValidationFailed(field, f"known fields: {', '.join(sorted(PROFILE_FIELDS))}")
    for name, value in profile.items():
        require_text(value, field=f"{field}.{name}")
        if value is not None and value != value.strip():
            raise ValidationFailed(f"{field}.{name}", "no outer blanks")
    kyc_status = profile.get("kyc_status")
    if kyc_status is not None and kyc_status not in KYC_STATUSES:
        raise ValidationFailed(f"{field}.kyc_status", f"one of {', '.join(KYC_STATUSES)}")


def check_registration(books: "Books", command: RegisterCustomer) -> None:
    """Everything about a registration that can be judged before it is sealed.

    Raises:
        ValidationFailed: a malformed field, or no name.
        CustomerExists: the id is taken.
    """
    require_new_id(command.customer_id, field="customer_id", prefix=CUSTOMER_PREFIX)
    require_profile(dict(command.profile), field="profile")
    if "name" not in command.profile:
        raise ValidationFailed("profile.name", "required")
    if command.customer_id in books.customers:
        raise CustomerExists(position=books.customers[command.customer_id].customer_no)


def decide_registration(
    books: "Books", command: RegisterCustomer, sealed: Sealed
) -> tuple[CustomerRegistered, ...]:
    """Register the customer under the sealed profile.

    Raises:
        ValidationFailed, CustomerExists: see ``check_registration``.
    """
    check_registration(books, command)
    return (CustomerRegistered(sealed.subject, sealed.sealed, sealed.public, command.customer_id),)


def check_profile_change(books: "Books", command: ChangeProfile) -> Customer:
    """Everything about a profile change that can be judged before it is sealed.

    Raises:
        ValidationFailed: a malformed field, or the name cleared.
        CustomerNotFound, CustomerErasedAlready: no such readable customer.
    """
    require_id(command.customer_id, field="customer_id")
    require_profile(command.changes, field="changes")
    require_text(command.reason, field="reason")
    if "name" in command.changes and command.changes["name"] is None:
        raise ValidationFailed("changes.name", "a name cannot be cleared")
    return books.customer(command.customer_id)


def decide_profile_change(
    books: "Books", command: ChangeProfile, sealed: Sealed
) -> tuple[CustomerProfileChanged, ...]:
    """Change the profile to the sealed fields.

    Raises:
        ValidationFailed, CustomerNotFound, CustomerErasedAlready: see ``check_profile_change``.
    """
    check_profile_change(books, command)
    cleared = tuple(sorted(name for name, value in command.changes.items() if value is None))
    return (
        CustomerProfileChanged(
            command.customer_id, command.reason, sealed.sealed, sealed.public, cleared
        ),
    )


def decide_erasure(books: "Books", command: EraseCustomer) -> tuple[CustomerErased, ...]:
    """Forget the person; ``()`` where that happened before.

    Raises:
        ValidationFailed: a malformed field.
        CustomerNotFound: no such customer.
    """
    require_id(command.customer_id, field="customer_id")
    require_text(command.reason, field="reason")
    try:
        customer = books.customer(command.customer_id)
    except CustomerErasedAlready:
        return ()
    return (CustomerErased(command.customer_id, customer.subject, command.reason),)


def erasure_of(event: CustomerErased) -> EraseCustomer:
    """The command whose first answer this event was, without its key."""
    return EraseCustomer(customer_id=event.customer_id, reason=event.reason)


def command_of(
    event: CustomerRegistered | CustomerProfileChanged, unsealed: dict[str, str]
) -> RegisterCustomer | ChangeProfile:
    """The command whose first answer this event was, without its key."""
    if isinstance(event, CustomerRegistered):
        return RegisterCustomer(customer_id=event.customer_id, profile={**event.public, **unsealed})
    return ChangeProfile(
        customer_id=event.customer_id,
        changes={**event.public, **unsealed, **dict.fromkeys(event.cleared)},
        reason=event.reason,
    )


def as_asked(
    command: msgspec.Struct, event: CustomerRegistered | CustomerProfileChanged
) -> dict[str, str]:
    """The command's own values for the fields that the event holds and nobody can read now.

    A field that the command does not set is empty text, which no command sets: a difference.
    """
    match command:
        case RegisterCustomer(profile=asked):
            return {name: asked.get(name, "") for name in event.sealed}
        case ChangeProfile(changes=changes):
            return {name: changes.get(name) or "" for name in event.sealed}
        case _:
            return {}
