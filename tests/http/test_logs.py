"""What reaches the log of a process: JSON lines, and of an exception only its type and place."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging
import structlog
from api import logs

logs.configure()
structlog.get_logger("x").info("hello", number=1)
structlog.get_logger("x").debug("quiet")
logging.getLogger("library").info("quiet")
logging.getLogger("library").warning("careful")
try:
    raise ValueError("secret")
except ValueError:
    logging.getLogger("library").exception("failed")
"""


def test_every_line_is_json_and_no_exceptions_text_is_in_it() -> None:
    """Ours and the libraries' lines alike."""
    source = Path(__file__).resolve().parents[2] / "src"
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        check=True,
        text=True,
    )
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "hello"),
        ("warning", "careful"),
        ("error", "failed"),
    ]
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[2]["error_type"] == "ValueError"
    assert lines[2]["frames"] == ["<string>:12 <module>"]
    assert "secret" not in ran.stderr + ran.stdout


def test_only_what_is_urgent_enough_is_written() -> None:
    """The level is settable; a wrong one is refused in a sentence."""
    source = Path(__file__).resolve().parents[2] / "src"
    for level, expected in (("warning", ["careful", "failed"]), ("error", ["failed"])):
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"PYTHONPATH": str(source), "LEDGER_LOG_LEVEL": level},
            capture_output=True,
            check=True,
            text=True,
        )
        assert [json.loads(line)["event"] for line in ran.stderr.splitlines()] == expected
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={"PYTHONPATH": str(source), "LEDGER_LOG_LEVEL": "loud"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert ran.returncode == 1
    assert "LEDGER_LOG_LEVEL must be info, warning or error" in ran.stderr


MANY = """
import threading
import structlog
from api import logs

logs.configure()
log = structlog.get_logger("x")

def work(number):
    for turn in range(2_500):
        log.info("line", thread=number, turn=turn)

threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
log.warning("last")
log.info("after")
"""


def test_no_line_is_lost_at_an_orderly_end() -> None:
    """Lines of many threads are written whole, each thread's in order, a warning after them all."""
    source = Path(__file__).resolve().parents[2] / "src"
    ran = subprocess.run(
        [sys.executable, "-c", MANY],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        check=True,
        text=True,
    )
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["event"] for line in lines[-2:]] == ["last", "after"]
    for number in range(6):
        turns = [line["turn"] for line in lines if line.get("thread") == number]
        assert turns == list(range(2_500))
