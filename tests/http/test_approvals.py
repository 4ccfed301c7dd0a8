"""Approvals over HTTP: who may ask, who may vote, and what each of them is answered."""

import pytest
from httpx2 import Response
from tests.http.bank import Bank, Json

PAYMENT: Json = {
    "debit_account_id": "a",
    "credit_account_id": "b",
    "amount": "300",
    "currency": "EUR",
}
POLICY: Json = {
    "policy_id": "large",
    "commands": ["transfer"],
    "approvers": ["ops", "risk"],
    "currency": "EUR",
    "above": "100",
}
PEOPLE: dict[str, tuple[str, ...]] = {
    "ann": ("ops", "risk"),
    "bob": ("ops", "risk"),
    "cy": (),
    "dee": ("ops",),
    "eve": ("risk",),
}


@pytest.fixture
def staffed(bank: Bank) -> Bank:
    """A bank with two accounts, and a teller's key for everybody."""
    bank.open("a", 1_000)
    bank.open("b")
    for person, permissions in PEOPLE.items():
        bank.keys[person] = bank.runtime.create_key(
            bank.ledger_id, "teller", f"{person}'s", person=person, permissions=permissions
        )
    return bank


def _ask(bank: Bank, person: str = "ann", key: str = "payment", **changed: object) -> Response:
    """A person asks for the approval of a payment."""
    command = {"type": "transfer", **PAYMENT}
    body = {"request_id": "Q1", "command": command, "approvers": ["ops", "risk"], **changed}
    return bank.post("/v1/approvals", body, role=person, key=key)


def _approve(bank: Bank, person: str, of: str = "Q1", key: str | None = None) -> Response:
    """A person approves."""
    return bank.post(f"/v1/approvals/{of}/approve", {}, role=person, key=key)


def _word(answer: Response) -> str:
    """One word for an answer: the code of a refusal, else the type of the event."""
    document = answer.json()
    return str(document.get("code") if answer.status_code >= 400 else document["type"])


def _balances(bank: Bank) -> list[str]:
    """What both accounts hold."""
    return [bank.get(f"/v1/accounts/{name}/balance").json()["posted_minor"] for name in "ab"]


def test_needed_permissions_are_matched_to_distinct_persons(staffed: Bank) -> None:
    """Ann asks; bob can serve either need, so dee completes the pair."""
    asked = _ask(staffed)
    assert (asked.status_code, asked.json()["status"]) == (202, "pending_approval")
    assert asked.headers["location"] == "/v1/approvals/Q1"
    answers = [_approve(staffed, person) for person in ("ann", "bob", "bob", "cy", "dee", "eve")]
    assert [_word(answer) for answer in answers] == [
        "maker_cannot_approve",
        "ApprovalGiven",
        "already_voted",
        "not_permitted",
        "ApprovalCompleted",
        "already_completed",
    ]
    assert [answer.status_code for answer in answers] == [403, 201, 422, 403, 201, 422]
    done = answers[4].json()
    entry = staffed.get(f"/v1/events/{done['command_position']}").json()
    assert (entry["type"], entry["command_key"]) == ("JournalEntryPosted", "payment")
    assert _balances(staffed) == ["700", "300"]


def test_a_rejected_request_is_over(staffed: Bank) -> None:
    """The maker may reject or withdraw; a second request is another matter."""
    assert _ask(staffed, approvers=["ops"]).status_code == 202
    rejected = staffed.post("/v1/approvals/Q1/reject", {"reason": "typo"}, role="ann")
    assert (_word(rejected), rejected.json()["person"]) == ("ApprovalRejected", "ann")
    assert _word(_approve(staffed, "bob")) == "already_rejected"
    assert _ask(staffed, request_id="Q2", key="payment-2").status_code == 202
    path = "/v1/approvals/Q2/withdraw"
    assert _word(staffed.post(path, {}, role="bob")) == "not_permitted"
    assert _word(staffed.post(path, {}, role="ann")) == "ApprovalWithdrawn"
    assert _word(_approve(staffed, "bob", "Q2")) == "already_withdrawn"
    assert _word(_approve(staffed, "bob", "Q9")) == "approval_not_found"
    assert _balances(staffed) == ["1000", "0"]


