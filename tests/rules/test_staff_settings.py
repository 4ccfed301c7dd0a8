"""How long staff stay logged in and where passkeys are used, as the environment says it."""

import pytest

from api import staff_settings
from api.surroundings import SettingError


def test_without_a_word_a_laptop_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A quarter of an hour idle, a day's work, passkeys of localhost."""
    for name in ("IDLE_S", "S"):
        monkeypatch.delenv(f"LEDGER_SESSION_{name}", raising=False)
    for name in ("ORIGINS", "HOST"):
        monkeypatch.delenv(f"LEDGER_PASSKEY_{name}", raising=False)
    found = staff_settings.load()
    assert (found.idle_s, found.session_s) == (900, 28_800)
    assert (found.passkey_host, found.passkey_origins) == ("localhost", ("http://localhost:8000",))


def test_origins_have_one_host_or_are_in_one_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is that of the first origin, unless a domain is named that all are in."""
    monkeypatch.setenv("LEDGER_PASSKEY_ORIGINS", "https://desk.bank.example:8443")
    assert staff_settings.load().passkey_host == "desk.bank.example"
    both = "https://desk.bank.example,https://audit.bank.example"
    monkeypatch.setenv("LEDGER_PASSKEY_ORIGINS", both)
    monkeypatch.setenv("LEDGER_PASSKEY_HOST", "bank.example")
    found = staff_settings.load()
    assert (found.passkey_host, len(found.passkey_origins)) == ("bank.example", 2)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LEDGER_SESSION_IDLE_S", "0"),
        ("LEDGER_SESSION_IDLE_S", "59"),
        ("LEDGER_SESSION_IDLE_S", "15m"),
        ("LEDGER_SESSION_S", "604801"),
        ("LEDGER_PASSKEY_ORIGINS", "http://desk.bank.example"),
        ("LEDGER_PASSKEY_ORIGINS", "https://desk.bank.example/"),
        ("LEDGER_PASSKEY_ORIGINS", "https://user@desk.bank.example"),
        ("LEDGER_PASSKEY_ORIGINS", "https://desk.bank.example:port"),
        ("LEDGER_PASSKEY_ORIGINS", "https://DESK.bank.example"),
        ("LEDGER_PASSKEY_ORIGINS", "desk.bank.example"),
        ("LEDGER_PASSKEY_HOST", "bank.example"),
    ],
)
def test_anything_else_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """The message says which setting."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=name):
        staff_settings.load()
