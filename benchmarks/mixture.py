"""What the soak and the overload send: 60 % transfers, 10 % holds with their captures, 30 % reads.

Made as bytes at the moment it is sent, as cheaply as Python can: the clients share the processors
with what they load. No request depends on another, but a capture on its hold, which goes over the
same connection once that is placed.
"""

import random
from enum import IntEnum

from benchmarks import workloads

HOLDS_SHARE = 0.10
READS_SHARE = 0.30
_AMOUNTS = 900
_BODY = b'{"debit_account_id":"%s","credit_account_id":"%s","amount":"%d","currency":"EUR"'


class Kind(IntEnum):
    """What a request is."""

    TRANSFER = 0
    PLACE_HOLD = 1
    CAPTURE_HOLD = 2
    READ_BALANCE = 3


class Mixture:
    """Makes requests, without end; each seed makes others, and keys are never the same."""

    def __init__(self, host: str, key: str, seed: int, accounts: int) -> None:
        """Send to that host with that API key."""
        self._random = random.Random(seed)
        self._names = [name.encode() for name in workloads.account_ids(accounts)]
        always = f" HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n".encode()
        command = always + b"Content-Type: application/json\r\nIdempotency-Key: "
        self._read_end = always + b"\r\n"
        self._transfer = b"POST /v1/transfers" + command
        self._hold = b"POST /v1/holds" + command
        self._capture_end = command

    def next(self) -> tuple[Kind, bytes, bytes]:
        """A request that depends on no other: its kind, its bytes, and the id of its hold."""
        drawn = self._random.random()
        names = self._names
        debit = names[int(drawn * 1e9) % len(names)]
        if drawn < READS_SHARE:
            data = b"GET /v1/accounts/%s/balance%s" % (debit, self._read_end)
            return Kind.READ_BALANCE, data, b""
        credit = names[self._random.randrange(len(names))]
        if credit == debit:
            credit = names[0] if debit is not names[0] else names[1]
        key = workloads.new_key().encode()
        amount = 100 + int(drawn * 1e6) % _AMOUNTS
        body = _BODY % (debit, credit, amount)
        if drawn < READS_SHARE + HOLDS_SHARE:
            body += b',"hold_id":"%s"}' % key
            return Kind.PLACE_HOLD, _posted(self._hold, key, body), key
        return Kind.TRANSFER, _posted(self._transfer, key, body + b"}"), b""

    def capture(self, hold_id: bytes) -> bytes:
        """The capture of a hold that was placed."""
        head = b"POST /v1/holds/%s/capture%s" % (hold_id, self._capture_end)
        return _posted(head, workloads.new_key().encode(), b"{}")


def _posted(head: bytes, key: bytes, body: bytes) -> bytes:
    """A command as it is sent."""
    return b"%s%s\r\nContent-Length: %d\r\n\r\n%s" % (head, key, len(body), body)
