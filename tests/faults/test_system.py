"""Every fault bites: while it lasts something is as it says, and afterwards all is well again.

One system serves all of them, under a small load; what is looked at is what the fault is about.
Whether the ledger keeps its promises meanwhile is not asked here: see ``test_runs``.
"""

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import pytest
from tests.faults import disk, processes
from tests.faults.faults import FAULTS
from tests.faults.system import System

HANGS_S = 60.0
LOOK_S = 0.05
LITTLE_BYTES = 2 * 1024 * 1024
TRANSFER = {"debit_account_id": "A", "credit_account_id": "B", "amount": "1", "currency": "EUR"}


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    """A system whose run has begun, with two accounts."""
    with System(tmp_path / "system", disk=disk.why_not() is None) as system:
        system.begin()
        with closing(_Poster(system, 0)) as poster:
            for name in ("A", "B"):
                body = {"account_id": name, "currency": "EUR", "limit": None}
                status, answer = poster("/v1/accounts", body, f"open-{name}")
                assert status == 201, answer
        yield system


class _Poster:
    """Posts commands to one server, on a connection that is made anew where it was lost."""

    def __init__(self, system: System, number: int) -> None:
        """Nothing is connected yet."""
        self._server = system.servers[number]
        self._key = system.key
        self._connection: http.client.HTTPConnection | None = None

    def __call__(self, path: str, body: Mapping[str, object], key: str) -> tuple[int, Any]:
        """Post a command: status and answer; status 0 where there was none."""
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._server.port, timeout=HANGS_S
            )
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        try:
            self._connection.request("POST", path, json.dumps(body), headers)
            answer = self._connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, None

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass
class _Seen:
    """What was seen while a fault lasted."""

    before: set[int]
    states: set[tuple[str, str]] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    recorded: list[tuple[int, datetime]] = field(default_factory=list)
    free_bytes: int = 10**12
    cut: int = 0
    opened: int = 0
    gone: set[int] = field(default_factory=set)


class _Load:
    """A client a server, which posts one transfer after the other."""

    def __init__(self, system: System, seen: _Seen, name: str) -> None:
        """Begin."""
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._post, args=(system, seen, name, number))
            for number in range(len(system.servers))
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each have its last answer."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(HANGS_S)
            assert not thread.is_alive(), "a request is never answered"

    def _post(self, system: System, seen: _Seen, name: str, number: int) -> None:
        """Post until told to stop."""
        with closing(_Poster(system, number)) as poster:
            for turn in takewhile(lambda _: not self._stopping.is_set(), count()):
                began = time.monotonic()
                status, answer = poster("/v1/transfers", TRANSFER, f"{name}-{number}-{turn}")
                seen.slowest_s = max(seen.slowest_s, time.monotonic() - began)
                seen.statuses[status] += 1
                if status == 201:
                    at = datetime.fromisoformat(answer["recorded_at"])
                    seen.recorded.append((answer["position"], at))
                time.sleep(LOOK_S)


def _pids(system: System) -> dict[int, str]:
    """Every process of the system that may be struck, and what it is."""
    found = {server.pid: "server" for server in system.servers if server.pid is not None}
    found |= {pid: "projector" for server in system.servers for pid in server.projectors()}
    found |= dict.fromkeys(system.postgres.backends(), "backend")
    postmaster = system.postgres.postmaster()
    return found if postmaster is None else {**found, postmaster: "postmaster"}


def _struck(system: System, name: str, seed: int) -> _Seen:
    """Let a fault happen under load, look all the time, and heal."""
    before = _pids(system)
    seen = _Seen(set(before))
    figures = system.proxy.figures()
    load = _Load(system, seen, name)
    failures: list[BaseException] = []

    def strike() -> None:
        """Let it happen."""
        try:
            FAULTS[name].strike(system, random.Random(seed))
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    striking = threading.Thread(target=strike)
    striking.start()
    while striking.is_alive():
        seen.states |= {(what, processes.state_of(pid)) for pid, what in before.items()}
        if system.postgres.disk is not None:
            seen.free_bytes = min(seen.free_bytes, system.postgres.disk.free_bytes())
        striking.join(LOOK_S)
    assert not failures, failures
    after = system.proxy.figures()
    system.heal()
    load.stop()
    seen.cut, seen.opened = after["cut"] - figures["cut"], after["opened"] - figures["opened"]
    seen.gone = {pid for pid in before if not processes.is_alive(pid)}
    seen.states |= {(before[pid], "") for pid in seen.gone}
    return seen


