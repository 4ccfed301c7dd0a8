"""A ledger to export: accounts of every sort, odd ids, units, persons, holds, corrections."""

import json
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from tarfile import open as open_tar
from typing import Any

from api import bulk, export_log
from api.runtime import Runtime
from projections import runner

Json = dict[str, Any]

ODD = 'Åsa "Ö"  \\ ;|=[x](y)*!:ß'
"""An id that is special to JSON, to COPY, to spreadsheets' neighbours and to plain-text books."""


class House:
    """One ledger of a runtime."""

    def __init__(self, runtime: Runtime, ledger: str = "books") -> None:
        """Create it."""
        self.runtime = runtime
        self.ledger = ledger
        self.ledger_id = runtime.create_ledger(ledger)
        self._serial = 0

    def load(self, *commands: Json) -> None:
        """Carry out commands, none of which may be refused, and bring the views up to date."""
        lines = []
        for command in commands:
            self._serial += 1
            lines.append(json.dumps({"key": f"k{self._serial}", **command}).encode())
        report = bulk.load(self.runtime, self.ledger_id, lines, "tester", lambda _: None)
        assert report.refused == 0, report.refusals
        self.catch_up()

    def catch_up(self) -> None:
        """Bring the views up to the head."""
        with self.runtime.connect("ledger_projector") as connection:
            runner.catch_up(connection, self.ledger_id)

    def fill(self) -> None:
        """Something of everything."""
        self.load(*FILLING)

    def export(self, path: Path, first: int = 1, last: int | None = None) -> Path:
        """Export the log to a file."""
        export_log.begin(
            self.runtime, self.ledger_id, self.ledger, first=first, last=last, path=path
        ).write(path)
        return path

    def stored(self) -> list[tuple[Any, ...]]:
        """Every row of the log, every column but the ledger's id."""
        with self.runtime.connect("ledger_reader") as connection:
            return connection.execute(
                "SELECT position, recorded_at, type, version, tags, command_key, actor, data,"
                " leaf_hash FROM ledger.events WHERE ledger_id = %s ORDER BY position",
                (self.ledger_id,),
            ).fetchall()

    def head(self) -> tuple[Any, ...]:
        """Where the log ends: position, time, frontier."""
        with self.runtime.connect("ledger_reader") as connection:
            row = connection.execute(
                "SELECT position, recorded_at, frontier FROM ledger.heads WHERE ledger_id = %s",
                (self.ledger_id,),
            ).fetchone()
        assert row is not None
        return row

    def identities(self) -> set[tuple[Any, ...]]:
        """The names that entries took."""
        with self.runtime.connect("ledger_reader") as connection:
            return set(
                connection.execute(
                    "SELECT kind, name, position FROM ledger.identities WHERE ledger_id = %s",
                    (self.ledger_id,),
                ).fetchall()
            )


def account(account_id: str, currency: str = "EUR", **fields: object) -> Json:
    """Open an account without a limit."""
    given = {"account_id": account_id, "currency": currency, "limit": None, **fields}
    return {"type": "open_account", **given}


def move(debit: str, credit: str, amount: int, currency: str = "EUR", **fields: object) -> Json:
    """Move money."""
    return {
        "type": "transfer",
        "debit_account_id": debit,
        "credit_account_id": credit,
        "amount": str(amount),
        "currency": currency,
        **fields,
    }


FILLING: tuple[Json, ...] = (
    {"type": "register_unit", "code": 'gold "g"/1', "scale": 4},
    {"type": "register_unit", "code": "PTS", "scale": 0},
    {
        "type": "register_customer",
        "customer_id": "zoe",
        "profile": {"name": "Zoë Hidden", "email": "zoe@example.org", "segment": "retail"},
    },
    {"type": "register_customer", "customer_id": "max", "profile": {"name": "Max Hidden"}},
    account("a"),
    account("A"),
    account("a:b"),
    account(ODD),
    account("=cmd()", name="+SUM(A1)"),
    account("yen", "JPY", account_type="asset"),
    account("tnd", "TND", account_type="expense"),
    account("clf", "CLF", account_type="income"),
    account("clf-2", "CLF", account_type="equity"),
    account("gold-1", 'gold "g"/1'),
    account("gold-2", 'gold "g"/1'),
    account("usd", "USD"),
    {"type": "link_customer", "account_id": "a", "customer_id": "zoe"},
    {"type": "deposit", "account_id": "a", "amount": "100000", "currency": "EUR"},
    {"type": "deposit", "account_id": "tnd", "amount": "1234567", "currency": "TND"},
    {"type": "deposit", "account_id": "yen", "amount": "777", "currency": "JPY"},
    move("a", ODD, 123, entry_id="first", reference="r;1", description='=1+1 ; "x" \\ (*)'),
    move("a", "A", 7, value_date="2024-02-29"),
    move("A", "a:b", 5, value_date="2031-01-01"),
    move("clf", "clf-2", 12345, "CLF"),
    move("gold-1", "gold-2", 10**20 + 1, 'gold "g"/1'),
    move("a", "=cmd()", 250, description="@SUM(1)"),
    {"type": "reverse_entry", "reverses": "first"},
    {
        "type": "exchange",
        "debit_account_id": "a",
        "credit_account_id": "usd",
        "amount": "1000",
        "currency": "EUR",
        "counter_currency": "USD",
        "rate": "1.0842",
    },
    {
        "type": "place_hold",
        "hold_id": "h1",
        "debit_account_id": "a",
        "credit_account_id": "A",
        "amount": "300",
        "currency": "EUR",
    },
    {"type": "capture_hold", "hold_id": "h1", "amount": "100"},
    {
        "type": "place_hold",
        "debit_account_id": "a",
        "credit_account_id": ODD,
        "amount": "55",
        "currency": "EUR",
        "reference": "hold-ref",
    },
    {"type": "freeze_account", "account_id": "A", "cause": "court", "effect": "debit"},
    {"type": "erase_customer", "customer_id": "max", "reason": "asked"},
)


def members(data: bytes | Path) -> dict[str, bytes]:
    """The members of an archive, in order."""
    raw = data if isinstance(data, bytes) else data.read_bytes()
    with open_tar(fileobj=BytesIO(raw), mode="r:") as tar:
        found = {}
        for info in tar:
            content = tar.extractfile(info)
            assert content is not None
            found[info.name] = content.read()
    return found


def lines(found: Iterable[bytes]) -> list[bytes]:
    """The lines of all these contents."""
    return [line for content in found for line in content.split(b"\n") if line]
