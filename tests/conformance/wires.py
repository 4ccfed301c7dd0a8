"""A case's operations as commands of this ledger: what an integrator would send.

Every command here is one of the public ones, under its ``type``. What a case leaves to the ledger
(the currency of a posting, an idempotency key) is filled in as an integrator would.
"""

from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from tests.conformance.cases import Json
from tests.conformance.legs import accounts_in, legs_of
from tests.conformance.vocabulary import amount_text

_SIDES = {"dr": "debit", "cr": "credit", "debit": "debit", "credit": "credit"}
_EFFECTS = {"send": "debit", "receive": "credit", "both": "full", "all": "full"}
_OPERATORS = {"neq": "ne", "not_eq": "ne"}
_UNLIMITED = frozenset({"unlimited", "unbounded"})
# Who splits as Numscript does gives what rounding leaves over to the first legs.
_FIRST_LEGS = ("formance", "numscript")


class Wire(msgspec.Struct, frozen=True):
    """A command ready to be sent: its ``type``, its fields without the key, its key.

    ``label`` is the id under which the case speaks of what the command makes.
    """

    type: str
    body: Json
    key: str
    label: str | None = None

    @property
    def item(self) -> Json:
        """The command as an item of a batch."""
        return {"type": self.type, "key": self.key, **self.body}


class Names(Protocol):
    """What a translation must know of the case so far."""

    def unit(self, op: Json, *accounts: str) -> str | None:
        """The currency that an operation means for these accounts."""

    def key(self, op: Json, scope: str) -> str:
        """The operation's idempotency key."""

    def chosen(self, op: Json) -> str | None:
        """The id that the operation chooses for what it makes."""

    def known(self, label: str) -> str:
        """The ledger's id for what the case calls so."""

    def account(self, label: str, unit: object = None) -> str:
        """The ledger's id of an account, in a unit where one is named."""

    def value_date(self, op: Json) -> str | None:
        """The day on which an operation counts, where that is not simply today."""

    def version(self, account: str, version: Any) -> Any:  # noqa: ANN401 - a case may say anything
        """This ledger's version of an account, for the case's."""

    @property
    def source(self) -> str:
        """Where the case comes from."""


def wire_of(op: Json, names: Names) -> Wire:
    """The command that an operation is.

    Raises:
        KeyError: the operation is no command; see ``is_command``.
    """
    return _TRANSLATIONS[op["op"]](op, names)


def is_command(op: Json) -> bool:
    """Whether an operation is one command, which may stand in a batch."""
    return op.get("op") in _TRANSLATIONS


def limit_text(overdraft: object) -> str | None:
    """How far below zero an account may go, as a command writes it."""
    return None if overdraft in _UNLIMITED else amount_text(overdraft or 0)


def terms_of(account: Json) -> Json:
    """The type and limits of an account with the case's terms.

    A credit-normal account is a liability, a debit-normal one an asset; a case's bounds are on
    credits less debits, so they are a liability's.
    """
    limit, overdraft = account.get("limit"), account.get("overdraft")
    if account.get("bounds") is not None:
        least, most = account["bounds"].get("min"), account["bounds"].get("max")
        return {
            "account_type": "liability",
            "limit": None if least is None else str(-int(least)),
            "ceiling": None if most is None else str(int(most)),
        }
    match limit:
        case "debits<=credits":
            return {"account_type": "liability", "limit": limit_text(overdraft)}
        case "credits<=debits":
            return {"account_type": "asset", "limit": limit_text(overdraft)}
        case None if overdraft is not None and "limit" not in account:
            return {"account_type": "liability", "limit": limit_text(overdraft)}
        case None:
            return {"account_type": "liability", "limit": None}
        case _:
            # Not one of the forms that a limit has: the ledger is asked all the same.
            return {"account_type": "liability", "limit": limit}


def _open(op: Json, names: Names) -> Wire:
    """Open an account; balances that are claimed for it are sent along, and refused."""
    body: Json = {"account_id": op["id"], **terms_of(op), "currency": names.unit(op)}
    if any(op.get("balance") or ()):
        body["balance"] = op["balance"]
    return Wire("open_account", body | _said(op), names.key(op, "open"), op["id"])


