"""Maker-checker: a command waits until enough other people, each with a permission, approved it.

Needed permissions are matched to *distinct* persons: one who holds two of them fills one place.
Who asked (the maker) may not approve. Here are the events, the state of a request, and the votes;
which commands must wait is in ``approval_policies``, and making a request of a command and running
it is the shell's (``four_eyes``). Knows no command but its own: one that waits is plain values.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ledger_core.errors import (
    AlreadyCompleted,
    AlreadyRejected,
    AlreadyVoted,
    AlreadyWithdrawn,
    ApprovalNotFound,
    MakerCannotApprove,
    NotPermitted,
    ValidationFailed,
)
from ledger_core.fields import APPROVAL_PREFIX, require_id, require_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

KIND = "approval"

VOTES_MAX = 100
"""Votes on one request: those beyond what is needed are kept, but not without end."""

Status = Literal["pending", "completed", "rejected", "withdrawn", "failed"]


class ApprovalRequested(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command waits for approval by one person for each permission of ``approvers``.

    ``command`` is the command with its own key, as plain values; what is personal of it is in
    ``sealed``, under the key of ``subject``. ``maker`` is the person who asked, ``actor`` on whose
    behalf the command will run. ``policies`` are those that demanded it; ``asked`` what the maker
    asked for without being made to. ``request_id`` absent means ``apr_<position>``.
    """

    command: dict[str, Any]
    approvers: tuple[str, ...]
    maker: str
    actor: str
    request_id: str | None = None
    policies: tuple[str, ...] = ()
    asked: tuple[str, ...] | None = None
    subject: str | None = None
    sealed: dict[str, str] = {}


class ApprovalGiven(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person approved, holding these of the needed permissions."""

    request_id: str
    person: str
    permissions: tuple[str, ...]


class ApprovalRejected(msgspec.Struct, frozen=True, omit_defaults=True):
    """A person rejected the request; the command will not run.

    ``subject`` is set where the command would have begun one: its key is destroyed.
    """

    request_id: str
    person: str
    reason: str | None = None
    subject: str | None = None


class ApprovalWithdrawn(msgspec.Struct, frozen=True, omit_defaults=True):
    """The maker withdrew the request; the command will not run. ``subject`` as when rejected."""

    request_id: str
    reason: str | None = None
    subject: str | None = None


class ApprovalCompleted(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last approval was given and the command ran; its event stands at ``command_position``.

    ``subject`` is set where the same had been done before under another: its key is destroyed.
    """

    request_id: str
    command_position: int
    subject: str | None = None


class ApprovalFailed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The last approval was given, but the command was refused when it ran, as ``code`` says.

    ``seen`` are the figures of the refusal; ``subject`` as when rejected.
    """

    request_id: str
    code: str
    seen: dict[str, Any] = {}
    subject: str | None = None


ApprovalEvent = (
    ApprovalRequested
    | ApprovalGiven
    | ApprovalRejected
    | ApprovalWithdrawn
    | ApprovalCompleted
    | ApprovalFailed
)


class Vote(msgspec.Struct, frozen=True):
    """An approval: who, and which of the needed permissions the person held."""

    person: str
    permissions: tuple[str, ...]
    position: int


class ApprovalRequest(msgspec.Struct, frozen=True):
    """A command that waits or waited for approval, and how far that is.

    Ends ``completed`` (the command's event at ``command_position``), ``failed`` (the refusal's
    ``code``), ``rejected`` or ``withdrawn``.
    """

    request_id: str
    command: dict[str, Any]
    approvers: tuple[str, ...]
    maker: str
    actor: str
    policies: tuple[str, ...]
    subject: str | None
    sealed: dict[str, str]
    requested_at: datetime
    position: int
    last_position: int
    status: Status = "pending"
    votes: tuple[Vote, ...] = ()
    command_position: int | None = None
    code: str | None = None

    @property
    def tags(self) -> tuple[str, ...]:
        """Who asked, and for what type of command."""
        return (f"maker:{self.maker}", f"command:{self.command['type']}")

    @property
    def begun_subject(self) -> str | None:
        """The subject that lives only if the command runs: a pending registration's."""
        return self.subject if self.command["type"] == "register_customer" else None

    @property
    def is_approved(self) -> bool:
        """Whether every needed permission has a person of its own."""
        return is_satisfied(self.approvers, {vote.person: vote.permissions for vote in self.votes})


def request_id_at(event: ApprovalEvent, position: int) -> str:
    """The request's id: the maker's own, else the one derived from its position."""
    return event.request_id if event.request_id is not None else f"{APPROVAL_PREFIX}{position}"


def ids(event: ApprovalEvent, position: int) -> tuple[str, ...]:
    """The one request that the event is about."""
    return (request_id_at(event, position),)


def evolve(
    request: ApprovalRequest | None, event: ApprovalEvent, position: int, recorded_at: datetime
) -> ApprovalRequest:
    """The request after an event."""
    if isinstance(event, ApprovalRequested):
        return ApprovalRequest(
            request_id=request_id_at(event, position),
            command=event.command,
            approvers=event.approvers,
            maker=event.maker,
            actor=event.actor,
            policies=event.policies,
            subject=event.subject,
            sealed=event.sealed,
            requested_at=recorded_at,
            position=position,
            last_position=position,
        )
    if request is None:
        raise AssertionError  # pragma: no cover - a vote on a request that was never made
    changes: dict[str, Any]
    match event:
        case ApprovalGiven(person=person, permissions=permissions):
            changes = {"votes": (*request.votes, Vote(person, permissions, position))}
        case ApprovalRejected():
            changes = {"status": "rejected"}
        case ApprovalWithdrawn():
            changes = {"status": "withdrawn"}
        case ApprovalCompleted(command_position=command_position):
            changes = {"status": "completed", "command_position": command_position}
        case ApprovalFailed(code=code):
            changes = {"status": "failed", "code": code}
    return msgspec.structs.replace(request, last_position=position, **changes)


class ApproveRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag="approve_request", forbid_unknown_fields=True
):
    """Approve what somebody else asked for; the last approval needed runs the command."""

    key: str = ""
    request_id: str

    def needs(self, wants: "Wants") -> None:
        """The request; what its command needs is loaded once that is known."""
        wants.kept.add((KIND, self.request_id))


class RejectRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag="reject_request", forbid_unknown_fields=True
):
    """Reject a request, with one of the needed permissions, or one's own request: it is over."""

    key: str = ""
    request_id: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The request."""
        wants.kept.add((KIND, self.request_id))


class WithdrawRequest(
    msgspec.Struct, frozen=True, kw_only=True, tag="withdraw_request", forbid_unknown_fields=True
):
    """Withdraw one's own request."""

    key: str = ""
    request_id: str
    reason: str | None = None

    def needs(self, wants: "Wants") -> None:
        """The request."""
        wants.kept.add((KIND, self.request_id))


def decide_approval(books: "Books", command: ApproveRequest) -> tuple[ApprovalGiven, ...]:
    """Approve; whether that was the last approval needed, the state after it tells.

    Raises:
        ValidationFailed: a malformed id.
        ApprovalNotFound: no such request.
        AlreadyCompleted, AlreadyRejected, AlreadyWithdrawn: it is over.
        MakerCannotApprove: the caller asked for it.
        AlreadyVoted: the caller approved before.
        NotPermitted: the caller holds none of the needed permissions.
        ValidationFailed: too many votes.
    """
    request = _pending(books, command.request_id)
    if request.maker == books.caller.person:
        raise MakerCannotApprove(request_id=command.request_id)
    permissions = _require_vote(books, request)
    if len(request.votes) >= VOTES_MAX:
        raise ValidationFailed("request_id", f"a request with fewer than {VOTES_MAX} votes")
    return (ApprovalGiven(command.request_id, books.caller.person, permissions),)


