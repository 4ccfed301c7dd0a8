"""What changed nothing is listed where it would have been, had it changed something."""

from typing import Any

import pytest

from ledger_core.unchanged import NothingChanged, names_in, tags_of


@pytest.mark.parametrize(
    ("command", "tags"),
    [
        ({"type": "close_account", "account_id": "A"}, ["account:A"]),
        (
            {"type": "link_customer", "account_id": "A", "customer_id": "ann"},
            ["account:A", "customer:ann"],
        ),
        (
            {"type": "add_to_group", "group_id": "g", "account_id": "A"},
            ["account:A", "group:g"],
        ),
        ({"type": "register_unit", "code": "PTS"}, ["unit:PTS"]),
        ({"type": "open_account", "account_id": "A", "code": "1000"}, ["account:A"]),
        ({"type": "close_period", "through": "2026-01-31"}, []),
    ],
)
def test_it_is_found_by_what_its_command_names(command: dict[str, Any], tags: list[str]) -> None:
    """Accounts, customers, groups and units; another code than a unit's names nothing."""
    assert names_in(command) == tags
    assert tags_of(NothingChanged(command)) == tags
