"""The state that decisions are taken on: accounts, customers, units and identities, in memory.

``Books`` is the writer's working view of one ledger. It changes only by events: ``record`` for
those just decided, ``catch_up`` for those others appended. Everything that ``record`` changes can
be taken back to a savepoint, so that a refused atomic batch or a failed transaction leaves no
trace. It reads no database: the shell loads what the commands of a transaction ``Wants``.
"""

import heapq
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import msgspec

from ledger_core import accounts as account_rules
from ledger_core import kept as kept_states
from ledger_core.access_role import RoleEvent
from ledger_core.account_limits import LimitChangeScheduled
from ledger_core.accounts import Account, AccountEvent, AccountOpened, Movement
from ledger_core.approval_policies import ApprovalPolicySet
from ledger_core.approvals import ApprovalEvent
from ledger_core.bank_statements import BankStatementImported
from ledger_core.customers import (
    Customer,
    CustomerErased,
    CustomerEvent,
    CustomerProfileChanged,
    CustomerRegistered,
)
from ledger_core.errors import (
    AccountNotFound,
    CustomerErasedAlready,
    CustomerNotFound,
    EntryExists,
    EntryNotFound,
    ReferenceConflict,
)
from ledger_core.group import GroupCreated, GroupLimitSet
from ledger_core.journal import HoldEvent, HoldPlaced, HoldReleased, JournalEntryPosted, entry_id_at
from ledger_core.kept import Place, State
from ledger_core.period import PeriodEvent
from ledger_core.recent_keys import RecentKeys
from ledger_core.refusals import CommandRefused
from ledger_core.risk_rules import RiskRuleSet
from ledger_core.standing_order import OrderEvent
from ledger_core.template import TemplateEvent
from ledger_core.unchanged import NothingChanged
from ledger_core.units import UnitRegistered

Event = (
    JournalEntryPosted
    | HoldEvent
    | AccountEvent
    | LimitChangeScheduled
    | GroupCreated
    | GroupLimitSet
    | PeriodEvent
    | CustomerEvent
    | UnitRegistered
    | RiskRuleSet
    | BankStatementImported
    | NothingChanged
    | CommandRefused
    | OrderEvent
    | TemplateEvent
    | ApprovalPolicySet
    | ApprovalEvent
    | RoleEvent
)

# What does not fall due any more stays in the order of due times until it is that many.
_DUE_STALE_MAX = 1_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING = object()
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


@dataclass(slots=True)
class Wants:
    """What the commands of one transaction need to have loaded before they are decided."""

    accounts: set[str] = field(default_factory=set)
    customers: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)
    references: set[str] = field(default_factory=set)
    kept: set[Place] = field(default_factory=set)


class Caller(msgspec.Struct, frozen=True):
    """Who asks: the actor that events name, the person behind it, and what that person may do."""

    actor: str = "ledger"
    person: str = "ledger"
    permissions: frozenset[str] = frozenset()


NOBODY = Caller()


class EntryFacts(msgspec.Struct, frozen=True):
    """What a reversal must know of the entry it mirrors."""

    entry_id: str
    position: int
    recorded_at: datetime
    event: JournalEntryPosted
    is_reversed: bool


