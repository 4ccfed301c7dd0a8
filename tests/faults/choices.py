"""What clients ask for, drawn from a seed: commands of every kind on few accounts.

Knows what exists only from what was asked for and answered; whether an answer is right is not its
business.
"""

import random
import threading
import time
from typing import Any

from tests.faults.history import Attempt, items_of

EUR = [f"eur-{number}" for number in range(10)]
# Only here do things happen by themselves (holds expire), and only here are there ceilings: what a
# history says of all other accounts can be judged without knowing the ledger's clock.
TIMED = EUR[-2:]
USD = [f"usd-{number}" for number in range(4)]
CUSTOMERS = [f"cus-{number}" for number in range(5)]
CAUSES = ("court order", "compliance", "lost card")
SEGMENTS = ("retail", "private", "business")

# What is drawn, and how often.
_WEIGHTS = {
    "transfer": 34,
    "place_hold": 12,
    "capture_hold": 9,
    "void_hold": 6,
    "deposit": 4,
    "withdraw": 4,
    "post_entry": 6,
    "reverse_entry": 3,
    "batch": 9,
    "freeze_account": 2,
    "unfreeze_account": 6,
    "set_limit": 4,
    "register_customer": 1,
    "change_profile": 3,
    "open_account": 2,
}
_MOVEMENTS = ("transfer", "place_hold", "deposit", "withdraw")
# Holds that somebody may still want to capture: the last ones, so that several meet at one.
_HOLDS_MAX = 24
_BLOCKS_MAX = 4
_EARLIER_MAX = 300
_BATCH_MAX = 12
_LARGE_BATCH = 120


class World:
    """What the clients know between them. Safe for use by many threads."""

    def __init__(self) -> None:
        """What ``opening`` opens is there."""
        self._lock = threading.Lock()
        self._accounts = {"EUR": list(EUR), "USD": list(USD)}
        self._holds: list[str] = []
        self._entries: list[str] = []
        self._blocks: list[tuple[str, str]] = []
        self._acknowledged: list[Attempt] = []
        self._versions: dict[str, int] = {}
        self._position = 0

    def accounts(self, currency: str | None = None) -> list[str]:
        """The accounts of a currency, or all."""
        with self._lock:
            if currency is not None:
                return list(self._accounts[currency])
            return [name for names in self._accounts.values() for name in names]

    def add_account(self, account_id: str, currency: str) -> None:
        """Somebody opened an account."""
        with self._lock:
            self._accounts[currency].append(account_id)

    def holds(self) -> list[str]:
        """Holds of which some may still be open."""
        with self._lock:
            return list(self._holds)

    def blocks(self) -> list[tuple[str, str]]:
        """Accounts that were blocked, each with the cause; some may have been lifted since."""
        with self._lock:
            return list(self._blocks)

    def entries(self) -> list[str]:
        """Entries that were acknowledged."""
        with self._lock:
            return list(self._entries)

    def acknowledged(self) -> list[Attempt]:
        """Commands that were acknowledged."""
        with self._lock:
            return list(self._acknowledged)

    def version(self, account_id: str) -> int | None:
        """The version in which somebody saw an account last; it may have another by now."""
        with self._lock:
            return self._versions.get(account_id)

    @property
    def position(self) -> int:
        """The highest position that anybody was told."""
        return self._position

    def note(self, attempt: Attempt) -> None:
        """Take an answer in."""
        answer = attempt.answer or {}
        with self._lock:
            for item in items_of(attempt):
                self._position = max(self._position, item.position or 0)
                if item.status == "refused":
                    continue
                if item.operation == "place_hold":
                    self._holds = [*self._holds, item.command["hold_id"]][-_HOLDS_MAX:]
                elif item.operation == "freeze_account":
                    block = (item.command["account_id"], item.command["cause"])
                    self._blocks = [*self._blocks, block][-_BLOCKS_MAX:]
                elif item.operation in {"transfer", "deposit"} and "entry_id" in answer:
                    self._entries = [*self._entries, str(answer["entry_id"])][-_HOLDS_MAX:]
            if attempt.is_acknowledged and "account_id" in attempt.command and attempt.is_read:
                self._versions[attempt.command["account_id"]] = int(answer["version"])
            if attempt.is_acknowledged and not attempt.is_read:
                self._acknowledged = [*self._acknowledged, attempt][-_EARLIER_MAX:]


