"""What the kept logs tell: commands of every type, most of which all versions know.

A version that does not know a command refuses its line, which is no fault: what it wrote is kept.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Command = Mapping[str, Any]

ACCOUNTS = 12
TRANSFERS = 60


def commands() -> Iterator[Command]:
    """The commands, in order, each with its key."""
    for number, command in enumerate(_all()):
        yield {"key": f"kept-{number:03}", **command}


def later() -> Iterator[Command]:
    """Commands for the version that goes on with a kept log."""
    for number in range(1, 9):
        yield {**_transfer(number, 10 + number), "key": f"later-{number}"}
    yield {"type": "set_limit", "account_id": "a3", "limit": "5000", "key": "later-limit"}
    yield {"type": "close_account", "account_id": "spare", "key": "later-close"}


def _all() -> Iterator[Command]:
    """Everything, without keys."""
    yield from _customers()
    yield from _accounts()
    for number in range(TRANSFERS):
        yield _transfer(number, 1 + number * 7 % 90)
    yield from _holds()
    yield from _rules()
    yield from _terms()
    yield from _late()


def _customers() -> Iterator[Command]:
    """Customers, whose profiles are sealed; one is forgotten again."""
    yield _typed("register_customer", customer_id="ann", profile={"name": "Ann Kept"})
    yield _typed("register_customer", customer_id="ben", profile={"name": "Ben Kept"})
    yield _typed("register_customer", customer_id="cay", profile={"name": "Cay Kept"})
    yield _typed(
        "change_profile", customer_id="ann", changes={"language": "de"}, reason="asked for"
    )
    yield _typed("erase_customer", customer_id="cay", reason="asked for")


def _accounts() -> Iterator[Command]:
    """Accounts with money on them, in two currencies; one for nothing."""
    for number in range(ACCOUNTS):
        yield _typed(
            "open_account", account_id=f"a{number}", currency="EUR", customer_id="ann", name="kept"
        )
        yield _typed("deposit", account_id=f"a{number}", amount="100000", currency="EUR")
    yield _typed("open_account", account_id="spare", currency="EUR")
    yield _typed("open_account", account_id="dollars", currency="USD", limit=None)
    yield _typed("open_account", account_id="euros", currency="EUR", limit=None)


def _holds() -> Iterator[Command]:
    """Holds: captured in part, voided, open."""
    for number in range(1, 4):
        yield _typed(
            "place_hold",
            hold_id=f"h{number}",
            debit_account_id=f"a{number}",
            credit_account_id="a0",
            amount="500",
            currency="EUR",
        )
    yield _typed("capture_hold", hold_id="h1", amount="200", entry_id="captured")
    yield _typed("void_hold", hold_id="h2")


def _rules() -> Iterator[Command]:
    """Groups, templates, policies, orders, risk rules, roles, units."""
    yield _typed("create_group", group_id="g", name="group", currency="EUR", limit="0")
    yield _typed("add_to_group", group_id="g", account_id="a4")
    yield _typed("add_to_group", group_id="g", account_id="a5")
    yield _typed("remove_from_group", group_id="g", account_id="a5")
    yield _typed("register_unit", code="MILES", scale=0, name="Miles")
    yield _typed("set_risk_rule", rule="large_movement", parameters={"amount": 15000})
    yield _typed("set_role", name="kept", permissions=["accounts.read"])
    yield _typed(
        "create_order",
        order_id="rent",
        schedule={"first_date": "2031-01-31", "unit": "month"},
        command=_transfer(6, 700),
    )
    yield _typed(
        "set_approval_policy",
        policy_id="large",
        commands=["transfer"],
        approvers=["risk"],
        currency="EUR",
        above="90000",
    )


def _terms() -> Iterator[Command]:
    """What an account's terms become: limits, blocks, holders; entries of several postings."""
    yield _typed("set_limit", account_id="a7", limit="2500", reason="agreed")
    yield _typed("freeze_account", account_id="a8", cause="compliance", effect="debit")
    yield _typed("freeze_account", account_id="a9", cause="police", effect="full")
    yield _typed("unfreeze_account", account_id="a9", cause="police", effect="full")
    yield _typed("link_customer", account_id="a7", customer_id="ben", role="joint")
    yield _typed(
        "post_entry",
        entry_id="many",
        reference="invoice 1",
        postings=[
            {"account_id": "a1", "side": "debit", "amount": "30", "currency": "EUR"},
            {"account_id": "a2", "side": "credit", "amount": "10", "currency": "EUR"},
            {"account_id": "a3", "side": "credit", "amount": "20", "currency": "EUR"},
        ],
    )
    yield _typed("reverse_entry", reverses="many", description="twice")
    yield _typed("withdraw", account_id="a1", amount="77", currency="EUR")
    # What was refused is kept as well: by versions that record refusals.
    yield {**_transfer(10, 10_000_000), "description": "far too much"}


def _late() -> Iterator[Command]:
    """A period that was closed."""
    yield _typed("close_period", through="2020-12-31", reason="year's end")


def _transfer(number: int, amount: int) -> Command:
    """A transfer between two of the accounts."""
    return _typed(
        "transfer",
        debit_account_id=f"a{number % 6}",
        credit_account_id=f"a{(number + 1) % 6}",
        amount=str(amount),
        currency="EUR",
    )


def _typed(kind: str, **fields: object) -> Command:
    """A command."""
    return {"type": kind, **fields}
