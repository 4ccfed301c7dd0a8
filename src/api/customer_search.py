"""Finding customers by personal fields: the index says who may be meant, the profile whether.

A search names whole values. It is no listing: what more than a few customers have in common is
said to be too common, not shown.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec
import sqlalchemy

from api import profiles
from api.authority import Showing
from api.masking import ShownProfile
from api.sql import driver_connection
from ledger_core.blind_index import BlindIndex, Form
from ledger_core.errors import ValidationFailed
from ledger_core.fields import require_text
from ledger_core.log import Connection
from ledger_core.vault import Vault
from projections import customer_queries
from projections.customer_360 import Profile

FOUND_DEFAULT = 10
FOUND_MAX = 50

# A customer without a token under this secret whose profile can be read: registered before there
# was an index, or under another secret.
_MISSING = (
    "SELECT EXISTS (SELECT FROM views.projections p"
    " JOIN views.customers c ON c.ledger_id = p.ledger_id AND c.slot = p.slot"
    " JOIN keystore.subject_keys k ON k.ledger_id = c.ledger_id AND k.subject = c.subject"
    " WHERE p.ledger_id = %(ledger)s AND p.name = 'customer_360' AND p.live"
    " AND c.ledger_id = %(ledger)s AND NOT c.erased"
    " AND k.ledger_id = %(ledger)s AND k.wrapped_key IS NOT NULL"
    " AND NOT EXISTS (SELECT FROM keystore.blind_indexes b WHERE b.ledger_id = %(ledger)s"
    " AND b.customer_id = c.customer_id AND b.key_id = %(key)s))"
)


class IndexIncompleteError(RuntimeError):
    """Some customers could not be found whatever was asked: the index has to be made first."""


class Found(msgspec.Struct, frozen=True):
    """Who was found, by customer id; ``is_more``: there are others. As of which moment."""

    customers: list[tuple[Profile, ShownProfile]]
    is_more: bool
    position: int
    recorded_at: datetime | None


class CustomerSearch:
    """Searches the customers of every ledger of this process."""

    def __init__(self, vault: Vault, index: BlindIndex) -> None:
        """Know of no ledger whether all its customers can be found."""
        self._vault = vault
        self._index = index
        # Ledgers that had no customer without a token: every writer sees to it that it stays so.
        self._whole: set[int] = set()

    def find(  # noqa: PLR0913 - where, for whose eyes, what, and how many
        self,
        connection: sqlalchemy.Connection,
        ledger_id: int,
        personal: Mapping[str, Showing],
        *,
        fields: Mapping[str, str],
        form: Form = "normal",
        limit: int = FOUND_DEFAULT,
    ) -> Found:
        """The customers who have all of these values now, at most ``limit``.

        Raises:
            IndexIncompleteError: not everybody can be found.
            VaultError: a key cannot be unwrapped, or a value is damaged.
        """
        driver = driver_connection(connection)
        self._require_whole(driver, ledger_id)
        ids = self._index.find(driver, ledger_id, form, fields, limit + 1)
        page = customer_queries.profiles(connection, ledger_id, ids[:limit])
        found = profiles.having(
            self._vault, driver, ledger_id, page.items, personal, form=form, fields=fields
        )
        return Found(found, len(ids) > limit, page.position, page.recorded_at)

    def _require_whole(self, connection: Connection, ledger_id: int) -> None:
        """Every customer who can be read can be found.

        Raises:
            IndexIncompleteError: some cannot.
        """
        if ledger_id in self._whole:
            return
        asked = {"ledger": ledger_id, "key": self._index.key_id}
        row = connection.execute(_MISSING, asked).fetchone()
        if row is not None and row[0]:
            msg = "Not every customer can be found yet: run `ledger keystore reindex`."
            raise IndexIncompleteError(msg)
        self._whole.add(ledger_id)


def require_searchable(fields: Mapping[str, str]) -> None:
    """At least one field, each a line of text.

    Raises:
        ValidationFailed: none, or a malformed value; values are not repeated.
    """
    if not fields:
        raise ValidationFailed("fields", "at least one field")
    for name, text in fields.items():
        require_text(text, field=f"fields.{name}")
