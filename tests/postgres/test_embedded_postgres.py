"""The embedded PostgreSQL: made once, shared, safe against crashes, and root given up."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import psycopg
import pytest

from api import embedded_postgres, postgres_programs
from api.embedded_postgres import EmbeddedPostgresError, Login

FAST = {"fsync": "off", "shared_buffers": "16MB"}
GENTLE = {"shared_buffers": "16MB"}
PROCESSES = 4
SOURCES = Path(embedded_postgres.__file__).parents[1]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives up being root")


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Folder for a cluster of the test's own, stopped afterwards."""
    folder = tmp_path / "data"
    yield folder
    embedded_postgres.stop(folder, mode="immediate")


@pytest.fixture
def private_home() -> Iterator[Path]:
    """Folder two levels under one that only its owner may enter, as ``/root`` is."""
    top = Path(tempfile.mkdtemp(prefix="ledger-home-"))
    (top / "share").mkdir(mode=0o700)
    yield top / "share"
    embedded_postgres.stop(top / "share" / "data", mode="immediate")
    shutil.rmtree(top)


def _postmaster(data_dir: Path) -> int:
    """Process number of the running server."""
    return int((data_dir / "postgresql" / "postmaster.pid").read_text().split()[0])


def _wait_for(condition: Callable[[], bool], what: str) -> None:
    """Wait until the condition holds, half a minute at most."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.02)


def _one(url: str, query: str) -> object:
    """Value that a query of one row and one column gives."""
    with psycopg.connect(url) as conn:
        row = conn.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_first_use_makes_a_cluster_with_our_database(data_dir: Path) -> None:
    """A new folder becomes a server whose role ``ledger`` owns the database and is no superuser."""
    url = embedded_postgres.ensure_running(data_dir, settings=FAST).url(login="owner")
    assert _one(url, "SELECT current_user || '@' || current_database()") == "ledger@ledger"
    assert _one(url, "SELECT rolsuper FROM pg_roles WHERE rolname = 'ledger'") is False
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'ledger'"
    assert _one(url, owner) == "ledger"
    assert _one(url, "SHOW data_checksums") == "on"
    assert _one(url, "SHOW wal_level") == "logical"
    locale = "SELECT concat(datlocprovider, datlocale) FROM pg_database WHERE datname = 'ledger'"
    assert _one(url, locale) == "bC.UTF-8"


def test_fsync_is_on_unless_asked_otherwise(data_dir: Path) -> None:
    """What is acknowledged is on the disk, by default."""
    cluster = embedded_postgres.ensure_running(data_dir, settings=GENTLE)
    assert (
        _one(
            cluster.url(),
            "SELECT string_agg(setting, ',') FROM pg_settings WHERE name IN "
            "('fsync', 'full_page_writes', 'synchronous_commit')",
        )
        == "on,on,on"
    )


def test_a_running_server_is_shared(data_dir: Path) -> None:
    """The second caller gets the same server, not another."""
    first = embedded_postgres.ensure_running(data_dir, settings=FAST)
    pid = _postmaster(data_dir)
    assert embedded_postgres.ensure_running(data_dir) == first
    assert _postmaster(data_dir) == pid


def test_data_port_and_passwords_outlive_a_restart(data_dir: Path) -> None:
    """Stopping says whether a server ran; the next start finds all as it was."""
    first = embedded_postgres.ensure_running(data_dir, settings=FAST)
    with psycopg.connect(first.url(login="owner")) as conn:
        conn.execute("CREATE TABLE kept AS SELECT 42 AS value")
    assert embedded_postgres.stop(data_dir) is True
    assert embedded_postgres.stop(data_dir) is False
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(first.url())
    assert embedded_postgres.ensure_running(data_dir, settings=FAST) == first
    assert _one(first.url(login="owner"), "SELECT value FROM kept") == 42


def test_stopping_where_nothing_ever_ran_changes_nothing(tmp_path: Path) -> None:
    """A stop does not create the folder that it is given."""
    assert embedded_postgres.stop(tmp_path / "nowhere") is False
    assert not (tmp_path / "nowhere").exists()


def test_processes_that_start_at_once_get_one_server(data_dir: Path) -> None:
    """Of several first users one makes the cluster, and all are given the same."""
    program = (
        "import sys; from pathlib import Path; from api import embedded_postgres as pg; "
        f"print(pg.ensure_running(Path(sys.argv[1]), settings={FAST!r}).url())"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(data_dir)],
            env={**os.environ, "PYTHONPATH": str(SOURCES)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(PROCESSES)
    ]
    urls = [starter.communicate(timeout=60)[0] for starter in starters]
    assert [starter.returncode for starter in starters] == [0] * PROCESSES
    assert set(urls) == {embedded_postgres.ensure_running(data_dir).url() + "\n"}
    log = (data_dir / "postgresql.log").read_text()
    assert log.count("starting PostgreSQL") == 1


@pytest.mark.parametrize("login", get_args(Login))
def test_a_wrong_password_is_refused(data_dir: Path, login: Login) -> None:
    """Being on the same machine is not enough to get in."""
    cluster = embedded_postgres.ensure_running(data_dir, settings=FAST)
    url = cluster.url(login=login)
    secret = cluster.passwords[login]
    for wrong in (url.replace(secret, "wrong"), url.replace(f":{secret}", "")):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(wrong)
    assert secret not in repr(cluster)


def test_only_the_owner_reads_the_files(data_dir: Path) -> None:
    """Passwords, log and data are closed to everybody else."""
    embedded_postgres.ensure_running(data_dir, settings=FAST)
    assert data_dir.stat().st_mode & 0o777 == 0o700
    for entry in data_dir.iterdir():
        assert entry.stat().st_mode & 0o077 == 0, entry.name


def test_a_killed_server_is_started_again(data_dir: Path) -> None:
    """After kill -9 of the postmaster what was committed is there, at the same address."""
    first = embedded_postgres.ensure_running(data_dir, settings=GENTLE)
    with psycopg.connect(first.url(login="owner")) as conn:
        conn.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS value")
    killed = _postmaster(data_dir)
    os.kill(killed, signal.SIGKILL)
    assert embedded_postgres.ensure_running(data_dir, settings=GENTLE) == first
    assert _postmaster(data_dir) != killed
    assert _one(first.url(login="owner"), "SELECT count(*) FROM kept") == 1000


def test_a_server_that_died_is_restarted_but_not_one_that_was_stopped(data_dir: Path) -> None:
    """A watcher finds a running or stopped server and leaves it, and starts a killed one again."""
    assert embedded_postgres.restart_if_died(data_dir) is None
    assert not data_dir.exists()
    first = embedded_postgres.ensure_running(data_dir, settings=FAST)
    assert embedded_postgres.restart_if_died(data_dir) is None
    os.kill(_postmaster(data_dir), signal.SIGKILL)
    restarted: list[embedded_postgres.Cluster] = []

    def is_restarted() -> bool:
        """Look again until the dead server's last process is gone, as a watcher does."""
        found = embedded_postgres.restart_if_died(data_dir, settings=FAST)
        restarted.extend([] if found is None else [found])
        return bool(restarted)

    _wait_for(is_restarted, "the server is started again")
    assert restarted == [first]
    assert _one(first.url(), "SELECT 1") == 1
    assert embedded_postgres.stop(data_dir) is True
    assert embedded_postgres.restart_if_died(data_dir) is None
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(first.url())
    embedded_postgres.ensure_running(data_dir, settings=FAST)
    os.kill(_postmaster(data_dir), signal.SIGKILL)
    embedded_postgres.stop(data_dir)
    assert embedded_postgres.restart_if_died(data_dir) is None, "stopped before it was noticed"


