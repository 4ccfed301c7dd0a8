"""``ledger check-token``: what a server would make of a token, and why it would refuse it."""

from pathlib import Path

import pytest
from tests.imports.conftest import Run
from tests.imports.test_cli import answer
from tests.security.issuer import AUDIENCE, ISSUER, Issuer, claims_at

from api import clock

OURS = Issuer()


@pytest.fixture
def known(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The command line of a server that knows the issuer."""
    file = tmp_path / "jwks.json"
    file.write_bytes(OURS.key_set())
    monkeypatch.setenv("LEDGER_OIDC_ISSUER", ISSUER)
    monkeypatch.setenv("LEDGER_OIDC_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("LEDGER_OIDC_JWKS", str(file))
    return run


def test_a_good_token_is_told(known: Run) -> None:
    """Who, where, as what, until when."""
    now_s = clock.now().timestamp()
    token = OURS.token(claims_at(now_s, amr=["mfa"], auth_time=now_s))
    found = answer(known("check-token", "--json", stdin=token + "\n"))
    assert (found["person"], found["ledger"], found["roles"]) == ("p-17", "main", ["teller"])
    assert (found["scopes"], found["is_bound_to_certificate"]) == (None, False)
    assert found["second_factor_at"] is not None
    assert "person:p-17 in the ledger main" in known("check-token", stdin=token)[1]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"exp": 1}, "Refused: it has expired."),
        ({"aud": "x"}, "Refused: it is for another audience."),
        ({"exp": 1e15}, "Refused: a time in it is out of range."),
    ],
)
def test_a_bad_token_is_refused_with_the_reason(
    known: Run, changes: dict[str, object], sentence: str
) -> None:
    """One sentence, and nothing of the token."""
    token = OURS.token(claims_at(clock.now().timestamp()) | changes)
    code, printed, problem = known("check-token", stdin=token)
    assert (code, printed, problem) == (1, "", f"ledger: {sentence}\n")


def test_what_is_no_token_is_refused(known: Run) -> None:
    """Empty, endless, forged."""
    forged = Issuer().token(claims_at(clock.now().timestamp()))
    for text in ("", "a.b.c", "x" * 100_000, forged):
        code, _, problem = known("check-token", stdin=text)
        assert (code, problem.startswith("ledger: Refused: ")) == (1, True)


def test_without_an_issuer_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """And where the keys cannot be read."""
    monkeypatch.delenv("LEDGER_OIDC_ISSUER", raising=False)
    assert "LEDGER_OIDC_ISSUER is not set" in run("check-token")[2]
    monkeypatch.setenv("LEDGER_OIDC_ISSUER", ISSUER)
    monkeypatch.setenv("LEDGER_OIDC_AUDIENCE", AUDIENCE)
    monkeypatch.setenv("LEDGER_OIDC_JWKS", "/no/such/file")
    assert "LEDGER_OIDC_JWKS must name a file" in run("check-token")[2]
