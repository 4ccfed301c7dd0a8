"""From recorded histories to findings: good ones have none, and each kind of lie has one."""

from typing import Any

import pytest
from tests.faults.bank_history import record
from tests.faults.bank_model import findings
from tests.faults.history import Attempt, History

Json = dict[str, Any]


class _Story:
    """A history told attempt by attempt, one after the other unless it says when."""

    def __init__(self) -> None:
        """Two accounts are opened, a with 1,000 and b with nothing."""
        self.history = History()
        self._number = 0
        for position, account_id in ((1, "a"), (2, "b")):
            self.done("open_account", position, {"account_id": account_id, "limit": "0"})
        self.done("deposit", 4, {"account_id": "a", "amount": "1000", "currency": "EUR"})

    def sent(  # noqa: PLR0913 - what an attempt is made of
        self,
        operation: str,
        command: Json,
        *,
        answer: Json | None,
        status: int | None,
        at: tuple[float, float] | None = None,
        key: str | None = None,
        if_match: str | None = None,
    ) -> None:
        """An attempt."""
        self._number += 1
        began, ended = at or (2.0 * self._number, 2.0 * self._number + 1)
        is_read = operation.startswith("read")
        self.history.add(
            Attempt(
                client=1,
                number=self._number,
                operation=operation,
                key=None if is_read else key or f"key-{self._number}",
                command=command,
                url_index=0,
                invoked_at=began,
                completed_at=ended,
                status=status,
                answer=answer,
                if_match=if_match,
            )
        )

    def done(self, operation: str, position: int, command: Json, **more: Any) -> None:  # noqa: ANN401 - of an attempt
        """A command that was recorded."""
        answer = {"status": "recorded", "position": position, **more.pop("answer", {})}
        self.sent(operation, command, answer=answer, status=201, **more)

    def transfer(self, position: int, amount: int, **more: Any) -> None:  # noqa: ANN401 - of an attempt
        """A transfer from a to b."""
        self.done("transfer", position, _transfer(amount), **more)

    def refused(self, operation: str, command: Json, code: str, **more: Any) -> None:  # noqa: ANN401 - what was seen
        """A refusal of account a's, unless it says of which."""
        seen = {"account_id": "a", **more}
        answer = {"type": f"urn:ledger:problem:{code}", "code": code, "seen": seen}
        self.sent(operation, command, answer=answer, status=422)

    def read(self, position: int, posted: int, version: int, **more: Any) -> None:  # noqa: ANN401 - of an attempt
        """A balance of a's, read for the position that the answer has, unless it says for which."""
        asked = {"account_id": "a", "min_position": more.pop("least", position)}
        answer = _balance(position, posted, version) | more.pop("answer", {})
        self.sent("read_balance", asked, answer=answer, status=200, **more)

    def rules(self) -> set[str]:
        """The rules that are broken."""
        return {finding.rule for finding in findings(self.history)}


def _transfer(amount: int) -> Json:
    """A transfer from a to b."""
    return {
        "debit_account_id": "a",
        "credit_account_id": "b",
        "amount": str(amount),
        "currency": "EUR",
    }


def _balance(position: int, posted: int, version: int) -> Json:
    """A balance as the server shows it, without holds, limits and blocks."""
    return {
        "position": position,
        "posted_minor": str(posted),
        "held_minor": "0",
        "incoming_held_minor": "0",
        "limit_minor": "0",
        "version": version,
        "blocks": [],
    }


