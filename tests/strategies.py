"""What hypothesis draws, in one place: profiles, names, amounts, events.

``LEDGER_TEST_PROFILE=explore`` draws anew every time and longer; without it a run is repeatable.
"""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, get_args

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from ledger_core import accounts, bank_statements, customers, journal, risk_rules, units
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

limits_minor = st.none() | st.integers(0, 10**36 - 1)
"""Every limit; ``None`` means without limit."""

dates = st.dates(date(1900, 1, 1), date(2200, 12, 31))
"""Value dates, past and future."""

metadata = st.none() | st.dictionaries(one_line_text, one_line_text, max_size=3)
"""What callers hang on their own books."""

sides = st.sampled_from(get_args(journal.Side))
account_types = st.sampled_from(get_args(accounts.AccountType))
effects = st.sampled_from(get_args(accounts.BlockEffect))
roles = st.sampled_from(get_args(accounts.HolderRole))
reasons = st.none() | one_line_text

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
)
"""Journal entries of every shape that their type allows."""

events: st.SearchStrategy[Event] = st.one_of(
    entries_posted,
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
    ),
    st.builds(accounts.BlockPlaced, ids, ids, effects, reasons),
    st.builds(accounts.BlockLifted, ids, ids, effects, reasons, st.none() | effects),
    st.builds(accounts.AccountClosed, ids, reasons),
    st.builds(accounts.AccountReopened, ids, reasons),
    st.builds(accounts.LimitSet, ids, limits_minor, reasons),
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
