"""How tests run a self-audit: all its steps at once."""

from tests.postgres.ledger_harness import World

from api.key_check import KeyChecker
from ledger_core import database
from ledger_core.log import Connection
from projections.auditing import Audited, Auditor

WAITS_MAX = 5
KEY = b"k" * 32


def auditor_of(world: World) -> Auditor:
    """An auditor of the world's ledger that knows nothing yet."""
    return Auditor(world.ledger_id, lambda: KEY, KeyChecker(world.vault, world.ledger_id))


def audited(world: World, auditor: Auditor | None = None) -> Audited:
    """The result of an audit, a new auditor's unless it is given."""
    with database.connect(world.url, "ledger_reader") as connection:
        return _audited(connection, auditor or auditor_of(world))


def _audited(connection: Connection, auditor: Auditor) -> Audited:
    """The result; projections that do not move are given up on."""
    waits = 0
    for step in auditor.audit(connection):
        if isinstance(step, Audited):
            return step
        waits += step == "waiting"
        if waits > WAITS_MAX:
            break
    found = auditor.give_up(connection)
    assert found is not None
    return found
