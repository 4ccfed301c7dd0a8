"""Holds a run's history against the log and the views that the run left behind.

Nothing here believes the program: the log is read as raw rows and folded by a fold of its own
(``fold``); what the clients were promised is held against it (``promises``), and so is every answer
that they read (``view_rules``). The program's own verification and the independent verifier are
asked besides. An empty list is what a ledger owes, whatever was done to it.
"""

from tests.faults import log_rules, promises, view_rules
from tests.faults.fold import Fold, Row
from tests.faults.history import Finding, History

from ledger_core import database


def check(database_url: str, owner_url: str, history: History) -> list[Finding]:
    """Everything that is not as it must be, each finding once, in order of their rules.

    ``database_url`` logs in as the program does, ``owner_url`` as the owner of the tables, who also
    sees what no role of the program may read. Nobody may write meanwhile.
    """
    findings: set[Finding] = set()
    with database.connect(database_url, "ledger_reader") as connection:
        rows = log_rules.read_log(connection)
        findings.update(log_rules.check(connection, rows))
        findings.update(view_rules.check_behind(connection, rows))
    fold, broken = check_history(history, rows)
    findings.update(broken)
    with database.connect(database_url, "ledger_projector") as connection:
        findings.update(view_rules.check_product(connection))
    with database.connect(owner_url, "ledger_reader") as connection:
        findings.update(view_rules.check_views(connection, fold))
    return sorted(findings)


def check_history(history: History, rows: list[Row]) -> tuple[Fold, list[Finding]]:
    """What of a history is not as the log has it; and what the log comes to."""
    reads = [item for item in history.attempts if item.is_read]
    fold, findings = view_rules.check_reads(rows, reads)
    return fold, [*findings, *promises.check(history, rows)]
