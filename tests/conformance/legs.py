"""The legs of a case's allocations: where money comes from and goes, at whatever depth."""

from collections.abc import Iterator

from tests.conformance.cases import Json
from tests.conformance.vocabulary import amount_text


def every_leg(legs: list[Json]) -> Iterator[Json]:
    """The legs of an allocation, at whatever depth."""
    for leg in legs:
        yield leg
        yield from every_leg(leg.get("inner") or [])


def accounts_in(legs: list[Json]) -> list[str]:
    """The accounts of an allocation's legs, at whatever depth."""
    found: list[str] = []
    for leg in legs:
        if leg.get("account") is not None:
            found.append(leg["account"])
        found += accounts_in(leg.get("inner") or [])
    return found


def legs_of(legs: list[Json]) -> list[Json]:
    """Legs of an allocation; one that may take nothing is left out, unless it is the only one."""
    taking = [leg for leg in legs if not _is_capped_at_nothing(leg)]
    return [_leg(leg) for leg in taking or legs]


def _is_capped_at_nothing(leg: Json) -> bool:
    """Whether a leg may take no more than nothing."""
    return isinstance(leg.get("max"), int) and leg["max"] <= 0


def _leg(leg: Json) -> Json:
    """A leg of an allocation."""
    body: Json = {}
    if leg.get("account") is not None:
        body["account_id"] = leg["account"]
    for name in ("fixed", "max"):
        if leg.get(name) is not None:
            body[name] = amount_text(leg[name])
    if leg.get("share") is not None:
        body["share"] = share_text(str(leg["share"]))
    if leg.get("remaining"):
        body["share"] = "remaining"
    if leg.get("kept"):
        body["kept"] = True
    if leg.get("inner") is not None:
        body["inner"] = legs_of(leg["inner"])
    return body


def share_text(share: str) -> str:
    """A share as a command writes it: a percentage or a fraction, without blanks."""
    return "".join(share.split())
