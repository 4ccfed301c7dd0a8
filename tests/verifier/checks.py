"""Running the verifier on what a test has made."""

import io
from collections.abc import Mapping, Sequence
from functools import cache

from tests.verifier.archives import KEYS, Export, export_of, keys_document, tar_of
from tests.verifier.logs import LogMaker

from ledger_verify import checking
from ledger_verify.findings import Report
from ledger_verify.log_check import Depth
from ledger_verify.notes import Key, parse_keys
from ledger_verify.trust import Held, Trust


@cache
def export(seed: int, events: int) -> Export:
    """An export of a log at random."""
    return export_of(LogMaker(seed).grow(events))


@cache
def trusted() -> tuple[Key, ...]:
    """The keys that the auditor got from the bank."""
    return tuple(parse_keys(keys_document(KEYS)))


def verify(
    source: Mapping[str, bytes] | bytes,
    held: Sequence[bytes] = (),
    keys: Sequence[Key] | None = (),
    depth: Depth = "books",
) -> Report:
    """Verify the files of an archive, or an input of any other kind.

    No keys at all (``None``) are another thing than those of the bank (nothing given).
    """
    data = source if isinstance(source, bytes) else tar_of(source)
    kept = tuple(Held(f"held-{number}.txt", note) for number, note in enumerate(held))
    report = Report("input")
    known = trusted() if keys == () else keys
    checking.check(report, io.BytesIO(data), Trust(known, kept), depth)
    return report