def _stopped(what: str) -> Callable[[_Seen], bool]:
    """Whether one of those was seen stopped."""
    return lambda seen: (what, "T") in seen.states


def _gone(what: str) -> Callable[[_Seen], bool]:
    """Whether one of those is gone."""
    return lambda seen: (what, "") in seen.states


def _jumped(by: timedelta) -> Callable[[_Seen], bool]:
    """Whether events were recorded at a time that is far ahead, if it is to be ahead."""
    return lambda seen: any(at > datetime.now(UTC) + by for _, at in seen.recorded)


def _times(seen: _Seen) -> list[datetime]:
    """When what was recorded was recorded, in the order of the log."""
    return [at for _, at in sorted(seen.recorded)]


BITES: dict[str, tuple[int, Callable[[_Seen], bool]]] = {
    "none": (0, lambda seen: not seen.gone and set(seen.statuses) == {201}),
    "two-writers": (0, lambda seen: seen.opened > 1 and ("server", "") not in seen.states),
    "kill-server": (0, _gone("server")),
    "kill-projector": (0, _gone("projector")),
    "kill-backend": (0, _gone("backend")),
    "kill-postmaster": (0, _gone("postmaster")),
    "stop-postgres-fast": (0, _gone("postmaster")),
    "pause-server": (0, _stopped("server")),
    "pause-projector": (0, _stopped("projector")),
    "pause-postgres": (1, _stopped("backend")),
    "drop-connections": (0, lambda seen: seen.opened > 1),
    "reset-connections": (0, lambda seen: seen.opened > 1),
    "cut-mid-message": (0, lambda seen: seen.cut > 0),
    "slow-network": (0, lambda seen: seen.slowest_s > 0.01),
    "black-hole": (0, lambda seen: seen.slowest_s > 0.3),
    "disk-full": (0, lambda seen: seen.free_bytes <= LITTLE_BYTES),
    # Each after the other: what was recorded in the future stays there, and time goes on from it.
    "clock-back": (0, lambda seen: _times(seen) == sorted(_times(seen)) != []),
    "clock-forward": (0, _jumped(timedelta(minutes=59))),
    "rolling-restart": (0, _gone("server")),
}
"""For each fault a seed, and what must be seen of it."""


@pytest.mark.timeout(300)
def test_every_fault_bites_and_is_healed(system: System, subtests: pytest.Subtests) -> None:
    """Under each fault what it says is seen; afterwards both servers carry out commands."""
    assert BITES.keys() == FAULTS.keys()
    for name, (seed, bites) in BITES.items():
        why_not = FAULTS[name].why_not()
        if why_not is not None:
            continue  # Said by ``python -m tests.faults``: no failure of this system.
        with subtests.test(name):
            seen = _struck(system, name, seed)
            assert bites(seen), seen
            for number in range(len(system.servers)):
                body = {"account_id": f"{name}-{number}", "currency": "EUR"}
                with closing(_Poster(system, number)) as poster:
                    status, answer = poster("/v1/accounts", body, f"{name}-{number}")
                assert status == 201, answer
            assert not system.deaths
    _the_end_tells_what_is_left(system)


def _the_end_tells_what_is_left(system: System) -> None:
    """A process of a server's that does not end is told of; without it all ends well."""
    server = system.servers[0]
    (projector,) = server.projectors()
    os.kill(projector, signal.SIGSTOP)  # It cannot follow.
    server.kill()
    with pytest.raises(AssertionError):
        system.end(left_s=0.1)
    server.resume()
    system.end()
