"""Has mutmut make the mutants of the copy, without testing them: run in the copy's folder."""

import importlib
import sys
from typing import Any


def main() -> None:
    """As the first step of ``mutmut run``."""
    sys.argv = ["mutmut"]
    program: Any = importlib.import_module("mutmut.__main__")
    trampoline: Any = importlib.import_module("mutmut.mutation.trampoline")
    trampoline.set_mutant_under_test("mutant_generation")
    with program.CatchOutput():
        program.copy_src_dir()
        program.copy_also_copy_files()
        program.create_mutants(2)


if __name__ == "__main__":
    main()
