"""A case's queries as reads of this ledger's public views, and what is made of their answers."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from tests.conformance.cases import Case, Json, walk
from tests.conformance.happenings import audit_log, events, label_of, position_of, since_setup
from tests.conformance.house import quoted, refusal_of
from tests.conformance.seen import (
    Answer,
    Nets,
    Rows,
    Seen,
    Trial,
    Vector,
    Vectors,
)

if TYPE_CHECKING:
    from tests.conformance.adapter import Adapter

_HELPER = "conformance:"


def helper_of(unit: str) -> str:
    """The account that openings in a unit go against."""
    return _HELPER + unit


def all_ops(case: Case) -> Iterator[Json]:
    """Every operation of a case, those within others too."""
    return walk(case.ops)


def movements(postings: list[Json]) -> Rows:
    """What an allocation moved from where to where: its postings stand in pairs."""
    pairs = zip(postings[::2], postings[1::2], strict=True)
    return Rows(
        ("from", "to", "amount"),
        tuple((out["account_id"], into["account_id"], int(out["amount"])) for out, into in pairs),
    )


def vectors(adapter: "Adapter", **moment: object) -> Vectors:
    """The four sums of every account of the case, now or at a moment."""
    found: dict[str, Vector] = {}
    for desk in adapter.desks.values():
        for account in desk.listed("/v1/accounts", "accounts", **moment):
            if not account["account_id"].startswith(_HELPER):
                found[account["account_id"]] = _vector(account)
    return Vectors(found)


def _vector(account: Json) -> Vector:
    """The four sums of an account as the ledger shows it."""
    outgoing, incoming = int(account["held_minor"]), int(account["incoming_held_minor"])
    if account["normal_side"] == "debit":
        outgoing, incoming = incoming, outgoing
    posted = int(account["debits_posted_minor"]), int(account["credits_posted_minor"])
    return outgoing, posted[0], incoming, posted[1]


def _balances(adapter: "Adapter", op: Json) -> Vectors:
    """The four sums of every account."""
    return vectors(adapter, **_moment(adapter, op))


def _moment(adapter: "Adapter", op: Json) -> Json:
    """The moment that a query is about: of recorded time, of effective time, or both."""
    moment: Json = {}
    for name in ("at", "at_id", "as_of_id"):
        if isinstance(op.get(name), str):
            moment["as_of_position"] = position_of(adapter, op[name])
    hour = op.get("to_h")
    axis = op.get("axis") or ("recorded" if hour is None else "effective")
    known = op.get("known_h", hour if axis == "recorded" else None)
    if known is not None:
        seconds = Fraction(str(known)) * 3_600
        instant = adapter.house.clock() + timedelta(seconds=float(seconds))
        moment["as_of"] = instant.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if axis == "effective" and hour is not None:
        moment["value_date"] = adapter.calendar.day(adapter.house.clock.elapsed_s, hour)
    return moment


def _net_balances(adapter: "Adapter", op: Json) -> Nets:
    """Credits less debits of accounts, of one, or of a group; up to a moment, or between two."""
    moment = _moment(adapter, op)
    nets = _nets(adapter, op, moment)
    if op.get("from_h") is not None:
        first = adapter.calendar.day(adapter.house.clock.elapsed_s, op["from_h"])
        before = _nets(adapter, op, moment | {"value_date": _day_before(first)})
        nets = {name: net - before.get(name, 0) for name, net in nets.items()}
    return Nets(nets)


def _nets(adapter: "Adapter", op: Json, moment: Json) -> dict[str, int]:
    """Credits less debits by account, or by unit where a group is asked for.

    A group is all accounts whose ids begin so (``Assets*``), or an account and what is below it.
    """
    if op.get("attrs"):
        return _nets_of_entries(adapter, op)
    if op.get("group") is not None:
        nets: Counter[str] = Counter()
        group = str(op["group"])
        asked = [group.removesuffix("*")] if group.endswith("*") else [f"{group}:"]
        for desk in adapter.desks.values():
            for prefix in asked:
                found = desk.get("/v1/accounts/totals", prefix=prefix, **moment).json()["totals"]
                nets.update({total["currency"]: int(total["net_minor"]) for total in found})
        own = vectors(adapter, **moment).by_account.get(group)
        if own is not None:
            nets[adapter.chart.unit_of(group)] += own[3] - own[1]
        return dict(nets)
    # An account that was not yet open at the moment had nothing.
    nothing: dict[str, Vector] = dict.fromkeys(adapter.case.accounts, (0, 0, 0, 0))
    everything = nothing | vectors(adapter, **moment).by_account
    named = op.get("accounts") or ([op["account"]] if op.get("account") else list(everything))
    return {name: everything[name][3] - everything[name][1] for name in named if name in everything}


def _nets_of_entries(adapter: "Adapter", op: Json) -> dict[str, int]:
    """Credits less debits of what entries with certain attributes posted, by account."""
    nets: Counter[str] = Counter()
    wanted = {f"metadata__{name}": value for name, value in op["attrs"].items()}
    group = op.get("group")
    for desk in adapter.desks.values():
        for entry in desk.listed("/v1/entries", "entries", **wanted):
            for line in entry["postings"]:
                account = line["account_id"]
                is_meant = op.get("account") in {None, account}
                if is_meant and (group is None or account.startswith(str(group).rstrip("*"))):
                    nets[account] += int(line["amount"]) * (1 if line["side"] == "credit" else -1)
    return dict(nets)


def _day_before(day: date) -> date:
    """The day before."""
    return day - timedelta(days=1)


def _entries(adapter: "Adapter", op: Json) -> Seen:
    """An account's postings: amount, balance before and after (credits less debits), version."""
    desk, account = adapter.desk_of(op), op["account"]
    path = f"/v1/accounts/{quoted(account)}"
    first = desk.get(f"{path}/statement", limit=1)
    if not first.is_success:
        return refusal_of(first.json())
    sign = -1 if first.json()["normal_side"] == "debit" else 1
    rows: list[tuple[Any, ...]] = []
    for line in desk.listed(f"{path}/statement", "lines"):
        if line["position"] <= adapter.setup_positions[desk.ledger_id]:
            continue
        amount = int(line["amount_minor"]) * (1 if line["side"] == "credit" else -1)
        current = sign * int(line["balance_minor"])
        known = desk.get(f"{path}/balance", as_of_position=line["position"]).json()["version"]
        version = known - adapter.version_offsets.get(account, 0)
        rows.append((amount, current - amount, current, version))
    if op.get("reverse"):
        rows.reverse()
    return Rows(("amount", "previous", "current", "version"), tuple(rows[: op.get("limit")]))


