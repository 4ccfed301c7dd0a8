"""Who holds the wrapping keys of this program: a file, the environment, or HashiCorp Vault.

Each is a ``ledger_core.key_provider.KeyProvider``.
"""

import structlog

from api.key_providers.files import read_keys
from api.key_settings import KeySettings
from api.surroundings import SettingError
from ledger_core.key_provider import KeyProvider, Ring

_log = structlog.get_logger("ledger.keys")


def provider_of(settings: KeySettings, given: bytes) -> KeyProvider:
    """The provider that the settings name; ``given`` is the key where they name none.

    Raises:
        SettingError: a file of keys cannot be read, or Vault's client is not installed.
        VaultError: a key has the wrong length.
    """
    match settings.provider:
        case "given":
            return Ring([given])
        case "environment":
            return Ring(settings.keys)
        case "file":
            return _file_ring(settings)
        case "vault":
            return _vault(settings)


def _file_ring(settings: KeySettings) -> Ring:
    """The keys of the file, read again when a key turns up that is not known.

    Raises:
        SettingError: they cannot be read.
    """
    file = settings.file
    if file is None:
        msg = "there is no file of keys"
        raise SettingError(msg)
    first = read_keys(file)

    def load() -> tuple[bytes, ...]:
        """The keys as they are now; those of the start where the file cannot be read."""
        try:
            return read_keys(file)
        except SettingError as error:
            _log.error("the file of keys cannot be read again", reason=str(error))
            return first

    return Ring(first, load)


def _vault(settings: KeySettings) -> KeyProvider:
    """Vault, and whatever keys wrapped before it.

    Raises:
        SettingError: its client is not installed, or an older key cannot be read.
    """
    try:
        from api.key_providers.vault_transit import VaultTransit  # noqa: PLC0415 - an extra
    except ModuleNotFoundError:
        msg = "LEDGER_KEY_PROVIDER=vault needs the extra: pip install 'ledger-core[vault]'"
        raise SettingError(msg) from None
    if settings.vault is None:
        msg = "there is no Vault to ask"
        raise SettingError(msg)
    older = [*settings.keys, *(read_keys(settings.file) if settings.file is not None else ())]
    return VaultTransit(settings.vault, Ring(older) if older else None)
