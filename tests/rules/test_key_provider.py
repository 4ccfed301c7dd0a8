"""Wrapping keys: each has a name of its own, and several may be known while one is changed."""

import base64

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from ledger_core.key_provider import KEY_BYTES, Ring, VaultError, WrappedKey, key_id_of

keys = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
rings = st.lists(keys, min_size=1, max_size=5, unique=True)


@given(ring=rings, data=st.lists(keys, max_size=5))
def test_what_a_ring_wraps_it_opens(ring: list[bytes], data: list[bytes]) -> None:
    """By the first key, whose id it says; in any order of the keys."""
    wrapped = Ring(ring).wrap(data, None)
    assert {item.key_id for item in wrapped} <= {key_id_of(ring[0])}
    assert Ring(ring).unwrap(wrapped) == data
    assert Ring(ring[::-1]).unwrap(wrapped) == data


@given(ring=st.lists(keys, min_size=2, max_size=5, unique=True), key=keys)
def test_it_wraps_by_the_key_that_is_asked_for(ring: list[bytes], key: bytes) -> None:
    """Whichever is preferred; where it is not known, nothing is wrapped."""
    asked = key_id_of(ring[1])
    (wrapped,) = Ring(ring).wrap([key], asked)
    assert wrapped.key_id == asked
    assert Ring(ring[1:]).unwrap([wrapped]) == [key]
    with pytest.raises(VaultError, match="not known"):
        Ring(ring[:1]).wrap([key], asked)


@given(key=keys, other=keys, data=keys)
def test_another_key_opens_nothing(key: bytes, other: bytes, data: bytes) -> None:
    """Whatever the id says; nor does what was damaged open."""
    (wrapped,) = Ring([key]).wrap([data], None)
    if key != other:
        assert Ring([other]).unwrap([wrapped]) == [None]
        claimed = WrappedKey(key_id_of(other), wrapped.wrapped)
        assert Ring([other]).unwrap([claimed]) == [None]
    for damaged in (b"", wrapped.wrapped[:-1], bytes(len(wrapped.wrapped))):
        assert Ring([key]).unwrap([WrappedKey(wrapped.key_id, damaged)]) == [None]


@given(ring=rings, at=st.integers(0, 4), data=keys)
def test_keys_of_before_there_were_ids_open(ring: list[bytes], at: int, data: bytes) -> None:
    """What is stored beside them names no key: each is tried."""
    wrapping = ring[at % len(ring)]
    assert Ring(ring).unwrap([WrappedKey("local", aes_key_wrap(wrapping, data))]) == [data]


@given(old=keys, new=keys, data=keys)
def test_a_ring_learns_of_keys_that_have_come_since(old: bytes, new: bytes, data: bytes) -> None:
    """When it meets what it cannot open; and what it knew once it goes on opening."""
    stands = [old]
    ring = Ring(stands, lambda: tuple(stands))
    (before,) = ring.wrap([data], None)
    stands[:] = [new]
    (after,) = Ring([new]).wrap([data], None)
    assert ring.unwrap([after, before]) == [data, data]
    assert ring.key_ids == (key_id_of(new),)
    assert ring.wrap([data], None)[0].key_id == key_id_of(new)


@given(ring=st.lists(keys, min_size=2, max_size=5, unique=True), data=st.lists(keys, max_size=5))
def test_wrapped_anew_it_is_the_same_key(ring: list[bytes], data: list[bytes]) -> None:
    """By the key that was named; what does not open is said, not dropped."""
    known = Ring(ring)
    before = [*known.wrap(data, None), WrappedKey("local", b"nonsense")]
    target = key_id_of(ring[-1])
    *after, damaged = known.rewrap(before, target)
    assert damaged is None
    only = Ring(ring[-1:])
    assert only.unwrap([WrappedKey(target, item or b"") for item in after]) == data
    with pytest.raises(VaultError, match="not known"):
        known.rewrap(before, "k-0000000000000000")


@given(one=keys, other=keys)
def test_an_id_says_which_key_and_nothing_of_it(one: bytes, other: bytes) -> None:
    """Equal keys have equal ids, others others; no byte of the key is in it."""
    assert (key_id_of(one) == key_id_of(other)) == (one == other)
    name = key_id_of(one)
    assert one[:4].hex() not in name
    assert base64.b64encode(one)[:6].decode() not in name


@pytest.mark.parametrize("given_keys", [[], [b""], [bytes(31)], [bytes(32), bytes(33)]])
def test_a_key_of_another_length_is_refused(given_keys: list[bytes]) -> None:
    """32 bytes; and there must be one."""
    with pytest.raises(VaultError, match="32 bytes"):
        Ring(given_keys)
