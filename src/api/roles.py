"""Whether a caller may do something: every route asks here, and is refused here."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from api import clock
from api.authority import authority_of, merged
from api.callers import Caller
from api.default_roles import DEFAULT_ROLES
from api.delegation import BEYOND, is_within
from api.permissions import PERMISSION_OF
from api.problems import FORBIDDEN, STEP_UP_REQUIRED, Problem
from api.role_book import terms_of
from ledger_core.access_roles import SetRole, as_set
from ledger_core.commands import Command, RequestApproval, tag_of

LOOKED_INTO: frozenset[type] = frozenset({RequestApproval, SetRole})
"""Commands of which the type alone does not say whether a caller may send them."""
STEP_UP_S = 300
"""How long a second factor counts for what asks for a fresh one."""

# https://www.rfc-editor.org/rfc/rfc9470: how a resource asks for a fresh authentication.
_CHALLENGE = (
    (
        "WWW-Authenticate",
        f'Bearer error="insufficient_user_authentication", max_age="{STEP_UP_S}"',
    ),
)


def refusal_of(caller: Caller, command: Command) -> Problem | None:
    """Why the caller may not send the command and what it wraps; ``None``: they may."""
    try:
        require_may_send(caller, command)
    except Problem as problem:
        return problem
    return None


def require_may_send(caller: Caller, command: Command) -> None:
    """The caller may send the command, and what it wraps.

    Raises:
        Problem: they may not, or not without a fresh second factor.
    """
    if isinstance(command, RequestApproval):
        require_may_send(caller, command.command)
    require_allowed(caller, tag_of(command))
    if isinstance(command, SetRole):
        _require_no_more(caller, command)


def asks_why(caller: Caller, command: Command) -> bool:
    """Whether a role of the caller demands a reason for the command, or for what it wraps."""
    demanded = caller.authority.reason_for_commands
    if isinstance(command, RequestApproval) and tag_of(command.command) in demanded:
        return True
    return tag_of(command) in demanded


def require_allowed(caller: Caller, operation: str) -> None:
    """The caller may call the operation, now.

    Raises:
        Problem: they may not, or not without a fresh second factor.
    """
    authority = caller.authority
    if operation not in authority.operations:
        raise Problem(FORBIDDEN)
    if operation in authority.step_up_for:
        require_fresh(caller, clock.now())


def is_allowed(caller: Caller, operation: str) -> bool:
    """Whether the caller may call the operation without anything more being asked."""
    authority = caller.authority
    return (
        operation in authority.operations
        and operation not in authority.step_up_for
        and operation not in authority.reason_for
    )


def require_fresh(caller: Caller, at: datetime) -> None:
    """The person has proved to be there a moment ago; a key is no person, and is not asked.

    Raises:
        Problem: not within ``STEP_UP_S``.
    """
    credential = caller.credential
    if credential.kind == "key":
        return
    proved_at = credential.second_factor_at
    if proved_at is None or at - proved_at > timedelta(seconds=STEP_UP_S):
        raise Problem(STEP_UP_REQUIRED, headers=_CHALLENGE)


def _require_no_more(caller: Caller, command: SetRole) -> None:
    """Who sets a role lets it grant no more than it did before or they have themselves.

    Judged on the roles as they were known a moment ago.

    Raises:
        Problem: it would.
    """
    authority = caller.authority
    before = authority.roles.get(command.name)
    held = authority if before is None else merged(authority, authority_of([before], None))
    try:
        terms = terms_of(as_set(command))
    except ValueError:  # An amount that is none: the command is refused for that.
        return
    if not is_within(held, authority_of([terms], None)):
        raise Problem(BEYOND)


def default_roles_of(operation: str) -> Sequence[str]:
    """The names of the default roles that may call the operation, sorted."""
    if operation not in PERMISSION_OF:
        return ()
    return sorted(
        name for name, terms in DEFAULT_ROLES.items() if authority_of([terms], None).may(operation)
    )
