"""Recent keys: what is called new was never used, whatever comes in whatever order."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ledger_core.recent_keys import STRETCH, RecentKeys, stretch_at

_NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
_KEYS = st.text("abcdefg", min_size=1, max_size=3)


@given(
    used=st.lists(_KEYS, max_size=60),
    asked=_KEYS,
    keys_max=st.integers(1, 20),
    ends=st.tuples(_KEYS, _KEYS),
)
def test_no_used_key_is_ever_called_new(
    used: list[str], asked: str, keys_max: int, ends: tuple[str, str]
) -> None:
    """Also once some were forgotten; and nothing outside the stretch is called new."""
    recent = RecentKeys(*ends, keys_max=keys_max)
    for key in used:
        recent.add(key)
        assert not recent.is_new(key)
    for key in used:
        assert not recent.is_new(key)
    several = [asked, *used[:2]]
    assert recent.not_new(several) == [key for key in several if not recent.is_new(key)]
    if recent.is_new(asked):
        assert asked not in used
        assert ends[0] < asked < ends[1]


def test_a_key_of_the_stretch_is_new_until_it_is_used() -> None:
    """And stays used."""
    recent = RecentKeys("a", "z")
    assert recent.is_new("key")
    recent.add("key")
    assert not recent.is_new("key")
    assert recent.is_new("other")


def test_later_keys_are_still_known_after_older_ones_were_forgotten() -> None:
    """Half of them go, the older half: memory is bounded and new keys need no look-up."""
    recent = RecentKeys("000", "999", keys_max=10)
    for number in range(100, 200):
        recent.add(str(number))
    assert not recent.is_new("150")
    assert not recent.is_new("199")
    assert recent.is_new("200")


def test_the_ends_of_the_stretch_are_not_known() -> None:
    """Only what lies strictly between them can be called new, one key or several."""
    recent = RecentKeys("a", "z")
    assert [key for key in ("a", "a1", "y", "z") if recent.is_new(key)] == ["a1", "y"]
    assert recent.not_new(["a1", "y"]) == []
    assert recent.not_new(["a", "a1", "y"]) == ["a"]
    assert recent.not_new(["a1", "y", "z"]) == ["z"]
    recent.update(("b", "y"))
    assert recent.not_new(["a1", "b", "y"]) == ["b", "y"]


def test_as_many_keys_are_remembered_as_may_be_and_then_the_later_half() -> None:
    """The stretch begins anew at the middle one; every later one is still known to be used."""
    recent = RecentKeys("a", "z", keys_max=5)
    recent.update("abcdefz")  # The ends take no place.
    assert recent.first == "a"
    assert recent.is_new("aa")
    recent.add("g")
    assert recent.first == "e"
    assert [key for key in ("d1", "e", "e1", "f", "f1", "g", "g1") if recent.is_new(key)] == [
        "e1",
        "f1",
        "g1",
    ]
    recent.update("hij")
    assert recent.first == "e"
    recent.add("k")
    assert recent.first == "i"


def test_nothing_is_new_before_a_stretch_was_begun() -> None:
    """Without knowledge of the log, every key has to be looked up."""
    recent = RecentKeys()
    assert not recent.is_new("key")
    assert not recent.is_new("KEY")
    assert recent.is_over(_NOW)


def test_the_stretch_holds_the_time_ordered_keys_of_the_next_days() -> None:
    """UUIDs of version 7 made from now on lie in it; random ones and words hardly ever do."""
    recent = stretch_at(_NOW)
    for later in (timedelta(milliseconds=1), timedelta(days=1), STRETCH - timedelta(seconds=1)):
        digits = f"{int((_NOW + later).timestamp() * 1_000):012x}"
        key = f"{digits[:8]}-{digits[8:]}-7abc-8def-0123456789ab"
        assert recent.is_new(key), key
    for key in ("order-17", "00000000-0000-4000-8000-000000000000", "zzz"):
        assert not recent.is_new(key)
    assert not recent.is_over(_NOW + timedelta(days=15) - timedelta(microseconds=1))
    assert recent.is_over(_NOW + timedelta(days=15))


def test_the_stretch_begins_with_the_time_of_its_first_key() -> None:
    """As in the example of RFC 9562 (appendix A.6)."""
    recent = stretch_at(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC))
    assert recent.first == "017f22e2-79b0"
    assert recent.is_new("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
