"""``ledger customer``, ``find-customers``, ``keystore reindex``: masked, for a reason, recorded."""

import json
from pathlib import Path

import pytest
from tests.imports.conftest import Run

from api.runtime import Runtime
from ledger_core import access_log
from ledger_core.access_log import AccessFilters, StoredAccess

CARD = "4111 1111 1111 1111"
LINES = [
    {
        "type": "register_customer",
        "key": "c",
        "customer_id": "C",
        "profile": {"name": "Zuleika Vexworth", "phone": "+99 555 0142", "language": "en"},
    },
    {"type": "register_customer", "key": "d", "customer_id": "D", "profile": {"name": "Dov Qux"}},
    {"type": "open_account", "key": "a", "account_id": "A", "currency": "EUR", "customer_id": "C"},
    {
        "type": "deposit",
        "key": "e",
        "account_id": "A",
        "amount": "1250",
        "currency": "EUR",
        "description": f"Card {CARD}",
    },
]


@pytest.fixture
def bank(run: Run) -> Run:
    """A bank with two customers, and a description that holds the number of a card."""
    code, _, problems = run("load", "-", stdin="\n".join(map(json.dumps, LINES)))
    assert (code, problems) == (0, "")
    return run


def accesses(runtime: Runtime) -> list[StoredAccess]:
    """What is in the access log, the oldest first."""
    with runtime.connect("ledger_reader") as connection:
        ledger_id = runtime.ledger_id("main")
        last = access_log.read_head(connection, ledger_id).number
        found = access_log.find(connection, ledger_id, AccessFilters(), up_to=last, limit=100)
    return found[::-1]


def test_a_customer_is_masked_unless_there_is_a_reason(bank: Run, runtime: Runtime) -> None:
    """With --unmask and --reason all is shown, and recorded as what it is."""
    _, printed, _ = bank("customer", "C")
    assert "Z*** V***" in printed
    assert "***42" in printed
    assert "Zuleika" not in printed
    assert "language: en" in printed
    code, printed, problems = bank("customer", "C", "--unmask")
    assert (code, printed) == (1, "")
    assert "--unmask needs a --reason" in problems
    _, printed, _ = bank("customer", "C", "--unmask", "--reason", "case 7")
    assert "Zuleika Vexworth" in printed
    assert "+99 555 0142" in printed
    assert [(item.operation, item.reason) for item in accesses(runtime)] == [
        ("get_customer", ""),
        ("unmask_customer", "case 7"),
    ]


def test_customers_are_found_by_what_comes_on_standard_input(
    bank: Run, runtime: Runtime, tmp_path: Path
) -> None:
    """Nothing of it on the command line; whom it showed is recorded."""
    _, printed, _ = bank("find-customers", "-", stdin='{"name": "vexworth zuleika"}')
    assert printed == "C  Z*** V***\n"
    file = tmp_path / "fields.json"
    file.write_text('{"phone": "0099-555-0142"}')
    _, printed, _ = bank("find-customers", str(file), "--json")
    (found,) = json.loads(printed)["customers"]
    assert (found["customer_id"], found["profile"]["phone"]) == ("C", "***42")
    _, printed, _ = bank("find-customers", "-", "--exact", stdin='{"name": "vexworth zuleika"}')
    assert printed == "Nobody was found.\n"
    assert [(item.operation, list(item.subjects)) for item in accesses(runtime)] == [
        ("search_customers", ["customer:C"]),
        ("search_customers", ["customer:C"]),
        ("search_customers", []),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"name": 5}', "{}", '{"language": "Vexworth"}', '{"name": ""}', "\xff"],
)
def test_what_is_no_search_is_refused_in_one_sentence(bank: Run, text: str) -> None:
    """The fields that there are, or the rule; nothing of what was sent."""
    code, printed, problems = bank("find-customers", "-", stdin=text)
    assert (code, printed) == (1, "")
    assert problems.count("\n") == 1
    assert "Vexworth" not in problems
    assert bank("find-customers", "-", "--limit", "0", stdin='{"name": "x"}')[0] == 1
    assert "No such file" in bank("find-customers", "no-such-file")[2]


def test_the_index_is_made_anew_on_request(bank: Run, runtime: Runtime) -> None:
    """What is missing or too much is counted, put right, and then there is nothing more to do."""
    with runtime.connect("ledger_writer") as connection:
        connection.execute("DELETE FROM keystore.blind_indexes WHERE customer_id = 'D'")
    search = ("find-customers", "-")
    assert "keystore reindex" in bank(*search, stdin='{"name": "x y"}')[2]
    code, printed, _ = bank("keystore", "reindex", "--check", "--json")
    assert (code, json.loads(printed)) == (1, {"customers": 2, "added": 2, "removed": 0})
    code, printed, _ = bank("keystore", "reindex")
    assert (code, printed) == (0, "2 customers: 2 tokens were added, 0 were removed.\n")
    assert bank("keystore", "reindex", "--check")[0] == 0
    assert bank(*search, stdin='{"name": "qux dov"}')[1] == "D  D*** Q***\n"


def test_numbers_of_cards_are_on_no_screen_and_in_no_export(bank: Run, tmp_path: Path) -> None:
    """In words and as JSON, in journals and in the general ledger; the log itself is exact."""
    shown = [
        bank("statement", "A")[1],
        bank("statement", "A", "--json")[1],
        bank("customer", "C", "--json")[1],
        bank("explain", "balance", "A")[1],
        bank("explain", "balance", "A", "--json")[1],
    ]
    exports = (("journal", "--format", "hledger"), ("journal", "--format", "beancount"))
    for number, kind in enumerate((*exports, ("general-ledger",))):
        file = tmp_path / str(number)
        code, _, problems = bank("export", *kind, "-o", str(file))
        assert code == 0, problems
        shown.append(file.read_text())
    for text in shown:
        assert CARD not in text
        assert "***1111" in text
