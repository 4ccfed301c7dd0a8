"""Clients that use several servers of one ledger at once, as a seed says.

Each client is a thread that draws its next command, sends it to some server, and goes on with what
it was answered: a command without an answer is sent again with the same key, at once or after the
faults. Nothing of what comes back is judged here; all of it is recorded.
"""

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.faults.choices import Choices, World, opening
from tests.faults.client import Client, Pair
from tests.faults.history import Attempt, History, items_of

# Bounds on what one run sends, whatever happens: it is held in memory, and checked afterwards.
ATTEMPTS_MAX = 4_000
RETRIES_MAX = 4
WAIT_MAX_S = 0.4
"""How long ``Retry-After`` is obeyed for while faults strike; afterwards, ``CALM_WAIT_MAX_S``."""
CALM_WAIT_MAX_S = 1.5
PAUSE_S = 0.012
"""A client pauses for up to this long between two commands."""
SETUP_S = 30.0
RESOLVE_S = 60.0
RESOLVERS = 4
TOO_MANY = "too_many_requests"
CALM_REQUEST_S = 15.0


class Workload:
    """Some clients, each a thread with connections of its own."""

    def __init__(self, urls: Sequence[str], key: str, seed: int, clients: int) -> None:
        """Nothing is sent yet."""
        self.history = History()
        self._urls = list(urls)
        self._credential = key
        self._seed = seed
        self._origin = time.monotonic()
        self._world = World()
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"client-{number}")
            for number in range(1, clients + 1)
        ]
        self.failures: list[BaseException] = []

    def start(self) -> None:
        """Open accounts and fund them; then let the clients work until ``stop``."""
        client = self._client(0)
        for number, commands in enumerate(opening(self._seed)):
            _until_answered(
                client,
                ("batch", {"mode": "each", "commands": commands}, f"{self._seed}-open-{number}"),
                len(self._urls),
                time.monotonic() + SETUP_S,
            )
        client.close()
        for thread in self._threads:
            thread.start()

    def wait_for(self, attempts: int, seconds: float) -> None:
        """Let the clients work until so much was sent, or so much time has passed."""
        until = self.now + seconds
        while len(self.history.attempts) < attempts and self.now < until:
            time.sleep(0.05)

    def stop(self) -> None:
        """Let each client finish what it is at."""
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def resolve(self) -> None:
        """Send every command whose outcome is unknown again, until it is answered; read all."""
        deadline = time.monotonic() + RESOLVE_S
        unresolved = unresolved_of(self.history)
        with ThreadPoolExecutor(RESOLVERS) as pool:
            clients = [self._client(900 + number) for number in range(RESOLVERS)]

            def resolve(part: int) -> None:
                for attempt in unresolved[part::RESOLVERS]:
                    again = (attempt.operation, attempt.command, attempt.key)
                    _until_answered(
                        clients[part], again, len(self._urls), deadline, attempt.if_match
                    )

            list(pool.map(resolve, range(RESOLVERS)))
            for client in clients:
                client.close()
        self._read_all(deadline)

    @property
    def now(self) -> float:
        """Seconds since the workload was made, as in its history."""
        return time.monotonic() - self._origin

    def _read_all(self, deadline: float) -> None:
        """Read every account from every server, no older than the last acknowledged command."""
        client = self._client(999)
        positions = [item.position or 0 for at in self.history.attempts for item in items_of(at)]
        for url_index in range(len(self._urls)):
            for account_id in self._world.accounts():
                asked = {"account_id": account_id, "min_position": max(positions)}
                while time.monotonic() < deadline:
                    read = client.send(url_index, "read_balance", asked, timeout_s=CALM_REQUEST_S)
                    if not read.is_unknown and read.code != "position_ahead":
                        break
                    time.sleep(_wait_s(read, CALM_WAIT_MAX_S))
        client.close()

    def _client(self, number: int) -> Client:
        """A client of that number."""
        return Client(self._urls, self._credential, self.history, number, self._origin)

    def _work(self, number: int) -> None:
        """What one client does until the workload is over."""
        choose = random.Random(f"{self._seed}/{number}")
        client, twin = self._client(number), self._client(100 + number)
        worker = _Worker(
            client, Pair(client, twin), Choices(choose, self._world, f"{self._seed}-{number}")
        )
        try:
            while not self._is_over.is_set() and len(self.history.attempts) < ATTEMPTS_MAX:
                worker.step(choose, len(self._urls), self._is_over)
                self._is_over.wait(choose.random() * PAUSE_S)
        except BaseException as error:  # noqa: BLE001 - told by stop(): it is the harness's fault
            self.failures.append(error)
        finally:
            client.close()
            twin.close()


