"""Profiles as somebody may see them: unsealed as far as need be, and masked by role.

Whatever shows a profile gets it here, so that no view can forget to mask it. Fields that are
hidden are not even decrypted.
"""

from collections.abc import Iterable, Mapping, Sequence

from api import masking
from api.authority import Showing
from api.masking import ShownProfile
from ledger_core import blind_index
from ledger_core.blind_index import Form
from ledger_core.log import Connection
from ledger_core.vault import Vault
from projections.customer_360 import Profile
from projections.customer_queries import Customer360

_Found = Profile | Customer360


def shown(
    vault: Vault,
    connection: Connection,
    ledger_id: int,
    found: Iterable[_Found],
    personal: Mapping[str, Showing],
) -> list[ShownProfile | None]:
    """The profiles; ``None`` where the person was forgotten, in view or key store.

    Raises:
        VaultError: a key cannot be unwrapped, or a value is damaged.
    """
    found = list(found)
    clear = _read(vault, connection, ledger_id, found, personal)
    return [_shown(item, clear.get(item.subject), personal) for item in found]


def having(  # noqa: PLR0913 - among whom, what, and for whose eyes
    vault: Vault,
    connection: Connection,
    ledger_id: int,
    found: Sequence[Profile],
    personal: Mapping[str, Showing],
    *,
    form: Form,
    fields: Mapping[str, str],
) -> list[tuple[Profile, ShownProfile]]:
    """Those of the customers who have all of these values, none in a field that is hidden.

    An index may be ahead of the views, or have been brought back from a copy: what it says is
    compared with the profile itself.

    Raises:
        VaultError: a key cannot be unwrapped, or a value is damaged.
    """
    clear = _read(vault, connection, ledger_id, found, personal)
    having_all: list[tuple[Profile, ShownProfile]] = []
    for item in found:
        read = clear.get(item.subject)
        profile = _shown(item, read, personal)
        if read is None or profile is None:
            continue
        if all(
            name in read and blind_index.matches(name, form, read[name], asked)
            for name, asked in fields.items()
        ):
            having_all.append((item, profile))
    return having_all


def _read(
    vault: Vault,
    connection: Connection,
    ledger_id: int,
    found: Sequence[_Found],
    personal: Mapping[str, Showing],
) -> dict[str, dict[str, str] | None]:
    """By subject, the fields in clear that are not hidden."""
    sealed = {
        item.subject: masking.readable(item.sealed, personal) for item in found if not item.erased
    }
    return vault.unseal_many(connection, ledger_id, sealed)


def _shown(
    item: _Found, clear: Mapping[str, str] | None, personal: Mapping[str, Showing]
) -> ShownProfile | None:
    """A profile of which some fields were read; ``None`` where there is none any more."""
    if clear is None:
        return None
    return masking.shown_profile(item.public, item.sealed, clear, personal)
