"""What the surroundings say about tokens: who issues them, for whom, and what in them counts.

Without ``LEDGER_OIDC_ISSUER`` no token opens anything. ``docs/authentication.md`` has the table.
"""

import msgspec

from api import surroundings
from api.outbound import OutboundError, require_address
from api.surroundings import Network, SettingError

# Signatures of a private key only: what verifies a token must not be able to make one.
ALGORITHMS_KNOWN = (
    "ES256",
    "ES384",
    "ES512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "Ed25519",
    "EdDSA",
)
ALGORITHMS_DEFAULT = ("ES256", "RS256")
SECOND_FACTORS_DEFAULT = ("mfa",)
TEXT_CHARACTERS_MAX = 500


class OidcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which tokens are taken, and what their claims mean.

    ``jwks`` is the path of a file or an https address; ``networks`` where that address may be
    beside the public Internet. ``ledger`` is the ledger of every token; ``None``: the claim
    ``ledger_claim`` names it. Claims may be reached into: ``realm_access.roles``. Roles are those
    that begin with ``role_prefix``, without it. ``scope_prefix``: a token allows no more than the
    permissions that its ``scope`` names with it; ``None``: scopes are not looked at.
    ``second_factors`` are the words of ``amr`` and ``acr`` that say more than a password.
    """

    issuer: str
    audience: str
    jwks: str
    networks: tuple[Network, ...] = ()
    authorities: str | None = None
    algorithms: tuple[str, ...] = ALGORITHMS_DEFAULT
    ledger: str | None = None
    ledger_claim: str = "ledger"
    roles_claim: str = "roles"
    role_prefix: str = ""
    person_claim: str = "sub"
    scope_prefix: str | None = None
    second_factors: tuple[str, ...] = SECOND_FACTORS_DEFAULT

    @property
    def is_remote(self) -> bool:
        """Whether the keys are at an address rather than in a file."""
        return "://" in self.jwks


def load() -> OidcSettings | None:
    """Read the settings; ``None``: no tokens.

    Raises:
        SettingError: one is malformed, or missing where an issuer is named.
    """
    issuer = surroundings.text("LEDGER_OIDC_ISSUER")
    if issuer is None:
        return None
    found = OidcSettings(
        issuer=_bounded("LEDGER_OIDC_ISSUER", issuer),
        audience=_required("LEDGER_OIDC_AUDIENCE"),
        jwks=_required("LEDGER_OIDC_JWKS"),
        networks=surroundings.networks("LEDGER_OIDC_JWKS_NETWORKS"),
        authorities=_file("LEDGER_OIDC_JWKS_CA"),
        algorithms=_algorithms(),
        ledger=surroundings.text("LEDGER_OIDC_LEDGER"),
        ledger_claim=surroundings.text("LEDGER_OIDC_LEDGER_CLAIM") or "ledger",
        roles_claim=surroundings.text("LEDGER_OIDC_ROLES_CLAIM") or "roles",
        role_prefix=surroundings.text("LEDGER_OIDC_ROLE_PREFIX") or "",
        person_claim=surroundings.text("LEDGER_OIDC_PERSON_CLAIM") or "sub",
        scope_prefix=surroundings.text("LEDGER_OIDC_SCOPE_PREFIX"),
        second_factors=surroundings.words("LEDGER_OIDC_SECOND_FACTORS", SECOND_FACTORS_DEFAULT),
    )
    if not found.is_remote:
        surroundings.file("LEDGER_OIDC_JWKS")
        return found
    try:
        require_address(found.jwks, found.networks)
    except OutboundError:
        msg = (
            "LEDGER_OIDC_JWKS must name a file, or an https:// address without user and fragment"
            " (http:// only to 127.0.0.1 or [::1], where LEDGER_OIDC_JWKS_NETWORKS names that)"
        )
        raise SettingError(msg) from None
    return found


def _algorithms() -> tuple[str, ...]:
    """The algorithms that tokens may be signed by.

    Raises:
        SettingError: one of them is none of those known.
    """
    found = surroundings.words("LEDGER_OIDC_ALGORITHMS", ALGORITHMS_DEFAULT)
    if not set(found) <= set(ALGORITHMS_KNOWN):
        msg = f"LEDGER_OIDC_ALGORITHMS must be some of {', '.join(ALGORITHMS_KNOWN)}"
        raise SettingError(msg)
    return found


def _required(variable: str) -> str:
    """The value of a variable that must be set where tokens are taken.

    Raises:
        SettingError: it is not set, or too long.
    """
    found = surroundings.text(variable)
    if found is None:
        msg = f"{variable} must be set where LEDGER_OIDC_ISSUER is"
        raise SettingError(msg)
    return _bounded(variable, found)


def _bounded(variable: str, value: str) -> str:
    """A value of a sensible length.

    Raises:
        SettingError: it is too long.
    """
    if len(value) > TEXT_CHARACTERS_MAX:
        msg = f"{variable} must have at most {TEXT_CHARACTERS_MAX} characters"
        raise SettingError(msg)
    return value


def _file(variable: str) -> str | None:
    """The path of a file that can be read.

    Raises:
        SettingError: it cannot.
    """
    found = surroundings.file(variable)
    return None if found is None else str(found)
