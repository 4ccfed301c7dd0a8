"""Balances of every account, replayed from the events that move or reserve money.

Written from docs/formats.md, not from the ledger's program: an account has what was debited and
credited to it, and what open holds will debit and credit. Each event must fit what came before it.
Deliberately does not know limits, blocks, approvals or periods: whether an event should have been
allowed is the bank's business; that it adds up is everybody's.
"""

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ledger_verify.findings import shown
from ledger_verify.lines import Line
from ledger_verify.plain import (
    Malformed,
    is_list,
    is_object,
    list_of,
    number_of,
    parse_object,
    text_of,
)
from ledger_verify.vocabulary import (
    ACCOUNT_TYPES,
    CAUSES,
    FIELDS,
    KINDS,
    POSTING_FIELDS,
    VERSIONS,
)

AMOUNT_MAX = 10**36 - 1
POSTINGS_MIN = 2

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017 - reads as what it is
_MICROSECOND = timedelta(microseconds=1)

Event = dict[str, object]
Posting = tuple[bytes, str, int, str]
"""Account, side, amount in minor units, currency."""


class Account:
    """What was debited and credited to an account, and what is held, in minor units."""

    __slots__ = ("credits_held", "credits_posted", "currency", "debits_held", "debits_posted")

    def __init__(self, currency: bytes) -> None:
        """Begin with nothing."""
        self.currency = currency
        self.debits_posted = 0
        self.credits_posted = 0
        self.debits_held = 0
        self.credits_held = 0


class Hold:
    """An open hold: its accounts, its currency, and how much it still holds."""

    __slots__ = ("accounts", "currency", "expires_at", "is_multiple", "remaining")

    def __init__(self, event: Event) -> None:
        """Begin as it was placed."""
        self.accounts = _pair(event)
        self.currency = text_of(event, "currency")
        self.remaining = _amount(event, "amount_minor", least=0)
        self.expires_at = event.get("expires_at")
        self.is_multiple = event.get("multi_capture") is True


class Books:
    """All accounts and open holds after some event; without accounts, only what stands alone."""

    def __init__(self) -> None:
        """Begin with empty books."""
        self.accounts: dict[bytes, Account] = {}
        self.holds: dict[bytes, Hold] = {}
        self.reversals: dict[bytes, tuple[int, list[Posting]]] = {}
        self._steps: dict[str, Callable[[Event, Line], None]] = {
            "AccountOpened": self._open,
            "JournalEntryPosted": self._post,
            "HoldPlaced": self._place,
            "HoldReleased": self._release,
        }

    def apply(self, line: Line) -> None:
        """Take in one event.

        Raises:
            Malformed: it is not what it says that it is, or does not fit what came before.
        """
        event = read_event(line)
        step = self._steps.get(line.kind)
        if step is not None:
            step(event, line)

    def _account(self, account_id: bytes, currency: str) -> Account:
        """An account that was opened, in that currency."""
        account = self.accounts.get(account_id)
        if account is None:
            raise Malformed(f"account {shown(account_id)} was never opened")
        if account.currency != _id(currency):
            raise Malformed(f"account {shown(account_id)} is kept in another currency")
        return account

    def _open(self, event: Event, line: Line) -> None:
        """An account begins."""
        if text_of(event, "account_type") not in ACCOUNT_TYPES:
            raise Malformed("an account of an unknown type")
        account_id = _id_of(event, "account_id", f"acc_{line.position}")
        if account_id in self.accounts:
            raise Malformed(f"account {shown(account_id)} is opened a second time")
        self.accounts[account_id] = Account(_id(text_of(event, "currency")))

    def _post(self, event: Event, line: Line) -> None:
        """An entry moves money; a capture also ceases to hold it."""
        postings = postings_of(event)
        accounts = [self._account(posting[0], posting[3]) for posting in postings]
        if event.get("hold_id") is not None:
            self._capture(event, postings)
        for account, (_, side, amount, _) in zip(accounts, postings, strict=True):
            if side == "debit":
                account.debits_posted += amount
            else:
                account.credits_posted += amount
        if (event["kind"] == "reversal") != (event.get("reverses") is not None):
            raise Malformed("a reversal without what it reverses, or the other way round")
        if event["kind"] == "reversal":
            original = _id(text_of(event, "reverses"))
            if original in self.reversals:
                raise Malformed(f"it reverses what {self.reversals[original][0]} reversed before")
            self.reversals[original] = (line.position, postings)

    def _capture(self, event: Event, postings: list[Posting]) -> None:
        """A capture of a hold: it settles what it posts, and frees what it says."""
        hold_id = _id(text_of(event, "hold_id"))
        hold = self._open_hold(hold_id)
        freed = _amount(event, "freed_minor", least=0) if "freed_minor" in event else 0
        if len(postings) != POSTINGS_MIN or [posting[1] for posting in postings] != [
            "debit",
            "credit",
        ]:
            raise Malformed("a capture that is not one debit and one credit")
        if (postings[0][0], postings[1][0]) != hold.accounts or postings[0][3] != hold.currency:
            raise Malformed("a capture on other accounts than the hold's")
        settled = postings[0][2] + freed
        if settled > hold.remaining:
            raise Malformed("a capture of more than the hold still holds")
        if settled < hold.remaining and not hold.is_multiple:
            raise Malformed("a hold of one capture that stays open")
        self._hold(hold, -settled)
        hold.remaining -= settled
        if not hold.remaining:
            del self.holds[hold_id]

    def _place(self, event: Event, line: Line) -> None:
        """A hold begins."""
        hold = Hold(event)
        hold_id = _id_of(event, "hold_id", f"hld_{line.position}")
        if hold_id in self.holds:
            raise Malformed(f"hold {shown(hold_id)} is placed a second time")
        self._hold(hold, hold.remaining)
        self.holds[hold_id] = hold

    def _release(self, event: Event, line: Line) -> None:
        """What a hold still held is freed."""
        hold_id = _id(text_of(event, "hold_id"))
        hold = self._open_hold(hold_id)
        cause = text_of(event, "cause")
        if cause not in CAUSES:
            raise Malformed("a hold that is freed for an unknown cause")
        if _pair(event) != hold.accounts or text_of(event, "currency") != hold.currency:
            raise Malformed("a hold that is freed on other accounts than its own")
        if _amount(event, "amount_minor", least=0) != hold.remaining:
            raise Malformed("another amount is freed than the hold still holds")
        if cause == "expired":
            due_at = event.get("due_at")
            if due_at is None or due_at != hold.expires_at:
                raise Malformed("a hold that expires at another time than it was to")
            if _micros(due_at) > line.recorded_at_us:
                raise Malformed("a hold that expires before its time")
        self._hold(hold, -hold.remaining)
        del self.holds[hold_id]

    def _open_hold(self, hold_id: bytes) -> Hold:
        """A hold that was placed and is not resolved."""
        hold = self.holds.get(hold_id)
        if hold is None:
            raise Malformed(f"hold {shown(hold_id)} was never placed, or is resolved already")
        return hold

    def _hold(self, hold: Hold, change: int) -> None:
        """Both accounts of a hold have more, or less, held."""
        debit, credit = (self._account(name, hold.currency) for name in hold.accounts)
        debit.debits_held += change
        credit.credits_held += change


