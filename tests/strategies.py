"""What hypothesis draws, in one place: profiles, names, amounts, events.

``LEDGER_TEST_PROFILE=explore`` draws anew every time and longer; without it a run is repeatable.
"""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ledger_core import (
    access_role,
    account_limits,
    accounts,
    approval_policies,
    approvals,
    bank_statements,
    customers,
    group,
    journal,
    period,
    refusals,
    risk_rules,
    rounding,
    standing_order,
    template,
    template_amounts,
    units,
)
from ledger_core import schedules as schedules_module
from ledger_core.books import Event

_SUPPRESSED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow)
settings.register_profile(
    "ci", derandomize=True, deadline=None, max_examples=60, suppress_health_check=_SUPPRESSED
)
settings.register_profile(
    "explore", deadline=None, max_examples=2_000, suppress_health_check=_SUPPRESSED
)
settings.load_profile(os.environ.get("LEDGER_TEST_PROFILE", "ci"))

START = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
"""When the made-up banks of the tests open."""

CURRENCIES = ("EUR", "JPY", "TND")
"""With two, no and three decimals."""

BIDIRECTIONAL = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that turn the reading direction around."""

JOINERS = "\u200c\u200d"
"""Characters that join or part letters: parts of texts in some scripts, never of ids."""

INVISIBLE = "".join(
    chr(code)
    for first, last in (
        (0x00AD, 0x00AD),
        (0x115F, 0x1160),
        (0x180E, 0x180E),
        (0x200B, 0x200B),
        (0x200E, 0x200F),
        (0x2060, 0x2064),
        (0x3164, 0x3164),
        (0xFDD0, 0xFDEF),
        (0xFEFF, 0xFEFF),
        (0xFFFE, 0xFFFF),
    )
    for code in range(first, last + 1)
)
"""Characters that show nothing: soft hyphen, marks, fillers, noncharacters."""

one_line_text = st.text(
    st.characters(
        exclude_categories=["Cc", "Cs", "Zl", "Zp"],
        exclude_characters=BIDIRECTIONAL + INVISIBLE + JOINERS,
    ),
    min_size=1,
    max_size=30,
).filter(str.strip)
"""Free text that every text field takes."""

ids = one_line_text.map(str.strip).filter(lambda text: text not in {".", ".."})
"""Ids as odd as they may be: letters of any script, quotes, backslashes, blanks inside."""

amounts_minor = st.integers(1, 10**36 - 1)
"""Every amount that can be written, in minor units."""

limits_minor = st.none() | st.integers(1 - 10**36, 10**36 - 1)
"""Every limit and every ceiling; ``None`` means without."""

dates = st.dates(date(1900, 1, 1), date(2200, 12, 31))
"""Value dates, past and future."""

instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is drawn
"""Moments with a time zone."""

metadata = st.none() | st.dictionaries(one_line_text, one_line_text, max_size=3)
"""What callers hang on their own books."""

sides = st.sampled_from(get_args(journal.Side))
account_types = st.sampled_from(get_args(accounts.AccountType))
effects = st.sampled_from(get_args(accounts.BlockEffect))
roles = st.sampled_from(get_args(accounts.HolderRole))
reasons = st.none() | one_line_text
late_postings = st.sampled_from(get_args(period.LatePosting))

postings = st.builds(journal.Posting, ids, sides, amounts_minor, st.sampled_from(CURRENCIES))
"""One leg, balanced with nothing."""


@st.composite
def balanced_postings(
    draw: Callable[[st.SearchStrategy[Any]], Any], account_ids: st.SearchStrategy[str] = ids
) -> tuple[journal.Posting, ...]:
    """Draw legs that balance in each of one to three currencies, in any order."""
    legs: list[journal.Posting] = []
    for currency in draw(st.lists(st.sampled_from(CURRENCIES), min_size=1, unique=True)):
        amounts = draw(st.lists(st.integers(1, 10**12), min_size=1, max_size=3))
        one: journal.Side = draw(sides)
        other: journal.Side = "credit" if one == "debit" else "debit"
        legs += [journal.Posting(draw(account_ids), one, amount, currency) for amount in amounts]
        legs.append(journal.Posting(draw(account_ids), other, sum(amounts), currency))
    return tuple(draw(st.permutations(legs)))


_texts = st.dictionaries(one_line_text, one_line_text, max_size=3)
_names = st.lists(one_line_text, min_size=1, max_size=3).map(tuple)

asked: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    one_line_text, st.one_of(one_line_text, st.integers(), st.booleans(), _texts), max_size=3
)
"""Commands as they were put, in plain JSON values."""

entries_posted = st.builds(
    journal.JournalEntryPosted,
    kind=st.sampled_from(get_args(journal.EntryKind)),
    postings=balanced_postings(),
    value_date=st.none() | dates,
    entry_id=st.none() | ids,
    reference=st.none() | one_line_text,
    description=st.none() | one_line_text,
    metadata=metadata,
    channel=st.none() | st.sampled_from(["counter", "atm", "card", "clearing"]),
    reverses=st.none() | ids,
    forced=st.booleans(),
    on_original_date=st.booleans(),
    code=st.none() | ids,
    hold_id=st.none() | ids,
    freed_minor=st.integers(0, 10**36 - 1),
    original_value_date=st.none() | dates,
    rate=st.none() | st.sampled_from(["1", "0.000001", "1.0871"]),
    template=st.none() | ids.map(lambda text: text + "@1"),
    asked=st.none() | asked,
)
"""Journal entries of every shape that their type allows."""

holds_placed = st.builds(
    journal.HoldPlaced,
    ids,
    ids,
    amounts_minor,
    st.sampled_from(CURRENCIES),
    hold_id=st.none() | ids,
    expires_at=st.none() | instants,
    multi_capture=st.booleans(),
    reference=st.none() | one_line_text,
    description=st.none() | one_line_text,
    metadata=metadata,
    code=st.none() | ids,
    forced=st.booleans(),
    asked=st.none() | asked,
)
"""Holds of every shape that their type allows."""

schedules = st.builds(
    schedules_module.Schedule,
    first_date=dates,
    unit=st.sampled_from(get_args(schedules_module.Unit)),
    interval=st.integers(1, schedules_module.INTERVAL_MAX),
    last_date=st.none() | dates,
    count=st.none() | st.integers(1, schedules_module.COUNT_MAX),
    adjust=st.sampled_from(get_args(schedules_module.Adjust)),
)
"""Schedules of every shape that their type allows."""

order_events: st.SearchStrategy[standing_order.OrderEvent] = st.one_of(
    st.builds(
        standing_order.StandingOrderCreated,
        asked,
        schedules,
        st.none() | ids,
        reasons,
    ),
    st.builds(
        standing_order.StandingOrderChanged,
        ids,
        st.none() | dates,
        st.none() | amounts_minor.map(str),
        st.none() | asked,
        st.none() | schedules,
        reasons,
    ),
    st.builds(standing_order.StandingOrderCancelled, ids, reasons),
    st.builds(
        standing_order.StandingOrderRan, ids, dates, dates, st.none() | st.integers(1, 10**9)
    ),
    st.builds(
        standing_order.StandingOrderRunRefused,
        ids,
        dates,
        dates,
        st.sampled_from(["insufficient_funds", "account_blocked"]),
        asked,
    ),
)
"""Every type of event on standing orders."""

template_amount: st.SearchStrategy[template_amounts.Amount] = st.recursive(
    st.builds(template_amounts.ParameterAmount, name=one_line_text)
    | st.builds(template_amounts.NamedAmount, name=one_line_text)
    | st.builds(template_amounts.FixedAmount, amount=amounts_minor.map(str)),
    lambda inner: st.one_of(
        st.builds(template_amounts.SumAmount, of=st.lists(inner, max_size=3).map(tuple)),
        st.builds(template_amounts.DifferenceAmount, of=inner, less=inner),
        st.builds(
            template_amounts.PercentAmount,
            percent=st.just("2.5%"),
            of=inner,
            rounding=st.sampled_from(get_args(rounding.RoundingName)),
            min=st.none() | amounts_minor.map(str),
            max=st.none() | amounts_minor.map(str),
        ),
    ),
    max_leaves=4,
)
"""Amounts of templates, as their type allows."""

template_events: st.SearchStrategy[template.TemplateEvent] = st.one_of(
    st.builds(
        template.TemplateDefined,
        one_line_text,
        st.integers(1, 100),
        st.lists(
            st.builds(
                template.Parameter,
                name=one_line_text,
                kind=st.sampled_from(get_args(template.ParameterKind)),
                description=reasons,
            ),
            max_size=2,
        ).map(tuple),
        st.lists(
            st.builds(
                template.TemplateLine,
                side=sides,
                amount=template_amount,
                account_id=st.none() | ids,
                account_parameter=st.none() | one_line_text,
            ),
            max_size=2,
        ).map(tuple),
        st.dictionaries(one_line_text, template_amount, max_size=2),
        reasons,
    ),
    st.builds(template.TemplateRetired, one_line_text, reasons),
)
"""Every type of event on posting templates."""

events: st.SearchStrategy[Event] = st.one_of(
    entries_posted,
    order_events,
    template_events,
    holds_placed,
    st.builds(
        journal.HoldReleased,
        ids,
        ids,
        ids,
        amounts_minor,
        st.sampled_from(CURRENCIES),
        st.sampled_from(get_args(journal.ReleaseCause)),
        st.none() | instants,
        reasons,
        st.none() | asked,
    ),
    st.builds(
        refusals.CommandRefused,
        st.fixed_dictionaries(
            {"type": st.just("transfer"), "debit_account_id": ids, "credit_account_id": ids}
        ),
        st.sampled_from(["insufficient_funds", "account_blocked"]),
        asked,
        st.integers(0, 10**6),
    ),
    st.builds(
        accounts.AccountOpened,
        account_type=account_types,
        currency=st.sampled_from(CURRENCIES),
        scale=st.integers(0, 24),
        account_id=st.none() | ids,
        limit_minor=limits_minor,
        code=reasons,
        name=reasons,
        customer_id=st.none() | ids,
        metadata=metadata,
        ceiling_minor=limits_minor,
    ),
    st.builds(accounts.BlockPlaced, ids, ids, effects, reasons),
    st.builds(accounts.BlockLifted, ids, ids, effects, reasons, st.none() | effects),
    st.builds(accounts.AccountClosed, ids, reasons),
    st.builds(accounts.AccountReopened, ids, reasons),
    st.builds(
        accounts.LimitSet,
        ids,
        limits_minor,
        reasons,
        limits_minor,
        st.none() | instants,
        st.booleans(),
    ),
    st.builds(
        account_limits.LimitChangeScheduled,
        ids,
        dates,
        limits_minor,
        reasons,
        limits_minor,
        st.booleans(),
    ),
    st.builds(
        group.GroupCreated,
        one_line_text,
        st.sampled_from(CURRENCIES),
        st.none() | ids,
        sides,
        limits_minor,
        limits_minor,
    ),
    st.builds(group.GroupLimitSet, ids, limits_minor, reasons, limits_minor, st.booleans()),
    st.builds(accounts.GroupMemberAdded, ids, ids),
    st.builds(accounts.GroupMemberRemoved, ids, ids, reasons),
    st.builds(period.PeriodClosed, dates, st.none() | late_postings, reasons),
    st.builds(period.PeriodReopened, st.none() | dates, reasons),
    st.builds(accounts.AccountHolderLinked, ids, ids, roles),
    st.builds(accounts.AccountHolderUnlinked, ids, ids, roles, reasons),
    st.builds(customers.CustomerRegistered, ids, _texts, _texts, st.none() | ids),
    st.builds(
        customers.CustomerProfileChanged,
        ids,
        one_line_text,
        _texts,
        _texts,
        st.lists(one_line_text, max_size=3).map(tuple),
    ),
    st.builds(customers.CustomerErased, ids, ids, one_line_text),
    st.builds(units.UnitRegistered, ids, st.integers(0, 24), reasons),
    st.builds(
        risk_rules.RiskRuleSet,
        st.sampled_from(get_args(risk_rules.RuleName)),
        st.dictionaries(one_line_text, st.integers(1, 10**15), max_size=3),
        st.booleans(),
    ),
    st.builds(
        approval_policies.ApprovalPolicySet,
        ids,
        _names,
        _names,
        st.none() | st.sampled_from(CURRENCIES),
        limits_minor,
        st.booleans(),
    ),
    st.builds(
        approvals.ApprovalRequested,
        _texts.map(lambda fields: {**fields, "type": "x"}),
        _names,
        ids,
        ids,
        st.none() | ids,
        _names,
        st.none() | _names,
        st.none() | ids,
        _texts,
    ),
    st.builds(
        access_role.RoleSet,
        one_line_text,
        _names,
        st.none() | st.dictionaries(st.sampled_from(CURRENCIES), amounts_minor.map(str)),
        st.dictionaries(
            st.sampled_from(["name", "phone"]), st.sampled_from(get_args(access_role.Showing))
        ),
        st.sampled_from(get_args(access_role.Showing)),
        _names,
        _names,
        reasons,
    ),
    st.builds(access_role.RoleRetired, one_line_text, reasons),
    st.builds(approvals.ApprovalGiven, ids, ids, _names),
    st.builds(approvals.ApprovalRejected, ids, ids, reasons, st.none() | ids),
    st.builds(approvals.ApprovalWithdrawn, ids, reasons, st.none() | ids),
    st.builds(approvals.ApprovalCompleted, ids, st.integers(1, 10**9), st.none() | ids),
    st.builds(approvals.ApprovalFailed, ids, one_line_text, _texts, st.none() | ids),
    st.builds(
        bank_statements.BankStatementImported,
        ids,
        one_line_text,
        st.sampled_from(CURRENCIES),
        st.integers(-(10**36), 10**36),
        st.integers(-(10**36), 10**36),
        dates,
        dates,
        st.integers(0, 10**9),
    ),
)
"""Every type of event, with every optional field there or not."""
