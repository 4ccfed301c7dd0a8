"""The notary on PostgreSQL: signs what continues, and nothing that does not."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from tests.databases import superuser_of
from tests.postgres.ledger_harness import World
from tests.postgres.test_tiles import build, defined_root, fill
from tests.rules.harness import deposited, opened

from api import notary, signing_keys
from api.notary import BeyondLogError, Notary, NotaryStoppedError
from api.notary_settings import NotarySettings
from api.settings import Settings
from api.signed_before import SignedBefore
from ledger_core import checkpoints, database, merkle, tiles
from ledger_core.errors import LedgerNotFound
from ledger_core.log import read_head
from ledger_core.notes import NoteError
from ledger_core.tiles import TILE

ORIGIN = "ledger-core.invalid/test"


class Office:
    """A ledger with a notary, and how it is tampered with."""

    def __init__(self, world: World, folder: Path) -> None:
        """A ledger with two accounts."""
        self.world = world
        self.settings = Settings(folder, world.url, b"K" * 32, b"S" * 32)
        world.run(opened("A", key="open-a"), deposited("A", 1_000, key="first"))
        self._notaries: list[Notary] = []
        self.notary = self.another()

    def another(self) -> Notary:
        """A notary of another process with the same data folder."""
        another = Notary(
            self.settings, lambda role: database.connect(self.world.url, role), self.world.clock
        )
        self._notaries.append(another)
        return another

    def close(self) -> None:
        """Close every notary."""
        for opened_here in self._notaries:
            opened_here.close()

    def tamper(self, *statements: str) -> None:
        """As the database's owner, whom no grant keeps from anything."""
        with psycopg.connect(self.world.owner_url, autocommit=True) as owner:
            for statement in statements:
                owner.execute(statement.encode())

    def rewrite(self, size: int | None = None) -> None:
        """Replace every leaf and recompute every hash, as an insider would."""
        with psycopg.connect(self.world.owner_url, autocommit=True) as owner:
            head = read_head(owner, self.world.ledger_id).position if size is None else size
            owner.execute("DELETE FROM audit.tiles")
            owner.execute("DELETE FROM ledger.events WHERE position > %s", (head,))
            leaves = [merkle.leaf_hash(b"forged %d" % number) for number in range(head)]
            for position, leaf in enumerate(leaves, 1):
                owner.execute(
                    "UPDATE ledger.events SET leaf_hash = %s WHERE position = %s", (leaf, position)
                )
            owner.execute(
                "UPDATE ledger.heads SET position = %s, frontier = %s",
                (head, merkle.to_bytes(merkle.extend(merkle.EMPTY, leaves))),
            )


@pytest.fixture
def office(world: World, tmp_path: Path) -> Iterator[Office]:
    """A ledger of three events with a notary."""
    office = Office(world, tmp_path)
    yield office
    office.close()


def _stored(office: Office) -> list[notary.Signed]:
    """Every checkpoint of the database."""
    return notary.checkpoints(office.world.writer, office.world.ledger_id)


def test_the_head_is_signed_and_verifies(office: Office) -> None:
    """Size and root are the log's, both keys signed it, and asking again gives the same note."""
    signed = office.notary.at(office.world.ledger_id)
    head = read_head(office.world.writer, office.world.ledger_id)
    keys = signing_keys.load(office.settings).public_keys(ORIGIN)
    found = checkpoints.verify(signed.note, keys)
    assert (found.origin, found.size) == (ORIGIN, head.position)
    assert found.root == merkle.root(head.frontier)
    assert checkpoints.verify(signed.note, keys[1:]) == found
    assert office.notary.at(office.world.ledger_id) == signed
    assert _stored(office) == [signed]


def test_any_size_up_to_the_head_is_signed_when_asked_for(office: Office) -> None:
    """Also an older one, after the newest, and that of an empty log; none beyond."""
    world = office.world
    leaves = [event.leaf_hash for event in world.stored()]
    for size in (3, 1, 0, 2):
        signed = office.notary.at(world.ledger_id, size=size)
        assert signed.root == defined_root(leaves[:size])
    assert [item.size for item in _stored(office)] == [0, 1, 2, 3]
    with pytest.raises(BeyondLogError, match="position 3"):
        office.notary.at(world.ledger_id, size=4)
    with pytest.raises(LedgerNotFound):
        office.notary.at(99)


