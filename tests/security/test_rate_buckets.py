"""Buckets of tokens: never more than the rate and the burst, never less; and their memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import limit_settings, rate_limits
from api.authority import NOTHING
from api.callers import Caller, Credential, caller_of
from api.limit_settings import LimitSettings, LimitSettingsError
from api.problems import Problem
from api.rate_limits import Buckets, RateLimits, Streams


def _caller(actor: str = "key:1", rate_per_s: float | None = None, ledger_id: int = 1) -> Caller:
    """Somebody who presented a key."""
    return caller_of(
        Credential(
            ledger_id=ledger_id,
            credential_id=actor,
            kind="key",
            actor=actor,
            person=actor,
            roles=(),
            rate_per_s=rate_per_s,
        ),
        NOTHING,
    )


@settings(max_examples=200)
@given(
    rate=st.floats(0.05, 5_000),
    burst_s=st.floats(0.1, 20),
    pauses=st.lists(st.floats(0, 3), min_size=1, max_size=300),
)
def test_a_bucket_gives_what_flows_in_and_what_it_holds(
    rate: float, burst_s: float, pauses: list[float]
) -> None:
    """In any span of time no more than rate x span + burst; and what flowed in can be had."""
    buckets = Buckets(rate, burst_s)
    room = max(1.0, rate * burst_s)
    tokens, now_s, before_s = room, 0.0, 0.0
    for pause in pauses:
        now_s += pause
        tokens = min(room, tokens + (now_s - before_s) * rate)
        before_s = now_s
        wait_s = buckets.take("a", now_s)
        if wait_s:
            assert tokens < 1 + 1e-6 * (1 + rate)
            assert buckets.left_s("a", now_s) == pytest.approx(wait_s)
            assert wait_s <= (1 - tokens) / rate + 1e-5
        else:
            tokens -= 1
            assert tokens > -1e-5 * (1 + rate)


def test_who_waited_as_long_as_told_is_let_in() -> None:
    """And a refused request does not make the wait longer."""
    buckets = Buckets(2, 1)
    assert [buckets.take("a", 5.0) for _ in range(2)] == [0, 0]
    waits = [buckets.take("a", 5.0) for _ in range(50)]
    assert waits == [pytest.approx(0.5)] * 50
    assert buckets.take("a", 5.0 + waits[-1]) == 0
    assert buckets.take("b", 5.0) == 0


def test_no_rate_is_so_small_that_it_is_none() -> None:
    """What would overflow is one request in a hundred seconds."""
    buckets = Buckets(1e-308, 1)
    assert buckets.take("a", 5.0) == 0
    assert buckets.take("a", 5.0) == pytest.approx(100)


def test_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of ever new names the full ones are forgotten first, and no more than so many are kept."""
    monkeypatch.setattr(rate_limits, "BUCKETS_MAX", 100)
    buckets = Buckets(0.001, 1_000)
    assert buckets.take("kept", 0.0) == 0
    for number in range(10_000):
        buckets.take(number, number * 1.0)
    assert len(vars(buckets)["_full_at"]) <= 100


def test_callers_have_a_bucket_each_and_a_key_may_have_its_own_rate() -> None:
    """By ledger and actor; sessions of one person share theirs."""
    limits = RateLimits(LimitSettings(rate_per_s=1))
    one, other, own = _caller(), _caller(ledger_id=2), _caller("key:2", rate_per_s=5.0)
    assert [limits.wait_s(one, 9.0) for _ in range(3)] == [0, 0, pytest.approx(1)]
    assert limits.wait_s(other, 9.0) == 0
    assert [bool(limits.wait_s(own, 9.0)) for _ in range(11)] == [False] * 10 + [True]
    with pytest.raises(Problem) as refused:
        limits.require(one, 9.0)
    assert (refused.value.kind.status, refused.value.headers) == (429, (("Retry-After", "1"),))


def test_off_is_no_bound() -> None:
    """Nobody waits."""
    limits = RateLimits(LimitSettings(rate_per_s=None, failures_per_s=None, public_per_s=None))
    for _ in range(5_000):
        limits.require(_caller(), 1.0)
        limits.require_public("10.0.0.1", 1.0)
        limits.failed("10.0.0.1", 1.0)
        limits.require_trusted("10.0.0.1", b"x", 1.0)


