"""Non-blocking client connections: one request at a time each, as cheap as Python allows.

A request costs some 15 µs of the client's processor: on two cores the load generator takes from
what it measures. So requests are made in advance, sockets are raw, and of an answer no more is
looked at than its status and whether it is complete.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit

from psycopg import pq

from benchmarks.adapters import Call, Request, Statement

RECEIVE_BYTES = 256 * 1024
CONNECT_TIMEOUT_S = 10
SQL_OK = 200
SQL_FAILED = 500

_END_OF_HEAD = b"\r\n\r\n"
_END_OF_CHUNKS = b"0\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"
_GOOD_RESULTS = {pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK}

Ready = tuple[bytes, Sequence[bytes | None]]
"""A request made ready: the bytes of an HTTP request and nothing else, or SQL and parameters."""


class BrokenConnectionError(RuntimeError):
    """The other side closed the connection, or answered what is no answer."""


class Connection(Protocol):
    """What the load generator needs of a connection."""

    def fileno(self) -> int:
        """The socket, to wait for."""

    def ready(self, request: Request) -> Ready:
        """The request as ``send`` takes it."""

    def send(self, request: Ready) -> bool:
        """Begin a request; whether all of it is on its way."""

    def go_on(self) -> bool:
        """Send more of what did not go; whether all of it is on its way."""

    def receive(self) -> int:
        """Take what has come: the answer's status, or 0 while it is incomplete."""

    def close(self) -> None:
        """Let go."""


class HttpConnection:
    """A keep-alive HTTP/1.1 connection."""

    __slots__ = ("_fixed", "_host", "_received", "_rest", "_socket")

    def __init__(self, address: str, headers: Mapping[str, str]) -> None:
        """Connect; ``headers`` go with every request."""
        at = urlsplit(address)
        self._host = f"{at.hostname}:{at.port}"
        self._fixed = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._socket = socket.create_connection((at.hostname, at.port), CONNECT_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)  # noqa: FBT003 - the method's own signature
        self._received = b""
        self._rest = memoryview(b"")

    def fileno(self) -> int:
        """The socket, to wait for."""
        return self._socket.fileno()

    def ready(self, request: Request) -> Ready:
        """The request's bytes."""
        if not isinstance(request, Call):
            raise TypeError(request)
        own = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        body = ""
        if request.body:
            body = f"Content-Type: application/json\r\nContent-Length: {len(request.body)}\r\n"
        head = f"{request.method} {request.path} HTTP/1.1\r\nHost: {self._host}\r\n"
        return (f"{head}{self._fixed}{own}{body}\r\n".encode() + request.body, ())

    def send(self, request: Ready) -> bool:
        """Begin a request; whether all of it is on its way."""
        data = request[0]
        sent = self._socket.send(data)
        if sent == len(data):
            return True
        self._rest = memoryview(data)[sent:]
        return False

    def go_on(self) -> bool:
        """Send more of what did not go; whether all of it is on its way."""
        self._rest = self._rest[self._socket.send(self._rest) :]
        return not self._rest

    def receive(self) -> int:
        """Take what has come: the answer's status, or 0 while it is incomplete.

        Raises:
            BrokenConnectionError: the server closed, or sent more than an answer.
        """
        data = self._socket.recv(RECEIVE_BYTES)
        if not data:
            msg = "the server closed the connection"
            raise BrokenConnectionError(msg)
        if self._received:
            data = self._received + data
        status = answer_status(data)
        self._received = b"" if status else data
        return status

    def close(self) -> None:
        """Let go."""
        self._socket.close()


def answer_status(data: bytes) -> int:
    """The status of the answer that ``data`` is, or 0 while it is incomplete.

    Raises:
        BrokenConnectionError: it is more than one answer, or none.
    """
    end = data.find(_END_OF_HEAD)
    if end < 0:
        return 0
    head = data[:end].lower() + b"\r\n"
    at = head.find(_LENGTH)
    if at >= 0:
        length = int(head[at + len(_LENGTH) : head.index(b"\r\n", at + 2)])
        missing = end + len(_END_OF_HEAD) + length - len(data)
    elif b"\r\ntransfer-encoding: chunked\r\n" in head:
        missing = 0 if data.endswith(_END_OF_CHUNKS) else 1
    else:
        missing = end + len(_END_OF_HEAD) - len(data)
    if missing < 0 or not head.startswith(b"http/1."):
        msg = f"this is no answer: {data[:80]!r}"
        raise BrokenConnectionError(msg)
    return 0 if missing else int(head[9:12])


class SqlConnection:
    """A PostgreSQL connection; a statement is prepared when it is first made ready."""

    __slots__ = ("_connection", "_has_failed", "_names")

    def __init__(self, address: str) -> None:
        """Connect."""
        self._connection = pq.PGconn.connect(address.encode())
        if self._connection.status != pq.ConnStatus.OK:
            raise BrokenConnectionError(self._connection.get_error_message())
        self._connection.nonblocking = 1
        self._names: dict[str, bytes] = {}
        self._has_failed = False

    def fileno(self) -> int:
        """The socket, to wait for."""
        return self._connection.socket

    def ready(self, request: Request) -> Ready:
        """The name under which the statement is prepared here, and its parameters.

        Raises:
            BrokenConnectionError: the server does not take the statement.
        """
        if not isinstance(request, Statement):
            raise TypeError(request)
        name = self._names.get(request.sql)
        if name is None:
            name = self._names[request.sql] = b"s%d" % len(self._names)
            result = self._connection.prepare(name, request.sql.encode())
            if result.status != pq.ExecStatus.COMMAND_OK:
                raise BrokenConnectionError(result.get_error_message())
        return name, [None if text is None else text.encode() for text in request.parameters]

    def send(self, request: Ready) -> bool:
        """Begin a request; whether all of it is on its way."""
        self._has_failed = False
        self._connection.send_query_prepared(*request)
        return not self._connection.flush()

    def go_on(self) -> bool:
        """Send more of what did not go; whether all of it is on its way."""
        return not self._connection.flush()

    def receive(self) -> int:
        """Take what has come: 200 for a result, 500 for a refusal, or 0 while it is incomplete."""
        connection = self._connection
        connection.consume_input()
        while not connection.is_busy():
            result = connection.get_result()
            if result is None:
                return SQL_FAILED if self._has_failed else SQL_OK
            if result.status not in _GOOD_RESULTS:
                self._has_failed = True
        return 0

    def close(self) -> None:
        """Let go."""
        self._connection.finish()


def connect(kind: str, address: str, headers: Mapping[str, str]) -> Connection:
    """A connection for an adapter's kind; waits a little for a server whose queue is full."""
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            return HttpConnection(address, headers) if kind == "http" else SqlConnection(address)
        except (ConnectionError, BrokenConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
