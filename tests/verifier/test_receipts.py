"""Receipts, evidence bundles, self-audits and checkpoints, each by itself."""

import base64
import json

import pytest
from tests.verifier.archives import (
    KEYS,
    ORIGIN,
    Members,
    keys_document,
    line_of,
    manifest,
    path,
    relisted,
)
from tests.verifier.checks import export, verify

from ledger_core import checkpoints
from ledger_verify.findings import Report
from ledger_verify.merkle import leaf_hash, root_of

SIZE = 70


def document(position: int = 33) -> bytes:
    """A receipt."""
    return json.dumps(export(1, 100).receipt(position, SIZE)).encode()


def text(position: int = 33) -> bytes:
    """The same as C2SP tlog-proof has it."""
    receipt = export(1, 100).receipt(position, SIZE)
    proof = receipt["proof"]
    assert isinstance(proof, list)
    leaf = base64.b64encode(str(receipt["leaf"]).encode()).decode()
    lines = ["c2sp.org/tlog-proof@v1", f"extra {leaf}", f"index {position - 1}", *proof]
    return ("\n".join(lines) + f"\n\n{receipt['checkpoint']}").encode()


def bundle(positions: list[int]) -> Members:
    """An evidence bundle of some events."""
    made = export(1, 100)
    hashes = [leaf_hash(leaf) for leaf in made.leaves[:SIZE]]
    head = {
        "format": "ledger-evidence/1",
        "subject": {"kind": "account", "id": "A"},
        "origin": ORIGIN,
        "size": SIZE,
    }
    proofs = [
        {
            "position": position,
            "proof": [base64.b64encode(node).decode() for node in path(hashes, position - 1)],
        }
        for position in positions
    ]
    members = {
        "evidence.json": json.dumps(head).encode(),
        "keys.json": keys_document(KEYS),
        "events.jsonl": b"".join(line_of(made.leaves[position - 1]) for position in positions),
        "proofs.jsonl": b"".join(json.dumps(proof).encode() + b"\n" for proof in proofs),
        f"checkpoints/{SIZE}.txt": made.checkpoint(SIZE),
        "report.txt": b"For people.\n",
    }
    return members | {"manifest.json": manifest(members, SIZE, root_of(hashes))}


def audit(findings: int = 0, position: int = SIZE) -> bytes:
    """A self-audit's statement."""
    hashes = [leaf_hash(leaf) for leaf in export(1, 100).leaves[:SIZE]]
    root = base64.b64encode(root_of(hashes)).decode()
    lines = ["ledger-audit/1", ORIGIN, str(position), root, str(findings)]
    lines += ["2026-03-02T09:30:00+00:00", "full", "0" * 64]
    return checkpoints.sign_statement(KEYS, ORIGIN, "\n".join(lines) + "\n").encode()


def kinds(report: Report) -> list[str]:
    """What is in doubt."""
    return [found.kind for found in report.findings]


@pytest.mark.parametrize("position", [1, 2, 33, 64, 65, SIZE])
def test_a_receipt_in_either_form(position: int) -> None:
    """A receipt proves its event, as a document and as text."""
    for data in (document(position), text(position)):
        report = verify(data)
        assert (report.verdict, report.subject) == ("proven", "receipt"), report.findings
        assert report.first_position == position


def test_a_receipt_without_keys_proves_nothing() -> None:
    """Without keys nobody's signature can be checked."""
    assert kinds(verify(document(), keys=None)) == ["keys"]


def test_every_bit_of_a_receipt_counts() -> None:
    """Whatever character of a receipt is another, it is no proof any more."""
    for data in (document(), text()):
        for at in range(0, len(data), 7):
            changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            assert verify(changed).verdict == "doubt", (at, data[at - 9 : at + 9])


def test_a_receipt_of_another_position() -> None:
    """A leaf proves only the position that it names."""
    receipt = json.loads(document())
    assert kinds(verify(json.dumps(receipt | {"position": 34}).encode())) == ["proof"]


def test_a_receipt_and_a_kept_checkpoint() -> None:
    """The same one is recognised; of another size nothing can be told, and that is said."""
    made = export(1, 100)
    assert not verify(document(), [made.checkpoint(SIZE)]).findings
    assert kinds(verify(document(), [made.checkpoint(SIZE - 1)])) == ["uncompared"]
    assert kinds(verify(document(), [export(2, 100).checkpoint(SIZE)])) == ["checkpoint"]


def test_a_bundle() -> None:
    """Every event of a bundle is proven; that nothing is left out is said not to be."""
    report = verify(bundle([1, 9, 33, 70]), [export(1, 100).checkpoint(SIZE)])
    assert (report.verdict, report.subject, report.events) == ("proven", "evidence", 4)
    assert any("left out" in line for line in report.unchecked)


def test_a_changed_bundle() -> None:
    """An event, a proof or an order that is another is named."""
    good = bundle([1, 9, 33])
    lines = good["events.jsonl"].splitlines(keepends=True)
    changed = lines[1].replace(b'"actor', b'"other').replace(b"teller", b"tellar")
    changed = changed if changed != lines[1] else lines[1].replace(b"clerk", b"clark")
    changed = changed if changed != lines[1] else lines[1].replace(b"boss", b"bass")
    report = verify(relisted(good | {"events.jsonl": lines[0] + changed + lines[2]}))
    assert (kinds(report), report.first_bad) == (["proof"], (9, 9))
    report = verify(relisted(good | {"events.jsonl": lines[0] + lines[2]}))
    assert "proof" in kinds(report)
    proofs = good["proofs.jsonl"].splitlines(keepends=True)
    mixed = {"events.jsonl": lines[1] + lines[0], "proofs.jsonl": proofs[1] + proofs[0]}
    assert kinds(verify(relisted(good | mixed))) == ["order"]
    assert kinds(verify(good | {"report.txt": b"Other.\n"})) == ["manifest"]


def test_a_self_audit() -> None:
    """A statement is proven if it says that nothing was found, and fits a kept checkpoint."""
    made = export(1, 100)
    assert verify(audit(), [made.checkpoint(SIZE)]).verdict == "proven"
    assert kinds(verify(audit(3))) == ["audit"]
    assert kinds(verify(audit(position=71), [made.checkpoint(71)])) == ["checkpoint"]
    assert kinds(verify(audit().replace(b"\n0\n", b"\n1\n", 1))) == ["statement"]
    assert kinds(verify(audit(), keys=None)) == ["keys"]


def test_a_checkpoint_alone() -> None:
    """A checkpoint is what the ledger signed, and the one that was kept, or another."""
    made = export(1, 100)
    assert verify(made.checkpoint(SIZE), [made.checkpoint(SIZE)]).verdict == "proven"
    assert kinds(verify(made.checkpoint(SIZE), [made.checkpoint(9)])) == ["uncompared"]
    assert kinds(verify(export(2, 100).checkpoint(9), [made.checkpoint(9)])) == ["checkpoint"]
