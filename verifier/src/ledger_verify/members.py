"""The files of an archive, held against its manifest, whatever kind of archive it is."""

import re
from collections.abc import Callable, Iterator
from hashlib import sha256

from ledger_verify.findings import Finding, Report, shown
from ledger_verify.plain import (
    Malformed,
    hash_from_hex,
    is_object,
    list_of,
    number_of,
    parse_object,
    require_format,
    text_of,
)
from ledger_verify.sources import Source, read_small

MANIFEST = "manifest.json"
KEYS = "keys.json"
SEGMENT = re.compile(r"(events|hashes)/([0-9]{12,19})-([0-9]{12,19})\.(jsonl|bin)")
CHECKPOINT = re.compile(r"checkpoints/(0|[1-9][0-9]{0,18})\.txt")

_ORDER = {
    "export.json": 0,
    "evidence.json": 0,
    KEYS: 1,
    "schema/events.json": 2,
    "events.jsonl": 3,
    "proofs.jsonl": 4,
    "balances.jsonl": 4,
    "report.txt": 6,
    MANIFEST: 7,
}
_UNKNOWN = (8, 0, 0)


def rank(name: str) -> tuple[int, int, int]:
    """Where a file stands in the order of the formats."""
    if name in _ORDER:
        return (_ORDER[name], 0, 0)
    segment = SEGMENT.fullmatch(name)
    if segment is not None:
        return (3, int(segment[2]), int(segment[1] == "hashes"))
    checkpoint = CHECKPOINT.fullmatch(name)
    if checkpoint is not None:
        return (5, int(checkpoint[1]), 0)
    return _UNKNOWN


class Members:
    """The files as they are read: each is hashed on the way, and at the end compared."""

    def __init__(self, report: Report, source: Source) -> None:
        """Read the manifest first, if it can be reached."""
        self.report = report
        self.source = source
        self.names = source.names()
        self.manifest: dict[str, object] | None = None
        self._expected: dict[str, tuple[int, bytes]] = {}
        self._found: dict[str, tuple[int, bytes]] = {}
        if source.problem is not None:
            problem = source.problem
            report.doubt(Finding("archive", problem.what, member=problem.member))
        if MANIFEST in self.names:
            self._read_manifest()
        else:
            report.doubt(Finding("manifest", "there is no manifest.json: the export is incomplete"))
        ranks = [rank(name) for name in self.names]
        if ranks != sorted(ranks):
            report.doubt(Finding("archive", "its files are not in the order of the format"))
        for name in self.names:
            if rank(name) == _UNKNOWN:
                what = f"{shown(name)} is no file of the format"
                report.doubt(Finding("archive", what, member=shown(name)))

    def blocks(self, name: str) -> Iterator[bytes]:
        """A file's bytes, in parts; it counts as read once they are all taken."""
        digest, size = sha256(), 0
        for block in self.source.blocks(name):
            digest.update(block)
            size += len(block)
            yield block
        self._found[name] = (size, digest.digest())

    def small(self, name: str) -> bytes | None:
        """A small file; ``None``, and a doubt, if it is missing, or too large to be one."""
        if name not in self.names:
            self.report.doubt(Finding("archive", f"there is no {name}", member=name))
            return None
        try:
            data = read_small(self.source, name)
        except Malformed as error:
            self.report.doubt(Finding("archive", f"{name}: {error}", member=name))
            return None
        self._found[name] = (len(data), sha256(data).digest())
        return data

    def is_as_listed(self, name: str) -> bool:
        """Whether a file that was read is as the manifest has it, or there is no manifest."""
        return not self._expected or self._expected.get(name) == self._found.get(name)

    def document(
        self, name: str, format_name: str, read: Callable[[dict[str, object]], None]
    ) -> bool:
        """Read a JSON document of a format; whether it is as it should be."""
        data = self.small(name)
        if data is None:
            return False
        try:
            document = parse_object(data)
            require_format(document, format_name)
            read(document)
        except Malformed as error:
            self.report.doubt(Finding("archive", f"{name}: {error}", member=name))
            return False
        return self.is_as_listed(name)

    def finish(self, proven: set[str]) -> None:
        """Compare every file with the manifest; of the ``proven`` ones every byte is accounted for.

        So if one of those differs from the manifest, it is the manifest that is wrong.
        """
        if self.manifest is None:
            return
        listed = list(self._expected)
        if listed != [name for name in self.names if name != MANIFEST]:
            what = "manifest.json does not list the files that are there"
            if self.source.problem is None:
                self.report.doubt(Finding("manifest", what, member=MANIFEST))
        for name in listed:
            if name not in self.names or rank(name) == _UNKNOWN:
                continue
            if name not in self._found:
                for _ in self.blocks(name):
                    pass
            if self._found[name] == self._expected[name]:
                continue
            wrong = MANIFEST if name in proven else name
            what = f"{shown(name)} is not as manifest.json lists it: one of the two was changed"
            if name in proven:
                what = (
                    f"manifest.json lists {shown(name)} with another hash, though it is as sealed"
                )
            self.report.doubt(Finding("manifest", what, member=shown(wrong)))
        self.report.check(f"{len(listed)} files against their SHA-256 in manifest.json")

    def _read_manifest(self) -> None:
        """Read what files there should be."""
        data = self.small(MANIFEST)
        if data is None:
            return
        try:
            document = parse_object(data)
            require_format(document, "ledger-manifest/1")
            hash_from_hex(document.get("root"))
            number_of(document, "size")
            for item in list_of(document, "members"):
                if not is_object(item):
                    raise Malformed("a member that is no object")  # noqa: TRY301 - one way out
                name = text_of(item, "name")
                if name in self._expected:
                    raise Malformed("a name twice")  # noqa: TRY301 - one way out
                self._expected[name] = (
                    number_of(item, "bytes"),
                    hash_from_hex(item.get("sha256")),
                )
        except Malformed as error:
            self._expected = {}
            self.report.doubt(Finding("manifest", f"manifest.json: {error}", member=MANIFEST))
            return
        self.manifest = document
