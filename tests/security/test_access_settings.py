"""The settings of tokens and proxies: told at the start what is wrong, without what was set."""

from pathlib import Path

import pytest
from tests.security.issuer import Issuer

from api import oidc_settings, proxy_settings, self_audit_order, surroundings
from api import settings as settings_module
from api.surroundings import SettingError


@pytest.fixture
def named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Surroundings that name an issuer with its keys in a file."""
    file = tmp_path / "jwks.json"
    file.write_bytes(Issuer().key_set())
    monkeypatch.setenv("LEDGER_OIDC_ISSUER", "https://login.bank.example")
    monkeypatch.setenv("LEDGER_OIDC_AUDIENCE", "ledger")
    monkeypatch.setenv("LEDGER_OIDC_JWKS", str(file))
    return monkeypatch


def test_without_an_issuer_there_are_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is set."""
    monkeypatch.delenv("LEDGER_OIDC_ISSUER", raising=False)
    assert oidc_settings.load() is None


def test_an_issuer_needs_an_audience_and_keys(named: pytest.MonkeyPatch) -> None:
    """A token for anybody would be one for us."""
    found = oidc_settings.load()
    assert found is not None
    assert (found.algorithms, found.second_factors) == (("ES256", "RS256"), ("mfa",))
    for variable in ("LEDGER_OIDC_AUDIENCE", "LEDGER_OIDC_JWKS"):
        with named.context() as without:
            without.delenv(variable)
            with pytest.raises(SettingError, match=f"{variable} must be set"):
                oidc_settings.load()


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LEDGER_OIDC_ALGORITHMS", "HS256"),
        ("LEDGER_OIDC_ALGORITHMS", "ES256,none"),
        ("LEDGER_OIDC_JWKS", "http://login.bank.example/keys"),
        ("LEDGER_OIDC_JWKS", "https://user:secret@login.bank.example/keys"),
        ("LEDGER_OIDC_JWKS", "/no/such/secret"),
        ("LEDGER_OIDC_JWKS_NETWORKS", "10.0.0.0/33"),
        ("LEDGER_OIDC_JWKS_NETWORKS", "10.0.0.1/8"),
        ("LEDGER_OIDC_JWKS_NETWORKS", "secret"),
        ("LEDGER_OIDC_JWKS_CA", "/no/such/secret"),
        ("LEDGER_OIDC_AUDIENCE", "secret" * 100),
        ("LEDGER_TRUSTED_PROXIES", "0.0.0.0/0"),
        ("LEDGER_TRUSTED_PROXIES", "::/0"),
        ("LEDGER_TRUSTED_PROXIES", "secret"),
    ],
)
def test_a_malformed_setting_is_named_and_not_repeated(
    named: pytest.MonkeyPatch, tmp_path: Path, variable: str, value: str
) -> None:
    """The program does not start with it."""
    named.setenv(variable, value)
    named.setenv("LEDGER_DATA_DIR", str(tmp_path))
    with pytest.raises(settings_module.SettingsError, match=variable) as problem:
        settings_module.load()
    assert "secret" not in str(problem.value)
    assert value not in str(problem.value)


def test_settings_travel_to_the_process_of_the_self_audit(
    named: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With networks and files among them; who is let in is none of its business."""
    named.setenv("LEDGER_DATA_DIR", str(tmp_path))
    named.setenv("LEDGER_TRUSTED_PROXIES", "10.0.0.0/8,::1")
    named.setenv("LEDGER_OIDC_JWKS_NETWORKS", "127.0.0.0/8")
    given = settings_module.load()
    assert given.proxies.trusted == ("10.0.0.0/8", "::1/128")
    order = self_audit_order.Order("postgresql://", 1.0, given)
    told = self_audit_order.decode(self_audit_order.encode(order))
    assert (told.settings.oidc, told.settings.proxies) == (None, given.proxies)


def test_addresses_are_of_networks_as_people_mean_it() -> None:
    """IPv4 in IPv6 is IPv4; what is no address is of none."""
    assert surroundings.is_in("::ffff:10.1.2.3", ("10.0.0.0/8",))
    assert surroundings.is_in("fe80::1%eth0", ("fe80::/10",))
    assert not surroundings.is_in("10.1.2.3", ("::/1",))
    assert not surroundings.is_in("nowhere", ("10.0.0.0/8",))
    assert proxy_settings.ProxySettings().trusted == ()
