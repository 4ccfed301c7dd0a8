"""Events: their bytes for ever, their names, and what they are about."""

import re
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from tests import strategies

from ledger_core import events
from ledger_core.access_role import RoleRetired, RoleSet
from ledger_core.account_limits import LimitChangeScheduled
from ledger_core.accounts import (
    AccountClosed,
    AccountHolderLinked,
    AccountHolderUnlinked,
    AccountOpened,
    AccountReopened,
    BlockLifted,
    BlockPlaced,
    GroupMemberAdded,
    GroupMemberRemoved,
    LimitSet,
)
from ledger_core.approval_policies import ApprovalPolicySet
from ledger_core.approvals import (
    ApprovalCompleted,
    ApprovalFailed,
    ApprovalGiven,
    ApprovalRejected,
    ApprovalRequested,
    ApprovalWithdrawn,
)
from ledger_core.bank_statements import BankStatementImported
from ledger_core.books import Event
from ledger_core.customers import CustomerErased, CustomerProfileChanged, CustomerRegistered
from ledger_core.group import GroupCreated, GroupLimitSet
from ledger_core.journal import HoldPlaced, HoldReleased, JournalEntryPosted, Posting
from ledger_core.period import PeriodClosed, PeriodReopened
from ledger_core.refusals import CommandRefused
from ledger_core.risk_rules import RiskRuleSet
from ledger_core.schedules import Schedule
from ledger_core.standing_order import (
    StandingOrderCancelled,
    StandingOrderChanged,
    StandingOrderCreated,
    StandingOrderRan,
    StandingOrderRunRefused,
)
from ledger_core.template import Parameter, TemplateDefined, TemplateLine, TemplateRetired
from ledger_core.template_amounts import (
    DifferenceAmount,
    FixedAmount,
    NamedAmount,
    ParameterAmount,
    PercentAmount,
    SumAmount,
)
from ledger_core.unchanged import NothingChanged
from ledger_core.units import UnitRegistered

GOLDEN = Path(__file__).parents[1] / "golden"
"""One file an event name and version, one event a line: bytes that were once in a log."""

