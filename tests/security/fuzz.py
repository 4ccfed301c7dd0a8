"""``make fuzz``: the parsers under atheris, guided by coverage, for as long as asked.

``python -m tests.security.fuzz SECONDS [TARGET…]`` runs each target in a process of its own and
ends with 1 where one crashed, hung (10 seconds for an input) or took more than 2 GB. What was
learnt stays in ``build/fuzz/TARGET``, so the next run goes on from there; an input that broke a
parser is left in ``build/fuzz`` and named.
"""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

FOLDER = Path("build/fuzz")
INPUT_S_MAX = 10
MEMORY_MB_MAX = 2_048


def main(arguments: list[str]) -> int:
    """Run the targets one after another; 0 where none broke."""
    if arguments[:1] == ["--target"]:
        _fuzz(arguments[1], arguments[2:])
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed here: pip install --editable '.[fuzz]'", file=sys.stderr)
        return 2
    seconds = int(arguments[0]) if arguments else 60
    from tests.security.parsers import TARGETS  # noqa: PLC0415 - after atheris, in the children

    broken = [name for name in arguments[1:] or sorted(TARGETS) if not _run(name, seconds)]
    print(f"broken: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


def _run(name: str, seconds: int) -> bool:
    """Whether a target held for so long."""
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.security.fuzz", "--target", name),
            f"-max_total_time={seconds}",
            f"-timeout={INPUT_S_MAX}",
            f"-rss_limit_mb={MEMORY_MB_MAX}",
            f"-artifact_prefix={FOLDER}/{name}-",
            "-max_len=65536",
            "-verbosity=0",
            "-print_final_stats=1",
            str(corpus),
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    said = [line for line in done.stderr.splitlines() if "stat::number_of_executed_units" in line]
    count = said[0].rpartition(" ")[2] if said else "?"
    print(f"{name}: {count} inputs, {'held' if done.returncode == 0 else 'BROKE'}", flush=True)
    if done.returncode:
        print(done.stdout[-3_000:], done.stderr[-1_500:])
    return done.returncode == 0


def _fuzz(name: str, options: list[str]) -> None:
    """Feed one target until time is up; ends the process."""
    atheris = importlib.import_module("atheris")  # An extra: only who fuzzes has it.
    with atheris.instrument_imports(include=["api", "ledger_core", "ledger_verify"]):
        from tests.security.parsers import TARGETS  # noqa: PLC0415 - so that it is instrumented

    target = TARGETS[name]
    folder = FOLDER / name
    for number, seed in enumerate(target.seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *options], target.feed)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
