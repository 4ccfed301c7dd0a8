"""Receipts: that one event stands in the log at its position, proven without the rest of the log.

Takes ``ledger-receipt/1`` documents and the text form of C2SP tlog-proof, whose ``extra`` line has
the leaf's bytes.
"""

import re
from dataclasses import dataclass

from ledger_verify.books import check_alone
from ledger_verify.findings import Finding, Report, shown
from ledger_verify.lines import split_leaf
from ledger_verify.merkle import is_included, leaf_hash
from ledger_verify.notes import Checkpoint
from ledger_verify.plain import (
    Malformed,
    from_base64,
    hash_from_base64,
    list_of,
    number_of,
    parse_object,
    require_format,
    text_of,
)
from ledger_verify.trust import Trust, read_checkpoint, read_held, use_keys

PATH_MAX = 63
TLOG_PROOF = b"c2sp.org/tlog-proof@v1\n"

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a receipt says: a leaf's bytes at a position, the path to a root, a checkpoint."""

    origin: str | None
    position: int
    leaf: bytes
    path: list[bytes]
    checkpoint: bytes


def check_receipt(report: Report, data: bytes, trust: Trust) -> None:
    """Check a receipt in either form."""
    try:
        receipt = _from_text(data) if data.startswith(TLOG_PROOF) else from_document(data)
    except Malformed as error:
        report.doubt(Finding("receipt", str(error)))
        return
    report.first_position = report.last_position = receipt.position
    keys = use_keys(report, trust.keys, ())
    if not keys:
        report.doubt(Finding("keys", "no key was given: nobody's signature can be checked"))
        return
    checkpoint = read_checkpoint(report, "checkpoint", receipt.checkpoint, keys, receipt.origin)
    if checkpoint is None:
        return
    report.origin, report.root = shown(checkpoint.origin), checkpoint.root.hex()
    report.check(f"the signatures of the checkpoint of {checkpoint.size} events")
    check_leaf(report, receipt.position, receipt.leaf, receipt.path, checkpoint)
    for name, held in read_held(report, trust, keys, checkpoint.origin):
        _compare_held(report, shown(name), held, checkpoint)
    report.skip("whether later checkpoints continue this one: ask for an export, or for a proof")


def check_leaf(
    report: Report, position: int, leaf: bytes, path: list[bytes], checkpoint: Checkpoint
) -> None:
    """Check that a leaf is the event at a position of the tree that a checkpoint is of."""
    try:
        line = split_leaf(leaf)
        if line.position != position:
            raise Malformed(f"the leaf is that of position {line.position}")  # noqa: TRY301 - one way out
        if not is_included(leaf_hash(leaf), position - 1, checkpoint.size, path, checkpoint.root):
            raise Malformed("the proof does not lead to the checkpoint's root")  # noqa: TRY301 - one way out
        check_alone(line)
    except Malformed as error:
        report.doubt(Finding("proof", f"event {position}: {error}", position, position))
        return
    report.events += 1
    if report.subject == "receipt":
        report.check(
            f"that event {position} ({shown(line.kind)}) stands in the log of"
            f" {checkpoint.size} events, byte for byte"
        )


def path_of(values: list[object]) -> list[bytes]:
    """A proof's hashes.

    Raises:
        Malformed: too many, or one that is no hash.
    """
    if len(values) > PATH_MAX:
        raise Malformed(f"a proof of more than {PATH_MAX} hashes")
    return [hash_from_base64(value) for value in values]


def from_document(data: bytes) -> Receipt:
    """A receipt behind its JSON document.

    Raises:
        Malformed: it is not of the form.
    """
    document = parse_object(data)
    require_format(document, "ledger-receipt/1")
    try:
        leaf = text_of(document, "leaf").encode("utf-8")
        checkpoint = text_of(document, "checkpoint").encode("utf-8")
    except UnicodeEncodeError:
        raise Malformed("a text that cannot be stored") from None
    return Receipt(
        origin=text_of(document, "origin"),
        position=number_of(document, "position", least=1),
        leaf=leaf,
        path=path_of(list_of(document, "proof")),
        checkpoint=checkpoint,
    )


def _from_text(data: bytes) -> Receipt:
    """A receipt behind its text.

    Raises:
        Malformed: it is not of the form, or does not have the leaf.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    proof, blank, checkpoint = text.partition("\n\n")
    if not blank:
        raise Malformed("no blank line before the checkpoint")
    lines = proof.split("\n")[1:]
    if not lines or not lines[0].startswith("extra "):
        raise Malformed("no extra line, in which the leaf's bytes should be")
    leaf = from_base64(lines[0].removeprefix("extra "))
    index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
    if index is None:
        raise Malformed("no line with the index")
    return Receipt(None, int(index[1]) + 1, leaf, path_of(list(lines[2:])), checkpoint.encode())


def _compare_held(report: Report, name: str, held: Checkpoint, checkpoint: Checkpoint) -> None:
    """Hold a receipt's checkpoint against one that the auditor kept."""
    if held.size != checkpoint.size:
        what = (
            f"{name} is of {held.size} events and the receipt's checkpoint of {checkpoint.size}:"
            " a receipt cannot tell whether one continues the other; check an export with it"
        )
        report.doubt(Finding("uncompared", what))
    elif held.root != checkpoint.root:
        what = f"{name} and the receipt's checkpoint are of one size and have two roots"
        report.doubt(Finding("checkpoint", what))
    else:
        report.check(f"the receipt's checkpoint is the one that you kept ({name})")
