"""The only source of time, chance and new ids in the program.

Everything else is handed a clock or a source of bytes, so that it can be run again exactly.
"""

import random
import secrets
import time
import uuid
from datetime import UTC, date, datetime

import uuid_utils
import uuid_utils.compat


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def today() -> date:
    """The UTC date of this moment."""
    return now().date()


def now_ns() -> int:
    """This moment, in nanoseconds since 1970."""
    return time.time_ns()


def random_bits(count: int) -> int:
    """A number of so many bits that others may guess: for sampling and ids of traces, no secret.

    Ten times as quick as what is none.
    """
    return random.getrandbits(count)


def random_bytes(count: int) -> bytes:
    """Bytes from the operating system's secure source."""
    return secrets.token_bytes(count)


def new_uuid() -> uuid.UUID:
    """A UUID of version 7: sorts by time, cheap in an index (RFC 9562)."""
    return uuid_utils.compat.uuid7()


def new_request_id() -> str:
    """The same for a request: 32 hexadecimal digits."""
    return str(uuid_utils.uuid7().hex)
