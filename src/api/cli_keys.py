"""``ledger keys …``: API keys. Who works here has the database: what keys may is not bounded.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from api.cli_support import (
    DEFAULT_LEDGER,
    Common,
    Failed,
    answer,
    catch_up,
    open_runtime,
    record_read,
    writing_runtime,
)

if TYPE_CHECKING:
    from datetime import datetime

    from cyclopts import App

    from api.api_keys import ApiKey, CreatedKey
    from api.runtime import Runtime

OVERLAP_HOURS = 24


def register(keys_app: App) -> None:
    """Add the commands to those of ``ledger keys``."""
    keys_app.command(create)
    keys_app.command(list_keys, name="list")
    keys_app.command(rotate)
    keys_app.command(revoke)


def create(  # noqa: PLR0913 - the options of a key
    role: str,
    /,
    *,
    name: str = "cli",
    days: int | None = None,
    person: str | None = None,
    permission: list[str] | None = None,
    scope: list[str] | None = None,
    rate: float | None = None,
    certificate: Path | None = None,
    common: Common | None = None,
) -> None:
    """Make an API key of ROLE (reader, teller, auditor, … or one of your own); it is shown once.

    Parameters
    ----------
    name
        What the key is for.
    days
        After how many days it expires.
    person
        Who acts by it, in approvals; without, the key itself.
    permission
        What that person may approve beside what ROLE may; as often as need be.
    scope
        Narrow the key to a permission of ROLE, as accounts.read or accounts.*; as often as need be.
    rate
        How many requests a second it may send.
    certificate
        A file with the client certificate (PEM) without which it opens nothing.
    """
    from api import cli_reads, clock
    from api.api_keys import NewKey

    common = common or Common()
    with writing_runtime() as runtime:
        # A mistyped name must not make a ledger; the default one may be there before its first use.
        is_default = common.ledger == DEFAULT_LEDGER
        ledger_id = (runtime.create_ledger if is_default else runtime.ledger_id)(common.ledger)
        new = NewKey(
            role=role,
            name=name,
            expires_at=_after(clock.now(), days),
            person=person,
            permissions=permission or (),
            scopes=scope or None,
            rate_per_s=rate,
            certificate_sha256=_thumbprint(certificate),
            created_by=cli_reads.actor(),
        )
        with _refusals():
            _require_role(runtime, ledger_id, role)
            made = runtime.make_key(ledger_id, new)
        with _ended_unless_recorded(runtime, ledger_id, made):
            record_read(runtime, ledger_id, common, "create_key", f"key:{made.key_id}")
    answer(common, _made(made, role, common), made.text)


def list_keys(*, common: Common | None = None) -> None:
    """The ledger's API keys, without their secrets."""
    from api import api_keys, clock

    common = common or Common()
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        record_read(runtime, ledger_id, common, "list_keys")
        with runtime.connect("ledger_reader") as connection:
            found = api_keys.list_keys(connection, ledger_id)
    now = clock.now()
    answer(
        common,
        [_shown(key, now) for key in found],
        "\n".join(_line(key, now) for key in found) or "No keys.",
    )


def rotate(
    key_id: str,
    /,
    *,
    overlap_hours: float = OVERLAP_HOURS,
    days: int | None = None,
    common: Common | None = None,
) -> None:
    """Make a key that replaces KEY_ID, which holds a while longer; the new one is shown once.

    Parameters
    ----------
    overlap_hours
        How long the old key goes on to hold.
    days
        After how many days the new one expires; without, it is good for as long as the old one was.
    """
    from api import api_keys, cli_reads, clock

    common = common or Common()
    at = clock.now()
    with writing_runtime() as runtime, _refusals():
        ledger_id = runtime.ledger_id(common.ledger)
        with runtime.connect("ledger_reader") as connection:
            key = api_keys.find(connection, ledger_id, key_id)
        if key is None or not key.is_valid(at):
            msg = "There is no active key of that id."
            raise Failed(msg)
        until = api_keys.overlap_end(at, round(overlap_hours * 3_600))
        new = api_keys.successor(
            key, expires_at=_after(at, days), created_by=cli_reads.actor(), at=at
        )
        record_read(runtime, ledger_id, common, "rotate_key", f"key:{key_id}")
        made = runtime.replace_key(ledger_id, new, until)
    if made is None:
        msg = "That key was rotated already: rotate the one that replaced it."
        raise Failed(msg)
    answer(
        common,
        _made(made, new.role, common) | {"replaces": key_id, "replaced_until": until},
        made.text,
    )


