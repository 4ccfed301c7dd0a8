"""What the surroundings say about backups: ``LEDGER_BACKUP_DIR``, the folder that they go to.

Named for a server, its write-ahead log is received there all the time.
"""

from pathlib import Path

from api import surroundings

VARIABLE = "LEDGER_BACKUP_DIR"


def folder() -> Path | None:
    """The folder of backups; ``None`` where none is named."""
    named = surroundings.text(VARIABLE)
    return None if named is None else Path(named).expanduser().absolute()
