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