def test_a_command_that_meets_a_policy_is_accepted_and_waits(staffed: Bank) -> None:
    """202 with the address of the request; the retry is answered the same, then by its event."""
    assert staffed.post("/v1/approval-policies", POLICY).status_code == 201
    asked = staffed.post("/v1/transfers", PAYMENT, role="ann", key="k")
    assert asked.status_code == 202
    request = asked.json()
    assert (request["type"], request["maker"]) == ("ApprovalRequested", "ann")
    assert request["policies"] == ["large"]
    assert asked.headers["location"] == f"/v1/approvals/{request['request_id']}"
    again = staffed.post("/v1/transfers", PAYMENT, role="ann", key="k")
    assert (again.status_code, again.content) == (202, asked.content)
    assert again.headers["idempotency-replayed"] == "true"
    conflict = staffed.post("/v1/transfers", PAYMENT | {"amount": "400"}, role="ann", key="k")
    assert conflict.json()["seen"]["fields"] == ["amount"]
    request_id = request["request_id"]
    votes = [_approve(staffed, person, request_id, f"by-{person}") for person in ("bob", "dee")]
    assert [_word(vote) for vote in votes] == ["ApprovalGiven", "ApprovalCompleted"]
    ran = staffed.post("/v1/transfers", PAYMENT, role="ann", key="k")
    assert (ran.status_code, ran.json()["type"]) == (201, "JournalEntryPosted")
    for vote, person in zip(votes, ("bob", "dee"), strict=True):
        assert _approve(staffed, person, request_id, f"by-{person}").content == vote.content
    small = staffed.post("/v1/transfers", PAYMENT | {"amount": "100"}, role="ann")
    assert small.status_code == 201


def test_a_command_that_waits_by_request_does_not_run_by_its_key(staffed: Bank) -> None:
    """Sent itself, it is answered by the request until it ran; so is the request ever after."""
    asked = _ask(staffed)
    again = staffed.post("/v1/transfers", PAYMENT, role="ann", key="payment")
    assert (again.status_code, again.content) == (202, asked.content)
    assert again.headers["idempotency-replayed"] == "true"
    other = staffed.post("/v1/transfers", PAYMENT | {"amount": "1"}, role="ann", key="payment")
    assert (other.status_code, other.json()["seen"]["fields"]) == (422, ["amount"])
    assert _balances(staffed) == ["1000", "0"]
    _approve(staffed, "bob", key="vote")
    stolen = _approve(staffed, "eve", key="vote")
    assert (_word(stolen), stolen.json()["seen"]["fields"]) == ("idempotency_conflict", ["person"])
    assert _word(_approve(staffed, "dee")) == "ApprovalCompleted"
    ran = staffed.post("/v1/transfers", PAYMENT, role="ann", key="payment")
    assert (ran.status_code, ran.json()["type"]) == (201, "JournalEntryPosted")
    assert _ask(staffed).content == asked.content
    assert _balances(staffed) == ["700", "300"]


def test_a_batch_says_which_items_wait(staffed: Bank) -> None:
    """With the request's id; an atomic batch cannot wait and is refused."""
    staffed.post("/v1/approval-policies", POLICY)
    small = {"type": "transfer", **PAYMENT, "amount": "5"}
    large = {"type": "transfer", **PAYMENT}
    answer = staffed.post("/v1/batch", {"commands": [small, large]}, role="ann", key="b1").json()
    statuses = [item["status"] for item in answer["results"]]
    assert statuses == ["recorded", "pending_approval"]
    assert (answer["recorded"], answer["pending_approval"]) == (1, 1)
    assert answer["results"][1]["id"] == f"apr_{answer['results'][1]['position']}"
    body = {"mode": "atomic", "commands": [small, large]}
    refused = staffed.post("/v1/batch", body, role="ann", key="b2")
    assert refused.status_code == 422
    codes = [item["error"]["code"] for item in refused.json()["results"]]
    assert codes == ["batch_failed", "approval_needed"]


def test_nobody_asks_for_what_the_role_may_not_send(staffed: Bank) -> None:
    """Wrapping a command does not open it, alone or in a batch."""
    erase = {"type": "erase_customer", "customer_id": "zed", "reason": "r"}
    refused = _ask(staffed, command=erase)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    item = {"type": "request_approval", "command": erase, "approvers": ["ops"]}
    batch = staffed.post("/v1/batch", {"commands": [item]}, role="ann").json()
    assert batch["results"][0]["error"]["code"] == "forbidden"
    assert staffed.post("/v1/approval-policies", POLICY, role="ann").status_code == 403


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"approvers": ["ops"]}, "/command"),
        ({"command": {"type": "transfer"}, "approvers": ["ops"]}, "/command/debit_account_id"),
        ({"command": {"type": "approve_request"}, "approvers": ["ops"]}, "/command/type"),
        (
            {"command": {"type": "transfer", "key": "k", **PAYMENT}, "approvers": ["ops"]},
            "/command/key",
        ),
        ({"command": {"type": "transfer", **PAYMENT}}, "/approvers"),
    ],
)
def test_a_malformed_request_names_its_field(staffed: Bank, body: Json, pointer: str) -> None:
    """Within the wrapped command, too; votes cannot be wrapped."""
    answer = staffed.post("/v1/approvals", body, role="ann")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_the_role_is_a_permission(staffed: Bank) -> None:
    """Any teller but the maker approves what needs a teller."""
    _ask(staffed, approvers=["teller"])
    assert _word(_approve(staffed, "cy")) == "ApprovalCompleted"


