"""Signed notes and checkpoints: the published examples, what is refused, what is never signed."""

import base64
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from hypothesis import given
from hypothesis import strategies as st

from ledger_core import checkpoints, notes
from ledger_core.checkpoints import Checkpoint, KeyPair
from ledger_core.notes import NoteError, PublicKey

NAME = "bank.example/main"
TIME_S = 1_767_225_600
KEYS = KeyPair(
    Ed25519PrivateKey.from_private_bytes(b"e" * 32), MLDSA44PrivateKey.from_seed_bytes(b"m" * 32)
)
OTHERS = KeyPair(
    Ed25519PrivateKey.from_private_bytes(b"x" * 32), MLDSA44PrivateKey.from_seed_bytes(b"y" * 32)
)
PUBLIC = KEYS.public(NAME)
HEAD = Checkpoint(NAME, 42, sha256(b"root").digest())
NOTE = checkpoints.sign(KEYS, NAME, HEAD, TIME_S)
STATEMENT = "ledger-audit/1\nbank.example/main\n7\n"

PUBLISHED_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
PUBLISHED_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuw"
    "HjG1Yu72IneyaQM=\n"
)
"""The example of c2sp.org/signed-note."""


def test_the_published_example_is_read_as_published() -> None:
    """Key id, verifier key and signature of the specification's example are what ours make them."""
    raw = base64.b64decode(PUBLISHED_KEY.split("+", 2)[2])[1:]
    key = PublicKey("example.com/foo", "ed25519", raw)
    assert key.vkey == PUBLISHED_KEY
    note = notes.parse(PUBLISHED_NOTE)
    assert note.text == "This is an example message.\n"
    assert [(item.name, item.key_id) for item in note.signatures] == [(key.name, key.key_id)]
    Ed25519PublicKey.from_public_bytes(raw).verify(note.signatures[0].signature, note.text.encode())
    assert notes.write(note.text, note.signatures) == PUBLISHED_NOTE
    assert checkpoints.verify_statement(PUBLISHED_NOTE, [key]) == note.text


def test_a_checkpoint_has_the_form_of_its_specification() -> None:
    """Three lines, an empty one, an Ed25519 signature and a timed one by ML-DSA-44."""
    lines = NOTE.split("\n")
    assert lines[:4] == [NAME, "42", base64.b64encode(HEAD.root).decode(), ""]
    ed25519, ml_dsa_44 = notes.parse(NOTE).signatures
    assert lines[4] == f"— {NAME} {base64.b64encode(ed25519.key_id + ed25519.signature).decode()}"
    assert len(ed25519.signature) == 64
    assert ml_dsa_44.signature[:8] == TIME_S.to_bytes(8, "big")
    assert len(ml_dsa_44.signature) == 8 + 2420
    public = PUBLIC[1].raw
    expected = sha256(NAME.encode() + b"\n\x06" + public).digest()[:4]
    assert ml_dsa_44.key_id == expected
    length = bytes([len(NAME)])
    cosigned = (
        b"subtree/v1\n\0" + length + NAME.encode() + TIME_S.to_bytes(8, "big")
        + length + NAME.encode() + bytes(8) + (42).to_bytes(8, "big") + HEAD.root
    )  # fmt: skip
    MLDSA44PublicKey.from_public_bytes(public).verify(ml_dsa_44.signature[8:], cosigned)


def test_a_checkpoint_is_verified_with_the_keys_of_its_signer() -> None:
    """With both keys, or either; by others' keys beside them it is none the worse."""
    for keys in (PUBLIC, PUBLIC[:1], PUBLIC[1:], (*OTHERS.public(NAME), *PUBLIC)):
        assert checkpoints.verify(NOTE, keys) == HEAD


