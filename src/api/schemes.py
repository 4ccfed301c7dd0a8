"""How a request may prove who sent it: one scheme a kind of credential, asked in turn.

What a scheme is told is the text after ``Bearer``. ``takes`` looks at its form alone, so that no
text is ever tried by two schemes.
"""

from collections.abc import Sequence
from typing import Protocol

from api.callers import Credential

Headers = Sequence[tuple[bytes, bytes]]


class Scheme(Protocol):
    """One kind of credential."""

    def takes(self, presented: str) -> bool:
        """Whether a text has the form of this kind."""

    async def find(self, presented: str) -> Credential | None:
        """The credential, if it is genuine and valid now; ``None`` says no more than that."""