class _Worker:
    """One client's hands."""

    def __init__(self, client: Client, pair: Pair, choices: Choices) -> None:
        self._client = client
        self._pair = pair
        self._choices = choices

    def step(self, choose: random.Random, servers: int, is_over: threading.Event) -> None:
        """Send what is drawn next, and deal with what comes of it."""
        server = choose.randrange(servers)
        match choose.choices(("command", "read", "again", "other", "both"), (62, 22, 6, 4, 6))[0]:
            case "command":
                self._command(choose, server, servers, is_over)
            case "read":
                operation, asked = self._choices.read()
                self._choices.note(self._client.send(server, operation, asked))
            case "again":
                self._again(choose, server)
            case "other":
                self._with_other_content(server)
            case _:
                self._to_both(choose, servers)

    def _command(
        self, choose: random.Random, server: int, servers: int, is_over: threading.Event
    ) -> None:
        """Send a new command; sent again with its key if there is no answer, or left for later."""
        operation, command = self._choices.command()
        key = self._choices.new_key()
        command = self._choices.keyed(operation, command, key)
        if_match = None
        if operation in {"set_limit", "freeze_account"} and choose.random() < 0.4:
            asked = {"account_id": command["account_id"]}
            read = self._client.send(server, "read_account", asked)
            self._choices.note(read)
            if_match = read.etag
        for _ in range(RETRIES_MAX):
            attempt = self._client.send(server, operation, command, key=key, if_match=if_match)
            self._choices.note(attempt)
            is_settled = not attempt.is_unknown and attempt.status != 429
            if is_settled or is_over.is_set():
                return
            # Who gets no answer does not go on as if nothing was: it may be that nobody is there.
            is_over.wait(_wait_s(attempt, WAIT_MAX_S))
            if choose.random() < 0.35:
                return
            server = choose.randrange(servers)

    def _again(self, choose: random.Random, server: int) -> None:
        """Send something once more that was acknowledged: the same answer is owed."""
        earlier = self._choices.earlier(choose)
        if earlier is not None:
            again = (earlier.operation, earlier.command)
            self._choices.note(
                self._client.send(server, *again, key=earlier.key, if_match=earlier.if_match)
            )

    def _with_other_content(self, server: int) -> None:
        """Use the key of something acknowledged for something else: a refusal is owed."""
        earlier = self._choices.earlier_movement()
        if earlier is not None:
            command = {**earlier.command, "amount": str(int(earlier.command["amount"]) + 1)}
            self._client.send(server, earlier.operation, command, key=earlier.key)

    def _to_both(self, choose: random.Random, servers: int) -> None:
        """Send one key to two servers at the same moment: the same command, or two that differ."""
        operation, command = self._choices.movement()
        key = self._choices.new_key()
        other = command
        if choose.random() < 0.25:
            other = {**command, "amount": str(int(command["amount"]) + 1)}
        url_indexes = (0, servers - 1) if choose.random() < 0.5 else (servers - 1, 0)
        for attempt in self._pair.send(operation, (command, other), key, url_indexes):
            self._choices.note(attempt)


def unresolved_of(history: History) -> list[Attempt]:
    """Of each request with a command whose outcome is not known: its first attempt.

    Known is what was acknowledged once, or refused every time.
    """
    unresolved: list[Attempt] = []
    for attempts in history.commands().values():
        acknowledged: set[str] = set()
        doubted: set[str] = set()
        for item in (item for attempt in attempts for item in items_of(attempt)):
            if item.is_acknowledged:
                acknowledged.add(item.key)
            elif item.status is None or item.code == TOO_MANY:
                doubted.add(item.key)
        if doubted - acknowledged:
            unresolved.append(attempts[0])
    return unresolved


def _until_answered(
    client: Client,
    command: tuple[str, dict[str, Any], str | None],
    servers: int,
    deadline: float,
    if_match: str | None = None,
) -> Attempt:
    """Send a command to one server after the other until one answers."""
    operation, fields, key = command
    server = 0
    while True:
        attempt = client.send(
            server, operation, fields, key=key, if_match=if_match, timeout_s=CALM_REQUEST_S
        )
        is_settled = not attempt.is_unknown and attempt.status != 429
        if is_settled or time.monotonic() > deadline:
            return attempt
        time.sleep(_wait_s(attempt, CALM_WAIT_MAX_S))
        server = (server + 1) % servers


def _wait_s(attempt: Attempt, most_s: float) -> float:
    """How long to wait before the next attempt: as the answer says, within bounds."""
    return min(0.1 if attempt.retry_after is None else attempt.retry_after, most_s)
