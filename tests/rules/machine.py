"""Commands at random, against the rules or PostgreSQL on one side and the model on the other."""

from typing import Any, get_args

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.rules.harness import deposited, opened, with_field
from tests.rules.model import Model
from tests.strategies import account_types, effects, roles

from ledger_core.account_holders import LinkCustomer, UnlinkCustomer
from ledger_core.account_terms import CloseAccount, OpenAccount, ReopenAccount, SetLimit
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.customers import ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.entries import PostEntry, PostingLine
from ledger_core.journal import Side
from ledger_core.ledger import Mode
from ledger_core.reversals import ReverseEntry
from ledger_core.risk_rules import SetRiskRule
from ledger_core.transfers import Transfer
from ledger_core.units import RegisterUnit

_new_names = st.sampled_from("ABCDEFGH")
_few_names = st.sampled_from("ABCD")
_names = st.sampled_from([*"ABCDABCDABCDE", "bank:counter:EUR"])
_customers = st.sampled_from(["c1", "c2", "c3"])
_currencies = st.sampled_from([*["EUR"] * 12, "JPY", "PTS"])
_amounts = st.sampled_from(["1", "50", "200", "500", "700"])
_pairs = st.lists(_few_names, min_size=2, max_size=2, unique=True) | st.lists(
    _names, min_size=2, max_size=2
)
_limits = st.sampled_from([None, "0", "50", "200"])
_causes = st.sampled_from(["court", "fraud"])
_identity = {
    "entry_id": st.sampled_from([*[None] * 6, "e2", "e3", "e4"]),
    "reference": st.sampled_from([*[None] * 6, "r1", "r2", "r3"]),
}
_entry = {**_identity, "currency": _currencies, "amount": _amounts}


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
def _transfers(draw: Any) -> Transfer:  # noqa: ANN401 - hypothesis's own
    """A transfer, mostly between two accounts."""
    debit, credit = draw(_pairs)
    fields = {name: draw(values) for name, values in _entry.items()}
    return Transfer(debit_account_id=debit, credit_account_id=credit, **fields)


_movements: st.SearchStrategy[Command] = st.one_of(
    _transfers(),
    st.builds(Deposit, account_id=_names, **_entry),
    st.builds(Withdraw, account_id=_names, **_entry),
    st.builds(PostEntry, postings=_lines(), **_identity),
    st.builds(
        ReverseEntry,
        reverses=st.sampled_from(["e1", "e2", "e3", "e4"])
        | st.integers(1, 40).map(lambda position: f"jrn_{position}"),
        force=st.booleans(),
        **_identity,
    ),
)

_terms: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        OpenAccount,
        account_id=_new_names,
        currency=_currencies,
        account_type=account_types,
        limit=_limits | st.just(msgspec.UNSET),
        customer_id=st.none() | _customers,
    ),
    st.builds(SetLimit, account_id=_names, limit=_limits),
    st.builds(FreezeAccount, account_id=_names, cause=_causes, effect=effects),
    st.builds(UnfreezeAccount, account_id=_names, cause=_causes, effect=st.none() | effects),
    st.builds(CloseAccount, account_id=_names),
    st.builds(ReopenAccount, account_id=_names),
    st.builds(LinkCustomer, account_id=_names, customer_id=_customers, role=roles),
    st.builds(UnlinkCustomer, account_id=_names, customer_id=_customers, role=roles),
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
    st.builds(RegisterUnit, code=st.just("PTS"), scale=st.just(3)),
    st.just(SetRiskRule(rule="velocity", parameters={"count": 3})),
)

commands: st.SearchStrategy[Command] = st.one_of(_movements, _terms)
modes = st.sampled_from(get_args(Mode))


class LedgerMachine(RuleBasedStateMachine):
    """One ledger and its model, told the same; ``submit`` and ``state`` say what is tested."""

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__()
        self.model = Model()
        self.history: list[Command] = []

    def submit(self, batch: list[Command], mode: Mode) -> list[tuple[str, int]]:
        """Carry the commands out; a word for each, with its event's position or 0."""
        raise NotImplementedError

    def state(self) -> Books:
        """The log folded from position 1."""
        raise NotImplementedError

    def both(self, batch: list[Command], mode: Mode) -> None:
        """Tell both, and compare what they say."""
        # An entry without a chosen id can be named only once its position is known.
        batch = [
            with_field(command, "reverses", "e1")
            if isinstance(command, ReverseEntry) and self._is_unknown(command.reverses)
            else command
            for command in batch
        ]
        self.history += batch
        assert self.submit(batch, mode) == self.model.submit(batch, mode)

    def _is_unknown(self, entry_id: str) -> bool:
        """Whether the id is of a position still to come."""
        return entry_id.startswith("jrn_") and int(entry_id[4:]) > self.model.position

    @initialize()
    def open_the_bank(self) -> None:
        """Two customers' accounts and two of the bank's, so that much is allowed."""
        self.both(
            [
                opened("A", key="open-a"),
                opened("B", key="open-b", limit="50"),
                opened("C", key="open-c", account_type="expense"),
                opened("D", key="open-d", account_type="equity"),
                deposited("A", 500, key="first", entry_id="e1"),
            ],
            "atomic",
        )

    @rule(batch=st.lists(_movements, min_size=1, max_size=4), mode=modes)
    def move_money(self, batch: list[Command], mode: Mode) -> None:
        """Entries of all kinds under keys of their own."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(_terms, min_size=1, max_size=3), mode=modes)
    def change_terms(self, batch: list[Command], mode: Mode) -> None:
        """Changes of accounts, customers, units and rules under keys of their own."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(commands, min_size=1, max_size=4), mode=modes)
    def do_both(self, batch: list[Command], mode: Mode) -> None:
        """Entries and changes in one batch."""
        self._carry_out(batch, mode)

    def _carry_out(self, batch: list[Command], mode: Mode) -> None:
        """Commands under keys of their own."""
        first = len(self.history)
        keyed = [with_field(command, "key", f"k{first + n}") for n, command in enumerate(batch)]
        self.both(keyed, mode)

    @rule(picks=st.lists(st.integers(0, 10_000), min_size=1, max_size=3), mode=modes)
    def retry(self, picks: list[int], mode: Mode) -> None:
        """Commands of before, word for word."""
        self.both([self.history[pick % len(self.history)] for pick in picks], mode)

    @rule(pick=st.integers(0, 10_000), command=commands)
    def use_a_key_again(self, pick: int, command: Command) -> None:
        """Another command under a key of before."""
        key = self.history[pick % len(self.history)].key
        self.both([with_field(command, "key", key)], "each")

    @invariant()
    def the_log_is_the_model(self) -> None:
        """Every account holds what the model says, and debits equal credits by currency."""
        books = self.state()
        assert books.position == self.model.position
        assert books.accounts.keys() == self.model.accounts.keys()
        differences: dict[str, int] = {}
        for name, expected in self.model.accounts.items():
            account = books.accounts[name]
            assert (account.debits_posted_minor, account.credits_posted_minor) == (
                expected.debit,
                expected.credit,
            )
            assert account.posted_minor == expected.balance()
            assert account.terms.limit_minor == expected.limit
            assert (account.terms.status == "closed") == expected.closed
            assert {(block.cause, block.effect) for block in account.terms.blocks} == (
                expected.blocks
            )
            assert {(item.customer_id, item.role) for item in account.terms.holders} == (
                expected.holders
            )
            currency = account.terms.currency
            differences[currency] = differences.get(currency, 0) + expected.debit - expected.credit
        assert not any(differences.values())
        assert {name: item.erased for name, item in books.customers.items()} == self.model.erased
