"""Blind indexes in the database: in step with every profile, and gone with the person."""

from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import withdrawn

from ledger_core.approval_policies import SetApprovalPolicy
from ledger_core.approvals import ApproveRequest
from ledger_core.blind_index import BlindIndex, Token
from ledger_core.commands import Command
from ledger_core.customers import PERSONAL_FIELDS, ChangeProfile, EraseCustomer, RegisterCustomer
from ledger_core.database import Role
from ledger_core.ledger import Ledger, Mode, Submission

INDEX = BlindIndex(b"S" * 32)
ANNA = RegisterCustomer(
    key="r", customer_id="anna", profile={"name": "Anna Weber", "phone": "+49 1", "language": "de"}
)
BEN = RegisterCustomer(key="r2", customer_id="ben", profile={"name": "Weber, ANNA"})


class Indexed:
    """A ledger with an index, and what it finds."""

    def __init__(self, world: World) -> None:
        """Write through a writer that keeps the index."""
        self.world = world
        self.ledger = Ledger(world.connect, world.ledger_id, world.clock, world.vault, INDEX)

    def run(self, *commands: Command, mode: Mode = "each", dry_run: bool = False) -> list[str]:
        """Carry out commands."""
        return answers(self.world.run(*commands, mode=mode, ledger=self.ledger, dry_run=dry_run))

    def find(self, **fields: str) -> list[str]:
        """Who has these values, in any spelling."""
        return INDEX.find(self.world.writer, self.world.ledger_id, "normal", fields, 100)

    def find_exactly(self, **fields: str) -> list[str]:
        """Who has these values, as they were given."""
        return INDEX.find(self.world.writer, self.world.ledger_id, "exact", fields, 100)

    def stored(self, *customer_ids: str) -> set[Token]:
        """The tokens of customers."""
        return INDEX.stored(self.world.writer, self.world.ledger_id, list(customer_ids))


@pytest.fixture
def bank(database_url: str) -> Iterator[Indexed]:
    """A ledger with two customers of one name."""
    with World(database_url) as world:
        bank = Indexed(world)
        assert bank.run(ANNA, BEN) == ["recorded"] * 2
        yield bank
        bank.ledger.close()


def test_a_customer_is_found_by_what_was_registered(bank: Indexed) -> None:
    """By any field, by all of several, in either form; by nothing that is not there."""
    assert bank.find(name="weber anna") == ["anna", "ben"]
    assert bank.find(name="Anna Weber", phone="0049 1") == ["anna"]
    assert bank.find_exactly(name="Anna Weber") == ["anna"]
    assert bank.find_exactly(name="anna weber") == []
    assert bank.find(name="Anna") == []
    assert bank.find(name="anna weber", phone="2") == []
    assert bank.find(name="...") == []


def test_a_change_of_profile_takes_the_old_value_away(bank: Indexed) -> None:
    """Found by the new value only; a cleared field finds nobody; other fields stay."""
    change = ChangeProfile(
        key="p",
        customer_id="anna",
        changes={"name": "Anna Quux", "phone": None, "email": "a@quux.example", "language": "nl"},
        reason="married",
    )
    assert bank.run(change) == ["recorded"]
    assert bank.find(name="anna weber") == ["ben"]
    assert bank.find(name="anna quux") == ["anna"]
    assert bank.find(phone="+49 1") == []
    assert bank.find(email="A@QUUX.example") == ["anna"]
    assert {token.field for token in bank.stored("anna")} == {"name", "email"}


def test_the_last_of_several_changes_in_one_transaction_counts(bank: Indexed) -> None:
    """Registered, changed twice and erased together: what is left is what the last one left."""
    cleo = RegisterCustomer(key="c", customer_id="cleo", profile={"name": "Cleo A"})
    first = ChangeProfile(key="1", customer_id="cleo", changes={"name": "Cleo B"}, reason="x")
    second = ChangeProfile(key="2", customer_id="cleo", changes={"name": "Cleo C"}, reason="x")
    assert bank.run(cleo, first, second) == ["recorded"] * 3
    assert [bank.find(name=f"cleo {letter}") for letter in "abc"] == [[], [], ["cleo"]]
    erase = EraseCustomer(key="3", customer_id="cleo", reason="asked")
    again = ChangeProfile(key="4", customer_id="cleo", changes={"name": "Cleo D"}, reason="x")
    assert bank.run(again, erase) == ["recorded"] * 2
    assert bank.stored("cleo") == set()


def test_an_erasure_leaves_no_token(bank: Indexed) -> None:
    """Nobody is found by a value of the person any more, and nothing is left to try out."""
    assert bank.run(EraseCustomer(key="e", customer_id="anna", reason="asked")) == ["recorded"]
    assert bank.find(name="anna weber") == ["ben"]
    assert bank.stored("anna") == set()
    assert bank.run(ANNA) == ["replayed"]
    assert bank.stored("anna") == set()