def read_event(line: Line) -> Event:
    """The event's fields; each known, where the event opens accounts or moves money.

    Raises:
        Malformed: no event that is known here.
    """
    versions = VERSIONS.get(line.kind)
    if versions is None:
        raise Malformed(f"unknown event type {shown(line.kind)}")
    if line.version not in versions:
        raise Malformed(f"unknown version {line.version} of {line.kind}")
    event = parse_object(line.data)
    fields = FIELDS.get(line.kind)
    if fields is not None and not fields >= event.keys():
        unknown = min(event.keys() - fields)
        raise Malformed(f"unknown field {shown(unknown)} of {line.kind}")
    return event


def entry_id_of(event: Event, position: int) -> bytes:
    """An entry's id: the one that was chosen, else the one that follows from its position.

    Raises:
        Malformed: it is no string.
    """
    return _id_of(event, "entry_id", f"jrn_{position}")


def mirrored(postings: list[Posting]) -> list[Posting]:
    """The same postings with debit and credit exchanged."""
    return [
        (account, "credit" if side == "debit" else "debit", amount, currency)
        for account, side, amount, currency in postings
    ]


def check_alone(line: Line) -> None:
    """What can be said of an event without those before it: it is known, and an entry balances.

    Raises:
        Malformed: it is unknown, malformed, or does not balance.
    """
    event = read_event(line)
    if line.kind == "JournalEntryPosted":
        postings_of(event)


def postings_of(event: Event) -> list[Posting]:
    """The postings of an entry, which balance in every currency.

    Raises:
        Malformed: they do not, or are malformed.
    """
    if text_of(event, "kind") not in KINDS:
        raise Malformed("an entry of an unknown kind")
    postings = [_posting(item) for item in list_of(event, "postings")]
    if len(postings) < POSTINGS_MIN:
        raise Malformed("an entry of fewer than two postings")
    sums: dict[str, int] = {}
    for _, side, amount, currency in postings:
        sums[currency] = sums.get(currency, 0) + (amount if side == "debit" else -amount)
    for currency, difference in sums.items():
        if difference:
            raise Malformed(
                f"an entry that does not balance: debits minus credits in {shown(currency)}"
                f" are {difference}"
            )
    return postings


def _posting(item: object) -> Posting:
    """One posting."""
    if not is_object(item) or item.keys() != POSTING_FIELDS:
        raise Malformed("a posting of another form")
    side = text_of(item, "side")
    if side not in {"debit", "credit"}:
        raise Malformed("a posting that is neither debit nor credit")
    return (
        _id(text_of(item, "account_id")),
        side,
        _amount(item, "amount_minor", least=1),
        text_of(item, "currency"),
    )


def _amount(event: Event, name: str, *, least: int) -> int:
    """An amount in minor units."""
    amount = number_of(event, name, least=least)
    if amount > AMOUNT_MAX:
        raise Malformed(f"{name} has more than 36 digits")
    return amount


def _pair(event: Event) -> tuple[bytes, bytes]:
    """The accounts of a hold: to be debited, to be credited."""
    return _id(text_of(event, "debit_account_id")), _id(text_of(event, "credit_account_id"))


def _id_of(event: Event, name: str, derived: str) -> bytes:
    """An id that was chosen, else the one that follows from the position."""
    return _id(text_of(event, name)) if name in event else derived.encode()


def _id(text: str) -> bytes:
    """An id as bytes: those that stand in the log where nothing is escaped."""
    return text.encode("utf-8", "surrogatepass")


def _micros(moment: object) -> int:
    """Microseconds since 1970 of a time as an event tells it."""
    if not isinstance(moment, str) or is_list(moment):
        raise Malformed("a time that is no string")
    try:
        return (datetime.fromisoformat(moment) - _EPOCH) // _MICROSECOND
    except (ValueError, TypeError, OverflowError):
        raise Malformed("a time of another form") from None
