"""Packets that vanish: the system drops what arrives at a socket, unseen and unacknowledged.

A socket filter of classic BPF does that, which needs no right, but Linux.
"""

import contextlib
import ctypes
import socket
import sys

_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27


class _Instruction(ctypes.Structure):
    """One instruction of a classic BPF program: ``struct sock_filter``."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jump_true", ctypes.c_uint8),
        ("jump_false", ctypes.c_uint8),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    """A classic BPF program: ``struct sock_fprog``."""

    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def why_not() -> str | None:
    """Why packets cannot be dropped on this system; ``None`` where they can."""
    with socket.socket() as probe:
        if drop(probe.fileno()):
            return None
    return "this system takes no socket filters: the proxy stops to read instead"


def drop(descriptor: int) -> bool:
    """Have the system drop every packet for this socket, unseen; False where it does not know how.

    The filter is ``ret #0``: of every packet keep nothing. Needs no right.
    """
    if not sys.platform.startswith("linux"):
        return False
    instruction = _Instruction(0x06, 0, 0, 0)
    program = _Program(1, ctypes.pointer(instruction))
    with socket.socket(fileno=socket.dup(descriptor)) as sock:
        try:
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))
        except OSError:
            return False
    return True


def take(descriptor: int) -> None:
    """Have them arrive again: whoever sent them sends them again."""
    if not sys.platform.startswith("linux"):
        return
    with socket.socket(fileno=socket.dup(descriptor)) as sock, contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