def test_an_honest_story_has_no_findings() -> None:
    """Movements, refusals, holds, limits, blocks and reads that are as they must be."""
    story = _Story()
    story.transfer(5, 400)
    story.read(5, 600, 3)
    story.refused("transfer", _transfer(700), "insufficient_funds", position=5, posted_minor="600")
    hold = {**_transfer(100), "hold_id": "h"}
    story.done("place_hold", 7, hold, answer={"type": "HoldPlaced", "amount": "100"})
    captured = {"type": "JournalEntryPosted", "postings": [{"amount": "60"}], "freed": "40"}
    story.done("capture_hold", 8, {"hold_id": "h", "amount": "60"}, answer=captured)
    story.refused("void_hold", {"hold_id": "h"}, "hold_already_captured", position=8)
    story.done("freeze_account", 9, {"account_id": "a", "cause": "c", "effect": "debit"})
    story.refused("transfer", _transfer(1), "account_blocked", position=9)
    story.done("unfreeze_account", 11, {"account_id": "a", "cause": "c"})
    story.done("set_limit", 12, {"account_id": "a", "limit": "500"}, if_match='"7"')
    story.read(12, 540, 8, answer={"limit_minor": "500"})
    legs = [{"account_id": "a", "side": "debit", "amount": "1000", "currency": "EUR"}]
    legs += [{"account_id": "b", "side": "credit", "amount": "1000", "currency": "EUR"}]
    story.done("post_entry", 13, {"postings": legs})
    assert findings(story.history) == []
    assert set(record(story.history).searched()) == {
        ("account", "a"),
        ("account", "b"),
        ("hold", "h"),
    }


def test_a_batch_is_its_commands() -> None:
    """What was done and refused in it counts; what was undone with it does not."""
    story = _Story()
    items = [{"type": "transfer", "key": f"k{index}", **_transfer(600)} for index in range(2)]
    refusal = {"code": "insufficient_funds", "seen": {"account_id": "a", "position": 5}}
    results = [{"status": "recorded", "position": 5}, {"status": "refused", "error": refusal}]
    story.sent("batch", {"commands": items}, answer={"results": results}, status=200)
    undone = [{"status": "refused", "error": refusal}] * 2
    story.sent("batch", {"commands": items}, answer={"results": undone}, status=422, key="again")
    story.read(6, 400, 3)
    assert story.rules() == set()


def test_a_lost_transfer_is_found() -> None:
    """A balance that misses an acknowledged transfer has no order, and is wrong at its position."""
    story = _Story()
    story.transfer(5, 400)
    story.read(5, 1000, 2)
    assert story.rules() == {"linearizability", "answer_at_position"}


def test_a_doubled_transfer_is_found() -> None:
    """So is one that counts it twice."""
    story = _Story()
    story.transfer(5, 400)
    story.read(6, 200, 4)
    assert story.rules() == {"linearizability", "answer_at_position"}


def test_an_overdraft_is_found() -> None:
    """Two transfers that one after the other cannot both be."""
    story = _Story()
    story.transfer(5, 700, at=(50, 60))
    story.transfer(6, 700, at=(51, 61))
    assert story.rules() == {"linearizability", "answer_at_position"}


def test_an_acknowledgement_without_effect_is_found() -> None:
    """An answer before which another's position was told that comes after: the clock is broken."""
    story = _Story()
    story.transfer(6, 100)
    story.transfer(5, 100)
    assert "position_order" in story.rules()


def test_a_read_that_is_too_old_is_found() -> None:
    """It asked for more than it was shown, even if that once was so."""
    story = _Story()
    story.transfer(5, 400)
    story.read(4, 1000, 2, least=5)
    assert story.rules() == {"position_order", "linearizability"}


def test_a_read_of_old_position_is_no_finding() -> None:
    """Whoever asks for less than others were told may be shown less: that is no register."""
    story = _Story()
    story.transfer(5, 400)
    story.read(4, 1000, 2, least=4)
    assert story.rules() == set()


def test_a_wrong_refusal_is_found() -> None:
    """There was enough, at the position that the refusal saw."""
    story = _Story()
    story.refused("transfer", _transfer(900), "insufficient_funds", position=4)
    assert story.rules() == {"linearizability", "answer_at_position"}


def test_a_stale_precondition_is_found() -> None:
    """Of two changes to one version of an account one must have been refused."""
    story = _Story()
    for position, limit in ((5, "10"), (6, "20")):
        command = {"account_id": "a", "limit": limit}
        story.done("set_limit", position, command, if_match='"2"', at=(50, 60))
    assert story.rules() == {"linearizability", "answer_at_position"}


