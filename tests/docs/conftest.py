"""A newcomer's machine: a folder like the clone, a data folder of its own, the server running."""

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRST = "README.md"
# A reader's second is enough for the views; a machine that runs other tests beside may need more.
_SLEEP = """sleep() {
  command sleep "$1"
  for _ in $(seq 60); do
    curl -s http://127.0.0.1:8000/readyz | grep -q '"lag_events":{[^}]*:[1-9]' || return 0
    command sleep 0.5
  done
}
"""


def blocks_of(page: str) -> list[str]:
    """The commands that a page of the documentation tells its reader to run."""
    text = (ROOT / page).read_text()
    return re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like the clone, so that files made here stay out of the real one."""
    clone = tmp_path / "clone"
    clone.mkdir()
    for path in ROOT.iterdir():
        if path.name != ".venv":
            (clone / path.name).symlink_to(path)
    # The environment these tests run in stands for the one that `make run` makes.
    (clone / ".venv").symlink_to(Path(sys.prefix))
    return clone


def _environment(data_dir: Path) -> dict[str, str]:
    """A newcomer's environment: nothing set but where the data goes."""
    hidden = {"LEDGER_DATABASE_URL", "VIRTUAL_ENV"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**kept, "LEDGER_DATA_DIR": str(data_dir)}


@pytest.fixture(scope="session")
def begun(run_folder: Path) -> Path:
    """The data folder of the sample bank after its first start, made once a run, to be copied."""
    data_dir = run_folder / "sample-bank"
    with (run_folder / "sample-bank.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not data_dir.exists():
            making = run_folder / "sample-bank-begun"
            _begin(making)
            making.rename(data_dir)
    return data_dir


def _begin(data_dir: Path) -> None:
    """Start the sample bank for the first time, and stop it again."""
    data_dir.mkdir()
    environment, port = _environment(data_dir), _free_port()
    printed = data_dir.with_suffix(".txt")
    with printed.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "api.cli", "serve", "--demo", "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    _wait_until_ready(port, process, printed)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0, printed.read_text()
    _stop_postgres(environment)


def _stop_postgres(environment: dict[str, str]) -> None:
    """Stop the embedded PostgreSQL, if it runs."""
    stopped = [sys.executable, "-m", "api.cli", "stop"]
    subprocess.run(stopped, env=environment, check=True, capture_output=True)


@pytest.fixture
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """The environment of somebody who begins, or for pages that begin later, has begun.

    PostgreSQL, which a server leaves running, is stopped in the end.
    """
    data_dir = tmp_path_factory.mktemp("readme")
    page = getattr(request.node, "callspec", None)
    if page is not None and page.params.get("page", FIRST) != FIRST:
        begun: Path = request.getfixturevalue("begun")
        # As it is, owners included: PostgreSQL's files are not root's.
        subprocess.run(["cp", "-a", f"{begun}/.", str(data_dir)], check=True)
    found = _environment(data_dir)
    yield found
    _stop_postgres(found)


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    return _free_port()


def _free_port() -> int:
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
        process = subprocess.Popen(
            ["bash", "-c", f"make run PORT={port}"],
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


@pytest.fixture
def run_blocks(
    folder: Path, environment: dict[str, str], port: int
) -> Callable[[list[str]], list[str]]:
    """Run blocks one after another in one shell; what each printed."""

    def run(blocks: list[str]) -> list[str]:
        """Stop at the first that fails."""
        marker = "@@ block"
        # A reader needs a moment from one block to the next, too.
        script = _SLEEP + "".join(f"sleep 1\necho '{marker}'\n{block}\n" for block in blocks)
        # "export" alone hides that the command failed whose output it takes.
        script = re.sub(
            r"^export (\w+)=(\$\(.*\))$", r"\1=\2; export \1", script, flags=re.MULTILINE
        )
        finished = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script.replace(":8000", f":{port}")],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
        assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-2000:]
        return finished.stdout.split(marker)[1:]

    return run


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
