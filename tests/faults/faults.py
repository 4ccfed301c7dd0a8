"""What strikes the system: each fault by its name, with one sentence of what it does.

A fault blocks while it lasts, about two seconds at most, and may leave the system broken:
``System.heal`` is what undoes it. What is chosen comes from the generator that it is given.
"""

import random
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import psycopg
from tests.faults import disk
from tests.faults.processes import is_alive, send
from tests.faults.proxy import Direction
from tests.faults.server import Server
from tests.faults.system import System

SHORT_S = (0.05, 0.4)
LONG_S = (0.3, 1.5)
HOUR_S = 3_600.0
DAY_S = 86_400.0
LEFT_BYTES = (0, 64 * 1024, 512 * 1024, 2 * 1024 * 1024)
"""What a full disk has left: nothing, or too little for the next page, or for the next file."""
COMMITS = ("UPDATE ledger.heads",)
"""What the writer's messages hold that commit, and no other's: see ``ledger_core.appending``."""


_DIRECTIONS: tuple[Direction, ...] = ("to_server", "to_client")


class Fault(Protocol):
    """Something that goes wrong."""

    @property
    def name(self) -> str:
        """What it is called, here and on the command line."""

    @property
    def needs(self) -> str:
        """What it does, as one sentence for the table."""

    def strike(self, system: System, choose: random.Random) -> None:
        """Let it happen; returns when it is over, or cannot get worse."""

    def why_not(self) -> str | None:
        """Why it cannot happen on this system; ``None`` where it can."""


@dataclass(frozen=True)
class _Fault:
    """A fault that is one function."""

    name: str
    needs: str
    happens: Callable[[System, random.Random], None]
    missing: Callable[[], str | None] = lambda: None

    def strike(self, system: System, choose: random.Random) -> None:
        """Let it happen."""
        self.happens(system, choose)

    def why_not(self) -> str | None:
        """Why it cannot happen on this system."""
        return self.missing()


def _none(_system: System, choose: random.Random) -> None:
    """Let the time pass in which others would strike."""
    _wait(choose, SHORT_S)


def _kill_server(system: System, choose: random.Random) -> None:
    """Kill one server, or all of them; start them again."""
    struck = _some(system.servers, choose)
    for server in struck:
        server.kill()
    _wait(choose, SHORT_S)
    for server in struck:
        server.start()


def _kill_projector(system: System, choose: random.Random) -> None:
    """Kill the projector of one server, or of all."""
    for server in _some(system.servers, choose):
        send(server.projectors(), signal.SIGKILL)
    _wait(choose, SHORT_S)


def _kill_backend(system: System, choose: random.Random) -> None:
    """End one process of PostgreSQL: killed, or one of the program's, as an operator ends it."""
    backends = system.postgres.backends()
    sessions = [pid for pid, title in backends.items() if "ledger_program" in title]
    if sessions and choose.random() < 0.4:
        terminate_backend(system, choose.choice(sorted(sessions)))
        _wait(choose, SHORT_S)
        return
    # Whoever writes is what matters most, but each has its turn.
    among = sessions if sessions and choose.random() < 0.6 else list(backends)
    if among:
        send([choose.choice(sorted(among))], signal.SIGKILL)
    _wait(choose, LONG_S)


def terminate_backend(system: System, pid: int) -> None:
    """End a session as an operator does."""
    url = system.postgres.url("postgres", "superuser")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))


def _kill_postmaster(system: System, choose: random.Random) -> None:
    """Kill PostgreSQL's main process; start it again, which recovers from its log."""
    system.postgres.kill()
    _wait(choose, SHORT_S)
    system.start_postgres()


def _stop_postgres(system: System, choose: random.Random) -> None:
    """Restart PostgreSQL as an operator does, which ends every session."""
    system.postgres.stop("fast")
    _wait(choose, SHORT_S)
    system.start_postgres()


def _pause_server(system: System, choose: random.Random) -> None:
    """Stop one server where it stands, its projector going on; it wakes up as if nothing was."""
    server = choose.choice(system.servers)
    _pause([server.pid] if server.pid else [], choose)


