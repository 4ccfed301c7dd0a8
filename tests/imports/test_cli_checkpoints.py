"""``ledger checkpoint``, ``prove`` and ``keys signing``: what they print, and what they refuse."""

import base64
import json
from pathlib import Path

import pytest
from tests.imports.conftest import Run

from ledger_core import checkpoints, merkle, proofs
from ledger_core.notes import PublicKey

BANK = '{"type": "open_account", "key": "a", "account_id": "A", "currency": "EUR"}'
MORE = '{"type": "open_account", "key": "b", "account_id": "B", "currency": "EUR"}'


@pytest.fixture
def keys(run: Run) -> list[PublicKey]:
    """A ledger with one account, and its public keys."""
    assert run("load", "-", stdin=BANK)[0] == 0
    document = json.loads(run("keys", "signing", "--json")[1])
    return [
        PublicKey(key["name"], key["algorithm"], base64.b64decode(key["public_key"]))
        for key in document["keys"]
    ]


def test_a_checkpoint_is_printed_as_it_was_signed(
    run: Run, keys: list[PublicKey], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What is printed verifies, is the document's note, and is published once."""
    file = tmp_path / "published.txt"
    monkeypatch.setenv("LEDGER_CHECKPOINT_FILE", str(file))
    code, printed, _ = run("checkpoint")
    assert code == 0
    size = checkpoints.verify(printed, keys).size
    document = json.loads(run("checkpoint", "--json")[1])
    assert (document["note"], document["size"]) == (printed, size)
    assert file.read_text() == printed + "\n"
    assert run("load", "-", stdin=MORE)[0] == 0
    assert checkpoints.verify(run("checkpoint")[1], keys).size == size + 1
    assert checkpoints.verify(run("checkpoint", "--size", "1")[1], keys).size == 1


def test_what_cannot_be_published_is_told_and_no_failure(
    run: Run, keys: list[PublicKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is signed all the same."""
    monkeypatch.setenv("LEDGER_CHECKPOINT_FILE", "/dev/null/file")
    code, printed, complaint = run("checkpoint")
    assert (code, "not published" in complaint) == (0, True)
    checkpoints.verify(printed, keys)


def test_an_event_is_proven(run: Run, keys: list[PublicKey]) -> None:
    """The document and the text prove the same event."""
    receipt = json.loads(run("prove", "1", "--json")[1])
    signed = checkpoints.verify(receipt["checkpoint"], keys)
    leaf = merkle.leaf_hash(receipt["leaf"].encode())
    path = [base64.b64decode(item) for item in receipt["proof"]]
    assert proofs.verify_inclusion(leaf, 0, signed.size, path, signed.root)
    text = run("prove", "1")[1]
    assert text.startswith("c2sp.org/tlog-proof@v1\nextra ")
    assert text.endswith(receipt["checkpoint"])


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("prove", "0"), 1, "1 or more"),
        (("prove", "99"), 1, "no event at that position"),
        (("prove", "x"), 2, ""),
        (("checkpoint", "--size", "99"), 1, "ends at position"),
        (("checkpoint", "--size", "-1"), 1, "0 or more"),
        (("checkpoint", "--log", "others"), 2, ""),
        (("checkpoint", "--ledger", "nobodys"), 1, "no ledger with that name"),
        (("keys", "signing", "--ledger", "nobodys"), 1, "no ledger with that name"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    run: Run, keys: list[PublicKey], arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    """Exit code 1 for what is refused, 2 for a wrong call; never a traceback."""
    assert keys
    found, _, complaint = run(*arguments)
    assert found == code
    assert sentence in complaint.lower()
    assert "Traceback" not in complaint


def test_keys_are_changed_and_old_checkpoints_still_verify(run: Run, keys: list[PublicKey]) -> None:
    """The list grows by two; the next checkpoint is by the new ones alone."""
    first = run("checkpoint")[1]
    document = json.loads(run("keys", "rotate-signing", "--json")[1])
    assert len(document["keys"]) == 4
    assert run("keys", "signing")[1].count("+") >= 8
    assert run("load", "-", stdin=MORE)[0] == 0
    second = run("checkpoint")[1]
    checkpoints.verify(first, keys)
    with pytest.raises(ValueError, match="no known key"):
        checkpoints.verify(second, keys)
