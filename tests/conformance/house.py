"""The ledger that a case runs on: the whole HTTP application over a database, and a movable clock.

Commands and queries go through the API as any client's do. What no client does is here too: letting
time pass, and asking the projections to be made again.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from httpx2 import Response
from starlette.testclient import TestClient
from tests.conformance.cases import Json
from tests.conformance.seen import Answer
from tests.conformance.wires import Wire

from api.routes import COMMANDS
from api.runtime import Runtime
from ledger_core.ledger import Submission
from projections import runner

BEGINNING = datetime(2026, 3, 2, 9, tzinfo=UTC)
_ROUTES = {route.operation: route for route in COMMANDS}
_PAGE = 1_000
_STATUS = {200: "unchanged", 201: "recorded", 202: "pending_approval"}
# What the votes on a request are called.
_WORDS = {
    "ApprovalRequested": ("pending_approval",),
    "ApprovalGiven": ("collected",),
    "ApprovalCompleted": ("completed",),
    "ApprovalRejected": ("rejected",),
    "ApprovalWithdrawn": ("rejected", "withdrawn"),
    "ApprovalFailed": ("failed",),
}


class Clock:
    """The ledger's clock, which stands still unless it is moved."""

    def __init__(self) -> None:
        """Begin on an ordinary day."""
        self.elapsed_s = 0

    def __call__(self) -> datetime:
        """This moment."""
        return BEGINNING + timedelta(seconds=self.elapsed_s)


class House:
    """A database with ledgers in it, and the application that serves them."""

    def __init__(self, runtime: Runtime, client: TestClient, clock: Clock) -> None:
        """Use an open runtime with that clock, and a client of its application."""
        self.runtime = runtime
        self.client = client
        self.clock = clock

    def desk(self, ledger: str) -> "Desk":
        """A ledger of that name, made where there is none."""
        return Desk(self, self.runtime.create_ledger(ledger))


class Desk:
    """One ledger, as its callers reach it."""

    def __init__(self, house: House, ledger_id: int) -> None:
        """Make the key of the caller who does what no person is named for."""
        self.house = house
        self.ledger_id = ledger_id
        self._keys: dict[tuple[str | None, tuple[str, ...]], str] = {}

    def send(self, wire: Wire, person: str | None = None, has: Sequence[str] = ()) -> Answer:
        """Send one command by its own route."""
        return answer_of(self.send_raw(wire, person, has))

    def send_raw(self, wire: Wire, person: str | None = None, has: Sequence[str] = ()) -> Response:
        """Send one command by its own route; the response as it comes."""
        route = _ROUTES[wire.type]
        path, body = route.path, dict(wire.body)
        if route.path_field is not None:
            named = str(body.pop(route.path_field))
            path = path.replace("{" + route.path_field + "}", quoted(named))
        headers = self._headers(person, has) | {"Idempotency-Key": wire.key}
        return self.house.client.post(path, json=body, headers=headers)

    def post(self, path: str, body: Json) -> Response:
        """Send a document to an address that is no single command's."""
        return self.house.client.post(path, json=body, headers=self._headers(None, ()))

    def get(self, path: str, **params: object) -> Response:
        """Read a view, up to date with all that was sent."""
        self.catch_up()
        given = {
            name.replace("__", "."): str(value)
            for name, value in params.items()
            if value is not None
        }
        headers = self._headers(None, ())
        return self.house.client.get(path, params=given or None, headers=headers)

    def listed(self, path: str, member: str, **params: object) -> list[Json]:
        """Every item of a listing, page after page."""
        found: list[Json] = []
        cursor: str | None = None
        while cursor != "":
            page = self.get(path, limit=_PAGE, cursor=cursor, **params)
            assert page.status_code == 200, page.text
            found += page.json()[member]
            cursor = page.json()["next"]
        return found

    def events(self, after: int = 0) -> list[Json]:
        """Every event after a position."""
        found: list[Json] = []
        following: int | None = after
        while following is not None:
            page = self.get("/v1/events", after=following, limit=_PAGE).json()
            found += page["events"]
            following = page["next_after"]
        return found

    def event(self, position: int) -> Json:
        """One event."""
        found: Json = self.get(f"/v1/events/{position}").json()
        return found

    def catch_up(self) -> None:
        """Bring the views up to the head of the log."""
        with self.house.runtime.connect("ledger_projector") as connection:
            runner.catch_up(connection, self.ledger_id)

    def wake(self) -> None:
        """What the clockwork does when time has passed: have the writer see what is due."""
        submission = Submission((), "clock")
        self.house.runtime.submit(self.ledger_id, submission).result()

    def _headers(self, person: str | None, has: Sequence[str]) -> dict[str, str]:
        """The headers of a request by a key of that person with those permissions."""
        who = (person, tuple(sorted(has)))
        if who not in self._keys:
            self._keys[who] = self.house.runtime.create_key(
                self.ledger_id, "admin", "conformance", person=person, permissions=who[1]
            )
        return {"Authorization": f"Bearer {self._keys[who]}"}


def quoted(segment: str) -> str:
    """An id as a segment of an address."""
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}"
        for byte in segment.encode()
    )


def answer_of(response: Response) -> Answer:
    """What became of a command, from the response to it."""
    document = response.json()
    if not response.is_success:
        return refusal_of(document)
    status = _STATUS.get(response.status_code, "recorded")
    if response.headers.get("idempotency-replayed") == "true":
        status = "replayed"
    return Answer(
        status=status,
        amount=moved_in(document),
        words=_WORDS.get(document.get("type", ""), ()),
        detail=str(made_in(document) or ""),
    )


def refusal_of(problem: Json) -> Answer:
    """A refusal, from its problem document."""
    fields = problem.get("seen", {}).get("fields", [])
    fields = [*fields, *(error.get("field") for error in problem.get("errors", []))]
    return Answer(
        status="refused",
        code=problem["code"],
        fields=tuple(str(field) for field in fields if field is not None),
        detail=str({name: problem.get(name) for name in ("seen", "errors") if problem.get(name)}),
    )


def moved_in(document: Json) -> int | None:
    """How much an answer or an event moves or holds, in minor units, if it moves money at all."""
    postings = document.get("postings")
    if postings is not None:
        debits = (line for line in postings if line["side"] == "debit")
        return sum(int(line.get("amount", line.get("amount_minor", 0))) for line in debits)
    if document.get("cause") == "captured" or document.get("status") == "unchanged":
        return 0
    amount = document.get("amount", document.get("amount_minor"))
    return int(str(amount)) if str(amount).isdigit() else None


def made_in(document: Json) -> Any:  # noqa: ANN401 - an id, or nothing
    """The id of what a command made, if it made anything."""
    if document.get("type") == "HoldReleased":
        return None
    for name in ("entry_id", "hold_id", "request_id", "account_id"):
        if document.get(name) is not None:
            return document[name]
    return None
