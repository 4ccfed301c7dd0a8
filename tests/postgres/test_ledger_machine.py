"""The stateful machine on PostgreSQL: two writers, restarts, and projectors that lag."""

import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pytest
import sqlalchemy
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test
from tests.postgres.ledger_harness import World
from tests.rules.harness import with_field
from tests.rules.machine import LedgerMachine
from tests.rules.machine_commands import movements
from tests.rules.model import Answers
from tests.rules.model_waiting import WaitingModel
from tests.strategies import START

from ledger_core import database, events, kept, snapshots
from ledger_core.approvals import ApproveRequest, RejectRequest, WithdrawRequest
from ledger_core.books import Books
from ledger_core.commands import ApprovableCommand, Command, RequestApproval
from ledger_core.journal import JournalEntryPosted, require_balanced
from ledger_core.ledger import Mode, Submission
from ledger_core.schedules import Schedule
from ledger_core.standing_orders import CancelOrder, CreateOrder, RunOrder
from ledger_core.transfers import Transfer
from projections import runner
from projections.balance_queries import accounts_of_ids
from projections.history import PROJECTIONS_READ
from projections.reading import AsOf, resolve
from projections.registry import NAMES
from projections.verification import verify

if TYPE_CHECKING:
    from ledger_core.accounts import Account

PERMISSIONS: dict[str, frozenset[str]] = {
    "maker": frozenset(),
    "ledger": frozenset(),
    "bob": frozenset({"ops"}),
    "cal": frozenset({"risk"}),
    "dan": frozenset({"ops", "risk"}),
}
request_ids = st.sampled_from(["q1", "q2", "q3"])
order_ids = st.sampled_from(["o1", "o2"])
orders: st.SearchStrategy[CreateOrder | CancelOrder] = st.one_of(
    st.builds(
        CreateOrder,
        order_id=order_ids,
        schedule=st.builds(
            Schedule,
            first_date=st.integers(-2, 1).map(lambda days: START.date() + timedelta(days)),
            unit=st.just("day"),
        ),
        command=st.builds(
            Transfer,
            debit_account_id=st.sampled_from("ABD"),
            credit_account_id=st.sampled_from("BAE"),
            amount=st.sampled_from(["1", "200"]),
            currency=st.just("EUR"),
        ),
    ),
    st.builds(CancelOrder, order_id=order_ids),
)