def _list_transfers(adapter: "Adapter", op: Json) -> Seen:
    """The ids of what moved or held money on an account."""
    found = _listing(adapter, op)
    if isinstance(found, Answer):
        return found
    return Rows(("id",), tuple((label,) for _, label in found))


def _balance_history(adapter: "Adapter", op: Json) -> Seen:
    """An account's four sums after each movement of it."""
    desk, found = adapter.desk_of(op), _listing(adapter, op)
    if isinstance(found, Answer):
        return found
    path = f"/v1/accounts/{quoted(op['account'])}/balance"
    return Rows(
        ("id", "balance"),
        tuple(
            (label, _vector(desk.get(path, as_of_position=position).json()))
            for position, label in found
        ),
    )


def _listing(adapter: "Adapter", op: Json) -> list[tuple[int, str]] | Answer:
    """Where movements stand that are as an operation's filters say, and the case's ids of them."""
    desk = adapter.desk_of(op)
    happened = since_setup(adapter, desk)
    labels = {event["position"]: label_of(adapter, event) for event in happened}
    first = _bound(adapter, op, "from_", "from") or adapter.setup_positions[desk.ledger_id] + 1
    last = _bound(adapter, op, "to")
    params: Json = {
        "account_id": op.get("account"),
        "side": op.get("side"),
        "code": op.get("code"),
        "from_position": first,
        "to_position": last,
        "order": "desc" if op.get("reverse") else "asc",
    }
    params |= {f"metadata__{name}": value for name, value in (op.get("attrs") or {}).items()}
    page = desk.get("/v1/entries", **params | {"limit": op.get("limit")})
    if not page.is_success:
        return refusal_of(page.json())
    holds = [event for event in happened if _is_hold(event, op, first, last)]
    found = page.json()["entries"]
    unit = None if op.get("book") is None else adapter.unit(op)
    if holds or unit is not None or op.get("limit") is None:
        found = desk.listed("/v1/entries", "entries", **params)
    places = [item["position"] for item in found if unit in {None, *_units(item)}]
    if holds:
        places = sorted({*places, *(event["position"] for event in holds)})
        if op.get("reverse"):
            places.reverse()
    return [(place, labels[place]) for place in places[: op.get("limit")]]


