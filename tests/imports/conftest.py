"""What the tests of the command line and of imports share: ``ledger …`` run in this process."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from api import cli
from api.runtime import Runtime
from api.settings import Settings

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def runtime(database_url: str, tmp_path: Path) -> Iterator[Runtime]:
    """A runtime on a database of its own."""
    with Runtime(Settings(tmp_path, database_url, bytes(32), bytes(32))) as opened:
        yield opened


@pytest.fixture
def run(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """Run ``ledger …`` on a database: exit code, what it printed, what it complained of."""
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path / "data"))

    def call(*arguments: str, stdin: str = "", url: str = database_url) -> tuple[int, str, str]:
        """One command."""
        monkeypatch.setenv("LEDGER_DATABASE_URL", url)
        monkeypatch.setattr(sys, "argv", ["ledger", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call