def test_what_was_not_recorded_is_not_found(bank: Indexed) -> None:
    """Neither a dry run, nor a batch that failed, nor a refused command touches the index."""
    before = bank.stored("anna", "ben", "cleo")
    cleo = RegisterCustomer(key="c", customer_id="cleo", profile={"name": "Cleo"})
    change = ChangeProfile(key="p", customer_id="anna", changes={"name": "Other"}, reason="x")
    erase = EraseCustomer(key="e", customer_id="ben", reason="x")
    assert bank.run(cleo, change, erase, dry_run=True) == ["recorded"] * 3
    failing = withdrawn("nobody", 1, key="w")
    assert bank.run(cleo, change, erase, failing, mode="atomic")[-1] == "account_not_found"
    other = RegisterCustomer(key="o", customer_id="anna", profile={"name": "Other"})
    assert bank.run(other) == ["customer_exists"]
    assert bank.stored("anna", "ben", "cleo") == before


def test_what_waits_for_approval_is_found_once_it_happened(bank: Indexed) -> None:
    """A registration that waits is nobody's yet; approved, it is found by what was asked for."""
    policy = SetApprovalPolicy(
        key="s", policy_id="four-eyes", commands=("register_customer",), approvers=("kyc",)
    )
    assert bank.run(policy) == ["recorded"]
    dora = RegisterCustomer(key="d", customer_id="dora", profile={"name": "Dora D"})
    assert bank.run(dora) == ["pending_approval"]
    assert bank.find(name="dora d") == []
    _approve(bank)
    assert bank.find(name="dora d") == ["dora"]


def _approve(bank: Indexed) -> None:
    """Give the approval that the one request waits for."""
    row = bank.world.writer.execute(
        "SELECT position FROM ledger.events WHERE type = 'ApprovalRequested'"
    ).fetchone()
    assert row is not None
    vote = ApproveRequest(key="v", request_id=f"apr_{row[0]}")
    submission = Submission([vote], "boss", person="boss", permissions=frozenset({"kyc"}))
    assert answers(bank.ledger.execute([submission])[0]) == ["recorded"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_the_index_is_a_function_of_the_profiles(bank: Indexed, data: st.DataObject) -> None:
    """Whatever happened, in however many transactions: the tokens are those of the profiles."""
    names, fields = ["n1", "n2", "n3"], sorted(PERSONAL_FIELDS - {"name"})
    values = st.sampled_from(["1990-01-31", "31.1.1990", "A@b.example", "+49 30 1"])
    profiles: dict[str, dict[str, str]] = {}
    number = bank.world.count("SELECT count(*) FROM ledger.events") * 100
    prefix = f"h{number}-"
    for _ in range(data.draw(st.integers(1, 5))):
        some: list[Command] = []
        for _ in range(data.draw(st.integers(1, 4))):
            number += 1
            customer_id = prefix + data.draw(st.sampled_from(names))
            if customer_id not in profiles:
                given_ = {"name": data.draw(values)}
                some.append(
                    RegisterCustomer(key=f"k{number}", customer_id=customer_id, profile=given_)
                )
                profiles[customer_id] = dict(given_)
                continue
            changes = data.draw(
                st.dictionaries(st.sampled_from(fields), st.none() | values, min_size=1)
            )
            some.append(
                ChangeProfile(
                    key=f"k{number}", customer_id=customer_id, changes=changes, reason="x"
                )
            )
            for field, text in changes.items():
                profiles[customer_id].pop(field, None)
                if text is not None:
                    profiles[customer_id][field] = text
        assert bank.run(*some) == ["recorded"] * len(some)
    expected = set[Token]()
    for customer_id, profile in profiles.items():
        expected |= INDEX.tokens(bank.world.ledger_id, customer_id, profile)
    assert bank.stored(*profiles) == expected


def test_ledgers_share_nothing(bank: Indexed) -> None:
    """A customer of one ledger is not found in another, whose tokens are others."""
    with World(bank.world.url, "other") as world:
        other = Indexed(world)
        assert other.run(ANNA) == ["recorded"]
        assert other.find(name="anna weber") == ["anna"]
        mine = {token.token for token in bank.stored("anna")}
        assert mine.isdisjoint(token.token for token in other.stored("anna"))
        other.run(EraseCustomer(key="e", customer_id="anna", reason="asked"))
        other.ledger.close()
    assert bank.find(name="anna weber") == ["anna", "ben"]


@pytest.mark.parametrize("role", ["ledger_projector", "ledger_reader"])
def test_only_the_writer_changes_the_index(bank: Indexed, role: Role) -> None:
    """Who projects does not even see it; who reads finds, and changes nothing."""
    connection = bank.world.connect(role)
    for statement in (
        "DELETE FROM keystore.blind_indexes",
        "INSERT INTO keystore.blind_indexes SELECT * FROM keystore.blind_indexes",
        "UPDATE keystore.blind_indexes SET customer_id = 'x'",
        *(["SELECT * FROM keystore.blind_indexes"] if role == "ledger_projector" else []),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_tokens_of_the_erased_go_again_after_a_restore(bank: Indexed) -> None:
    """A key store of before an erasure brings tokens back; what the log says takes them away."""
    before = bank.stored("anna")
    bank.run(EraseCustomer(key="e", customer_id="anna", reason="asked"))
    INDEX.add(bank.world.writer, bank.world.ledger_id, before)
    assert bank.stored("anna") == before
    INDEX.forget_erased(bank.world.writer)
    assert bank.stored("anna") == set()
    assert bank.find(name="anna weber") == ["ben"]