def decide_rejection(books: "Books", command: RejectRequest) -> tuple[ApprovalRejected, ...]:
    """Reject; the maker needs no permission for that.

    Raises:
        ValidationFailed: a malformed field.
        ApprovalNotFound: no such request.
        AlreadyCompleted, AlreadyRejected, AlreadyWithdrawn: it is over.
        AlreadyVoted: the caller approved before.
        NotPermitted: the caller holds none of the needed permissions.
    """
    require_text(command.reason, field="reason")
    request = _pending(books, command.request_id)
    person = books.caller.person
    if request.maker != person:
        _require_vote(books, request)
    return (ApprovalRejected(command.request_id, person, command.reason, request.begun_subject),)


def decide_withdrawal(books: "Books", command: WithdrawRequest) -> tuple[ApprovalWithdrawn, ...]:
    """Withdraw.

    Raises:
        ValidationFailed: a malformed field.
        ApprovalNotFound: no such request.
        AlreadyCompleted, AlreadyRejected, AlreadyWithdrawn: it is over.
        NotPermitted: the caller is not the maker.
    """
    require_text(command.reason, field="reason")
    request = _pending(books, command.request_id)
    if request.maker != books.caller.person:
        raise NotPermitted(request_id=command.request_id)
    return (ApprovalWithdrawn(command.request_id, command.reason, request.begun_subject),)


def approval_of(event: ApprovalGiven | ApprovalCompleted | ApprovalFailed) -> ApproveRequest:
    """The command whose first answer this event was, without its key."""
    return ApproveRequest(request_id=event.request_id)


def rejection_of(event: ApprovalRejected) -> RejectRequest:
    """The command whose first answer this event was, without its key."""
    return RejectRequest(request_id=event.request_id, reason=event.reason)


def withdrawal_of(event: ApprovalWithdrawn) -> WithdrawRequest:
    """The command whose first answer this event was, without its key."""
    return WithdrawRequest(request_id=event.request_id, reason=event.reason)


def is_satisfied(needs: Sequence[str], votes: Mapping[str, Collection[str]]) -> bool:
    """Whether every needed permission can be given a person of its own who voted and holds it.

    ``votes`` maps persons to the permissions they held. A maximum matching by augmenting paths
    (H. W. Kuhn, 1955), on at most ten needs.
    """
    place_of: dict[str, int] = {}

    def seat(place: int, asked: set[str]) -> bool:
        """Find a person for a place, moving those who can serve another one."""
        for person, permissions in votes.items():
            if needs[place] not in permissions or person in asked:
                continue
            asked.add(person)
            if person not in place_of or seat(place_of[person], asked):
                place_of[person] = place
                return True
        return False

    return all(seat(place, set()) for place in range(len(needs)))


def _pending(books: "Books", request_id: str) -> ApprovalRequest:
    """The request, which still waits.

    Raises:
        ValidationFailed: a malformed id.
        ApprovalNotFound: no such request.
        AlreadyCompleted, AlreadyRejected, AlreadyWithdrawn: it is over.
    """
    require_id(request_id, field="request_id")
    request = books.kept(KIND, request_id)
    if not isinstance(request, ApprovalRequest):
        raise ApprovalNotFound(field="request_id")
    match request.status:
        case "pending":
            return request
        case "completed" | "failed":
            raise AlreadyCompleted(request_id=request_id, status=request.status)
        case "rejected":
            raise AlreadyRejected(request_id=request_id)
        case "withdrawn":
            raise AlreadyWithdrawn(request_id=request_id)


def _require_vote(books: "Books", request: ApprovalRequest) -> tuple[str, ...]:
    """The needed permissions that the caller holds, who has not voted yet.

    Raises:
        AlreadyVoted: the caller has.
        NotPermitted: the caller holds none.
    """
    caller = books.caller
    for vote in request.votes:
        if vote.person == caller.person:
            raise AlreadyVoted(request_id=request.request_id, vote_position=vote.position)
    permissions = tuple(sorted(caller.permissions & set(request.approvers)))
    if not permissions:
        raise NotPermitted(request_id=request.request_id, approvers=list(request.approvers))
    return permissions
