"""What finds no room is refused at once, whichever way it comes, and leaves nothing behind."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import pytest
from httpx2 import Response
from tests.http.bank import Bank

from api import busy, problems
from api.busy import Lines
from api.edge import Trace, problem_response
from api.intake import Intake, Result
from api.paths import finder
from api.readiness import BEHIND, LagWatch
from api.routes import COMMANDS
from api.standing import ProjectionStanding, Standing
from ledger_core.errors import LedgerBusy
from ledger_core.ledger import Submission

if TYPE_CHECKING:
    from api.app import Application
    from api.context import Context
    from ledger_core.writer import Item

AT = datetime(2026, 1, 1, tzinfo=UTC)


def _context(bank: Bank) -> "Context":
    """What the routes of the bank's server share."""
    found: Context = cast("Application", bank.client.app).state.context
    return found


def _require_refused(answer: Response, reason: str) -> None:
    """The answer says that there is no room, why, and when to come again."""
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_busy")
    assert answer.json()["seen"] == {"reason": reason}
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_full_ledger_refuses_commands_before_they_are_looked_at(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Single ones by any address, and batches; what is no JSON, too. Then all is as before."""
    bank.open("a", 5)
    before = len(bank.events())
    intake = _context(bank).intake
    with monkeypatch.context() as full:
        for room in (intake.singles.of(bank.ledger_id), intake.batches.of(bank.ledger_id)):
            full.setattr(room, "under_way", room.limit)
        for path in ("/v1/deposits", "/v1/accounts/a/freeze", "/v1/batch"):
            _require_refused(bank.post_raw(path, b"no JSON"), "queue_full")
        assert bank.get("/v1/accounts/a").is_success
    assert bank.get("/v1/accounts/a").json()["posted_minor"] == "5"
    assert len(bank.events()) == before
    body = {"account_id": "a", "amount": "1", "currency": "EUR"}
    assert bank.post("/v1/deposits", body).is_success


def test_a_batch_is_not_kept_out_by_single_commands_nor_they_by_it(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind has a room of its own."""
    bank.open("a")
    intake = _context(bank).intake
    many = [{"type": "deposit", "key": f"k{number}", "account_id": "a"} for number in range(101)]
    commands = [{**item, "amount": "1", "currency": "EUR"} for item in many]
    with monkeypatch.context() as full:
        full.setattr(intake.singles.of(bank.ledger_id), "under_way", 100_000)
        assert bank.post("/v1/batch", {"commands": commands}).json()["recorded"] == 101
        _require_refused(bank.post("/v1/batch", {"commands": commands[:1]}), "queue_full")
    with monkeypatch.context() as full:
        full.setattr(intake.batches.of(bank.ledger_id), "under_way", 300_000)
        assert bank.post("/v1/deposits", {**commands[0], "type": "deposit", "key": ""}).is_success


def test_views_that_are_too_far_behind_close_their_ledger_to_commands(bank: Bank) -> None:
    """Beyond the setting; opened again at half of it, and not before; reads go on."""
    bank.open("a")
    context = _context(bank)
    watch = LagWatch(context.intake, 1_000)

    def stand(lag: int, ledger_id: int = bank.ledger_id) -> None:
        """Have the views found that far behind."""
        views = {
            "balances": ProjectionStanding(9_000 - lag, AT, lag),
            "entries": ProjectionStanding(9_000, AT, 0),
        }
        watch.note([Standing(ledger_id, "x", 9_000, AT, views)])

    body = {"account_id": "a", "amount": "1", "currency": "EUR"}
    stand(1_000)
    assert bank.post("/v1/deposits", body).is_success
    stand(1_001)
    _require_refused(bank.post("/v1/deposits", body), BEHIND)
    _require_refused(bank.post("/v1/batch", {"commands": []}), BEHIND)
    assert bank.get("/v1/accounts/a").is_success
    stand(501)
    _require_refused(bank.post("/v1/deposits", body), BEHIND)
    stand(500)
    assert bank.post("/v1/deposits", body).is_success


def test_no_bound_for_the_lag_is_no_watch(bank: Bank) -> None:
    """Off is off."""
    context = _context(bank)
    watch = LagWatch(context.intake, None)
    views = {"balances": ProjectionStanding(0, AT, 10**9)}
    watch.note([Standing(bank.ledger_id, "x", 10**9, AT, views)])
    assert bank.ledger_id not in context.intake.closed
    asyncio.run(watch.run_forever(context.readiness.look))


def test_what_waits_for_a_writer_that_stands_is_bounded() -> None:
    """Of 50,000 commands that come all at once so many wait, and all others hear so at once."""
    held: list[Item] = []
    told: list[Result] = []

    async def work() -> None:
        """Send without end to a writer that does nothing; then it answers."""
        intake = Intake(lambda _, items: held.extend(items), lambda _: None)
        refused = 0
        for _ in range(50_000):
            try:
                intake.submit(1, Submission((), "a"), told.append)
            except LedgerBusy:
                refused += 1
        await asyncio.sleep(0)
        limit = intake.singles.of(1).limit
        assert len(held) == limit < 5_000
        assert refused == 50_000 - limit
        with ThreadPoolExecutor(4) as threads:
            for _, reply in held:
                threads.submit(reply.set_result, [])
        async with asyncio.timeout(20):
            while len(told) < limit:  # noqa: ASYNC110 - told by the intake alone
                await asyncio.sleep(0.001)
        assert intake.singles.of(1).under_way == 0
        intake.submit(1, Submission((), "a"), told.append)

    asyncio.run(work())


def test_the_refusal_that_is_made_once_is_the_one_that_any_other_would_be() -> None:
    """Byte for byte, with and without a reason; with more to tell it is made as ever."""
    refusals: list[dict[str, object]] = [{"reason": "queue_full"}, {}, {"reason": "a", "at": 1}]
    for error in [LedgerBusy(**seen) for seen in refusals]:
        document = problems.body_of(error)
        status, body, headers = problem_response(Trace("r" * 32), error)
        assert json.loads(body) == {
            **json.loads(problems.encode(document)),
            "request_id": "r" * 32,
        }
        assert status == 503
        assert (b"retry-after", b"1") in headers


def test_of_many_refusals_a_few_have_a_line_and_all_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line of an overload is one a second."""
    del caplog
    monkeypatch.setattr(busy, "INTERVAL_S", 0.01)

    async def work() -> int:
        """Refuse a thousand."""
        lines = Lines()
        silent = sum(lines.is_one_too_many() for _ in range(1_000))
        await asyncio.sleep(0.1)
        assert not lines.is_one_too_many()
        return silent

    assert asyncio.run(work()) == 1_000 - busy.LINES_MAX


def test_the_route_of_every_command_is_found_by_its_path() -> None:
    """Whatever its parameters are; a path that is no command's is nobody's."""
    templates = [command.path for command in COMMANDS]
    find = finder(templates)
    for template in templates:
        path = template.replace("{", "a%2F").replace("}", "-1")
        names = re.findall("{(.*?)}", template)
        assert find(path.encode()) == (template, {name: f"a%2F{name}-1" for name in names})
        assert find(path.encode() + b"?dry_run=true") is None
    for other in (
        b"/v1/batch",
        b"/v1/holds/a/b/capture",
        b"/v1/holds//capture",
        b"/v1/holds/\xff/capture",
        b"/v1/holds/?/capture",
        b"",
        b"/\xff",
    ):
        assert find(other) is None
    assert finder(())(b"/v1/transfers") is None
