"""Personal data: sealed from the first event on, readable with the key, and forgotten for good."""

from collections.abc import Iterator

import pytest
from tests.postgres.ledger_harness import KEY_ENCRYPTION_KEY, World, answers
from tests.rules.harness import opened, with_field, withdrawn

from ledger_core import events
from ledger_core.account_holders import LinkCustomer
from ledger_core.customers import (
    PERSONAL_FIELDS,
    ChangeProfile,
    CustomerProfileChanged,
    CustomerRegistered,
    EraseCustomer,
    RegisterCustomer,
)
from ledger_core.key_provider import Ring, VaultError
from ledger_core.vault import Vault

PROFILE = {
    "name": "Zebulon Quackenbush",
    "birth_date": "1961-07-09",
    "email": "zebulon@quackenbush.example",
    "phone": "+31 20 765 4321",
    "address": "Prinsengracht 4711, Amsterdam",
    "identity_number": "NLX77Y88Z",
    "tax_number": "TAX-5566-7788",
}
PUBLIC = {"language": "nl", "segment": "retail"}
LATER = {"phone": "+31 20 111 2222", "address": "Herengracht 9999"}

REGISTER = RegisterCustomer(key="r", customer_id="c", profile={**PROFILE, **PUBLIC})
CHANGE = ChangeProfile(key="p", customer_id="c", changes={**LATER, "email": None}, reason="moved")
ERASE = EraseCustomer(key="e", customer_id="c", reason="asked")


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """One customer, registered and then changed, with every personal field there is."""
    assert PROFILE.keys() == PERSONAL_FIELDS
    with World(database_url) as world:
        assert answers(world.run(REGISTER, CHANGE)) == ["recorded"] * 2
        yield world


def _everything(world: World) -> str:
    """Every row of every table of the program, as text."""
    tables = world.writer.execute(
        "SELECT format('%I.%I', table_schema, table_name) FROM information_schema.tables"
        " WHERE table_schema IN ('ledger', 'views', 'keystore')"
    ).fetchall()
    assert len(tables) > 6
    return "\n".join(
        str(row[0])
        for (table,) in tables
        for row in world.writer.execute(f"SELECT t::text FROM {table} t".encode())
    )


def _read(world: World) -> list[dict[str, str] | None]:
    """What the customer's events hold of the person, in clear."""
    decoded = [events.decode(item.type, item.version, item.data) for item in world.stored()]
    registered = next(event for event in decoded if isinstance(event, CustomerRegistered))
    return [
        world.vault.unseal(world.writer, world.ledger_id, registered.subject, event.sealed)
        for event in decoded
        if isinstance(event, CustomerRegistered | CustomerProfileChanged)
    ]


def test_nothing_personal_stands_anywhere_in_clear(world: World) -> None:
    """Not in the log, its tags and identities, nor in any view or key."""
    world.run(
        opened("A", key="a", customer_id="c"),
        LinkCustomer(key="l", account_id="A", customer_id="c", role="joint"),
    )
    world.catch_up()
    everything = _everything(world)
    for word in [*PROFILE.values(), *LATER.values(), "Zebulon", "Quackenbush", "Prinsengracht"]:
        assert word not in everything
    for word in (*PUBLIC.values(), "moved"):
        assert word in everything


def test_with_the_key_it_reads_as_it_was_given(world: World) -> None:
    """Every field comes back exactly, from each event."""
    assert _read(world) == [PROFILE, LATER]


def test_two_people_of_one_name_look_different(world: World) -> None:
    """Equal values have unequal ciphertexts: nothing can be matched without the key."""
    world.run(RegisterCustomer(key="r2", customer_id="c2", profile=PROFILE))
    values = [
        value
        for item in world.stored()
        if isinstance(event := events.decode(item.type, 1, item.data), CustomerRegistered)
        for value in event.sealed.values()
    ]
    assert len(values) == len(set(values)) == 2 * len(PROFILE)


def test_a_retry_is_compared_in_clear(world: World) -> None:
    """The same person under the same key is the same command, whatever the ciphertext."""
    assert answers(world.run(REGISTER, CHANGE)) == ["replayed"] * 2
    other = with_field(REGISTER, "profile", {**REGISTER.profile, "phone": "0"})
    outcome = world.run(other)[0]
    assert outcome.error is not None
    assert outcome.error.code == "idempotency_conflict"
    assert outcome.error.seen == {"position": 1, "fields": ["profile"]}
    assert "phone" not in str(outcome.error)


