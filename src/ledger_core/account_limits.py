"""Limits of accounts: how low and how high a balance may go, at once or from a day on.

``LimitSet`` is the account's own event (``accounts``). A change that is to come is kept until its
day: when that begins, the shell appends the ``LimitSet`` with its due time, however late it runs.
"""

from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Literal, assert_never

import msgspec

from ledger_core.accounts import LimitSet, require_open
from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_id, require_text
from ledger_core.money import limit_from_text, limit_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

KIND = "limit_change"


class LimitChangeScheduled(msgspec.Struct, frozen=True, omit_defaults=True):
    """The account's limits will change at the beginning (UTC) of ``effective_date``.

    The fields mean what they mean in ``LimitSet``. It takes the place of a change that was
    scheduled for the same account and day before.
    """

    account_id: str
    effective_date: date
    limit_minor: int | None
    reason: str | None = None
    ceiling_minor: int | None = None
    keeps_ceiling: bool = False


class LimitChange(msgspec.Struct, frozen=True):
    """What limits an account gets from a day on; ``in_force`` once the day has come."""

    account_id: str
    effective_date: date
    limit_minor: int | None
    ceiling_minor: int | None
    keeps_ceiling: bool
    reason: str | None
    status: Literal["scheduled", "in_force"]
    position: int
    last_position: int

    @property
    def due_at(self) -> datetime | None:
        """When it comes into force; ``None`` once it has."""
        return beginning_of(self.effective_date) if self.status == "scheduled" else None

    @property
    def tags(self) -> tuple[str, ...]:
        """The account, for listings."""
        return ("account:" + self.account_id,)


def beginning_of(effective_date: date) -> datetime:
    """Midnight, UTC, at which that day begins."""
    return datetime.combine(effective_date, time(), UTC)


def change_id_of(account_id: str, effective_date: date) -> str:
    """The id of the change of an account's limits on a day: there is one a day."""
    return f"{account_id}:{effective_date.isoformat()}"


def ids(event: LimitChangeScheduled | LimitSet, _position: int) -> tuple[str, ...]:
    """The scheduled change that the event is about; none where no day was named."""
    if isinstance(event, LimitChangeScheduled):
        return (change_id_of(event.account_id, event.effective_date),)
    return () if event.due_at is None else (change_id_of(event.account_id, event.due_at.date()),)


def evolve(
    change: LimitChange | None,
    event: LimitChangeScheduled | LimitSet,
    position: int,
    recorded_at: datetime,
) -> LimitChange:
    """The change after an event; a change for the day on which it was asked was never scheduled."""
    match event:
        case LimitChangeScheduled(effective_date=effective_date):
            status: Literal["scheduled", "in_force"] = "scheduled"
        case LimitSet(due_at=due_at):
            effective_date = (recorded_at if due_at is None else due_at).date()
            status = "in_force"
        case _:
            assert_never(event)
    return LimitChange(
        account_id=event.account_id,
        effective_date=effective_date,
        limit_minor=event.limit_minor,
        ceiling_minor=event.ceiling_minor,
        keeps_ceiling=event.keeps_ceiling,
        reason=event.reason,
        status=status,
        position=position if change is None else change.position,
        last_position=position,
    )


def due(change: LimitChange) -> LimitSet:
    """The change comes into force: what the shell appends when its day has come."""
    return LimitSet(
        change.account_id,
        change.limit_minor,
        change.reason,
        change.ceiling_minor,
        beginning_of(change.effective_date),
        change.keeps_ceiling,
    )


class SetLimit(
    msgspec.Struct, frozen=True, kw_only=True, tag="set_limit", forbid_unknown_fields=True
):
    """Set an account's limits, in minor units; null means without such a limit.

    ``limit`` is how far below zero it may go (with a minus sign: how much must stay), ``ceiling``
    the most that the balance may be; left out, the ceiling stays as it is. They hold at once, or
    from the beginning (UTC) of ``effective_date``.
    """

    key: str = ""
    account_id: str
    limit: str | None
    ceiling: str | msgspec.UnsetType | None = msgspec.UNSET
    effective_date: date | None = None
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The account, and what is scheduled for that day."""
        wants.accounts.add(self.account_id)
        if self.effective_date is not None:
            wants.kept.add((KIND, change_id_of(self.account_id, self.effective_date)))


def decide(
    books: "Books", command: SetLimit
) -> tuple[LimitSet, ...] | tuple[LimitChangeScheduled, ...]:
    """Set the limits, or schedule that; ``()`` where it is so already.

    A limit below what is used is allowed.

    Raises:
        ValidationFailed: a malformed field, or a day that is over.
        AccountNotFound, AccountIsClosed: no such open account.
    """
    require_id(command.account_id, field="account_id")
    require_text(command.reason, field="reason")
    limit_minor = limit_from_text(command.limit)
    keeps_ceiling, ceiling_minor = _ceiling(command.ceiling)
    effective_date = command.effective_date
    if effective_date is not None and effective_date < books.today:
        raise ValidationFailed("effective_date", "today (UTC) or later")
    account = books.account(command.account_id)
    require_open(account)
    if effective_date is not None and effective_date > books.today:
        return _scheduled(
            books,
            LimitChangeScheduled(
                command.account_id,
                effective_date,
                limit_minor,
                command.reason,
                ceiling_minor,
                keeps_ceiling,
            ),
        )
    terms = account.terms
    if terms.limit_minor == limit_minor and (keeps_ceiling or terms.ceiling_minor == ceiling_minor):
        return ()
    due_at = None if effective_date is None else books.recorded_at
    return (
        LimitSet(
            command.account_id, limit_minor, command.reason, ceiling_minor, due_at, keeps_ceiling
        ),
    )


def command_of(event: LimitSet | LimitChangeScheduled) -> SetLimit:
    """The command whose first answer this event was, without its key."""
    if isinstance(event, LimitChangeScheduled):
        effective_date: date | None = event.effective_date
    else:
        effective_date = None if event.due_at is None else event.due_at.date()
    return SetLimit(
        account_id=event.account_id,
        limit=limit_text(event.limit_minor),
        ceiling=msgspec.UNSET if event.keeps_ceiling else limit_text(event.ceiling_minor),
        effective_date=effective_date,
        reason=event.reason,
    )


def with_ceiling_of(command: SetLimit, first: SetLimit) -> SetLimit:
    """The command, with a ceiling that it leaves out named as in the command that came first.

    Logs of versions before accounts had ceilings hold nothing about one, and read like ``null``: a
    retry that still names none is the same command.
    """
    if isinstance(command.ceiling, msgspec.UnsetType) and first.ceiling is None:
        return msgspec.structs.replace(command, ceiling=None)
    return command


def _ceiling(text: str | msgspec.UnsetType | None) -> tuple[bool, int | None]:
    """Whether the ceiling stays as it is, and what it becomes otherwise.

    Raises:
        ValidationFailed: malformed.
    """
    if isinstance(text, msgspec.UnsetType):
        return True, None
    return False, limit_from_text(text, field="ceiling")


def _scheduled(books: "Books", event: LimitChangeScheduled) -> tuple[LimitChangeScheduled, ...]:
    """The change that is to come; ``()`` where the same is scheduled for that day already."""
    known = books.kept(KIND, change_id_of(event.account_id, event.effective_date))
    if isinstance(known, LimitChange):
        after = evolve(known, event, known.last_position, books.recorded_at)
        if msgspec.structs.replace(after, reason=known.reason) == known:
            return ()
    return (event,)
