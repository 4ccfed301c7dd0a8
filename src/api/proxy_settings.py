"""What the surroundings say about proxies: which of them are believed, and about what.

``LEDGER_TRUSTED_PROXIES``: the networks that proxies speak from. Only what comes from there may say
by ``X-Forwarded-For`` where a request came from, and by ``Client-Cert`` (RFC 9440) which client
certificate the proxy was shown and found good. From anywhere else both are ignored.
"""

import msgspec

from api import surroundings
from api.surroundings import Network, SettingError


class ProxySettings(msgspec.Struct, frozen=True):
    """The networks of the proxies that are believed; none: nobody is."""

    trusted: tuple[Network, ...] = ()


def load() -> ProxySettings:
    """Read the settings.

    Raises:
        SettingError: one is malformed, or would trust everybody.
    """
    trusted = surroundings.networks("LEDGER_TRUSTED_PROXIES")
    if any(network.endswith("/0") for network in trusted):
        msg = "LEDGER_TRUSTED_PROXIES must not be every address there is"
        raise SettingError(msg)
    return ProxySettings(trusted)
