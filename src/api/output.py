"""What the command line prints: tables for people, one JSON document for programs.

Amounts come both ways: ``…_minor`` as a string of minor units, and a decimal as people write it.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from api.masking import ALL_MASKED, ShownProfile, covered, covered_document
from ledger_core.money import decimal_text
from projections.balance_queries import Balance
from projections.customer_queries import Customer360
from projections.reading import Page
from projections.statement_queries import StatementPage
from projections.trial_balance_queries import TrialBalance

# Rows of a listing that are fetched at a time.
PAGE = 1_000


def as_json(answer: object) -> str:
    """One JSON document; amounts in minor units become strings, which no reader rounds."""
    return msgspec.json.format(msgspec.json.encode(_plain(answer)), indent=1).decode()


def all_pages(fetch: Callable[[Any], Page[Any, Any]]) -> list[Any]:
    """The items of every page of a listing."""
    items: list[Any] = []
    after = None
    while True:
        page = fetch(after)
        items.extend(page.items)
        if page.next_after is None:
            return items
        after = page.next_after


def statement_pages(fetch: Callable[[Any], StatementPage]) -> Iterator[StatementPage]:
    """Every page of a statement, one at a time."""
    after = None
    while True:
        page = fetch(after)
        yield page
        if page.next_after is None:
            return
        after = page.next_after


def balances(found: list[Balance], *, as_json: bool, ledger: str) -> None:
    """Print balances."""
    if as_json:
        rows = [_balance(balance) for balance in found]
        show_json({"ledger": ledger, "balances": rows})
        return
    table = table_of("account", "currency", "status", ">balance", ">held", ">available")
    for balance in found:
        available = balance.available_minor
        table.add_row(
            Text(balance.account_id),
            Text(balance.currency),
            _status(balance),
            decimal_text(balance.posted_minor, balance.scale),
            decimal_text(balance.held_minor, balance.scale),
            "no limit" if available is None else decimal_text(available, balance.scale),
        )
    show(table)


def statement(pages: Iterator[StatementPage], *, as_json: bool, ledger: str) -> None:
    """Print a statement, page by page as it is read."""
    table = table_of("position", "recorded", "value date", "kind", "text", ">amount", ">balance")
    rows: list[dict[str, Any]] = []
    page: StatementPage | None = None
    first: StatementPage | None = None
    for page in pages:
        first = first or page
        scale = page.scale
        for line in page.lines:
            if as_json:
                rows.append(_with_decimals(_plain(line), scale))
                continue
            sign = "" if line.side == page.normal_side else "-"
            table.add_row(
                str(line.position),
                f"{line.recorded_at:%Y-%m-%d %H:%M}",
                str(line.value_date),
                line.kind,
                Text(_said(line.description, line.counterparties)),
                sign + decimal_text(line.amount_minor, scale),
                decimal_text(line.balance_minor, scale),
            )
    if page is None or first is None:
        return
    if as_json:
        head = _with_decimals(_plain(first), first.scale)
        head.pop("next_after", None)
        show_json({"ledger": ledger, **head, "lines": rows})
        return
    show(table)
    closing = decimal_text(page.closing_minor, page.scale)
    Console().print(Text(f"{page.account_id}: closing balance {closing} {page.currency}"))


def trial_balance(found: TrialBalance, *, as_json: bool, ledger: str) -> None:
    """Print a trial balance."""
    if as_json:
        document = _plain(found)
        document["rows"] = [_with_decimals(row, row["scale"]) for row in document["rows"]]
        show_json({"ledger": ledger, **document})
        return
    table = table_of("account", "type", "currency", ">debit", ">credit")
    for row in found.rows:
        table.add_row(
            Text(row.account_id),
            row.account_type,
            Text(row.currency),
            decimal_text(row.debit_minor, row.scale) if row.debit_minor else "",
            decimal_text(row.credit_minor, row.scale) if row.credit_minor else "",
        )
    for total in found.totals:
        table.add_row(
            Text("Total", style="bold"),
            "",
            Text(total.currency),
            decimal_text(total.debit_minor, total.scale),
            decimal_text(total.credit_minor, total.scale),
        )
    show(table)


def customer(
    found: Customer360, profile: ShownProfile | None, *, as_json: bool, ledger: str
) -> None:
    """Print everything about a customer; ``profile`` is ``None`` after an erasure."""
    shown = None if profile is None else profile.profile
    masked = () if profile is None else profile.masked
    if as_json:
        document = _plain(found)
        for hidden in ("sealed", "subject", "public"):
            document.pop(hidden, None)
        show_json({"ledger": ledger, **document, "profile": shown, "masked": masked})
        return
    console = Console()
    console.print(Text(f"Customer {found.customer_id}", style="bold"))
    if shown is None:
        console.print("The person was erased.")
    for name, value in sorted((shown or {}).items()):
        console.print(Text(f"  {name}: {value}"))
    accounts = table_of("account", "role", "currency", "status", ">balance", ">available")
    for held in found.accounts:
        balance = held.balance
        available = balance.available_minor
        accounts.add_row(
            Text(balance.account_id),
            ", ".join(held.roles),
            Text(balance.currency),
            _status(balance),
            decimal_text(balance.posted_minor, balance.scale),
            "no limit" if available is None else decimal_text(available, balance.scale),
        )
    show(accounts)
    for flag in found.flags:
        console.print(Text(f"Flag {flag.rule} on {flag.account_id}: {flag.reason}"))


def _balance(balance: Balance) -> dict[str, Any]:
    """A balance for programs: ``net`` is debits less credits, as bookkeeping tools show it."""
    net_minor = balance.debits_posted_minor - balance.credits_posted_minor
    row = {"account": balance.name or balance.account_id, **_plain(balance)}
    row["balance"] = decimal_text(balance.posted_minor, balance.scale)
    row["net"] = decimal_text(net_minor, balance.scale)
    row["net_minor"] = str(net_minor)
    return row


def _said(description: str | None, counterparties: Sequence[str]) -> str:
    """What a line of a statement says: its description, without numbers of cards."""
    return covered(description, ALL_MASKED) or ", ".join(counterparties)


def _with_decimals(row: dict[str, Any], scale: int) -> dict[str, Any]:
    """The row with a decimal beside every amount in minor units."""
    decimals = {
        name.removesuffix("_minor"): decimal_text(int(value), scale)
        for name, value in row.items()
        if name.endswith("_minor") and value is not None
    }
    return {**row, **decimals}


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """Structs as dictionaries, with amounts in minor units as strings."""
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {
            name: str(item)
            if str(name).endswith("_minor") and isinstance(item, int)
            else _plain(item)
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return _plain_leaf(value)


def _plain_leaf(value: object) -> Any:  # noqa: ANN401 - JSON has no narrower type
    """A value as JSON has it; names of columns are a kind of ``str`` that must become one."""
    match value:
        case datetime() | date():
            return value.isoformat()
        case Decimal() | str():
            return str(value)
        case bytes():
            return value.hex()
        case msgspec.Raw():
            return msgspec.json.decode(value)
        case _:
            return value


def _status(balance: Balance) -> str:
    """Open or closed, and the blocks in force."""
    blocked = sorted({block.effect for block in balance.blocks})
    return f"{balance.status}, blocked: {' '.join(blocked)}" if blocked else balance.status


def table_of(*columns: str) -> Table:
    """A table; a column named with ``>`` is set to the right."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        right = column.startswith(">")
        table.add_column(
            column.removeprefix(">"), justify="right" if right else "left", no_wrap=right
        )
    return table


def show(table: Table) -> None:
    """Print a table as wide as it needs to be where there is no terminal."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)


def show_json(document: dict[str, Any]) -> None:
    """Print one JSON document, without numbers of cards in its descriptions."""
    print(as_json(covered_document(_plain(document), ALL_MASKED)))
