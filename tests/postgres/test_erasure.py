"""After an erasure the person is unreadable wherever it stood, and everything still holds.

Whatever profiles, changes, waiting requests, joint accounts and refusals there were: no clear text
in any table, no key that opens an old ciphertext, and log, tree, balances and views as before.
"""

import re
from hashlib import sha256
from itertools import count

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.postgres.auditing_harness import audited
from tests.postgres.ledger_harness import KEY_ENCRYPTION_KEY, World, answers
from tests.rules.harness import deposited, opened, transfer, withdrawn

from ledger_core import log, merkle, proofs
from ledger_core.account_holders import LinkCustomer
from ledger_core.commands import Command, RequestApproval
from ledger_core.customers import (
    PERSONAL_FIELDS,
    ChangeProfile,
    EraseCustomer,
    RegisterCustomer,
)
from ledger_core.key_provider import Ring, VaultError
from ledger_core.vault import Vault
from projections import runner
from projections.verification import verify

FIELDS = sorted(PERSONAL_FIELDS - {"name"})
_numbers = count(1)
_SEALED = re.compile(r"s1\.[A-Za-z0-9_=-]{20,}")

words = st.text("abcdefghijklmnopqrstuvwxyzäöü", min_size=4, max_size=12)


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, str]:
    """A profile of some fields, whose values stand nowhere by chance."""
    names = ["name", *draw(st.lists(st.sampled_from(FIELDS), unique=True))]
    return {name: f"Qx{draw(words)}-{draw(words)} {at}" for at, name in enumerate(names)}


def _everything(url: str) -> str:
    """Every row of every table of the database that is not PostgreSQL's own, as text."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
            " WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert len(tables) > 20
        return "\n".join(
            str(row[0])
            for (table,) in tables
            for row in connection.execute(f"SELECT t::text FROM {table} t".encode())
        )


def _opened(world: World, ciphertexts: set[str]) -> dict[str, str]:
    """Those of the ciphertexts that any key of the store opens, as any field of its subject."""
    found: dict[str, str] = {}
    subjects = [
        row[0]
        for row in world.writer.execute(
            "SELECT subject FROM keystore.subject_keys WHERE ledger_id = %s", (world.ledger_id,)
        )
    ]
    vault = Vault(Ring([KEY_ENCRYPTION_KEY]), bytes)
    ciphers = vault.ciphers(world.writer, world.ledger_id, subjects)
    for subject in ciphers:
        for name in PERSONAL_FIELDS:
            for text in ciphertexts:
                try:
                    clear = vault.unseal(world.writer, world.ledger_id, subject, {name: text})
                except VaultError:
                    continue
                assert clear is not None
                found[text] = clear[name]
    return found


def _balances(world: World) -> list[tuple[object, ...]]:
    """Every account's sums, as the view has them."""
    return world.writer.execute(
        "SELECT account_id, debits_posted_minor, credits_posted_minor, version"
        " FROM views.accounts a JOIN views.projections p USING (ledger_id, slot)"
        " WHERE a.ledger_id = %s AND p.name = 'balances' AND p.live ORDER BY account_id",
        (world.ledger_id,),
    ).fetchall()


def _history(
    profile: dict[str, str], change: dict[str, str], waiting: dict[str, str]
) -> list[Command]:
    """A customer's life up to the erasure: changed, holder of two accounts, one of them joint."""
    return [
        RegisterCustomer(key="r", customer_id="gone", profile={**profile, "language": "nl"}),
        RegisterCustomer(key="r2", customer_id="stays", profile={"name": "Qxstays Here"}),
        opened("A", key="a", customer_id="gone"),
        opened("B", key="b", customer_id="stays"),
        LinkCustomer(key="l", account_id="B", customer_id="gone", role="joint"),
        deposited("A", 1_000, key="d"),
        transfer("A", "B", 300, key="t", description="rent"),
        withdrawn("A", 10_000, key="refused"),
        ChangeProfile(key="c", customer_id="gone", changes=dict(change), reason="moved"),
        RequestApproval(
            key="q",
            command=ChangeProfile(
                key="q", customer_id="gone", changes=dict(waiting), reason="later"
            ),
            approvers=("kyc",),
            request_id="Q1",
        ),
    ]


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(told=st.tuples(profiles(), profiles(), profiles()))
def test_nothing_of_the_person_is_left_and_everything_holds(
    database_url: str, told: tuple[dict[str, str], dict[str, str], dict[str, str]]
) -> None:
    """Whatever was known of the person and wherever: gone. Whatever was proven: still proven."""
    with World(database_url, f"ledger-{next(_numbers)}") as world:
        _forget(world, *told)


