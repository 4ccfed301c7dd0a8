"""What is there before a case starts: units, accounts, balances, blocks, a closed period."""

from typing import TYPE_CHECKING

from tests.conformance import vocabulary
from tests.conformance.cases import Json
from tests.conformance.house import Desk
from tests.conformance.views import helper_of
from tests.conformance.wires import Wire, wire_of

if TYPE_CHECKING:
    from tests.conformance.adapter import Adapter


class Opening:
    """Brings about what a case begins with, by ordinary commands of the adapter's own."""

    def __init__(self, adapter: "Adapter") -> None:
        """Prepare for one case."""
        self._adapter = adapter
        self._case, self._chart = adapter.case, adapter.chart
        self._helpers: set[tuple[int, str]] = set()

    def do(self) -> None:
        """Bring it about by ordinary commands."""
        adapter = self._adapter
        for desk in adapter.desks.values():
            for code, scale in self._chart.scales.items():
                self._must(desk, "register_unit", {"code": code, "scale": scale})
        accounts = self._case.accounts
        for account, terms in {**accounts, **self._chart.opened_unasked}.items():
            self._open(account, terms)
        for account, terms in accounts.items():
            self._balance(account, terms)
        for account, terms in accounts.items():
            self._restrict(account, terms)
        if self._case.period is not None:
            self._close(self._case.period)
        for desk in adapter.desks.values():
            adapter.setup_positions[desk.ledger_id] = desk.get("/v1/events", limit=1).json()[
                "position"
            ]
            for found in desk.listed("/v1/accounts", "accounts"):
                base = accounts.get(found["account_id"], {}).get("version") or 0
                adapter.version_offsets[found["account_id"]] = found["version"] - base

    def _open(self, account: str, terms: Json) -> None:
        """Open one account."""
        body = {"account_id": account, "currency": self._chart.unit_of(account)}
        wire = wire_of({"op": "open", "id": account} | _without(terms, "balance"), self._adapter)
        self._must(self._desk(account), "open_account", wire.body | body)

    def _balance(self, account: str, terms: Json) -> None:
        """Bring the balance about: what makes it grow, then what takes from it, then holds."""
        if not terms.get("balance"):
            return
        held_out, debits, held_in, credits_ = vocabulary.figures(terms["balance"])
        helper = self._helper(account)
        out, into = (account, helper), (helper, account)
        movements = [("transfer", into, credits_), ("transfer", out, debits)]
        if terms.get("limit") == "credits<=debits":
            movements.reverse()
        movements += [("place_hold", out, held_out), ("place_hold", into, held_in)]
        for kind, (debit, credit), amount in movements:
            if amount:
                body = {
                    "debit_account_id": debit,
                    "credit_account_id": credit,
                    "amount": str(amount),
                    "currency": self._chart.unit_of(account),
                }
                # A case may begin beyond a limit: those entries then say that they skip it.
                wire = Wire(kind, body, self._adapter.own_key())
                if self._desk(account).send(wire).status == "refused":
                    self._must(self._desk(account), kind, body | {"force": True})

    def _helper(self, account: str) -> str:
        """The account that openings go against, in that account's currency."""
        desk, unit = self._desk(account), self._chart.unit_of(account)
        helper = helper_of(unit)
        if (desk.ledger_id, unit) not in self._helpers:
            self._helpers.add((desk.ledger_id, unit))
            body = {"account_id": helper, "currency": unit, "limit": None}
            self._must(desk, "open_account", body)
        return helper

    def _restrict(self, account: str, terms: Json) -> None:
        """Block what the case says may not be done with an account."""
        desk = self._desk(account)
        sides = (("may_send", "debit"), ("may_receive", "credit"))
        effects = [effect for name, effect in sides if terms.get(name) is False]
        effects += ["full"] if terms.get("frozen") else []
        for effect in effects:
            body = {"account_id": account, "cause": "setup", "effect": effect}
            self._must(desk, "freeze_account", body)
        if terms.get("closed") or terms.get("status") == "closed":
            self._must(desk, "close_account", {"account_id": account})

    def _close(self, period: Json) -> None:
        """Close the ledger up to an hour; late entries are refused unless it says otherwise."""
        through = self._adapter.calendar.day(0, period["closed_through_h"])
        body: Json = {"through": through.isoformat()}
        if period.get("late_posting") is not None:
            body["late_posting"] = period["late_posting"]
        for desk in self._adapter.desks.values():
            self._must(desk, "close_period", body)

    def _desk(self, account: str) -> Desk:
        """The ledger that an account is in."""
        return self._adapter.desk_of({"account": account})

    def _must(self, desk: Desk, kind: str, body: Json) -> None:
        """Send a command that has to succeed."""
        self._adapter.must(desk, Wire(kind, body, self._adapter.own_key()))


def _without(terms: Json, *names: str) -> Json:
    """Terms without some of them."""
    return {name: value for name, value in terms.items() if name not in names}
