"""The archive of a log: its bytes, its order, its ranges, and what happens to half of one."""

import hashlib
import json
from pathlib import Path

import msgspec
import psycopg
import pytest
from pymerkle import InmemoryTree  # type: ignore[import-untyped]  # It has no types.
from tests.exports.house import House, account, lines, members, move

from api import archives, event_schemas, export_log, log_lines, trusted_keys
from api.archives import ArchiveRefused
from ledger_core import events, log, merkle
from ledger_core.appending import append

SEGMENTS = "SEGMENT_EVENTS"


@pytest.fixture
def archive(house: House, tmp_path: Path) -> Path:
    """The whole log, in segments of 10."""
    return house.export(tmp_path / "all.tar")


@pytest.fixture(autouse=True)
def _short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 10 events, so that a small log has several."""
    monkeypatch.setattr(export_log, SEGMENTS, 10)


def test_the_lines_are_the_leaves(house: House, archive: Path) -> None:
    """Cut by the documented rule and nothing else, each line gives the bytes that were hashed."""
    found = members(archive)
    segments = [content for name, content in found.items() if name.startswith("events/")]
    hashes = []
    for line in lines(segments):
        at = line.index(b',"data":')
        leaf = line[len(b'{"leaf":') : at] + b"\n" + line[at + len(b',"data":') : -1]
        hashes.append(hashlib.sha256(b"\x00" + leaf).digest())
    assert hashes == [bytes(row[8]) for row in house.stored()]
    stored = b"".join(content for name, content in found.items() if name.startswith("hashes/"))
    assert stored == b"".join(hashes)


def test_the_root_is_that_of_another_implementation(archive: Path) -> None:
    """Pymerkle, fed with the leaves, has the root of manifest and checkpoint."""
    found = members(archive)
    tree = InmemoryTree(algorithm="sha256")
    for line in lines(content for name, content in found.items() if name.startswith("events/")):
        tree.append_entry(b"\n".join(log_lines.halves(line)))
    manifest = json.loads(found["manifest.json"])
    assert tree.get_root().hex() == manifest["root"]
    *_, note = (content for name, content in found.items() if name.startswith("checkpoints/"))
    origin = json.loads(found["export.json"])["origin"]
    signed = trusted_keys.checked(note.decode(), origin, trusted_keys.parse(found["keys.json"]))
    assert (signed.size, signed.root.hex()) == (manifest["size"], manifest["root"])


def test_members_stand_in_order_and_are_named_with_their_hashes(
    house: House, archive: Path
) -> None:
    """As docs/formats.md has it; the manifest names all but itself."""
    found = members(archive)
    end = house.head()[0]
    expected = ["export.json", "keys.json", "schema/events.json"]
    for first, last in export_log.segments(1, end, 10):
        expected += [f"events/{first:012}-{last:012}.jsonl", f"hashes/{first:012}-{last:012}.bin"]
    expected += ["balances.jsonl", f"checkpoints/{end}.txt", "manifest.json"]
    assert list(found) == expected
    said = json.loads(found["manifest.json"])["members"]
    assert said == [
        {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in found.items()
        if name != "manifest.json"
    ]


def test_balances_are_those_of_the_views(house: House, archive: Path) -> None:
    """One line an account, by code point; sums at the end of the range, holds included."""
    rows = [json.loads(line) for line in lines([members(archive)["balances.jsonl"]])]
    assert [row["account"] for row in rows] == sorted(row["account"] for row in rows)
    (a,) = (row for row in rows if row["account"] == "a")
    debits = 123 + 7 + 250 + 1000 + 100
    expected = {"currency": "EUR", "debits_posted": str(debits), "credits_posted": "100123"}
    assert a == {"account": "a", **expected, "debits_held": "55", "credits_held": "0"}
    assert len(rows) == len({row["account"] for row in rows})
    assert house.head()[0] > 0


def test_balances_of_a_past_end_are_those_of_then(house: House, tmp_path: Path) -> None:
    """An account that was changed later has the sums it had, an unopened one has no line."""
    (opened,) = (row[0] for row in house.stored() if row[5] == "k18")  # The deposit on a.
    found = members(house.export(tmp_path / "past.tar", last=opened))
    rows = {
        json.loads(line)["account"]: json.loads(line) for line in lines([found["balances.jsonl"]])
    }
    assert (rows["a"]["debits_posted"], rows["a"]["credits_posted"]) == ("0", "100000")
    assert rows["a"]["debits_held"] == "0"
    assert "bank:position:USD" not in rows


def test_a_range_continues_from_the_tree_before_it(house: House, tmp_path: Path) -> None:
    """With the nodes before, the range's leaves give the root that the whole log has."""
    end = house.head()[0]
    for first in (2, 11, 17, end):
        found = members(house.export(tmp_path / f"from-{first}.tar", first))
        head = json.loads(found["export.json"])
        assert (head["from"], head["to"]) == (first, end)
        assert "balances.jsonl" not in found
        nodes = tuple(bytes.fromhex(node) for node in head["frontier_before"])
        frontier = merkle.Frontier(first - 1, nodes)
        before = [bytes(row[8]) for row in house.stored()[: first - 1]]
        assert merkle.extend(merkle.EMPTY, before) == frontier
        events_ = lines(text for name, text in found.items() if name.startswith("events/"))
        leaves = [merkle.leaf_hash(b"\n".join(log_lines.halves(line))) for line in events_]
        root = merkle.root(merkle.extend(frontier, leaves)).hex()
        assert root == json.loads(found["manifest.json"])["root"]


