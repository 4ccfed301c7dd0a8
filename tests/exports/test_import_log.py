"""A log brought into an empty ledger: the same log, or nothing of it."""

import io
import json
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from tests.exports.house import House, Json, account, lines, members, move

from api import bulk, export_log, log_lines, signing_keys
from api.archives import ArchiveRefused
from api.import_log import ImportReport, import_log
from api.key_check import with_keys
from api.notary_settings import NotarySettings
from api.runtime import Runtime
from api.settings import Settings
from ledger_core import merkle
from ledger_core.checkpoints import Checkpoint
from ledger_core.errors import IdempotencyConflict, ValidationFailed
from projections import customer_queries, verification

AT = datetime(2026, 6, 1, tzinfo=UTC)
FORGER = NotarySettings(secrets=(b"F" * 32,))
Parts = dict[str, bytes]


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 10 events, so that a small log has several."""
    monkeypatch.setattr(export_log, "SEGMENT_EVENTS", 10)


@pytest.fixture
def archive(house: House, tmp_path: Path) -> bytes:
    """The whole log."""
    return house.export(tmp_path / "all.tar").read_bytes()


def imported(
    house: House, archive: bytes, ledger: str = "copy", keys: bytes | None = None
) -> House:
    """The ledger that the archive became."""
    import_log(house.runtime, ledger, io.BytesIO(archive), at=AT, keys=keys)
    copy = House(house.runtime, ledger)
    copy.catch_up()
    return copy


def packed(parts: Parts) -> bytes:
    """An archive of these members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def manifested(parts: Parts) -> Parts:
    """The same members under a manifest that fits them, as a forger makes it."""
    manifest = json.loads(parts["manifest.json"])
    manifest["members"] = [
        {"name": name, "bytes": len(content), "sha256": sha256(content).hexdigest()}
        for name, content in parts.items()
        if name != "manifest.json"
    ]
    return {**parts, "manifest.json": json.dumps(manifest).encode()}


def test_the_copy_is_the_same_log(house: House, archive: bytes) -> None:
    """Every column of every event, the head with its tree, and the names that entries took."""
    copy = imported(house, archive)
    assert copy.stored() == house.stored()
    assert copy.head() == house.head()
    assert copy.identities() == house.identities()
    assert ("entry", "first") in {row[:2] for row in copy.identities()}
    assert ("reference", "hold-ref") in {row[:2] for row in copy.identities()}
    assert copy.ledger_id != house.ledger_id


def test_another_database_can_have_it(
    house: House, archive: bytes, server_url: str, tmp_path: Path, superuser_url: str
) -> None:
    """Under other keys, in another place: the root is the same; persons cannot be read there."""
    settings = Settings(tmp_path / "there", superuser_url, b"1" * 32, b"2" * 32)
    with Runtime(settings) as there:
        report = import_log(there, "mirror", io.BytesIO(archive), at=AT)
        mirror = House(there, "mirror")
        mirror.catch_up()
        assert mirror.stored() == house.stored()
        with there.engine.connect() as connection:
            found = customer_queries.customer(connection, mirror.ledger_id, "zoe")
        with there.connect("ledger_reader") as keys:
            profile = there.vault.unseal(keys, mirror.ledger_id, found.subject, found.sealed)
    assert profile is None
    assert (report.persons, report.keys, report.events) == (2, "archive", house.head()[0])
    assert server_url


def test_the_copy_verifies_clean(house: House, archive: bytes) -> None:
    """Log, tree, every view and the keys: nothing is found."""
    copy = imported(house, archive)
    with copy.runtime.connect("ledger_projector") as connection:
        verdict = verification.verify(connection, copy.ledger_id)
    verdict = with_keys(copy.runtime, copy.ledger_id, verdict)
    assert verdict.findings == ()
    assert verdict.ok


