"""What happens next, drawn at random: clients, time, faults and whose turn it is.

Every world draws its own habits first: one is all retries, another all crashes. Faults that are
rare everywhere meet each other nowhere.
"""

from random import Random  # noqa: TID251 - all that is drawn comes from the seed

from tests.simulation.script import Step
from tests.simulation.world import Setting, World

from ledger_core.account_limits import SetLimit
from ledger_core.account_terms import OpenAccount
from ledger_core.blocks import FreezeAccount, UnfreezeAccount
from ledger_core.commands import Command
from ledger_core.deposits import Deposit, Withdraw
from ledger_core.holds import CaptureHold, PlaceHold, VoidHold
from ledger_core.ledger import Mode, Submission
from ledger_core.transfers import Transfer

EURO = ("A", "B", "C")
YEN = ("J", "K")
MODES: tuple[Mode, ...] = ("each", "stop_on_error", "atomic")
UNANSWERED_MAX = 12
OPENING = (
    OpenAccount(key="open-a", account_id="A", currency="EUR"),
    OpenAccount(key="open-b", account_id="B", currency="EUR", limit="50"),
    OpenAccount(key="open-c", account_id="C", currency="EUR"),
    OpenAccount(key="open-j", account_id="J", currency="JPY", limit="500"),
    OpenAccount(key="open-k", account_id="K", currency="JPY"),
    Deposit(key="first-a", account_id="A", amount="500", currency="EUR"),
    Deposit(key="first-j", account_id="J", amount="500", currency="JPY"),
)


