"""``make fuzz-api``: a real server, a furnished bank, and tens of thousands of requests.

``python -m tests.security.fuzz_api REQUESTS [SEED]`` starts ``ledger serve`` on a PostgreSQL of its
own in a temporary folder, sends at least so many requests as each of the default roles (see
``api_fuzzing``), and then looks at what the server logged, at its metrics and at its books. It ends
with 0 where no answer was a failure or undocumented, nothing personal was seen anywhere, nothing
failed in the log, and ``ledger verify`` holds.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests
from tests.leaks import search
from tests.security.api_fuzzing import TIMEOUT_S, Campaign, never_sent
from tests.security.people import PEOPLE, VALUES

from api.default_roles import DEFAULT_ROLES

LEDGER = Path(sys.executable).with_name("ledger")
START_S_MAX = 180
# Nobody sends so much so fast: what is tried here is what the API answers, not how much it takes.
SURROUNDINGS: Mapping[str, str] = {
    "LEDGER_RATE_PER_S": "off",
    "LEDGER_RATE_FAILURES_PER_S": "off",
    "LEDGER_RATE_PUBLIC_PER_S": "off",
    "LEDGER_SELF_AUDIT": "off",
}

Json = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Run the campaign; 0 where nothing was found."""
    wanted = int(arguments[0]) if arguments else 20_000
    seed = int(arguments[1]) if arguments[1:] else int.from_bytes(os.urandom(4))
    print(f"seed {seed}", flush=True)
    # Whoever ends this ends its server and database as well.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with TemporaryDirectory(prefix="ledger-fuzz-") as folder, serving(Path(folder)) as server:
        furnish(server)
        campaign = Campaign(server.address, server.keys(), VALUES, seed, new_key=server.key)
        campaign.look_around()
        try:
            _rounds(campaign, wanted)
        finally:
            print(campaign.report(), flush=True)
        found = _found(campaign, server)
    _tell(campaign, found)
    return 1 if found else 0


class Server:
    """A server that runs, and the command line beside it."""

    def __init__(self, address: str, environment: Mapping[str, str], log: Path) -> None:
        """Where it is."""
        self.address = address
        self.log = log
        self._environment = environment

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run ``ledger …``."""
        return subprocess.run(
            [LEDGER, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def key(self, role: str) -> str:
        """A new key of a role."""
        done = self.run("keys", "create", role, "--name", "fuzz")
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip().splitlines()[-1].strip()

    def keys(self) -> dict[str, str]:
        """A new key of each default role."""
        return {role: self.key(role) for role in sorted(DEFAULT_ROLES)}


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server with a data folder of its own, ready to answer; gone afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")},
        **SURROUNDINGS,
        "LEDGER_DATA_DIR": str(folder / "data"),
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [LEDGER, "serve", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", environment, log)
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(60)
        server.run("stop")


def furnish(server: Server) -> None:
    """Post every command's own example, and the test subjects: a bank with something of all."""
    key = server.key("admin")
    document = requests.get(f"{server.address}/openapi.json", timeout=TIMEOUT_S).json()
    for customer_id, profile in PEOPLE.items():
        body = {"customer_id": customer_id, "profile": profile}
        _post(server, key, "/v1/customers", f"furnish-{customer_id}", body).raise_for_status()
    for account_id in ("anna-current", "ben-current", "fees"):
        body = {"account_id": account_id, "currency": "EUR", "limit": "1000000"}
        _post(server, key, "/v1/accounts", f"furnish-{account_id}", body)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {})
            example = content.get("application/json", {}).get("example")
            if example is not None and "{" not in path and "commands" in operation["tags"]:
                _post(server, key, path, f"furnish-{operation['operationId']}", example)


def _post(server: Server, key: str, path: str, name: str, body: Json) -> requests.Response:
    """Post a command."""
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": name}
    return requests.post(server.address + path, json=body, headers=headers, timeout=TIMEOUT_S)


def _rounds(campaign: Campaign, wanted: int) -> None:
    """Send requests of every kind until there are enough."""
    while campaign.requests_sent < wanted:
        campaign.examples(good=8, bad=4)
        _say(campaign)
        campaign.boundaries(most=8)
        _say(campaign)
        for role in campaign.keys:
            campaign.sequences(role, count=12, steps=12)
        campaign.look_around()
        campaign.next_round()
        _say(campaign)


def _say(campaign: Campaign) -> None:
    """Say how far it is."""
    print(f"{campaign.requests_sent} requests, {len(campaign.faults)} faults", flush=True)


def _found(campaign: Campaign, server: Server) -> list[str]:
    """Everything that is wrong, in words."""
    found = [f"{len(campaign.faults)} faults, see above"] if campaign.faults else []
    found += [f"never sent: {label}" for label in never_sent(campaign)]
    logged = server.log.read_text(errors="replace")
    found += [f"logged: {line[:500]}" for line in logged.splitlines() if _is_failure(line)][:20]
    metrics = requests.get(f"{server.address}/metrics", timeout=TIMEOUT_S).text
    secrets = [key.rpartition("_")[2] for key in campaign.keys.values()]
    for leak in search("log", logged, [*VALUES, *secrets]) + search("metrics", metrics, VALUES):
        found.append(f"{leak.where} shows …{leak.near}…")
    verified = server.run("verify")
    if verified.returncode:
        found.append(f"ledger verify: {verified.stdout[-2_000:]}{verified.stderr[-500:]}")
    return found


def _is_failure(line: str) -> bool:
    """Whether a line of the log tells of a failure of the program."""
    try:
        document = json.loads(line)
    except ValueError:
        return False
    level = document.get("level") if isinstance(document, dict) else None
    return level in {"error", "critical"} or '"event":"failure"' in line


def _tell(campaign: Campaign, found: list[str]) -> None:
    """Print what was sent and answered, and what is wrong."""
    statuses = sorted({status for _, status in campaign.counts})
    print(f"{campaign.requests_sent} requests to {len(campaign.sent)} operations")
    print("role".ljust(10), *(str(status).rjust(6) for status in statuses))
    for role in campaign.keys:
        counts = (str(campaign.counts[role, status]).rjust(6) for status in statuses)
        print(role.ljust(10), *counts)
    print("\n\n".join(found) or "nothing found")


def _wait(server: Server, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the server is ready."""
    for _ in range(START_S_MAX * 5):
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{server.address}/readyz", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    raise RuntimeError(server.log.read_text(errors="replace")[-2_000:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
