"""API keys over HTTP: made within what their maker has, rotated with an overlap, ended for good."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from httpx2 import Response
from starlette.testclient import TestClient
from tests.http.bank import Bank

from api import api_keys, clock
from api.api_keys import NewKey
from api.app import create_app
from api.key_uses import WRITTEN_EVERY_S
from api.runtime import Runtime

Json = dict[str, Any]

_SOON_S = 5.0


def _key(bank: Bank, new: NewKey) -> str:
    """A key made beside the server."""
    return bank.runtime.make_key(bank.ledger_id, new).text


def _by(key: str) -> dict[str, str]:
    """The header that presents a key."""
    return {"Authorization": f"Bearer {key}"}


def _make(bank: Bank, body: Json, by: str | None = None) -> Response:
    """Ask for a key."""
    headers = _by(bank.keys["admin"] if by is None else by)
    return bank.client.post("/v1/keys", json=body, headers=headers)


def _made(bank: Bank, body: Json, by: str | None = None) -> Json:
    """A key that was asked for."""
    answer = _make(bank, body, by)
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def _status(bank: Bank, key: str, path: str = "/v1/accounts") -> int:
    """How a request by a key is answered."""
    return bank.client.get(path, headers=_by(key)).status_code


def test_a_key_is_made_shown_once_and_used(bank: Bank) -> None:
    """It is in the answer, and nowhere else."""
    made = _made(bank, {"role": "teller", "name": "counter 3"})
    assert _status(bank, made["key"]) == 200
    assert _status(bank, made["key"], "/v1/events") == 403
    listed = bank.get("/v1/keys")
    assert listed.headers["cache-control"] == "no-store"
    assert made["key"].rpartition("_")[2] not in listed.text
    shown = bank.get(f"/v1/keys/{made['key_id']}").json()
    admin_id = bank.keys["admin"].split("_")[2]
    assert (shown["role"], shown["name"], shown["status"]) == ("teller", "counter 3", "active")
    assert (shown["created_by"], shown["person"]) == (f"key:{admin_id}", admin_id)
    assert shown in listed.json()["keys"]


def test_keys_are_listed_in_pages(bank: Bank) -> None:
    """Oldest first, each once."""
    found, cursor = [], ""
    while True:
        page = bank.get("/v1/keys", limit=2, cursor=cursor or None).json()
        assert len(page["keys"]) <= 2
        found += [key["key_id"] for key in page["keys"]]
        cursor = page["next"]
        if not cursor:
            break
    assert found == [key.split("_")[2] for key in bank.keys.values()]


def test_making_a_key_is_recorded_with_the_key_and_its_maker(bank: Bank) -> None:
    """In the access log, as is the attempt of who may not."""
    made = _made(bank, {"role": "reader", "name": "dashboard"})
    assert _make(bank, {"role": "reader", "name": "x"}, bank.keys["teller"]).status_code == 403
    accesses = bank.get("/v1/accesses", operation="create_key").json()["accesses"]
    assert [(item["status"], item["actor"].partition(":")[0]) for item in accesses] == [
        (403, "key"),
        (201, "key"),
    ]
    assert accesses[1]["subjects"] == [f"key:{made['key_id']}"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"role": "nobody"}, "role"),
        ({"role": ""}, "role"),
        ({"role": "Admin"}, "role"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["accounts.fly"]}, "scopes"),
        ({"scopes": ["accounts.read", "nothing.*"]}, "scopes"),
        ({"scopes": ["accounts.read"] * 101}, "scopes"),
        ({"permissions": ["A B"]}, "permissions"),
        ({"permissions": ["p"] * 21}, "permissions"),
        ({"person": " ann"}, "person"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at"),
        ({"rate_per_s": 0}, "rate_per_s"),
        ({"rate_per_s": 0.009}, "rate_per_s"),
        ({"rate_per_s": -1}, "rate_per_s"),
        ({"rate_per_s": 1e9}, "rate_per_s"),
        ({"certificate_sha256": "abc"}, "certificate_sha256"),
        ({"certificate_sha256": "00" * 31}, "certificate_sha256"),
        ({"certificate_sha256": "zz" * 32}, "certificate_sha256"),
    ],
)
def test_a_malformed_key_is_refused_with_the_field_and_the_rule(
    bank: Bank, changes: Json, field: str
) -> None:
    """And without what was sent."""
    answer = _make(bank, {"role": "reader", "name": "a key", **changes})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json()["errors"]
    assert (error["field"], error["pointer"]) == (field, f"/{field}")
    assert "nobody" not in answer.text


@pytest.mark.parametrize(
    "extra",
    ["secret_hash", "ledger_id", "key_id", "created_by", "revoked_at", "replaces", "last_used_at"],
)
def test_nothing_of_a_key_is_set_but_what_may_be(bank: Bank, extra: str) -> None:
    """Mass assignment: a member that is not known is refused."""
    answer = _make(bank, {"role": "reader", "name": "a key", extra: "x"})
    assert answer.status_code == 422


def test_nobody_makes_a_key_that_may_more_than_they(bank: Bank) -> None:
    """Security manages keys and moves no money: no key of theirs does."""
    security = bank.keys["security"]
    for role in ("teller", "admin", "auditor", "reader"):
        answer = _make(bank, {"role": role, "name": "more"}, security)
        assert (answer.status_code, answer.json()["code"]) == (403, "beyond_own_authority"), role
    assert _make(bank, {"role": "security", "name": "same"}, security).status_code == 201
    narrowed = {"role": "teller", "name": "less", "scopes": ["info.read"]}
    answer = _make(bank, narrowed, security)
    assert answer.status_code == 403  # A teller sees names, which security does not.


def test_approvals_are_not_handed_on_by_who_has_none(bank: Bank) -> None:
    """What counts in approvals is a power like any other."""
    body = {"role": "teller", "name": "approver", "permissions": ["ops"]}
    assert _make(bank, body).json()["code"] == "beyond_own_authority"
    own = _key(bank, NewKey(role="admin", name="ops", permissions=("ops",)))
    assert _make(bank, body, own).status_code == 201


def test_a_key_acts_for_who_made_it(bank: Bank) -> None:
    """A second key is no second person, unless who may appoint people says so."""
    made = _made(bank, {"role": "security", "name": "mine"}, bank.keys["security"])
    assert made["person"] == bank.keys["security"].split("_")[2]
    named = {"role": "security", "name": "theirs", "person": "bob"}
    assert _made(bank, named, bank.keys["security"])["person"] == "bob"
    scopes = ("keys.manage", "keys.read")
    bounded = _key(bank, NewKey(role="security", name="keys only", scopes=scopes))
    assert _make(bank, named, bounded).json()["code"] == "key_for_another_person"


def test_scopes_narrow_a_key(bank: Bank) -> None:
    """To permissions of its role; what the role has not, no scope gives."""
    read = _made(bank, {"role": "teller", "name": "n", "scopes": ["accounts.*", "log.read"]})
    assert _status(bank, read["key"]) == 200
    assert _status(bank, read["key"], "/v1/info") == 403
    assert _status(bank, read["key"], "/v1/events") == 403


def test_a_key_that_makes_keys_hands_on_its_bounds(bank: Bank) -> None:
    """Its scopes, its end, its pace and its certificate bound what it makes."""
    end = clock.now() + timedelta(days=1)
    maker = _key(
        bank,
        NewKey(
            role="admin",
            name="maker",
            scopes=("keys.*", "accounts.read"),
            expires_at=end,
            rate_per_s=50,
        ),
    )
    made = _made(bank, {"role": "admin", "name": "child"}, maker)
    shown = bank.get(f"/v1/keys/{made['key_id']}").json()
    assert shown["scopes"] == ["accounts.read", "keys.*"]
    assert datetime.fromisoformat(shown["expires_at"]) == end
    assert shown["rate_per_s"] == 50
    for changes, field in (
        ({"scopes": ["*"]}, "scopes"),
        ({"scopes": ["accounts.read", "log.read"]}, "scopes"),
        ({"expires_at": (end + timedelta(seconds=1)).isoformat()}, "expires_at"),
        ({"rate_per_s": 51}, "rate_per_s"),
    ):
        answer = _make(bank, {"role": "admin", "name": "child", **changes}, maker)
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


def test_a_rotated_key_holds_until_its_overlap_ends(bank: Bank) -> None:
    """Both hold meanwhile; the new one is the same in all but its secret."""
    old = _made(bank, {"role": "teller", "name": "till", "scopes": ["accounts.read"]})
    answer = bank.client.post(
        f"/v1/keys/{old['key_id']}/rotate", json={"overlap_s": 3600}, headers=bank.headers()
    )
    assert answer.status_code == 201
    new = answer.json()
    assert (new["replaces"], new["person"]) == (old["key_id"], old["person"])
    assert _status(bank, old["key"]) == _status(bank, new["key"]) == 200
    assert _status(bank, new["key"], "/v1/info") == 403
    shown = bank.get(f"/v1/keys/{old['key_id']}").json()
    assert shown["status"] == "ending"
    left = datetime.fromisoformat(shown["revoked_at"]) - clock.now()
    assert timedelta(minutes=58) < left <= timedelta(hours=1)
    again = bank.client.post(f"/v1/keys/{old['key_id']}/rotate", json={}, headers=bank.headers())
    assert again.status_code == 422


def test_a_key_rotated_without_overlap_ends_at_once(bank: Bank) -> None:
    """On the server that did it there is no moment of grace."""
    old = _made(bank, {"role": "reader", "name": "leaked"})
    assert _status(bank, old["key"]) == 200
    path = f"/v1/keys/{old['key_id']}/rotate"
    new = bank.client.post(path, json={"overlap_s": 0}, headers=bank.headers()).json()
    assert (_status(bank, old["key"]), _status(bank, new["key"])) == (401, 200)


def test_a_rotated_key_is_good_for_as_long_as_the_one_before(bank: Bank) -> None:
    """Thirty days again, not what was left of them; or as the request says."""
    at = clock.now()
    old = _made(bank, {"role": "reader", "name": "d", "expires_at": _in(at, days=30)})
    path = f"/v1/keys/{old['key_id']}/rotate"
    new = bank.client.post(path, json={}, headers=bank.headers()).json()
    left = datetime.fromisoformat(new["expires_at"]) - at
    assert timedelta(days=29, hours=23) < left < timedelta(days=30, hours=1)
    for body, field in (
        ({"overlap_s": -1}, "overlap_s"),
        ({"overlap_s": 2_678_401}, "overlap_s"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ):
        path = f"/v1/keys/{new['key_id']}/rotate"
        refused = bank.client.post(path, json=body, headers=bank.headers())
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_nobody_rotates_a_key_that_may_more_than_they(bank: Bank) -> None:
    """Who rotates a key comes to know one; ending it takes no more than keys.manage."""
    made = _made(bank, {"role": "teller", "name": "till"})
    headers = bank.headers("security")
    path = f"/v1/keys/{made['key_id']}"
    refused = bank.client.post(f"{path}/rotate", json={}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "beyond_own_authority")
    assert bank.client.post(f"{path}/revoke", headers=headers).status_code == 200
    assert _status(bank, made["key"]) == 401


def test_a_revoked_key_is_ended_for_good(bank: Bank) -> None:
    """At once on this server; a second time changes nothing; nothing brings it back."""
    made = _made(bank, {"role": "reader", "name": "gone"})
    assert _status(bank, made["key"]) == 200
    path = f"/v1/keys/{made['key_id']}"
    first = bank.client.post(f"{path}/revoke", headers=bank.headers())
    assert _status(bank, made["key"]) == 401
    second = bank.client.post(f"{path}/revoke", headers=bank.headers())
    assert first.json() == second.json()
    assert bank.get(path).json()["status"] == "revoked"
    rotated = bank.client.post(f"{path}/rotate", json={}, headers=bank.headers())
    assert rotated.status_code == 422


def test_an_ending_key_can_still_be_ended_sooner(bank: Bank) -> None:
    """A leak that is found during the overlap."""
    old = _made(bank, {"role": "reader", "name": "leaked"})
    path = f"/v1/keys/{old['key_id']}"
    assert bank.client.post(f"{path}/rotate", json={}, headers=bank.headers()).is_success
    assert _status(bank, old["key"]) == 200
    assert bank.client.post(f"{path}/revoke", headers=bank.headers()).is_success
    assert _status(bank, old["key"]) == 401


def test_keys_of_another_ledger_are_not_there(bank: Bank) -> None:
    """Not to be read, rotated or ended, and no different from those that are nowhere."""
    other = bank.runtime.create_ledger(f"{bank.ledger}-b")
    theirs = bank.runtime.make_key(other, NewKey(role="reader", name="theirs"))
    for key_id in (theirs.key_id, "0" * 16, "x", "%2F", "\u00e4"):
        path = f"/v1/keys/{key_id}"
        assert bank.client.get(path, headers=bank.headers()).status_code == 404
        rotated = bank.client.post(f"{path}/rotate", json={}, headers=bank.headers())
        revoked = bank.client.post(f"{path}/revoke", headers=bank.headers())
        assert (rotated.status_code, revoked.status_code) == (404, 404)
    assert theirs.key_id not in bank.get("/v1/keys").text
    assert _status(bank, theirs.text) == 200


def test_the_end_of_a_key_is_its_end(bank: Bank) -> None:
    """It holds until the moment of its expiry, however lately it was used."""
    key = _key(
        bank,
        NewKey(role="reader", name="short", expires_at=clock.now() + timedelta(seconds=1)),
    )
    assert _status(bank, key) == 200
    time.sleep(1.9)  # A second, and as long as a key that is in use is remembered.
    assert _status(bank, key) == 401


def test_the_last_use_of_a_key_is_written_beside_the_request(bank: Bank) -> None:
    """Within moments, and then not again for a minute."""
    made = _made(bank, {"role": "reader", "name": "used"})
    path = f"/v1/keys/{made['key_id']}"
    assert bank.get(path).json()["last_used_at"] is None
    before = clock.now()
    assert _status(bank, made["key"]) == 200
    first = _last_use(bank, path)
    assert before <= first <= clock.now()
    assert WRITTEN_EVERY_S == 60
    for _ in range(3):
        time.sleep(0.8)  # Longer than a key is remembered: each use is a new look at the key.
        assert _status(bank, made["key"]) == 200
    assert _last_use(bank, path) == first


def _last_use(bank: Bank, path: str) -> datetime:
    """When a key was last used, once that is written."""
    ends = time.monotonic() + _SOON_S
    while time.monotonic() < ends:
        found = bank.get(path).json()["last_used_at"]
        if found is not None:
            return datetime.fromisoformat(found)
        time.sleep(0.02)
    raise AssertionError("the use was not written")


@pytest.fixture
def damaged(runtime: Runtime, superuser_url: str) -> Iterator[Bank]:
    """A bank in whose database the last use of a key cannot be written."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("REVOKE UPDATE (last_used_at) ON keystore.api_keys FROM ledger_writer")
    with TestClient(create_app(runtime)) as client:
        yield Bank(runtime, client, "own")


