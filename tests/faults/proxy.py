"""A TCP proxy between the program and its database, in a process of its own: a network to break.

Every server under test reaches the database by a *link*: a port of the proxy's. Links are told
apart, so that one server can be cut off while the other works. What a link does is said by a rule;
without one it passes bytes on as they come. ``Proxy`` is the harness's handle on the process, which
takes one JSON object a line on its standard input, answers each with another, and ends with it.

A black hole is one as a network makes it: a socket filter lets the system drop every packet that
arrives, unacknowledged, and lets everything go on when it is taken away. Only Linux has that;
elsewhere the proxy stops to read, which acknowledges what fits into buffers.
"""

from typing import Any, Literal

from tests.faults.processes import Helper

Direction = Literal["to_server", "to_client"]

HOST = "127.0.0.1"


class Proxy:
    """The proxy's process, as the harness uses it: every method returns once it is in force."""

    def __init__(self, target_port: int, links: int) -> None:
        """Start it, with so many links to that port."""
        self._helper = Helper("tests.faults.proxying", str(target_port), str(links))
        self.pid = self._helper.pid
        self.ports: list[int] = self._helper.greeting["ports"]

    def close(self) -> None:
        """End the process, and so every connection through it."""
        self._helper.close()

    def clean(self) -> None:
        """Pass everything on again, on every link; connections that are open stay."""
        self._helper.tell("clean")

    def target(self, port: int) -> None:
        """Connect to another port from now on."""
        self._helper.tell("target", port=port)

    def slow(self, latency_s: float, bytes_per_s: float, link: int | None = None) -> None:
        """Bring bytes so much later, and no more of them a second, connection and direction."""
        self._helper.tell("slow", latency_s=latency_s, bytes_per_s=bytes_per_s, link=link)

    def black_hole(self, link: int | None = None) -> None:
        """Let every packet vanish, of connections that are open and of new ones."""
        self._helper.tell("black_hole", link=link)

    def refuse(self, link: int | None = None) -> None:
        """Let nobody connect; connections that are open stay."""
        self._helper.tell("refuse", link=link)

    def drop(self, link: int | None = None, *, reset: bool) -> int:
        """End every connection now, by an orderly end or by a reset; how many."""
        return int(self._helper.tell("drop", link=link, reset=reset)["dropped"])

    def cut_after(
        self, byte: int, direction: Direction, link: int | None = None, *, reset: bool
    ) -> None:
        """End each connection once so many more bytes went that way; what is beyond is lost."""
        self._helper.tell("cut_after", byte=byte, direction=direction, link=link, reset=reset)

    def cut_at(
        self, markers: list[str], when: Literal["half", "sent", "answered"], link: int | None = None
    ) -> None:
        """End a connection at a message of the client's that holds one of the markers.

        ``half``: half of what came is passed on. ``sent``: all of it, and then it is a race.
        ``answered``: the server has carried it out and answers, and that answer is lost. The rule
        has done its work with the first connection that it ends.
        """
        self._helper.tell("cut_at", markers=markers, when=when, link=link)

    def figures(self) -> dict[str, Any]:
        """Connections that are open, and how many were opened and cut by rules so far."""
        return self._helper.tell("figures")