def _units(entry: Json) -> set[str]:
    """The currencies of an entry's postings."""
    return {line["currency"] for line in entry["postings"]}


def _bound(adapter: "Adapter", op: Json, *names: str) -> int | None:
    """The position of the movement that begins or ends a listing, if one is named."""
    for name in names:
        if op.get(name) is not None:
            return position_of(adapter, op[name])
    return None


def _is_hold(event: Json, op: Json, first: int, last: int | None) -> bool:
    """Whether an event places or releases a hold that is as a listing's filters say.

    The ledger lists entries and holds apart; other ledgers call both transfers.
    """
    data = event["data"]
    if event["type"] not in {"HoldPlaced", "HoldReleased"} or event["command_key"] is None:
        return False
    sides = {"debit": data["debit_account_id"], "credit": data["credit_account_id"]}
    wanted = [sides[op["side"]]] if op.get("side") else list(sides.values())
    metadata = data.get("metadata") or {}
    return (
        first <= event["position"] <= (last or event["position"])
        and (op.get("account") is None or op["account"] in wanted)
        and (op.get("code") is None or data.get("code") == str(op["code"]))
        and all(metadata.get(name) == str(value) for name, value in (op.get("attrs") or {}).items())
    )


def _trial_balance(adapter: "Adapter", op: Json) -> Trial:
    """Every account on its side, and the totals."""
    nets: dict[str, int] = {}
    kinds: tuple[dict[str, tuple[int, int]], ...] = ({}, {}, {}, {})
    for desk in adapter.desks.values():
        found = desk.get("/v1/trial-balance", **_moment(adapter, op)).json()
        for row in found["rows"]:
            posted = int(row["debits_posted_minor"]), int(row["credits_posted_minor"])
            sides = int(row["debit_minor"]), int(row["credit_minor"])
            is_helper = row["account_id"].startswith(_HELPER)
            if not is_helper:
                nets[row["account_id"]] = posted[1] - posted[0]
            for totals, pair, counts in (
                (kinds[0], posted, True),
                (kinds[1], sides, True),
                (kinds[2], posted, not is_helper),
                (kinds[3], sides, not is_helper),
            ):
                debits, credits_ = totals.get(row["currency"], (0, 0))
                if counts:
                    totals[row["currency"]] = (debits + pair[0], credits_ + pair[1])
        for total in found["totals"]:
            shown = int(total["debits_posted_minor"]), int(total["credits_posted_minor"])
            assert shown == kinds[0][total["currency"]], "the ledger's totals are not its rows'"
    return Trial(nets, kinds)


VIEWS: dict[str, Callable[["Adapter", Json], Seen]] = {
    "balances": _balances,
    "net_balances": _net_balances,
    "entries": _entries,
    "balance_history": _balance_history,
    "list_transfers": _list_transfers,
    "trial_balance": _trial_balance,
    "events": events,
    "audit_log": audit_log,
}
