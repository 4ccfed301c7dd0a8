"""How the modules of settings read the environment: one way for each form of value.

A message names the variable and what it must be, and never repeats the value: it may be a secret
that was put into the wrong variable.
"""

import ipaddress
import os
from functools import lru_cache
from pathlib import Path

Network = str
"""A network as in ``10.0.0.0/8``: settings travel to other processes as text."""

WORDS_MAX = 50


class SettingError(ValueError):
    """A setting is malformed; the message says which and what it must be."""


def text(variable: str) -> str | None:
    """The value of a variable, without blanks around it; ``None`` where it is not set or empty."""
    return (os.environ.get(variable) or "").strip() or None


def words(variable: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The parts of a value between commas or blanks.

    Raises:
        SettingError: more than ``WORDS_MAX``.
    """
    found = tuple((text(variable) or "").replace(",", " ").split())
    if len(found) > WORDS_MAX:
        msg = f"{variable} must be at most {WORDS_MAX} words with commas between them"
        raise SettingError(msg)
    return found or default


def seconds(variable: str, default: float, most: float) -> float:
    """The time that a value says, in seconds.

    Raises:
        SettingError: none above 0 and up to ``most``.
    """
    try:
        found = float(text(variable) or default)
    except ValueError:
        found = 0.0
    if not 0 < found <= most:
        msg = f"{variable} must be a number of seconds above 0, up to {most:g}"
        raise SettingError(msg)
    return found


def seconds_or_none(variable: str, most: float) -> float:
    """The same, where no time at all may be said, too: 0 where the variable is not set.

    Raises:
        SettingError: none from 0 to ``most``.
    """
    return 0.0 if (text(variable) or "0") == "0" else seconds(variable, 0, most)


def networks(variable: str) -> tuple[Network, ...]:
    """The networks that a value lists, as in ``10.0.0.0/8,127.0.0.1``.

    Raises:
        SettingError: one is none, or has bits set beyond its length.
    """
    try:
        return tuple(str(ipaddress.ip_network(word)) for word in words(variable))
    except ValueError:
        msg = f"{variable} must be addresses or networks with commas between them: 10.1.0.0/16"
        raise SettingError(msg) from None


def file(variable: str) -> Path | None:
    """The file that a value names.

    Raises:
        SettingError: there is none that can be read.
    """
    name = text(variable)
    if name is None:
        return None
    path = Path(name)
    if not path.is_file() or not os.access(path, os.R_OK):
        msg = f"{variable} must name a file that can be read"
        raise SettingError(msg)
    return path


def is_in(address: str, among: tuple[Network, ...]) -> bool:
    """Whether an address is of one of the networks; a mapped IPv4 address is the IPv4 one."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    found = found if mapped is None else mapped
    return any(found in _network(network) for network in among)


@lru_cache(maxsize=1_000)
def _network(text: Network) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The network that a text names."""
    return ipaddress.ip_network(text)
