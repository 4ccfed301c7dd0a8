"""Holding the log against checkpoints that were kept elsewhere: does it continue what was signed?

After a restore, or a failover to a replica that may have lagged behind, nothing in the database can
tell whether something lacks: its end looks like any end. Who signed, and keeps what was signed
somewhere else, can: a log that is shorter than a checkpoint has lost events, and one whose first
entries have another root is another log.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ledger_core import checkpoints, tiles
from ledger_core.checkpoints import Checkpoint
from ledger_core.log import Connection
from ledger_core.notes import NoteError, PublicKey

_NOTE = re.compile(r"(?:[^\n]+\n){3}\n(?:\u2014 [^\n]+\n)+")
_BYTES_MAX = 2**30


class KeptCheckpointError(ValueError):
    """What is to be compared with is not there, or is no checkpoint of this log."""


class Comparison(msgspec.Struct, frozen=True):
    """What comparing the log with checkpoints showed.

    The log begins with what the checkpoint of ``agreed_size`` (0: none) says. ``lost_from`` and
    ``lost_to`` are the positions that were signed and are not in the log; ``differs_at`` is the
    size of the smallest checkpoint that the log contradicts.
    """

    ok: bool
    checkpoints: int
    log_size: int
    agreed_size: int
    lost_from: int | None
    lost_to: int | None
    differs_at: int | None

    @property
    def sentence(self) -> str:
        """What it means."""
        if self.differs_at is not None:
            return (
                f"The log is NOT the one that was signed: its first {self.differs_at} events"
                f" contradict a checkpoint; it agrees with those up to {self.agreed_size}."
            )
        agreed = f"The log agrees with the checkpoints kept elsewhere up to {self.agreed_size}"
        if self.lost_from is not None:
            between = (
                f" Of {self.agreed_size + 1} to {self.log_size} no checkpoint tells."
                if self.agreed_size < self.log_size
                else ""
            )
            return (
                f"{agreed}, and ends at {self.log_size}: positions {self.lost_from} to"
                f" {self.lost_to} were signed and are LOST.{between}"
            )
        return f"{agreed}: nothing that was signed is missing."


def read(source: Path) -> list[str]:
    """The notes of a file, or of a folder of files.

    Raises:
        KeptCheckpointError: it cannot be read, or holds none.
    """
    try:
        files = sorted(source.glob("*.txt")) if source.is_dir() else [source]
        if sum(file.stat().st_size for file in files) > _BYTES_MAX:
            raise KeptCheckpointError(f"{source} is too large: give the newest part of it")
        text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    except OSError as error:
        raise KeptCheckpointError(f"{source}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeptCheckpointError(f"{source} holds no checkpoint") from None
    notes = _NOTE.findall(text)
    if not notes:
        raise KeptCheckpointError(f"{source} holds no checkpoint")
    return list(dict.fromkeys(notes))


def verified(notes: Iterable[str], origin: str, keys: list[PublicKey]) -> list[Checkpoint]:
    """The checkpoints of a log among the notes, smallest first; each signed by one of the keys.

    Raises:
        KeptCheckpointError: none is of this log, or one has no signature of ours that holds.
    """
    found: dict[tuple[int, bytes], Checkpoint] = {}
    others: set[str] = set()
    for note in notes:
        try:
            claimed = checkpoints.parse(note)[0]
            if claimed.origin != origin:
                others.add(claimed.origin)
                continue
            found[claimed.size, claimed.root] = checkpoints.verify(note, keys)
        except NoteError as error:
            raise KeptCheckpointError(f"a checkpoint does not verify: {error}") from None
    if not found:
        raise KeptCheckpointError(
            f"no checkpoint there is of {origin}, but of {', '.join(sorted(others))}"
        )
    return [found[key] for key in sorted(found)]


def compare(connection: Connection, ledger_id: int, kept: list[Checkpoint]) -> Comparison:
    """Hold the log of a ledger against checkpoints of it, in one snapshot.

    ``connection`` is a writer's: tiles that lack are computed first.

    Raises:
        TreeDamagedError: what is stored of the tree does not fit together.
    """
    while tiles.extend(connection, ledger_id, "events", _size(connection, ledger_id)):
        pass
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        head = tiles.head(connection, ledger_id, "events")
        tree = tiles.Tree(connection, ledger_id, "events")
        agreed, differs_at = 0, None
        for item in kept:
            if item.size > head.size:
                break
            if tree.root_within(head, item.size) != item.root:
                differs_at = item.size
                break
            agreed = item.size
    newest = kept[-1].size
    is_short = newest > head.size
    return Comparison(
        ok=differs_at is None and not is_short,
        checkpoints=len(kept),
        log_size=head.size,
        agreed_size=agreed,
        lost_from=head.size + 1 if is_short else None,
        lost_to=newest if is_short else None,
        differs_at=differs_at,
    )


def _size(connection: Connection, ledger_id: int) -> int:
    """How many events the log has."""
    return tiles.head(connection, ledger_id, "events").size
