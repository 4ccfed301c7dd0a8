"""Commands at random, against the rules or PostgreSQL on one side and the model on the other."""

from datetime import timedelta
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.rules.harness import deposited, held, opened, with_field
from tests.rules.machine_commands import (
    FEE,
    OPEN,
    commands,
    hold_commands,
    plain_movements,
    restrictions,
    settlements,
    split_commands,
    terms,
)
from tests.rules.model import Answers, Model
from tests.rules.model_state import Account, Hold

from ledger_core import accounts, group, holds
from ledger_core.account_limits import SetLimit
from ledger_core.books import Books
from ledger_core.commands import Command
from ledger_core.groups import AddToGroup, CreateGroup
from ledger_core.holds import CaptureHold, VoidHold
from ledger_core.ledger import Mode
from ledger_core.period import PERIOD_ID, Period
from ledger_core.reversals import ReverseEntry

modes = st.sampled_from(get_args(Mode))
seconds = st.sampled_from([1, 29, 30, 60, 3_600, 86_400])


class LedgerMachine(RuleBasedStateMachine):
    """One ledger and its model, told the same; ``submit`` and ``state`` say what is tested."""

    def __init__(self, model: Model | None = None) -> None:
        """Begin with nothing."""
        super().__init__()
        self.model = model or Model()
        self.history: list[Command] = []

    def submit(self, batch: list[Command], mode: Mode, *, dry_run: bool) -> Answers:
        """Carry the commands out; a word for each, with its event's position or 0."""
        raise NotImplementedError

    def state(self) -> Books:
        """The log folded from position 1."""
        raise NotImplementedError

    def both(self, batch: list[Command], mode: Mode, *, dry_run: bool = False) -> None:
        """Tell both, and compare what they say."""
        # An entry without a chosen id can be named only once its position is known.
        batch = [
            with_field(command, "reverses", "e1")
            if isinstance(command, ReverseEntry) and self._is_unknown(command.reverses)
            else command
            for command in batch
        ]
        if not dry_run:
            self.history += batch
        expected = self.model.submit(batch, mode, dry_run=dry_run)
        assert self.submit(batch, mode, dry_run=dry_run) == expected

    def _is_unknown(self, entry_id: str) -> bool:
        """Whether the id is of a position still to come."""
        return entry_id.startswith("jrn_") and int(entry_id[4:]) > self.model.position

    @initialize()
    def open_the_bank(self) -> None:
        """Customers' accounts and two of the bank's, two holds, limits: so that much can happen."""
        self.both(
            [
                opened("A", key="open-a"),
                opened("B", key="open-b", limit="50"),
                opened("C", key="open-c", account_type="expense"),
                opened("D", key="open-d", account_type="equity"),
                opened("J", key="open-j", currency="JPY", limit="500"),
                with_field(FEE, "key", "define"),
                deposited("A", 500, key="first", entry_id="e1"),
                held("A", "B", 100, "H1", key="hold", multi_capture=True, timeout_s=3_600),
                held("A", "B", 100, "H2", key="once"),
                # So that every kind of limit is met soon.
                SetLimit(key="ceiling", account_id="B", limit="50", ceiling="200"),
                CreateGroup(
                    key="group", group_id="g1", name="n", currency="EUR", limit="-50", ceiling="900"
                ),
                AddToGroup(key="join-a", group_id="g1", account_id="A"),
                AddToGroup(key="join-b", group_id="g1", account_id="B"),
            ],
            "atomic",
        )

    @rule(batch=st.lists(plain_movements, min_size=1, max_size=4), mode=modes)
    def move_money(self, batch: list[Command], mode: Mode) -> None:
        """Entries of all kinds under keys of their own."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(split_commands, min_size=1, max_size=3), mode=modes)
    def split_money(self, batch: list[Command], mode: Mode) -> None:
        """Exchanges, allocations and templates."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(hold_commands, min_size=1, max_size=4), mode=modes)
    def hold_money(self, batch: list[Command], mode: Mode) -> None:
        """Holds placed, captured and voided."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(settlements, min_size=1, max_size=3), mode=modes)
    def settle(self, batch: list[Command], mode: Mode) -> None:
        """Open holds captured and voided."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(restrictions, min_size=1, max_size=3), mode=modes)
    def restrict(self, batch: list[Command], mode: Mode) -> None:
        """Limits, groups, blocks and the closed period."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(terms, min_size=1, max_size=3), mode=modes)
    def change_terms(self, batch: list[Command], mode: Mode) -> None:
        """Changes of accounts, groups, the period, customers, units and rules."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(commands, min_size=1, max_size=4), mode=modes)
    def do_all(self, batch: list[Command], mode: Mode) -> None:
        """Movements and changes in one batch."""
        self._carry_out(batch, mode)

    @rule(batch=st.lists(commands, min_size=1, max_size=4), mode=modes)
    def try_and_do(self, batch: list[Command], mode: Mode) -> None:
        """A dry run says what doing it says, and leaves nothing."""
        keyed = self.keyed(batch)
        self.both(keyed, mode, dry_run=True)
        self.both(keyed, mode)

    def _carry_out(self, batch: list[Command], mode: Mode) -> None:
        """Commands under keys of their own."""
        self.both(self.keyed(batch), mode)

    def keyed(self, batch: list[Command]) -> list[Command]:
        """The commands with keys of their own, on holds that are open where they say so."""
        first = len(self.history)
        keyed = [with_field(command, "key", f"k{first + n}") for n, command in enumerate(batch)]
        holds = self.model.holds
        names = [name for name in holds if holds[name].status == "open"] or list(holds) or ["H1"]
        return [
            with_field(command, "hold_id", names[int(command.hold_id[-1]) % len(names)])
            if isinstance(command, CaptureHold | VoidHold) and command.hold_id.startswith(OPEN)
            else command
            for command in keyed
        ]

    @rule(picks=st.lists(st.integers(0, 10_000), min_size=1, max_size=3), mode=modes)
    def retry(self, picks: list[int], mode: Mode) -> None:
        """Commands of before, word for word."""
        self.both([self.history[pick % len(self.history)] for pick in picks], mode)

    @rule(pick=st.integers(0, 10_000), command=commands)
    def use_a_key_again(self, pick: int, command: Command) -> None:
        """Another command under a key of before."""
        key = self.history[pick % len(self.history)].key
        self.both([with_field(command, "key", key)], "each")

    @rule(seconds=seconds)
    def let_time_pass(self, seconds: int) -> None:
        """The clock goes on, and what is due by then happens without a command."""
        self.model.now += timedelta(seconds=seconds)
        self.both([], "each")

    @rule(seconds=seconds)
    def turn_the_clock_back(self, seconds: int) -> None:
        """The clock is wrong for a while; time in the log is not."""
        self.model.now -= timedelta(seconds=seconds)

    @invariant()
    def the_log_is_the_model(self) -> None:
        """Every account holds what the model says, and debits equal credits by currency."""
        books = self.state()
        assert books.position == self.model.position
        assert books.accounts.keys() == self.model.accounts.keys()
        differences: dict[str, int] = {}
        for name, expected in self.model.accounts.items():
            _same_account(books.accounts[name], expected)
            sums = expected.posted
            total = differences.get(expected.currency, 0) + sums["debit"] - sums["credit"]
            differences[expected.currency] = total
        assert not any(differences.values())
        assert {name: item.erased for name, item in books.customers.items()} == self.model.erased

    @invariant()
    def what_is_kept_is_the_model(self) -> None:
        """Holds, groups and the period; what accounts hold is what their open holds hold."""
        books = self.state()
        kept: dict[str, dict[str, Any]] = {"hold": {}, "group": {}}
        for (kind, name), state in books.states.items():
            kept.setdefault(kind, {})[name] = state
        assert kept["hold"].keys() == self.model.holds.keys()
        held: dict[tuple[str, str], int] = {}
        for name, expected in self.model.holds.items():
            _same_hold(kept["hold"][name], expected)
            assert 0 <= expected.rest <= expected.amount
            for place in ((expected.debit, "debit"), (expected.credit, "credit")):
                held[place] = held.get(place, 0) + expected.rest
        for name, account in books.accounts.items():
            assert account.debits_held_minor == held.get((name, "debit"), 0)
            assert account.credits_held_minor == held.get((name, "credit"), 0)
        assert kept["group"].keys() == self.model.groups.keys()
        for name, limited in self.model.groups.items():
            one: group.Group = kept["group"][name]
            assert (one.limit_minor, one.ceiling_minor) == (limited.limit, limited.ceiling)
            assert set(one.members) == {
                account_id
                for account_id, account in self.model.accounts.items()
                if name in account.groups
            }
        period: Period | None = books.kept("period", PERIOD_ID)
        closed_through = None if period is None else period.closed_through
        assert closed_through == self.model.closed_through


