"""Every block of the README and the pages does what its page says, in order, as a reader would."""

from collections.abc import Callable

import pytest
from tests.docs.conftest import blocks_of

Run = Callable[[list[str]], list[str]]

# What each block of a page must show, in order; the README's first block starts the server.
README: tuple[tuple[str, ...], ...] = (
    (),
    ('"recorded"', "JournalEntryPosted", "position"),
    ("Lunch", '"1250"'),
    ('"value_date"', "alice-current"),
    ("bank:counter:EUR", "closing balance", "A*** E***", "Total"),
    ("All agree",),
    ("3 lines: 3 recorded, 0 replayed", "3 lines: 0 recorded, 3 replayed"),
    ("2 entries", '"net": "640.00"', '"net": "3.00"'),
    ("Stopped",),
)
API: tuple[tuple[str, ...], ...] = (
    (),
    ("AccountOpened", "JournalEntryPosted", "BlockPlaced"),
    ("dempotency-replayed: true", "idempotency_conflict", '"amount"', "account_blocked"),
    ('"rent-may"', '"recorded":2'),
    ('"posted_minor":"5700"', '"position":20', "totals"),
    ('"next"', '"CustomerRegistered"', "structuring", "A*** E***"),
)
CLI: tuple[tuple[str, ...], ...] = (
    ("1 entries", "Assets:Wallet [CHF]", "-210.00", "Import:Conversion"),
    ("alice-current", "not open then", "swapped"),
)
RISK: tuple[tuple[str, ...], ...] = (
    ("RiskRuleSet", "parameters.count", "1 to 100", '"structuring"'),
)
KEYS: tuple[tuple[str, ...], ...] = (
    ('"AccountOpened"',),
    ("dempotency-replayed: true", '"jrn_'),
    ('"posted_minor":"5000"',),
    ("idempotency_conflict", '"amount"'),
    ("insufficient_funds", '"entry_id"'),
    ("dry-run: true", '"JournalEntryPosted"', "insufficient_funds"),
    ("LimitSet", "dempotency-replayed: true", "version_conflict"),
)
BATCHES: tuple[tuple[str, ...], ...] = (
    ('"recorded":3', '"id":"batch-a"'),
    ('"recorded":2', '"not_attempted"', '"batch_failed"'),
    ('"posted_minor":"150"',),
    ("/commands/0/amount", '"recorded":1'),
    ('"replayed":3', "dry-run: true", '"recorded":2'),
)
APPROVALS: tuple[tuple[str, ...], ...] = (
    ('"AccountOpened"', "ann", "ops,risk"),
    ('"pending_approval"', '"house"'),
    (
        "maker_cannot_approve",
        "ApprovalGiven",
        "already_voted",
        "not_permitted",
        "ApprovalCompleted",
        "already_completed",
    ),
    (
        "ApprovalPolicySet",
        '"policies":["large-payments"]',
        "ApprovalCompleted",
        "JournalEntryPosted",
        '"above_minor":"250000"',
        '"enabled":false',
    ),
)
ORDERS: tuple[tuple[str, ...], ...] = (
    ("StandingOrderCreated", '"ran":1', '"ran":0'),
    ("0 ran, 0 refused", '"next_date"', '"standing_orders"', '"Rent"'),
    ("StandingOrderChanged", "has not run yet", "StandingOrderCancelled", "order_ended"),
)
LIMITS: tuple[tuple[str, ...], ...] = (
    ('"limit":"10000"', '"ceiling":"500000"', '"limit":"-2000"'),
    ("limit_exceeded", '"reached_minor":"500001"', "insufficient_funds", '"needed_minor":"3001"'),
    ("HoldPlaced", "insufficient_funds", '"held_minor":"509000"', "HoldReleased"),
    ('"effective_date":"2099-01-01"', '"limit_minor":"5000"', '"scheduled"'),
    ("GroupMemberAdded", '"group_id":"household"', '"needed_minor":"502001"', '"posted_minor":"0"'),
    ("condition_failed", '"would_be_minor":"499900"', "version_conflict"),
    ('"amount":"500000"',),
    ("period_closed", '"original_value_date":"2024-12-31"', "2025-01-01", "kyc_not_cleared"),
)
HOLDS: tuple[tuple[str, ...], ...] = (
    ('"AccountOpened"', '"JournalEntryPosted"'),
    ("HoldPlaced", "insufficient_funds", '"held_minor":"30000"', '"available_minor":"20000"'),
    ("exceeds_hold", '"capture"', '"freed_minor":', "hold_already_captured", '"captured"'),
    ('"multi_capture":true', "Second day"),
    ("hold_mismatch", "HoldReleased", '"voided"'),
    ("hold_expired", '"expired"', '"due_at"', '"holds"', "room-12"),
)
ENTRIES: tuple[tuple[str, ...], ...] = (
    ('"rent 2026-05"', '"fee-may"', '"entries":[', '"4b"'),
    ("version_conflict", "condition_failed", '"alice-savings","side":"debit"'),
    ('"kind":"allocation"', '"amount":"250"', '"amount":"9750"', "shares of 100 %"),
    (
        "TemplateDefined",
        '"template":"account-fee@1"',
        '"amount":"95"',
        '"status":"active"',
        "template_not_found",
    ),
    ('"rate":"1.0842"', "bank:position:USD", '"amount":"10842"', "1 minor unit"),
    ('"reverses":"fee-may"', "already_reversed"),
)
TIME: tuple[tuple[str, ...], ...] = (
    ('"AccountOpened"', '"value_date":"2099-01-01"'),
    (
        '"posted_minor":"80700"',
        '"posted_minor":"30000"',
        '"posted_minor":"50000"',
        '"posted":"0.00"',
    ),
    ('"axis":"booking"', '"axis":"value_date"', '"opening_minor":"30000","opening":"300.00"'),
    (
        '"changed_from":"2024-01-25"',
        '"day":"2024-01-31","before_minor":"30000","after_minor":"-10000"',
        '"is_below_limit_after":true',
        '"entries":[{',
    ),
    (
        '"original_value_date":"2024-01-15"',
        '"after_minor":"-10000","as_first_dated_minor":"-9000"',
        '"closed_through":"2024-01-31"',
        "PeriodReopened",
    ),
)
TIME_TRAVEL: tuple[tuple[str, ...], ...] = (
    ('"AccountOpened"', "insufficient_funds"),
    ('"posted_minor":"0"', '"posted_minor":"700"', '"closing_minor":"50000"', '"customers":[{'),
    ("march_close shows", "('main', ", "Decimal('50000')", "only with --replace", "Dropped."),
    ("appeared", "rent-deposit", "debits posted", '"kind":"hold"', '"from":null'),
    (
        "reversed by",
        "carried forward",
        '"adds_up": true',
        '"carried_forward":{',
        '"reverses_position":',
    ),
    ("insufficient_funds", '"available_minor":"20000"', "as it stood since", '"movements":[{'),
)
SELF_AUDIT: tuple[tuple[str, ...], ...] = (
    ("Nothing found. Signed and stored.", "full", "no findings", '"findings_count":0'),
    ("ledger-audit/1", "PROVEN"),
)
ERASURE: tuple[tuple[str, ...], ...] = (
    ('"CustomerRegistered"', "P*** F***", '"erased":false'),
    ('"CustomerErased"', '"profile":null', '"posted_minor":"12300"', "All agree"),
    ("Nobody can be read from this backup.",),
    ("are wrapped by a new key-encryption key",),
    ("0 keys destroyed", "0 tokens"),
)
WRAPPING_KEYS: tuple[tuple[str, ...], ...] = (
    ("are wrapped by a new key-encryption key; the old one is gone", '"keys":', "All agree"),
)
DATABASE_ROLES: tuple[tuple[str, ...], ...] = (
    (
        "I am ledger_program",
        "accounts: True",
        "refused: permission denied for table events",
        "refused: permission denied for schema public",
    ),
    ("EUR 2 ", "denied for schema views", "denied for schema ledger", "denied for schema keystore"),
)
PRIVACY: tuple[tuple[str, ...], ...] = (
    ('"CustomerRegistered"',),
    ("G*** S***", "***99", "***T478", "Greta Sample"),
    ("C01X00T478", "reason_required", '"forbidden"', "Greta Sample", "unmask_customer"),
    ('"customers":[{"customer_id":"greta"', '"customers":[]', '"forbidden"', "greta  G*** S***"),
    ("0 tokens", "customers"),
)
AUDITORS: tuple[tuple[str, ...], ...] = (
    ("ledger-core.invalid/main",),
    ('"JournalEntryPosted"', "root"),
    ("PROVEN", "the tree against 1 checkpoints that you kept", "replayed from the events"),
    ("DOUBT", "First bad position", "exit code 1"),
    ("Nothing found", "no findings"),
)
PROOFS: tuple[tuple[str, ...], ...] = (
    ('"AccountOpened"',),
    ("ledger-core.invalid/main", "— "),
    ("ledger-core.invalid/main+", '"ledger-keys/1"'),
    ("JournalEntryPosted", "'checkpoint'", "PROVEN"),
    ("PROVEN", "c2sp.org/tlog-proof@v1", "extra ", "index "),
    ('"leaf_index":2', '"first_root"'),
    ("ledger-core.invalid/main", "160"),
)
ACCESS_LOG: tuple[tuple[str, ...], ...] = (
    ('"CustomerRegistered"', '"AccountHolderLinked"'),
    ("Vera Example", "vera-current  owner"),
    (
        '"operation":"get_customer"',
        '"reason":"case 2026-114"',
        '"operation":"list_accesses"',
        '"forbidden"',
        "get_statement  account:vera-current",
    ),
    ("accesses verified", "All agree", "ledger-core.invalid/main/access"),
)
FORMATS: tuple[tuple[str, ...], ...] = (("events, the same root: True",),)
EXPORT: tuple[tuple[str, ...], ...] = (
    ("root", "events/000000000001", "manifest.json"),
    ('"first": 5', '"frontier_before"'),
    ("All agree", "exit code 1"),
    ("Account alice-current", "balance", "PROVEN"),
    ('"leaf_hash"', "3 drawn"),
    ("[", '"position"'),
    ("debits_posted_minor", '"account_id"'),
    ("journal for hledger", "journal for beancount", "=="),
)
ACCOUNTS: tuple[tuple[str, ...], ...] = (
    ('"AccountOpened"', '"HoldPlaced"'),
    ('"posted_minor":"20000"', '"held_minor":"3000"', '"available_minor":"22000"', "1400.2"),
    ('"net_minor":"-20000"', '"accounts":2', '"net_minor":"0"'),
    ('"unrealised":"-4.15"', "rate_missing", '"currency":"USD"'),
)
ACCESS_CONTROL: tuple[tuple[str, ...], ...] = (
    ('"name":"security"', '"permission":"accesses.read"', "analyst  active  default"),
    ('"RoleSet"', '"JournalEntryPosted"', '"amount_max_minor":"50000"', '"forbidden"'),
    ('"beyond_own_authority"',),
    ('"status":403', '"subjects":["account:alice-current"]', '"forbidden"'),
)
ALARMS: tuple[tuple[str, ...], ...] = (
    ("RiskRuleSet", "403\n403\n403", '"rule":"denied_reads"', '"threshold":3', '"open"'),
    ("reason_required", '"status":"acknowledged"', "alarm_denied_reads_", "acknowledged by key:"),
)
LIMITS_OF_USE: tuple[tuple[str, ...], ...] = (("refused: 431", "ledger_requests_total{"),)
OVERLOAD: tuple[tuple[str, ...], ...] = (
    ("How many commands may be under way",),
    ('"status":"ready"', '"lag_events":'),
)
STAFF: tuple[tuple[str, ...], ...] = (
    ("t-1001  admin  -  first password",),
    (
        '"to_do":["password","second_factor"]',
        '"forbidden"',
        '"done":true',
        '{"recovery_codes":',
        '"to_do":[]',
        '{"position":',
    ),
    ("log_in_refused", '"person":"t-1001"'),
    (
        '"person_id":"t-2002"',
        '"password":"…"',
        "proof_refused",
        '{"staff":[{"person_id":"t-1001"',
        "create_staff  person:t-2002 role:teller",
        "disable_staff",
    ),
)
AUTHENTICATION: tuple[tuple[str, ...], ...] = (
    ('{"position":', '"code":"forbidden"'),
    ('"status":"ending"', '"revoked_at"', '"code":"unauthenticated"', "counter 3"),
    ("person:p-17 in the ledger main, roles teller", "Refused: it has expired", "exit code 1"),
)
DEPLOYMENT: tuple[tuple[str, ...], ...] = (
    (
        "600 DATA/keys/",
        "without a key: 401",
        "no secret in the list of processes",
        "All agree",
    ),
)
RUNBOOK: tuple[tuple[str, ...], ...] = (("ready", "All agree"),)
OBSERVABILITY: tuple[tuple[str, ...], ...] = (
    ("ledger_database_up 1.0", 'projection="balances"', "difference_minor"),
)
UPGRADES: tuple[tuple[str, ...], ...] = (("The schema is up to date.",),)
BACKUP: tuple[tuple[str, ...], ...] = (
    ("up to main 2", "SHA-256 of its manifest"),
    ("1 recorded", "write-ahead log of", "whole, and its log up to"),
    ("0 base backups removed",),
    (
        "main: position 2",
        "All agree",
        "nothing that was signed is missing",
        "Stopped",
    ),
    (
        "the newest state has 2",
        "All agree",
        "were signed and are LOST",
        "exit code 1",
    ),
)
FAILOVER: tuple[tuple[str, ...], ...] = (("All agree",),)
SIMULATION: tuple[tuple[str, ...], ...] = (
    ("10 seeds", "no rule was broken", "breaks the rule money", "exit code 1"),
)
PATH = 'export PATH="$PWD/.venv/bin:$PATH"'