def test_an_interrupted_export_is_completed_to_the_same_bytes(
    house: House, archive: Path, tmp_path: Path
) -> None:
    """Cut anywhere, or left with a half-written member, while the log has grown since."""
    whole = archive.read_bytes()
    house.load(move("a", "a:b", 1))
    end = house.head()[0]
    cuts = (0, 1, 511, 512, 1_000, 1_024, 6_000, 80_000, len(whole) // 2, len(whole) - 1_024)
    for cut in cuts:
        part = tmp_path / f"part-{cut}.tar"
        part.write_bytes(whole[:cut])
        if 6_000 <= cut < len(whole) // 2:
            # As a run leaves it: zeros for the header of a member that is not whole yet.
            at = max(item.offset - archives.BLOCK for item in archives.whole_members(part))
            part.write_bytes(whole[:at] + bytes(archives.BLOCK) + b"half of it")
        if cut >= archives.BLOCK * 2:
            assert house.export(part).read_bytes() == whole, cut
        else:  # Not even the first member was whole: it begins anew, with the log as it is now.
            assert json.loads(members(house.export(part))["export.json"])["to"] == end


def test_a_finished_file_stays_as_it_is(house: House, archive: Path) -> None:
    """The same command again changes nothing."""
    whole = archive.read_bytes()
    assert house.export(archive).read_bytes() == whole


def test_the_stream_has_the_same_bytes_as_the_file(house: House, archive: Path) -> None:
    """Where one cannot go back, members are spooled: nothing else differs."""
    export = export_log.begin(house.runtime, house.ledger_id, house.ledger, path=archive)
    assert b"".join(export.stream()) == archive.read_bytes()


def test_other_files_are_left_alone(house: House, archive: Path, tmp_path: Path) -> None:
    """Neither another's file nor an export of another range is written over."""
    other = tmp_path / "letter.txt"
    other.write_text("Dear all, " * 100)
    with pytest.raises(ArchiveRefused, match="no archive"):
        house.export(other)
    assert other.read_text().startswith("Dear all")
    whole = archive.read_bytes()
    with pytest.raises(ArchiveRefused, match="name another file"):
        house.export(archive, first=2)
    with pytest.raises(ArchiveRefused, match="name another file"):
        house.export(archive, last=3)
    assert archive.read_bytes() == whole


@pytest.mark.parametrize(("first", "last"), [(0, None), (5, 4), (1, 10_000), (9_999, None)])
def test_what_is_not_in_the_log_is_refused(
    house: House, tmp_path: Path, first: int, last: int | None
) -> None:
    """The refusal says which positions there are."""
    with pytest.raises(ArchiveRefused, match=f"positions 1 to {house.head()[0]}"):
        house.export(tmp_path / "none.tar", first, last)
    assert not (tmp_path / "none.tar").exists()


def test_an_empty_log_is_an_archive_too(house: House, tmp_path: Path) -> None:
    """From 1 to 0, without events."""
    empty = House(house.runtime, "empty")
    empty.catch_up()
    found = members(empty.export(tmp_path / "empty.tar"))
    assert list(found)[3:] == ["balances.jsonl", "checkpoints/0.txt", "manifest.json"]
    assert json.loads(found["manifest.json"])["root"] == hashlib.sha256(b"").hexdigest()


def test_checkpoints_of_segments_are_in_it(house: House, tmp_path: Path) -> None:
    """Of each segment the newest that was signed, and that of the end, in order."""
    for size in (3, 7, 25, 30):
        house.runtime.notary.at(house.ledger_id, size=size)
    found = members(house.export(tmp_path / "with.tar"))
    sizes = [name for name in found if name.startswith("checkpoints/")]
    end = house.head()[0]
    assert sizes == [f"checkpoints/{size}.txt" for size in (7, 30, end)]


def test_every_event_fits_its_schema(house: House, archive: Path) -> None:
    """Every name and version that is in the log is described, and so is each field of it."""
    found = members(archive)
    schema = json.loads(found["schema/events.json"])
    for line in lines(text for name, text in found.items() if name.startswith("events/")):
        header, data = log_lines.halves(line)
        _, _, name, version, *_ = json.loads(header)
        target = schema["events"][name][str(version)]["$ref"].removeprefix("#/$defs/")
        definition = schema["$defs"][target]
        for field in json.loads(data):
            assert definition["properties"][field]["description"].endswith(".")
    assert house.ledger


def test_the_schema_covers_every_event_and_field() -> None:
    """No event or field without words; the same bytes every time."""
    document = event_schemas.document()
    assert set(document["events"]) == set(events.names())
    for title, definition in document["$defs"].items():
        assert definition["description"], title
        for field, schema in definition.get("properties", {}).items():
            assert schema["description"], (title, field)
    assert event_schemas.encoded() == event_schemas.encoded()


def test_headers_are_as_they_were_hashed_whatever_is_in_them(
    house: House, superuser_url: str
) -> None:
    """PostgreSQL's own escapes would differ from those of the leaf; line feeds have a form too."""
    odd = "".join(map(chr, range(1, 0x20))) + '"\\/\x7f\u2028é😀'
    data = b'{"a":\n"\\u0000 \xc3\xa9",\r"b":{},"text":1}'
    event = log.NewEvent("Odd", 1, ("account:" + odd, odd), "key\\", odd, data)
    with house.runtime.connect("ledger_writer") as connection:
        head = log.begin(connection, house.ledger_id)
        end = append(connection, house.ledger_id, head, head.recorded_at, [event]).position
        made = [
            b"".join(log_lines.lines_between(connection, house.ledger_id, 1, end)),
            b"".join(log_lines.lines_at(connection, house.ledger_id, range(1, end + 1))),
        ]
    assert made[0] == made[1]
    *_, line = lines(made[:1])
    header, found = log_lines.halves(line)
    assert found == data
    assert b',"text":' in line
    row = house.stored()[-1]
    assert hashlib.sha256(b"\x00" + header + b"\n" + found).digest() == bytes(row[8])
    assert msgspec.json.decode(header)[6] == ["account:" + odd, odd]
    assert superuser_url


def test_what_is_missing_is_said_and_the_rest_is_there(
    house: House, superuser_url: str, tmp_path: Path
) -> None:
    """A log with a hole is exported as it is."""
    end = house.head()[0]
    house.runtime.notary.at(house.ledger_id)
    with psycopg.connect(superuser_url) as connection:
        connection.execute("DELETE FROM ledger.events WHERE position = 15")
    path = tmp_path / "hole.tar"
    export = export_log.begin(house.runtime, house.ledger_id, house.ledger, path=path)
    report = export.write(path)
    assert report.missing == 1
    found = members(path)
    events_ = lines(text for name, text in found.items() if name.startswith("events/"))
    assert len(events_) == end - 1


def test_a_rewritten_log_is_exported_unsigned(
    house: House, superuser_url: str, tmp_path: Path
) -> None:
    """Where the notary signs no more, the log is there as it stands, with the old checkpoints."""
    house.runtime.notary.at(house.ledger_id)
    end = house.head()[0]
    with psycopg.connect(superuser_url) as connection:
        connection.execute(
            "UPDATE ledger.events SET leaf_hash = sha256('x') WHERE position = %s", (end,)
        )
    path = tmp_path / "rewritten.tar"
    report = export_log.begin(house.runtime, house.ledger_id, house.ledger, path=path).write(path)
    assert report.stopped is not None
    assert "manifest.json" in members(path)
    assert account("x")["currency"] == "EUR"