EVENTS: tuple[Event, ...] = (
    JournalEntryPosted(
        "transfer", (Posting("A", "debit", 1, "EUR"), Posting("B", "credit", 1, "EUR"))
    ),
    JournalEntryPosted(
        kind="reversal",
        postings=(
            Posting('Åsa "x"\\', "debit", 10**36 - 1, "JPY"),
            Posting("bank:atm:JPY", "credit", 10**36 - 1, "JPY"),
            Posting("C", "credit", 5, "PTS"),
            Posting("C", "debit", 5, "PTS"),
        ),
        value_date=date(2026, 2, 28),
        entry_id="e",
        reference="r",
        description="d",
        metadata={"n": "v"},
        channel="atm",
        reverses="jrn_7",
        forced=True,
        on_original_date=True,
    ),
    JournalEntryPosted(
        kind="capture",
        postings=(Posting("A", "debit", 3, "EUR"), Posting("B", "credit", 3, "EUR")),
        value_date=date(2026, 3, 1),
        code="rent",
        hold_id="h",
        freed_minor=10**36 - 1,
        original_value_date=date(2026, 2, 28),
        rate="1.0871",
        template="rent@2",
        asked={"type": "capture_hold", "hold_id": "h", "amount": "3", "code": "rent"},
    ),
    HoldPlaced("A", "B", 5, "EUR"),
    HoldPlaced(
        debit_account_id="A",
        credit_account_id="B",
        amount_minor=10**36 - 1,
        currency="JPY",
        hold_id="h",
        expires_at=datetime(2026, 3, 9, 9, 30, 0, 1, tzinfo=UTC),
        multi_capture=True,
        reference="r",
        description="d",
        metadata={"n": "v"},
        code="rent",
        forced=True,
        asked={"type": "place_hold", "amount": "5", "balancing": "debit"},
    ),
    HoldReleased("hld_7", "A", "B", 5, "EUR", "expired", datetime(2026, 3, 9, tzinfo=UTC)),
    HoldReleased("h", "A", "B", 5, "EUR", "voided", reason="x", asked={"type": "void_hold"}),
    AccountOpened("liability", "EUR", 2),
    AccountOpened("asset", "PTS", 24, "A", 10**36 - 1, "1000", "Cash", "ann", {"n": "v"}),
    AccountOpened("liability", "EUR", 2, limit_minor=-(10**36) + 1, ceiling_minor=-7),
    BlockPlaced("A", "court", "debit"),
    BlockPlaced("A", "court", "full", "order 7"),
    BlockLifted("A", "court", "credit"),
    BlockLifted("A", "court", "full", "order 8", "full"),
    AccountClosed("A"),
    AccountClosed("A", "moved"),
    AccountReopened("A"),
    AccountReopened("A", "came back"),
    LimitSet("A", None),
    LimitSet("A", 0, "review"),
    LimitSet("A", -5, "review", 7, datetime(2026, 3, 3, tzinfo=UTC)),
    LimitSet("A", 5, keeps_ceiling=True),
    LimitChangeScheduled("A", date(2026, 3, 3), None),
    LimitChangeScheduled("A", date(2026, 3, 3), -5, "review", 7),
    LimitChangeScheduled("A", date(2026, 3, 3), 5, keeps_ceiling=True),
    AccountHolderLinked("A", "ann", "owner"),
    AccountHolderUnlinked("A", "ann", "joint"),
    AccountHolderUnlinked("A", "ann", "authorised", "asked"),
    GroupCreated("The Webers", "EUR"),
    GroupCreated("The Webers", "EUR", "family", "debit", -5, 7),
    GroupLimitSet("family", None),
    GroupLimitSet("family", -5, "agreed", 7),
    GroupLimitSet("family", 5, keeps_ceiling=True),
    GroupMemberAdded("family", "A"),
    GroupMemberRemoved("family", "A"),
    GroupMemberRemoved("family", "A", "moved out"),
    PeriodClosed(date(2026, 1, 31)),
    PeriodClosed(date(2026, 1, 31), "next_open", "month's end"),
    PeriodReopened(None),
    PeriodReopened(date(2025, 12, 31), "late invoice"),
    CustomerRegistered("sub_1", {}),
    CustomerRegistered("sub_1", {"name": "s1.AAAA"}, {"language": "en"}, "ann"),
    CustomerProfileChanged("ann", "asked"),
    CustomerProfileChanged("ann", "asked", {"phone": "s1.BBBB"}, {"segment": "x"}, ("email",)),
    CustomerErased("ann", "sub_1", "asked"),
    UnitRegistered("PTS", 0),
    UnitRegistered("PTS", 24, "Points"),
    RiskRuleSet("velocity", {}),
    RiskRuleSet("structuring", {"count": 3, "amount": 10**15}, enabled=False),
    ApprovalPolicySet("P", ("transfer",), ("ops",)),
    ApprovalPolicySet("P", ("transfer",), ("ops", "ops"), "EUR", 10**36 - 1, enabled=False),
    ApprovalRequested({"type": "x", "account_id": "A"}, ("ops",), "ann", "key:1"),
    ApprovalRequested(
        {"type": "change_profile", "key": "k", "customer_id": "ann", "changes": {"email": None}},
        ("ops", "risk"),
        "ann",
        "key:1",
        "Q1",
        ("P",),
        ("ops",),
        "sub_1",
        {"phone": "s1.BBBB"},
    ),
    ApprovalGiven("Q1", "bob", ("ops", "risk")),
    ApprovalRejected("Q1", "bob"),
    ApprovalRejected("Q1", "bob", "typo", "sub_1"),
    ApprovalWithdrawn("Q1"),
    ApprovalWithdrawn("Q1", "typo", "sub_1"),
    ApprovalCompleted("Q1", 7),
    ApprovalCompleted("Q1", 7, "sub_1"),
    ApprovalFailed("Q1", "account_closed"),
    ApprovalFailed("Q1", "customer_exists", {"position": 7, "fields": ["profile"]}, "sub_1"),
    BankStatementImported("A", "2026/1", "EUR", -5, 7, date(2026, 1, 1), date(2026, 1, 31), 3),
    NothingChanged({"type": "freeze_account", "account_id": "A", "cause": "x", "effect": "full"}),
    StandingOrderCreated({"type": "deposit"}, Schedule(first_date=date(2026, 3, 2), unit="once")),
    StandingOrderCreated(
        {"type": "transfer", "debit_account_id": "A", "credit_account_id": "B", "amount": "5"},
        Schedule(
            first_date=date(2026, 1, 31),
            unit="month",
            interval=3,
            last_date=date(2027, 1, 31),
            adjust="preceding",
        ),
        "rent",
        "Rent",
    ),
    StandingOrderChanged("rent"),
    StandingOrderChanged(
        "rent",
        date(2026, 3, 2),
        "7",
        {"type": "deposit", "account_id": "A"},
        Schedule(first_date=date(2026, 3, 2), unit="week", count=3),
        "more",
    ),
    StandingOrderCancelled("rent"),
    StandingOrderCancelled("rent", "moved"),
    StandingOrderRan("rent", date(2026, 2, 28), date(2026, 3, 2)),
    StandingOrderRan("rent", date(2026, 2, 28), date(2026, 3, 2), 7),
    StandingOrderRunRefused("rent", date(2026, 2, 28), date(2026, 3, 2), "account_closed"),
    StandingOrderRunRefused(
        "rent",
        date(2026, 2, 28),
        date(2026, 3, 2),
        "insufficient_funds",
        {"position": 7, "available_minor": "5"},
    ),
    StandingOrderRunRefused(
        "rent",
        date(2026, 2, 28),
        date(2026, 3, 2),
        "insufficient_funds",
        {"position": 7, "account_id": "A", "available_minor": "5"},
    ),
    TemplateDefined(
        "fee",
        1,
        (Parameter(name="fee", kind="amount"),),
        (
            TemplateLine(side="debit", account_id="A", amount=ParameterAmount(name="fee")),
            TemplateLine(side="credit", account_id="B", amount=ParameterAmount(name="fee")),
        ),
    ),
    TemplateDefined(
        "fee",
        2,
        (
            Parameter(name="payer", kind="account", description="Who pays"),
            Parameter(name="fee", kind="amount"),
        ),
        (
            TemplateLine(
                side="debit",
                account_parameter="payer",
                amount=SumAmount(of=(NamedAmount(name="net"), NamedAmount(name="tax"))),
            ),
            TemplateLine(side="credit", account_id="B", amount=NamedAmount(name="net")),
            TemplateLine(side="credit", account_id="A", amount=NamedAmount(name="tax")),
        ),
        {
            "net": DifferenceAmount(of=ParameterAmount(name="fee"), less=FixedAmount(amount="5")),
            "tax": PercentAmount(
                percent="19%", of=NamedAmount(name="net"), rounding="half_up", min="1", max="99"
            ),
        },
        "Fee with tax",
    ),
    TemplateRetired("fee"),
    TemplateRetired("fee", "abolished"),
    RoleSet("cashier", ()),
    RoleSet(
        "cashier",
        ("movements.post", "accounts.*"),
        {"EUR": "100000"},
        {"name": "clear"},
        "hidden",
        ("customers.read",),
        ("*",),
        "Counter",
    ),
    RoleRetired("cashier"),
    RoleRetired("cashier", "closed"),
    CommandRefused({"type": "deposit", "account_id": "A"}, "account_closed", {"position": 7}),
    CommandRefused(
        {"type": "post_entry", "postings": [{"account_id": "A"}, {"account_id": "A"}]},
        "insufficient_funds",
        {"account_id": "B", "available_minor": "5"},
        unrecorded=3,
    ),
)
"""Every type, with its optional fields left out and filled in: what the golden lines mean."""