def test_life_goes_on_in_the_copy(house: House, archive: bytes) -> None:
    """Old keys are replays or conflicts, taken names stay taken, new commands work."""
    copy = imported(house, archive)
    again = {"key": "k22", **move("a", "A", 7, value_date="2024-02-29")}

    def tried(command: Json) -> bulk.LoadReport:
        """What becomes of a command."""
        raw = json.dumps(command).encode()
        return bulk.load(copy.runtime, copy.ledger_id, [raw], "tester", lambda _: None)

    assert tried(again).replayed == 1
    assert tried({**again, "amount": "8"}).refusals[0].code == IdempotencyConflict.code
    used = {"key": "new-1", **move("a", "A", 1, entry_id="first")}
    assert tried(used).refusals[0].code == "entry_exists"
    reversed_ = {"key": "new-2", "type": "reverse_entry", "reverses": "first"}
    assert tried(reversed_).refusals[0].code == "already_reversed"
    assert tried({"key": "new-3", **move("a", "A", 1)}).recorded == 1
    assert tried({"key": "new-4", **account("new")}).recorded == 1
    before = [row[:2] for row in house.stored()]
    assert [row[:2] for row in copy.stored()][: len(before)] == before


def test_the_copy_can_be_exported_and_imported_again(
    house: House, archive: bytes, tmp_path: Path
) -> None:
    """The events and hashes of a copy's export are those of the first, byte for byte."""
    copy = imported(house, archive)
    again = copy.export(tmp_path / "again.tar").read_bytes()
    first, second = members(archive), members(again)
    same = [name for name in first if name.startswith(("events/", "hashes/", "balances"))]
    assert [first[name] for name in same] == [second[name] for name in same]
    assert imported(house, again, "third").stored() == house.stored()


def test_a_ledger_with_events_takes_no_import(house: House, archive: bytes) -> None:
    """Not even of its own log."""
    with pytest.raises(ArchiveRefused, match="not empty"):
        import_log(house.runtime, "books", io.BytesIO(archive), at=AT)


def test_only_a_whole_log_is_imported(house: House, tmp_path: Path) -> None:
    """A range that begins later is refused, one that ends earlier is a shorter log."""
    late = house.export(tmp_path / "late.tar", 2).read_bytes()
    with pytest.raises(ArchiveRefused, match="begins at position 2"):
        imported(house, late)
    early = house.export(tmp_path / "early.tar", 1, 17).read_bytes()
    assert imported(house, early).stored() == house.stored()[:17]


def test_an_empty_log_is_imported(house: House, tmp_path: Path) -> None:
    """Nothing is in it, and nothing comes of it."""
    empty = House(house.runtime, "empty")
    empty.catch_up()
    copy = imported(house, empty.export(tmp_path / "empty.tar").read_bytes())
    assert copy.stored() == []


def test_keys_that_are_given_decide(house: House, archive: bytes) -> None:
    """The log's own keys hold; another's do not, and nothing is imported."""
    own = members(archive)["keys.json"]
    other = json.loads(own)
    for key in other["keys"]:
        key["name"] = "bank.example/other"
    with pytest.raises(ArchiveRefused, match="no key"):
        imported(house, archive, keys=json.dumps(other).encode())
    with pytest.raises(ArchiveRefused, match=r"keys\.json was expected"):
        imported(house, archive, keys=b"{}")
    assert imported(house, archive, keys=own).head() == house.head()


def test_names_that_no_ledger_may_have_are_refused(house: House, archive: bytes) -> None:
    """As anywhere else."""
    with pytest.raises(ValidationFailed):
        import_log(house.runtime, "No such name", io.BytesIO(archive), at=AT)


def _without(name: str) -> Callable[[Parts], Parts]:
    """Leave a member out."""
    return lambda parts: {key: text for key, text in parts.items() if not key.startswith(name)}


def _with(name: str, old: bytes, new: bytes) -> Callable[[Parts], Parts]:
    """Change the first member of that name."""

    def change(parts: Parts) -> Parts:
        """The members, one of them changed."""
        target = next(key for key in parts if key.startswith(name) and old in parts[key])
        return {**parts, target: parts[target].replace(old, new, 1)}

    return change


def _swapped(parts: Parts) -> Parts:
    """Two events in the wrong order."""
    name = next(key for key in parts if key.startswith("events/"))
    one, two, *others = lines([parts[name]])
    return {**parts, name: b"\n".join([two, one, *others, b""])}


def _from_the_future(parts: Parts) -> Parts:
    """An event of a later version of the program."""
    name = next(key for key in parts if key.startswith("events/"))
    return {**parts, name: parts[name].replace(b'"UnitRegistered",1', b'"UnitRegistered",2', 1)}


