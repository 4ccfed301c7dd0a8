"""Which version of the program this is."""

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The version of this program, as installed; ``0`` where it runs from plain files."""
    try:
        return version("ledger-core")
    except PackageNotFoundError:
        return "0"