class Books:
    """One ledger's state after ``position`` events, the last recorded at ``recorded_at``."""

    __slots__ = (
        "_due_order",
        "_undo",
        "accounts",
        "caller",
        "customers",
        "due",
        "due_after",
        "due_known_until",
        "entries",
        "evict_again_at",
        "evicted_at",
        "has_groups",
        "packed",
        "position",
        "recent_keys",
        "recorded_at",
        "references",
        "residents",
        "states",
        "units",
    )

    def __init__(self) -> None:
        """Begin with an empty ledger."""
        self.position = 0
        self.recorded_at = _EPOCH
        self.accounts: dict[str, Account] = {}
        # Accounts that were not used lately, as ``loading`` packs them; none is in both.
        self.packed: dict[str, bytes] = {}
        # Whether any account in memory may be in a group, which is then needed too.
        self.has_groups = False
        self.customers: dict[str, Customer] = {}
        self.units: dict[str, int] = {}
        self.entries: dict[str, EntryFacts] = {}
        self.references: dict[str, int] = {}
        # Every kept state in memory, and when those among them fall due that ever do.
        self.states: dict[Place, State] = {}
        self.due: dict[Place, datetime] = {}
        # Those of the resident kinds once more, by kind.
        self.residents: dict[str, dict[str, State]] = {}
        # The stored states are in memory, or resolved since, that fall due before this time; the
        # last of them that was loaded, by its due time, kind and id.
        self.due_known_until = _EPOCH
        self.due_after: tuple[datetime, str, str] = (_EPOCH, "", "")
        self._due_order: list[tuple[datetime, Place]] = []
        # How much must be in memory before it is worth looking for what can be forgotten.
        self.evict_again_at = 0
        # The position at which something was forgotten last.
        self.evicted_at = 0
        # Which idempotency keys were used lately: see ``loading``.
        self.recent_keys = RecentKeys()
        self.caller = NOBODY
        # Any: one list for dictionaries of several types; ``_set`` ties each value to its own.
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    @property
    def today(self) -> date:
        """The booking date of what is decided now: the UTC date of its recording."""
        return self.recorded_at.date()

    @property
    def is_due_known(self) -> bool:
        """Whether everything that is due now is in memory."""
        return self.recorded_at < self.due_known_until

    @property
    def is_any_due(self) -> bool:
        """Whether there may be something that falls due at the present time of recording."""
        return bool(self._due_order) and self._due_order[0][0] <= self.recorded_at

    def account(self, account_id: str, *, field: str = "account_id") -> Account:
        """The account of that id.

        Raises:
            AccountNotFound: none; ``field`` says which field of the command named it.
        """
        account = self.accounts.get(account_id)
        if account is None:
            raise AccountNotFound(field=field)
        return account

    def customer(self, customer_id: str) -> Customer:
        """The customer of that id, with personal data still readable.

        Raises:
            CustomerNotFound: none.
            CustomerErasedAlready: the person was forgotten.
        """
        customer = self.customers.get(customer_id)
        if customer is None:
            raise CustomerNotFound(field="customer_id")
        if customer.erased:
            raise CustomerErasedAlready
        return customer

    def kept(self, kind: str, kept_id: str) -> State | None:
        """The kept state of that kind and id, or ``None``."""
        return self.states.get((kind, kept_id))

    def kept_of(self, kind: str) -> list[State]:
        """Every state of a resident kind, in the order of their ids."""
        return [state for _, state in sorted(self.residents.get(kind, {}).items())]

    def entry(self, entry_id: str, *, field: str) -> EntryFacts:
        """The journal entry of that id.

        Raises:
            EntryNotFound: none; ``field`` says which field of the command named it.
        """
        facts = self.entries.get(entry_id)
        if facts is None:
            raise EntryNotFound(field=field)
        return facts

    def require_free_identities(self, entry_id: str | None, reference: str | None) -> None:
        """No other entry has this id or this business reference.

        Raises:
            EntryExists: the id is taken, by an entry or a hold.
            ReferenceConflict: the reference is taken, with the position of its entry.
        """
        if entry_id is not None:
            taken = self.entries.get(entry_id) or self.kept("hold", entry_id)
            if taken is not None:
                raise EntryExists(position=taken.position)
        if reference is not None and reference in self.references:
            raise ReferenceConflict(position=self.references[reference])

    def record(self, event: Event) -> int:
        """Take in an event that was just decided; returns its position. Can be rolled back."""
        self.position = position = self.position + 1
        match event:
            case JournalEntryPosted():
                self._record_entry(event, position)
            case AccountOpened():
                account = account_rules.opened(event, position, self.recorded_at)
                self._set(self.accounts, account.terms.account_id, account)
            case CustomerRegistered():
                customer = Customer.registered(event, position)
                self._set(self.customers, customer.customer_id, customer)
            case (
                CustomerProfileChanged(customer_id=customer_id)
                | CustomerErased(customer_id=customer_id)
            ):
                customer = self.customers[customer_id]
                self._set(self.customers, customer_id, customer.evolve(event, position))
            case UnitRegistered(code=code, scale=scale):
                self._set(self.units, code, scale)
            case HoldPlaced() | HoldReleased():
                self._record_hold(event, position)
            case _:
                self._record_other(event, position)
        for keeper, kept_id in kept_states.touched(event, position):
            place = (keeper.kind, kept_id)
            state = keeper.evolve(self.states.get(place), event, position, self.recorded_at)
            self._set(self.states, place, state)
            if keeper.resident:
                self._set(self.residents.setdefault(keeper.kind, {}), kept_id, state)
            self._note_due(place, state)
        return position

    def _note_due(self, place: Place, state: State) -> None:
        """Remember when a state falls due, or that it does not any more."""
        due_at = kept_states.due_at(state)
        if due_at is not None:
            self._set(self.due, place, due_at)
            heapq.heappush(self._due_order, (due_at, place))
        elif place in self.due:
            self._undo.append((self.due, place, self.due.pop(place)))

    def _record_hold(self, event: HoldEvent, position: int) -> None:
        """Take in what a hold or its release does to both accounts."""
        for account_id in account_rules.accounts_of(event, position):
            after = account_rules.moved(self.accounts[account_id], event, position)
            self._set(self.accounts, account_id, after)
        if isinstance(event, HoldPlaced) and event.reference is not None:
            self._set(self.references, event.reference, position)

    def _record_other(self, event: Event, position: int) -> None:
        """Take in an event on one account's terms; others change what is kept, if anything."""
        if isinstance(event, AccountEvent) and not isinstance(event, AccountOpened):
            after = account_rules.evolve(self.accounts[event.account_id], event, position)
            self._set(self.accounts, event.account_id, after)
            self.has_groups = self.has_groups or bool(after.terms.groups)

    def _record_entry(self, event: JournalEntryPosted, position: int) -> None:
        """Take in an entry: the hot path."""
        accounts, undo = self.accounts, self._undo
        for posting in event.postings:
            account_id = posting.account_id
            before = accounts[account_id]
            undo.append((accounts, account_id, before))
            accounts[account_id] = account_rules.posted(before, posting, position)
        if event.hold_id is not None:
            for account_id, side, change_minor in account_rules.held_changes(event):
                after = account_rules.held(accounts[account_id], side, change_minor, position)
                self._set(accounts, account_id, after)
        entry_id = event.entry_id
        if entry_id is not None or event.reverses is not None or event.reference is not None:
            self._record_identities(event, position)

    def _record_identities(self, event: JournalEntryPosted, position: int) -> None:
        """Remember the names an entry took, for the rest of the transaction."""
        entry_id = entry_id_at(event, position)
        facts = EntryFacts(entry_id, position, self.recorded_at, event, is_reversed=False)
        self._set(self.entries, entry_id, facts)
        if event.reference is not None:
            self._set(self.references, event.reference, position)
        if event.reverses is not None and event.reverses in self.entries:
            original = self.entries[event.reverses]
            self._set(
                self.entries,
                event.reverses,
                msgspec.structs.replace(original, is_reversed=True),
            )

    def catch_up(self, event: Event, position: int, recorded_at: datetime) -> None:
        """Take in an event that another writer appended.

        What it touches was loaded before; whatever already counts the event (a snapshot may be
        newer) is left as it is. Cannot be rolled back: the event is in the log.
        """
        self.position = position
        self.recorded_at = recorded_at
        match event:
            case AccountOpened():
                account = account_rules.opened(event, position, recorded_at)
                self.accounts.setdefault(account.terms.account_id, account)
            case JournalEntryPosted() | HoldPlaced() | HoldReleased():
                for account_id in account_rules.accounts_of(event, position):
                    self._catch_up_account(account_id, event, position)
            case CustomerRegistered():
                customer = Customer.registered(event, position)
                self.customers.setdefault(customer.customer_id, customer)
            case (
                CustomerProfileChanged(customer_id=customer_id)
                | CustomerErased(customer_id=customer_id)
            ):
                customer = self.customers[customer_id]
                if customer.last_position < position:
                    self.customers[customer_id] = customer.evolve(event, position)
            case UnitRegistered(code=code, scale=scale):
                self.units[code] = scale
            case _:
                if isinstance(event, AccountEvent):
                    self._catch_up_account(event.account_id, event, position)
        self._catch_up_kept(event, position)

    def _catch_up_kept(self, event: Event, position: int) -> None:
        """Bring kept states up to an event, unless their snapshots count it already."""
        for keeper, kept_id in kept_states.touched(event, position):
            place = (keeper.kind, kept_id)
            state = self.states.get(place)
            if state is None or state.last_position < position:
                self.keep(place, keeper.evolve(state, event, position, self.recorded_at))

    def hold(self, account: Account) -> None:
        """Have an account in memory as the log or its snapshot has it. Cannot be rolled back."""
        self.accounts[account.terms.account_id] = account
        self.has_groups = self.has_groups or bool(account.terms.groups)

    def keep(self, place: Place, state: State) -> None:
        """Hold a state in memory as the log or its snapshot has it. Cannot be rolled back."""
        self.states[place] = state
        if kept_states.KEEPERS[place[0]].resident:
            self.residents.setdefault(place[0], {})[place[1]] = state
        due_at = kept_states.due_at(state)
        if due_at is not None:
            self.due[place] = due_at
            heapq.heappush(self._due_order, (due_at, place))
        else:
            self.due.pop(place, None)

    def next_due(self) -> list[Place]:
        """What falls due at the present time of recording or before, earliest first.

        To be asked when nothing is under way that could be rolled back.
        """
        order, due = self._due_order, self.due
        found: list[Place] = []
        while order and order[0][0] <= self.recorded_at:
            moment, place = heapq.heappop(order)
            if due.get(place) == moment and place not in found[-1:]:
                found.append(place)
        return found

    def _catch_up_account(
        self, account_id: str, event: Movement | AccountEvent, position: int
    ) -> None:
        """Bring one account up to an event, unless its snapshot counts it already."""
        account = self.accounts[account_id]
        if account.last_position >= position:
            return
        if isinstance(event, JournalEntryPosted | HoldPlaced | HoldReleased):
            account = account_rules.moved(account, event, position)
        else:
            account = account_rules.evolve(account, event, position)
        self.hold(account)

    def savepoint(self) -> tuple[int, int]:
        """A mark that ``rollback`` can return to."""
        return len(self._undo), self.position

    def rollback(self, savepoint: tuple[int, int]) -> None:
        """Take back everything recorded since the mark."""
        length, self.position = savepoint
        undo = self._undo
        while len(undo) > length:
            values, name, before = undo.pop()
            if before is _MISSING:
                del values[name]
            else:
                values[name] = before

    def note_accounts(self, *account_ids: str) -> None:
        """Remember accounts as they are, for a rollback: they are about to be changed."""
        self._undo += ((self.accounts, name, self.accounts[name]) for name in account_ids)

    def settle(self) -> None:
        """The transaction is durable: what it recorded can no longer be taken back."""
        self._undo.clear()
        self.entries.clear()
        self.references.clear()
        if len(self._due_order) > 2 * len(self.due) + _DUE_STALE_MAX:
            # Most of it has not waited: a hold is resolved long before it would expire.
            self._due_order = sorted((due_at, place) for place, due_at in self.due.items())

    def _set(self, values: dict[_Name, _Value], name: _Name, value: _Value) -> None:
        """Set one value, remembering the one before."""
        self._undo.append((values, name, values.get(name, _MISSING)))
        values[name] = value