class Workload:
    """Draws steps for one world."""

    def __init__(self, choose: Random) -> None:
        """Draw the world's habits."""
        self._choose = choose
        self._keys = 0
        self._sent = 0
        self._holds = 0
        self.setting = Setting(
            servers=choose.choice((1, 2, 2)),
            projectors=choose.choice((0, 1, 1, 2)),
            small=0,
        )
        if self.setting.projectors:
            small = choose.choice((0, 1))
            self.setting = Setting(self.setting.servers, self.setting.projectors, small)
        self._faults = choose.choice((0.0, 0.005, 0.02, 0.06))
        self._retries = choose.choice((0.02, 0.1, 0.5))
        self._sends = choose.choice((0.03, 0.1, 0.2))
        self._clocks = choose.choice((0.005, 0.02, 0.05))
        self._projecting = choose.choice((0.02, 0.1, 0.3))
        self._plain = choose.choice((0.5, 0.9))
        self._timed_keys = choose.choice((0.0, 0.5, 1.0))
        self._batches = choose.choice((0.0, 0.2, 0.6))
        kinds = [
            self._cut,
            self._cut,
            self._orphan,
            self._late,
            self._late,
            self._time_out,
            self._kill,
            self._start,
            self._start,
            self._stop,
            self._down,
            self._up,
            self._up,
        ]
        self._strikes = [kind for kind in kinds if choose.random() < 0.7] or kinds
        if self._down in self._strikes:
            self._strikes += [self._up, self._up]
        if self._kill in self._strikes or self._stop in self._strikes:
            self._strikes += [self._start, self._start]
        if self._orphan in self._strikes:
            self._strikes += [self._late, self._late]

    def script(self) -> dict[str, int]:
        """The setting, as a script has it."""
        setting = self.setting
        return {
            "servers": setting.servers,
            "projectors": setting.projectors,
            "small": setting.small,
        }

    def opening(self) -> Step:
        """The first step: accounts, and some money."""
        return ("send", "opening", "server-0", Submission(OPENING, "client", "atomic"))

    def next(self, world: World) -> Step:
        """What happens next."""
        choose = self._choose
        drawn = choose.random()
        if drawn < self._faults:
            return choose.choice(self._strikes)(world)
        drawn -= self._faults
        if drawn < self._sends:
            return self._send_some(world)
        drawn -= self._sends
        if drawn < self._clocks:
            return self._time(world)
        ready = world.hub.ready()
        if not ready:
            return self._send_some(world)
        writers = [task for task in ready if not task.name.startswith("projector")]
        if writers and (len(writers) == len(ready) or choose.random() > self._projecting):
            ready = writers
        return ("run", ready[int(choose.random() * len(ready))].name)

    def _server(self) -> str:
        """One of the servers."""
        return f"server-{int(self._choose.random() * self.setting.servers)}"

    def _process(self) -> str:
        """A server or a projector."""
        number = int(self._choose.random() * (self.setting.servers + self.setting.projectors))
        if number < self.setting.servers:
            return f"server-{number}"
        return f"projector-{number - self.setting.servers}"

    def _task(self) -> str:
        """The task of one of these."""
        return self._process().replace("server", "writer")

    def _cut(self, _: World) -> Step:
        return ("cut", self._task())

    def _orphan(self, _: World) -> Step:
        return ("orphan", self._task())

    def _late(self, _: World) -> Step:
        return ("late",)

    def _time_out(self, _: World) -> Step:
        return ("timeout", self._task())

    def _kill(self, _: World) -> Step:
        return ("kill", self._process())

    def _start(self, world: World) -> Step:
        dead = [item.name for item in world.processes.values() if item.is_dead]
        return ("start", self._choose.choice(dead or ["server-0"]))

    def _stop(self, _: World) -> Step:
        return ("stop", self._server())

    def _down(self, _: World) -> Step:
        return ("down",)

    def _up(self, _: World) -> Step:
        return ("up",)

    def _time(self, _: World) -> Step:
        """Time passes; rarely it jumps, or one server's clock is wrong."""
        choose = self._choose
        drawn = choose.random()
        if drawn < 0.1:
            return ("skew", self._server(), choose.choice((-30, 0, 0, 1, 30)))
        if drawn < 0.2:
            return ("clock", choose.choice((-60, -5, 600, 86_400)))
        return ("clock", choose.choice((0.001, 0.1, 1, 5)))

    def _send_some(self, world: World) -> Step:
        """A new request; or one of before, whether it was answered or not."""
        choose = self._choose
        waiting = [item for item in world.requests.values() if not item.is_answered]
        if world.requests and choose.random() < self._retries:
            names = [item.name for item in waiting] or list(world.requests)
            return ("again", choose.choice(names), self._server())
        if len(waiting) >= UNANSWERED_MAX:
            return ("again", choose.choice(waiting).name, self._server())
        self._sent += 1
        count = 1
        if choose.random() < self._batches:
            count = choose.randint(2, 6)
        commands = tuple(self._command(world) for _ in range(count))
        mode: Mode = "each" if count == 1 else choose.choice(MODES)
        dry_run = choose.random() < 0.02
        submission = Submission(commands, "client", mode, dry_run=dry_run)
        return ("send", f"r{self._sent}", self._server(), submission)

    def _key(self, world: World) -> str:
        """A new key: ordered by time (UUID version 7), or not; hardly ever one of before."""
        self._keys += 1
        if self._choose.random() < self._timed_keys:
            digits = f"{int(world.now.timestamp() * 1_000):012x}"
            return f"{digits[:8]}-{digits[8:]}-7000-8000-{self._keys:012x}"
        return f"k{self._keys}"

    def _command(self, world: World) -> Command:
        """One command."""
        choose = self._choose
        key = self._key(world)
        names, currency = (EURO, "EUR") if choose.random() < 0.8 else (YEN, "JPY")
        debit, credit = choose.sample(names, 2)
        amount = str(choose.choice((1, 5, 20, 100)))
        if choose.random() < self._plain:
            return Transfer(
                key=key,
                debit_account_id=debit,
                credit_account_id=credit,
                amount=amount,
                currency=currency,
            )
        return self._special(key, debit, credit, amount, currency)

    def _special(  # noqa: PLR0911 - one of each kind
        self, key: str, debit: str, credit: str, amount: str, currency: str
    ) -> Command:
        """A command that is no plain transfer."""
        choose = self._choose
        hold_id = f"H{choose.randint(max(0, self._holds - 4), self._holds)}"
        match choose.randint(0, 9):
            case 0:
                return Deposit(key=key, account_id=debit, amount=amount, currency=currency)
            case 1:
                return Withdraw(key=key, account_id=debit, amount=amount, currency=currency)
            case 2 | 3 | 4:
                self._holds += 1
                return PlaceHold(
                    key=key,
                    debit_account_id=debit,
                    credit_account_id=credit,
                    amount=amount,
                    currency=currency,
                    hold_id=f"H{self._holds}",
                    timeout_s=choose.choice((None, 1, 5, 60, 3_600)),
                    multi_capture=choose.random() < 0.5,
                )
            case 5 | 6:
                part = choose.choice(("all", "1", "5"))
                return CaptureHold(key=key, hold_id=hold_id, amount=part)
            case 7:
                return VoidHold(key=key, hold_id=hold_id)
            case 8:
                limit = choose.choice(("0", "50", "1000"))
                return SetLimit(key=key, account_id=debit, limit=limit)
            case _:
                cause = choose.choice(("court", "fraud"))
                if choose.random() < 0.5:
                    return FreezeAccount(key=key, account_id=debit, cause=cause, effect="debit")
                return UnfreezeAccount(key=key, account_id=debit, cause=cause)
