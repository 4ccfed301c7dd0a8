"""Lines of a file decoded together: never anything else than one by one."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from api import bulk
from api.bulk import LoadReport

GOOD = b'{"type":"close_account","key":"k","account_id":"A"}'
HALF = (
    b'{"type":"post_entry","key":"k","postings":['
    b'{"account_id":"A","side":"debit","amount":"1","currency":"EUR"}'
)
OTHER_HALF = b'{"account_id":"B","side":"credit","amount":"1","currency":"EUR"}]}'
# Fragments that make good lines, bad ones, and some that are good only together.
FRAGMENTS = (
    GOOD,
    b'{"type":"freeze_account","key":"k","account_id":"A","cause":"}\\n{","effect":"debit"}',
    HALF,
    OTHER_HALF,
    b'{"type":"open_account","key":"k","currency":"EUR","metadata":{"a":"b"}',
    b'{"type":"open_account","key":"k","currency":"EUR","metadata":{"a":"b","a":"c"}}',
    b'{"type":"open_account","key":"k","key":"k","currency":"EUR"}',
    b"}",
    b"{",
    b",",
    b"[",
    b"]",
    b" ",
    b"\r",
    b"\xff",
    b'"a":1}',
)
LINES = st.lists(
    st.lists(st.sampled_from(FRAGMENTS) | st.just(GOOD), min_size=0, max_size=3).map(b"".join),
    min_size=1,
    max_size=6,
)


def _one_by_one(lines: list[bytes]) -> tuple[list[int], list[object], LoadReport]:
    """Each line by itself."""
    report = LoadReport()
    numbers: list[int] = []
    commands: list[object] = []
    for number, line in enumerate(lines, start=1):
        # What does not begin with the command's own brace is never decoded together.
        found = bulk._decoded([(number, b" " + line)], report)  # noqa: SLF001
        numbers += found[0]
        commands += found[1]
    return numbers, commands, report


@settings(max_examples=500)
@given(texts=LINES, ends=st.booleans())
@example(texts=[HALF, OTHER_HALF, GOOD + b"," + GOOD], ends=True)
@example(texts=[HALF + b",", OTHER_HALF, GOOD + GOOD], ends=True)
@example(texts=[HALF, b"," + OTHER_HALF, GOOD + b" " + GOOD], ends=False)
def test_lines_together_are_the_lines_one_by_one(texts: list[bytes], ends: bool) -> None:  # noqa: FBT001
    """The same commands from the same lines, and the same refusals."""
    lines = [text + b"\n" for text in texts]
    if not ends:
        lines[-1] = texts[-1]
    lines = [line for line in lines if line]
    report = LoadReport()
    numbers, commands = bulk._decoded(list(enumerate(lines, start=1)), report)  # noqa: SLF001
    assert (numbers, commands, report) == _one_by_one(lines)


def test_good_lines_are_decoded_together() -> None:
    """Without which the property above would say nothing; a blank line ends it."""
    assert bulk._decoded_together([GOOD + b"\n", GOOD]) is not None  # noqa: SLF001
    assert bulk._decoded_together([GOOD + b"\n", b"\n", GOOD]) is None  # noqa: SLF001
