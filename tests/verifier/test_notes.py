"""Signed notes, checkpoints and keys: as C2SP has them, and nothing else."""

import base64
from dataclasses import replace
from typing import Any

import pytest
from tests.verifier.archives import KEYS, ORIGIN, keys_document

from ledger_core import checkpoints
from ledger_core.checkpoints import Checkpoint
from ledger_verify.notes import (
    checkpoint_signers,
    missing_algorithms,
    note_signers,
    parse_checkpoint,
    parse_keys,
    parse_note,
    parse_vkey,
)
from ledger_verify.plain import Malformed

VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXpp"
    "zi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
KNOWN = tuple(parse_keys(keys_document(KEYS)))


def signed(size: int = 7, origin: str = ORIGIN) -> bytes:
    """A checkpoint that the ledger signed."""
    return checkpoints.sign(KEYS, ORIGIN, Checkpoint(origin, size, bytes(32)), 5).encode()


def test_the_example_of_the_specification() -> None:
    """The note and the key that C2SP signed-note gives as its example."""
    key = parse_vkey(VKEY)
    note = parse_note(NOTE.encode())
    assert note_signers(note, [key]) == [key]
    changed = parse_note(NOTE.replace("example message", "example massage").encode())
    with pytest.raises(Malformed, match="signature"):
        note_signers(changed, [key])


def test_both_signatures_of_a_checkpoint() -> None:
    """What the ledger signs is verified by both algorithms, with the time of the second."""
    found = checkpoint_signers(parse_checkpoint(signed()), KNOWN)
    assert [(key.algorithm, moment) for key, moment in found] == [
        ("ed25519", None),
        ("ml-dsa-44", 5),
    ]


@pytest.mark.parametrize("changed", [{"size": 8}, {"root": bytes(31) + b"1"}, {"origin": "x"}])
def test_every_part_of_a_checkpoint_is_signed(changed: dict[str, Any]) -> None:
    """A checkpoint that says something else is refused under either signature."""
    checkpoint = parse_checkpoint(signed())
    for key in KNOWN:
        text = checkpoint.note.text
        other = replace(
            checkpoint,
            **changed,
            note=replace(checkpoint.note, text="x" + text if key.kind == 1 else text),
        )
        with pytest.raises(Malformed, match="signature"):
            checkpoint_signers(other, [key])


def test_signatures_by_others_are_ignored() -> None:
    """Somebody else's signature neither helps nor harms; without a known one, one is missing."""
    line = "— somebody.example/else " + base64.b64encode(bytes(68)).decode() + "\n"
    checkpoint = parse_checkpoint(signed() + line.encode())
    signers = [key for key, _ in checkpoint_signers(checkpoint, KNOWN)]
    assert missing_algorithms(ORIGIN, KNOWN, signers) == []
    assert missing_algorithms(ORIGIN, KNOWN, signers[:1]) == ["ml-dsa-44"]
    assert missing_algorithms("elsewhere", KNOWN, signers) == ["any"]


def test_the_access_log_is_signed_by_the_same_keys() -> None:
    """A log under the name of another is signed with its keys."""
    checkpoint = parse_checkpoint(signed(origin=ORIGIN + "/access"))
    signers = [key for key, _ in checkpoint_signers(checkpoint, KNOWN)]
    assert missing_algorithms(ORIGIN + "/access", KNOWN, signers) == []


def test_statements() -> None:
    """A statement that is no checkpoint is signed in a form of its own by both keys."""
    text = f"ledger-audit/1\n{ORIGIN}\n7\n"
    note = parse_note(checkpoints.sign_statement(KEYS, ORIGIN, text).encode())
    assert [key.algorithm for key in note_signers(note, KNOWN)] == ["ed25519", "ml-dsa-44"]
    for key in KNOWN:
        with pytest.raises(Malformed, match="signature"):
            note_signers(replace(note, text=text + "more\n"), [key])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"text\n",
        b"text\n\n",
        b"text\n\n- name c2ln\n",
        "text\n\n— name c2ln".encode(),
        "text\n\n— name !!!!\n".encode(),
        "text\n\n— na me c2lnbmF0dXJl\n".encode(),
        "te\x00xt\n\n— name c2lnbmF0dXJl\n".encode(),
        "te\rxt\n\n— name c2lnbmF0dXJl\n".encode(),
        b"te\xffxt\n\n",
        "text\n\n— name YQ==\n".encode(),
        "text\n\n— name c2lnbmF0dXI=\n".replace("I=", "J=").encode(),
        b"a" * 2_000_000,
    ],
)
def test_what_is_no_note(data: bytes) -> None:
    """Anything else is refused, and never with another error."""
    with pytest.raises(Malformed):
        parse_note(data)


@pytest.mark.parametrize(
    "body",
    [
        "origin\n1\n",
        "origin\n01\n{root}\n",
        "origin\n-1\n{root}\n",
        "origin\n9223372036854775808\n{root}\n",
        "origin\n" + "9" * 5_000 + "\n{root}\n",
        "origin\n1\nAAAA\n",
        "origin\n1\n{root}\nextension\n",
        "\n1\n{root}\n",
    ],
)
def test_what_is_no_checkpoint(body: str) -> None:
    """A checkpoint is exactly origin, size and root."""
    text = body.format(root=base64.b64encode(bytes(32)).decode())
    with pytest.raises(Malformed):
        parse_checkpoint(f"{text}\n— name c2lnbmF0dXJl\n".encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"format":"ledger-keys/1","keys":[]}',
        b'{"format":"ledger-keys/1","keys":[3]}',
        b"\xff\xfe",
        b"not a key",
        VKEY.replace("530d903a", "530d903b").encode(),
        VKEY.replace("Aeky", "BWky").encode(),
        keys_document(KEYS).replace(b"ml-dsa-44", b"ml-dsa-65"),
        keys_document(KEYS).replace(b'"key_id": "7', b'"key_id": "8'),
    ],
)
def test_what_are_no_keys(data: bytes) -> None:
    """A file of keys is all right or refused."""
    with pytest.raises(Malformed):
        parse_keys(data)


def test_keys_in_either_form() -> None:
    """A document and its verifier keys, one a line, are the same keys."""
    lines = "\n".join(
        f"{key.name}+{key.key_id.hex()}+{base64.b64encode(bytes([key.kind]) + key.public).decode()}"
        for key in KNOWN
    )
    assert tuple(parse_keys(f"# of the bank\n{lines}\n".encode())) == KNOWN