class Choices:
    """One client's choices."""

    def __init__(self, choose: random.Random, world: World, prefix: str) -> None:
        """Keys and ids begin with the prefix."""
        self._choose = choose
        self._world = world
        self._prefix = prefix
        self._number = 0
        self._drawers = {name: getattr(self, f"_{name}") for name in _WEIGHTS}

    def new_key(self) -> str:
        """A key that nobody used; three of four sort by time, as UUIDs of version 7 do.

        With such keys alone a writer that was alone appends without the lock (``recent_keys``).
        """
        self._number += 1
        name = f"{self._prefix}-{self._number}"
        if self._number % 4 == 0:
            return name
        digits = f"{int(time.time() * 1_000):012x}"
        return f"{digits[:8]}-{digits[8:]}-{name}"

    def command(self) -> tuple[str, dict[str, Any]]:
        """The next command: its type and fields."""
        kind = self._choose.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        return kind, self._drawers[kind]()

    def movement(self) -> tuple[str, dict[str, Any]]:
        """A command that moves or reserves an amount."""
        kind = self._choose.choice(_MOVEMENTS)
        return kind, self._drawers[kind]()

    def keyed(self, operation: str, command: dict[str, Any], key: str) -> dict[str, Any]:
        """The command; the items of a batch get keys of their own."""
        if operation != "batch":
            return command
        items = [
            {"key": f"{key}/{index}", **item} for index, item in enumerate(command["commands"])
        ]
        return {**command, "commands": items}

    def read(self) -> tuple[str, dict[str, Any]]:
        """A balance or an account; most with a position that it must reflect at least."""
        kind = self._choose.choices(("read_balance", "read_account", "read_customer"), (6, 2, 1))[0]
        asked: dict[str, Any] = {"account_id": self._account()}
        if kind == "read_customer":
            asked = {"customer_id": self._choose.choice(CUSTOMERS)}
        position = self._world.position
        if position and self._choose.random() < 0.7:
            asked["min_position"] = position
        return kind, asked

    def earlier(self, choose: random.Random) -> Attempt | None:
        """Something that was acknowledged."""
        acknowledged = self._world.acknowledged()
        return choose.choice(acknowledged) if acknowledged else None

    def earlier_movement(self) -> Attempt | None:
        """A movement that was acknowledged."""
        found = [item for item in self._world.acknowledged() if item.operation in _MOVEMENTS]
        return self._choose.choice(found) if found else None

    def note(self, attempt: Attempt) -> None:
        """Take an answer in."""
        self._world.note(attempt)

    def _account(self, currency: str = "EUR") -> str:
        names = self._world.accounts(currency if self._choose.random() < 0.8 else None)
        return self._choose.choice(names)

    def _pair(self) -> tuple[str, str, str]:
        """Two accounts and the currency; now and then one that does not fit them."""
        currency = "EUR" if self._choose.random() < 0.85 else "USD"
        debit, credit = self._choose.sample(self._world.accounts(currency), 2)
        if self._choose.random() < 0.02:
            currency = "USD" if currency == "EUR" else "EUR"
        return debit, credit, currency

    def _amount(self) -> str:
        """Mostly small; now and then more than anybody has."""
        if self._choose.random() < 0.06:
            return str(self._choose.randint(100_000, 900_000))
        return str(self._choose.randint(1, 3_000))

    def _between(self) -> dict[str, Any]:
        debit, credit, currency = self._pair()
        return {
            "debit_account_id": debit,
            "credit_account_id": credit,
            "amount": self._amount(),
            "currency": currency,
        }

    def _transfer(self) -> dict[str, Any]:
        command = self._between()
        if self._choose.random() < 0.15:
            self._number += 1
            command["entry_id"] = f"ent-{self._prefix}-{self._number}"
        if self._choose.random() < 0.1:
            # Few references, so that different commands want the same.
            command["reference"] = f"ref-{self._choose.randrange(200)}"
        account_id = command["debit_account_id"]
        version = self._world.version(account_id)
        if version is not None and self._choose.random() < 0.2:
            # Most such conditions fail, and then the answer says what the writer took to be so.
            command["if_version"] = {account_id: version}
        return command

    def _place_hold(self) -> dict[str, Any]:
        self._number += 1
        hold_id = f"hold-{self._prefix}-{self._number}"
        command = {**self._between(), "hold_id": hold_id}
        if self._choose.random() < 0.25:
            debit, credit = self._choose.sample(TIMED, 2)
            command |= {"debit_account_id": debit, "credit_account_id": credit, "currency": "EUR"}
            command["timeout_s"] = self._choose.randint(1, 3)
        if self._choose.random() < 0.4:
            command["multi_capture"] = True
        return command

    def _hold(self) -> str:
        return self._choose.choice(self._world.holds() or ["hold-of-nobody"])

    def _capture_hold(self) -> dict[str, Any]:
        command: dict[str, Any] = {"hold_id": self._hold()}
        if self._choose.random() < 0.6:
            command["amount"] = str(self._choose.randint(1, 1_200))
        return command

    def _void_hold(self) -> dict[str, Any]:
        return {"hold_id": self._hold()}

    def _deposit(self) -> dict[str, Any]:
        return self._over_the_counter()

    def _withdraw(self) -> dict[str, Any]:
        return self._over_the_counter()

    def _over_the_counter(self) -> dict[str, Any]:
        account_id = self._choose.choice(EUR)
        return {"account_id": account_id, "amount": self._amount(), "currency": "EUR"}

    def _post_entry(self) -> dict[str, Any]:
        """Three to six legs; half of them in two currencies, each balanced."""
        legs = self._legs("EUR")
        if self._choose.random() < 0.5:
            legs += self._legs("USD")
        return {"postings": legs}

    def _legs(self, currency: str) -> list[dict[str, Any]]:
        names = self._choose.sample(self._world.accounts(currency), 3)
        first, second = self._choose.randint(1, 900), self._choose.randint(1, 900)
        side, other = self._choose.sample(("debit", "credit"), 2)
        amounts = ((names[0], side, first + second), (names[1], other, first))
        return [
            {"account_id": name, "side": at, "amount": str(amount), "currency": currency}
            for name, at, amount in (*amounts, (names[2], other, second))
        ]

    def _reverse_entry(self) -> dict[str, Any]:
        return {"reverses": self._choose.choice(self._world.entries() or ["ent-of-nobody"])}

    def _batch(self) -> dict[str, Any]:
        mode = self._choose.choice(("each", "stop_on_error", "atomic", "atomic"))
        size = self._choose.randint(2, _BATCH_MAX)
        if self._choose.random() < 0.08:
            size = _LARGE_BATCH
        kinds = self._choose.choices(("transfer", "place_hold", "post_entry"), (8, 1, 1), k=size)
        items = [{"type": kind, **self._drawers[kind]()} for kind in kinds]
        if self._choose.random() < 0.3:
            # In a currency that is not the accounts': what was decided before it, in vain if all
            # or nothing is to be, must be forgotten.
            wrong = self._between()
            wrong["currency"] = "USD" if wrong["currency"] == "EUR" else "EUR"
            items.insert(self._choose.randint(1, size), {"type": "transfer", **wrong})
        return {"mode": mode, "commands": items}

    def _freeze_account(self) -> dict[str, Any]:
        return {
            "account_id": self._account(),
            "cause": self._choose.choice(CAUSES),
            "effect": self._choose.choice(("debit", "credit", "full")),
        }

    def _unfreeze_account(self) -> dict[str, Any]:
        blocks = self._world.blocks() or [(self._account(), CAUSES[0])]
        account_id, cause = self._choose.choice(blocks)
        return {"account_id": account_id, "cause": cause}

    def _set_limit(self) -> dict[str, Any]:
        account_id = self._account()
        limit = str(self._choose.choice((0, 500, 5_000, 20_000, -1_000)))
        command: dict[str, Any] = {"account_id": account_id, "limit": limit}
        if account_id in TIMED:
            command["ceiling"] = self._choose.choice((None, "60000", "200000"))
        return command

    def _register_customer(self) -> dict[str, Any]:
        self._number += 1
        name = f"{self._prefix}-{self._number}"
        profile = {"name": f"Person {name}", "segment": self._choose.choice(SEGMENTS)}
        return {"customer_id": f"cus-{name}", "profile": profile}

    def _change_profile(self) -> dict[str, Any]:
        changes = {
            "email": f"mail-{self._choose.randrange(9999)}@example.org",
            "segment": self._choose.choice(SEGMENTS),
        }
        return {
            "customer_id": self._choose.choice(CUSTOMERS),
            "changes": changes,
            "reason": "asked for by the customer",
        }

    def _open_account(self) -> dict[str, Any]:
        self._number += 1
        account_id = f"own-{self._prefix}-{self._number}"
        currency = self._choose.choice(("EUR", "EUR", "USD"))
        self._world.add_account(account_id, currency)
        return {"account_id": account_id, "currency": currency, "limit": "2000"}


def opening(seed: int) -> list[list[dict[str, Any]]]:
    """The batches that come first: customers and accounts with limits, then money for each."""
    choose = random.Random(f"{seed}/opening")
    customers = [
        {
            "type": "register_customer",
            "customer_id": name,
            "profile": {"name": f"Person {name}", "segment": choose.choice(SEGMENTS)},
        }
        for name in CUSTOMERS
    ]
    accounts: list[dict[str, Any]] = []
    deposits: list[dict[str, Any]] = []
    for name in (*EUR, *USD):
        currency = name[:3].upper()
        account = {
            "type": "open_account",
            "account_id": name,
            "currency": currency,
            "limit": choose.choice(("0", "0", "5000", "20000", None)),
        }
        if name in TIMED:
            account["ceiling"] = "60000"
        accounts.append(account)
        deposits.append(
            {
                "type": "deposit",
                "account_id": name,
                "amount": str(choose.randint(5_000, 40_000)),
                "currency": currency,
            }
        )
    return [
        [{"key": f"{seed}-open-{batch}/{index}", **item} for index, item in enumerate(commands)]
        for batch, commands in enumerate((customers, accounts, deposits))
    ]