def _post(op: Json, names: Names) -> Wire:
    """A transfer, a hold, or an entry of several legs."""
    if op.get("legs") is not None:
        return _entry(op, names, [line for leg in op["legs"] for line in _both_sides(leg)])
    debit, credit = op.get("dr"), op.get("cr")
    body: Json = {
        "debit_account_id": debit,
        "credit_account_id": credit,
        "amount": amount_text(op.get("amt")),
        "currency": names.unit(op, *(str(name) for name in (debit, credit) if name is not None)),
        **_said(op),
        **_conditions(op, names),
    }
    if op.get("balancing"):
        body["balancing"] = op["balancing"]
    is_hold = bool(op.get("pending"))
    if op.get("timeout_s"):
        body["timeout_s"] = op["timeout_s"]
    if op.get("multi_capture"):
        body["multi_capture"] = True
    if is_hold:
        return _wire("place_hold", op, names, body | _chosen(op, names, "hold_id"))
    body |= _chosen(op, names, "entry_id") | _dated(op, names)
    return _wire("transfer", op, names, body)


def _journal(op: Json, names: Names) -> Wire:
    """An entry of postings, each on its side."""
    return _entry(op, names, [(*leg, None)[:4] for leg in op["entries"]])


def _entry(op: Json, names: Names, legs: list[Any]) -> Wire:
    """An entry of legs: account, side, amount, and the unit where one is named."""
    everyone = [leg[0] for leg in legs]
    postings = [
        {
            "account_id": names.account(account, unit),
            "side": _SIDES.get(side, side),
            "amount": amount_text(amount),
            "currency": names.unit(op if unit is None else {"unit": unit}, account, *everyone),
        }
        for account, side, amount, unit in legs
    ]
    body = {"postings": postings, **_said(op), **_conditions(op, names)}
    return _wire("post_entry", op, names, body | _chosen(op, names, "entry_id") | _dated(op, names))


