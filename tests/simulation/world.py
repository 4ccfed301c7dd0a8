"""A simulated installation: servers and projectors as they are, on a database that is not.

The writer, the ledger behind it, the rules, the appends and the projector are the product's own
code. Simulated is what they meet (``surroundings``): threads (``tasks``), connections and the
database (``session``, ``store``), and the clock. ``take`` does one step of a script, ``heal`` ends
all faults and waits until everybody has an answer.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import cast

import msgspec
import psycopg
from tests.simulation import surroundings, view_statements
from tests.simulation.monitor import Monitor, Request
from tests.simulation.processes import Process, Reply, Server
from tests.simulation.script import Step
from tests.simulation.session import Operation, Session, Understand
from tests.simulation.statements import LEDGER_ID, understand
from tests.simulation.store import Blocked, Store
from tests.simulation.tasks import Event, Hub, Task, replaced
from tests.strategies import START

from ledger_core.errors import LedgerBusy
from ledger_core.key_provider import Ring
from ledger_core.ledger import Ledger, Submission
from ledger_core.log import Connection
from ledger_core.vault import Vault
from ledger_core.writer import Writer
from projections import runner

ROUNDS_MAX = 2_000
"""After the last fault, everybody has an answer before each task had so many turns."""
QUIET_TURNS = 200
_VAULT = Vault(Ring([bytes(32)]), bytes)


class Setting(msgspec.Struct, frozen=True):
    """What the world is made of.

    ``small``: bounds that take a large bank to reach are reached soon: events streamed at a time,
    accounts in memory.
    """

    servers: int = 2
    projectors: int = 1
    small: int = 0


class World:
    """Everything, at one moment."""

    def __init__(self, setting: Setting, understand: Understand = understand) -> None:
        """Begin with an empty ledger, and all processes running."""
        self.setting = setting
        self.hub = Hub()
        self.store = Store()
        self.monitor = Monitor(self.store)
        self.now = START
        self.steps = 0
        self.is_down = False
        self.requests: dict[str, Request] = {}
        self.processes: dict[str, Process] = {}
        self.on_session: Callable[[Session], None] = lambda _: None
        self._skews: dict[int, timedelta] = {}
        self._late: list[tuple[Session, Operation | None]] = []
        self._understand = understand
        self._takes: Mapping[str, Callable[..., bool]] = {
            "run": self._run,
            "quiet": self._quiet,
            "send": self._send,
            "again": self._again,
            "clock": self._pass,
            "skew": self._skew,
            "cut": self._cut,
            "orphan": self._orphan,
            "late": self._do_late,
            "timeout": self._time_out,
            "kill": self._kill,
            "stop": self._stop,
            "start": self._start,
            "down": self._down,
            "up": self._up,
        }

    @contextmanager
    def surroundings(self) -> Iterator[None]:
        """What the product meets instead of the real thing, while this world goes on."""
        places = surroundings.places(self.hub, self._connect_projector)
        if self.setting.small:
            places += surroundings.SMALL
        with replaced(*places):
            for number in range(self.setting.servers):
                self._start(f"server-{number}")
            for number in range(self.setting.projectors):
                self._start(f"projector-{number}")
            yield
            for process in self.processes.values():
                self._end(process)
            self.hub.end()

    def take(self, step: Step) -> bool:
        """Take a step; whether it could be taken."""
        if not self._takes[cast("str", step[0])](*step[1:]):
            return False
        self.steps += 1
        return True

    def heal(self) -> None:
        """End all faults, and go on until everybody is answered and the views are up to date."""
        self._up()
        for process in list(self.processes.values()):
            if process.is_dead:
                self._start(process.name)
        for number in range(self.setting.servers):
            self._skews.pop(number, None)
        if not self._settled():
            names = [item.name for item in self.requests.values() if not item.is_answered]
            waiting = [f"{task.name} {task.state}" for task in self.hub.tasks.values()]
            self.monitor.find("liveness", f"no answer to {names}; {waiting}")
        if not self.monitor.findings:
            self._look_at_last()

    def _look_at_last(self) -> None:
        """Have every server see all of the log, and compare everything with it."""
        for server in self._servers():
            request = Request(f"last-{server.number}", Submission((), "client"))
            self.requests[request.name] = request
            self._submit(server, request)
        if not self._settled():
            self.monitor.find("liveness", "no answer to those who came last")
        if self.monitor.findings:
            return
        for server in self._servers():
            self.monitor.compare_all(server.books, server.name)
        if self.setting.projectors:
            self.monitor.compare_views()

    def _settled(self) -> bool:
        """Take turns until there is nothing left to do; whether it came to that."""
        for _ in range(ROUNDS_MAX):
            if self.monitor.findings:
                return True
            if self._late:
                self._do_late()
            servers = self._servers()
            for at, request in enumerate(self.requests.values()):
                if servers and not request.is_answered and not request.in_flight:
                    self._submit(servers[at % len(servers)], request)
            self._take_turns()
            if self._is_settled():
                return True
        return False

    def _take_turns(self) -> None:
        """Every task that can goes on once; who was still stopping is started again."""
        for task in self.hub.ready():
            if task.state == "ready":
                self.steps += 1
                self._resume(task)
        for process in list(self.processes.values()):
            if process.is_dead:
                self._start(process.name)

    def _is_settled(self) -> bool:
        """Whether everybody was answered, and the views are up to date."""
        if self._late or any(not item.is_answered for item in self.requests.values()):
            return False
        if any(task.state == "blocked" for task in self.hub.tasks.values()):
            return False
        standings = self.store.standings
        head = self.store.head.position
        return not self.setting.projectors or (
            len(standings) == len(view_statements.SIMULATED)
            and all(row.position == head for row in standings.values())
        )

    def _servers(self) -> list[Server]:
        """The servers that take commands."""
        return [
            process
            for process in self.processes.values()
            if isinstance(process, Server) and not process.is_dead and not process.is_stopping
        ]

    def _server(self, name: str) -> Server | None:
        """The server of that name, if it takes commands."""
        process = self.processes.get(name)
        if isinstance(process, Server) and not process.is_dead and not process.is_stopping:
            return process
        return None

    def _resume(self, task: Task) -> None:
        """Let a task go on; none may end by an error."""
        self.hub.resume(task)
        if task.error is not None:
            if isinstance(task.error, AssertionError):
                raise task.error  # The simulation's own.
            self.monitor.find("error", f"{task.name}: {task.error!r}")

    # From here on the steps: see ``script``.

    def _run(self, name: str, times: float = 1) -> bool:
        for turn in range(int(times)):
            task = self.hub.tasks.get(name)
            if task is None or task.state != "ready":
                return turn > 0
            self._resume(task)
        return True

    def _quiet(self) -> bool:
        for _ in range(QUIET_TURNS):
            ready = [task for task in self.hub.ready() if task.name.startswith("writer")]
            for task in ready:
                if task.state == "ready":
                    self._resume(task)
            if not ready or self.monitor.findings:
                break
        return True

    def _send(self, name: str, server_name: str, submission: Submission) -> bool:
        server = self._server(server_name)
        if server is None or name in self.requests:
            return False
        self.requests[name] = request = Request(name, submission)
        self._submit(server, request)
        return True

    def _again(self, name: str, server_name: str) -> bool:
        server, request = self._server(server_name), self.requests.get(name)
        if server is None or request is None:
            return False
        self._submit(server, request)
        return True

    def _submit(self, server: Server, request: Request) -> None:
        """Hand a request to a server, by one of the two ways in."""
        reply = Reply(self.monitor, server, request)
        try:
            if len(request.name) % 2:
                server.writer.submit_all([(request.submission, reply)])
            else:
                server.writer.submit(request.submission).add_done_callback(reply.from_future)
        except LedgerBusy as error:
            reply.set_exception(error)

    def _pass(self, seconds: float) -> bool:
        self.now += timedelta(seconds=seconds)
        return True

    def _skew(self, server_name: str, seconds: float) -> bool:
        self._skews[int(server_name[-1])] = timedelta(seconds=seconds)
        return True

    def _cut(self, task: str) -> bool:
        session = self._session(task)
        if session is None:
            return False
        session.lose()
        return True

    def _orphan(self, task: str) -> bool:
        session = self._session(task)
        if session is None:
            return False
        self._late.append((session, session.forsake()))
        return True

    def _time_out(self, task: str) -> bool:
        session = self._session(task)
        return session is not None and session.time_out()

    def _session(self, task: str) -> Session | None:
        """The connection of a task, if it has one."""
        for process in self.processes.values():
            session = process.session
            if process.task == task and session is not None:
                return None if session.is_lost or session.is_closed else session
        return None

    def _do_late(self) -> bool:
        if not self._late:
            return False
        session, operation = self._late.pop(0)
        if operation is not None:
            try:
                operation(session)
            except Blocked:
                self._late.append((session, operation))
                return True
            except psycopg.Error:
                pass
        session.drop()
        return True

    def _kill(self, name: str) -> bool:
        process = self.processes.get(name)
        if process is None or process.is_dead:
            return False
        self._end(process)
        return True

    def _end(self, process: Process) -> None:
        """End a process, and everything that it knew."""
        process.is_dead = True
        if process.session is not None:
            process.session.lose()
        if isinstance(process, Server):
            for request in process.waiting.values():
                request.in_flight -= 1
            process.waiting.clear()
            self.hub.kill(f"stopper-{process.number}")
        self.hub.kill(process.task)

    def _stop(self, name: str) -> bool:
        server = self._server(name)
        if server is None:
            return False
        server.is_stopping = True
        self.hub.spawn(f"stopper-{server.number}", partial(self._stop_it, server))
        return True

    def _stop_it(self, server: Server) -> None:
        """In a task: stop a server; all whose requests it took have an answer then."""
        server.writer.stop()
        if server.waiting:
            names = [request.name for request in server.waiting.values()]
            self.monitor.find("answers", f"{server.name} stopped without answering {names}")
        server.is_dead = True

    def _start(self, name: str) -> bool:
        before = self.processes.get(name)
        if before is not None and not before.is_dead:
            return False
        number = int(name[-1])
        is_server = name.startswith("server")
        if number >= (self.setting.servers if is_server else self.setting.projectors):
            return False
        if is_server:
            self.processes[name] = server = Server(number)
            connect = partial(self._connect, server)
            server.ledger = Ledger(connect, LEDGER_ID, partial(self._clock, number), _VAULT)
            server.writer = Writer(server.ledger.execute, server.ledger.close, str(number))
        else:
            task = f"projector-{number}"
            self.processes[name] = Process(name, task)
            stop = Event(self.hub)
            self.hub.spawn(task, lambda: runner.run_forever("", stop))  # type: ignore[arg-type] # a twin
        return True

    def _down(self) -> bool:
        if self.is_down:
            return False
        self.is_down = True
        for process in self.processes.values():
            if process.session is not None:
                process.session.lose()
        for session, _ in self._late:
            session.drop()
        self._late.clear()
        return True

    def _up(self) -> bool:
        if not self.is_down:
            return False
        self.is_down = False
        return True

    def _clock(self, number: int) -> datetime:
        """What a server's clock shows."""
        return self.now + self._skews.get(number, timedelta())

    def _connect_projector(self, _url: str, _role: str) -> Connection:
        """Connect the projector whose turn it is."""
        assert self.hub.current is not None
        return self._connect(self.processes[self.hub.current.name])

    def _connect(self, process: Process) -> Connection:
        """Connect to the database.

        Raises:
            psycopg.OperationalError: it is down.
        """
        self.hub.pause()
        if self.is_down:
            raise psycopg.OperationalError("connection refused")
        session = process.session = Session(self.hub, self.store, self._understand, process.name)
        self.on_session(session)
        return cast("Connection", session)
