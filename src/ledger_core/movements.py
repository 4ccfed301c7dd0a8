"""Money movements as data: the commands that book an entry, kept to be carried out later.

A movement that is kept (by a standing order) has no key, no names of its own and no value date:
those belong to one occasion. It is kept as the plain JSON values that it was put in.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ledger_core import allocations, deposits, entries, exchanges, templates, transfers
from ledger_core.allocations import Allocate
from ledger_core.booking import asked_of
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry
from ledger_core.errors import (
    CurrencyMismatch,
    LedgerError,
    NotFound,
    SameAccount,
    Unbalanced,
    UnknownCurrency,
    ValidationFailed,
)
from ledger_core.exchanges import Exchange
from ledger_core.templates import PostTemplate
from ledger_core.transfers import Transfer

if TYPE_CHECKING:
    from datetime import date

    from ledger_core.books import Books

MovementCommand = Transfer | Deposit | Withdraw | PostEntry | Allocate | PostTemplate | Exchange
"""Every command that moves money by an entry of its own and may be repeated."""

_DECIDERS: Mapping[type, Callable[["Books", Any], tuple[object, ...]]] = MappingProxyType(
    {
        Transfer: transfers.decide,
        Deposit: deposits.decide,
        Withdraw: deposits.decide,
        PostEntry: entries.decide,
        Allocate: allocations.decide,
        PostTemplate: templates.decide_posting,
        Exchange: exchanges.decide,
    }
)

# What no day can change: the movement itself is not a possible one.
_NEVER = (NotFound, SameAccount, CurrencyMismatch, UnknownCurrency, Unbalanced, ValidationFailed)
# What belongs to one occasion, or to one caller's say.
_OCCASIONAL = ("value_date", "entry_id", "reference", "if_version")


def kept(movement: MovementCommand) -> dict[str, Any]:
    """A keepable movement as it is kept: plain JSON values, without what was left out.

    Names are in a fixed order, so that nothing depends on whether it was read back from somewhere.
    """
    ordered: dict[str, Any] = msgspec.to_builtins(asked_of(movement), order="deterministic")
    return ordered


def on_occasion(
    values: dict[str, Any], value_date: "date", notes: Mapping[str, str]
) -> MovementCommand:
    """The kept movement as it is carried out on a day; ``notes`` go into the entry's metadata."""
    metadata = {**(values.get("metadata") or {}), **notes}
    fields = {**values, "value_date": value_date.isoformat(), "metadata": metadata}
    return cast("MovementCommand", msgspec.convert(fields, MovementCommand))


def require_keepable(movement: MovementCommand, *, notes: frozenset[str]) -> None:
    """The movement has nothing that belongs to one occasion only.

    ``notes`` are the names in the metadata that are not the caller's to choose.

    Raises:
        ValidationFailed: it has a key, an id, a reference, a value date, a version or force.
    """
    if movement.key:
        raise ValidationFailed("command.key", "none: each run has a key of its own")
    for field in _OCCASIONAL:
        if getattr(movement, field) is not None:
            raise ValidationFailed(f"command.{field}", "none: it would belong to one run only")
    if movement.force:
        raise ValidationFailed("command.force", "none: limits hold for every run")
    if notes & (movement.metadata or {}).keys():
        raise ValidationFailed("command.metadata", f"no {' or '.join(sorted(notes))}: the ledger's")


def would_book(books: "Books", movement: MovementCommand) -> tuple[object, ...] | None:
    """What the movement would come to if nothing held it back; ``None``: that cannot be told.

    Neither limits nor conditions count, nor what a balancing movement finds today.
    """
    changes: dict[str, Any] = {"force": True, "if_balance": None}
    if isinstance(movement, Transfer):
        changes["balancing"] = None
    if isinstance(movement, Allocate) and movement.amount == allocations.ALL:
        return None
    try:
        return _DECIDERS[type(movement)](books, msgspec.structs.replace(movement, **changes))
    except LedgerError:
        return None


def require_possible(books: "Books", movement: MovementCommand) -> None:
    """The movement could be carried out on some day: well formed, on accounts that fit.

    That the money is not there today, or an account is blocked, says nothing about other days.

    Raises:
        ValidationFailed: a malformed field, named under ``command``.
        NotFound, SameAccount, UnknownCurrency, CurrencyMismatch, Unbalanced: it does not fit.
    """
    try:
        _DECIDERS[type(movement)](books, movement)
    except ValidationFailed as error:
        raise ValidationFailed(f"command.{error.field}", error.rule) from None
    except _NEVER as error:
        seen = dict(error.seen)
        if "field" in seen:
            seen["field"] = f"command.{seen['field']}"
        error.seen = seen
        raise
    except LedgerError:
        return
