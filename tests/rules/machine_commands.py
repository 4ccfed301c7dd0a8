"""Commands at random, such as the model of a ledger knows; most of them can be carried out."""

from datetime import timedelta
from typing import Any, get_args

import msgspec
from hypothesis import strategies as st
from tests.rules.harness import with_field
from tests.rules.model_splits import FEES_TO
from tests.strategies import START, account_types, effects, late_postings, roles, sides

from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount
from ledger_core.allocation_legs import Destination, Source
from ledger_core.allocations import Allocate
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.booking import BalanceCondition, Bounds
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.exchanges import Exchange
from ledger_core.groups import AddToGroup, CreateGroup, RemoveFromGroup, SetGroupLimit
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.journal import Side
from ledger_core.periods import ClosePeriod, ReopenPeriod
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import SetRiskRule
from ledger_core.template import Parameter, TemplateLine
from ledger_core.template_amounts import ParameterAmount
from ledger_core.templates import DefineTemplate, PostTemplate, RetireTemplate
from ledger_core.transfers import Transfer
from ledger_core.units import RegisterUnit


def _mostly(usual: object, *others: object) -> st.SearchStrategy[Any]:
    """The usual value, except now and then."""
    return st.sampled_from([*[usual] * 2 * (len(others) + 1), *others])


def _seldom(usual: object, *others: object) -> st.SearchStrategy[Any]:
    """The usual value nearly always."""
    return st.sampled_from([*[usual] * 20, *others])


_new_names = st.sampled_from("ABCDEFGHJ")
_few_names = st.sampled_from("ABCD")
_names = st.sampled_from([*"ABCDABCDABCDE", "bank:counter:EUR"])
_customers = st.sampled_from(["c1", "c2", "c3"])
_currencies = st.sampled_from([*["EUR"] * 12, "JPY", "PTS"])
_amounts = st.sampled_from(["200", "50", "500", "1", "700"])
_two_names = st.lists(_few_names, min_size=2, max_size=2, unique=True)
_pairs = st.one_of(
    _two_names, _two_names, _two_names, st.lists(_names, min_size=2, max_size=2), _two_names
)
_limits = st.sampled_from([None, "0", "50", "200", "-50"])
_ceilings = _mostly(None, "600", "100")
_causes = st.sampled_from(["court", "fraud"])
_days = [START.date() + timedelta(days) for days in (-20, -1, 0, 1, 2)]
_positions = st.integers(1, 40)
_bounds = st.sampled_from(
    [Bounds(gte="0"), Bounds(gt="100", lte="600"), Bounds(lt="500"), Bounds(eq="500")]
)
_condition = st.builds(BalanceCondition, posted=st.none() | _bounds, available=_bounds)
_forces = st.sampled_from([False] * 7 + [True])
_movement = {
    "reference": _mostly(None, "r1", "r2", "r3"),
    "code": _mostly(None, "rent"),
    "metadata": _mostly(None, {"n": "v"}),
    "force": _forces,
    "if_version": _seldom(None, {"A": 2}, {"A": 3, "B": 1}, {"B": 2}, {"E": 1}),
    "if_balance": _seldom(None, 1, 2).flatmap(
        lambda size: (
            st.dictionaries(_names, _condition, min_size=size, max_size=size) if size else st.none()
        )
    ),
}
_identity = {
    "entry_id": _mostly(None, "e2", "e3", "e4", "H2"),
    "value_date": _mostly(None, *_days),
    **_movement,
}
_entry = {**_identity, "currency": _currencies, "amount": _amounts}
_balancing = _mostly(None, "debit", "credit", "both")
_hold_ids = st.sampled_from(["H1", "H2", "H3", "H4", "H5", "e3"])


@st.composite
def _lines(draw: Any) -> tuple[PostingLine, ...]:  # noqa: ANN401 - hypothesis's own
    """Three legs of which the last balances the others, except now and then."""
    one, two = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    side, other = draw(st.permutations(get_args(Side)))
    currency = draw(_currencies)
    total = one + two + draw(st.sampled_from([0, 0, 0, 0, 1]))
    legs = ((side, one), (side, two), (other, total))
    return tuple(
        PostingLine(account_id=draw(_names), side=side, amount=str(amount), currency=currency)
        for side, amount in legs
    )


