"""One client of the servers: keep-alive connections, one request at a time, everything recorded.

Knows the addresses of commands and reads, and what the headers of an answer mean; nothing of what
an answer ought to be.
"""

import http.client
import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from tests.faults.history import Attempt, History

REQUEST_S = 2.5
"""A client that waited so long gives up: the outcome is unknown to it."""

# The address of each command, and the field of the command that is in it.
ROUTES: dict[str, tuple[str, str | None]] = {
    "transfer": ("/v1/transfers", None),
    "deposit": ("/v1/deposits", None),
    "withdraw": ("/v1/withdrawals", None),
    "post_entry": ("/v1/entries", None),
    "reverse_entry": ("/v1/entries/{}/reversal", "reverses"),
    "place_hold": ("/v1/holds", None),
    "capture_hold": ("/v1/holds/{}/capture", "hold_id"),
    "void_hold": ("/v1/holds/{}/void", "hold_id"),
    "open_account": ("/v1/accounts", None),
    "set_limit": ("/v1/accounts/{}/limit", "account_id"),
    "freeze_account": ("/v1/accounts/{}/freeze", "account_id"),
    "unfreeze_account": ("/v1/accounts/{}/unfreeze", "account_id"),
    "register_customer": ("/v1/customers", None),
    "change_profile": ("/v1/customers/{}/profile", "customer_id"),
    "batch": ("/v1/batch", None),
    "read_balance": ("/v1/accounts/{}/balance", "account_id"),
    "read_account": ("/v1/accounts/{}", "account_id"),
    "read_customer": ("/v1/customers/{}", "customer_id"),
}


class Client:
    """Sends requests one after another, each to the server that is asked for."""

    def __init__(
        self, urls: Sequence[str], credential: str, history: History, number: int, origin: float
    ) -> None:
        """Connect to nothing yet; times are counted from ``origin`` of the monotonic clock."""
        self._hosts = [urlsplit(url).netloc for url in urls]
        self._connections: dict[int, http.client.HTTPConnection] = {}
        self._headers = {"Authorization": f"Bearer {credential}"}
        self._history = history
        self._number = number
        self._origin = origin
        self._attempts = itertools.count(1)

    def send(  # noqa: PLR0913 - what a request is made of
        self,
        url_index: int,
        operation: str,
        command: dict[str, Any],
        *,
        key: str | None = None,
        if_match: str | None = None,
        timeout_s: float = REQUEST_S,
    ) -> Attempt:
        """Send one request and wait for its answer, but no longer than that."""
        attempt = self._history.add(
            Attempt(
                client=self._number,
                number=next(self._attempts),
                operation=operation,
                key=key,
                command=command,
                url_index=url_index,
                invoked_at=self._now(),
                if_match=if_match,
            )
        )
        try:
            self._exchange(attempt, timeout_s)
        except (OSError, http.client.HTTPException, msgspec.DecodeError):
            self._drop(url_index)
        attempt.completed_at = self._now()
        return attempt

    def close(self) -> None:
        """Let go of all connections."""
        for url_index in list(self._connections):
            self._drop(url_index)

    def _exchange(self, attempt: Attempt, timeout_s: float) -> None:
        """Send the request and take the answer in, if it comes."""
        connection = self._connections.get(attempt.url_index)
        if connection is None:
            connection = http.client.HTTPConnection(self._hosts[attempt.url_index])
            self._connections[attempt.url_index] = connection
        connection.timeout = timeout_s
        if connection.sock is not None:
            connection.sock.settimeout(timeout_s)
        method, path, body = _request(attempt)
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if attempt.key is not None:
            headers["Idempotency-Key"] = attempt.key
        if attempt.if_match is not None:
            headers["If-Match"] = attempt.if_match
        connection.request(method, path, body, headers)
        with connection.getresponse() as response:
            answer = msgspec.json.decode(response.read(), type=dict[str, Any])
            attempt.etag = response.headers.get("ETag")
            attempt.is_replayed = response.headers.get("Idempotency-Replayed") == "true"
            after = response.headers.get("Retry-After")
            attempt.retry_after = None if after is None else float(after)
            attempt.answer = answer
            attempt.status = response.status

    def _drop(self, url_index: int) -> None:
        """Forget a connection of which nobody knows what is still on it."""
        connection = self._connections.pop(url_index, None)
        if connection is not None:
            connection.close()

    def _now(self) -> float:
        """Seconds since the origin."""
        return time.monotonic() - self._origin


class Pair:
    """Two clients that send at the same moment."""

    def __init__(self, first: Client, second: Client) -> None:
        """Nothing is sent yet."""
        self._clients = (first, second)

    def send(
        self,
        operation: str,
        commands: tuple[dict[str, Any], dict[str, Any]],
        key: str,
        url_indexes: tuple[int, int],
    ) -> tuple[Attempt, Attempt]:
        """Send both commands with one key at once, each to a server; both answers."""
        attempts: list[Attempt] = []
        begin = threading.Barrier(2)

        def other() -> None:
            begin.wait()
            attempts.append(self._clients[1].send(url_indexes[1], operation, commands[1], key=key))

        thread = threading.Thread(target=other)
        thread.start()
        begin.wait()
        first = self._clients[0].send(url_indexes[0], operation, commands[0], key=key)
        thread.join()
        return first, attempts[0]


def _request(attempt: Attempt) -> tuple[str, str, bytes | None]:
    """Method, address and body of an attempt."""
    template, in_address = ROUTES[attempt.operation]
    fields = dict(attempt.command)
    path = template.format(quote(str(fields.pop(in_address)), safe="")) if in_address else template
    if attempt.is_read:
        asked = fields.get("min_position")
        return "GET", path if asked is None else f"{path}?min_position={asked}", None
    return "POST", path, msgspec.json.encode(fields)