def revoke(key_id: str, /, *, common: Common | None = None) -> None:
    """Make an API key invalid, at once and for good."""
    from api import api_keys, clock

    common = common or Common()
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        record_read(runtime, ledger_id, common, "revoke_key", f"key:{key_id}")
        with runtime.connect("ledger_writer") as connection:
            if not api_keys.revoke(connection, ledger_id, key_id, clock.now()):
                msg = "There is no active key of that id."
                raise Failed(msg)
    answer(common, {"key_id": key_id, "revoked": True}, "Revoked.")


def _require_role(runtime: Runtime, ledger_id: int, role: str) -> None:
    """The ledger has a role of that name.

    Raises:
        Failed: it has not; the message names those that there are.
    """
    from api import role_book

    catch_up(runtime, ledger_id)
    with runtime.connect("ledger_reader") as connection:
        known = role_book.read(connection, ledger_id)
    if role not in known:
        msg = f"There is no role of that name; there are: {', '.join(sorted(known))}."
        raise Failed(msg)


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in a sentence why a key may not be like that."""
    from api.api_keys import KeyRefused

    try:
        yield
    except KeyRefused as refusal:
        msg = f"{refusal.rule[0].upper()}{refusal.rule[1:]}."
        raise Failed(msg) from None


@contextmanager
def _ended_unless_recorded(runtime: Runtime, ledger_id: int, made: CreatedKey) -> Iterator[None]:
    """End a new key, which nobody has seen yet, if it cannot be recorded that it was made."""
    from api import api_keys, clock

    try:
        yield
    except Failed:
        with runtime.connect("ledger_writer") as connection:
            api_keys.revoke(connection, ledger_id, made.key_id, clock.now())
        raise


def _made(made: CreatedKey, role: str, common: Common) -> dict[str, object]:
    """A new key as a document."""
    return {"key": made.text, "key_id": made.key_id, "role": role, "ledger": common.ledger}


def _shown(key: ApiKey, at: datetime) -> dict[str, object]:
    """A key as a document."""
    certificate = key.certificate_sha256
    return {
        "key_id": key.key_id,
        "role": key.role,
        "name": key.name,
        "person": key.person,
        "permissions": list(key.permissions),
        "scopes": None if key.scopes is None else list(key.scopes),
        "status": key.status(at),
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "replaces": key.replaces,
        "rate_per_s": key.rate_per_s,
        "certificate_sha256": None if certificate is None else certificate.hex(),
    }


def _line(key: ApiKey, at: datetime) -> str:
    """A key on one line."""
    used = "never used" if key.last_used_at is None else f"used {key.last_used_at:%Y-%m-%d %H:%M}"
    return (
        f"{key.key_id}  {key.role:8} {key.status(at):8} {key.name}"
        f"  {key.person if key.given_person else '-'}  {','.join(key.permissions) or '-'}"
        f"  {'-' if key.scopes is None else ','.join(key.scopes)}  {used}"
    )


def _after(at: datetime, days: int | None) -> datetime | None:
    """So many days later.

    Raises:
        Failed: it is not a number of days that can be.
    """
    from datetime import timedelta

    days_max = 36_500
    if days is None:
        return None
    if not 1 <= days <= days_max:
        msg = f"--days is a number from 1 to {days_max}."
        raise Failed(msg)
    return at + timedelta(days=days)


def _thumbprint(file: Path | None) -> bytes | None:
    """The SHA-256 of the certificate in a file.

    Raises:
        Failed: there is none.
    """
    import hashlib
    import ssl

    if file is None:
        return None
    try:
        der = ssl.PEM_cert_to_DER_cert(file.read_text())
    except OSError as error:
        msg = f"{file}: {error.strerror}"
        raise Failed(msg) from None
    except ValueError:
        msg = "--certificate is a file with one certificate in PEM."
        raise Failed(msg) from None
    return hashlib.sha256(der).digest()