class PostgresMachine(LedgerMachine):
    """The ledger itself, written to by one of two writers at a time."""

    engine: ClassVar[sqlalchemy.Engine]
    url: ClassVar[str]
    numbers: ClassVar[Iterator[int]] = itertools.count()

    model: WaitingModel

    def __init__(self) -> None:
        """Begin with a ledger of its own."""
        super().__init__(WaitingModel())
        self.world = World(self.url, f"machine-{next(self.numbers)}")
        self.world.tick = timedelta()
        self.writers = [self.world.main, self.world.ledger()]
        self.turn = 0
        self.submissions = itertools.count()
        self.waiting = itertools.count()
        self.asked: list[Command] = []
        self.folded = Books()
        # The accounts as they stood at some positions, to be read again later.
        self.remembered: dict[int, dict[str, Account]] = {}

    def teardown(self) -> None:
        """Close every connection."""
        self.world.__exit__(None, None, None)

    def submit(self, batch: list[Command], mode: Mode, *, dry_run: bool) -> Answers:
        """Carry out by the writer whose turn it is, for a caller who was not refused before."""
        self.world.now = self.model.now
        submission = Submission(
            batch,
            f"key:{next(self.submissions)}",
            mode,
            self.model.person,
            self.model.permissions,
            dry_run,
        )
        [outcomes] = self.writers[self.turn].execute([submission])
        return [
            (item.error.code, 0) if item.error is not None else (item.status, item.position)
            for item in outcomes
        ]

    def state(self) -> Books:
        """The log folded, with its positions checked; the writer's memory agrees with it."""
        folded = self.folded
        for item in self.world.stored(folded.position):
            event = events.decode(item.type, item.version, item.data)
            if isinstance(event, JournalEntryPosted):
                require_balanced(event.postings)
            assert item.recorded_at >= folded.recorded_at
            folded.recorded_at = item.recorded_at
            assert folded.record(event) == item.position
        folded.settle()
        for ledger in self.writers:
            books = ledger._books  # noqa: SLF001 - the writer's memory is what is compared
            if books.position == folded.position:
                for name, account in books.accounts.items():
                    assert account == folded.accounts[name]
                for place, state in books.states.items():
                    # As it is stored: what was not loaded has tuples where JSON has lists.
                    assert kept.encode(state) == kept.encode(folded.states[place])
        return folded

    @rule(
        command=cast("st.SearchStrategy[ApprovableCommand]", movements),
        approvers=st.sampled_from([("ops",), ("ops", "risk"), ("risk", "risk")]),
        request_id=request_ids,
        dry_run=st.booleans(),
    )
    def ask(
        self,
        command: ApprovableCommand,
        approvers: tuple[str, ...],
        request_id: str,
        *,
        dry_run: bool,
    ) -> None:
        """A movement waits for others."""
        [wrapped] = self.keyed([command])
        number = next(self.waiting)
        waiting = cast("ApprovableCommand", with_field(wrapped, "key", f"ask-{number}"))
        request = RequestApproval(
            key=waiting.key, command=waiting, approvers=approvers, request_id=request_id
        )
        self.asked += [request, waiting]
        self._as("maker", request, dry_run=dry_run)

    @rule(
        kind=st.sampled_from([ApproveRequest] * 5 + [RejectRequest, WithdrawRequest]),
        request_id=request_ids,
        person=st.sampled_from(["bob", "cal", "dan", "maker"]),
    )
    def vote(self, kind: type[Any], request_id: str, person: str) -> None:
        """Somebody approves or rejects; the last approval carries the movement out."""
        self.asked.append(kind(key=f"vote-{next(self.waiting)}", request_id=request_id))
        self._as(person, self.asked[-1])

    @rule(command=orders)
    def order(self, command: CreateOrder | CancelOrder) -> None:
        """A transfer for every day, from some day on."""
        self.asked.append(with_field(command, "key", f"order-{next(self.waiting)}"))
        self._as("maker", self.asked[-1])

    @rule(order_id=order_ids, days=st.integers(1, 3))
    def run_orders(self, order_id: str, days: int) -> None:
        """Every day that is due by a date, and once more the last of them."""
        run = RunOrder(order_id=order_id, due_date=START.date(), business_date=START.date())
        for _ in range(days):
            order = self.model.orders.get(order_id)
            if order is not None:
                business_date = max(order.next_date, self.model.today)
                run = RunOrder(
                    order_id=order_id, due_date=order.next_date, business_date=business_date
                )
            self._as("ledger", run)
        self._as("ledger", run)

    @rule(pick=st.integers(0, 10_000), person=st.sampled_from(["bob", "maker"]))
    def repeat(self, pick: int, person: str) -> None:
        """A request, the command in it, a vote or an order of before, word for word."""
        if self.asked:
            self._as(person, self.asked[pick % len(self.asked)])

    def _as(self, person: str, command: Command, *, dry_run: bool = False) -> None:
        """One command by one person."""
        self.model.person, self.model.permissions = person, PERMISSIONS[person]
        expected = self.model.submit([command], "each", dry_run=dry_run)
        assert self.submit([command], "each", dry_run=dry_run) == expected
        self.model.person, self.model.permissions = "maker", frozenset()

    @rule()
    def change_writers(self) -> None:
        """The other writer goes on, and finds out what it missed."""
        self.turn = 1 - self.turn

    @rule()
    def restart(self) -> None:
        """A new process takes over from the snapshots and the log."""
        self.writers[self.turn].close()
        self.writers[self.turn] = self.world.ledger()

    @rule(limit=st.integers(1, 12))
    def advance(self, limit: int) -> None:
        """The projectors take in some of the events."""
        runner.advance(self.world.projector, self.world.ledger_id, limit=limit)

    @rule()
    def catch_up(self) -> None:
        """The projectors take in all events: what is stored is as the log says."""
        assert self.world.catch_up() == self.model.position
        where = (self.world.writer, self.world.ledger_id)
        folded = self.state()
        accounts = snapshots.load_accounts(*where, self.model.accounts)
        assert {account.terms.account_id: account for account in accounts} == folded.accounts
        assert dict(snapshots.load_kept(*where, list(folded.states))) == folded.states

    @rule(name=st.sampled_from(sorted(NAMES)))
    def rebuild(self, name: str) -> None:
        """A projection is rebuilt beside the live one and swapped."""
        report = runner.rebuild(self.world.projector, self.world.ledger_id, name)
        assert not report.differences

    @rule()
    def verify(self) -> None:
        """Every row of every view is what the fold of the whole log gives."""
        verdict = verify(self.world.projector, self.world.ledger_id)
        assert verdict.ok, verdict.findings

    @rule()
    def remember(self) -> None:
        """Note what every account is now."""
        self.remembered[self.model.position] = dict(self.state().accounts)

    @rule()
    def look_back(self) -> None:
        """The accounts at every position that was noted are as they were then."""
        self.world.catch_up()
        with self.engine.connect() as conn:
            for position, accounts in self.remembered.items():
                as_of = AsOf(position=position)
                reading = resolve(conn, self.world.ledger_id, as_of, *PROJECTIONS_READ)
                read = accounts_of_ids(conn, self.world.ledger_id, reading, list(accounts))
                assert {account.terms.account_id: account for account in read} == accounts

    @invariant()
    def identities_are_of_movements(self) -> None:
        """Each chosen id, reference and reversal stands once, at the position of its movement."""
        rows = self.world.writer.execute(
            "SELECT count(*), count(e.position) FROM ledger.identities i LEFT JOIN ledger.events e"
            " ON e.ledger_id = i.ledger_id AND e.position = i.position"
            " AND e.type IN ('JournalEntryPosted', 'HoldPlaced') WHERE i.ledger_id = %s",
            (self.world.ledger_id,),
        ).fetchone()
        assert rows is not None
        assert rows[0] == rows[1] == _identities(self)


def _identities(machine: PostgresMachine) -> int:
    """How many names the model's movements took."""
    chosen = sum(kind == "entry_exists" for kind, _ in machine.model.used)
    reversals = sum(entry.is_reversal for entry in machine.model.entries.values())
    return chosen + len(machine.model.references) + reversals


@pytest.mark.timeout(600)  # Time to make a failure small; a run that passes takes some seconds.
def test_the_ledger_does_what_the_model_says(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command, in every mode, on every mixture of memory, snapshots and log."""
    engine = database.engine(database_url, "ledger_reader")
    monkeypatch.setattr(PostgresMachine, "url", database_url, raising=False)
    monkeypatch.setattr(PostgresMachine, "engine", engine, raising=False)
    examples = settings.default.max_examples if settings.default is not None else 60
    try:
        run_state_machine_as_test(
            PostgresMachine, settings=settings(max_examples=examples // 2, stateful_step_count=40)
        )
    finally:
        engine.dispose()
