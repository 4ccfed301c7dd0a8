"""Every parser on inputs that are nearly good: understood or refused, never a crash or a hang.

The same targets run for as long as anybody likes with ``make fuzz``, guided by coverage.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.security.mutations import near
from tests.security.parsers import TARGETS, Target

from ledger_verify.lines import parse_line
from ledger_verify.plain import Malformed

EXAMPLES = 80
# Refused whatever they are: the issue names these.
NAMED = {"camt", "journal", "lines", "batch", "cursor", "key", "token", "archive"}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_what_is_nearly_good_is_understood_or_refused(name: str) -> None:
    """No input makes a parser fail in a way that it does not say; hypothesis looks for one."""
    target = TARGETS[name]

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(near(target.seeds))
    def run(data: bytes) -> None:
        """One input."""
        target.feed(data)

    run()


# What fuzzing found, each once, so that it stays mended.
FOUND = [
    ("event", b'JournalEntryPosted 0\n{"kind":"transfer","postings":[]}'),
    ("event", b'JournalEntryPosted -7\n{"kind":"transfer","postings":[]}'),
]


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_what_was_found_before_is_refused(name: str, data: bytes) -> None:
    """An event of a version that there cannot be, in an archive that somebody made."""
    assert TARGETS[name].feed(data) is None


def test_a_line_whose_key_is_no_text_is_malformed() -> None:
    """The verifier says so, where it once failed on the bytes."""
    line = b'{"leaf":[1,5,"AccountClosed",1,"k\xc4(","a",[]],"data":{}}'
    with pytest.raises(Malformed):
        parse_line(line)
    assert parse_line(line.replace(b"\xc4(", b"")).command_key == "k"


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_seeds_are_understood(name: str) -> None:
    """Without which the property would only ever see refusals: one seed at least is good."""
    assert any(TARGETS[name].feed(seed) is not None for seed in TARGETS[name].seeds)


def test_a_fault_is_found() -> None:
    """A parser that fails on one byte of a thousand is caught: the search can fail."""

    def faulty(data: bytes) -> bytes:
        """Fails where two things come together."""
        if b"\0" in data and len(data) > 2:
            raise KeyError(data)
        return data

    target = Target(faulty, (b"good input",), (ValueError,))

    @settings(max_examples=1_000, database=None, deadline=None)
    @given(near(target.seeds))
    def run(data: bytes) -> None:
        """One input."""
        target.feed(data)

    with pytest.raises(KeyError):
        run()


def test_no_target_forgives_everything() -> None:
    """A target's refusals are the parser's own, not all exceptions there are."""
    for name, target in TARGETS.items():
        assert not {Exception, BaseException} & set(target.refusals), name


def test_the_parsers_that_take_in_strangers_words_are_there() -> None:
    """Those that the threat model names."""
    assert set(TARGETS) >= NAMED


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_nobody_makes_a_cursor_or_a_key_by_chance(data: bytes) -> None:
    """Bytes at random are neither."""
    assert TARGETS["cursor"].feed(data) is None
    assert TARGETS["key"].feed(data) is None
