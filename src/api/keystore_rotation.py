"""Care of the key store: another wrapping key, and erasures carried out once more.

An erasure destroys a data key in the database; copies of it, wrapped, may still lie in backups, in
PostgreSQL's write-ahead log and in dead rows. With the old wrapping key gone these are noise.
Personal data itself is not touched: only the data keys are wrapped anew, while servers go on. They
learn of the new key when they first meet something that it wrapped, or find another in use.
"""

import os
from collections.abc import Callable
from datetime import datetime

from api import clock
from api.key_providers import provider_of
from api.settings import Settings, SettingsError, new_wrapping_key, wrapping_key_files
from ledger_core import rewrapping
from ledger_core.blind_index import BlindIndex
from ledger_core.database import connect
from ledger_core.key_provider import KEY_BYTES, KeyProvider, key_id_of
from ledger_core.vault import Vault

_FORGOTTEN = (
    "SELECT ledger_id, data->>'subject' AS subject, max(recorded_at) FROM ledger.events"
    " WHERE type IN ('CustomerErased', 'ApprovalRejected', 'ApprovalWithdrawn', 'ApprovalFailed',"
    " 'ApprovalCompleted') AND data->>'subject' IS NOT NULL GROUP BY 1, 2"
)

Progress = Callable[[int], None]


class RotationRefused(RuntimeError):  # noqa: N818 - like the other refusals of the command line
    """The key cannot be changed now; the message says why."""


def rotate(
    settings: Settings, database_url: str, at: datetime, progress: Progress | None = None
) -> int:
    """Make a new wrapping key, wrap all data keys by it, give up the others; how many there are.

    Interrupted, it may be called again: a new key in a file is kept beside the old one until the
    end.

    Raises:
        RotationRefused: new keys are not for this program to make.
        SettingsError: the new key cannot be written.
        VaultError: a data key opens with no key that is known; none was retired.
        LedgerBusy: Vault cannot be reached.
    """
    match settings.keys.provider:
        case "file":
            return _rotate_file(settings, database_url, at, progress)
        case "vault":
            provider = provider_of(settings.keys, settings.key_encryption_key)
            _rotate_vault(provider)
            return _rewrapped(provider, database_url, at, progress)
        case _:
            msg = (
                "The key comes from LEDGER_KEY_ENCRYPTION_KEY: put a new one in front of it, with a"
                " comma between them, and call ledger keystore rewrap."
            )
            raise RotationRefused(msg)


def rewrap(
    settings: Settings, database_url: str, at: datetime, progress: Progress | None = None
) -> int:
    """Wrap all data keys by the preferred key and give up the others; how many there are.

    For keys that somebody else changes: in the environment, or in Vault.

    Raises:
        VaultError, LedgerBusy: as ``rotate``.
    """
    provider = provider_of(settings.keys, settings.key_encryption_key)
    return _rewrapped(provider, database_url, at, progress)


def destroy_erased(database_url: str) -> int:
    """Destroy every key that the log says was destroyed; how many there still were.

    And all by which these persons could be found. For after a key store was brought back from a
    copy that is older than an erasure.
    """
    with connect(database_url, "ledger_writer") as connection, connection.transaction():
        BlindIndex.forget_erased(connection)
        return sum(
            Vault.destroy_subject(connection, ledger_id, subject, recorded_at)
            for ledger_id, subject, recorded_at in connection.execute(_FORGOTTEN).fetchall()
        )


def _rotate_file(
    settings: Settings, database_url: str, at: datetime, progress: Progress | None
) -> int:
    """A new key beside the old one, then in its place.

    Raises:
        As ``rotate``.
    """
    current, fresh = wrapping_key_files(settings.data_dir)
    target = key_id_of(new_wrapping_key(fresh))
    provider = provider_of(settings.keys, settings.key_encryption_key)
    with connect(database_url, "ledger_writer") as connection:
        count = rewrapping.rewrap(connection, provider, target, at, progress)
    try:
        os.replace(fresh, current)  # noqa: PTH105 - says what happens: the old key is gone
    except OSError as error:
        msg = f"the new key is in force but cannot be put in the place of {current}: {error}"
        raise SettingsError(msg) from None
    return count


def _rotate_vault(provider: KeyProvider) -> None:
    """A new version of Vault's key.

    Raises:
        RotationRefused: Vault does not let us make one.
        LedgerBusy: Vault cannot be reached.
    """
    from api.key_providers.vault_transit import (  # noqa: PLC0415 - an extra
        RotationForbiddenError,
        VaultTransit,
    )

    assert isinstance(provider, VaultTransit)  # noqa: S101 - what the setting names
    try:
        provider.rotate()
    except RotationForbiddenError:
        msg = (
            "Vault does not let this program rotate its key: have it rotated there, then call"
            " ledger keystore rewrap."
        )
        raise RotationRefused(msg) from None


def _rewrapped(
    provider: KeyProvider, database_url: str, at: datetime, progress: Progress | None
) -> int:
    """Wrap everything by the key that the provider prefers.

    Raises:
        VaultError, LedgerBusy: as ``rotate``.
    """
    # What it wraps by is seen by what it wraps: a key that nobody will use.
    target = provider.wrap([clock.random_bytes(KEY_BYTES)], None)[0].key_id
    with connect(database_url, "ledger_writer") as connection:
        return rewrapping.rewrap(connection, provider, target, at, progress)
