"""The workloads: endless streams of commands in wire form, the same for whoever carries them out.

W1 draws accounts by Zipf's law (exponent 1.0), W2 uniformly, W3 has one account on every transfer,
W4 mixes kinds: of its units 70 % are transfers, 10 % deposits, 10 % withdrawals, 5 % a hold and its
capture, 5 % a freeze and its lifting or a profile change. Knows no HTTP, no SQL, no ledger.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate, islice
from typing import Literal

from api import clock

Command = dict[str, object]
"""A command as the batch route and ``ledger load`` take it, ``type`` and ``key`` included."""
Name = Literal["W1", "W2", "W3", "W4"]
KeyForm = Literal["uuid7", "text"]

CURRENCY = "EUR"
ACCOUNTS = 100_000
# Far more than any run moves: the limit is checked by every booking and refuses none.
LIMIT = "100000000000"
# Frozen and lifted in W4, on no transfer: so that no workload depends on the order of connections.
FROZEN_ACCOUNTS = 100
CUSTOMERS = 100
# Pairs drawn at a time: few, because every connection has a stream of its own.
CHUNK = 256

_AMOUNTS = [str(amount) for amount in range(100, 1_000)]


def account_id(number: int) -> str:
    """The id of a benchmark account, of one length for all."""
    return f"acct-{number:07}"


@cache
def account_ids(count: int) -> Sequence[str]:
    """Ids of ``count`` accounts, the most used of W1 first: popular ones are no neighbours."""
    names = [account_id(number) for number in range(count)]
    random.Random(7).shuffle(names)
    return names


def frozen_id(number: int) -> str:
    """The id of an account that W4 freezes and lifts."""
    return f"frozen-{number:04}"


def customer_id(number: int) -> str:
    """The id of a customer whose profile W4 changes."""
    return f"customer-{number:04}"


def opening(count: int) -> Iterator[Command]:
    """The commands that open everything the workloads touch."""
    for number in range(CUSTOMERS):
        customer = customer_id(number)
        yield {
            "type": "register_customer",
            "key": f"register-{customer}",
            "customer_id": customer,
            "profile": {"name": f"Customer {number}"},
        }
    names = [account_id(number) for number in range(count)]
    for name in names + [frozen_id(number) for number in range(FROZEN_ACCOUNTS)]:
        yield {
            "type": "open_account",
            "key": f"open-{name}",
            "account_id": name,
            "currency": CURRENCY,
            "limit": LIMIT,
        }


def opened_count(count: int) -> int:
    """How many commands that is."""
    return CUSTOMERS + count + FROZEN_ACCOUNTS


def commands(
    workload: Name, seed: int, accounts: int = ACCOUNTS, keys: KeyForm = "uuid7"
) -> Iterator[Command]:
    """The workload's commands; each seed gives another stream. Keys are never the same."""
    rng = random.Random(seed)
    key = new_key if keys == "uuid7" else text_key
    if workload != "W4":
        for debit, credit in pairs(workload, rng, accounts):
            yield _transfer(key(), debit, credit, rng)
    for debit, credit in pairs("W1", rng, accounts):
        yield from _mixed(debit, credit, rng, key)


def pairs(workload: Name, rng: random.Random, accounts: int) -> Iterator[tuple[str, str]]:
    """Two different accounts for each transfer: the debited and the credited one."""
    names = account_ids(accounts)
    hot = names[0]
    if workload == "W1":
        weights = _zipf(accounts)
        while True:
            drawn = rng.choices(names, cum_weights=weights, k=2 * CHUNK)
            yield from _different(drawn[:CHUNK], drawn[CHUNK:])
    while True:
        debits = [hot] * CHUNK if workload == "W3" else rng.choices(names, k=CHUNK)
        yield from _different(debits, rng.choices(names, k=CHUNK))


def new_key() -> str:
    """A key as a client should make it: a UUID of version 7, which sorts by time."""
    return str(clock.new_uuid())


def text_key() -> str:
    """A key without any order, as many clients make it."""
    return clock.random_bytes(16).hex()


def take(stream: Iterator[Command], count: int) -> list[Command]:
    """The next commands of a stream."""
    return list(islice(stream, count))


@cache
def _zipf(count: int) -> Sequence[float]:
    """Cumulated weights of so many ranks by Zipf's law with exponent 1.0."""
    return list(accumulate(1 / rank for rank in range(1, count + 1)))


def _different(debits: list[str], credits_: list[str]) -> Iterator[tuple[str, str]]:
    """The pairs whose accounts differ."""
    return (
        (debit, credit) for debit, credit in zip(debits, credits_, strict=True) if debit != credit
    )


def _transfer(key: str, debit: str, credit: str, rng: random.Random) -> Command:
    """Move some euros."""
    return {
        "type": "transfer",
        "key": key,
        "debit_account_id": debit,
        "credit_account_id": credit,
        "amount": _AMOUNTS[int(rng.random() * len(_AMOUNTS))],
        "currency": CURRENCY,
    }


def _mixed(
    debit: str, credit: str, rng: random.Random, key: Callable[[], str]
) -> Iterator[Command]:
    """One unit of W4: one command, or two that belong together, in order."""
    drawn = rng.random()
    transfer = _transfer(key(), debit, credit, rng)
    if drawn < 0.70:  # noqa: PLR2004 - the shares of the module's docstring
        yield transfer
    elif drawn < 0.90:  # noqa: PLR2004
        yield {
            "type": "deposit" if drawn < 0.80 else "withdraw",  # noqa: PLR2004
            "key": transfer["key"],
            "account_id": debit,
            "amount": transfer["amount"],
            "currency": CURRENCY,
        }
    elif drawn < 0.95:  # noqa: PLR2004
        hold_id = new_key()
        yield {**transfer, "type": "place_hold", "hold_id": hold_id}
        yield {"type": "capture_hold", "key": key(), "hold_id": hold_id}
    elif drawn < 0.975:  # noqa: PLR2004
        target = {"account_id": frozen_id(rng.randrange(FROZEN_ACCOUNTS)), "cause": new_key()}
        yield {"type": "freeze_account", "key": key(), **target}
        yield {"type": "unfreeze_account", "key": key(), **target}
    else:
        yield {
            "type": "change_profile",
            "key": key(),
            "customer_id": customer_id(rng.randrange(CUSTOMERS)),
            "changes": {"name": f"Customer {rng.randrange(1_000_000)}"},
            "reason": "benchmark",
        }