def _forget(
    world: World, profile: dict[str, str], change: dict[str, str], waiting: dict[str, str]
) -> None:
    """Live through a customer's history, erase the customer, and look at everything."""
    history = _history(profile, change, waiting)
    expected = ["recorded"] * 7 + ["insufficient_funds", "recorded", "pending_approval"]
    assert answers(world.run(*history)) == expected
    world.catch_up()
    before = world.stored()
    root = merkle.root(log.read_head(world.writer, world.ledger_id).frontier)
    balances = _balances(world)
    ciphertexts = set(_SEALED.findall(_everything(world.owner_url)))
    clear = {*profile.values(), *change.values(), *waiting.values()}
    assert clear <= set(_opened(world, ciphertexts).values())  # It could be read until now.

    assert answers(world.run(EraseCustomer(key="e", customer_id="gone", reason="asked"))) == [
        "recorded"
    ]

    # Nothing is left, from this moment on and after the views have caught up.
    for _ in range(2):
        everything = _everything(world.owner_url)
        assert not [text for text in clear if text in everything]
        opened_now = _opened(world, ciphertexts | set(_SEALED.findall(everything)))
        assert not clear & set(opened_now.values())
        assert "Qxstays Here" in opened_now.values()
        world.catch_up()

    # Everything holds: events, proofs, balances, verification, audit, rebuilding, replay.
    after = world.stored()
    assert after[: len(before)] == before
    leaves = [item.leaf_hash for item in after]
    assert [log.leaf_hash_of(item) for item in after] == leaves
    frontier = log.read_head(world.writer, world.ledger_id).frontier
    nodes_at = _nodes_of(leaves)
    for index, leaf in enumerate(leaves):
        path = proofs.inclusion_path(index, len(leaves), nodes_at)
        assert proofs.verify_inclusion(leaf, index, len(leaves), path, merkle.root(frontier))
    grown = proofs.consistency_path(len(before), len(leaves), nodes_at)
    assert proofs.verify_consistency(len(before), len(leaves), root, merkle.root(frontier), grown)
    assert _balances(world) == balances
    assert verify(world.projector, world.ledger_id).ok
    assert audited(world).ok
    reports = runner.rebuild_all(
        world.projector, world.ledger_id, [item.name for item in runner.PROJECTIONS]
    )
    assert [report.differing_rows for report in reports] == [0] * len(reports)
    folded = world.folded()
    assert folded.customers["gone"].erased
    assert not folded.customers["stays"].erased
    assert {
        name: (account.debits_posted_minor, account.credits_posted_minor)
        for name, account in folded.accounts.items()
    } == {row[0]: (row[1], row[2]) for row in balances}
    # A retry of anything the person was named in is answered as before, and says nothing.
    assert answers(world.run(*history)) == [
        "replayed" if word != "insufficient_funds" else word for word in expected
    ]
    assert not [text for text in clear if text in _everything(world.owner_url)]


def _nodes_of(leaves: list[bytes]) -> proofs.NodesAt:
    """The roots of perfect subtrees over these leaves."""

    def node(at: proofs.Node) -> bytes:
        """One root."""
        return proofs.root_of_perfect(b"".join(leaves[at.start : at.end]))

    return lambda nodes: [node(at) for at in nodes]


def test_a_key_store_of_before_brings_the_person_back(database_url: str) -> None:
    """What ``docs/erasure.md`` warns of: an old key store with the wrapping key reads it all."""
    with World(database_url) as world:
        world.run(RegisterCustomer(key="r", customer_id="gone", profile={"name": "Qxold Name"}))
        saved = world.writer.execute("SELECT wrapped_key FROM keystore.subject_keys").fetchall()
        ciphertexts = set(_SEALED.findall(_everything(world.owner_url)))
        world.run(EraseCustomer(key="e", customer_id="gone", reason="asked"))
        assert not _opened(world, ciphertexts)
        world.writer.execute(
            "UPDATE keystore.subject_keys SET wrapped_key = %s, destroyed_at = NULL", saved[0]
        )
        assert set(_opened(world, ciphertexts).values()) == {"Qxold Name"}
        # Nor does it go unnoticed.
        world.catch_up()
        assert [item.kind for item in audited(world).findings] == ["key"]


def test_the_same_person_cannot_be_told_from_ciphertext(database_url: str) -> None:
    """No hash or index over what is personal stands anywhere: there is nothing to guess against."""
    with World(database_url) as world:
        world.run(RegisterCustomer(key="r", customer_id="gone", profile={"name": "Qxguess"}))
        world.catch_up()
        everything = _everything(world.owner_url)
    for text in ("Qxguess", "qxguess", "name=Qxguess"):
        assert sha256(text.encode()).hexdigest() not in everything