def test_a_position_is_covered_by_the_newest_checkpoint_or_a_new_one(office: Office) -> None:
    """What is covered needs no new signature; what is not gets one; what is not there, none."""
    world = office.world
    first = office.notary.covering(world.ledger_id, 1)
    assert first.size == 3
    world.run(deposited("A", 5, key="second"))
    assert office.notary.covering(world.ledger_id, 3) == first
    assert office.notary.covering(world.ledger_id, 4).size == 4
    assert office.another().covering(world.ledger_id, 2).size == 4
    with pytest.raises(BeyondLogError):
        office.notary.covering(world.ledger_id, 5)


def test_a_round_signs_what_has_grown_and_nothing_twice(office: Office) -> None:
    """Each round signs once what was appended since, and tells who listens."""
    told: list[int] = []
    office.notary.listen(lambda signed: told.append(signed.size))
    for _ in range(2):
        office.notary.round()
    office.world.run(deposited("A", 5, key="second"))
    for _ in range(2):
        office.notary.round()
    assert told == [3, 4]
    assert [item.size for item in _stored(office)] == [3, 4]


def test_two_notaries_sign_one_log(office: Office) -> None:
    """Whoever is first signs a size; the other answers with the same note."""
    world = office.world
    other = office.another()
    first = office.notary.at(world.ledger_id)
    assert other.at(world.ledger_id) == first
    world.run(deposited("A", 5, key="second"))
    second = other.at(world.ledger_id)
    assert office.notary.at(world.ledger_id) == second


@pytest.mark.parametrize("memory", ["database", "process", "file"])
def test_a_rewritten_log_is_not_signed_whoever_remembers(office: Office, memory: str) -> None:
    """Every hash recomputed: found as long as one of the three memories is left."""
    world = office.world
    office.notary.at(world.ledger_id)
    office.rewrite()
    if memory != "database":
        office.tamper("DELETE FROM audit.checkpoints")
    if memory != "file":
        for file in (office.settings.data_dir / "signed").iterdir():
            file.unlink()
    asked = office.notary if memory == "process" else office.another()
    for _ in range(2):
        with pytest.raises(NotaryStoppedError, match="signed"):
            asked.at(world.ledger_id)
    assert asked.is_stopped
    assert asked.figures[world.ledger_id, "events"].failures == 2
    with pytest.raises(NotaryStoppedError):
        asked.at(world.ledger_id, size=2)
    asked.round()
    assert all(item.size == 3 for item in _stored(office))


def test_a_log_that_became_shorter_is_not_signed(office: Office) -> None:
    """As after an old backup: it says how long the log was, and signs again once it is that log."""
    world = office.world
    before = read_head(world.writer, world.ledger_id)
    world.run(deposited("A", 5, key="second"), deposited("A", 6, key="third"))
    after = read_head(world.writer, world.ledger_id)
    office.notary.at(world.ledger_id)
    office.tamper(
        "CREATE TABLE aside AS SELECT * FROM ledger.events WHERE position > 3",
        "DELETE FROM ledger.events WHERE position > 3",
        "DELETE FROM audit.checkpoints",
    )
    world.writer.execute(
        "UPDATE ledger.heads SET position = 3, frontier = %s", (merkle.to_bytes(before.frontier),)
    )
    restored = office.another()
    with pytest.raises(NotaryStoppedError, match="ends at 3, but was signed up to 5"):
        restored.at(world.ledger_id)
    office.tamper("INSERT INTO ledger.events SELECT * FROM aside")
    world.writer.execute(
        "UPDATE ledger.heads SET position = 5, frontier = %s", (merkle.to_bytes(after.frontier),)
    )
    assert restored.at(world.ledger_id).size == 5
    assert not restored.is_stopped


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger.events SET leaf_hash = sha256('x') WHERE position = 2",
        "DELETE FROM ledger.events WHERE position = 2",
        "UPDATE ledger.heads SET position = 2",
        "UPDATE ledger.heads SET frontier = '\\x00'",
        "UPDATE audit.checkpoints SET root = sha256('x')",
    ],
)
def test_whatever_does_not_fit_stops_it(office: Office, damage: str) -> None:
    """A leaf, the head, or what was signed altered by itself."""
    office.notary.at(office.world.ledger_id)
    office.tamper(damage)
    with pytest.raises(NotaryStoppedError):
        office.notary.at(office.world.ledger_id)


