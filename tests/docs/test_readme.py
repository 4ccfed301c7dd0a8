"""Every block of the README does what the README says, in order, as a newcomer would run it."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

# What each block after the first must show, in order.
SHOWN: tuple[tuple[str, ...], ...] = (
    (),
    ('"recorded"', "JournalEntryPosted", "position"),
    ("Lunch", '"1250"'),
    ('"value_date"', "alice-current"),
    ("bank:counter:EUR", "closing balance", "Alice Example", "Total"),
    ("All agree",),
    ("3 lines: 3 recorded, 0 replayed", "3 lines: 0 recorded, 3 replayed"),
    ("2 entries", '"net": "640.00"', '"net": "3.00"'),
    ("Stopped",),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like the clone, so that files the README makes stay out of the real one."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for path in ROOT.iterdir():
        if path.name != ".venv":
            (clone / path.name).symlink_to(path)
    # The environment these tests run in stands for the one that `make run` makes.
    (clone / ".venv").symlink_to(Path(sys.prefix))
    return clone


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A newcomer's environment: nothing set but where the data goes."""
    hidden = {"LEDGER_DATABASE_URL", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "LEDGER_DATA_DIR": str(tmp_path_factory.mktemp("readme"))}


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server(folder: Path, environment: dict[str, str], port: int) -> Iterator[str]:
    """The README's first block, left running; what it had printed when it was ready."""
    ready = folder / ".venv" / ".ready"
    made = not ready.exists()
    ready.touch()
    printed = folder / "first-terminal.txt"
    with printed.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the README's own command
            ["bash", "-c", BLOCKS[0].replace("make run", f"make run PORT={port}")],  # noqa: S607
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(port, process, printed)
        yield printed.read_text()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
        if made:
            ready.unlink()


def test_the_first_block_starts_everything() -> None:
    """The README begins with one command, and every other block has its expectation here."""
    assert BLOCKS[0].strip() == "make run"
    assert len(BLOCKS) == len(SHOWN) + 1


@pytest.mark.timeout(300)
def test_every_block_does_what_the_readme_says(
    server: str, folder: Path, environment: dict[str, str], port: int
) -> None:
    """From the first start to a transfer, a statement, yesterday's balance, imports and the stop."""
    assert "export LEDGER_KEY=lk_" in server
    assert server.count("curl -s http://127.0.0.1") == 3
    marker = "@@ block"
    script = "".join(f"echo '{marker}'\n{block}\n" for block in BLOCKS[1:])
    finished = subprocess.run(  # noqa: S603 - the README's own commands
        ["bash", "-euo", "pipefail", "-c", script.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],  # noqa: S607
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-2000:]
    outputs = finished.stdout.split(marker)[1:]
    for output, texts in zip(outputs, SHOWN, strict=True):
        for text in texts:
            assert text in output


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], printed: Path) -> None:
    """Wait until the server answers that it is ready."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (OSError, urllib.error.URLError):
            assert process.poll() is None, printed.read_text()[-2000:]
            time.sleep(0.1)
    msg = "the server did not become ready"
    raise AssertionError(msg)