def test_a_use_that_cannot_be_written_fails_no_request(damaged: Bank) -> None:
    """It is a note beside the request, and no condition of it."""
    for _ in range(3):
        assert _status(damaged, damaged.keys["reader"]) == 200
        time.sleep(0.8)


def _in(at: datetime, *, days: int) -> str:
    """So many days later, as bodies name it."""
    return (at + timedelta(days=days)).isoformat()


def test_a_wrong_secret_is_told_by_nothing_but_the_whole_of_it() -> None:
    """However much of it is right, what is compared are keyed hashes that share nothing.

    ``hmac.compare_digest`` compares in constant time what is not even the secret; an id that is not
    known has a hash to compare with, too.
    """
    secret, server_secret = "ab" * 32, b"S" * 32
    right = api_keys._hash(server_secret, secret)  # noqa: SLF001 - what is stored
    shared = []
    for length in range(64):
        wrong = secret[:length] + ("0" if secret[length] != "0" else "1") + secret[length + 1 :]
        hashed = api_keys._hash(server_secret, wrong)  # noqa: SLF001 - as above
        assert len(hashed) == len(right) == 32
        shared.append(sum(one == other for one, other in zip(hashed, right, strict=True)))
        presented = api_keys.PresentedKey(1, "0" * 16, wrong)
        assert not api_keys.matches(None, presented, server_secret)
    # Of 32 bytes one in 256 is equal by chance: more with longer prefixes would be a trend.
    assert sum(shared[:32]) < 20 > sum(shared[32:])


@pytest.mark.parametrize(
    "text",
    [
        "lk_1_0123456789abcdef_" + "a" * 63,
        "lk_1_0123456789abcdef_" + "a" * 65,
        "lk_1_0123456789abcdef_" + "A" * 64,
        "lk_0_0123456789abcdef_" + "a" * 64,
        "lk_01_0123456789abcdef_" + "a" * 64,
        "lk_1_0123456789abcdeg_" + "a" * 64,
        "lk_\u0661_0123456789abcdef_" + "a" * 64,
        "lk_1_0123456789abcdef_" + "a" * 64 + "\n",
        "LK_1_0123456789abcdef_" + "a" * 64,
    ],
)
def test_a_key_is_written_in_one_way_only(text: str) -> None:
    """Nothing that only looks like a key is looked up."""
    assert api_keys.parse(text) is None
    assert api_keys.parse("lk_1_0123456789abcdef_" + "a" * 64) is not None
