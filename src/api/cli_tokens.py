"""``ledger check-token``: what a server would make of a token, with the reason where it is refused.

A server tells nobody why a token is refused; whoever runs it is told here. The token comes by
standard input: arguments are for everybody on the machine to see.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from api.cli_support import Common, Failed, answer

if TYPE_CHECKING:
    from cyclopts import App

    from api.oidc_settings import OidcSettings
    from api.tokens import Claims


def register(app: App) -> None:
    """Add the command to the program's."""
    app.command(check_token, name="check-token")


def check_token(*, common: Common | None = None) -> None:
    """Say what a token on standard input allows to be known, or why it is refused (exit code 1).

    The settings (LEDGER_OIDC_…) are those of the server; its keys are read anew.
    """
    from datetime import UTC, datetime

    from api import oidc_settings, surroundings
    from api.tokens import TOKEN_CHARACTERS_MAX

    try:
        given = oidc_settings.load()
    except surroundings.SettingError as problem:
        raise Failed(str(problem)) from None
    if given is None:
        msg = "No tokens are taken: LEDGER_OIDC_ISSUER is not set."
        raise Failed(msg)
    token = sys.stdin.read(TOKEN_CHARACTERS_MAX + 100).strip()
    claims = _believed(token, given)
    expires_at = datetime.fromtimestamp(claims.expires_s, UTC)
    factor_s = claims.second_factor_s
    shown = {
        "person": claims.person,
        "ledger": claims.ledger,
        "roles": list(claims.roles),
        "scopes": None if claims.scopes is None else list(claims.scopes),
        "expires_at": expires_at,
        "second_factor_at": None if factor_s is None else datetime.fromtimestamp(factor_s, UTC),
        "is_bound_to_certificate": claims.certificate_sha256 is not None,
    }
    scopes = "" if claims.scopes is None else f", within {' '.join(claims.scopes) or 'nothing'}"
    text = (
        f"Good until {expires_at:%Y-%m-%d %H:%M:%S} UTC: person:{claims.person} in the ledger"
        f" {claims.ledger}, roles {', '.join(claims.roles) or 'none'}{scopes}."
    )
    answer(common or Common(), shown, text)


def _believed(token: str, given: OidcSettings) -> Claims:
    """What a token says, as a server would believe it.

    Raises:
        Failed: it would not, or the keys cannot be read.
    """
    from api import clock, jwks
    from api.tokens import TokenRefused, claims_of, header_of, verified

    try:
        keys = jwks.read(given)
        header = header_of(token, given.algorithms)
        return claims_of(verified(token, header, keys.get(header.key_id)), given, clock.now())
    except jwks.JwksError as problem:
        msg = f"The issuer's keys cannot be used: {problem}."
        raise Failed(msg) from None
    except TokenRefused as refusal:
        msg = f"Refused: {refusal}."
        raise Failed(msg) from None