def _both_sides(leg: list[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The two postings of a movement from one account to another."""
    debit, credit, amount, *unit = leg
    named = unit[0] if unit else None
    return (debit, "debit", amount, named), (credit, "credit", amount, named)


def _capture(op: Json, names: Names) -> Wire:
    """Settle a hold, in part or whole."""
    body = _of_hold(op, names) | _said(op) | _conditions(op, names)
    body |= _chosen(op, names, "entry_id") | _dated(op, names)
    return _wire("capture_hold", op, names, body)


def _void(op: Json, names: Names) -> Wire:
    """Release a hold."""
    body = _of_hold(op, names)
    if "code" in op:
        body["code"] = _code(op["code"])
    return _wire("void_hold", op, names, body)


def _of_hold(op: Json, names: Names) -> Json:
    """The hold, how much of it, and what the operation says that it is."""
    body: Json = {"hold_id": names.known(op["of"]), "amount": amount_text(op.get("amt", "all"))}
    for said, field in (("dr", "debit_account_id"), ("cr", "credit_account_id")):
        if op.get(said) is not None:
            body[field] = op[said]
    if op.get("book") is not None or op.get("unit") is not None:
        body["currency"] = names.unit(op)
    return body


def _reverse(op: Json, names: Names) -> Wire:
    """Mirror an entry."""
    body: Json = {"reverses": names.known(op["of"]), **_said(op), **_conditions(op, names)}
    body |= _chosen(op, names, "entry_id")
    if op.get("at_effective"):
        body["on_original_date"] = True
    else:
        body |= _dated(op, names)
    return _wire("reverse_entry", op, names, body)


def _allocate(op: Json, names: Names) -> Wire:
    """Split an amount over sources and destinations."""
    body: Json = {
        "amount": amount_text(op.get("amt")),
        "currency": names.unit(op, *accounts_in(op["sources"])),
        "sources": legs_of(op["sources"]),
        "destinations": legs_of(op["destinations"]),
        **_said(op),
        **_conditions(op, names),
    }
    if any(word in names.source.lower() for word in _FIRST_LEGS):
        body["rounding"] = "first"
    body |= _chosen(op, names, "entry_id") | _dated(op, names)
    return _wire("allocate", op, names, body)


def _set_limit(op: Json, names: Names) -> Wire:
    """Change an account's limits."""
    terms = terms_of({"limit": "debits<=credits"} | op)
    body = {name: value for name, value in terms.items() if name != "account_type"}
    return _wire("set_limit", op, names, {"account_id": _account(op, names), **body})


def _close(op: Json, names: Names) -> Wire:
    """Close an account."""
    return _wire("close_account", op, names, {"account_id": _account(op, names)})


def _reopen(op: Json, names: Names) -> Wire:
    """Open a closed account again."""
    return _wire("reopen_account", op, names, {"account_id": _account(op, names)})


def _block(op: Json, names: Names) -> Wire:
    """Block a side of an account, or all of it."""
    effect = str(op.get("effect", "full"))
    body = {"cause": op.get("cause", op["op"]), "effect": _EFFECTS.get(effect, effect)}
    return _wire("freeze_account", op, names, {"account_id": _account(op, names), **body})


def _unblock(op: Json, names: Names) -> Wire:
    """Lift what a cause blocks."""
    body: Json = {"cause": op.get("cause", op["op"].removeprefix("un"))}
    if op.get("effect") is not None:
        body["effect"] = _EFFECTS.get(op["effect"], op["effect"])
    return _wire("unfreeze_account", op, names, {"account_id": _account(op, names), **body})


_TRANSLATIONS: dict[str, Callable[[Json, Names], Wire]] = {
    "open": _open,
    "post": _post,
    "journal": _journal,
    "capture": _capture,
    "void": _void,
    "reverse": _reverse,
    "allocate": _allocate,
    "set_limit": _set_limit,
    "close_account": _close,
    "reopen_account": _reopen,
    "block": _block,
    "unblock": _unblock,
    "freeze": _block,
    "unfreeze": _unblock,
}

# What a repetition is known by: movements share one space of ids, as they do in most ledgers.
_MOVEMENTS = frozenset(
    {"transfer", "place_hold", "post_entry", "capture_hold", "void_hold", "reverse_entry"}
    | {"allocate"}
)


def _wire(kind: str, op: Json, names: Names, body: Json) -> Wire:
    """The command with its key."""
    scope = "id" if kind in _MOVEMENTS else op["op"]
    label = op.get("id") if kind in _MOVEMENTS else None
    return Wire(kind, body, names.key(op if label else {"key": op.get("key")}, scope), label)


def _account(op: Json, names: Names) -> str:
    """The account that an operation is about."""
    return names.account(str(op.get("account", op.get("id", ""))))


def _said(op: Json) -> Json:
    """What any movement or account may carry: code, metadata, reference, description, force."""
    said: Json = {}
    if op.get("code") is not None:
        said["code"] = _code(op["code"])
    if op.get("attrs"):
        said["metadata"] = {str(name): str(value) for name, value in op["attrs"].items()}
    if op.get("ref") is not None:
        said["reference"] = op["ref"]
    if op.get("description") is not None:
        said["description"] = op["description"]
    if op.get("force"):
        said["force"] = True
    return said


def _code(code: object) -> str:
    """A case's integer code as a text; 0 is no code at all, which is refused."""
    return "" if code == 0 else str(code)


def _conditions(op: Json, names: Names) -> Json:
    """The versions and balances on which a movement depends."""
    conditions: Json = {}
    if op.get("if_version") is not None:
        conditions["if_version"] = {
            account: names.version(account, version)
            for account, version in op["if_version"].items()
        }
    if op.get("if_balance") is not None:
        conditions["if_balance"] = {
            account: {
                balance: {
                    _OPERATORS.get(operator, operator): amount_text(value)
                    for operator, value in bounds.items()
                }
                for balance, bounds in demanded.items()
            }
            for account, demanded in op["if_balance"].items()
        }
    return conditions


def _chosen(op: Json, names: Names, field: str) -> Json:
    """The id that the operation chooses, under the field's name."""
    chosen = names.chosen(op)
    return {} if chosen is None else {field: chosen}


def _dated(op: Json, names: Names) -> Json:
    """The value date, where it is not simply today."""
    day = names.value_date(op)
    return {} if day is None else {"value_date": day}


def key_of(scope: str, label: str) -> str:
    """The key of a command that the case knows by an id alone."""
    return f"{scope}:{quote(label, safe='')}"
