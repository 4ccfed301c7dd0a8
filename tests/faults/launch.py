"""The program as it is, but for what a fault run is about: a clock that jumps, a deliberate bug.

``python -m tests.faults.launch [--clock FILE] [--bug NAME] serve --port N`` runs ``ledger serve``;
the processes that the server starts beside itself are started by this module, too. Nothing in the
program knows of it: the functions that it looks up by name are replaced before anything uses them.
"""

import argparse
import mmap
import runpy
import struct
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from api import clock

_OFFSET = struct.Struct("<d")


class Offset:
    """How far a server's clock is off, in seconds: eight bytes of a file, read at each look.

    The file is mapped into memory, so that a look costs nothing to speak of.
    """

    def __init__(self, path: Path) -> None:
        """Use that file, made with offset 0 where there is none."""
        self.path = path
        if not path.exists():
            path.write_bytes(_OFFSET.pack(0.0))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), _OFFSET.size)

    @property
    def seconds(self) -> float:
        """The offset now; negative is a clock that is slow."""
        found: float = _OFFSET.unpack_from(self._bytes)[0]
        return found

    @seconds.setter
    def seconds(self, value: float) -> None:
        """Move every clock that reads this file."""
        _OFFSET.pack_into(self._bytes, 0, value)


def shift(offset: Offset) -> None:
    """Have the program's only clock be off by that much."""
    true_now = clock.now

    def now() -> datetime:
        """This moment, by a clock that is wrong."""
        return true_now() + timedelta(seconds=offset.seconds)

    clock.now = now


def main() -> None:
    """Shift the clock, put the bug in, and become the program or one of its children."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clock", type=Path)
    parser.add_argument("--bug")
    parser.add_argument("--module", help="a module to run in place of the command line")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    ours = [sys.executable, "-m", "tests.faults.launch"]
    if chosen.clock is not None:
        # First of all: the program keeps the function that it finds as it is imported.
        shift(Offset(chosen.clock))
        ours += ["--clock", str(chosen.clock)]
    if chosen.bug is not None:
        _bug(chosen.bug)()
        ours += ["--bug", chosen.bug]
    _take_along(ours)
    if chosen.module is not None:
        sys.argv = [chosen.module]
        runpy.run_module(chosen.module, run_name="__main__")
        return
    from api import cli  # noqa: PLC0415 - after the clock was shifted

    sys.argv = ["ledger", *chosen.rest]
    cli.main()


def _bug(name: str) -> Callable[[], None]:
    """What puts the deliberate bug of that name into this process."""
    from tests.faults.bugs import BUGS  # noqa: PLC0415 - imports the program: not before the clock

    return BUGS[name]


def _take_along(ours: list[str]) -> None:
    """Have the children of this process started by this module, as this process was."""
    from api import child  # noqa: PLC0415 - after the clock was shifted

    def command_of(module: str) -> list[str]:
        """The command line that runs a module with this clock and this bug."""
        return [*ours, "--module", module]

    child.command_of = command_of


if __name__ == "__main__":
    main()
