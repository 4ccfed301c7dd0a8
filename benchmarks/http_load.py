"""A load generator over real sockets: keep-alive HTTP/1.1 connections, one request each at a time.

Written on asyncio streams because a full HTTP client would spend more on a request than the server.
"""

import asyncio
import time
from collections.abc import Callable, Iterator


class LoadResult:
    """Latencies in seconds and statuses of one run."""

    def __init__(self) -> None:
        """Begin empty."""
        self.latencies: list[float] = []
        self.statuses: dict[int, int] = {}
        self.elapsed = 0.0

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.elapsed

    def percentile_ms(self, percent: float) -> float:
        """Latency below which that share of requests stayed, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


async def run(  # noqa: PLR0913 - what to send, to whom, how much
    port: int,
    path: str,
    api_key: str,
    *,
    bodies: Callable[[int], Iterator[tuple[str, bytes]]],
    connections: int,
    seconds: float,
) -> LoadResult:
    """POST ``bodies(connection)``, pairs of idempotency key and body, for so many seconds."""
    result = LoadResult()
    started = time.perf_counter()
    deadline = started + seconds

    async def connection(number: int) -> None:
        """One connection's requests."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for key, body in bodies(number):
            sent = time.perf_counter()
            if sent >= deadline:
                break
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {api_key}\r\n"
                f"Idempotency-Key: {key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = next(
                int(line[15:])
                for line in head.lower().split(b"\r\n")
                if line.startswith(b"content-length:")
            )
            await reader.readexactly(length)
            result.latencies.append(time.perf_counter() - sent)
            result.statuses[status] = result.statuses.get(status, 0) + 1
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(connection(number) for number in range(connections)))
    result.elapsed = time.perf_counter() - started
    return result
