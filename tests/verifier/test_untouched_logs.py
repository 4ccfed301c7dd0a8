"""Untouched logs raise no alarm, whatever is in them and however they are handed over."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.verifier.archives import Export, export_of, line_of
from tests.verifier.checks import export, trusted, verify
from tests.verifier.logs import LogMaker

from ledger_verify import checking
from ledger_verify.findings import Report
from ledger_verify.trust import Trust


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(0, 200), kept=st.integers(0, 10))
def test_no_false_alarm(seed: int, count: int, kept: int) -> None:
    """Logs at random are proven, whatever checkpoints the auditor kept."""
    made = export_of(LogMaker(seed).grow(count))
    held = [made.checkpoint(len(made.leaves) * number // 10) for number in range(kept)]
    report = verify(made.members(), held)
    assert not report.findings
    assert report.verdict == "proven"
    assert report.events == len(made.leaves)


@pytest.mark.parametrize("seed", range(6))
def test_without_stored_hashes(seed: int) -> None:
    """An export may leave out the stored leaf hashes."""
    made = export(seed, 150)
    bare = Export(made.leaves, made.balances, made.sizes, has_hashes=False)
    assert not verify(bare.members(), [made.checkpoint(70)]).findings


@pytest.mark.parametrize("first", [1, 2, 60, 61, 100, 149])
def test_ranges(first: int) -> None:
    """An export goes on where a kept checkpoint ends; balances are said not to be checked."""
    made = export(3, 150)
    sizes = [size for size in made.sizes if size >= first]
    part = Export(made.leaves, made.balances, sizes, first=first)
    report = verify(part.members(), [made.checkpoint(first - 1)])
    assert not report.findings
    assert report.events == len(made.leaves) - first + 1
    assert any("balances" in text for text in report.unchecked) == (first > 1)


def test_a_range_that_does_not_reach_back_is_no_proof() -> None:
    """A kept checkpoint before the export's beginning cannot be compared: that is a doubt."""
    made = export(3, 150)
    part = Export(made.leaves, made.balances, made.sizes[-1:], first=100)
    report = verify(part.members(), [made.checkpoint(98)])
    assert [found.kind for found in report.findings] == ["uncompared"]


def test_an_empty_log() -> None:
    """A log without any event is proven, too."""
    report = verify(Export((), b"", [0]).members())
    assert not report.findings
    assert (report.first_position, report.last_position) == (1, 0)


def test_bare_lines() -> None:
    """Lines of a log are checked against a checkpoint; what it does not cover is named."""
    made = export(4, 120)
    count = len(made.leaves)
    lines = b"".join(map(line_of, made.leaves))
    assert not verify(lines, [made.checkpoint(count)]).findings
    assert [found.kind for found in verify(lines).findings] == ["unsealed"]
    report = verify(lines, [made.checkpoint(100)])
    assert report.first_bad == (101, 101)


def test_data_with_a_line_feed() -> None:
    """Stored data may have line feeds between its tokens; its line tells it as a string."""
    made = export(4, 120)
    header, _, data = made.leaves[-1].partition(b"\n")
    spaced = json.dumps(json.loads(data), indent=1).encode()
    leaves = (*made.leaves[:-1], header + b"\n" + spaced)
    changed = Export(leaves, made.balances, [100, len(leaves)])
    assert b',"text":' in line_of(leaves[-1])
    assert not verify(changed.members(), [made.checkpoint(100)]).findings


def test_a_folder(tmp_path: Path) -> None:
    """An archive may have been unpacked."""
    made = export(5, 100)
    for name, data in made.members().items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    report = Report("input")
    checking.check(report, tmp_path, Trust(trusted(), ()), "books")
    assert not report.findings
    assert report.verdict == "proven"


def test_without_trusted_keys_it_is_only_consistent() -> None:
    """With the keys of the archive itself nothing is proven, and the verdict says so."""
    report = verify(export(5, 100).members(), keys=None)
    assert report.verdict == "consistent"
    assert any("keys in the input itself" in text for text in report.unchecked)


def test_less_can_be_asked_for() -> None:
    """Without balances it is told that they were not checked."""
    made = export(6, 100)
    report = verify(made.members(), [made.checkpoint(50)], depth="bytes")
    assert not report.findings
    assert any("--no-balances" in text for text in report.unchecked)