def _same_account(account: accounts.Account, expected: Account) -> None:
    """Sums, terms and version are as the model has them."""
    terms = account.terms
    assert account.debits_posted_minor == expected.posted["debit"]
    assert account.credits_posted_minor == expected.posted["credit"]
    assert account.debits_held_minor == expected.held["debit"]
    assert account.credits_held_minor == expected.held["credit"]
    assert account.posted_minor == expected.balance()
    assert account.version == expected.version
    assert (terms.limit_minor, terms.ceiling_minor) == (expected.limit, expected.ceiling)
    assert (terms.status == "closed") == expected.closed
    assert {(block.cause, block.effect) for block in terms.blocks} == expected.blocks
    assert {(item.customer_id, item.role) for item in terms.holders} == expected.holders
    assert set(terms.groups) == expected.groups


def _same_hold(hold: holds.Hold, expected: Hold) -> None:
    """Amounts and status are as the model has them."""
    assert (hold.amount_minor, hold.captured_minor, hold.freed_minor, hold.status) == (
        expected.amount,
        expected.captured,
        expected.freed,
        expected.status,
    )
    assert (hold.expires_at, hold.multi_capture) == (expected.expires_at, expected.multi_capture)
    assert (hold.debit_account_id, hold.credit_account_id) == (expected.debit, expected.credit)
