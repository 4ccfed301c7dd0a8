"""Whatever the input is, the verifier says what is wrong with it: no traceback, no false proof."""

import io
import json
import random
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verifier.archives import Members, line_of, relisted, tar_of
from tests.verifier.checks import export, verify

EVENTS = "events/000000000001-000000000060.jsonl"


def members() -> Members:
    """A good export."""
    return export(1, 60).members()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2_000))
def test_any_bytes(data: bytes) -> None:
    """Bytes at random are a doubt."""
    assert verify(data).verdict == "doubt"


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([b'{"leaf":', b"ledger-audit/1\n", b"c2sp.org/tlog-proof@v1\n", b"{"]),
    st.binary(max_size=500),
)
def test_any_bytes_after_a_good_beginning(head: bytes, data: bytes) -> None:
    """Inputs that begin like one of ours are a doubt, too."""
    assert verify(head + data).verdict == "doubt"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(members())), st.data())
def test_any_json_in_place_of_a_file(name: str, data: st.DataObject) -> None:
    """A file of an export may hold any JSON value, or its own with one field replaced."""
    good = members()
    value = data.draw(json_values)
    if name.endswith(".json"):
        document = json.loads(good[name])
        if data.draw(st.booleans()):
            document[data.draw(st.sampled_from(sorted(document)))] = value
            value = document
    text = json.dumps(value).encode()
    if text.strip() == good[name].strip():
        return
    changed = good | {name: text}
    if name != "manifest.json":
        assert verify(changed).verdict == "doubt"
        verify(relisted(changed))
    elif json.loads(text) != json.loads(good[name]):
        assert verify(changed).verdict == "doubt"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"leaf":[],"data":{}}',
        b'{"leaf":[1,2,"T",1,null,"a",[]],"data":{}} ',
        b'{"leaf":[1,2,"T",1,null,"a",[]],"data":{}}\r',
        b'{"leaf":[1,2,"T",1,null,"a",[],8],"data":{}}',
        b'{"leaf":[' + b"9" * 5_000 + b',2,"T",1,null,"a",[]],"data":{}}',
        b'{"leaf":[1,2,"T",1,null,"a",[]],"text":"\\ud800"}',
        b'{"leaf":[1,2,"T",1,null,"a",[]],"text":7}',
        b'{"leaf":[1,2,"T",1,null,"a",[' + b"[" * 100_000 + b']],"data":{}}',
        b'{"leaf":[1,2,"T",1,null,"a",[]],"data":' + b"[" * 100_000 + b"}",
        b'{"leaf":[1,2,"\xff",1,null,"a",[]],"data":{}}',
        b'{"leaf":[1,2,"T",1,null,"a",[]],"data":{"a":"\xff"}}',
        b'{"leaf":[true,2,"T",1,null,"a",[]],"data":{}}',
        b'{"leaf":[1.0,2,"T",1,null,"a",[]],"data":{}}',
        b'{"leaf":[1,1e400,"T",1,null,"a",[]],"data":{}}',
        b"\x1b[2J\x00",
    ],
)
@pytest.mark.parametrize("at", [1, 20, 60])
def test_any_line(line: bytes, at: int) -> None:
    """A line that is no event is named by the position at which it stands."""
    good = members()
    lines = good[EVENTS].splitlines(keepends=True)
    lines[at - 1] = line + b"\n"
    report = verify(relisted(good | {EVENTS: b"".join(lines)}))
    assert report.first_bad == (at, at)
    assert all(char.isprintable() for found in report.findings for char in found.what)


def test_a_line_without_an_end() -> None:
    """An endless line ends the check, not the memory."""
    made = export(1, 60)
    report = verify(b"".join(map(line_of, made.leaves)) + b'{"leaf":' + b"x" * 70_000_000)
    assert report.first_bad == (len(made.leaves) + 1, len(made.leaves) + 1)


@pytest.mark.parametrize("name", sorted(members()))
def test_a_missing_file(name: str) -> None:
    """Whatever file is missing, it is told; also where the manifest was made to fit."""
    good = members()
    del good[name]
    assert verify(good).verdict == "doubt"
    if name not in {"manifest.json", "schema/events.json", "checkpoints/30.txt"} and not (
        name.startswith("hashes/")
    ):
        assert verify(relisted(good)).verdict == "doubt"


def test_files_in_another_order_or_twice() -> None:
    """An archive has its files in one order, each once."""
    good = members()
    assert verify(dict(sorted(good.items(), reverse=True))).verdict == "doubt"
    data = tar_of(good)
    twice = tar_of({"keys.json": good["keys.json"]}) + data
    assert verify(twice).verdict == "doubt"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in [*good, "balances.jsonl"]:
            info = tarfile.TarInfo(name)
            info.size = len(good[name])
            tar.addfile(info, io.BytesIO(good[name]))
    assert verify(buffer.getvalue()).verdict == "doubt"


def test_a_file_that_is_no_file() -> None:
    """Links and folders have no place in an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("export.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    assert verify(buffer.getvalue()).verdict == "doubt"


def test_lines_dropped_doubled_and_swapped() -> None:
    """Damage to whole lines, nothing recomputed, is named where it begins."""
    good = members()
    lines = good[EVENTS].splitlines(keepends=True)
    chance = random.Random(1)
    for _ in range(10):
        at = chance.randrange(1, 58)
        for changed in (
            [*lines[:at], *lines[at + 1 :]],
            [*lines[:at], lines[at], *lines[at:]],
            [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]],
        ):
            report = verify(good | {EVENTS: b"".join(changed)})
            first = at + 1 if changed[at] != lines[at] else at + 2
            assert report.first_bad == (first, first), (at, report.findings)
