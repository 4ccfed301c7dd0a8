"""One pass over the events: bytes, order, gaps, times, keys, tree, and balances replayed.

Every line's leaf is hashed as it stands, and the tree over these hashes must have the signed root
at the size of every checkpoint (see ``seal_check``). What is usual about a line is checked in one
step by patterns; whatever is unusual, be it right or wrong, is read with care.
"""

from array import array
from collections.abc import Iterator
from hashlib import sha256
from typing import Literal

from ledger_verify.books import Books, check_alone
from ledger_verify.findings import Finding, Report
from ledger_verify.lines import ENTRY, HEADER, Line, parse_line, whole_lines
from ledger_verify.merkle import leaf_hash
from ledger_verify.plain import Malformed
from ledger_verify.seal_check import SealCheck

Depth = Literal["bytes", "entries", "books"]
"""How far events are read: not at all, each by itself, or onto the books."""

Place = tuple[str, int]
"""A file, and the number of a line in it."""

_CLOSING = ord("}")
_BUCKETS = 256
_LEAST_US = -(2**63)


class CommandKeys:
    """Which command keys occurred: their hashes, eight bytes each, in buckets.

    Equal keys have equal hashes, so none is missed; different keys of equal hashes are told apart
    by reading again.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.buckets = [array("q") for _ in range(_BUCKETS)]

    def add(self, key: str) -> None:
        """A key occurred; as the bytes between its quotes, where nothing in it is escaped."""
        code = hash(key.encode("utf-8", "surrogatepass"))
        self.buckets[code % _BUCKETS].append(code)

    def suspects(self) -> set[int]:
        """Hashes that occurred more than once."""
        found: set[int] = set()
        for bucket in self.buckets:
            if len(set(bucket)) == len(bucket):
                continue
            seen: set[int] = set()
            for item in bucket:
                (found if item in seen else seen).add(item)
        return found


class LogCheck:
    """A pass over the events of a log, in order, file by file."""

    def __init__(self, report: Report, seal: SealCheck, books: Books, depth: Depth) -> None:
        """Begin behind the events that the seal's tree covers."""
        self.report = report
        self.seal = seal
        self.books = books
        self.depth = depth
        self.keys = CommandKeys()
        self.position = seal.position
        self._recorded_at_us = _LEAST_US

    def take(self, member: str, blocks: Iterator[bytes]) -> None:
        """Check the events of one file."""
        line_no = 0
        try:
            for text, rest in whole_lines(blocks):
                if text is not None:
                    lines = text.split(b"\n")
                    self._lines(lines, member, line_no, is_text=_is_utf8(text))
                    line_no += len(lines)
                elif rest:
                    line_no += 1
                    self._unreadable("the last line has no end", member, line_no)
        except Malformed as error:
            self._unreadable(str(error), member, line_no + 1)

    def _lines(self, lines: list[bytes], member: str, line_no: int, *, is_text: bool) -> None:
        """Check some lines that stand one after another."""
        hashes: list[bytes] = []
        at, count = 0, len(lines)
        while at < count:
            if is_text:
                at = self._usual(lines, at, hashes)
                if at == count:
                    break
            following = lines[at + 1] if at + 1 < count else b""
            self._with_care(lines[at], following, hashes, (member, line_no + at + 1))
            at += 1
        self._seal(hashes, member)

    def _usual(self, lines: list[bytes], at: int, hashes: list[bytes]) -> int:  # noqa: C901 - the hot path: a call an event would cost a quarter of the speed
        """Check lines from ``at`` on as long as they are of the usual form; where that ends.

        Adds the hashes of their leaves.
        """
        header, entry, hash_of, push = HEADER.match, ENTRY.match, sha256, hashes.append
        buckets, account_of = self.keys.buckets, self.books.accounts.get
        position, last_us = self.position, self._recorded_at_us
        is_read, has_books = self.depth != "bytes", self.depth == "books"
        for index in range(at, len(lines)):
            line = lines[index]
            match = header(line)
            if match is None or line[-1] != _CLOSING:
                break
            found, at_us, kind, version, key = match.groups()
            recorded_at_us = int(at_us)
            if int(found) != position + 1 or recorded_at_us < last_us:
                break
            end = match.end()
            if is_read:
                moved = entry(line, end)
                if moved is None or kind != b"JournalEntryPosted" or version != b"1":
                    break
                if has_books:
                    one_id, side, digits, currency, other_id = moved.groups()
                    one, other = account_of(one_id), account_of(other_id)
                    if one is None or other is None:
                        break
                    if one.currency != currency or other.currency != currency:
                        break
                    amount = int(digits)
                    if side == b"debit":
                        one.debits_posted += amount
                        other.credits_posted += amount
                    else:
                        one.credits_posted += amount
                        other.debits_posted += amount
            if key is not None:
                code = hash(key)
                buckets[code % _BUCKETS].append(code)
            position += 1
            last_us = recorded_at_us
            push(hash_of(b"\x00" + line[8 : end - 8] + b"\n" + line[end:-1]).digest())
        else:
            index = len(lines)
        self.report.events += position - self.position
        self.position, self._recorded_at_us = position, last_us
        return index

    def _with_care(self, line: bytes, following: bytes, hashes: list[bytes], place: Place) -> None:
        """Check one line whatever it is; adds the hash of its leaf if it is in its place.

        ``following`` is the line after it.
        """
        try:
            if not _is_utf8(line):
                raise Malformed("not UTF-8")  # noqa: TRY301 - one way out
            read = parse_line(line)
        except Malformed as error:
            self._seal(hashes, place[0])
            self._unreadable(str(error), *place)
            return
        position: int | None = self.position + 1
        if read.position != position:
            position = self._misplaced(read.position, following, hashes, place)
            if position is None:
                return
        if read.position != position:
            pass  # Its time would be judged against the wrong neighbours.
        elif read.recorded_at_us < self._recorded_at_us:
            # Either of the two has a wrong time.
            what = f"event {position} was recorded before the one that stands before it"
            self.report.doubt(Finding("time", what, max(1, position - 1), position, *place))
        self._recorded_at_us = read.recorded_at_us
        if read.command_key is not None:
            self.keys.add(read.command_key)
        self._read(read, position, place)
        self.position = position
        self.report.events += 1
        hashes.append(leaf_hash(read.leaf))

    def _read(self, read: Line, position: int, place: Place) -> None:
        """Read an event as far as asked for."""
        try:
            if self.depth == "books":
                self.books.apply(read)
            elif self.depth == "entries":
                check_alone(read)
        except Malformed as error:
            self._doubt("event", f"event {position}: {error}", place, position)

    def _misplaced(
        self, found: int, following: bytes, hashes: list[bytes], place: Place
    ) -> int | None:
        """An event that is not the next one: the position at which it stands.

        Only where the next line goes on from it is it taken at its word; else its position was
        changed, or it changed places. ``None`` for one that came already, and is passed over.
        """
        expected = self.position + 1
        what = f"event {found} stands where event {expected} should"
        is_word = _position_of(following) == found + 1
        if is_word and found > expected:
            rest = f"event {expected} is"
            if found > expected + 1:
                rest = f"events {expected} to {found - 1} are"
            what = f"{rest} missing before event {found}"
        self._doubt("order", what, place, expected)
        if not is_word:
            return expected
        if found < expected:
            return None
        self._seal(hashes, place[0])
        self.seal.skip(found - 1)
        return found

    def _unreadable(self, why: str, member: str, line_no: int) -> None:
        """A line that is no event, where the next one should stand."""
        self.position += 1
        what = f"line {line_no}, where event {self.position} should stand, cannot be read: {why}"
        self._doubt("line", what, (member, line_no), self.position)
        self.seal.skip(self.position)

    def _seal(self, hashes: list[bytes], member: str) -> None:
        """Hand over what was hashed."""
        if hashes:
            self.seal.take(hashes, member)
            hashes.clear()

    def _doubt(self, kind: str, what: str, place: Place, position: int) -> None:
        """A doubt about one event."""
        self.report.doubt(Finding(kind, what, position, position, *place))


def _position_of(line: bytes) -> int | None:
    """The position that a line says, if it is an event's."""
    try:
        return parse_line(line).position
    except Malformed:
        return None


def _is_utf8(data: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
