"""Making blind indexes anew, beside running servers.

Some customers at a time, each time with the ledger's lock: nobody changes a profile meanwhile, and
what the views say is what the log says.
"""

from collections.abc import Callable

import msgspec

from api.runtime import Runtime
from ledger_core import log
from ledger_core.blind_index import Token
from ledger_core.log import Connection
from projections import customer_queries, runner
from projections.customer_360 import Profile

# Writers wait for as long as these take: some 50 ms.
AT_ONCE = 250


class ReindexReport(msgspec.Struct, frozen=True):
    """How many customers there are, and how many tokens were missing, and too many."""

    customers: int
    added: int
    removed: int


def reindex(
    runtime: Runtime,
    ledger_id: int,
    *,
    is_repair: bool = True,
    progress: Callable[[int], None] = lambda _: None,
) -> ReindexReport:
    """Have every token that should be there, and no other; or only count (``is_repair`` false).

    Raises:
        VaultError: a key cannot be unwrapped, or a value is damaged.
    """
    customers = added = removed = 0
    after: str | None = None
    with runtime.connect("ledger_projector") as projector:
        runner.catch_up(projector, ledger_id)  # Before anybody has to wait for it.
        with runtime.connect("ledger_writer") as connection:
            while True:
                log.begin(connection, ledger_id)
                runner.catch_up(projector, ledger_id)
                found, after = _page(runtime, ledger_id, after)
                missing, superfluous = _differences(runtime, connection, ledger_id, found)
                if is_repair:
                    runtime.blind_index.remove(connection, ledger_id, superfluous)
                    runtime.blind_index.add(connection, ledger_id, missing)
                connection.execute("COMMIT")
                customers += len(found)
                added += len(missing)
                removed += len(superfluous)
                progress(customers)
                if after is None:
                    return ReindexReport(customers, added, removed)


def _page(
    runtime: Runtime, ledger_id: int, after: str | None
) -> tuple[tuple[Profile, ...], str | None]:
    """Some customers as they are now, and where the next begin."""
    with runtime.engine.connect() as connection:
        page = customer_queries.customers(connection, ledger_id, after=after, limit=AT_ONCE)
    return page.items, page.next_after


def _differences(
    runtime: Runtime, connection: Connection, ledger_id: int, found: tuple[Profile, ...]
) -> tuple[list[Token], list[Token]]:
    """The tokens that these customers should have and do not, and those they have beside."""
    clear = runtime.vault.unseal_many(
        connection, ledger_id, {item.subject: item.sealed for item in found if not item.erased}
    )
    index, wanted = runtime.blind_index, set[Token]()
    for item in found:
        wanted |= index.tokens(ledger_id, item.customer_id, clear.get(item.subject) or {})
    stored = index.stored(connection, ledger_id, [item.customer_id for item in found])
    return sorted(wanted - stored), sorted(stored - wanted)
