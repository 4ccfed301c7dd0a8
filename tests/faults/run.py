"""One run: a seed and a fault, clients at work while it strikes, and what is left checked.

The same seed draws the same commands, strikes and pauses; who is served first is the machine's
doing, so a run that fails may pass the next time. Its history is what stays.
"""

import random
import time
import traceback
from collections import Counter
from pathlib import Path

import msgspec
from tests.faults import bank_model, checker
from tests.faults.faults import FAULTS
from tests.faults.history import About, Finding, History, Strike, items_of
from tests.faults.system import System
from tests.faults.workload import Workload

from ledger_core import database

MIXED = "mixed"
MIXED_NEEDS = "Each strike is another of these, drawn from the seed."
CLIENTS = (4, 8)
STRIKES = (2, 4)
BEFORE_S = (0.2, 0.9)
"""How long the clients work in peace before each strike, and after the last."""
CATCH_UP_S = 60.0


class Result(msgspec.Struct, kw_only=True):
    """What came of a run. ``skipped`` says why it could not be made."""

    seed: int
    fault: str
    bug: str | None = None
    skipped: str | None = None
    strikes: list[str] = []
    attempts: int = 0
    # Commands, each counted once: told to be done, sent more than once, at some time in doubt.
    acknowledged: int = 0
    repeated: int = 0
    unknown: int = 0
    seconds: float = 0.0
    findings: list[Finding] = []

    @property
    def command(self) -> str:
        """What makes this run again."""
        bug = "" if self.bug is None else f" --bug {self.bug}"
        return f".venv/bin/python -m tests.faults --seed {self.seed} --fault {self.fault}{bug}"


def kinds() -> list[str]:
    """The faults that a campaign goes through."""
    return [*FAULTS, MIXED]


def why_not(fault: str) -> str | None:
    """Why there can be no run of that fault here; ``None`` where there can."""
    return None if fault == MIXED else FAULTS[fault].why_not()


def run(  # noqa: PLR0913 - a run and how much of it
    system: System,
    seed: int,
    fault: str,
    *,
    kept: Path,
    bug: str | None = None,
    strikes: tuple[int, int] = STRIKES,
) -> Result:
    """Make one run; with findings, its history is left at ``kept``."""
    began = time.monotonic()
    history = History()
    findings: list[Finding] = []
    try:
        history = _exercise(system, seed, fault, strikes, findings)
        findings += [Finding("death", said) for said in system.deaths]
        findings += checker.check(system.database_url, system.owner_url, history)
        findings += bank_model.findings(history)
    except Exception as error:  # noqa: BLE001 - whatever fails is what the run has to say
        text = "".join(traceback.format_exception(error)[-3:])
        findings.append(Finding("run", text))
    history.about = About(seed=seed, fault=fault, bug=bug)
    result = _counted(history)
    result.seed, result.fault, result.bug = seed, fault, bug
    result.findings = sorted(set(findings))
    result.seconds = round(time.monotonic() - began, 1)
    if findings:
        history.write(kept)
    return result


def _exercise(
    system: System, seed: int, fault: str, strikes: tuple[int, int], findings: list[Finding]
) -> History:
    """Let clients work while the fault strikes; heal, resolve what is unknown, stop."""
    choose = random.Random(f"{seed}/{fault}")
    system.begin()
    workload = Workload(system.urls, system.key, seed, choose.randint(*CLIENTS))
    workload.start()
    try:
        for _ in range(choose.randint(*strikes)):
            time.sleep(choose.uniform(*BEFORE_S))
            name = choose.choice(_drawn(system)) if fault == MIXED else fault
            began_at = workload.now
            FAULTS[name].strike(system, choose)
            workload.history.strikes.append(
                Strike(fault=name, began_at=began_at, ended_at=workload.now)
            )
        time.sleep(choose.uniform(*BEFORE_S))
        system.heal()
        time.sleep(choose.uniform(*BEFORE_S))
    finally:
        workload.stop()
    workload.resolve()
    findings += _catch_up(system)
    system.end()
    return workload.history


def _drawn(system: System) -> list[str]:
    """The faults that a mixed run draws from: all that can happen here."""
    impossible = {"none"} if system.postgres.disk is not None else {"none", "disk-full"}
    return [name for name in FAULTS if name not in impossible]


def _catch_up(system: System) -> list[Finding]:
    """Wait until every projection is at the head, which nobody moves any more."""
    deadline = time.monotonic() + CATCH_UP_S
    with database.connect(system.database_url, "ledger_reader") as connection:
        while True:
            behind = connection.execute(
                "SELECT p.name, p.position, h.position FROM views.projections p"
                " JOIN ledger.heads h USING (ledger_id) WHERE p.live AND p.position < h.position"
            ).fetchall()
            if not behind or time.monotonic() > deadline:
                break
            time.sleep(0.05)
    return [Finding("behind", f"{name} stays at {at} of {head}") for name, at, head in behind]


def _counted(history: History) -> Result:
    """What a run came to, in figures."""
    sent: Counter[str] = Counter()
    acknowledged: set[str] = set()
    unknown: set[str] = set()
    for attempt in history.attempts:
        for item in items_of(attempt):
            sent[item.key] += 1
            if item.is_acknowledged:
                acknowledged.add(item.key)
            elif item.status is None:
                unknown.add(item.key)
    return Result(
        seed=0,
        fault="",
        strikes=[strike.fault for strike in history.strikes],
        attempts=len(history.attempts),
        acknowledged=len(acknowledged),
        repeated=sum(count > 1 for count in sent.values()),
        unknown=len(unknown),
    )
