"""The product under test as its users run it: its own data folder, default settings, fsync on.

The library is called in this process; the server and the command line are processes of their own.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from api import clock, embedded_postgres, settings
from api.runtime import Runtime
from api.serve import Projector
from benchmarks import workloads
from benchmarks.processes import Meter, children
from benchmarks.workloads import Command
from ledger_core import log
from ledger_core.commands import WireCommand
from ledger_core.ledger import Ledger, Submission
from ledger_core.loading import ACCOUNTS_CACHED_MAX
from projections import runner

ACTOR = "bench"
LEDGER = "bench"
CLI = (sys.executable, "-m", "api.cli")
OPENED_AT_ONCE = 10_000
READY_TIMEOUT_S = 120.0
LOG_SHOWN = 1_000


class RefusedError(RuntimeError):
    """A command of a workload was not recorded: the measurement is void."""


class Product:
    """A database of our own, and a ledger in it whose accounts are open."""

    def __init__(self, folder: Path, accounts: int, server_settings: Mapping[str, str]) -> None:
        """Start PostgreSQL; nothing is opened yet."""
        self.folder = folder
        self.accounts = accounts
        os.environ["LEDGER_DATA_DIR"] = str(folder)
        embedded_postgres.ensure_running(folder, settings=server_settings)
        self.runtime = Runtime(settings.load())
        self.url = self.runtime.database_url
        self.owner_url = str(self.runtime.owner_url)
        self.ledger_id = self.runtime.create_ledger(LEDGER)
        self.ledger = Ledger(
            lambda: self.runtime.connect("ledger_writer"),
            self.ledger_id,
            clock.now,
            self.runtime.vault,
        )

    def open_accounts(self) -> None:
        """Open every account of the workloads, and bring the views up to that."""
        stream = workloads.opening(self.accounts)
        while chunk := list(islice(stream, OPENED_AT_ONCE)):
            # The writer holds no more accounts than it may that no view has yet.
            if self.execute(decoded(chunk)) - self.projected() >= ACCOUNTS_CACHED_MAX:
                self.catch_up()
        self.catch_up()

    def execute(self, commands: list[Any]) -> int:
        """Carry out commands by the library; the position of the last.

        Raises:
            RefusedError: one was not recorded.
        """
        outcomes = self.ledger.execute([Submission(commands, ACTOR)])[0]
        for outcome in outcomes:
            if outcome.status != "recorded":
                raise RefusedError(outcome)
        return outcomes[-1].position

    def catch_up(self) -> None:
        """Bring the views up to the log."""
        with self.runtime.connect("ledger_projector") as connection:
            runner.catch_up(connection, self.ledger_id)

    def head(self) -> int:
        """The log's last position."""
        with self.runtime.connect("ledger_reader") as connection:
            return log.read_head(connection, self.ledger_id).position

    def projected(self) -> int:
        """The position that every projection has reached."""
        with self.runtime.connect("ledger_reader") as connection:
            found = runner.positions(connection, self.ledger_id)
        return min(position for position, _ in found.values())

    def await_projected(self, position: int) -> None:
        """Wait until the views have that position.

        Raises:
            TimeoutError: they do not get there.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self.projected() < position:
            if time.monotonic() > deadline:
                msg = f"the projector did not reach {position}"
                raise TimeoutError(msg)
            time.sleep(0.02)

    @contextmanager
    def projecting(self) -> Iterator[int]:
        """Have the projector run beside, as the server has it; its process id."""
        projector = Projector(self.url)
        try:
            yield projector.pid
        finally:
            projector.stop()

    @contextmanager
    def serving(self) -> Iterator["Server"]:
        """Have ``ledger serve`` run, with a key for the ledger."""
        key = self.runtime.create_key(self.ledger_id, "teller", "bench")
        server = Server(key, self.url, self.folder / "serve.log")
        try:
            yield server
        finally:
            server.stop()

    def command_line(self, *arguments: str, ledger: str = LEDGER) -> tuple[float, Any]:
        """Run ``ledger …`` on a ledger; how long it took, and what it answered as JSON.

        Raises:
            RuntimeError: it failed.
        """
        started = time.perf_counter()
        done = subprocess.run(
            [*CLI, *arguments, "--ledger", ledger, "--json"],
            stdout=subprocess.PIPE,
            check=False,
        )
        elapsed = time.perf_counter() - started
        if done.returncode:
            msg = f"ledger {arguments[0]} failed: {done.stdout[-500:].decode()}"
            raise RuntimeError(msg)
        return elapsed, json.loads(done.stdout)

    def meter(self, **own: int) -> Meter:
        """Processor time of this process, the named ones and the database's, from now on."""
        meter = Meter(self.url, {"caller": os.getpid(), **own})
        meter.start()
        return meter

    def close(self) -> None:
        """Let go of everything and stop PostgreSQL."""
        self.ledger.close()
        self.runtime.close()
        embedded_postgres.stop(self.folder)


class Server:
    """``ledger serve`` on a port of its own."""

    def __init__(self, key: str, url: str, log_file: Path) -> None:
        """Start it and wait until it is ready.

        Raises:
            RuntimeError: it did not become ready.
        """
        self._url = url
        self.port = free_port()
        self.address = f"http://{key}@127.0.0.1:{self.port}"
        started = time.perf_counter()
        with log_file.open("ab") as output:
            self._process = subprocess.Popen(
                [*CLI, "serve", "--port", str(self.port), "--ledger", LEDGER],
                stdout=output,
                stderr=output,
            )
        while not self._is_ready():
            if time.perf_counter() - started > READY_TIMEOUT_S or self._process.poll() is not None:
                self._process.kill()
                msg = f"the server did not become ready: {log_file.read_text()[-LOG_SHOWN:]}"
                raise RuntimeError(msg)
            time.sleep(0.01)
        self.start_s = time.perf_counter() - started

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def meter(self) -> Meter:
        """Processor time of the server, its projector and the database, from now on."""
        own = {"server": self.pid}
        for number, child in enumerate(children(self.pid)):
            own["projector" if number == 0 else f"child {number}"] = child
        meter = Meter(self._url, own)
        meter.start()
        return meter

    def stop(self) -> None:
        """Stop it as Ctrl-C would."""
        self._process.terminate()
        self._process.wait(60)

    def _is_ready(self) -> bool:
        """Whether it answers that it is ready."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self.port}/readyz", timeout=5
            ) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004 - OK
        except OSError:
            return False


def decoded(commands: Sequence[Command]) -> list[Any]:
    """The commands as the library takes them."""
    convert: Callable[..., Any] = msgspec.convert
    return [convert(command, WireCommand) for command in commands]


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def started(
    accounts: int = workloads.ACCOUNTS,
    *,
    folder: Path | None = None,
    server_settings: Mapping[str, str] | None = None,
) -> Iterator[Product]:
    """A product with its accounts open; in a temporary folder unless one is named."""
    chosen = folder or Path(tempfile.mkdtemp(prefix="ledger-bench-"))
    chosen.mkdir(exist_ok=True)
    chosen.chmod(0o711)
    product = Product(chosen, accounts, server_settings or {})
    try:
        if product.head() == 0:
            product.open_accounts()
        yield product
    finally:
        product.close()
        if folder is None:
            shutil.rmtree(chosen)