def test_a_first_signature_is_checked_too(office: Office) -> None:
    """Before anything was signed, the head's tree must be that of the entries."""
    office.tamper("UPDATE ledger.events SET leaf_hash = sha256('x') WHERE position = 2")
    with pytest.raises(NotaryStoppedError, match="head"):
        office.notary.at(office.world.ledger_id)
    assert _stored(office) == []


@pytest.mark.parametrize("column", ["hashes", "nodes"])
def test_an_altered_tile_is_not_signed_over(world: World, tmp_path: Path, column: str) -> None:
    """What stands in a tile and is needed for the proof must be the tree's."""
    office = Office(world, tmp_path)
    size = 2 * TILE + 10
    fill(world, size, 4)
    fresh = [merkle.leaf_hash(b"%d" % number) for number in range(size)]
    for position, leaf in enumerate(fresh[:3], 1):
        office.tamper(
            f"UPDATE ledger.events SET leaf_hash = '\\x{leaf.hex()}' WHERE position = {position}"
        )
    rows = world.writer.execute("SELECT leaf_hash FROM ledger.events ORDER BY position").fetchall()
    frontier = merkle.extend(merkle.EMPTY, (bytes(row[0]) for row in rows))
    world.writer.execute("UPDATE ledger.heads SET frontier = %s", (merkle.to_bytes(frontier),))
    build(world, size)
    office.notary.at(world.ledger_id, size=300)
    office.tamper(f"UPDATE audit.tiles SET {column} = overlay({column} placing '\\x00ff' from 1)")
    with pytest.raises(NotaryStoppedError):
        office.another().at(world.ledger_id)
    office.close()


def test_a_log_without_tiles_gets_them_before_it_is_signed(world: World, tmp_path: Path) -> None:
    """A long log of an older version of the program is signed all the same."""
    settings = Settings(tmp_path, world.url, b"K" * 32, b"S" * 32)
    the_notary = Notary(settings, lambda role: database.connect(world.url, role), world.clock)
    size = notary.LAG_LEAVES_MAX + 3 * TILE + 5
    leaves = fill(world, size)
    assert the_notary.at(world.ledger_id).root == defined_root(leaves)
    assert tiles.count(world.writer, world.ledger_id, "events") >= 3
    the_notary.close()


def test_new_keys_sign_from_their_change_on(office: Office) -> None:
    """Checkpoints before and after verify with the list of both."""
    world = office.world
    first = office.notary.at(world.ledger_id)
    signing_keys.rotate(office.settings)
    world.run(deposited("A", 5, key="second"))
    second = office.notary.at(world.ledger_id)
    keys = signing_keys.load(office.settings).public_keys(ORIGIN)
    for signed, own, other in ((first, keys[:2], keys[2:]), (second, keys[2:], keys[:2])):
        assert checkpoints.verify(signed.note, own).size == signed.size
        with pytest.raises(NoteError):
            checkpoints.verify(signed.note, other)


def test_one_data_folder_serves_several_databases(office: Office, server_url: str) -> None:
    """What was signed in one database is not mistaken for what was signed in another."""
    office.notary.at(office.world.ledger_id)
    elsewhere = Settings(office.settings.data_dir, server_url, b"K" * 32, b"S" * 32)
    of_other = SignedBefore(elsewhere)
    assert of_other.recall(office.world.ledger_id, "events") is None
    assert SignedBefore(office.settings).recall(office.world.ledger_id, "events") is not None


def test_origins_are_named_after_the_ledger(tmp_path: Path) -> None:
    """The log of events, and that of accesses."""
    settings = Settings(
        tmp_path, None, b"K" * 32, b"S" * 32, notary=NotarySettings(origin="bank.example")
    )
    assert notary.origin_of(settings, "main") == "bank.example/main"
    assert notary.origin_of(settings, "main", "accesses") == "bank.example/main/access"


def test_a_lost_connection_is_made_anew(office: Office) -> None:
    """After PostgreSQL was away, between two rounds, the next but one signs again."""
    office.notary.round()
    office.world.run(deposited("A", 5, key="second"))
    with psycopg.connect(superuser_of(office.world.url), autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND application_name = 'ledger_writer'"
        )
    with pytest.raises(psycopg.OperationalError):
        office.notary.round()
    office.notary.round()
    stored = notary.checkpoints(office.world.connect(), office.world.ledger_id)
    assert [item.size for item in stored] == [3, 4]