def test_a_stale_pid_file_naming_a_living_process_does_not_mislead(data_dir: Path) -> None:
    """After a crash the process number may be somebody else's: he is neither found nor stopped."""
    first = embedded_postgres.ensure_running(data_dir, settings=GENTLE)
    pid_file = data_dir / "postgresql" / "postmaster.pid"
    content = pid_file.read_text()
    os.kill(_postmaster(data_dir), signal.SIGKILL)
    # The next ensure_running waits for the children too; here they must be gone before the edit.
    _wait_for(lambda: not embedded_postgres.stop(data_dir, mode="immediate"), "the server is gone")
    pid_file.write_text(content.replace(content.split()[0], str(os.getpid()), 1))
    assert embedded_postgres.stop(data_dir) is False
    assert embedded_postgres.ensure_running(data_dir, settings=GENTLE) == first
    assert _one(first.url(), "SELECT 1") == 1


def test_another_port_is_chosen_when_ours_is_taken(data_dir: Path) -> None:
    """The remembered port is a wish; a stranger on it is left alone."""
    first = embedded_postgres.ensure_running(data_dir, settings=FAST)
    embedded_postgres.stop(data_dir)
    with socket.create_server(("127.0.0.1", first.port)):
        second = embedded_postgres.ensure_running(data_dir, settings=FAST)
        assert second.port != first.port
        assert _one(second.url(), "SELECT 1") == 1
    assert embedded_postgres.ensure_running(data_dir) == second


