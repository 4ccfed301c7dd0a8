"""An identity provider for tests: its keys, its key set, and the tokens that it signs or forges."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from joserfc import jwk, jws

from api.oidc_settings import OidcSettings

ISSUER = "https://login.bank.example"
AUDIENCE = "ledger"

Json = dict[str, Any]


class Issuer:
    """Signs tokens by an elliptic-curve key named ``one``."""

    def __init__(self, key_id: str = "one") -> None:
        """Make its key."""
        self.key_id = key_id
        self.key = jwk.ECKey.generate_key("P-256")

    def key_set(self, *others: Mapping[str, Any]) -> bytes:
        """Its key set, with other keys in it."""
        own = self.key.as_dict(private=False, kid=self.key_id, use="sig")
        return json.dumps({"keys": [own, *others]}).encode()

    def token(self, claims: Mapping[str, Any], **header: Any) -> str:  # noqa: ANN401 - header's values
        """A token with these claims; ``header`` changes or adds to what its header says."""
        said = {"alg": "ES256", "kid": self.key_id, "typ": "at+jwt", **header}
        said = {name: value for name, value in said.items() if value is not None}
        return self.signed(json.dumps(said), json.dumps(claims))

    def signed(self, header: str, claims: str) -> str:
        """A token of these very texts, signed by ES256 whatever the header says."""
        text = f"{encoded(header.encode())}.{encoded(claims.encode())}"
        algorithm = jws.JWSRegistry.algorithms["ES256"]
        return f"{text}.{encoded(algorithm.sign(text.encode(), self.key))}"


def encoded(value: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(value).decode().rstrip("=")


def claims_at(now_s: float, **others: Any) -> Json:  # noqa: ANN401 - claims may be anything
    """The claims of a teller's token that was made a minute ago; ``None`` leaves one out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "p-17",
        "iat": now_s - 60,
        "exp": now_s + 600,
        "ledger": "main",
        "roles": ["teller"],
        **others,
    }
    return {name: value for name, value in claims.items() if value is not None}


def settings(jwks: str = "jwks.json", **others: Any) -> OidcSettings:  # noqa: ANN401 - any setting
    """Settings that take the tokens of the issuer."""
    return OidcSettings(issuer=ISSUER, audience=AUDIENCE, jwks=jwks, **others)
