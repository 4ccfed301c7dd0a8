"""Who calls: a credential that is found valid, and a client that does not present too many others.

Knows headers and addresses, and no route: what a caller may do is asked elsewhere.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from api.callers import Caller
from api.failed_keys import FailedKeys
from api.key_ring import KeyRing
from api.problems import UNAUTHENTICATED, Problem
from api.rate_limits import RateLimits
from api.stopping import turned_away


class Presented(msgspec.Struct, frozen=True):
    """What a request presents: its headers, its client's address, that of its certificate."""

    headers: Sequence[tuple[bytes, bytes]]
    client: str
    request_id: str
    certificate: bytes | None = None

    @property
    def authorization(self) -> bytes:
        """The credential; empty where there is none."""
        return next((value for name, value in self.headers if name == b"authorization"), b"")


class Gate:
    """Lets in who is known; used by the event loop alone."""

    def __init__(self, ring: KeyRing, limits: RateLimits, failed_keys: FailedKeys) -> None:
        """Nobody has come yet."""
        self._ring = ring
        self._limits = limits
        self._failed_keys = failed_keys

    async def caller(self, presented: Presented, now_s: float) -> Caller:
        """Who calls.

        Raises:
            Problem: nobody who is known, or a client whose credentials failed too often.
        """
        authorization = presented.authorization
        if self._ring.remembered(authorization) is not None:
            return await self._ring.caller(presented.headers)
        self._limits.require_trusted(presented.client, authorization, now_s)
        try:
            caller = await self._ring.caller(presented.headers, presented.certificate)
        except Problem as problem:
            self._note(problem, presented, now_s)
            raise
        self._limits.proved(authorization)
        return caller

    def admit_again(
        self,
        presented: Presented,
        begin: Callable[[Caller], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        """Look a key that was valid lately up again; then the request begins, or fails.

        In an overload that takes a moment, in which a thousand requests may come: each of them
        waits as it is, without a task of its own.
        """
        told = partial(self._admitted, presented, begin, fail)
        self._ring.admitting(presented.authorization).add_done_callback(told)

    def _admitted(
        self,
        presented: Presented,
        begin: Callable[[Caller], None],
        fail: Callable[[BaseException], None],
        admitting: "asyncio.Task[Caller]",
    ) -> None:
        """Go on with a request whose key was looked up."""
        error = turned_away() if admitting.cancelled() else admitting.exception()
        if error is None:
            begin(admitting.result())
            return
        self._note(error, presented, asyncio.get_running_loop().time())
        fail(error)

    def _note(self, error: BaseException, presented: Presented, now_s: float) -> None:
        """Take note of a credential that is not valid."""
        if isinstance(error, Problem) and error.kind is UNAUTHENTICATED:
            self._limits.failed(presented.client, now_s)
            self._failed_keys.note(presented.authorization, presented.request_id, now_s)
