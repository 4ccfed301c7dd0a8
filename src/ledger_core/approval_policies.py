"""Policies of approval: which commands wait for whom, above what amount.

Here are the event, the state and the command of a policy, and which policies a decided command
meets. What becomes of a command that has to wait is in ``approvals``.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import msgspec

from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_id
from ledger_core.journal import HoldPlaced, JournalEntryPosted
from ledger_core.money import scale_of, whole_from_text

if TYPE_CHECKING:
    from ledger_core.books import Books, Wants

KIND = "approval_policy"
USED_KIND = "approvals_used"

APPROVERS_MAX = 10
"""Approvals that one policy or request may ask for: beyond, nobody knows who is meant to look."""
COMMANDS_MAX = 100
"""Types of command that one policy may name: more than there are."""
POLICIES_MAX = 200
"""Policies of a ledger: all are in memory, and every command is held against each."""

PolicyStatus = Literal["enabled", "disabled"]

_PERMISSION = re.compile(r"[a-z0-9_.\-]{1,40}")


class ApprovalPolicySet(msgspec.Struct, frozen=True, omit_defaults=True):
    """Commands of these types need approval from now on, by one person for each of ``approvers``.

    ``above_minor`` >= 0, in minor units of ``currency``: only where the debits and holds in that
    currency come to more. Both are there or neither. The last such event of a policy counts.
    """

    policy_id: str
    commands: tuple[str, ...]
    approvers: tuple[str, ...]
    currency: str | None = None
    above_minor: int | None = None
    enabled: bool = True


class Policy(msgspec.Struct, frozen=True):
    """A policy as it was set last."""

    policy_id: str
    commands: tuple[str, ...]
    approvers: tuple[str, ...]
    currency: str | None
    above_minor: int | None
    enabled: bool
    position: int
    last_position: int

    @property
    def status(self) -> PolicyStatus:
        """Whether it counts now."""
        return "enabled" if self.enabled else "disabled"

    @property
    def tags(self) -> tuple[str, ...]:
        """The commands it is about."""
        return tuple(f"command:{command}" for command in self.commands)


def ids(event: ApprovalPolicySet, _position: int) -> tuple[str, ...]:
    """The one policy that the event sets."""
    return (event.policy_id,)


def evolve(
    policy: Policy | None, event: ApprovalPolicySet, position: int, _recorded_at: datetime
) -> Policy:
    """The policy after it was set: nothing is left of its terms before."""
    return Policy(
        event.policy_id,
        event.commands,
        event.approvers,
        event.currency,
        event.above_minor,
        event.enabled,
        position if policy is None else policy.position,
        position,
    )


class ApprovalsUsed(msgspec.Struct, frozen=True):
    """That a policy or a request was ever made: without, no key can be that of a request."""

    position: int
    last_position: int
    status: Literal["used"] = "used"


def used_ids(_event: object, _position: int) -> tuple[str, ...]:
    """There is one for the ledger."""
    return ("ledger",)


def evolve_used(
    used: ApprovalsUsed | None, _event: object, position: int, _recorded_at: datetime
) -> ApprovalsUsed:
    """The first policy or request says it for good."""
    return ApprovalsUsed(position, position) if used is None else used


class SetApprovalPolicy(
    msgspec.Struct, frozen=True, kw_only=True, tag="set_approval_policy", forbid_unknown_fields=True
):
    """Let commands of some types wait for approval, all or those above an amount.

    ``approvers`` names one permission for each person who must approve: ``["ops", "ops", "risk"]``
    are three persons. ``above`` is in minor units of ``currency``.
    """

    key: str = ""
    policy_id: str
    commands: tuple[str, ...]
    approvers: tuple[str, ...]
    currency: str | None = None
    above: str | None = None
    enabled: bool = True

    def needs(self, wants: "Wants") -> None:
        """Policies are always in memory."""


def decide(
    books: "Books", command: SetApprovalPolicy, known: Collection[str]
) -> tuple[ApprovalPolicySet, ...]:
    """Set the policy; ``known`` are the types of command that can wait. ``()``: it is so already.

    Raises:
        ValidationFailed: a malformed field, an amount without currency, or too many policies.
        UnknownCurrency: no such currency.
    """
    require_id(command.policy_id, field="policy_id")
    if not 1 <= len(set(command.commands)) == len(command.commands) <= COMMANDS_MAX:
        raise ValidationFailed("commands", f"1 to {COMMANDS_MAX} types of command, each once")
    if not set(command.commands) <= set(known):
        raise ValidationFailed("commands", f"types of command: {', '.join(sorted(known))}")
    require_approvers(command.approvers)
    if (command.currency is None) != (command.above is None):
        raise ValidationFailed("above", "together with currency, or neither")
    above_minor = None if command.above is None else whole_from_text(command.above, field="above")
    if command.currency is not None:
        scale_of(command.currency, books.units)
    event = ApprovalPolicySet(
        command.policy_id,
        command.commands,
        command.approvers,
        command.currency,
        above_minor,
        command.enabled,
    )
    before = books.kept(KIND, command.policy_id)
    if before is None and len(books.kept_of(KIND)) >= POLICIES_MAX:
        raise ValidationFailed("policy_id", f"at most {POLICIES_MAX} policies")
    if before is None:
        return (event,)
    is_so = evolve(before, event, before.last_position, books.recorded_at) == before
    return () if is_so else (event,)


def command_of(event: ApprovalPolicySet) -> SetApprovalPolicy:
    """The command whose first answer this event was, without its key."""
    return SetApprovalPolicy(
        policy_id=event.policy_id,
        commands=event.commands,
        approvers=event.approvers,
        currency=event.currency,
        above=None if event.above_minor is None else str(event.above_minor),
        enabled=event.enabled,
    )


def require_approvers(approvers: Sequence[str]) -> None:
    """One to ten permissions, not necessarily different ones.

    Raises:
        ValidationFailed: none, too many, or a malformed name.
    """
    if not 1 <= len(approvers) <= APPROVERS_MAX:
        raise ValidationFailed("approvers", f"1 to {APPROVERS_MAX} permissions")
    for index, name in enumerate(approvers):
        require_permission(name, field=f"approvers[{index}]")


def require_permission(name: str, *, field: str) -> None:
    """A permission's name: small letters, digits, underscore, dot, hyphen.

    Raises:
        ValidationFailed: any other form.
    """
    if _PERMISSION.fullmatch(name) is None:
        raise ValidationFailed(field, "1 to 40 characters out of a-z, 0-9, _ . -")


def matching(
    policies: Iterable[Policy], command: str, decided: Sequence[object] | None
) -> tuple[Policy, ...]:
    """The policies that hold up a command of that type which amounts to these events, by id.

    A policy with an amount does not match where nothing is moved or held in its currency; what
    cannot be told (``None``) may be any amount.
    """
    found = [
        policy
        for policy in policies
        if policy.enabled and command in policy.commands and _is_above(policy, decided)
    ]
    return tuple(sorted(found, key=lambda policy: policy.policy_id))


def combined(demands: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The fewest approvers that satisfy every demand, each demand seen by itself."""
    most: Counter[str] = Counter()
    for demand in demands:
        most |= Counter(demand)
    return tuple(most.elements())


def _is_above(policy: Policy, decided: Sequence[object] | None) -> bool:
    """Whether the policy asks for no amount, or more than it is debited or held."""
    if policy.above_minor is None or decided is None:
        return True
    moved_minor = 0
    for event in decided:
        if isinstance(event, JournalEntryPosted):
            moved_minor += sum(
                posting.amount_minor
                for posting in event.postings
                if posting.side == "debit" and posting.currency == policy.currency
            )
        elif isinstance(event, HoldPlaced) and event.currency == policy.currency:
            moved_minor += event.amount_minor
    return moved_minor > policy.above_minor
