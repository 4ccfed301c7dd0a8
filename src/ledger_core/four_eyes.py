"""What the shell does for approvals: make a request of a decided command, and run it later.

A command that meets a policy is decided as ever, but its events are dropped and a request is
recorded instead, under a key that no caller can choose. What was personal in it is in the request
only as ciphertext. When the last approval lands, the stored command is decided anew, as the maker's
and with its own key; a registration then takes over the subject and the ciphertext of the request.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import msgspec

from ledger_core import approval_policies, approvals, commands
from ledger_core.approval_policies import Policy
from ledger_core.approvals import (
    ApprovalCompleted,
    ApprovalFailed,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequest,
    ApprovalRequested,
    ApprovalWithdrawn,
    ApproveRequest,
    RejectRequest,
    WithdrawRequest,
)
from ledger_core.books import Books, Caller, Event, Wants
from ledger_core.commands import ApprovableCommand, Command, DecidedCommand, RequestApproval
from ledger_core.customers import (
    PUBLIC_FIELDS,
    ChangeProfile,
    CustomerErased,
    CustomerProfileChanged,
    CustomerRegistered,
    RegisterCustomer,
    Sealed,
)
from ledger_core.errors import (
    CustomerErasedAlready,
    LedgerError,
    ValidationFailed,
    VersionConflict,
)
from ledger_core.fields import APPROVAL_PREFIX, require_new_id
from ledger_core.holds import PlaceHold, whole_of
from ledger_core.journal import JournalEntryPosted
from ledger_core.movements import MovementCommand, would_book
from ledger_core.standing_order import StandingOrderChanged, StandingOrderCreated
from ledger_core.standing_orders import ordered_movements

_Vote = ApproveRequest | RejectRequest | WithdrawRequest
_Forgetting = (
    CustomerErased | ApprovalRejected | ApprovalWithdrawn | ApprovalFailed | ApprovalCompleted
)
_Voted = ApprovalGiven | ApprovalRejected | ApprovalWithdrawn | ApprovalCompleted | ApprovalFailed


def request_key(key: str) -> str:
    """The key under which the request is recorded that the command with this key became."""
    return "approval " + key


def more_keys(command: Command) -> tuple[str, ...]:
    """Keys to look up beside the command's own: of the request that it became."""
    return (request_key(command.key),)


def keys_of(command: Command) -> tuple[str, ...]:
    """Where the command's first answer stands: in its own event, else in the request it became.

    Who asks for a request is answered with that, even after it led to the command's own event.
    """
    own, request = command.key, request_key(command.key)
    return (request, own) if isinstance(command, RequestApproval) else (own, request)


def recorded_key(command: Command) -> str:
    """The key under which the command's event is recorded."""
    is_request = isinstance(command, RequestApproval)
    return request_key(command.key) if is_request else command.key


def with_one_key(command: DecidedCommand) -> DecidedCommand:
    """A request and the command that it wraps have one key, which need not be said twice.

    Raises:
        ValidationFailed: the wrapped command has another.
    """
    if not isinstance(command, RequestApproval):
        return command
    if command.command.key not in {"", command.key}:
        raise ValidationFailed("command.key", "the same as the request's, or left out")
    wrapped = msgspec.structs.replace(command.command, key=command.key)
    return msgspec.structs.replace(command, command=wrapped)


def differing_voter(books: Books, command: Command, first: Event) -> tuple[str, ...]:
    """The field ``person``, where this is a vote and its first answer was somebody else's vote.

    The vote that ended a request is answered by what came of it: there the last voter is meant.
    """
    if not isinstance(command, _Vote) or not isinstance(first, _Voted):
        return ()
    if command.request_id != first.request_id:
        return ()
    return () if _voter(books, first) == books.caller.person else ("person",)


def is_used(books: Books) -> bool:
    """Whether a policy or a request was ever made: without, no command became a request."""
    return bool(books.residents.get(approval_policies.USED_KIND))


