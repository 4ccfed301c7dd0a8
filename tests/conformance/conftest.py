"""A case becomes a test; each runs on a database of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.conformance.cases import read_cases
from tests.conformance.house import Clock, House

from api.app import create_app
from api.runtime import Runtime
from api.settings import Settings

_DEFAULT = Path("..", "shared", "conformance", "cases.jsonl")
_OWN = Path(__file__).with_name("own.jsonl")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a case of the file; none, and a word why, where there is no file."""
    if "own_case" in metafunc.fixturenames:
        own = read_cases(_OWN)
        metafunc.parametrize("own_case", own, ids=[f"{case.n}" for case in own])
    if "case" not in metafunc.fixturenames:
        return
    named = metafunc.config.getoption("--cases")
    path = Path(named) if named else metafunc.config.rootpath / _DEFAULT
    if not named and not path.exists():
        absent = pytest.mark.skip(reason="no file of cases: name one with --cases")
        metafunc.parametrize("case", [pytest.param(None, marks=absent)], ids=["absent"])
        return
    cases = read_cases(path)
    metafunc.parametrize("case", cases, ids=[f"{case.n}" for case in cases])


@pytest.fixture
def house(database_url: str, tmp_path: Path) -> Iterator[House]:
    """The whole application over a fresh database, with a clock that stands still."""
    clock = Clock()
    settings = Settings(
        data_dir=tmp_path,
        database_url=database_url,
        key_encryption_key=b"K" * 32,
        server_secret=b"S" * 32,
    )
    with Runtime(settings, clock) as runtime, TestClient(create_app(runtime)) as client:
        yield House(runtime, client, clock)