DAMAGE = {
    "no events": _without("events/"),
    "no checkpoint": _without("checkpoints/"),
    "no manifest": _without("manifest"),
    "no head": _without("export"),
    "no keys": _without("keys"),
    "amount": _with("events/", b'"amount_minor":100000', b'"amount_minor":100001'),
    "both amounts": _with("events/", b"100000", b"200000"),
    "actor": _with("events/", b'"tester"', b'"teller"'),
    "time": _with("events/", b"[2,1", b"[2,2"),
    "position": _with("events/", b'{"leaf":[3,', b'{"leaf":[4,'),
    "blank": _with("events/", b'{"leaf":[1,', b'{"leaf":[ 1,'),
    "no json": _with("events/", b',"data":{', b',"data":('),
    "hash": _with("hashes/", b"\x00", b"\x01"),
    "swapped": _swapped,
    "future": _from_the_future,
    "unknown": _with("events/", b'"UnitRegistered"', b'"UnitForgotten_"'),
    "extra": lambda parts: {**parts, "zzz.txt": b"more"},
    "root": _with("manifest", b'"root"', b'"Root"'),
}


@pytest.mark.parametrize("seal", [dict, manifested], ids=["as it was", "manifest made anew"])
def test_what_is_damaged_leaves_nothing_behind(
    house: House, archive: bytes, seal: Callable[[Parts], Parts]
) -> None:
    """Refused in one sentence; no ledger, no event, no name, no key is there afterwards."""
    for name, damage in DAMAGE.items():
        parts = damage(members(archive))
        if b'"root"' in parts.get("manifest.json", b""):
            parts = seal(parts)
        with pytest.raises(ArchiveRefused) as refused:
            imported(house, packed(parts))
        assert str(refused.value).endswith("."), name
        assert others(house) == (0, 0, 0, 0), name


def others(house: House) -> tuple[int, ...]:
    """How many ledgers, events, names and keys there are of any other ledger."""
    tables = ("ledger.ledgers", "ledger.events", "ledger.identities", "keystore.subject_keys")
    counts = []
    with house.runtime.connect("ledger_reader") as connection:
        for table in tables:
            query = f"SELECT count(*) FROM {table} WHERE ledger_id <> %s"
            row = connection.execute(query.encode(), (house.ledger_id,)).fetchone()
            assert row is not None
            counts.append(int(row[0]))
    return tuple(counts)


def test_a_cut_archive_leaves_nothing_behind(house: House, archive: bytes) -> None:
    """Wherever it was cut."""
    for cut in (0, 100, 512, 3_000, 80_000, 90_000, len(archive) // 2, len(archive) - 1_500):
        with pytest.raises(ArchiveRefused):
            imported(house, archive[:cut])


def test_a_refused_import_leaves_an_empty_ledger_empty(house: House, archive: bytes) -> None:
    """One that was there before is there, and takes the right archive afterwards."""
    House(house.runtime, "waiting")
    with pytest.raises(ArchiveRefused):
        imported(house, archive[: len(archive) // 2], "waiting")
    copy = imported(house, archive, "waiting")
    assert copy.stored() == house.stored()
    assert ImportReport.__doc__


def test_a_forgery_holds_only_by_its_own_keys(house: House, archive: bytes) -> None:
    """Whoever rewrites all of it can sign it, but not with the keys that an auditor has."""
    parts = members(archive)
    genuine = parts["keys.json"]
    hashes = []
    for name in [name for name in parts if name.startswith("events/")]:
        forged = [line.replace(b"100000", b"900000") for line in lines([parts[name]])]
        parts[name] = b"".join(line + b"\n" for line in forged)
        some = [merkle.leaf_hash(b"\n".join(log_lines.halves(line))) for line in forged]
        parts[name.replace("events", "hashes").replace("jsonl", "bin")] = b"".join(some)
        hashes += some
    root = merkle.root(merkle.extend(merkle.EMPTY, hashes))
    other = signing_keys.load(Settings(Path("unused"), None, b"", b"", notary=FORGER))
    origin = json.loads(parts["export.json"])["origin"]
    note = other.sign_checkpoint(origin, Checkpoint(origin, len(hashes), root), AT)
    parts[f"checkpoints/{len(hashes)}.txt"] = note.encode()
    parts["keys.json"] = json.dumps(other.public(origin)).encode()
    manifest = json.loads(parts["manifest.json"]) | {"root": root.hex()}
    parts["manifest.json"] = json.dumps(manifest).encode()
    forgery = packed(manifested(parts))
    with pytest.raises(ArchiveRefused, match="signed by no known key"):
        imported(house, forgery, keys=genuine)
    assert imported(house, forgery).stored() != house.stored()
