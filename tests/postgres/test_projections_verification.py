"""Verification finds any change of any column that anybody makes behind the program's back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import psycopg
import pytest
from tests.postgres.auditing_harness import audited
from tests.postgres.ledger_harness import World
from tests.rules.harness import deposited, held, opened, transfer, withdrawn

from ledger_core.account_holders import LinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.blocks import FreezeAccount
from ledger_core.customers import ChangeProfile, RegisterCustomer
from ledger_core.errors import LedgerNotFound
from ledger_core.risk_rules import SetRiskRule
from ledger_core.units import RegisterUnit
from projections.registry import PROJECTIONS
from projections.verification import verify


@pytest.fixture
def bank(database_url: str) -> Iterator[World]:
    """A ledger with a row in every table."""
    with World(database_url) as world:
        outcomes = world.run(
            RegisterCustomer(key="c", customer_id="ann", profile={"name": "Ann", "segment": "x"}),
            RegisterUnit(key="u", code="PTS", scale=3, name="points"),
            SetRiskRule(key="r", rule="large_movement", parameters={"amount": 5}),
            opened("A", key="a", customer_id="ann", code="10", name="Ann's", metadata={"k": "v"}),
            opened("B", key="b"),
            deposited("A", 10_000, key="1", entry_id="e1", reference="ref-1"),
            transfer("A", "B", 2_500, key="2", description="rent"),
            withdrawn("B", 100, key="3"),
            SetLimit(key="4", account_id="A", limit="500"),
            held("A", "B", 10, key="8", timeout_s=3_600, code="rent"),
            FreezeAccount(key="5", account_id="B", cause="court"),
            LinkCustomer(key="6", account_id="B", customer_id="ann", role="joint"),
            ChangeProfile(key="7", customer_id="ann", changes={"phone": "1"}, reason="moved"),
        )
        assert [item.status for item in outcomes] == ["recorded"] * 13
        world.catch_up()
        yield world


def _columns(conn: psycopg.Connection) -> list[tuple[str, str, str]]:
    """Every column that is verified: table, name and type.

    Names of ledgers, and what a program asks of the schema before it starts, are in no log.
    """
    rows = conn.execute(
        "SELECT table_schema || '.' || table_name, column_name, data_type"
        " FROM information_schema.columns"
        " WHERE table_schema IN ('views', 'ledger')"
        " AND table_name NOT IN ('ledgers', 'alembic_version', 'compatibility', 'installation')"
        " ORDER BY 1, ordinal_position"
    )
    return [(row[0], row[1], row[2]) for row in rows]


_OTHER_VALUE = {
    "text": "COALESCE({c}, '') || 'x'",
    "character": "CASE {c} WHEN 'D' THEN 'C' ELSE 'D' END",
    "smallint": "{c} + 1",
    "integer": "{c} + 1",
    "bigint": "{c} + 1000",
    "numeric": "COALESCE({c}, 0) + 1",
    "boolean": "NOT {c}",
    "date": "{c} + 1",
    "timestamp with time zone": "COALESCE({c}, '2026-01-01') + interval '1 microsecond'",
    "json": """('[' || COALESCE({c}::text, '') || ']')::json""",
    "ARRAY": "{c} || ARRAY['x']",
    "bytea": "set_byte({c}, 9, get_byte({c}, 9) # 1)",
}


_SPECIAL_VALUE = {
    ("ledger.identities", "kind"): "CASE {c} WHEN 'entry' THEN 'reference' ELSE 'entry' END",
}
_NOT_FOUND = {
    # Without its head row there is no ledger to verify.
    ("ledger.heads", "ledger_id"),
    # A projection that has lost its place is brought forward from the log again.
    ("views.projections", "ledger_id"),
}
_KINDS = {
    "ledger.events": {"event"},
    "ledger.heads": {"head", "tree"},
    "ledger.identities": {"identities"},
    # The wrong slot has none of the rows that should be there.
    "views.projections": {"projection", *(t.name for p in PROJECTIONS for t in p.tables)},
}


def _tamper(conn: psycopg.Connection, table: str, column: str, kind: str) -> bool:
    """Change a column in the last row that the table's checks let be changed; whether any."""
    changed = _SPECIAL_VALUE.get((table, column), _OTHER_VALUE[kind]).format(c=column)
    rows = conn.execute(f"SELECT ctid FROM {table} ORDER BY ctid DESC".encode()).fetchall()
    assert rows, f"{table} should have a row"
    for row in rows:
        try:
            conn.execute(f"UPDATE {table} SET {column} = {changed} WHERE ctid = %s".encode(), row)
        except psycopg.errors.IntegrityError:
            continue
        return True
    return False


@contextmanager
def _kept(conn: psycopg.Connection, tables: set[str]) -> Iterator[None]:
    """Put every table back as it was, whatever happens to it meanwhile."""
    conn.execute("CREATE SCHEMA kept")
    for table in tables:
        name = table.replace(".", "_")
        conn.execute(f"CREATE TABLE kept.{name} AS TABLE {table}".encode())
    try:
        yield
    finally:
        for table in tables:
            name = table.replace(".", "_")
            conn.execute(f"DELETE FROM {table}".encode())
            conn.execute(f"INSERT INTO {table} SELECT * FROM kept.{name}".encode())
        conn.execute("DROP SCHEMA kept CASCADE")