def _pause_projector(system: System, choose: random.Random) -> None:
    """Stop projectors where they stand."""
    _pause([pid for server in _some(system.servers, choose) for pid in server.projectors()], choose)


def _pause(pids: Sequence[int], choose: random.Random) -> None:
    """Stop processes for a while."""
    send(pids, signal.SIGSTOP)
    _wait(choose, LONG_S)
    send([pid for pid in pids if is_alive(pid)], signal.SIGCONT)


def _pause_postgres(system: System, choose: random.Random) -> None:
    """Stop PostgreSQL, or one of its sessions, where it stands."""
    sessions = [pid for pid, title in system.postgres.backends().items() if "ledger" in title]
    if sessions and choose.random() < 0.5:
        _pause([choose.choice(sorted(sessions))], choose)
        return
    system.postgres.pause()
    _wait(choose, LONG_S)
    system.postgres.resume()


def _drop(system: System, choose: random.Random) -> None:
    """End all connections to the database, a few times; now and then nobody can connect either."""
    _cut_off(system, choose, reset=False)


def _reset(system: System, choose: random.Random) -> None:
    """The same by resets."""
    _cut_off(system, choose, reset=True)


def _cut_off(system: System, choose: random.Random, *, reset: bool) -> None:
    """End connections."""
    for _ in range(choose.randint(1, 4)):
        link = _link(system, choose)
        refuses = choose.random() < 0.5
        if refuses:
            system.proxy.refuse(link)
        system.proxy.drop(link, reset=reset)
        _wait(choose, SHORT_S)
        if refuses:
            system.proxy.clean()


def _cut_mid_message(system: System, choose: random.Random) -> None:
    """End connections in the middle of a message, or around a commit: its answer is lost."""
    for _ in range(choose.randint(1, 4)):
        link = _link(system, choose)
        if choose.random() < 0.6:
            system.proxy.cut_at(list(COMMITS), choose.choice(("half", "sent", "answered")), link)
        else:
            direction = choose.choice(_DIRECTIONS)
            byte = round(10 ** choose.uniform(0, 4.5))
            system.proxy.cut_after(byte, direction, link, reset=choose.random() < 0.5)
        _wait(choose, SHORT_S)
    system.proxy.clean()


def _slow_network(system: System, choose: random.Random) -> None:
    """Every byte to and from the database takes long."""
    latency_s = choose.uniform(0.005, 0.1)
    system.proxy.slow(latency_s, 10 ** choose.uniform(4, 6), _link(system, choose))
    _wait(choose, LONG_S)
    system.proxy.clean()


def _black_hole(system: System, choose: random.Random) -> None:
    """Every packet between program and database vanishes; later they arrive again, or never do."""
    link = _link(system, choose)
    system.proxy.black_hole(link)
    _wait(choose, LONG_S)
    if choose.random() < 0.5:
        # As a firewall that was started anew: it knows none of the connections any more.
        system.proxy.drop(link, reset=True)
    system.proxy.clean()


def _disk_full(system: System, choose: random.Random) -> None:
    """The disk of the database is full, but for a little; later there is room again."""
    if system.postgres.disk is None:
        raise RuntimeError("make the system with disk=True: this fault fills its disk")
    system.postgres.disk.fill(choose.choice(LEFT_BYTES))
    _wait(choose, (0.8, 2.0))
    system.postgres.disk.empty()
    system.start_postgres()


def _clock_forward(system: System, choose: random.Random) -> None:
    """The servers' clock jumps ahead by an hour to two days, and later back: holds expire."""
    _jump(system, choose, choose.uniform(HOUR_S, 2 * DAY_S))


def _clock_back(system: System, choose: random.Random) -> None:
    """The servers' clock jumps back, to before the last event, and later ahead again."""
    _jump(system, choose, -choose.uniform(1.0, 2 * DAY_S))


