"""Nobody hands out more than they have: what a caller may give to a key or a person.

Compares authorities, and knows nothing of keys or persons. Whoever may unmask may see every field,
if with a reason, and so may give it to others. What a role demands (a reason, a fresh second
factor) is no power, and not compared.
"""

from collections.abc import Iterable

from api.authority import SHOWN_MOST, Authority, is_within_amounts
from api.callers import Caller
from api.problems import Kind, Problem

_UNMASKING = "customers.unmask"

BEYOND = Kind(
    403,
    "beyond_own_authority",
    "Nobody hands out more than they have: permissions, amounts, fields and approvals.",
)


def require_within(caller: Caller, given: Authority, permissions: Iterable[str] = ()) -> None:
    """The caller has all of an authority, and the permissions of approvals that go with it.

    Raises:
        Problem: some of it the caller has not.
    """
    if not is_within(caller.authority, given) or not caller.permissions.issuperset(permissions):
        raise Problem(BEYOND)


def is_within(held: Authority, given: Authority) -> bool:
    """Whether all that an authority allows is allowed by another."""
    return (
        given.permissions <= held.permissions
        and is_within_amounts(held, given)
        and (
            _UNMASKING in held.permissions
            or all(
                SHOWN_MOST.index(shown) <= SHOWN_MOST.index(held.personal[field])
                for field, shown in given.personal.items()
            )
        )
    )