def test_after_erasure_nobody_reads_the_person(world: World) -> None:
    """The key is gone, the events stand, and the customer takes no more changes."""
    before = world.stored()
    assert answers(world.run(ERASE)) == ["recorded"]
    assert _read(world) == [None, None]
    assert world.stored()[:2] == before
    assert world.count("SELECT count(wrapped_key) FROM keystore.subject_keys") == 0
    for again, ledger in (("e2", world.main), ("e3", world.ledger())):
        outcomes = world.run(
            with_field(CHANGE, "key", "p2"),
            with_field(ERASE, "key", again),
            REGISTER,
            CHANGE,
            ERASE,
            ledger=ledger,
        )
        assert answers(outcomes) == ["customer_erased", "unchanged"] + ["replayed"] * 3


def test_an_erasure_that_failed_with_its_batch_forgets_nobody(world: World) -> None:
    """The key is destroyed only if the erasure is recorded."""
    outcomes = world.run(ERASE, withdrawn("nobody", 1, key="w"), mode="atomic")
    assert answers(outcomes) == ["batch_failed", "account_not_found"]
    assert _read(world) == [PROFILE, LATER]
    assert answers(world.run(with_field(CHANGE, "key", "p2"))) == ["recorded"]


def test_a_refused_registration_leaves_no_key(world: World) -> None:
    """Keys are made for those who are registered, in their transaction."""
    outcomes = world.run(
        RegisterCustomer(key="1", profile={"phone": "1"}),
        RegisterCustomer(key="2", customer_id="c", profile={"name": "Ann"}),
        RegisterCustomer(key="3", profile={"name": "Ann", "shoe_size": "44"}),
    )
    assert answers(outcomes) == ["validation_error", "customer_exists", "validation_error"]
    assert world.count("SELECT count(*) FROM keystore.subject_keys") == 1


def test_a_sealed_value_belongs_to_its_subject_and_field(world: World) -> None:
    """Moved to another field or person, or changed by one byte, it does not open."""
    vault, connection, ledger_id = world.vault, world.writer, world.ledger_id
    one = vault.create_subject(connection, ledger_id, world.now)
    two = vault.create_subject(connection, ledger_id, world.now)
    sealed = vault.seal(connection, ledger_id, one, {"name": "Ann", "email": "a@b.example"})
    assert vault.unseal(connection, ledger_id, one, sealed) == {
        "name": "Ann",
        "email": "a@b.example",
    }
    value = sealed["name"]
    changed = value[:-5] + ("A" if value[-5] != "A" else "B") + value[-4:]
    for subject, fields in (
        (one, {"name": sealed["email"]}),
        (two, {"name": value}),
        (one, {"name": changed}),
        (one, {"name": ""}),
        (one, {"name": "s1.%%%"}),
    ):
        with pytest.raises(VaultError, match="damaged"):
            vault.unseal(connection, ledger_id, subject, fields)


def test_another_wrapping_key_opens_nothing(world: World) -> None:
    """The wrong key file is told apart from a person who was forgotten."""
    wrong = Vault(Ring([bytes(reversed(KEY_ENCRYPTION_KEY))]), bytes)
    subject = world.vault.create_subject(world.writer, world.ledger_id, world.now)
    sealed = world.vault.seal(world.writer, world.ledger_id, subject, {"name": "Ann"})
    with pytest.raises(VaultError, match="unwrapped"):
        wrong.unseal(world.writer, world.ledger_id, subject, sealed)
    with pytest.raises(VaultError, match="32 bytes"):
        Ring([KEY_ENCRYPTION_KEY[:-1]])


def test_what_was_destroyed_seals_no_more(world: World) -> None:
    """A destroyed key neither seals nor is destroyed twice."""
    vault, connection, ledger_id = world.vault, world.writer, world.ledger_id
    subject = vault.create_subject(connection, ledger_id, world.now)
    sealed = vault.seal(connection, ledger_id, subject, {"name": "Ann"})
    vault.destroy_subject(connection, ledger_id, subject, world.now)
    assert vault.unseal(connection, ledger_id, subject, sealed) is None
    with pytest.raises(VaultError, match="destroyed"):
        vault.seal(connection, ledger_id, subject, {"name": "Ann"})