FILES = sorted(GOLDEN.glob("*.jsonl"))


def _read(path: Path) -> tuple[str, int, list[bytes]]:
    """A golden file's event name, version and lines."""
    matched = re.fullmatch(r"([A-Za-z]+)\.v([0-9]+)\.jsonl", path.name)
    assert matched is not None, path.name
    return matched[1], int(matched[2]), path.read_bytes().splitlines()


def test_every_version_of_every_event_has_a_golden_file() -> None:
    """An event type that is added, or a version, comes with its bytes."""
    current = {
        name: events.name_of(event)[1] for event in EVENTS for name in (events.name_of(event)[0],)
    }
    assert current.keys() == set(events.names())
    expected = {
        f"{name}.v{version}.jsonl"
        for name, last in current.items()
        for version in range(1, last + 1)
    }
    assert {path.name for path in FILES} == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_golden_bytes_load_for_ever(path: Path) -> None:
    """Every line that was once written is read, as what it meant."""
    name, version, lines = _read(path)
    expected = [event for event in EVENTS if events.name_of(event)[0] == name]
    assert lines
    assert [events.decode(name, version, line) for line in lines] == expected


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_the_current_version_is_written_as_the_golden_bytes(event: Event) -> None:
    """The bytes of an event do not change without a new version."""
    name, version = events.name_of(event)
    _, _, lines = _read(GOLDEN / f"{name}.v{version}.jsonl")
    assert events.encode(event) in lines


