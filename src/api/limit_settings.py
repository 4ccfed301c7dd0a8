"""What the surroundings say about how much anybody may ask of a server.

``LEDGER_RATE_PER_S``: requests a second of one caller, twice as many at once; a key may have a rate
of its own. ``LEDGER_RATE_FAILURES_PER_S``: failed proofs of who somebody is, a second and client
address, 100 times as many at once. ``LEDGER_RATE_PUBLIC_PER_S``: requests without a credential, a
second and client address, 10 times as many at once. Each may be ``off``.
``LEDGER_READ_TIMEOUT_S``: how long the database may work for one read. ``LEDGER_CONNECTIONS_MAX``:
open connections of all clients. ``LEDGER_STREAMS_MAX``: long answers, such as exports, at once.
``LEDGER_QUEUE_S``: in how many seconds a single command or read is to be answered; what would take
longer is refused at once. ``LEDGER_LAG_EVENTS_MAX``: how many events the views may be behind before
commands are refused, or ``off``.
"""

import os

import msgspec

RATE_MIN = 0.01
RATE_MAX = 1_000_000
READ_TIMEOUT_S_MAX = 3_600
CONNECTIONS_MAX_MAX = 100_000
STREAMS_MAX_MAX = 1_000
QUEUE_S_MIN = 0.01
QUEUE_S_MAX = 60.0
LAG_EVENTS_MAX_MAX = 1_000_000_000


class LimitSettingsError(ValueError):
    """A setting is malformed; the message says which and what it must be."""


class LimitSettings(msgspec.Struct, frozen=True):
    """How much anybody may ask of one server; rates are a second, ``None``: no bound.

    The rate of a caller is more than a small server answers: a default that no program runs into
    by working fast. What is right for a bank is for its operator to say.
    """

    rate_per_s: float | None = 20_000
    failures_per_s: float | None = 10
    public_per_s: float | None = 100
    read_timeout_s: int = 30
    connections_max: int = 2_000
    streams_max: int = 4
    queue_s: float = 0.25
    lag_events_max: int | None = 1_000_000


def load() -> LimitSettings:
    """Read the settings.

    Raises:
        LimitSettingsError: one is malformed.
    """
    default = LimitSettings()
    return LimitSettings(
        rate_per_s=_rate("LEDGER_RATE_PER_S", default.rate_per_s),
        failures_per_s=_rate("LEDGER_RATE_FAILURES_PER_S", default.failures_per_s),
        public_per_s=_rate("LEDGER_RATE_PUBLIC_PER_S", default.public_per_s),
        read_timeout_s=_whole("LEDGER_READ_TIMEOUT_S", default.read_timeout_s, READ_TIMEOUT_S_MAX),
        connections_max=_whole(
            "LEDGER_CONNECTIONS_MAX", default.connections_max, CONNECTIONS_MAX_MAX
        ),
        streams_max=_whole("LEDGER_STREAMS_MAX", default.streams_max, STREAMS_MAX_MAX),
        queue_s=_seconds("LEDGER_QUEUE_S", default.queue_s),
        lag_events_max=_lag_events_max(default.lag_events_max),
    )


def _rate(variable: str, default: float | None) -> float | None:
    """A rate, or ``None`` for ``off``.

    Raises:
        LimitSettingsError: neither.
    """
    text = os.environ.get(variable)
    if not text:
        return default
    if text == "off":
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not RATE_MIN <= rate <= RATE_MAX:
        msg = f"{variable} must be off, or a number from {RATE_MIN} to {RATE_MAX}"
        raise LimitSettingsError(msg)
    return rate


def _lag_events_max(default: int | None) -> int | None:
    """How many events the views may be behind, or ``None`` for ``off``.

    Raises:
        LimitSettingsError: neither.
    """
    variable = "LEDGER_LAG_EVENTS_MAX"
    if os.environ.get(variable) == "off":
        return None
    return _whole(variable, default or LAG_EVENTS_MAX_MAX, LAG_EVENTS_MAX_MAX)


def _seconds(variable: str, default: float) -> float:
    """A time that a command may wait.

    Raises:
        LimitSettingsError: less than ``QUEUE_S_MIN`` or more than ``QUEUE_S_MAX``.
    """
    text = os.environ.get(variable)
    if not text:
        return default
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not QUEUE_S_MIN <= found <= QUEUE_S_MAX:
        msg = f"{variable} must be a number of seconds from {QUEUE_S_MIN:g} to {QUEUE_S_MAX:g}"
        raise LimitSettingsError(msg)
    return found


def _whole(variable: str, default: int, most: int) -> int:
    """A whole number above 0.

    Raises:
        LimitSettingsError: something else, or more than ``most``.
    """
    text = os.environ.get(variable)
    if not text:
        return default
    if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
        return int(text)
    msg = f"{variable} must be a whole number from 1 to {most}"
    raise LimitSettingsError(msg)