def _jump(system: System, choose: random.Random, seconds: float) -> None:
    """Let the clock be wrong for a while."""
    system.clock.seconds = seconds
    _wait(choose, LONG_S)
    system.clock.seconds = 0.0


def _rolling_restart(system: System, _choose: random.Random) -> None:
    """Restart one server after the other as an operator does; each is ready before the next."""
    for server in system.servers:
        if server.pid is None:
            continue
        code = system.restart(server)
        if code != 0:
            system.deaths.append(f"server {server.number} was asked to stop and exited with {code}")


def _two_writers(system: System, choose: random.Random) -> None:
    """All servers write the same ledger, and one forgets after the other what it holds."""
    for server in choose.sample(system.servers, len(system.servers)):
        link = server.number
        # Its writer loads everything anew, while another's goes on writing.
        system.proxy.drop(link, reset=False)
        system.proxy.slow(choose.uniform(0.001, 0.02), 10**6, link)
        _wait(choose, SHORT_S)
        system.proxy.clean()


def _some(servers: Sequence[Server], choose: random.Random) -> list[Server]:
    """One of the servers, or now and then all of them."""
    return list(servers) if choose.random() < 0.25 else [choose.choice(servers)]


def _link(system: System, choose: random.Random) -> int | None:
    """One server's way to the database, or everybody's."""
    links: list[int | None] = [None, *range(len(system.servers))]
    return choose.choice(links)


def _wait(choose: random.Random, bounds_s: tuple[float, float]) -> None:
    """Let a chosen time pass."""
    time.sleep(choose.uniform(*bounds_s))


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        _Fault("none", "Nothing goes wrong: the control.", _none),
        _Fault(
            "two-writers",
            "Both servers write the same accounts, and in turn one must load everything anew.",
            _two_writers,
        ),
        _Fault(
            "kill-server",
            "kill -9 of a server, or of all at once; its projector ends with it.",
            _kill_server,
        ),
        _Fault("kill-projector", "kill -9 of one projector, or of all.", _kill_projector),
        _Fault(
            "kill-backend",
            "kill -9 of one of PostgreSQL's processes, whichever; or an operator ends a session.",
            _kill_backend,
        ),
        _Fault(
            "kill-postmaster",
            "kill -9 of PostgreSQL's main process; it is started again and recovers.",
            _kill_postmaster,
        ),
        _Fault(
            "stop-postgres-fast",
            "PostgreSQL is restarted as an operator does it, under load.",
            _stop_postgres,
        ),
        _Fault("pause-server", "A server is stopped where it stands, and goes on.", _pause_server),
        _Fault(
            "pause-projector",
            "Projectors are stopped where they stand, and go on.",
            _pause_projector,
        ),
        _Fault(
            "pause-postgres",
            "PostgreSQL, or one session of it, is stopped where it stands, and goes on.",
            _pause_postgres,
        ),
        _Fault(
            "drop-connections",
            "All connections to the database end; now and then none can be made either.",
            _drop,
        ),
        _Fault("reset-connections", "The same, by resets.", _reset),
        _Fault(
            "cut-mid-message",
            "A connection ends within a message, or once a commit was sent: its answer is lost.",
            _cut_mid_message,
        ),
        _Fault(
            "slow-network",
            "5 to 100 ms each way to the database, 10 kB to 1 MB a second.",
            _slow_network,
        ),
        _Fault(
            "black-hole",
            "Every packet to and from the database vanishes; later all arrive, or all are reset.",
            _black_hole,
        ),
        _Fault(
            "disk-full",
            "The database's disk is full, or nearly; later there is room again.",
            _disk_full,
            disk.why_not,
        ),
        _Fault(
            "clock-forward",
            "The servers' clock jumps ahead by 1 to 48 hours, and back.",
            _clock_forward,
        ),
        _Fault(
            "clock-back",
            "The servers' clock jumps back by up to 48 hours, and ahead again.",
            _clock_back,
        ),
        _Fault(
            "rolling-restart",
            "One server after the other is restarted as an operator does it.",
            _rolling_restart,
        ),
    )
}
