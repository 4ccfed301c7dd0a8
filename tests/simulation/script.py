"""What happens in a simulation, step by step: a script that can be read, kept and run again.

Every step stands for itself. One that cannot be taken (the task it names is waiting) is passed
over, so that a script remains one whatever is left out of it.
"""

import json
import shlex
from collections.abc import Iterable, Sequence

import msgspec

from ledger_core import commands
from ledger_core.ledger import Submission

Step = tuple[str | int | float | Submission, ...]
"""What, and of whom:

``run TASK [TIMES]``    a task goes on to where it waits next
``quiet``               the writers go on, in turn, until they wait for work
``send rN SERVER …``    a client sends request N: its mode and its commands
``again rN SERVER``     a client sends it once more, word for word
``clock SECONDS``       time passes, or goes back
``skew SERVER SECONDS`` the clock of one server is that much ahead
``cut TASK``            its connection is lost, and the database notices at once
``orphan TASK``         its connection is lost, and the database notices later
``late``                the database does what it has of the oldest such connection, and notices
``timeout TASK``        it has waited too long for a lock
``kill PROCESS``        kill -9
``stop SERVER``         SIGTERM: what is queued is carried out
``start PROCESS``       a new one in its place
``down``, ``up``        PostgreSQL crashes; it is there again
"""


class Script(msgspec.Struct, frozen=True):
    """The world it begins with (see ``world.Setting``), and its steps."""

    setting: dict[str, int]
    steps: Sequence[Step]


def text_of(script: Script) -> str:
    """The script, a step a line."""
    settings = " ".join(f"{name}={value}" for name, value in script.setting.items())
    lines = [f"world {settings}", *map(line_of, script.steps)]
    return "\n".join(lines) + "\n"


def line_of(step: Step) -> str:
    """One step."""
    words: list[str] = []
    for word in step:
        if isinstance(word, Submission):
            words += _words_of(word)
        else:
            words.append(str(word))
    return " ".join(words)


def parse(text: str) -> Script:
    """The script behind a text; what follows ``#`` is a remark.

    Raises:
        ValueError: a line cannot be read.
    """
    setting: dict[str, int] = {}
    steps: list[Step] = []
    for line in text.splitlines():
        # Commands are JSON, which has quotes of its own.
        head, mark, rest = line.partition("[")
        words = shlex.split(head, comments=True)
        if not words:
            continue
        if words[0] == "world":
            setting = {name: int(value) for name, _, value in (w.partition("=") for w in words[1:])}
        elif words[0] == "send":
            steps.append(_sending(words[1:], mark + rest))
        else:
            steps.append(tuple(map(_word, words)))
    return Script(setting, steps)


def _word(word: str) -> str | float:
    """A number, or a name."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _sending(words: Sequence[str], asked: str) -> Step:
    """The step that sends a new request."""
    name, server, mode, *marks = words
    sent = tuple(map(commands.from_builtins, msgspec.json.decode(asked)))
    submission = Submission(sent, "client", mode, dry_run="dry-run" in marks)  # type: ignore[arg-type] # the script says which
    return ("send", name, server, submission)


def _words_of(submission: Submission) -> Iterable[str]:
    """A submission: its mode, and its commands as they go over the wire."""
    yield submission.mode
    if submission.dry_run:
        yield "dry-run"
    plain = [
        {name: value for name, value in command.items() if value is not None}
        for command in msgspec.json.decode(msgspec.json.encode(submission.commands))
    ]
    yield json.dumps(plain)