def test_who_fails_too_often_has_to_wait_but_not_with_what_was_found_valid() -> None:
    """One client's failures are not another's; a good key goes on from the same address."""
    limits = RateLimits(LimitSettings(failures_per_s=0.1))
    limits.proved(b"Bearer good")
    for _ in range(10):
        limits.require_trusted("10.0.0.1", b"Bearer bad", 3.0)
        limits.failed("10.0.0.1", 3.0)
    with pytest.raises(Problem):
        limits.require_trusted("10.0.0.1", b"Bearer bad", 3.0)
    limits.require_trusted("10.0.0.1", b"Bearer good", 3.0)
    limits.require_trusted("10.0.0.2", b"Bearer bad", 3.0)
    limits.require_trusted("10.0.0.1", b"Bearer bad", 14.0)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::9", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("not an address:", "not an address:", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
    ],
)
def test_a_client_of_ipv6_is_its_network(one: str, other: str, *, is_same: bool) -> None:
    """Whoever has a network has as many addresses as they like."""
    limits = RateLimits(LimitSettings(failures_per_s=0.01))
    limits.failed(one, 1.0)
    if is_same:
        with pytest.raises(Problem):
            limits.require_trusted(other, b"", 1.0)
    else:
        limits.require_trusted(other, b"", 1.0)


def test_long_answers_are_counted_by_actor_and_in_all() -> None:
    """Nobody has more than half; who ended one may begin another."""
    streams = Streams(4)
    one, two, three = _caller("key:1"), _caller("key:2"), _caller("key:3")
    for caller in (one, one, two):
        streams.begin(caller)
    with pytest.raises(Problem) as refused:
        streams.begin(one)
    assert (refused.value.kind.code, refused.value.kind.status) == ("too_many_streams", 429)
    streams.begin(three)
    with pytest.raises(Problem):
        streams.begin(two)
    streams.end(one)
    streams.begin(two)
    for caller in (one, two, two, three):
        streams.end(caller)
    assert vars(streams)["_under_way"] == {}


def test_settings_are_read_and_malformed_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name and with what they must be."""
    assert limit_settings.load() == LimitSettings()
    monkeypatch.setenv("LEDGER_RATE_PER_S", "2.5")
    monkeypatch.setenv("LEDGER_RATE_FAILURES_PER_S", "off")
    monkeypatch.setenv("LEDGER_READ_TIMEOUT_S", "7")
    found = limit_settings.load()
    assert (found.rate_per_s, found.failures_per_s, found.read_timeout_s) == (2.5, None, 7)
    monkeypatch.setenv("LEDGER_QUEUE_S", "0.5")
    monkeypatch.setenv("LEDGER_LAG_EVENTS_MAX", "off")
    found = limit_settings.load()
    assert (found.queue_s, found.lag_events_max) == (0.5, None)
    monkeypatch.delenv("LEDGER_LAG_EVENTS_MAX")
    for variable, text in (
        ("LEDGER_RATE_PER_S", "0"),
        ("LEDGER_RATE_PER_S", "nan"),
        ("LEDGER_RATE_PER_S", "inf"),
        ("LEDGER_RATE_PUBLIC_PER_S", "many"),
        ("LEDGER_READ_TIMEOUT_S", "0"),
        ("LEDGER_READ_TIMEOUT_S", "1.5"),
        ("LEDGER_CONNECTIONS_MAX", "100001"),
        ("LEDGER_STREAMS_MAX", "\u0665"),
        ("LEDGER_QUEUE_S", "0"),
        ("LEDGER_QUEUE_S", "nan"),
        ("LEDGER_QUEUE_S", "61"),
        ("LEDGER_LAG_EVENTS_MAX", "0"),
        ("LEDGER_LAG_EVENTS_MAX", "none"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(variable, text)
            with pytest.raises(LimitSettingsError, match=variable):
                limit_settings.load()