@given(strategies.events)
def test_an_event_comes_back_from_its_bytes(event: Event) -> None:
    """Whatever it holds; and the bytes are compact JSON on one line of UTF-8."""
    name, version = events.name_of(event)
    data = events.encode(event)
    assert events.decode(name, version, data) == event
    assert b"\n" not in data
    assert msgspec.json.encode(msgspec.json.decode(data)) == data


@pytest.mark.parametrize(
    ("name", "version"),
    [("AccountAbolished", 1), ("AccountClosed", 2), ("", 1)],
)
def test_an_unknown_event_is_refused(name: str, version: int) -> None:
    """A log that is newer than the program is not guessed at."""
    with pytest.raises(events.UnknownEvent, match="newer"):
        events.decode(name, version, b'{"account_id":"A"}')


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("AccountClosed", b"{}"),
        ("AccountClosed", b'{"account_id":7}'),
        ("LimitSet", b'{"account_id":"A","limit_minor":1.5}'),
        ("LimitSet", b'{"account_id":"A","limit_minor":"1"}'),
        ("BlockPlaced", b'{"account_id":"A","cause":"c","effect":"half"}'),
        ("AccountClosed", b'{"account_id":"A"'),
        ("AccountClosed", b'["A"]'),
    ],
)
def test_bytes_that_are_no_such_event_are_refused(name: str, data: bytes) -> None:
    """Damage stops the reader instead of becoming an event."""
    with pytest.raises(msgspec.DecodeError):
        events.decode(name, 1, data)