def demanding(books: Books, command: Command, decided: Sequence[Event]) -> tuple[Policy, ...]:
    """The policies that hold up this command, which would lead to these events.

    An order is held up by what holds up its movement, too: later nobody is asked any more.
    """
    policies = books.kept_of(approval_policies.KIND)
    found = approval_policies.matching(policies, commands.tag_of(command), decided)
    for event in decided:
        if isinstance(event, StandingOrderCreated | StandingOrderChanged):
            for movement in ordered_movements(books, event):
                booked = would_book(books, movement)
                found += approval_policies.matching(policies, commands.tag_of(movement), booked)
    by_id = {policy.policy_id: policy for policy in found}
    return tuple(by_id[policy_id] for policy_id in sorted(by_id))


def held_up(books: Books, command: Command, decided: Sequence[Event]) -> ApprovalRequested | None:
    """The request that is recorded instead of the command's events, where policies say so."""
    if not decided or not books.residents.get(approval_policies.KIND):  # The hot path.
        return None
    if not demanding(books, command, decided):
        return None
    return _requested(books, cast("ApprovableCommand", command), decided)


def request_in(books: Books, request_id: str) -> ApprovalRequest:
    """The request of that id, which is known to be there."""
    request: ApprovalRequest = books.states[approvals.KIND, request_id]
    return request


def waits(command: Command, event: Event | None) -> bool:
    """Whether the command was answered by the request that it became, now or before."""
    return isinstance(event, ApprovalRequested) and not isinstance(command, RequestApproval)


def is_last(books: Books, decided: Sequence[Event]) -> bool:
    """Whether with this approval every needed permission has a person of its own."""
    for event in decided:
        if isinstance(event, ApprovalGiven):
            request = request_in(books, event.request_id)
            votes = {vote.person: vote.permissions for vote in request.votes}
            votes[event.person] = event.permissions
            return approvals.is_satisfied(request.approvers, votes)
    return False


def check_request(command: RequestApproval) -> None:
    """The shape of a request that its maker asks for.

    Raises:
        ValidationFailed: a malformed field.
    """
    require_new_id(command.request_id, field="request_id", prefix=APPROVAL_PREFIX)
    approval_policies.require_approvers(command.approvers)


def decide_request(
    books: Books,
    command: RequestApproval,
    decide: Callable[[ApprovableCommand], tuple[Event, ...]],
) -> tuple[ApprovalRequested, ...]:
    """Make the request that its maker asks for; ``decide`` says what the command would lead to.

    Policies that hold up the command count too: asking for less does not make it less.

    Raises:
        ValidationFailed: see ``check_request``.
        LedgerError: the command would be refused now.
    """
    check_request(command)
    decided = decide(command.command)
    request = _requested(
        books,
        command.command,
        decided,
        request_id=command.request_id,
        asked=command.approvers,
    )
    return (request,)


def maker_of(request: ApprovalRequest) -> Caller:
    """On whose behalf the approved command runs, without any permission."""
    return Caller(request.actor, request.maker)


def command_of(request: ApprovalRequest, clear: dict[str, str] | None) -> ApprovableCommand:
    """The command that waits, with what was sealed of it in clear.

    Raises:
        CustomerErasedAlready: the person was forgotten meanwhile.
    """
    if clear is None:
        raise CustomerErasedAlready
    return commands.waiting_command(request.command, clear)


def sealed_of(command: RegisterCustomer | ChangeProfile, request: ApprovalRequest) -> Sealed:
    """The personal data of an approved command, as it was sealed when it was asked for."""
    if request.subject is None:
        raise AssertionError  # pragma: no cover - such a request has a subject
    given = command.profile if isinstance(command, RegisterCustomer) else command.changes
    public = {
        name: text for name, text in given.items() if text is not None and name in PUBLIC_FIELDS
    }
    return Sealed(request.subject, request.sealed, public)


def require_as_approved(books: Books, request: ApprovalRequest, decided: Sequence[Event]) -> None:
    """What the command books follows the posting template that was there when it was asked for.

    Raises:
        VersionConflict: the template was defined anew since, and the command names no version.
    """
    for event in decided:
        if not isinstance(event, JournalEntryPosted) or event.template is None:
            continue
        name = event.template.rpartition("@")[0]
        template = books.kept("template", name)
        changed = template is not None and template.last_position > request.position
        if changed and request.command.get("version") is None:
            raise VersionConflict(template=event.template)


