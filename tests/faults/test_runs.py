"""Ten short fault runs: whatever strikes, nothing acknowledged is lost and nothing counts twice.

``make faults`` makes many and longer ones (docs/faults.md); what each rule of the checker would
catch is shown in ``test_checker``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.run import run
from tests.faults.system import System

SHORT = (1, 2)
"""So many strikes a run."""
RUNS = (
    (101, "kill-server"),
    (102, "kill-projector"),
    (103, "kill-backend"),
    (104, "kill-postmaster"),
    (105, "pause-server"),
    (106, "pause-postgres"),
    (107, "reset-connections"),
    (108, "cut-mid-message"),
    (109, "clock-back"),
    (110, "rolling-restart"),
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system that all of these strike, one after another."""
    with System(tmp_path_factory.mktemp("runs")) as system:
        yield system


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("seed", "fault"), RUNS)
def test_nothing_acknowledged_is_lost(
    system: System, tmp_path: Path, seed: int, fault: str
) -> None:
    """Every acknowledged command is in the log once, and everything else is as it must be."""
    result = run(system, seed, fault, kept=tmp_path / "history.jsonl", strikes=SHORT)
    assert result.findings == [], f"again: {result.command}; its history: {tmp_path}"
    assert result.strikes
    assert result.acknowledged