def test_events_say_what_they_are_about() -> None:
    """The accounts and customers they touch, each once, in posting order."""
    tags = {repr(event): list(events.tags_of(event, 9)) for event in EVENTS}
    named = [
        (
            JournalEntryPosted,
            [
                ["account:A", "account:B"],
                ['account:Åsa "x"\\', "account:bank:atm:JPY", "account:C", "metadata:n=v"],
                ["account:A", "account:B", "code:rent", "hold:h"],
            ],
        ),
        (
            HoldPlaced,
            [
                ["account:A", "account:B", "hold:hld_9"],
                ["account:A", "account:B", "code:rent", "metadata:n=v", "hold:h"],
            ],
        ),
        (
            HoldReleased,
            [["account:A", "account:B", "hold:hld_7"], ["account:A", "account:B", "hold:h"]],
        ),
        (AccountOpened, [["account:acc_9"], ["account:A", "customer:ann"], ["account:acc_9"]]),
        (BlockPlaced, [["account:A"]] * 2),
        (BlockLifted, [["account:A"]] * 2),
        (AccountClosed, [["account:A"]] * 2),
        (AccountReopened, [["account:A"]] * 2),
        (LimitSet, [["account:A"]] * 2),
        (LimitSet, [["account:A", "limit_change:A:2026-03-03"], ["account:A"]]),
        (LimitChangeScheduled, [["account:A", "limit_change:A:2026-03-03"]] * 3),
        (AccountHolderLinked, [["account:A", "customer:ann"]]),
        (AccountHolderUnlinked, [["account:A", "customer:ann"]] * 2),
        (GroupCreated, [["group:grp_9"], ["group:family"]]),
        (GroupLimitSet, [["group:family"]] * 3),
        (GroupMemberAdded, [["account:A", "group:family"]]),
        (GroupMemberRemoved, [["account:A", "group:family"]] * 2),
        (PeriodClosed, [["period:ledger"]] * 2),
        (PeriodReopened, [["period:ledger"]] * 2),
        (CustomerRegistered, [["customer:cus_9"], ["customer:ann"]]),
        (CustomerProfileChanged, [["customer:ann"]] * 2),
        (CustomerErased, [["customer:ann"]]),
        (UnitRegistered, [["unit:PTS"]] * 2),
        (RiskRuleSet, [["risk_rule:velocity"], ["risk_rule:structuring"]]),
        (ApprovalPolicySet, [["approval_policy:P", "approvals_used:ledger"]] * 2),
        (
            ApprovalRequested,
            [
                ["account:A", "approvals_used:ledger", "approval:apr_9"],
                ["customer:ann", "approvals_used:ledger", "approval:Q1"],
            ],
        ),
        (ApprovalGiven, [["approval:Q1"]]),
        (ApprovalRejected, [["approval:Q1"]] * 2),
        (ApprovalWithdrawn, [["approval:Q1"]] * 2),
        (ApprovalCompleted, [["approval:Q1"]] * 2),
        (ApprovalFailed, [["approval:Q1"]] * 2),
        (BankStatementImported, [["account:A", "bank_statement:A"]]),
        (NothingChanged, [["account:A"]]),
        (StandingOrderCreated, [["order:ord_9"], ["account:A", "account:B", "order:rent"]]),
        (StandingOrderChanged, [["order:rent"], ["account:A", "order:rent"]]),
        (StandingOrderCancelled, [["order:rent"]] * 2),
        (StandingOrderRan, [["order:rent"]] * 2),
        (
            StandingOrderRunRefused,
            [
                ["refusal:account_closed", "order:rent"],
                ["refusal:insufficient_funds", "order:rent"],
                ["refusal:insufficient_funds", "account:A", "order:rent"],
            ],
        ),
        (
            TemplateDefined,
            [
                ["account:A", "account:B", "template:fee"],
                ["account:B", "account:A", "template:fee"],
            ],
        ),
        (TemplateRetired, [["template:fee"]] * 2),
        (RoleSet, [["role:cashier"]] * 2),
        (RoleRetired, [["role:cashier"]] * 2),
        (
            CommandRefused,
            [
                ["refusal:account_closed", "account:A"],
                ["refusal:insufficient_funds", "account:A", "account:B"],
            ],
        ),
    ]
    expected = [tag for _, of_kind in named for tag in of_kind]
    assert list(tags.values()) == expected


@given(strategies.events)
def test_no_tag_stands_twice(event: Event) -> None:
    """An entry with both legs on one account is about that account once."""
    tags = events.tags_of(event, 9)
    assert tags
    assert len(set(tags)) == len(tags)


def test_an_account_on_both_sides_is_tagged_once() -> None:
    """Two legs, one account, one tag."""
    legs = (Posting("A", "debit", 1, "EUR"), Posting("A", "credit", 1, "EUR"))
    assert events.tags_of(JournalEntryPosted("journal", legs), 1) == ("account:A",)
