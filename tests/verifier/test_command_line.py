"""``ledger-verify``: exit codes, what it prints, and what it depends on."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.verifier.archives import KEYS, keys_document, line_of, tar_of
from tests.verifier.checks import export

from ledger_verify import cli

PACKAGE = Path(cli.__file__).parent


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An export, the bank's keys, a kept checkpoint."""
    made = export(1, 100)
    (tmp_path / "log.tar").write_bytes(tar_of(made.members()))
    (tmp_path / "log.jsonl").write_bytes(b"".join(map(line_of, made.leaves)))
    (tmp_path / "keys.json").write_bytes(keys_document(KEYS))
    (tmp_path / "kept.txt").write_bytes(made.checkpoint(50))
    (tmp_path / "last.txt").write_bytes(made.checkpoint(len(made.leaves)))
    (tmp_path / "receipt.json").write_text(json.dumps(made.receipt(7, 50)))
    return tmp_path


def run(folder: Path, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The program, as an auditor runs it."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "ledger_verify", *arguments],
        cwd=folder,
        input=data,
        capture_output=True,
        check=False,
    )


def test_a_proof(files: Path) -> None:
    """A good export: what was checked, what was not, whose keys; nothing but that."""
    done = run(files, "log.tar", "--keys", "keys.json", "--checkpoint", "kept.txt")
    assert (done.returncode, done.stderr) == (0, b"")
    text = done.stdout.decode()
    assert text.startswith("PROVEN")
    for word in ("Checked:", "Not checked:", "Keys (given by you):", "sizes 50"):
        assert word in text


def test_a_doubt(files: Path) -> None:
    """A changed export: the first bad position first of all."""
    path = files / "log.tar"
    path.write_bytes(
        path.read_bytes().replace(b'"actor', b'"other').replace(b"teller", b"tellar", 1)
    )
    done = run(files, "log.tar", "--keys", "keys.json")
    assert (done.returncode, done.stderr) == (1, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("DOUBT")
    assert lines[1].startswith("First bad position: ")
    document = json.loads(run(files, "log.tar", "--keys", "keys.json", "--json").stdout)
    position = document["first_bad"]["position"]
    assert lines[1].startswith(f"First bad position: {position} (events/")
    assert document["verdict"] == "doubt"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["log.tar"], 0),
        (["log.tar", "--no-balances", "--json"], 0),
        (["-", "--checkpoint", "last.txt", "--keys", "keys.json"], 0),
        (["-", "--checkpoint", "last.txt"], 0),
        (["-"], 1),
        (["receipt.json", "--keys", "keys.json"], 0),
        (["receipt.json"], 1),
        (["kept.txt", "--keys", "keys.json"], 0),
        (["keys.json"], 1),
        (["log.tar", "--checkpoint", "keys.json"], 1),
        ([], 2),
        (["nothing.tar"], 2),
        (["log.tar", "--keys", "nothing.json"], 2),
        (["log.tar", "--keys", "kept.txt"], 2),
        (["log.tar", "--checkpoint", "nothing.txt"], 2),
        (["log.tar", "--colour"], 2),
    ],
)
def test_exit_codes(files: Path, arguments: list[str], code: int) -> None:
    """0 where nothing is in doubt, 1 on any doubt, 2 for a wrong call; never a traceback."""
    done = run(files, *arguments, data=(files / "log.jsonl").read_bytes())
    assert done.returncode == code, done.stdout + done.stderr
    assert b"Traceback" not in done.stderr
    if "--json" in arguments:
        assert json.loads(done.stdout)["format"] == "ledger-verdict/1"


def test_an_archive_through_a_pipe(files: Path) -> None:
    """An archive may come from standard input."""
    data = (files / "log.tar").read_bytes()
    assert run(files, "-", "--keys", "keys.json", data=data).returncode == 0


def test_it_depends_on_cryptography_alone() -> None:
    """No module imports anything but the standard library, cryptography and the package itself."""
    allowed = {*sys.stdlib_module_names, "cryptography", "ledger_verify"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                names.append(node.module)
            assert {name.partition(".")[0] for name in names} <= allowed, path
