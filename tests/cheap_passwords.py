"""Passwords of tests: kept by the same algorithm, at a cost that a run of thousands can bear."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from api import passwords

KEPT_AS = "m=64,t=1,p=1"


@contextmanager
def cheap_passwords() -> Iterator[None]:
    """Whoever begins to work with passwords within the block does so at a small cost.

    ``tests/rules/test_passwords.py`` holds the real cost.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "MEMORY_KIB", 64)
        patch.setattr(passwords, "TIME_COST", 1)
        patch.setattr(passwords, "LANES", 1)
        yield
