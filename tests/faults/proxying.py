"""The process of the proxy: takes connections, passes bytes on as rules say, obeys the harness.

``proxy`` is the harness's handle on it, and says what the rules mean.
"""

import asyncio
import contextlib
import json
import socket
import struct
import sys
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from tests.faults import packets
from tests.faults.processes import say
from tests.faults.proxy import HOST, Direction

_LINGER_NONE = struct.pack("ii", 1, 0)
# A marker may lie across two reads.
_OVERLAP = 64


@dataclass
class _Slow:
    """Latency and bandwidth."""

    latency_s: float
    bytes_per_s: float


@dataclass
class _CutAfter:
    """The end of a connection after so many bytes in one direction."""

    byte: int
    direction: Direction
    reset: bool


@dataclass
class _CutAt:
    """The end of a connection at a message that holds one of the markers."""

    markers: list[bytes]
    when: str


class _BlackHole:
    """Nothing arrives."""


_Rule = _Slow | _CutAfter | _CutAt | _BlackHole | None


@dataclass
class _Link:
    """One port of the proxy's, its rule, and its connections: each a pair of ends."""

    port: int = 0
    rule: _Rule = None
    listener: asyncio.Server | None = None
    clients: set["_End"] = field(default_factory=set)


class _End(asyncio.Protocol):
    """One end of a connection: takes what comes from its side and gives it to the other end."""

    def __init__(self, proxy: "_Process", link: _Link, direction: Direction) -> None:
        """``direction`` is where the bytes go that arrive here."""
        self._proxy = proxy
        self._link = link
        self._direction: Direction = direction
        self.transport: asyncio.Transport | None = None
        self.peer: _End | None = None
        # Bytes on their way through a slow network, with the moment at which they arrive.
        self._under_way: deque[tuple[float, bytes]] = deque()
        self._free_at = 0.0
        # What came before the other end was connected.
        self._early = bytearray()
        self._gone = 0
        self._seen = b""
        self.loses_next = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there: connect to the server, and hold what it says until then."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._direction == "to_server":
            self._link.clients.add(self)
            self._proxy.opened += 1
            if isinstance(self._link.rule, _BlackHole):
                _swallow(transport)
            self._proxy.spawn(self._connect())

    async def _connect(self) -> None:
        """Open the other end."""
        loop = asyncio.get_running_loop()
        peer = _End(self._proxy, self._link, "to_client")
        peer.peer = self
        try:
            await loop.create_connection(lambda: peer, HOST, self._proxy.target)
        except OSError:
            self.end(reset=True)
            return
        self.peer = peer
        if isinstance(self._link.rule, _BlackHole) and peer.transport is not None:
            _swallow(peer.transport)
        if self.transport is None or self.transport.is_closing():
            peer.end(reset=False)
            return
        early, self._early = bytes(self._early), bytearray()
        if early:
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """Pass on, as the link's rule says."""
        peer = self.peer
        if peer is None or peer.transport is None:
            self._early += data
            return
        rule = self._link.rule
        if self.loses_next:
            self._proxy.cut += 1
            self.end_both(reset=True)
            return
        if rule is None and not self._under_way:
            peer.transport.write(data)
            return
        match rule:
            case _Slow():
                self._delay(data, rule.latency_s, rule.bytes_per_s)
            case _CutAfter() if rule.direction == self._direction:
                self._cut_after(data, rule)
            case _CutAt() if self._direction == "to_server":
                self._cut_at(data, rule)
            case _ if self._under_way:
                self._delay(data, 0.0, float("inf"))
            case _:
                peer.transport.write(data)

    def eof_received(self) -> bool:
        """The side has ended: so does the other."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side, too, once it has what came before."""
        self._link.clients.discard(self)
        self.transport = None
        peer = self.peer
        if peer is None or peer.transport is None:
            return
        if self._under_way:
            self._delay(b"", 0.0, float("inf"))
        else:
            peer.end(reset=exc is not None)

    def pause_writing(self) -> None:
        """This side takes no more for now: read no more from the other."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.resume_reading()

    def end(self, *, reset: bool) -> None:
        """End this side."""
        if self.transport is None:
            return
        if not reset:
            self.transport.close()
            return
        with contextlib.suppress(OSError):
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        self.transport.abort()

    def end_both(self, *, reset: bool) -> None:
        """End both sides."""
        peer = self.peer
        self.end(reset=reset)
        if peer is not None:
            peer.end(reset=reset)

    def begin_rule(self) -> None:
        """Count for the rule from here on."""
        self._gone = 0
        self._seen = b""

    def _cut_after(self, data: bytes, rule: _CutAfter) -> None:
        """Pass on what is left until the cut."""
        assert self.peer is not None
        assert self.peer.transport is not None
        self._gone += len(data)
        if self._gone < rule.byte:
            self.peer.transport.write(data)
            return
        # What lies before the cut arrives, so the side that it goes to ends in an orderly way.
        self.peer.transport.write(data[: len(data) - (self._gone - rule.byte)])
        self._proxy.cut += 1
        self.end(reset=rule.reset)
        self.peer.end(reset=False)

    def _cut_at(self, data: bytes, rule: _CutAt) -> None:
        """Pass on, and end the connection where a marker is met."""
        assert self.peer is not None
        assert self.peer.transport is not None
        window = self._seen[-_OVERLAP:] + data
        self._seen = data
        if not any(marker in window for marker in rule.markers):
            self.peer.transport.write(data)
            return
        self._link.rule = None
        match rule.when:
            case "half":
                self.peer.transport.write(data[: len(data) // 2])
            case "sent":
                self.peer.transport.write(data)
            case _:
                self.peer.loses_next = True
                self.peer.transport.write(data)
                return
        self._proxy.cut += 1
        self.end(reset=True)
        self.peer.end(reset=False)

    def _delay(self, data: bytes, latency_s: float, bytes_per_s: float) -> None:
        """Have bytes arrive later, after those that are under way already."""
        loop = asyncio.get_running_loop()
        self._free_at = max(self._free_at, loop.time()) + len(data) / bytes_per_s
        is_idle = not self._under_way
        self._under_way.append((self._free_at + latency_s, data))
        if is_idle:
            loop.call_at(self._under_way[0][0], self._arrive)

    def _arrive(self) -> None:
        """Bytes have crossed the slow network."""
        loop = asyncio.get_running_loop()
        peer = self.peer
        while self._under_way and self._under_way[0][0] <= loop.time():
            _, data = self._under_way.popleft()
            if peer is not None and peer.transport is not None:
                peer.transport.write(data)
        if self._under_way:
            loop.call_at(self._under_way[0][0], self._arrive)
        elif self.transport is None and peer is not None:
            peer.end(reset=False)


class _Process:
    """The proxy itself: links, and orders from the harness."""

    def __init__(self, target: int, links: int) -> None:
        """Nothing is open yet."""
        self.target = target
        self.links = [_Link() for _ in range(links)]
        self.opened = 0
        self.cut = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Any) -> None:  # noqa: ANN401 - any coroutine
        """Do something beside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> None:
        """Serve until the harness closes our input."""
        for link in self.links:
            await self._listen(link)
        say({"ports": [link.port for link in self.links]})
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            say(await self._obey(json.loads(line)))

    async def _obey(self, order: dict[str, Any]) -> dict[str, object]:
        """Do what the harness says."""
        which = order.get("link")
        links = self.links if which is None else [self.links[which]]
        match order["do"]:
            case "target":
                self.target = order["port"]
            case "clean":
                for link in self.links:
                    await self._cleaned(link)
            case "refuse":
                for link in links:
                    _close_listener(link)
            case "drop":
                ends = [end for link in links for end in link.clients]
                for end in ends:
                    end.end_both(reset=order["reset"])
                return {"dropped": len(ends)}
            case "figures":
                count = sum(len(link.clients) for link in self.links)
                return {"open": count, "opened": self.opened, "cut": self.cut}
            case _:
                for link in links:
                    self._rule(link, order)
        return {}

    def _rule(self, link: _Link, order: dict[str, Any]) -> None:
        """Put a rule in force on a link."""
        for end in _ends(link):
            end.begin_rule()
        match order["do"]:
            case "slow":
                link.rule = _Slow(order["latency_s"], order["bytes_per_s"])
            case "cut_after":
                link.rule = _CutAfter(order["byte"], order["direction"], order["reset"])
            case "cut_at":
                markers = [marker.encode() for marker in order["markers"]]
                link.rule = _CutAt(markers, order["when"])
            case "black_hole":
                link.rule = _BlackHole()
                if link.listener is not None:
                    for listening in link.listener.sockets:
                        packets.drop(listening.fileno())
                for end in _ends(link):
                    if end.transport is not None:
                        _swallow(end.transport)
            case unknown:
                raise ValueError(unknown)

    async def _cleaned(self, link: _Link) -> None:
        """Take the rule off."""
        rule, link.rule = link.rule, None
        if link.listener is None:
            await self._listen(link)
        if not isinstance(rule, _BlackHole):
            return
        assert link.listener is not None
        for listening in link.listener.sockets:
            packets.take(listening.fileno())
        for end in _ends(link):
            if end.transport is not None:
                packets.take(end.transport.get_extra_info("socket").fileno())
                with contextlib.suppress(RuntimeError):
                    end.transport.resume_reading()

    async def _listen(self, link: _Link) -> None:
        """Let programs connect."""
        link.listener = await asyncio.get_running_loop().create_server(
            lambda: _End(self, link, "to_server"), HOST, link.port, reuse_address=True
        )
        link.port = link.listener.sockets[0].getsockname()[1]


def _ends(link: _Link) -> list[_End]:
    """Both ends of each of the link's connections."""
    found = list(link.clients)
    return found + [end.peer for end in found if end.peer is not None]


def _close_listener(link: _Link) -> None:
    """Let nobody connect any more."""
    if link.listener is not None:
        link.listener.close()
        link.listener = None


def _swallow(transport: asyncio.Transport) -> None:
    """Let nothing arrive at this socket."""
    if not packets.drop(transport.get_extra_info("socket").fileno()):
        transport.pause_reading()


if __name__ == "__main__":
    asyncio.run(_Process(int(sys.argv[1]), int(sys.argv[2])).run())