def test_the_server_of_a_copied_folder_is_never_taken_for_ours(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has our passwords, and our port where it took that after we had found it free."""
    first = embedded_postgres.ensure_running(data_dir, settings=FAST)
    embedded_postgres.stop(data_dir)
    copy = tmp_path / "copy"
    # Owners included: PostgreSQL's files may not be ours.
    subprocess.run(["cp", "-a", data_dir, copy], check=True)
    really_free = embedded_postgres._is_free  # noqa: SLF001 - to be answered for once
    answers = iter([True])
    try:
        others = embedded_postgres.ensure_running(copy, settings=FAST)
        assert others.port == first.port
        monkeypatch.setattr(
            embedded_postgres, "_is_free", lambda port: next(answers, False) or really_free(port)
        )
        second = embedded_postgres.ensure_running(data_dir, settings=FAST)
        assert second.port != first.port
        with psycopg.connect(second.url(), autocommit=True) as ours:
            ours.execute("CREATE TEMPORARY TABLE only_here ()")
            seen = "SELECT count(*) FROM pg_class WHERE relname = 'only_here'"
            assert (_one(second.url(), seen), _one(others.url(), seen)) == (1, 0)
    finally:
        embedded_postgres.stop(copy, mode="immediate")


def test_an_interrupted_first_use_is_begun_anew(data_dir: Path) -> None:
    """What a killed initdb left behind is thrown away: it never held anything."""
    (data_dir / "postgresql.partial").mkdir(parents=True)
    (data_dir / "postgresql.partial" / "PG_VERSION").write_text("18\n")
    cluster = embedded_postgres.ensure_running(data_dir, settings=FAST)
    assert _one(cluster.url(), "SELECT 1") == 1


def test_a_missing_role_is_made_again(data_dir: Path) -> None:
    """A first use that died between starting and making the role is finished by the next."""
    cluster = embedded_postgres.ensure_running(data_dir, settings=FAST)
    with psycopg.connect(cluster.url("postgres", login="superuser"), autocommit=True) as conn:
        conn.execute("DROP DATABASE ledger")
        conn.execute("DROP ROLE ledger")
    assert embedded_postgres.ensure_running(data_dir) == cluster
    for login, role in embedded_postgres.ROLES.items():
        assert _one(cluster.url(login=login), "SELECT current_user") == role


def test_a_cluster_of_before_gets_the_roles_that_it_lacks(data_dir: Path) -> None:
    """Made when the program logged in as the owner: it keeps what it has and gets the rest."""
    first = embedded_postgres.ensure_running(data_dir, settings=FAST)
    secrets = data_dir / "cluster.json"
    with psycopg.connect(first.url("postgres", login="superuser"), autocommit=True) as conn:
        conn.execute("DROP ROLE ledger_program, ledger_analyst")
    stored = json.loads(secrets.read_text())
    kept = {name: stored[name] for name in ("port", "password", "superuser_password")}
    secrets.write_text(json.dumps(kept))
    upgraded = embedded_postgres.ensure_running(data_dir)
    assert upgraded.url(login="owner") == first.url(login="owner")
    for login, role in embedded_postgres.ROLES.items():
        assert _one(upgraded.url(login=login), "SELECT current_user") == role
    assert upgraded.url() != first.url()
    assert embedded_postgres.ensure_running(data_dir) == upgraded
    assert secrets.stat().st_mode & 0o777 == 0o600


def test_a_setting_that_prevents_the_start_is_named(data_dir: Path) -> None:
    """The error shows the end of the server's log."""
    with pytest.raises(EmbeddedPostgresError, match='"fsync" requires a Boolean value'):
        embedded_postgres.ensure_running(data_dir, settings={"fsync": "perhaps"})


def test_lost_passwords_are_an_error_and_no_reason_to_begin_anew(data_dir: Path) -> None:
    """Data without its passwords is never overwritten."""
    embedded_postgres.ensure_running(data_dir, settings=FAST)
    embedded_postgres.stop(data_dir)
    (data_dir / "cluster.json").unlink()
    with pytest.raises(EmbeddedPostgresError, match="passwords cannot be read"):
        embedded_postgres.ensure_running(data_dir, settings=FAST)
    assert (data_dir / "postgresql" / "PG_VERSION").exists()


def test_an_unusable_folder_is_explained(tmp_path: Path) -> None:
    """The error names the folder and the variable that chooses another."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedPostgresError, match="LEDGER_DATA_DIR"):
        embedded_postgres.ensure_running(tmp_path / "file" / "data")


def test_the_environment_chooses_the_folder(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """``LEDGER_DATA_DIR`` comes first, then the user's data folder."""
    monkeypatch.setenv("LEDGER_DATA_DIR", str(tmp_path))
    assert embedded_postgres.default_data_dir() == tmp_path
    monkeypatch.delenv("LEDGER_DATA_DIR")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert embedded_postgres.default_data_dir().name == "ledger-core"


@as_root
def test_root_gives_up_root_and_no_parent_is_opened(private_home: Path) -> None:
    """The server runs as nobody on data below a closed folder, whose permissions stay."""
    parents = [private_home, *private_home.parents]
    before = [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in parents]
    data_dir = private_home / "data"
    cluster = embedded_postgres.ensure_running(data_dir, settings=FAST)
    assert _one(cluster.url(), "SELECT 1") == 1
    owner = pwd.getpwuid((data_dir / "postgresql").stat().st_uid).pw_name
    assert owner == "nobody"
    status = Path(f"/proc/{_postmaster(data_dir)}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    nobody = str(pwd.getpwnam("nobody").pw_uid)
    assert fields["Uid"].split() == [nobody] * 4
    assert int(fields["CapEff"], 16) == 0
    assert fields["Groups"].strip() == ""
    assert [(p.stat().st_mode, p.stat().st_uid, p.stat().st_gid) for p in parents] == before


@as_root
def test_root_copies_binaries_that_the_server_user_cannot_reach(
    monkeypatch: pytest.MonkeyPatch,
    private_home: Path,
) -> None:
    """Programs installed below a closed folder are copied once, writable by root alone."""
    site = private_home / "site-packages"
    original = postgres_programs.packaged_binaries()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(original.parents[2] / name, site / name, symlinks=True)
    system = Path(tempfile.mkdtemp(prefix="ledger-system-"))
    system.chmod(0o755)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(postgres_programs, "SYSTEM_FOLDERS", (system,))
    try:
        cluster = embedded_postgres.ensure_running(private_home / "data", settings=FAST)
        (copy,) = system.iterdir()
        command = Path(f"/proc/{_postmaster(private_home / 'data')}/cmdline").read_bytes()
        assert command.startswith(bytes(copy) + b"/")
        for path in [copy, *copy.rglob("*")]:
            assert path.is_symlink() or path.stat().st_mode & 0o022 == 0
        assert _one(cluster.url(), "SELECT to_tsvector('english', 'ledgers')::text") == "'ledger':1"
        embedded_postgres.stop(private_home / "data")
        made = copy.stat().st_mtime_ns
        embedded_postgres.ensure_running(private_home / "data", settings=FAST)
        assert copy.stat().st_mtime_ns == made
    finally:
        embedded_postgres.stop(private_home / "data", mode="immediate")
        shutil.rmtree(system)
