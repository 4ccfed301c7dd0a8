"""The lines of an exported log: an event's leaf and data, as they were hashed.

A line holds both halves of the leaf verbatim, so its bytes are cut out and never encoded anew. The
patterns take the usual form of a line in one step; everything else is read with care.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ledger_verify.merkle import SIZE_MAX
from ledger_verify.plain import Malformed, is_list, parse_json

LINE_BYTES_MAX = 64 << 20
"""More than any event takes: one with a thousand postings has some 200 kB."""

LEAF = b'{"leaf":'
DATA = b',"data":'
TEXT = b',"text":'
FIELDS = 7
"""Position, time, type, version, command key, actor, tags."""

_S = rb'"[^"\\\x00-\x1f]*+"'
HEADER = re.compile(
    rb'\{"leaf":\[([1-9][0-9]{0,18}),(0|[1-9][0-9]{0,18}),"([A-Za-z]{1,64})",([1-9][0-9]{0,4}),'
    rb'(?:null|"([^"\\\x00-\x1f]*+)"),'
    + _S
    + rb",\[(?:"
    + _S
    + rb"(?:,"
    + _S
    + rb')*+)?+\]\],"data":'
)
"""The beginning of a line whose texts need no escape: position, time, type, version, key."""

ENTRY = re.compile(
    rb'\{"kind":"(?:deposit|withdrawal|transfer|journal|allocation|template|exchange)",'
    rb'"postings":\[\{"account_id":"([^"\\\x00-\x1f]++)","side":"(debit|credit)",'
    rb'"amount_minor":([1-9][0-9]{0,35}),"currency":"([^"\\\x00-\x1f]++)"\},'
    rb'\{"account_id":"([^"\\\x00-\x1f]++)","side":"(?!\2)(?:debit|credit)",'
    rb'"amount_minor":\3,"currency":"\4"\}\]'
    rb'(?:,"value_date":"[0-9]{4}-[0-9]{2}-[0-9]{2}")?+'
    + rb"".join(
        rb'(?:,"' + name + rb'":' + _S + rb")?+"
        for name in (b"entry_id", b"reference", b"description", b"channel", b"code")
    )
    + rb"(?:,\"template\":"
    + _S
    + rb")?+\}\}\Z"
)
"""The rest of a line that is a balanced entry of two postings, as the ledger itself writes it:
account, side, amount and currency of the first posting, account of the second."""


@dataclass(frozen=True, slots=True)
class Line:
    """An event of the log: the columns that are checked, and its leaf's bytes in two halves."""

    position: int
    recorded_at_us: int
    kind: str
    version: int
    command_key: str | None
    header: bytes
    data: bytes

    @property
    def leaf(self) -> bytes:
        """The bytes that were hashed."""
        return self.header + b"\n" + self.data


def parse_line(line: bytes) -> Line:
    """An event behind its line, without the line's end.

    Raises:
        Malformed: not a line of an exported log.
    """
    if not line.startswith(LEAF) or not line.endswith(b"}"):
        raise Malformed("not a line of an exported log")
    usual = HEADER.match(line)
    if usual is not None:
        position, at_us, kind, version, key = usual.groups()
        if int(position) <= SIZE_MAX:
            try:
                name, named = kind.decode(), None if key is None else key.decode()
            except UnicodeDecodeError:
                raise Malformed("not UTF-8") from None
            return Line(
                int(position),
                int(at_us),
                name,
                int(version),
                named,
                line[len(LEAF) : usual.end() - len(DATA)],
                line[usual.end() : -1],
            )
    at, text_at = line.find(DATA), line.find(TEXT)
    if at < 0 or 0 <= text_at < at:
        return _with_text(line, text_at)
    header, data = line[len(LEAF) : at], line[at + len(DATA) : -1]
    return parse_leaf(header, data)


def split_leaf(leaf: bytes) -> Line:
    """An event behind its leaf: the header's line, then the data.

    Raises:
        Malformed: not the leaf of an event.
    """
    header, line_end, data = leaf.partition(b"\n")
    if not line_end:
        raise Malformed("a leaf without a header's line")
    return parse_leaf(header, data)


def parse_leaf(header: bytes, data: bytes) -> Line:
    """An event behind the two halves of its leaf.

    Raises:
        Malformed: the header is not that of an event.
    """
    if b"\n" in header:
        raise Malformed("a leaf whose header has more than one line")
    columns = parse_json(header)
    if not is_list(columns) or len(columns) != FIELDS:
        raise Malformed(f"a leaf whose header is no array of {FIELDS}")
    position, recorded_at_us, kind, version, key, actor, tags = columns
    if type(position) is not int or not 1 <= position <= SIZE_MAX:
        raise Malformed("a position that is no whole number from 1")
    if type(recorded_at_us) is not int or abs(recorded_at_us) > SIZE_MAX:
        raise Malformed("a time of recording that is no whole number of microseconds")
    if type(version) is not int or not isinstance(kind, str) or not isinstance(actor, str):
        raise Malformed("a type, version or actor of another form")
    if key is not None and not isinstance(key, str):
        raise Malformed("a command key that is no string")
    if not is_list(tags):
        raise Malformed("tags that are no array")
    if not all(isinstance(tag, str) for tag in tags):
        raise Malformed("a tag that is no string")
    return Line(position, recorded_at_us, kind, version, key, header, data)


def tags_of(line: Line) -> list[object]:
    """What an event is about.

    Raises:
        Malformed: its header is not that of an event.
    """
    columns = parse_json(line.header)
    tags = columns[-1] if is_list(columns) and columns else None
    if not is_list(tags):
        raise Malformed("tags that are no array")
    return tags


def whole_lines(blocks: Iterator[bytes]) -> Iterator[tuple[bytes | None, bytes]]:
    """Whole lines, many at a time, without the end of the last; at last what has no line end.

    The first part is ``None`` the last time, when the second is what is left, mostly nothing.

    Raises:
        Malformed: a line longer than any event.
    """
    rest = b""
    for block in blocks:
        cut = block.rfind(b"\n")
        if cut < 0:
            rest += block
            if len(rest) > LINE_BYTES_MAX:
                raise Malformed(f"a line of more than {LINE_BYTES_MAX} bytes")
            continue
        yield rest + block[:cut], b""
        rest = block[cut + 1 :]
    yield None, rest


def _with_text(line: bytes, at: int) -> Line:
    """A line whose data holds a line feed, and is therefore told as a JSON string."""
    if at < 0:
        raise Malformed("a line with neither data nor text")
    text = parse_json(line[at + len(TEXT) : -1])
    if not isinstance(text, str):
        raise Malformed("a text that is no string")
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a text that cannot be stored") from None
    return parse_leaf(line[len(LEAF) : at], data)