@st.composite
def _between_two(draw: Any, kind: type[Any], fields: dict[str, Any]) -> Command:  # noqa: ANN401
    """A movement mostly between two accounts."""
    debit, credit = draw(_pairs)
    drawn = {name: draw(values) for name, values in fields.items()}
    command: Command = kind(
        debit_account_id=debit,
        credit_account_id=credit,
        balancing=draw(_balancing),
        amount=draw(_amounts),
        currency=draw(_currencies),
        **drawn,
    )
    return command


_placed = {
    **_movement,
    "hold_id": st.none() | _hold_ids | st.none(),
    "multi_capture": st.booleans(),
}
_said_of_a_hold = {
    "debit_account_id": _seldom(None, "A", "B"),
    "credit_account_id": _seldom(None, "A", "B"),
    "currency": _seldom(None, "EUR", "JPY"),
}
FEE = DefineTemplate(
    name="fee",
    parameters=(
        Parameter(name="payer", kind="account"),
        Parameter(name="fee", kind="amount"),
    ),
    postings=(
        TemplateLine(side="debit", account_parameter="payer", amount=ParameterAmount(name="fee")),
        TemplateLine(side="credit", account_id=FEES_TO, amount=ParameterAmount(name="fee")),
    ),
    description="fee",
)
"""A template that books one figure."""

# Holds that are open when their command is sent are named by a number: see ``keyed``.
OPEN = "open "
_open_holds = st.integers(0, 3).map(lambda number: f"{OPEN}{number}")
_named_holds = st.one_of(
    _open_holds,
    _open_holds,
    _hold_ids,
    _open_holds,
    _positions.map(lambda position: f"hld_{position}"),
    st.just("e1"),
)

hold_commands: st.SearchStrategy[Command] = st.one_of(
    _between_two(PlaceHold, {**_placed, "timeout_s": _mostly(None, 60, 3_600)}),
    _between_two(
        PlaceHold,
        {
            **_placed,
            "expires_at": st.sampled_from([START + timedelta(days) for days in (9, 2, 1, 0)]),
        },
    ),
    st.builds(
        CaptureHold,
        hold_id=_named_holds,
        amount=st.sampled_from(["all", "all", "0", "1", "1", "50", "50", "700"]),
        **_said_of_a_hold,
        **_identity,
    ),
    st.builds(
        VoidHold, hold_id=_named_holds, amount=_mostly("all", "50", "700"), **_said_of_a_hold
    ),
)

plain_movements: st.SearchStrategy[Command] = st.one_of(
    _between_two(Transfer, _identity),
    st.builds(Deposit, account_id=_names, **_entry),
    st.builds(Withdraw, account_id=_names, **_entry),
    st.builds(PostEntry, postings=_lines(), **_identity),
    st.builds(
        ReverseEntry,
        reverses=st.sampled_from(["e1", "e2", "e3", "e4", "H1"])
        | _positions.map(lambda position: f"jrn_{position}"),
        **_identity,
    ),
)

settlements: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        CaptureHold,
        hold_id=_open_holds,
        amount=st.sampled_from(["1", "50", "all", "0", "200"]),
        entry_id=_identity["entry_id"],
        value_date=_identity["value_date"],
        reference=_identity["reference"],
    ),
    st.builds(
        CaptureHold, hold_id=_open_holds, amount=st.sampled_from(["1", "50", "all"]), force=_forces
    ),
    st.builds(
        CaptureHold,
        hold_id=_open_holds,
        amount=st.sampled_from(["50", "1"]),
        code=_mostly(None, "rent"),
    ),
    st.builds(VoidHold, hold_id=_open_holds),
)

_cents = st.sampled_from(["50", "200", "500", "700"])
_halves = (Destination(account_id="B", share="50%"), Destination(account_id="D"))
split_commands: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        Exchange,
        debit_account_id=_few_names,
        credit_account_id=_mostly("J", "A", "E"),
        amount=_cents,
        currency=_seldom("EUR", "PTS"),
        counter_currency=st.just("JPY"),
        rate=st.just("100"),
        counter_amount=_mostly(None),
        **_identity,
    ),
    st.builds(
        Exchange,
        debit_account_id=_mostly("J", "A"),
        credit_account_id=_few_names,
        amount=_cents,
        currency=st.just("JPY"),
        counter_currency=_seldom("EUR", "PTS"),
        counter_amount=_amounts,
        **_identity,
    ),
    st.builds(
        Allocate,
        amount=_cents,
        currency=_currencies,
        sources=_names.map(lambda name: (Source(account_id=name),)),
        destinations=st.just(_halves)
        | st.tuples(_names, _names).map(
            lambda pair: (
                Destination(account_id=pair[0], fixed="30"),
                Destination(account_id=pair[1], share="remaining"),
            )
        ),
        **_identity,
    ),
    st.builds(
        PostTemplate,
        template=st.just("fee"),
        currency=_currencies,
        version=_seldom(None, 1),
        accounts=_names.map(lambda name: {"payer": name}),
        amounts=_amounts.map(lambda amount: {"fee": amount}),
        **_identity,
    ),
)