def test_two_keys_of_a_person_are_one_vote(staffed: Bank) -> None:
    """And a maker does not approve by another key; a key without a person is its own."""
    second = {
        person: staffed.runtime.create_key(
            staffed.ledger_id, "admin", "second", person=person, permissions=["ops", "risk"]
        )
        for person in ("ann", "bob")
    }
    staffed.keys |= {f"{person} again": key for person, key in second.items()}
    _ask(staffed, approvers=["ops", "risk", "admin"])
    assert _word(_approve(staffed, "ann again")) == "maker_cannot_approve"
    assert _word(_approve(staffed, "bob")) == "ApprovalGiven"
    assert _word(_approve(staffed, "bob again")) == "already_voted"
    assert _word(_approve(staffed, "admin")) == "ApprovalGiven"
    assert _word(_approve(staffed, "eve")) == "ApprovalCompleted"


def test_requests_and_policies_can_be_read(staffed: Bank) -> None:
    """With their votes and status, and nothing sealed."""
    staffed.post("/v1/approval-policies", POLICY)
    policies = staffed.get("/v1/approval-policies").json()["approval_policies"]
    assert [(item["id"], item["above_minor"]) for item in policies] == [("large", "100")]
    _ask(staffed)
    _approve(staffed, "bob")
    shown = staffed.get("/v1/approvals/Q1").json()
    assert (shown["status"], shown["maker"]) == ("pending", "ann")
    assert [vote["person"] for vote in shown["votes"]] == ["bob"]
    assert shown["command"]["amount"] == "300"
    assert not shown.keys() & {"sealed", "subject"}
    listed = staffed.get("/v1/approvals", status="pending").json()["approvals"]
    assert [item["id"] for item in listed] == ["Q1"]
    assert staffed.get("/v1/approvals", status="completed").json()["approvals"] == []
    missing = staffed.get("/v1/approvals/Q9")
    assert (missing.status_code, missing.json()["code"]) == (404, "approval_not_found")
    missing = staffed.get("/v1/approval-policies/none")
    assert (missing.status_code, missing.json()["code"]) == (404, "policy_not_found")


def test_a_request_can_be_read_as_it_was(staffed: Bank) -> None:
    """As of the position of each of its events."""
    positions = [
        answer.json()["position"]
        for answer in (_ask(staffed), _approve(staffed, "bob"), _approve(staffed, "dee"))
    ]
    found = [
        staffed.get("/v1/approvals/Q1", as_of_position=position).json() for position in positions
    ]
    assert [(item["status"], len(item["votes"])) for item in found] == [
        ("pending", 0),
        ("pending", 1),
        ("completed", 2),
    ]
    before = staffed.get("/v1/approvals/Q1", as_of_position=positions[0] - 1)
    assert before.status_code == 404


def test_a_pending_registration_shows_nothing_personal(staffed: Bank) -> None:
    """Not in its answer, not in the events, not where it is listed."""
    policy = {"policy_id": "kyc", "commands": ["register_customer"], "approvers": ["kyc"]}
    staffed.post("/v1/approval-policies", policy)
    profile = {"name": "Zebediah Quux", "language": "en"}
    asked = staffed.post("/v1/customers", {"profile": profile}, role="ann")
    assert asked.status_code == 202
    assert asked.json()["command"]["profile"] == {"language": "en"}
    seen = [asked.text, staffed.get("/v1/approvals").text, str(staffed.events())]
    assert all("Quux" not in text for text in seen)
    assert not asked.json().keys() & {"sealed", "subject"}


def test_a_dry_run_says_that_it_would_wait(staffed: Bank) -> None:
    """As the command itself would be answered; nothing is recorded."""
    staffed.post("/v1/approval-policies", POLICY)
    before = len(staffed.events())
    answer = staffed.post("/v1/transfers?dry_run=true", PAYMENT, role="ann")
    assert (answer.status_code, answer.headers["dry-run"]) == (202, "true")
    assert len(staffed.events()) == before


@pytest.mark.parametrize(
    ("person", "permissions"),
    [
        ("", ()),
        (" x", ()),
        ("a\nb", ()),
        ("x" * 101, ()),
        (None, ("Ops",)),
        (None, ("",)),
        (None, ("x" * 41,)),
        (None, tuple(f"p{number}" for number in range(21))),
    ],
)
def test_persons_and_permissions_have_their_form(
    bank: Bank, person: str | None, permissions: tuple[str, ...]
) -> None:
    """A key that could not be shown or matched is not made."""
    with pytest.raises(ValueError, match=r"person has|permissions"):
        bank.runtime.create_key(
            bank.ledger_id, "teller", "x", person=person, permissions=permissions
        )