def test_an_untouched_ledger_verifies(bank: World) -> None:
    """Nothing is found, and everything was read."""
    verdict = verify(bank.projector, bank.ledger_id)
    assert (verdict.ok, verdict.findings, verdict.findings_count) == (True, (), 0)
    assert verdict.events == verdict.position == len(bank.stored())


def test_an_empty_ledger_verifies(database_url: str) -> None:
    """There is nothing that could be wrong."""
    with World(database_url) as world:
        assert verify(world.projector, world.ledger_id).ok
        with pytest.raises(LedgerNotFound):
            verify(world.projector, world.ledger_id + 1)


def test_a_change_of_any_column_of_any_table_is_found_and_named(
    bank: World, superuser_url: str
) -> None:
    """Log, head, identities, projections and every view: one column at a time, then put back.

    The self-audit finds it too.
    """
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        columns = _columns(superuser)
        tables = {table for table, _, _ in columns}
        assert len(tables) == 16
        for table, column, kind in columns:
            if (table, column) in _NOT_FOUND:
                continue
            with _kept(superuser, tables):
                assert _tamper(superuser, table, column, kind), (table, column)
                verdict = verify(bank.projector, bank.ledger_id)
                kinds = {finding.kind for finding in verdict.findings}
                expected = _KINDS.get(table, {table.partition(".")[2]})
                assert kinds & expected, (table, column, verdict.findings)
                found = {finding.kind for finding in audited(bank).findings}
                assert found & expected, (table, column, found)
        assert verify(bank.projector, bank.ledger_id).ok
        assert audited(bank).ok


def test_one_changed_digit_of_an_event_is_traced_to_its_accounts(
    bank: World, superuser_url: str
) -> None:
    """The event that was changed comes first, then what no longer fits it."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        row = superuser.execute(
            "UPDATE ledger.events SET data = replace(data::text, '2500', '2600')::json"
            " WHERE data::text LIKE '%2500%' RETURNING position"
        ).fetchone()
    assert row is not None
    verdict = verify(bank.projector, bank.ledger_id)
    first = verdict.findings[0]
    assert (first.kind, first.position) == ("event", row[0])
    assert "not as it was sealed" in first.message
    assert {finding.account_id for finding in verdict.findings} >= {"A", "B"}
    assert {"tree", "accounts", "statement_lines"} <= {item.kind for item in verdict.findings}


def test_a_deleted_event_and_a_row_nobody_wrote_are_found(bank: World, superuser_url: str) -> None:
    """A gap in the log is named by its position, a made-up balance by its account."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute("DELETE FROM ledger.events WHERE position = 7")
        superuser.execute(
            "INSERT INTO views.units SELECT ledger_id, slot, 'GOLD', 2, NULL, 3 FROM views.units"
        )
        superuser.execute("DELETE FROM views.customer_accounts WHERE account_id = 'B'")
    verdict = verify(bank.projector, bank.ledger_id)
    assert ("event", 7) in {(item.kind, item.position) for item in verdict.findings}
    messages = [item.message for item in verdict.findings]
    assert any("units GOLD is not in the log" in message for message in messages)
    assert any("ann, B, joint is missing" in message for message in messages)


def test_findings_name_the_row_and_show_values_as_text(bank: World, superuser_url: str) -> None:
    """A total by currency and type, JSON as JSON, and no Python object's name anywhere."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(
            "UPDATE views.trial_balance SET credits_posted_minor = 1 WHERE account_type = 'asset'"
        )
        superuser.execute("DELETE FROM views.risk_rules")
        superuser.execute("UPDATE views.accounts SET metadata = '[]' WHERE account_id = 'A'")
    findings = verify(bank.projector, bank.ledger_id).findings
    messages = [finding.message for finding in findings]
    assert "trial_balance EUR, asset, credits_posted_minor: expected 100, found 1" in messages, (
        messages
    )
    (rule,) = (finding for finding in findings if finding.kind == "risk_rules")
    assert rule.expected is not None
    row = json.loads(rule.expected)
    assert (row["rule"], json.loads(row["parameters"])["amount"]) == ("large_movement", 5)
    (account,) = (finding for finding in findings if finding.account_id == "A")
    assert account.message == 'accounts A, metadata: expected {"k":"v"}, found []'
    for finding in findings:
        for value in msgspec.structs.astuple(finding):
            assert type(value) in {str, int, type(None)}, finding


def test_findings_are_bounded_and_counted(bank: World, superuser_url: str) -> None:
    """A ledger that is wrong everywhere gives an answer that can be read."""
    bank.run(*(deposited("A", 5, key=f"many-{number}") for number in range(150)))
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        bank.catch_up()
        superuser.execute("UPDATE views.statement_lines SET amount_minor = amount_minor + 1")
    verdict = verify(bank.projector, bank.ledger_id)
    assert len(verdict.findings) == 100
    assert verdict.findings_count == 2 * 153


def test_a_log_that_cannot_be_projected_is_reported(bank: World, superuser_url: str) -> None:
    """An unknown event stops the projections; verification says where, and that they stopped."""
    position = bank.run(deposited("A", 7, key="late"))[0].position
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(
            "UPDATE ledger.events SET type = 'Tomorrow' WHERE position = %s", (position,)
        )
    verdict = verify(bank.projector, bank.ledger_id)
    assert {"projection_stopped", "projection", "event", "tree"} == {
        item.kind for item in verdict.findings
    }
    assert position in {item.position for item in verdict.findings}