@pytest.mark.parametrize("second", ["capture_hold", "void_hold"])
def test_a_hold_that_is_resolved_twice_is_found(second: str) -> None:
    """Voided and captured, or captured twice, whichever was first."""
    story = _Story()
    hold = {**_transfer(100), "hold_id": "h"}
    story.done("place_hold", 5, hold, answer={"type": "HoldPlaced", "amount": "100"})
    captured = {"type": "JournalEntryPosted", "postings": [{"amount": "100"}]}
    voided = {"type": "HoldReleased", "amount": "100"}
    story.done("capture_hold", 6, {"hold_id": "h"}, answer=captured, at=(50, 60))
    again = captured if second == "capture_hold" else voided
    story.done(second, 7, {"hold_id": "h"}, answer=again, at=(51, 61))
    assert {"linearizability", "answer_at_position"} <= story.rules()


def test_an_unknown_transfer_may_have_been_or_not() -> None:
    """Both balances are right as long as nobody knows; after one of them, the other is not."""
    story = _Story()
    story.sent("transfer", _transfer(400), answer=None, status=None)
    story.read(4, 1000, 2)
    story.read(5, 600, 3)
    assert story.rules() == set()
    story.read(6, 1000, 2)
    assert story.rules() == {"linearizability"}


def test_a_retried_command_counts_once() -> None:
    """From when it was first sent to its first answer; a refused attempt stands for itself."""
    story = _Story()
    story.sent("transfer", _transfer(400), answer=None, status=503, key="k", at=(50, 51))
    story.read(5, 600, 3, at=(52, 53))
    story.transfer(5, 400, key="k", at=(60, 61))
    story.transfer(5, 400, key="k", at=(62, 63))
    assert story.rules() == set()
    assert len(record(story.history).operations["account", "b"]) == 2


def test_many_commands_in_doubt_do_not_make_it_give_up() -> None:
    """Whatever was sent again much later overlaps all the rest; positions say what to try first."""
    story = _Story()
    for number in range(40):
        story.transfer(5 + number, 1 + number % 7, at=(50 - number / 10, 10_000))
    left = 1_000
    for number in range(40):
        left -= 1 + number % 7
        story.read(5 + number, left, 3 + number, at=(60.0 + number, 60.5 + number))
    assert story.rules() == set()


def test_profiles_are_registers() -> None:
    """A change that was acknowledged is shown, if the reader asks for its position."""
    story = _Story()
    story.done("register_customer", 5, {"customer_id": "c", "profile": {"segment": "retail"}})
    change = {"customer_id": "c", "changes": {"segment": "private"}, "reason": "asked"}
    story.done("change_profile", 6, change)
    asked = {"customer_id": "c", "min_position": 6}
    shown = {"position": 6, "profile": {"segment": "private"}, "masked": [], "hidden": []}
    story.sent("read_customer", asked, answer=shown, status=200)
    assert story.rules() == set()
    old = shown | {"profile": {"segment": "retail"}}
    story.sent("read_customer", asked, answer=old, status=200)
    assert story.rules() == {"linearizability", "answer_at_position"}


def test_what_happens_by_itself_is_left_out() -> None:
    """Accounts with holds that expire are not searched; the holds are."""
    story = _Story()
    hold = {**_transfer(100), "hold_id": "h", "timeout_s": 2}
    story.done("place_hold", 5, hold, answer={"type": "HoldPlaced", "amount": "100"})
    story.refused("void_hold", {"hold_id": "h"}, "hold_expired", position=9)
    story.read(9, 5, 5)
    assert story.rules() == set()
    recording = record(story.history)
    assert set(recording.left_out) == {"a", "b"}
    assert set(recording.searched()) == {("hold", "h")}
    story.done("void_hold", 12, {"hold_id": "h"}, answer={"type": "HoldReleased", "amount": "100"})
    assert story.rules() == {"linearizability"}
