"""``python -m benchmarks.soak``: what half an hour does to a server, and three times too much.

Both begin by measuring the capacity of this machine for the mixture (``mixture``): what a closed
loop gets answered in a few seconds, on the best number of connections, is a burst; its capacity is
the largest tenth of that which is offered without waiting for answers for half a minute, with none
refused, 99 of 100 answered in half a second, and the views less than two seconds behind.
``--minutes N`` then sends 70 % of it for that long and looks at memory, lag, errors and times.
``--overload SECONDS`` sends half of it, three times it for so long, and half again. Clients,
server, projector and PostgreSQL share the machine. The results go to ``results/soak.json`` and
``results/overload.json``, and with ``--docs`` into ``docs/overload.md``. The exit code is 1 where a
target was missed.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec

from benchmarks import open_loop, report, soak_report
from benchmarks.open_loop import OpenPlan, OpenResult
from benchmarks.product import Product, Server, started
from benchmarks.sampling import SHARED, Sampler, growth, median, percentile
from benchmarks.soak_report import Overload, Soak, Target

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "overload.md"

ACCOUNTS = 20_000
BURST_S = 8.0
CAPACITY_S = 30.0
CAPACITY_STEP_PERCENT = 10
CAPACITY_SLOW_S = 0.5
CAPACITY_CONNECTIONS = (64, 256, 1_024)
SETTLE_S = 3.0

_SHARED_BUFFERS = "SELECT pg_size_bytes(current_setting('shared_buffers'))"

SOAK_SHARE = 0.7
SOAK_CONNECTIONS = 1_000
WARM_UP_SHARE = 0.25
GROWTH_PERCENT_MAX = 5.0
# Kinds of processes below so much are counters and buffers: 5 % of them is a page or two.
SMALL_MIB = 10.0
LAG_S_MAX = 2.0

OVERLOAD_FACTOR = 3.0
OVERLOAD_CONNECTIONS = 1_900
HALF = 0.5
BEFORE_S = 10.0
AFTER_S = 30.0
RISE_S = 2
THROUGHPUT_SHARE_MIN = 0.8
REFUSED_S_MAX = 0.1
RECOVERY_S_MAX = 10
# Normal is within the time that a server promises (``LEDGER_QUEUE_S``), or what half the load took
# before, within so much: a machine that is shared breathes.
NORMAL_FACTOR = 2.0
NORMAL_S = 0.25


def main() -> int:
    """Do what the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="soak for so long")
    parser.add_argument("--overload", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--accounts", type=int, default=ACCOUNTS)
    parser.add_argument("--docs", action="store_true", help="write docs/overload.md anew")
    options = parser.parse_args()
    is_met = True
    if options.minutes:
        is_met &= _run("soak", options.accounts, partial(soak, options.minutes * 60))
    if options.overload:
        is_met &= _run("overload", options.accounts, partial(overload, options.overload))
    if options.docs:
        document()
    return 0 if is_met else 1


class Bench(msgspec.Struct, frozen=True):
    """What is measured."""

    product: Product
    server: Server

    def plan(self, connections: int, number: int) -> OpenPlan:
        """A plan without phases; every number is another seed."""
        return OpenPlan(
            address=self.server.address,
            phases=[],
            connections=connections,
            accounts=self.product.accounts,
            seed=time.time_ns() % 1_000_000 * 100 + number,
        )


def _run(name: str, accounts: int, measure: Callable[[Bench, float], Soak | Overload]) -> bool:
    """Measure on a database of its own, keep and print what came of it; whether all was met."""
    with started(accounts) as product, product.serving() as server:
        bench = Bench(product, server)
        found = capacity(bench)
        _say(f"capacity: {found:.0f} requests/s")
        time.sleep(SETTLE_S)
        result = measure(bench, found)
    RESULTS.mkdir(exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(result), indent=1)
    (RESULTS / f"{name}.json").write_bytes(text + b"\n")
    shown = soak_report.markdown(result)
    (RESULTS / f"{name}.md").write_text(shown)
    print(shown)
    return all(target.is_met for target in result.targets)


def document() -> None:
    """Bring the figures of ``docs/overload.md`` up to the latest results."""
    text = PAGE.read_text()
    kinds: dict[str, type[Soak | Overload]] = {"soak": Soak, "overload": Overload}
    for name, kind in kinds.items():
        kept = RESULTS / f"{name}.json"
        if kept.exists():
            found = msgspec.json.decode(kept.read_bytes(), type=kind)
            text = report.replaced(text, name, soak_report.markdown(found))
    PAGE.write_text(text)


def capacity(bench: Bench) -> float:
    """Requests a second that are all answered in time, and in every view in time."""
    burst = max(_burst(bench, connections) for connections in CAPACITY_CONNECTIONS)
    for percent in range(100, 0, -CAPACITY_STEP_PERCENT):
        rate = burst * percent / 100
        if _keeps_up(bench, rate):
            return rate
    msg = "not even a small part of a burst is answered in time"
    raise RuntimeError(msg)


def _burst(bench: Bench, connections: int) -> float:
    """Requests a second that a closed loop gets answered for some seconds."""
    plan = bench.plan(connections, connections)
    plan.phases.append((0.0, BURST_S))
    result = open_loop.result_of(open_loop.start(plan))
    require_answered(result)
    bench.product.await_projected(bench.product.head())
    # The first second is of connections that open and caches that fill.
    counted = result.buckets[1 : int(BURST_S)]
    rate = sum(bucket.accepted for bucket in counted) / len(counted)
    _say(f"closed loop on {connections} connections: {rate:.0f} requests/s")
    return rate


def _keeps_up(bench: Bench, rate: float) -> bool:
    """Whether that rate is answered in time for some time, and the views keep up with it."""
    plan = bench.plan(SOAK_CONNECTIONS, int(rate))
    plan.phases.append((rate, CAPACITY_S))
    sampler = _sampler(bench)
    result = open_loop.result_of(open_loop.start(plan))
    sampler.stop()
    require_answered(result)
    answers = open_loop.total(result.buckets)
    slow_s = open_loop.percentile(answers.latencies, 99)
    begun_at = result.begun_at
    behind = [item for item in sampler.lags if begun_at <= item.at_s <= begun_at + CAPACITY_S]
    lag_s = percentile([max(item.seconds.values()) for item in behind], 99)
    late = answers.refused + answers.given_up
    _say(f"{rate:.0f} requests/s: p99 {slow_s:.2f} s, views {lag_s:.2f} s behind, {late} refused")
    bench.product.await_projected(bench.product.head())
    return slow_s <= CAPACITY_SLOW_S and lag_s <= LAG_S_MAX and not late


def soak(seconds: float, bench: Bench, found: float) -> Soak:
    """Send 70 % of the capacity for that long."""
    rate, product = SOAK_SHARE * found, bench.product
    plan = bench.plan(SOAK_CONNECTIONS, 7)
    plan.phases.append((rate, seconds))
    size_before = _database_bytes(product)
    sampler = _sampler(bench)
    result = open_loop.result_of(open_loop.start(plan))
    sampler.stop()
    begin = result.begun_at
    warm_at = begin + WARM_UP_SHARE * seconds
    counted = [item for item in sampler.lags if begin <= item.at_s <= begin + seconds]
    grown = growth(sampler.memory, warm_at, begin + seconds)
    all_answers = open_loop.total(result.buckets)
    statuses = result.statuses
    errors = {name: count for name, count in statuses.items() if not name.startswith("2")}
    if result.broken:
        errors["connection ended"] = result.broken
    if result.unanswered:
        errors["no answer"] = result.unanswered
    if all_answers.given_up:
        errors["given up"] = all_answers.given_up
    errors |= dict.fromkeys(sampler.failures, 1)
    lag_s = percentile([max(item.seconds.values()) for item in counted], 99)
    worst = max(
        (
            abs(item.percent)
            for name, item in grown.items()
            if item.before_mib >= SMALL_MIB and name != SHARED
        ),
        default=0.0,
    )
    return Soak(
        machine=report.machine(),
        capacity_per_s=found,
        rate_per_s=rate,
        seconds=seconds,
        answered=all_answers.accepted,
        answered_per_s=all_answers.accepted / seconds,
        percentiles_ms={
            name: 1_000 * open_loop.percentile(all_answers.latencies, float(name))
            for name in ("50", "99", "99.9")
        },
        warm_up_s=WARM_UP_SHARE * seconds,
        memory={
            name: (item.before_mib, item.after_mib, item.percent) for name, item in grown.items()
        },
        lags={
            name: (
                percentile([item.events[name] for item in counted], 99),
                percentile([item.seconds[name] for item in counted], 99),
            )
            for name in (counted[0].events if counted else {})
        },
        errors=errors,
        database_mib=(size_before / 2**20, _database_bytes(product) / 2**20),
        client_cores=result.cpu_s / seconds,
        memory_over_time=[
            (round(item.at_s - begin, 1), {name: round(mib, 1) for name, mib in item.mib.items()})
            for item in sampler.memory[:: max(1, len(sampler.memory) // 200)]
        ],
        shared_buffers_mib=_shared_buffers_mib(product),
        lag_over_time=[
            (round(item.at_s - begin, 1), round(max(item.seconds.values()), 2))
            for item in counted[:: max(1, len(counted) // 400)]
        ],
        targets=[
            Target("memory after warm-up", worst <= GROWTH_PERCENT_MAX, f"±{worst:.1f} %", "±5 %"),
            Target("lag, p99", lag_s < LAG_S_MAX, f"{lag_s:.2f} s", "under 2 s"),
            Target("errors", not errors, str(sum(errors.values())), "0"),
        ],
    )


def overload(seconds: float, bench: Bench, found: float) -> Overload:
    """Send half of the capacity, three times it for that long, and half again."""
    phases = [(HALF * found, BEFORE_S), (OVERLOAD_FACTOR * found, seconds), (HALF * found, AFTER_S)]
    sampler = _sampler(bench)
    plan = bench.plan(OVERLOAD_CONNECTIONS, 20)
    plan.phases.extend(phases)
    result = open_loop.result_of(open_loop.start(plan))
    sampler.stop()
    buckets = result.buckets
    first, last = int(BEFORE_S), int(BEFORE_S + seconds)
    before = open_loop.total(buckets[1:first])
    during = open_loop.total(buckets[first + RISE_S : last])
    after = buckets[last : last + int(AFTER_S)]
    during_s = last - first - RISE_S
    normal_s = max(NORMAL_S, NORMAL_FACTOR * open_loop.percentile(before.latencies, 99))
    lag_s = {
        int(item.at_s - result.begun_at): max(item.seconds.values())
        for item in sampler.lags
        if item.at_s >= result.begun_at
    }
    behind = [lag_s.get(last + number, 0.0) > LAG_S_MAX for number in range(len(after))]
    recovery_s = recovered_after(after, normal_s, behind)
    share = during.accepted / during_s / found
    refused_s = open_loop.percentile(during.refused_since_sent, 99)
    faults = {name: count for name, count in result.statuses.items() if name[0] != "2"}
    for name in ("503", "429"):
        faults.pop(name, None)
    faults |= {"connection ended": result.broken} if result.broken else {}
    faults |= {"no answer": result.unanswered} if result.unanswered else {}
    memory = [item.mib.get("server", 0.0) for item in sampler.memory]
    return Overload(
        machine=report.machine(),
        capacity_per_s=found,
        offered_per_s=OVERLOAD_FACTOR * found,
        seconds=seconds,
        connections=OVERLOAD_CONNECTIONS,
        accepted_per_s=during.accepted / during_s,
        refused_per_s=during.refused / during_s,
        given_up_per_s=during.given_up / during_s,
        accepted_ms={
            name: 1_000 * open_loop.percentile(during.latencies, float(name))
            for name in ("50", "99")
        },
        refused_ms={
            name: 1_000 * open_loop.percentile(during.refused_since_sent, float(name))
            for name in ("50", "99")
        },
        refused_since_due_ms={
            name: 1_000 * open_loop.percentile(during.refused_latencies, float(name))
            for name in ("50", "99")
        },
        before_ms=1_000 * open_loop.percentile(before.latencies, 99),
        after_ms=1_000 * open_loop.percentile(open_loop.total(after[-10:]).latencies, 99),
        recovery_s=recovery_s,
        lag_s_max=max(lag_s.values(), default=0.0),
        server_mib=(median(memory[:5]), max(memory, default=0.0), median(memory[-5:])),
        faults=faults,
        client_cores=result.cpu_s / (BEFORE_S + seconds + AFTER_S),
        accepted_over_time=[bucket.accepted for bucket in buckets],
        refused_over_time=[bucket.refused for bucket in buckets],
        targets=[
            Target(
                "answered in overload",
                share >= THROUGHPUT_SHARE_MIN,
                f"{share:.0%} of capacity",
                "80 % at least",
            ),
            Target(
                "refused within, p99",
                bool(during.refused) and refused_s < REFUSED_S_MAX,
                f"{1_000 * refused_s:.0f} ms",
                "100 ms",
            ),
            Target(
                "recovered after",
                recovery_s is not None and recovery_s <= RECOVERY_S_MAX,
                "never" if recovery_s is None else f"{recovery_s} s",
                "10 s",
            ),
            Target("other errors", not faults, str(sum(faults.values())), "0"),
        ],
    )


def _sampler(bench: Bench) -> Sampler:
    """What looks at memory and lag, from now on."""
    product = bench.product
    return Sampler(product.owner_url, product.ledger_id, bench.server.pid, product.folder)


def recovered_after(
    after: Sequence[open_loop.Bucket], normal_s: float, behind: Sequence[bool]
) -> int | None:
    """After how many seconds every one is as before: no refusal, times normal, views not behind."""
    recovered: int | None = None
    for number, (bucket, is_behind) in enumerate(zip(after, behind, strict=True)):
        is_slow = open_loop.percentile(bucket.latencies, 99) > normal_s
        if bucket.refused or bucket.given_up or is_slow or is_behind:
            recovered = None
        elif recovered is None:
            recovered = number
    return recovered


def require_answered(result: OpenResult) -> None:
    """Everything was answered, and nothing failed; what found no room does not count as capacity.

    Raises:
        RuntimeError: something was not: the measurement is void.
    """
    known = {"200", "201", "503"}
    if result.broken or result.unanswered or not known.issuperset(result.statuses):
        msg = f"not everything was answered: {json.dumps(result.statuses)}"
        raise RuntimeError(msg)


def _database_bytes(product: Product) -> int:
    """How large the database is."""
    with product.runtime.connect("ledger_reader") as connection:
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return 0 if row is None else int(row[0])


def _shared_buffers_mib(product: Product) -> float:
    """How much memory PostgreSQL was told at its start to share for its pages."""
    with product.runtime.connect("ledger_reader") as connection:
        row = connection.execute(_SHARED_BUFFERS).fetchone()
    return 0.0 if row is None else int(row[0]) / 2**20


def _say(text: str) -> None:
    """Tell how it goes."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
