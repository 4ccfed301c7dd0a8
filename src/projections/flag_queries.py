"""Questions about risk flags: which were raised, by account, customer or rule."""

import msgspec
import sqlalchemy
from sqlalchemy import Select, func, select, tuple_

from ledger_core.risk_rules import RiskRuleSet
from projections.links import linked_accounts
from projections.memory import Rule
from projections.reading import NOW, AsOf, Page, Reading, page_size, resolve
from projections.risk_flags import risk_flags
from projections.risk_rules import DEFAULT_RULES, Flag, rule_set
from projections.tag_queries import events_tagged_any

FlagKey = tuple[int, str]
_FIGURES = msgspec.json.Decoder(dict[str, str])
_POSITIONS = msgspec.json.Decoder(tuple[int, ...])


def flags(  # noqa: PLR0913 - which flags, which moment, which page
    conn: sqlalchemy.Connection,
    ledger_id: int,
    *,
    account_id: str | None = None,
    customer_id: str | None = None,
    rule: str | None = None,
    as_of: AsOf = NOW,
    after: FlagKey | None = None,
    limit: int = 100,
) -> Page[Flag, FlagKey]:
    """Flags raised by then, the newest first, beginning after ``after`` (position and flag id).

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, "risk_flags", "customer_360", "event_tags")
    size = page_size(limit)
    query = _newest(ledger_id, reading).limit(size + 1)
    if account_id is not None:
        query = query.where(risk_flags.c.account_id == account_id)
    if customer_id is not None:
        links = linked_accounts(conn, ledger_id, reading, customer_id)
        query = query.where(risk_flags.c.account_id == func.any(list(links)))
    if rule is not None:
        query = query.where(risk_flags.c.rule == rule)
    if after is not None:
        place = tuple_(risk_flags.c.raised_position, risk_flags.c.flag_id)
        query = query.where(place < tuple_(*map(sqlalchemy.literal, after)))
    found = _flags(conn, query)
    shown = found[:size]
    return Page(
        tuple(shown),
        (shown[-1].raised_position, shown[-1].flag_id) if len(found) > size else None,
        reading.position,
        reading.recorded_at,
    )


def flag_of_id(
    conn: sqlalchemy.Connection, ledger_id: int, reading: Reading, flag_id: str
) -> Flag | None:
    """The flag of that id, if it was raised by the reading."""
    query = _newest(ledger_id, reading).where(risk_flags.c.flag_id == flag_id)
    return next(iter(_flags(conn, query)), None)


def open_flags(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    account_nos: list[int],
    limit: int,
) -> tuple[Flag, ...]:
    """The newest open flags of some accounts."""
    query = _newest(ledger_id, reading).where(
        risk_flags.c.account_no == func.any(account_nos), risk_flags.c.status == "open"
    )
    return tuple(_flags(conn, query.limit(limit)))


class RuleSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A risk rule as it stood: every parameter, and the event that set it (0: the defaults)."""

    rule: str
    enabled: bool
    parameters: dict[str, int]
    since_position: int


def rule_settings(
    conn: sqlalchemy.Connection, ledger_id: int, *, as_of: AsOf = NOW
) -> Page[RuleSetting, str]:
    """All risk rules as they stood.

    Raises:
        LedgerNotFound: no such ledger.
        PositionAhead: that position is not projected yet.
    """
    reading = resolve(conn, ledger_id, as_of, "risk_flags", "event_tags")
    rules = rules_at(conn, ledger_id, reading, list(DEFAULT_RULES))
    settings = tuple(
        RuleSetting(
            rule=name,
            enabled=rule.enabled,
            parameters=dict(rule.parameters),
            since_position=rule.position,
        )
        for name, rule in rules.items()
    )
    return Page(settings, None, reading.position, reading.recorded_at)


def rules_at(
    conn: sqlalchemy.Connection,
    ledger_id: int,
    reading: Reading,
    names: list[str],
    before: int | None = None,
) -> dict[str, Rule]:
    """Those of the rules as they stood at the reading, or just before a position.

    The reading must cover ``event_tags``.
    """
    rules = {name: DEFAULT_RULES[name] for name in names}
    tags = [f"risk_rule:{name}" for name in names]
    for item in events_tagged_any(conn, ledger_id, reading, tags):
        event = item.event
        if isinstance(event, RiskRuleSet) and (before is None or item.position < before):
            rules[event.rule] = rule_set(event, item.position)
    return rules


def _newest(ledger_id: int, reading: Reading) -> Select[tuple[object, ...]]:
    """The flags raised by the reading, the newest first."""
    return (
        select(*(column for column in risk_flags.c if column.name not in ("ledger_id", "slot")))
        .where(
            risk_flags.c.ledger_id == ledger_id,
            risk_flags.c.slot == reading.slots["risk_flags"],
            risk_flags.c.raised_position <= reading.position,
        )
        .order_by(risk_flags.c.raised_position.desc(), risk_flags.c.flag_id.desc())
    )


def _flags(conn: sqlalchemy.Connection, query: Select[tuple[object, ...]]) -> list[Flag]:
    """The flags that a query finds."""
    rows = [row._asdict() for row in conn.execute(query)]
    return [
        Flag(
            **{
                **row,
                "figures": _FIGURES.decode(row["figures"]),
                "positions": _POSITIONS.decode(row["positions"]),
            }
        )
        for row in rows
    ]
