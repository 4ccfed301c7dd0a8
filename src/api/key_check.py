"""Whether the key store agrees with the log: what verifying needs the wrapping key for."""

from collections.abc import Iterator, Mapping

import msgspec

from api.runtime import Runtime
from ledger_core import snapshots
from ledger_core.log import Connection
from ledger_core.vault import Vault
from projections.customer_360 import Profile
from projections.findings import Finding
from projections.verification import Verdict

_SUBJECTS_AT_ONCE = 10_000


class KeyChecker:
    """Checks the keys of one ledger's customers, in the snapshot of a connection.

    A customer who was not erased must have a key that opens; one who was must have none.
    """

    def __init__(self, vault: Vault, ledger_id: int) -> None:
        """Use the vault that can open the keys."""
        self._vault = vault
        self._ledger_id = ledger_id

    def __call__(
        self, connection: Connection, profiles: Mapping[str, Profile], erased_later: set[str]
    ) -> Iterator[Finding]:
        """The keys that are not as they should be; see ``projections.auditing.KeyCheck``."""
        people = [
            (item.customer_id, item.subject, item.erased or item.subject in erased_later)
            for item in profiles.values()
        ]
        return self.findings(connection, people)

    def findings(
        self, connection: Connection, people: list[tuple[str, str, bool]]
    ) -> Iterator[Finding]:
        """The keys that are not as they should be: customer, subject, and whether erased."""
        for first in range(0, len(people), _SUBJECTS_AT_ONCE):
            some = people[first : first + _SUBJECTS_AT_ONCE]
            names = [subject for _, subject, _ in some]
            elsewhere = self._vault.kept_elsewhere(connection, self._ledger_id, names)
            exist, open_ = self._vault.keys_that_open(connection, self._ledger_id, names)
            for customer_id, subject, erased in some:
                found = "gone"
                if subject in exist:
                    found = "whole" if subject in open_ else "damaged"
                expected = "gone" if erased or subject in elsewhere else "whole"
                if found != expected:
                    yield Finding(
                        kind="key",
                        message=f"the key of customer {customer_id} is {found};"
                        f" it should be {expected}",
                        customer_id=customer_id,
                        expected=expected,
                        found=found,
                    )


def with_keys(runtime: Runtime, ledger_id: int, verdict: Verdict) -> Verdict:
    """The verdict on the log and the views, and on the keys of customers beside.

    The views must have caught up with the log; who is forgotten meanwhile is no finding.
    """
    with runtime.connect("ledger_reader") as connection, connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        later = _erased_later(connection, ledger_id)
        people = [
            (customer_id, subject, erased or subject in later)
            for customer_id, subject, erased in snapshots.load_subjects(connection, ledger_id)
        ]
        checker = KeyChecker(runtime.vault, ledger_id)
        more = tuple(checker.findings(connection, people))
    return msgspec.structs.replace(
        verdict,
        findings=verdict.findings + more,
        findings_count=verdict.findings_count + len(more),
        ok=verdict.ok and not more,
    )


def _erased_later(connection: Connection, ledger_id: int) -> set[str]:
    """Subjects forgotten by events that the view of customers has not taken in yet."""
    rows = connection.execute(
        "SELECT e.data->>'subject' FROM views.projections p"
        " JOIN ledger.events e ON e.ledger_id = p.ledger_id AND e.position > p.position"
        " WHERE p.ledger_id = %s AND p.name = 'customer_360' AND p.live"
        " AND e.type = 'CustomerErased'",
        (ledger_id,),
    )
    return {str(row[0]) for row in rows}