def test_the_readme_begins_with_one_command() -> None:
    """Nothing comes before ``make run``."""
    assert blocks_of("README.md")[0].strip() == "make run"


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("README.md", README),
        ("docs/api.md", API),
        ("docs/cli.md", CLI),
        ("docs/risk-flags.md", RISK),
        ("docs/limits.md", LIMITS),
        ("docs/holds.md", HOLDS),
        ("docs/standing-orders.md", ORDERS),
        ("docs/idempotency.md", KEYS),
        ("docs/batches.md", BATCHES),
        ("docs/approvals.md", APPROVALS),
        ("docs/entries.md", ENTRIES),
        ("docs/time.md", TIME),
        ("docs/accounts.md", ACCOUNTS),
        ("docs/export.md", EXPORT),
        ("docs/time-travel.md", TIME_TRAVEL),
        ("docs/self-audit.md", SELF_AUDIT),
        ("docs/erasure.md", ERASURE),
        ("docs/keys.md", WRAPPING_KEYS),
        ("docs/database-roles.md", DATABASE_ROLES),
        ("docs/privacy.md", PRIVACY),
        ("docs/auditors.md", AUDITORS),
        ("docs/proofs.md", PROOFS),
        ("docs/formats.md", FORMATS),
        ("docs/access-log.md", ACCESS_LOG),
        ("docs/deployment.md", DEPLOYMENT),
        ("docs/authentication.md", AUTHENTICATION),
        ("docs/staff.md", STAFF),
        ("docs/access-control.md", ACCESS_CONTROL),
        ("docs/alarms.md", ALARMS),
        ("docs/limits-of-use.md", LIMITS_OF_USE),
        ("docs/overload.md", OVERLOAD),
        ("docs/runbook.md", RUNBOOK),
        ("docs/backup.md", BACKUP),
        ("docs/failover.md", FAILOVER),
        ("docs/observability.md", OBSERVABILITY),
        ("docs/upgrades.md", UPGRADES),
        ("docs/simulation.md", SIMULATION),
    ],
)
def test_every_block_does_what_its_page_says(
    server: str, run_blocks: Run, page: str, shown: tuple[tuple[str, ...], ...]
) -> None:
    """The blocks run without a failure, and print what the page promises."""
    assert "export LEDGER_KEY=lk_" in server
    assert server.count("curl -s http://127.0.0.1") == 3
    blocks = blocks_of(page)
    outputs = run_blocks(blocks[1:] if page == "README.md" else [PATH, *blocks])
    outputs = outputs if page == "README.md" else outputs[1:]
    for output, texts in zip(outputs, shown, strict=True):
        for text in texts:
            assert text in output