@pytest.mark.parametrize("keys", [(), OTHERS.public(NAME), KEYS.public("bank.example/other")])
def test_a_checkpoint_by_nobody_known_is_refused(keys: tuple[PublicKey, ...]) -> None:
    """No key, somebody else's, or the same under another name."""
    with pytest.raises(NoteError, match="no known key"):
        checkpoints.verify(NOTE, keys)


@given(st.data())
def test_any_change_of_a_checkpoint_is_refused(data: st.DataObject) -> None:
    """One bit of the note, wherever it is: it is malformed, or not signed."""
    raw = bytearray(NOTE.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        changed = raw.decode()
    except UnicodeDecodeError:
        return
    known = notes.parse(NOTE)
    try:
        checkpoint = checkpoints.verify(changed, PUBLIC)
    except NoteError:
        return
    # A line whose name or id is another's is somebody else's; the other signature holds.
    assert checkpoint == HEAD
    assert sum(item in known.signatures for item in notes.parse(changed).signatures) == 1


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        NOTE.replace("\n\n", "\n"),
        NOTE[:-1],
        NOTE.replace("—", "-"),
        NOTE.replace("42", "042"),
        NOTE.replace("42", "-1"),
        NOTE.replace("42", str(2**63)),
        NOTE.replace("\n42\n", "\n42\nextension\n"),
        NOTE.replace(NAME, "a name"),
        NOTE.replace("42\n", "42\r\n"),
        NOTE + "no signature\n",
        NOTE + "— nobody AAAA\n",
        NOTE + "— nobody !!!!!!!!\n",
        "\n" + NOTE,
    ],
)
def test_what_is_no_checkpoint_is_refused(note: str) -> None:
    """Malformed notes and texts, before any signature is looked at."""
    with pytest.raises(NoteError):
        checkpoints.parse(note)


@given(st.text(max_size=200))
def test_no_text_fails_otherwise_than_by_a_refusal(text: str) -> None:
    """Whatever is taken for a note is parsed or refused."""
    for note in (text, text + "\n\n— a AAAAAAAA\n", NOTE + text):
        try:
            parsed = notes.parse(note)
        except NoteError:
            continue
        assert notes.write(parsed.text, parsed.signatures) == note or "AAAAAAA" in note


def test_a_statement_is_signed_by_both_keys_in_a_form_of_its_own() -> None:
    """It verifies as a statement, and its ML-DSA key is known by another id than a checkpoint's."""
    note = checkpoints.sign_statement(KEYS, NAME, STATEMENT)
    for keys in (PUBLIC, PUBLIC[:1], PUBLIC[1:]):
        assert checkpoints.verify_statement(note, keys) == STATEMENT
    second = notes.parse(note).signatures[1]
    assert second.key_id != PUBLIC[1].key_id
    kind = b"\xffledger-note-ml-dsa-44/1"
    assert second.key_id == sha256(NAME.encode() + b"\n" + kind + PUBLIC[1].raw).digest()[:4]
    MLDSA44PublicKey.from_public_bytes(PUBLIC[1].raw).verify(
        second.signature, b"ledger-note-ml-dsa-44/1\n\0" + STATEMENT.encode()
    )
    with pytest.raises(NoteError):
        checkpoints.verify(note, PUBLIC)


@pytest.mark.parametrize("text", [checkpoints.body(NAME, 7, bytes(32)), "any\n7\n", "a", "a\t\n"])
def test_a_statement_is_never_a_checkpoint(text: str) -> None:
    """What could be taken for a checkpoint is not signed as a statement; nor is what is no text."""
    with pytest.raises(NoteError):
        checkpoints.sign_statement(KEYS, NAME, text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "ä", "x" * 256])
def test_no_key_has_a_name_that_breaks_its_line(name: str) -> None:
    """Blanks, plus signs, line feeds and more than 255 bytes."""
    with pytest.raises(ValueError, match="name"):
        KEYS.public(name)


def test_secrets_are_not_shown() -> None:
    """What is printed of a pair of keys tells nothing."""
    assert repr(KEYS) == "KeyPair()"
