"""Any JSON at all to every command's route: no failure, no echo, no half of an effect."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.http.bank import Bank, Json

from api.batches import PATH as BATCH_PATH
from api.routes import COMMANDS
from ledger_core import log

CANARY = "zqxCanary"

_text = st.one_of(
    st.text(max_size=20).map(lambda text: CANARY + text),
    st.text(st.characters(codec="utf-8", categories=("Cc", "Cf", "Zl", "Zs")), max_size=5),
    st.sampled_from(["", "a", "0", "1", "-1", "1.5", "EUR", "JPY", "2024-02-29", "2024-02-30"]),
)
_scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**40), 10**40),
    st.floats(allow_nan=False, allow_infinity=False),
    _text,
)
_json = st.recursive(
    _scalar,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_text, inner, max_size=3)),
    max_leaves=6,
)
_key = st.one_of(_text, st.sampled_from(["key", "type", "metadata", "value_date", "limit"]))


def bodies(example: Json) -> st.SearchStrategy[Any]:
    """The example with some members changed, left out or added; or anything."""
    changed = st.fixed_dictionaries(
        {}, optional={name: st.one_of(st.just(value), _json) for name, value in example.items()}
    )
    added = st.dictionaries(_key, _json, max_size=2)
    return st.one_of(st.builds(lambda one, other: {**one, **other}, changed, added), _json)


ROUTES = [(route.path, route.example) for route in COMMANDS]


@pytest.mark.parametrize(("path", "example"), ROUTES, ids=[path for path, _ in ROUTES])
def test_any_json_to_a_command_is_recorded_or_refused_clearly(
    bank: Bank, path: str, example: Json
) -> None:
    """A refusal is a 4xx problem that repeats nothing; at most itself is recorded."""
    _prepare(bank)
    path = path.replace("{account_id}", "anna-current").replace("{customer_id}", "anna")
    path = path.replace("{reverses}", "jrn_6")

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies(example))
    def run(body: Any) -> None:  # noqa: ANN401 - any JSON
        """One body."""
        _post(bank, path, body)

    run()


def test_any_json_in_a_batch_is_answered_item_by_item(bank: Bank) -> None:
    """Each item is recorded or refused by itself, whatever it is."""
    _prepare(bank)
    items = st.lists(
        st.one_of(
            *(
                bodies({"type": route.operation, **route.example})
                for route in COMMANDS
                if route.path_field is None
            )
        ),
        min_size=1,
        max_size=4,
    )

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(items, st.sampled_from(["each", "stop_on_error", "atomic"]))
    def run(commands: list[Any], mode: str) -> None:
        """One batch."""
        document = _post(bank, BATCH_PATH, {"mode": mode, "commands": commands})
        results = document["results"]
        assert len(results) == len(commands)
        for item in results:
            if item["status"] == "refused":
                assert CANARY not in json.dumps(item)
                assert 400 <= item["error"]["status"] < 500

    run()


def _post(bank: Bank, path: str, body: Any) -> Json:  # noqa: ANN401 - any JSON
    """Post a body; a refusal must be clear, silent about it, and without effect."""
    before = _position(bank)
    answer = bank.post_raw(path, json.dumps(body).encode())
    assert answer.status_code < 500, answer.text
    document: Json = answer.json()
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert document["code"]
        assert CANARY not in answer.text
        assert _types_after(bank, before) <= {"CommandRefused"}
    return document


def _position(bank: Bank) -> int:
    """Where the log ends."""
    with bank.runtime.connect("ledger_reader") as connection:
        return log.read_head(connection, bank.ledger_id).position


def _types_after(bank: Bank, position: int) -> set[str]:
    """What was recorded after that position."""
    with bank.runtime.connect("ledger_reader") as connection:
        stored = log.read_events(connection, bank.ledger_id, position, 10)
    return {event.type for event in stored}


def _prepare(bank: Bank) -> None:
    """What the documented examples name."""
    bank.post("/v1/customers", {"customer_id": "anna", "profile": {"name": "Anna"}})
    bank.post("/v1/customers", {"customer_id": "ben", "profile": {"name": "Ben"}})
    bank.open("anna-current", 1_000_000)
    bank.open("ben-current", 1_000)
    bank.post("/v1/accounts", {"account_id": "fees", "currency": "EUR", "account_type": "income"})
