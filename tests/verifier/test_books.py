"""Balances replayed by the verifier, and what it says of events that do not fit."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from tests.verifier.archives import Export
from tests.verifier.checks import export, verify
from tests.verifier.logs import LogMaker

from ledger_core import accounts, events, journal
from ledger_verify.books import Books
from ledger_verify.findings import Report
from ledger_verify.lines import Line, split_leaf
from ledger_verify.plain import Malformed
from ledger_verify.vocabulary import (
    ACCOUNT_TYPES,
    CAUSES,
    FIELDS,
    KINDS,
    POSTING_FIELDS,
    VERSIONS,
)

GOLDEN = Path(__file__).parent.parent / "golden"

OPENED = '{"account_type":"liability","currency":"EUR","scale":2,"account_id":"%s"}'
HOLD = '{"debit_account_id":"A","credit_account_id":"B","amount_minor":5,"currency":"EUR"%s}'


def test_every_event_is_known() -> None:
    """The verifier knows every event and version that the ledger writes, and no other."""
    assert set(events.names()) == set(VERSIONS)
    for name in events.names():
        assert VERSIONS[name] == set(range(1, (events.version_of(name) or 0) + 1))


def test_every_field_that_moves_money_is_known() -> None:
    """A new field of an event that moves money has to be taught to the verifier."""
    for name, fields in FIELDS.items():
        assert fields == {field.name for field in msgspec.structs.fields(events.types()[name])}
    assert {field.name for field in msgspec.structs.fields(journal.Posting)} == POSTING_FIELDS
    assert set(get_args(journal.EntryKind)) == KINDS
    assert set(get_args(journal.ReleaseCause)) == CAUSES
    assert set(get_args(accounts.AccountType)) == ACCOUNT_TYPES


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.jsonl")), ids=lambda path: path.stem)
def test_golden_events_can_be_read(path: Path) -> None:
    """Every version of every event that was ever written is read, alone."""
    name, version = path.stem.split(".v")
    for data in path.read_bytes().splitlines():
        header = json.dumps([1, 0, name, int(version), None, "x", []]).encode()
        line = split_leaf(header + b"\n" + data)
        problem = None
        try:
            Books().apply(line)
        except Malformed as error:
            problem = str(error)
        # In empty books there are no accounts and no holds: that alone may be wrong.
        assert problem is None or "never" in problem


@pytest.mark.parametrize("seed", range(8))
def test_balances_are_those_of_the_ledger(seed: int) -> None:
    """Replayed independently, each account has the sums that the ledger's kernel has."""
    maker = LogMaker(seed).grow(400)
    books = Books()
    for leaf in maker.leaves:
        books.apply(split_leaf(leaf))
    assert {name.decode() for name in books.accounts} == set(maker.books.accounts)
    for name, account in maker.books.accounts.items():
        found = books.accounts[name.encode()]
        assert (
            found.debits_posted,
            found.credits_posted,
            found.debits_held,
            found.credits_held,
        ) == (
            account.debits_posted_minor,
            account.credits_posted_minor,
            account.debits_held_minor,
            account.credits_held_minor,
        )


def entry(*postings: tuple[str, str, object, str], **fields: object) -> str:
    """The data of an entry."""
    names = ("account_id", "side", "amount_minor", "currency")
    items = [dict(zip(names, posting, strict=True)) for posting in postings]
    return json.dumps({"kind": "journal", "postings": items} | fields)


def applied(*happened: tuple[str, str]) -> None:
    """Take events in, after two accounts are open."""
    books = Books()
    opening = [("AccountOpened", OPENED % name) for name in "AB"]
    for position, (kind, data) in enumerate([*opening, *happened], 1):
        books.apply(Line(position, position * 10**6, kind, 1, None, b"", data.encode()))


A5, B5 = ("A", "debit", 5, "EUR"), ("B", "credit", 5, "EUR")
CAPTURE = {"kind": "capture", "hold_id": "hld_3"}
RELEASE = (
    '{"hold_id":"hld_3","debit_account_id":"A","credit_account_id":"B","amount_minor":%s,'
    '"currency":"EUR","cause":"%s"%s}'
)