_group_ids = st.sampled_from(["g1", "g2"])
restrictions: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        SetLimit,
        account_id=_few_names,
        limit=_limits,
        ceiling=_ceilings | st.just(msgspec.UNSET),
        effective_date=_mostly(None, *_days[-2:]),
    ),
    st.builds(
        CreateGroup,
        group_id=_group_ids,
        name=st.just("n"),
        currency=st.just("EUR"),
        side=sides,
        limit=_limits,
        ceiling=_ceilings,
    ),
    st.builds(AddToGroup, group_id=_group_ids, account_id=_few_names),
    st.builds(
        ClosePeriod, through=st.sampled_from(_days[:2]), late_posting=st.none() | late_postings
    ),
    st.builds(FreezeAccount, account_id=_few_names, cause=_causes, effect=effects),
)

terms: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        OpenAccount,
        account_id=_new_names,
        currency=_currencies,
        account_type=account_types,
        limit=_limits | st.just(msgspec.UNSET),
        ceiling=_ceilings,
        customer_id=st.none() | _customers,
    ),
    st.builds(
        SetLimit,
        account_id=_names,
        limit=_limits,
        ceiling=_ceilings | st.just(msgspec.UNSET),
        effective_date=_mostly(None, *_days),
    ),
    st.builds(FreezeAccount, account_id=_names, cause=_causes, effect=effects),
    st.builds(UnfreezeAccount, account_id=_names, cause=_causes, effect=st.none() | effects),
    st.builds(CloseAccount, account_id=_names),
    st.builds(ReopenAccount, account_id=_names),
    st.builds(LinkCustomer, account_id=_names, customer_id=_customers, role=roles),
    st.builds(UnlinkCustomer, account_id=_names, customer_id=_customers, role=roles),
    st.builds(
        CreateGroup,
        group_id=_group_ids,
        name=st.just("n"),
        currency=_currencies,
        side=sides,
        limit=_limits,
        ceiling=_ceilings,
    ),
    st.builds(
        SetGroupLimit,
        group_id=_group_ids,
        limit=_limits,
        ceiling=_ceilings | st.just(msgspec.UNSET),
    ),
    st.builds(AddToGroup, group_id=_group_ids, account_id=_names),
    st.builds(AddToGroup, group_id=_group_ids, account_id=_few_names),
    st.builds(RemoveFromGroup, group_id=_group_ids, account_id=_names),
    st.builds(ClosePeriod, through=st.sampled_from(_days), late_posting=st.none() | late_postings),
    st.builds(ReopenPeriod, after=st.none() | st.sampled_from(_days)),
    st.builds(
        RegisterCustomer,
        customer_id=_customers,
        profile=st.sampled_from([{"name": "Ann"}, {"name": "Ann", "segment": "retail"}]),
    ),
    st.builds(
        ChangeProfile,
        customer_id=_customers,
        changes=st.sampled_from([{"phone": "1", "language": "nl"}, {"language": None}]),
        reason=st.just("asked"),
    ),
    st.builds(EraseCustomer, customer_id=_customers, reason=st.just("asked")),
    st.sampled_from([FEE, with_field(FEE, "description", "other"), RetireTemplate(template="fee")]),
    st.builds(RegisterUnit, code=st.just("PTS"), scale=st.just(3)),
    st.just(SetRiskRule(rule="velocity", parameters={"count": 3})),
)

movements: st.SearchStrategy[Command] = st.one_of(plain_movements, hold_commands, split_commands)
commands: st.SearchStrategy[Command] = st.one_of(
    plain_movements, hold_commands, split_commands, terms
)
