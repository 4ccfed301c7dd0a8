"""Clients that pay without end, and send again under the same key whatever was not answered."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request

ACCOUNTS = 6
REQUEST_S = 5.0
RUN_S = 90.0
"""However a test fails, they end after this long."""


class Clients:
    """Threads, each paying one thing after the other; what was acknowledged, by key."""

    def __init__(self, port: int, key: str, count: int = 3) -> None:
        """Begin to pay."""
        self.acknowledged: dict[str, int] = {}
        self.refused: list[str] = []
        self.retried = 0
        self._address = f"http://127.0.0.1:{port}/v1/transfers"
        self._key = key
        self._stopping = threading.Event()
        self._deadline = time.monotonic() + RUN_S
        self._threads = [threading.Thread(target=self._pay, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing new; everything that was begun is sent until it is answered."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        assert time.monotonic() < self._deadline, "the server never answered again"

    def _pay(self, client: int) -> None:
        """Pay until told to stop."""
        number = 0
        while not self._stopping.is_set() and time.monotonic() < self._deadline:
            number += 1
            key = f"client-{client}-{number:05}"
            while key not in self.acknowledged and time.monotonic() < self._deadline:
                self._attempt(key, client, number)

    def _attempt(self, key: str, client: int, number: int) -> None:
        """Send a payment once."""
        body = {
            "debit_account_id": f"a{(client + number) % ACCOUNTS}",
            "credit_account_id": f"a{(client + number + 1) % ACCOUNTS}",
            "amount": str(1 + number % 97),
            "currency": "EUR",
        }
        try:
            self.acknowledged[key] = post(self._address, self._key, key, body)
        except urllib.error.HTTPError as error:
            self.refused.append(error.read().decode())
            self._wait()
        except (OSError, http.client.HTTPException):
            self._wait()

    def _wait(self) -> None:
        """Before a payment is sent again."""
        self.retried += 1
        time.sleep(0.05)


def post(address: str, api_key: str, key: str, body: dict[str, str]) -> int:
    """Send a command; the position of its event."""
    request = urllib.request.Request(
        address,
        data=json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        },
    )
    with urllib.request.urlopen(request, timeout=REQUEST_S) as answer:
        position: int = json.loads(answer.read())["position"]
        return position


def accounts() -> str:
    """Lines that open the accounts."""
    return "".join(
        json.dumps(
            {
                "type": "open_account",
                "key": f"open-{number}",
                "account_id": f"a{number}",
                "currency": "EUR",
                "limit": None,
            }
        )
        + "\n"
        for number in range(ACCOUNTS)
    )
