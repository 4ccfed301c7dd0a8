"""The one adapter: runs any case against this ledger through its public commands and queries.

It knows operations, not cases: neither numbers nor names. What is carried from one operation to the
next is in ``Adapter``: which currency, key, id, day and version a case's words stand for.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count, zip_longest
from typing import Any

from tests.conformance import compare, views
from tests.conformance.cases import Case, Json
from tests.conformance.chart import Chart
from tests.conformance.house import Desk, House, answer_of, moved_in, refusal_of
from tests.conformance.legs import every_leg
from tests.conformance.opening import Opening
from tests.conformance.projectors import PROJECTORS
from tests.conformance.seen import Answer, Counts, Seen, Vectors
from tests.conformance.times import calendar_of, hours_of, seconds_of
from tests.conformance.wires import Wire, is_command, key_of, limit_text, wire_of

WORKERS_MAX = 8
"""How many workers a case ever gets; it leaves their number to the ledger."""
BATCH = "/v1/batch"
# Where nothing but an allocation may overdraw a source, this says so to whoever reads the log.
_WIDENING = "as this allocation allows"


class Adapter:
    """One case on one fresh database."""

    def __init__(self, house: House, case: Case) -> None:
        """Know the case's accounts, units and hours before anything is done."""
        self.house = house
        self.case = case
        self.source = case.source
        self.chart = Chart(case)
        self.calendar = calendar_of(case, house.clock().date())
        self._is_dated = any([*hours_of(op)] for op in (case.period or {}, *views.all_ops(case)))
        self.desks: dict[str, Desk] = {
            name: house.desk(f"case-{at}") for at, name in enumerate(self.chart.ledgers or ("",))
        }
        self._serial = count(1)
        self.known_ids: dict[str, str] = {}
        self._first_of_key: dict[tuple[int, str], str | None] = {}
        self._first_at: dict[tuple[int, str], int] = {}
        self.version_offsets: dict[str, int] = {}
        self.setup_positions: dict[int, int] = {}
        # Every key that was sent for the case -> the operation's place, and the case's own id.
        self.sent: dict[str, tuple[tuple[int, ...], str | None]] = {}
        self._place: tuple[int, ...] = ()

    # The adapter as the ``Names`` that translations ask.

    def unit(self, op: Json, *accounts: str) -> str | None:
        """The currency that an operation means for these accounts."""
        return self.chart.asked_unit(op, accounts)

    def key(self, op: Json, scope: str) -> str:
        """The key that the operation names, else one made of its id, else a new one."""
        if op.get("key") is not None:
            return str(op["key"])
        if op.get("id") is not None:
            return key_of(scope, str(op["id"]))
        return f"case:{next(self._serial)}"

    def chosen(self, op: Json) -> str | None:
        """The id that the operation chooses.

        Where a key is given it is the command's identity, and the case's id only a label: a retry
        is the same command, so it says the id that the key's first use did.
        """
        place = (self.desk_of(op).ledger_id, str(op.get("key")))
        return self._first_of_key.get(place, op.get("id"))

    def known(self, label: str) -> str:
        """The ledger's id for what the case calls so."""
        return self.known_ids.get(label, label)

    def account(self, label: str, unit: object = None) -> str:
        """The ledger's id of an account."""
        return self.chart.account_in(label, unit)

    def value_date(self, op: Json) -> str | None:
        """The day of the operation's hour; a repetition means the hour of the first time."""
        if op.get("effective_h") is None and not (self._is_dated and self.house.clock.elapsed_s):
            return None
        place = (self.desk_of(op).ledger_id, self.key(op, "id"))
        elapsed_s = self._first_at.get(place, self.house.clock.elapsed_s)
        return self.calendar.day(elapsed_s, op.get("effective_h") or 0).isoformat()

    def version(self, account: str, version: Any) -> Any:  # noqa: ANN401 - a case may say anything
        """This ledger's version of an account, for the case's."""
        if not isinstance(version, int):
            return version
        return version + self.version_offsets.get(account, 0)

    # Running a case.

    def run(self) -> tuple[list[Seen], Vectors]:
        """Do the setup and then every operation: their answers, and the balances at the end."""
        Opening(self).do()
        results: list[Seen] = []
        for at, op in enumerate(self.case.ops):
            self._place = (at,)
            results.append(self.do(op))
        return results, views.vectors(self)

    def do(self, op: Json) -> Seen:
        """Do one operation."""
        name = op["op"]
        if is_command(op):
            return self._allocate(op) if name == "allocate" else self._send(op)
        if name in _OTHERS:
            return _OTHERS[name](self, op)
        if name in PROJECTORS:
            return PROJECTORS[name](self, op)
        if name in views.VIEWS:
            return views.VIEWS[name](self, op)
        msg = f"no such operation: {name}"
        raise ValueError(msg)

    def desk_of(self, op: Json) -> Desk:
        """The ledger that an operation is about."""
        if not self.chart.ledgers:
            return next(iter(self.desks.values()))
        if op.get("book") in self.desks:
            return self.desks[op["book"]]
        spoken = str(sorted((name, str(value)) for name, value in op.items()))
        for name, desk in self.desks.items():
            if f"'{name}:" in spoken:
                return desk
        return next(iter(self.desks.values()))

    def _send(self, op: Json, person: str | None = None) -> Answer:
        """Send one command, and remember what it made."""
        desk = self.desk_of(op)
        wire = wire_of(op, self)
        self._note_sent(wire)
        answer = desk.send(wire, person)
        self._remember(desk, op, wire, answer)
        return answer

    def _allocate(self, op: Json) -> Seen:
        """Split an amount; each source's overdraft is the account's limit meanwhile."""
        desk = self.desk_of(op)
        former = [self._widen(desk, leg) for leg in every_leg(op["sources"])]
        wire = wire_of(op, self)
        self._note_sent(wire)
        response = desk.send_raw(wire)
        answer = answer_of(response)
        for account, limit in (item for item in former if item is not None):
            self._set_limit(desk, account, limit)
        self._remember(desk, op, wire, answer)
        if answer.status == "refused":
            return answer
        return views.movements(response.json().get("postings", []))

    def _widen(self, desk: Desk, leg: Json) -> tuple[str, str | None] | None:
        """Allow a source the overdraft that the allocation names; the limit it had before."""
        account, overdraft = leg.get("account"), leg.get("overdraft")
        if account is None or overdraft is None:
            return None
        found = desk.get(f"/v1/accounts/{account}").json()
        if found.get("limit_minor") is None:
            return None
        self._set_limit(desk, account, limit_text(overdraft))
        return account, found["limit_minor"]

    def _set_limit(self, desk: Desk, account: str, limit: str | None) -> None:
        """Set an account's limit on the adapter's own account, not as an operation of the case."""
        body = {"account_id": account, "limit": limit, "reason": _WIDENING}
        self.must(desk, Wire("set_limit", body, f"adapter:{next(self._serial)}"))

    def must(self, desk: Desk, wire: Wire) -> Answer:
        """Send a command of the adapter's own, which has to succeed."""
        answer = desk.send(wire)
        assert answer.status in {"recorded", "unchanged", "replayed"}, f"{wire}: {answer}"
        return answer

    def own_key(self) -> str:
        """A key for a command of the adapter's own."""
        return f"adapter:{next(self._serial)}"

    def _note_sent(self, wire: Wire, *, item: int | None = None) -> None:
        """Remember for which operation of the case a key was sent."""
        place = self._place if item is None else (*self._place, item)
        self.sent.setdefault(wire.key, (place, wire.label))

    def _remember(self, desk: Desk, op: Json, wire: Wire, answer: Answer) -> None:
        """Learn from an answer which id a label stands for; a refused command leaves nothing."""
        if answer.status not in {"recorded", "replayed"}:
            return
        self._first_of_key.setdefault((desk.ledger_id, wire.key), op.get("id"))
        self._first_at.setdefault((desk.ledger_id, wire.key), self.house.clock.elapsed_s)
        place, label = self.sent[wire.key]
        if label is None and wire.label is not None:
            self.sent[wire.key] = (place, wire.label)
        is_of_hold = wire.type != "place_hold" and answer.detail == wire.body.get("hold_id")
        if wire.label is not None and answer.detail and not is_of_hold:
            self.known_ids[wire.label] = answer.detail
        if wire.type == "open_account":
            self.chart.keep(op["id"], wire.body["currency"])

    def batch(self, op: Json) -> Seen:
        """Several commands in one request, in order; what is no command is done on its own."""
        items = _repeated(op.get("items", []))
        if not all(is_command(item) for item in items):
            return self._one_by_one(items)
        wires: list[Wire] = []
        first_uses: list[tuple[int, str]] = []
        for at, item in enumerate(items):
            wire = wire_of(item, self)
            place = (self.desk_of(item).ledger_id, wire.key)
            if place not in self._first_of_key:
                first_uses.append(place)
                self._first_of_key[place] = item.get("id")
            self._note_sent(wire, item=None if _is_atomic(op) else at)
            wires.append(wire)
        mode = "stop_on_error" if op.get("stop_on_error") else "each"
        body: Json = {
            "mode": "atomic" if _is_atomic(op) else mode,
            "commands": [wire.item for wire in wires],
        }
        if op.get("parallel") and _is_atomic(op):
            body["parallel"] = True
        desk = self.desk_of(items[0] if items else op)
        response = desk.post(BATCH, body)
        document = response.json()
        for place in first_uses:  # Whether a key was really used is what the answers say.
            del self._first_of_key[place]
        if "results" not in document:
            return refusal_of(document)
        found: list[Answer] = []
        for item, wire, result in zip(items, wires, document["results"], strict=True):
            answer = _item_answer(desk, result)
            self._remember(desk, item, wire, answer)
            found.append(answer)
        return found

    def _one_by_one(self, items: list[Json]) -> list[Answer]:
        """Items that are not all commands, each as an operation of its own."""
        found: list[Answer] = []
        for item in items:
            answer = self.do(item)
            assert isinstance(answer, Answer), f"a batch of what is no command: {item}"
            found.append(answer)
        return found

    def concurrent(self, op: Json) -> Counts:
        """All items at once, from several workers; how often each answer was given."""
        # Every item's repetitions lie side by side with the others', so that they do meet.
        runs = [
            [{"op": "post", **item}] * int(item.get("repeat", 1)) for item in op.get("items", [])
        ]
        mixed = [item for turn in zip_longest(*runs) for item in turn if item is not None]
        workers = min(int(op.get("workers", WORKERS_MAX)), WORKERS_MAX)
        with ThreadPoolExecutor(workers) as pool:
            seen = list(pool.map(self.do, mixed))
        return Counts(dict(Counter(map(compare.word_of_all, seen))))

    def tick(self, op: Json) -> None:
        """Let time pass."""
        self.house.clock.elapsed_s += seconds_of(op)
        for desk in self.desks.values():
            desk.wake()

    def request(self, op: Json) -> Answer:
        """Ask for a command that others must approve."""
        command = wire_of(op["command"], self)
        self._note_sent(command)
        body = {
            "request_id": op["id"],
            "command": command.item,
            "approvers": list(op.get("needs", [])),
        }
        desk = self.desk_of(op["command"])
        wire = Wire("request_approval", body, command.key, op["id"])
        answer = desk.send(wire, person=op.get("maker"), has=op.get("has", ()))
        self._remember(desk, op, wire, answer)
        return answer

    def vote(self, op: Json) -> Answer:
        """Approve or reject what somebody asked for."""
        kind = {"approve": "approve_request", "reject": "reject_request"}.get(
            op["op"], "withdraw_request"
        )
        desk = next(iter(self.desks.values()))
        key = str(op.get("key") or f"case:{next(self._serial)}")
        wire = Wire(kind, {"request_id": self.known(op["of"])}, key)
        self._note_sent(wire)
        return desk.send(wire, person=op.get("by"), has=op.get("has", ()))

    def open_customer_account(self, op: Json) -> Answer:
        """Register the customer with what is known of who that is, and open an account for him."""
        desk = next(iter(self.desks.values()))
        customer, kyc = op["customer"], op.get("kyc")
        profile = {"name": "A. Customer"} | ({} if kyc is None else {"kyc_status": kyc})
        if desk.get(f"/v1/customers/{customer}").is_success:
            changes = {"customer_id": customer, "changes": {"kyc_status": kyc}, "reason": "case"}
            self.must(desk, Wire("change_profile", changes, self.own_key()))
        else:
            body = {"customer_id": customer, "profile": profile}
            self.must(desk, Wire("register_customer", body, self.own_key()))
        account = op.get("account", op.get("id", f"{customer}-account"))
        opening = {"account_id": account, "customer_id": customer, "currency": self.unit(op)}
        return desk.send(Wire("open_account", opening, self.own_key()))


_OTHERS: dict[str, Callable[[Adapter, Json], Seen]] = {
    "atomic": Adapter.batch,
    "batch": Adapter.batch,
    "concurrent": Adapter.concurrent,
    "tick": Adapter.tick,
    "request": Adapter.request,
    "approve": Adapter.vote,
    "reject": Adapter.vote,
    "withdraw": Adapter.vote,
    "open_customer_account": Adapter.open_customer_account,
}


def _is_atomic(op: Json) -> bool:
    """Whether all items of an operation belong together."""
    return op["op"] == "atomic" or bool(op.get("atomic"))


def _repeated(items: list[Json]) -> list[Json]:
    """Items, those with a ``repeat`` as often as it says."""
    return [item for item in items for _ in range(int(item.get("repeat", 1)))]


def _item_answer(desk: Desk, result: Json) -> Answer:
    """What became of one item of a batch; its amount is read from its event."""
    if result["status"] == "refused":
        return refusal_of(result["error"])
    amount = 0
    if result["status"] != "unchanged":
        moved = moved_in(desk.event(result["position"])["data"])
        return Answer(status=result["status"], amount=moved, detail=result.get("id") or "")
    return Answer(status=result["status"], amount=amount)
