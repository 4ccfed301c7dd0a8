"""Addresses that are to go: since when, until when, and what to read about it.

`/v1` only grows: an address that is in this table still answers as it always did, and says so
in `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and a `Link` to the page that names its successor.
It may be taken away at its sunset, no sooner than `NOTICE_DAYS` after it was deprecated.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from types import MappingProxyType

import msgspec

NOTICE_DAYS = 365

Header = tuple[bytes, bytes]
# (method, template of the address)
Route = tuple[str, str]


class Deprecated(msgspec.Struct, frozen=True):
    """An address that is to go: the days are of UTC, and begin at midnight."""

    since: date
    sunset: date
    link: str

    def __post_init__(self) -> None:
        """Whoever uses the address has the time that was promised."""
        if (self.sunset - self.since).days < NOTICE_DAYS:
            msg = f"a sunset comes at least {NOTICE_DAYS} days after the deprecation"
            raise ValueError(msg)

    def headers(self) -> tuple[Header, ...]:
        """What every answer of the address says."""
        since = datetime.combine(self.since, time(), UTC)
        sunset = datetime.combine(self.sunset, time(), UTC)
        return (
            (b"deprecation", f"@{int(since.timestamp())}".encode()),
            (b"sunset", format_datetime(sunset, usegmt=True).encode()),
            (b"link", f'<{self.link}>; rel="deprecation"; type="text/html"'.encode()),
        )


DEPRECATED: Mapping[Route, Deprecated] = MappingProxyType({})
