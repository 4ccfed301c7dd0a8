"""A few requests of every kind to every operation, as each role: the short form of a campaign.

Over real sockets, by the server's own protocol; what is tried is in ``api_fuzzing``. The long form,
with tens of thousands of requests, is ``make fuzz-api``.
"""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import uvicorn
from starlette.testclient import TestClient
from tests.http.bank import Bank, Json
from tests.security.api_fuzzing import Campaign, never_sent
from tests.security.people import PEOPLE, VALUES

from api.app import create_app
from api.default_roles import DEFAULT_ROLES
from api.protocol import Protocol
from api.routes import COMMANDS
from api.runtime import Runtime

SEED = 20_260_514


@pytest.fixture(scope="module")
def address(shared_runtime: Runtime) -> Iterator[str]:
    """A server in a thread of its own."""
    config = uvicorn.Config(
        create_app(shared_runtime), port=0, http=Protocol, log_config=None, server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def furnished(shared_runtime: Runtime) -> Iterator[Bank]:
    """A bank with something of everything: each command's own example, and the test subjects."""
    with TestClient(create_app(shared_runtime)) as client:
        bank = Bank(shared_runtime, client, "fuzzed")
        for customer_id, profile in PEOPLE.items():
            body = {"customer_id": customer_id, "profile": profile}
            assert bank.post("/v1/customers", body).status_code == 201
        for account_id in ("anna-current", "ben-current", "fees"):
            bank.open(account_id, 1_000)
        for route in COMMANDS:
            if route.path_field is None:
                bank.post(route.path, dict(route.example))
        bank.catch_up()
        yield bank


@pytest.fixture(scope="module")
def campaign(address: str, furnished: Bank) -> Campaign:
    """A campaign against that bank, which knows its ids."""
    keys = {role: furnished.keys[role] for role in DEFAULT_ROLES}
    made = Campaign(address, keys, VALUES, SEED, roles_each=2)
    made.look_around()
    return made


def test_every_operation_answers_only_what_its_document_says(campaign: Campaign) -> None:
    """Good and bad requests to every operation: no 5xx, nothing undocumented, nothing personal."""
    campaign.examples(good=1, bad=1)
    assert not campaign.faults, campaign.report()
    assert list(never_sent(campaign)) == []
    statuses = {status for _, status in campaign.counts}
    assert {200, 201, 403, 404, 422} <= statuses
    assert {role for role, _ in campaign.counts} == set(DEFAULT_ROLES)


@pytest.mark.parametrize("role", ["admin", "teller"])
def test_requests_that_lead_on_to_each_other(campaign: Campaign, role: str) -> None:
    """Sequences along the document's links: what one request makes, the next ones work on."""
    before = campaign.requests_sent
    campaign.sequences(role, count=3, steps=8)
    assert not campaign.faults, campaign.report()
    assert campaign.requests_sent > before


ANSWERS = {
    "/good": (200, {"name": "nobody"}),
    "/failing": (500, {"detail": "oops"}),
    "/undocumented": (418, {"detail": "a teapot"}),
    "/of-another-shape": (200, {"name": 5}),
    "/telling": (403, {"detail": f"not for {VALUES[0].upper()}"}),
}
DOCUMENTED: Json = {
    status: {
        "description": "",
        "content": {
            "application/json": {
                "schema": {"type": "object", "properties": {"name": {"type": "string"}}}
            }
        },
    }
    for status in ("200", "403", "500")
}


class Misbehaving(BaseHTTPRequestHandler):
    """A server with every fault that a campaign looks for, one at each address."""

    def do_GET(self) -> None:
        """Answer as the table says."""
        status, answer = ANSWERS.get(self.path.partition("?")[0], (200, DOCUMENT))
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


DOCUMENT: Json = {
    "openapi": "3.1.0",
    "info": {"title": "faults", "version": "1"},
    "components": {},
    "paths": {
        path: {"get": {"operationId": path[1:], "responses": DOCUMENTED}} for path in ANSWERS
    },
}


def test_a_campaign_finds_what_it_looks_for() -> None:
    """A failure, an undocumented answer, one of another shape, and a name in an error."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Misbehaving)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        found = Campaign(address, {"admin": "lk_1_2_3"}, VALUES, SEED)
        found.examples(good=1, bad=0)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    kinds = {fault.operation: fault.kind for fault in found.faults.values()}
    assert kinds.keys() == {f"GET {path}" for path in ANSWERS} - {"GET /good"}
    assert "Server error" in kinds["GET /failing"]
    assert "Undocumented status code" in kinds["GET /undocumented"]
    assert "violates schema" in kinds["GET /of-another-shape"]
    assert VALUES[0].casefold() in kinds["GET /telling"]