def outcome_of(
    request: ApprovalRequest, position: int, event: Event | None, error: LedgerError | None
) -> ApprovalCompleted | ApprovalFailed:
    """What came of the approved command: its event at that position, or the refusal."""
    if error is None:
        unused = request.begun_subject
        if isinstance(event, CustomerRegistered) and event.subject == unused:
            unused = None
        return ApprovalCompleted(request.request_id, position, unused)
    seen: dict[str, Any] = msgspec.to_builtins(dict(error.seen), enc_hook=str)
    return ApprovalFailed(request.request_id, error.code, seen, request.begun_subject)


def forgotten_subject(event: Event) -> str | None:
    """The subject whose key is to be destroyed because of this event, if any."""
    return event.subject if isinstance(event, _Forgetting) else None


def wants_of(requests: Iterable[ApprovalRequest]) -> Wants:
    """What the waiting commands need."""
    wants = Wants()
    for request in requests:
        commands.waiting_command(request.command, {}).needs(wants)
    return wants


def waiting(books: Books, votes: Iterable[ApproveRequest]) -> list[ApprovalRequest]:
    """The pending requests that these votes may complete, as far as they are known."""
    found = [books.kept(approvals.KIND, vote.request_id) for vote in votes]
    return [
        request
        for request in found
        if isinstance(request, ApprovalRequest) and request.status == "pending"
    ]


def _voter(books: Books, event: _Voted) -> str:
    """Who voted; what came of the request is the last voter's."""
    match event:
        case ApprovalGiven(person=person) | ApprovalRejected(person=person):
            return person
        case ApprovalWithdrawn():
            return request_in(books, event.request_id).maker
        case ApprovalCompleted() | ApprovalFailed():
            return request_in(books, event.request_id).votes[-1].person


def _demanding_later(
    books: Books, command: ApprovableCommand, decided: Sequence[Event]
) -> tuple[Policy, ...]:
    """The policies that may hold up the command by the time it runs, whatever it would move now.

    A balancing movement waits as one of the whole amount, which is never less than what it would
    move now: it is not judged again.
    """
    policies, tag = books.kept_of(approval_policies.KIND), commands.tag_of(command)
    if isinstance(command, MovementCommand):
        return approval_policies.matching(policies, tag, would_book(books, command))
    if isinstance(command, PlaceHold):
        return approval_policies.matching(policies, tag, (whole_of(command),))
    return demanding(books, command, decided)


def _requested(
    books: Books,
    command: ApprovableCommand,
    decided: Sequence[Event],
    *,
    request_id: str | None = None,
    asked: tuple[str, ...] | None = None,
) -> ApprovalRequested:
    """The request, with nothing personal in clear."""
    fields, subject, sealed = _sealed_fields(books, command, decided)
    policies = _demanding_later(books, command, decided)
    demands = [policy.approvers for policy in policies]
    return ApprovalRequested(
        command=fields,
        approvers=approval_policies.combined([*demands, asked or ()]),
        maker=books.caller.person,
        actor=books.caller.actor,
        request_id=request_id,
        policies=tuple(sorted(policy.policy_id for policy in policies)),
        asked=asked,
        subject=subject,
        sealed=sealed,
    )


def _sealed_fields(
    books: Books, command: ApprovableCommand, decided: Sequence[Event]
) -> tuple[dict[str, Any], str | None, dict[str, str]]:
    """The command as plain values, and apart from them what was sealed of it, and under whom."""
    fields: dict[str, Any] = msgspec.to_builtins(command)
    for field in msgspec.structs.fields(command):
        if field.default is None and fields[field.name] is None:
            del fields[field.name]  # Left out, or as good as.
    match command, tuple(decided):
        case RegisterCustomer(), (CustomerRegistered() as event,):
            fields["profile"] = event.public
            return fields, event.subject, event.sealed
        case ChangeProfile(customer_id=customer_id), (CustomerProfileChanged() as event,):
            fields["changes"] = {**event.public, **dict.fromkeys(event.cleared)}
            return fields, books.customers[customer_id].subject, event.sealed
        case ((RegisterCustomer() | ChangeProfile()), _):
            raise AssertionError  # pragma: no cover - each leads to its one event
        case _:
            return fields, None, {}