@pytest.mark.parametrize(
    "happened",
    [
        [("JournalEntryPosted", entry(A5, ("B", "credit", 4, "EUR")))],
        [("JournalEntryPosted", entry(A5))],
        [("JournalEntryPosted", entry(A5, ("B", "debit", 5, "EUR")))],
        [("JournalEntryPosted", entry(A5, ("C", "credit", 5, "EUR")))],
        [("JournalEntryPosted", entry(("A", "debit", 5, "JPY"), ("B", "credit", 5, "JPY")))],
        [("JournalEntryPosted", entry(("A", "debit", 0, "EUR"), ("B", "credit", 0, "EUR")))],
        [("JournalEntryPosted", entry(("A", "debit", -5, "EUR"), ("B", "credit", -5, "EUR")))],
        [("JournalEntryPosted", entry(("A", "debit", 5.0, "EUR"), ("B", "credit", 5.0, "EUR")))],
        [("JournalEntryPosted", entry(("A", "debit", True, "EUR"), ("B", "credit", 1, "EUR")))],
        [
            (
                "JournalEntryPosted",
                entry(("A", "debit", 10**36, "EUR"), ("B", "credit", 10**36, "EUR")),
            )
        ],
        [("JournalEntryPosted", entry(A5, B5, kind="gift"))],
        [("JournalEntryPosted", entry(A5, B5, more=1))],
        [("JournalEntryPosted", entry(A5, B5, kind="reversal"))],
        [("JournalEntryPosted", entry(A5, B5, reverses="jrn_1"))],
        [("JournalEntryPosted", '{"kind":"journal","kind":"journal","postings":[]}')],
        [("JournalEntryPosted", "[]")],
        [("JournalEntryPosted", '{"kind":"journal","postings":' + "[" * 100_000)],
        [("JournalEntryPosted", '{"kind":"journal","postings":[' + "9" * 10_000 + "]}")],
        [("JournalEntryPosted", '{"kind":NaN}')],
        [("MoneyPrinted", "{}")],
        [("AccountOpened", OPENED % "A")],
        [("AccountOpened", OPENED.replace("liability", "wishes") % "C")],
        [("HoldPlaced", HOLD % ',"hold_id":"x"'), ("HoldPlaced", HOLD % ',"hold_id":"x"')],
        [("HoldPlaced", HOLD.replace('"B"', '"C"') % "")],
        [("JournalEntryPosted", entry(A5, B5, **CAPTURE))],
        [("HoldPlaced", HOLD % ""), ("HoldReleased", RELEASE % (4, "voided", ""))],
        [("HoldPlaced", HOLD % ""), ("HoldReleased", RELEASE % (5, "lost", ""))],
        [("HoldPlaced", HOLD % ""), ("HoldReleased", RELEASE % (5, "expired", ""))],
        [
            ("HoldPlaced", HOLD % ',"expires_at":"2026-03-09T09:30:00Z"'),
            ("HoldReleased", RELEASE % (5, "expired", ',"due_at":"2026-03-09T09:30:00Z"')),
        ],
        [
            ("HoldPlaced", HOLD % ""),
            ("HoldReleased", RELEASE % (5, "voided", "")),
            ("HoldReleased", RELEASE % (5, "voided", "")),
        ],
        [
            ("HoldPlaced", HOLD % ""),
            (
                "JournalEntryPosted",
                entry(("A", "debit", 6, "EUR"), ("B", "credit", 6, "EUR"), **CAPTURE),
            ),
        ],
        [
            ("HoldPlaced", HOLD % ""),
            (
                "JournalEntryPosted",
                entry(("A", "debit", 4, "EUR"), ("B", "credit", 4, "EUR"), **CAPTURE),
            ),
        ],
        [
            ("HoldPlaced", HOLD % ""),
            (
                "JournalEntryPosted",
                entry(("B", "debit", 5, "EUR"), ("A", "credit", 5, "EUR"), **CAPTURE),
            ),
        ],
    ],
)
def test_what_does_not_fit(happened: Sequence[tuple[str, str]]) -> None:
    """Each of these is refused, by one kind of error."""
    *before, last = happened
    applied(*before)
    with pytest.raises(Malformed):
        applied(*before, last)


