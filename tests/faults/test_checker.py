"""The checker can fail: each of its rules finds what breaks it, and nothing in a good run."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests import databases
from tests.faults import checker, forging, log_rules
from tests.faults.forging import DatabaseCase, HistoryCase, entry, forge
from tests.faults.history import Finding, History, items_of
from tests.faults.system import System
from tests.faults.workload import Workload

from ledger_core import database

pytestmark = pytest.mark.timeout(300)  # The first test waits for the run that all of them spoil.

SEED = 3
CLIENTS = 5
ATTEMPTS = 400
WORK_S = 20.0
FLOOR = 10**7
"""More than anybody has."""


class Left:
    """What a run without faults left behind."""

    def __init__(self, system: System) -> None:
        """Let clients work until there is enough of everything."""
        system.begin()
        workload = Workload(system.urls, system.key, SEED, CLIENTS)
        workload.start()
        workload.wait_for(ATTEMPTS, WORK_S)
        workload.stop()
        workload.resolve()
        system.end()
        self.history = workload.history
        with database.connect(system.database_url, "ledger_reader") as connection:
            self.rows = log_rules.read_log(connection)
        self._postgres = system.postgres
        self._name = system.database_url.rpartition("/")[2].partition("?")[0]

    def check(self, spoil: DatabaseCase | None = None) -> list[Finding]:
        """What the checker finds in a copy of the database, spoilt."""
        name = f"copy_{uuid.uuid4().hex[:12]}"
        databases.clone(self._postgres.url("postgres", "owner"), self._name, name)
        url = self._postgres.url(name, "superuser")
        try:
            if spoil is not None:
                with psycopg.connect(url, autocommit=True) as connection:
                    spoil(connection, self.history)
            return checker.check(
                self._postgres.url(name), self._postgres.url(name, "owner"), self.history
            )
        finally:
            databases.drop(self._postgres.url("postgres", "superuser"), name)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """A good run, on a system that is there until the last test of these."""
    with System(tmp_path_factory.mktemp("checker")) as system:
        yield Left(system)


def test_a_good_run(left: Left) -> None:
    """Of a run in which nothing went wrong nothing is found, and it had a bit of everything."""
    assert left.check() == []
    operations = {item.operation for at in left.history.attempts for item in items_of(at)}
    assert operations >= {"transfer", "place_hold", "capture_hold", "post_entry", "set_limit"}
    assert left.history.reads()


def _statement(text: str) -> DatabaseCase:
    """Spoil by a statement."""

    def spoil(connection: forging.Connection, _history: History) -> None:
        connection.execute(text.encode())

    return spoil


def _forged(kind: str, data: dict[str, object], key: str | None = "forged") -> DatabaseCase:
    """Spoil by an event that nobody decided."""

    def spoil(connection: forging.Connection, _history: History) -> None:
        forge(connection, kind, data, key)

    return spoil


def _on_blocked(connection: forging.Connection, _history: History) -> None:
    """Book on an account that is blocked."""
    block = {"account_id": "eur-0", "cause": "forgery", "effect": "full"}
    forge(connection, "BlockPlaced", block, "forged-1")
    forge(connection, "JournalEntryPosted", entry(("eur-0", "debit", 1), ("eur-1", "credit", 1)))


def _beyond_a_limit(connection: forging.Connection, _history: History) -> None:
    """Book more on an account than its ceiling allows, whatever the clients had made of that."""
    terms = {"account_id": "eur-8", "limit_minor": 0, "ceiling_minor": 60_000}
    forge(connection, "LimitSet", terms, "forged-1")
    legs = (("eur-8", "debit", 9), ("eur-8", "credit", FLOOR))
    forge(connection, "JournalEntryPosted", entry(*legs))


_EVENTS = "UPDATE ledger.events SET"
_VIEW = "UPDATE views."
DATABASE_CASES: dict[str, tuple[str, DatabaseCase]] = {
    "an event is missing": (
        "gap",
        _statement("DELETE FROM ledger.events WHERE position = 20"),
    ),
    "the end is missing": ("lost", forging.cut_tail),
    "an event's bytes changed": (
        "leaf",
        _statement(f"{_EVENTS} data = replace(data::text, ':', ' :')::json WHERE position = 9"),
    ),
    "an event was rewritten with its seal": ("content", forging.rewrite),
    "the verifier sees it, too": (
        "verifier",
        _statement(f"{_EVENTS} recorded_at = recorded_at + interval '1 hour' WHERE position = 9"),
    ),
    "time goes back": (
        "time",
        _statement(f"{_EVENTS} recorded_at = recorded_at + interval '1 hour' WHERE position = 9"),
    ),
    "the tree is another": (
        "tree",
        _statement("UPDATE ledger.heads SET frontier = set_byte(frontier, 20, 7)"),
    ),
    "a command counts twice": ("doubled", forging.double),
    "nobody sent it": (
        "invented",
        _forged("JournalEntryPosted", entry(("eur-0", "debit", 1), ("eur-1", "credit", 1))),
    ),
    "no key at all": (
        "invented",
        _forged("JournalEntryPosted", entry(("eur-0", "debit", 1), ("eur-1", "credit", 1)), None),
    ),
    "an entry does not balance": (
        "money",
        _forged("JournalEntryPosted", entry(("eur-0", "debit", 1), ("eur-1", "credit", 2))),
    ),
    "beyond a limit": ("limit", _beyond_a_limit),
    "on a blocked account": ("blocked", _on_blocked),
    "a hold is freed twice": ("hold", forging.release_again),
    "an entry is reversed twice": ("reversal", forging.reverse_twice),
    "an event of another world": ("event", _forged("MoonLanded", {})),
    "a balance in the view": (
        "balance",
        _statement(f"{_VIEW}accounts SET debits_posted_minor = debits_posted_minor + 1"),
    ),
    "only the program's own verification looks there": (
        "verify",
        _statement(f"{_VIEW}statement_lines SET amount_minor = amount_minor + 1"),
    ),
    "the trial balance": (
        "money",
        _statement(f"{_VIEW}trial_balance SET debits_posted_minor = debits_posted_minor + 1"),
    ),
    "a projection is behind": (
        "behind",
        _statement(f"{_VIEW}projections SET position = position - 60 WHERE name = 'statements'"),
    ),
    "an id without its entry": (
        "identity",
        _statement("INSERT INTO ledger.identities VALUES (1, 'entry', 'forged', 9)"),
    ),
    "an entry without its id": (
        "identity",
        _statement("DELETE FROM ledger.identities WHERE kind = 'entry'"),
    ),
    "a person without a key": ("keystore", _statement("DELETE FROM keystore.subject_keys")),
    "tokens of nobody": (
        "keystore",
        _statement("UPDATE keystore.blind_indexes SET customer_id = customer_id || '-forged'"),
    ),
}


@pytest.mark.parametrize("case", DATABASE_CASES)
def test_a_spoilt_database(left: Left, case: str) -> None:
    """Whatever is wrong in the database is found, by the rule that is about it."""
    rule, spoil = DATABASE_CASES[case]
    assert rule in {finding.rule for finding in left.check(spoil)}


def _lost(history: History) -> None:
    forging.more(history, forging.single(history), key="never-recorded")


def _invented(history: History) -> None:
    key = forging.single(history).key
    history.attempts = [item for item in history.attempts if item.key != key]


def _misplaced(history: History) -> None:
    attempt = forging.single(history)
    attempt.answer = {**(attempt.answer or {}), "position": 1}


def _other_content(history: History) -> None:
    attempt = forging.single(history)
    attempt.command = {**attempt.command, "amount": "987654"}


def _other_answer(history: History) -> None:
    attempt = forging.single(history, "place_hold")
    attempt.answer = {**(attempt.answer or {}), "amount": "987654"}


def _twice_new(history: History) -> None:
    forging.more(history, forging.single(history), is_replayed=False)


def _differently_replayed(history: History) -> None:
    first = forging.single(history)
    answer = {**(first.answer or {}), "entry_id": "another"}
    forging.more(history, first, is_replayed=True, answer=answer)


def _forgotten(history: History) -> None:
    answer = {"code": "insufficient_funds"}
    forging.more(history, forging.single(history), status=422, answer=answer)


def _wrong_conflict(history: History) -> None:
    first = forging.single(history)
    answer = {"code": "idempotency_conflict", "seen": {"position": 1, "fields": ["amount"]}}
    command = {**first.command, "amount": "987654"}
    forging.more(history, first, status=422, answer=answer, command=command)


def _refused_after_all(history: History) -> None:
    for attempt in history.commands()[forging.single(history).key or ""]:
        attempt.status, attempt.answer = 422, {"code": "insufficient_funds"}


def _unresolved(history: History) -> None:
    attempt = forging.single(history)
    forging.more(history, attempt, key="never-answered", status=None, answer=None)


def _half_a_batch(history: History) -> None:
    first = forging.single(history)
    commands = [
        {"type": "transfer", "key": key, **first.command} for key in (first.key, "the-other-half")
    ]
    batch = {"mode": "atomic", "commands": commands}
    forging.more(
        history, first, operation="batch", key="half", command=batch, status=None, answer=None
    )


def _out_of_order(history: History) -> None:
    attempts = history.commands()[forging.single(history).key or ""]
    at = max(item.completed_at or 0.0 for item in history.attempts)
    for attempt in attempts:
        attempt.invoked_at, attempt.completed_at = at + 1.0, at + 2.0


def _wrong_balance(history: History) -> None:
    read = next(item for item in history.reads() if item.operation == "read_balance")
    read.answer = {**(read.answer or {}), "posted_minor": "1"}


def _old_balance(history: History) -> None:
    read = next(item for item in history.reads() if "min_position" in item.command)
    asked = int((read.answer or {})["position"]) + 1
    read.command = {**read.command, "min_position": asked}


def _old_profile(history: History) -> None:
    read = next(item for item in history.reads() if item.operation == "read_customer")
    answer = read.answer or {}
    read.answer = {**answer, "profile": {**answer["profile"], "segment": "forged"}}


def _not_found(history: History) -> None:
    read = next(item for item in history.reads() if "min_position" in item.command)
    read.status, read.answer = 404, {"code": "account_not_found"}


def _server_error(history: History) -> None:
    forging.more(history, forging.single(history), status=500, answer={"code": "internal_error"})


def _no_retry_after(history: History) -> None:
    forging.more(history, forging.single(history), status=503, answer={"code": "ledger_busy"})


def _unknown_caller(history: History) -> None:
    forging.more(history, forging.single(history), status=401, answer={"code": "unauthorized"})


HISTORY_CASES: dict[str, HistoryCase] = {
    "lost": _lost,
    "invented": _invented,
    "position": _misplaced,
    "content": _other_content,
    "answer": _other_answer,
    "doubled": _twice_new,
    "replay": _differently_replayed,
    "forgotten": _forgotten,
    "conflict": _wrong_conflict,
    "refused": _refused_after_all,
    "unresolved": _unresolved,
    "atomic": _half_a_batch,
    "order": _out_of_order,
    "read": _wrong_balance,
    "read of before": _old_balance,
    "read of a profile": _old_profile,
    "read of nothing": _not_found,
    "server_error": _server_error,
    "retry_after": _no_retry_after,
    "wrong_answer": _unknown_caller,
}


@pytest.mark.parametrize("case", HISTORY_CASES)
def test_a_broken_promise(left: Left, case: str) -> None:
    """Whatever clients were told and the log does not keep is found, by the rule about it."""
    history = left.history.copy()
    HISTORY_CASES[case](history)
    _, findings = checker.check_history(history, left.rows)
    assert case.split(maxsplit=1)[0] in {finding.rule for finding in findings}


def test_a_history_is_kept(left: Left, tmp_path: Path) -> None:
    """What is written to a file reads the same."""
    left.history.write(tmp_path / "history.jsonl")
    again = History.read(tmp_path / "history.jsonl")
    assert again.attempts == left.history.attempts
