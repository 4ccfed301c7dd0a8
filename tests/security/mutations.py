"""Inputs that are nearly good: a seed with a few changes, as hypothesis draws them."""

from collections.abc import Sequence

from hypothesis import strategies as st

# What parsers trip over: ends of things, zeros, signs, depths, other scripts and encodings.
TOKENS: tuple[bytes, ...] = (
    b"",
    b"\0",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xef\xbb\xbf",
    "\u202e".encode(),
    "\u0665".encode(),
    b"\\u0000",
    b"\\ud800",
    b"{",
    b"}",
    b"[" * 600,
    b'{"a":' * 600,
    b'"',
    b"'",
    b"<",
    b">",
    b"&x;",
    b"<!DOCTYPE x>",
    b"-",
    b"--",
    b"+",
    b".",
    b",",
    b"=",
    b";",
    b"%",
    b"%00",
    b"_",
    b"0",
    b"-0",
    b"1e400",
    b"NaN",
    b"null",
    b"true",
    b"9" * 40,
    b"9" * 5_000,
    b"a" * 5_000,
    b"9999-99-99",
    b"0000-00-00",
    b"24:61",
    b"EUR",
    b" ",
    b"\t",
    b"/",
    b"..",
)

_places = st.floats(0, 1, exclude_max=True)
_pieces = st.sampled_from(TOKENS) | st.binary(max_size=8) | st.text(max_size=4).map(str.encode)
_changes = st.tuples(_places, st.integers(0, 12), _pieces)


def near(seeds: Sequence[bytes]) -> st.SearchStrategy[bytes]:
    """A seed with up to six changes: each cuts a little out of it and puts something in; or chance.

    Every tenth is a seed cut short, every tenth bytes at random.
    """
    changed = st.builds(_changed, st.sampled_from(seeds), st.lists(_changes, max_size=6))
    cut = st.builds(lambda seed, at: seed[: int(at * len(seed))], st.sampled_from(seeds), _places)
    return st.one_of(*[changed] * 8, cut, st.binary(max_size=300))


def _changed(seed: bytes, changes: Sequence[tuple[float, int, bytes]]) -> bytes:
    """The seed after the changes."""
    for place, length, piece in changes:
        at = int(place * (len(seed) + 1))
        seed = seed[:at] + piece + seed[at + length :]
    return seed
