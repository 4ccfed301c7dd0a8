"""Whose word counts: the keys that the auditor trusts, and the checkpoints the auditor kept."""

from collections.abc import Sequence
from dataclasses import dataclass

from ledger_verify.findings import Finding, Report, shown
from ledger_verify.notes import (
    Checkpoint,
    Key,
    checkpoint_signers,
    missing_algorithms,
    note_signers,
    parse_checkpoint,
    parse_note,
    signs_for,
)
from ledger_verify.plain import Malformed


@dataclass(frozen=True, slots=True)
class Held:
    """A checkpoint that the auditor kept: the name of its file, and its bytes."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Trust:
    """What the auditor brings along; ``keys`` are ``None`` where none were given."""

    keys: Sequence[Key] | None
    held: Sequence[Held]


def use_keys(report: Report, given: Sequence[Key] | None, found: Sequence[Key]) -> Sequence[Key]:
    """The keys with which signatures are checked: the given ones, else those that were found."""
    keys = found if given is None else given
    if given is not None:
        report.is_trusted = "yes"
        report.keys_from = "given"
    elif found:
        report.keys_from = "input"
        report.skip(
            "who signed: signatures were checked with the keys in the input itself, and whoever"
            " made the input made these keys, too; give --keys with keys from elsewhere"
        )
    report.keys += [
        {"name": shown(key.name), "algorithm": key.algorithm, "key_id": key.key_id.hex()}
        for key in keys
    ]
    return keys


def read_checkpoint(
    report: Report, name: str, data: bytes, keys: Sequence[Key], origin: str | None
) -> Checkpoint | None:
    """A checkpoint of that log that every algorithm of its keys signed; else a doubt."""
    try:
        checkpoint = parse_checkpoint(data)
        if origin is not None and checkpoint.origin != origin:
            raise Malformed(f"it is of another log, {shown(checkpoint.origin)}")  # noqa: TRY301 - one way out
        signers = checkpoint_signers(checkpoint, keys)
        _require_all(checkpoint.origin, keys, [key for key, _ in signers])
    except Malformed as error:
        report.doubt(Finding("checkpoint", f"{shown(name)}: {error}", member=shown(name)))
        return None
    return checkpoint


def read_held(
    report: Report, trust: Trust, keys: Sequence[Key], origin: str | None
) -> list[tuple[str, Checkpoint]]:
    """The checkpoints that the auditor kept, each signed as it should be; else a doubt.

    Without any key they count as they are: the auditor knows where they came from.
    """
    found: list[tuple[str, Checkpoint]] = []
    for held in trust.held:
        if keys:
            checkpoint = read_checkpoint(report, held.name, held.data, keys, origin)
        else:
            checkpoint = _unsigned(report, held, origin)
        if checkpoint is not None:
            found.append((held.name, checkpoint))
    return found


def statement_text(
    report: Report, data: bytes, keys: Sequence[Key], origin_line: int
) -> list[str] | None:
    """The lines of a signed statement that is no checkpoint; else a doubt.

    ``origin_line`` is the line, from 0, that names the log.
    """
    try:
        note = parse_note(data)
        lines = note.text[:-1].split("\n")
        if len(lines) <= origin_line:
            raise Malformed("a statement that names no log")  # noqa: TRY301 - one way out
        origin = lines[origin_line]
        _require_all(origin, keys, note_signers(note, keys))
    except Malformed as error:
        report.doubt(Finding("statement", str(error)))
        return None
    return lines


def _require_all(origin: str, keys: Sequence[Key], signers: Sequence[Key]) -> None:
    """Each algorithm of the log's keys signed.

    Raises:
        Malformed: one did not, or no key is the log's.
    """
    if not any(signs_for(key, origin) for key in keys):
        raise Malformed(f"none of the keys is of the log {shown(origin)}")
    missing = missing_algorithms(origin, keys, signers)
    if missing:
        raise Malformed(f"not signed with {' and '.join(missing)} by a known key")


def _unsigned(report: Report, held: Held, origin: str | None) -> Checkpoint | None:
    """A kept checkpoint whose signature nobody can check."""
    try:
        checkpoint = parse_checkpoint(held.data)
        if origin is not None and checkpoint.origin != origin:
            raise Malformed(f"it is of another log, {shown(checkpoint.origin)}")  # noqa: TRY301 - one way out
    except Malformed as error:
        name = shown(held.name)
        report.doubt(Finding("checkpoint", f"{name}: {error}", member=name))
        return None
    report.skip(f"the signatures of your checkpoint {shown(held.name)}: no key was given")
    return checkpoint