def test_what_fits() -> None:
    """Holds that are captured in parts, freed, and of nothing."""
    four, one = (
        entry(("A", "debit", n, "EUR"), ("B", "credit", n, "EUR"), **CAPTURE) for n in (4, 1)
    )
    applied(
        ("HoldPlaced", HOLD % ',"multi_capture":true'),
        ("JournalEntryPosted", four),
        ("JournalEntryPosted", one),
    )
    freed = json.dumps(json.loads(four) | {"freed_minor": 1})
    applied(("HoldPlaced", HOLD % ""), ("JournalEntryPosted", freed))
    nothing = HOLD.replace(":5", ":0")
    applied(("HoldPlaced", nothing % ""), ("HoldReleased", RELEASE % (0, "captured", "")))
    due = '"2026-03-09T09:30:00Z"'
    placed = ("HoldPlaced", HOLD % f',"expires_at":{due}')
    late = Line(
        4,
        2**60,
        "HoldReleased",
        1,
        None,
        b"",
        (RELEASE % (5, "expired", f',"due_at":{due}')).encode(),
    )
    books = Books()
    for position, (kind, data) in enumerate(
        [("AccountOpened", OPENED % "A"), ("AccountOpened", OPENED % "B"), placed], 1
    ):
        books.apply(Line(position, 0, kind, 1, None, b"", data.encode()))
    books.apply(late)
    assert books.accounts[b"A"].debits_held == 0
    assert not books.holds


def changed(made: Export, at: int, old: bytes, new: bytes) -> Report:
    """What is said of an export that was made with another event."""
    leaves = list(made.leaves)
    assert old in leaves[at - 1]
    leaves[at - 1] = leaves[at - 1].replace(old, new)
    return verify(Export(tuple(leaves), made.balances, made.sizes).members())


def test_a_reversal_mirrors_its_original() -> None:
    """A reversal of other postings than the original's is named, though it balances."""
    made = export(1, 150)
    at, leaf = next(
        (number, leaf)
        for number, leaf in enumerate(made.leaves, 1)
        if b'"reversal"' in leaf and leaf.count(b'"side"') == 2
    )
    amount = msgspec.json.decode(leaf.partition(b"\n")[2])["postings"][0]["amount_minor"]
    report = changed(made, at, b'"amount_minor":%d,' % amount, b'"amount_minor":%d,' % (amount + 1))
    assert report.first_bad == (at, at)
    assert any("mirror" in found.what for found in report.findings)


def test_a_command_key_twice() -> None:
    """Two events with one command key: the second is named."""
    made = export(1, 150)
    keys = [json.loads(leaf.partition(b"\n")[0])[4] for leaf in made.leaves]
    one, other = [number for number, key in enumerate(keys, 1) if key is not None][10:12]
    report = changed(made, other, keys[other - 1].encode(), keys[one - 1].encode())
    assert [found.kind for found in report.findings] == ["key"]
    assert report.first_bad == (other, other)


def test_a_wrong_balance_names_its_account() -> None:
    """A balance that the events do not amount to is told with its account."""
    made = export(2, 100)
    lines = made.balances.splitlines(keepends=True)
    wrong = lines[3].replace(b'"credits_held":"', b'"credits_held":"9')
    balances = b"".join([*lines[:3], wrong, *lines[4:]])
    report = verify(Export(made.leaves, balances, made.sizes).members())
    assert [found.account for found in report.findings] == [json.loads(wrong)["account"]]
    short = verify(Export(made.leaves, b"".join(lines[1:]), made.sizes).members())
    assert [found.account for found in short.findings] == [json.loads(lines[0])["account"]]
