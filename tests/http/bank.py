"""How the tests of HTTP speak to a bank: a key of each role, commands, views up to date."""

from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient

from api.runtime import Runtime
from ledger_core.access_role import DEFAULT_NAMES
from projections import runner

Json = dict[str, Any]


class Bank:
    """A ledger behind its HTTP API, and how tests speak to it."""

    def __init__(self, runtime: Runtime, client: TestClient, ledger: str) -> None:
        """Create the ledger and a key of each role."""
        self.runtime = runtime
        self.client = client
        self.ledger = ledger
        self.ledger_id = runtime.create_ledger(ledger)
        self.keys: dict[str, str] = {
            role: runtime.create_key(self.ledger_id, role, f"a {role}") for role in DEFAULT_NAMES
        }
        self._serial = 0

    def headers(self, role: str = "admin", **others: str) -> dict[str, str]:
        """The headers of a request by a key of that role."""
        return {"Authorization": f"Bearer {self.keys[role]}", **others}

    def post(
        self, path: str, body: Json, *, key: str | None = None, role: str = "admin"
    ) -> Response:
        """Post a command; without a key, one of its own."""
        self._serial += 1
        key = f"serial-{self._serial}" if key is None else key
        return self.client.post(
            path, json=body, headers=self.headers(role, **{"Idempotency-Key": key})
        )

    def post_raw(self, path: str, body: bytes, **headers: str) -> Response:
        """Post bytes as they are."""
        self._serial += 1
        given = {
            "Idempotency-Key": f"serial-{self._serial}",
            "Content-Type": "application/json",
            **headers,
        }
        return self.client.post(path, content=body, headers=self.headers() | given)

    def get(self, path: str, *, role: str = "admin", **params: object) -> Response:
        """Read a view, up to date with all that was posted."""
        self.catch_up()
        given = {name: str(value) for name, value in params.items() if value is not None}
        return self.client.get(path, params=given or None, headers=self.headers(role))

    def catch_up(self) -> None:
        """Bring the views up to the head of the log."""
        with self.runtime.connect("ledger_projector") as connection:
            runner.catch_up(connection, self.ledger_id)

    def events(self) -> list[Json]:
        """Every event of the log, as the API shows it."""
        answer = self.client.get("/v1/events", params={"limit": "1000"}, headers=self.headers())
        found: list[Json] = answer.json()["events"]
        return found

    def open(self, account_id: str, amount: int = 0, currency: str = "EUR") -> None:
        """Open an account and deposit an amount of minor units."""
        assert self.post(
            "/v1/accounts", {"account_id": account_id, "currency": currency}
        ).is_success
        if amount:
            body = {"account_id": account_id, "amount": str(amount), "currency": currency}
            assert self.post("/v1/deposits", body).is_success
