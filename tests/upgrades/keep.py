"""Keep the log that a version of the program writes, for all later versions to go on with.

``python -m tests.upgrades.keep NAME [COMMIT]`` runs the program of that commit (without one: of
this tree) on an empty folder, lets it carry out ``history.commands`` and keeps in ``logs/NAME``
what a bank would have: the database, the secrets beside it, and what the program answered. Run it
once for each release, with the release's name; what is kept is never written again.
"""

import base64
import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from tests.upgrades import history

from api import postgres_programs

LOGS = Path(__file__).parent / "logs"
ROOT = Path(__file__).parents[2]


class Version:
    """The program of a commit, on a folder of its own."""

    def __init__(self, source: Path, data_dir: Path) -> None:
        """Nothing is started."""
        self._data_dir = data_dir
        kept = {name: text for name, text in os.environ.items() if not name.startswith("LEDGER_")}
        self._environment = {
            **kept,
            "LEDGER_DATA_DIR": str(data_dir),
            "PYTHONPATH": f"{source / 'src'}",
        }

    def run(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> str:
        """Run a command of the program; what it printed."""
        process = subprocess.run(
            [sys.executable, "-m", "api.cli", *arguments],
            env=self._environment,
            cwd=self._data_dir,
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode not in codes:
            raise SystemExit(f"ledger {' '.join(arguments)}: {process.stderr}")
        return process.stdout.strip()

    def answer(self, *arguments: str, codes: tuple[int, ...] = (0,)) -> Any:  # noqa: ANN401 - JSON
        """Run a command with ``--json``."""
        return json.loads(self.run(*arguments, "--json", codes=codes))

    def superuser_url(self) -> str:
        """The URL of the database for its superuser, however this version is asked for it."""
        try:
            return self.run("database-url", "--login", "superuser")
        except SystemExit:
            return self.run("database-url", "--superuser")

    def secrets(self) -> dict[str, str]:
        """The files beside the database, in base64."""
        files = [path for path in (self._data_dir / "keys").iterdir() if path.is_file()]
        return {path.name: base64.b64encode(path.read_bytes()).decode() for path in files}


def keep(name: str, commit: str | None) -> None:
    """Keep the log that the program of a commit writes."""
    folder = LOGS / name
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="ledger-keep-") as text:
        place = Path(text)
        source = ROOT
        if commit is not None:
            source = place / "source"
            _git("worktree", "add", "--detach", str(source), commit)
        data_dir = place / "data"
        data_dir.mkdir()
        # Where this is root, the database's server runs as somebody else.
        place.chmod(0o755)
        version = Version(source, data_dir)
        try:
            _write(version, place, folder, {"name": name, "commit": commit})
        finally:
            version.run("stop", codes=(0, 1))
            if commit is not None:
                _git("worktree", "remove", "--force", str(source))


def _write(version: Version, place: Path, folder: Path, kept: dict[str, Any]) -> None:
    """Let the version write, and keep what came of it."""
    file = place / "commands.jsonl"
    file.write_text("".join(json.dumps(command) + "\n" for command in history.commands()))
    version.run("migrate")
    kept["load"] = version.answer("load", str(file), codes=(0, 1))
    kept["api_key"] = version.run("keys", "create", "admin").splitlines()[0]
    kept["balances"] = version.answer("balances")
    kept["trial_balance"] = version.answer("trial-balance")
    verdict = version.answer("verify")
    if not verdict["ok"]:
        raise SystemExit(f"the log does not verify: {verdict}")
    url = version.superuser_url()
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT position, frontier FROM ledger.heads").fetchone()
        schema = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    assert row is not None, "a ledger was made"
    assert schema is not None, "the schema has a version"
    kept |= {"position": row[0], "frontier": row[1].hex(), "schema": schema[0]}
    kept["secrets"] = version.secrets()
    (folder / "kept.json").write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    # The tools that make it differ from machine to machine in a comment only.
    dump = subprocess.run(
        [
            str(postgres_programs.packaged_binaries() / "pg_dump"),
            url,
            "--format=plain",
            "--no-owner",
        ],
        capture_output=True,
        check=True,
    ).stdout
    (folder / "database.sql.gz").write_bytes(gzip.compress(dump, 9, mtime=0))
    print(f"{folder}: schema {kept['schema']}, {kept['position']} events, {kept['load']}")


def _git(*arguments: str) -> None:
    """Run git in this tree."""
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True)


if __name__ == "__main__":
    keep(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
