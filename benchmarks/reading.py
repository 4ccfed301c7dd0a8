"""The parts of a run that read or go over the whole log: queries, rebuild, verify, start.

The command line's own start and end are measured on an empty ledger and taken off, so that the
figures are of the work and do not depend on how long the log is.
"""

import time
from itertools import islice

import msgspec

from benchmarks import load, workloads
from benchmarks.figures import Book
from benchmarks.product import Product, Server, decoded
from benchmarks.sizes import Sizes
from benchmarks.writing import OURS, latencies, less, plan_for

# What a page costs, not how many can be had: one at a time.
READ_CONNECTIONS = 1
POSTINGS_AT_ONCE = 8_000
AS_OF_POSITIONS = 100
"""Different positions asked about, side by side: no answer can be kept from the last time."""


def balances(product: Product, server: Server, book: Book, sizes: Sizes) -> None:
    """Target 6: posted and available balance of one account after another, 64 connections."""
    for number in range(sizes.rounds):
        book.controls.measure("I")
        begun = time.monotonic()
        plan = plan_for(product, server, sizes, 64, number)
        meter = server.meter()
        result = _read(msgspec.structs.replace(plan, what="balance"))
        book.add(
            "balance, 64 connections",
            "reads/s",
            "I",
            begun=begun,
            rate=result.rate,
            cpu={
                "load generator": result.client_cpu_us,
                **meter.per_item(sum(result.statuses.values())),
            },
            seen=latencies(result),
        )
        book.controls.measure("I")


def pages(product: Product, server: Server, book: Book, sizes: Sizes) -> None:
    """Target 6: pages of a large account's statement, and its balance as it was."""
    account = workloads.account_ids(product.accounts)[0]
    head = product.head()
    statement = f"/v1/accounts/{account}/statement?limit=100"
    asked = {
        "statement of 100 lines, first page": [statement],
        "statement of 100 lines, last page": [f"{statement}&order=newest_first"],
        "statement of 100 lines, by value date": [
            f"{statement}&axis=value_date",
            f"{statement}&axis=value_date&order=newest_first",
        ],
    }
    opened = workloads.opened_count(product.accounts)
    for share in (1, 50, 99):
        position = opened + (head - opened) * share // 100
        asked[f"balance as of {share} % of the log"] = [
            f"/v1/accounts/{account}/balance?as_of_position={position - back}"
            for back in range(AS_OF_POSITIONS)
        ]
    asked["inclusion proof"] = [
        f"/v1/proofs/inclusion?size={head}&position={1 + number * (head - 1) // AS_OF_POSITIONS}"
        for number in range(AS_OF_POSITIONS)
    ]
    for name, paths in asked.items():
        begun = time.monotonic()
        result = _read(
            load.Plan(
                adapter=OURS,
                address=server.address,
                connections=READ_CONNECTIONS,
                seconds=sizes.http_s,
                what="call",
                paths=paths,
            )
        )
        book.add(name, "reads/s", None, begun=begun, rate=result.rate, seen=latencies(result))


def grow_statement(product: Product, sizes: Sizes) -> int:
    """Book transfers on one account until it has as many postings; how many it has."""
    stream = workloads.commands("W3", 400, product.accounts)
    account = workloads.account_ids(product.accounts)[0]
    product.execute(decoded(list(islice(stream, 1))))
    product.catch_up()
    while (missing := sizes.statement_postings - _postings(product, account)) > 0:
        while missing > 0:
            product.execute(decoded(list(islice(stream, POSTINGS_AT_ONCE))))
            missing -= POSTINGS_AT_ONCE
        product.catch_up()
    return _postings(product, account)


def upkeep(product: Product, book: Book, sizes: Sizes) -> None:
    """Target 5: rebuild every projection; fold the whole log and compare everything with it."""
    product.runtime.create_ledger("empty")
    product.catch_up()
    events = product.head()
    work = (
        ("rebuild of all projections", ("rebuild", "all")),
        ("ledger verify", ("verify",)),
    )
    for name, arguments in work * sizes.rounds:
        idle_s, _ = product.command_line(*arguments, ledger="empty")
        book.controls.measure("C")
        begun = time.monotonic()
        elapsed, _ = product.command_line(*arguments)
        book.add(
            name,
            "events/s",
            "C",
            begun=begun,
            rate=events / less(elapsed, idle_s),
            seen={"events": events, "idle_s": idle_s},
        )
        book.controls.measure("C")


def start(product: Product, book: Book) -> None:
    """Target 8: how long until ``ledger serve`` says that it is ready."""
    for _ in range(2):
        begun = time.monotonic()
        with product.serving() as server:
            book.add(
                "start of ledger serve",
                "",
                None,
                begun=begun,
                rate=0.0,
                seen={"start_s": server.start_s, "events": product.head()},
            )


def glance(product: Product, server: Server) -> None:
    """Read one of everything, for who looks on."""
    account = workloads.account_ids(product.accounts)[0]
    paths = [
        f"/v1/accounts/{account}/balance",
        f"/v1/accounts/{account}/balance?as_of_position={product.head() // 2}",
        f"/v1/accounts/{account}/statement?limit=100",
        f"/v1/accounts/{account}/statement?limit=100&axis=value_date",
    ]
    plan = load.Plan(adapter=OURS, address=server.address, connections=1, seconds=0.5)
    _read(msgspec.structs.replace(plan, what="call", paths=paths, warm_up_s=0))


def _read(plan: load.Plan) -> load.LoadResult:
    """Run the load generator on reads: every answer must be a good one."""
    result = load.run(plan)
    if set(result.statuses) != {"200"}:
        msg = f"reads failed: {result.statuses}"
        raise RuntimeError(msg)
    return result


def _postings(product: Product, account: str) -> int:
    """How many postings the account's statement has."""
    with product.runtime.connect("ledger_reader") as connection:
        row = connection.execute(
            "SELECT count(*) FROM views.statement_lines WHERE ledger_id = %(ledger)s"
            " AND slot = (SELECT slot FROM views.projections"
            "   WHERE ledger_id = %(ledger)s AND name = 'statements' AND live)"
            " AND account_no = (SELECT min(account_no) FROM views.accounts"
            "   WHERE ledger_id = %(ledger)s AND account_id = %(account)s)",
            {"ledger": product.ledger_id, "account": account},
        ).fetchone()
    return 0 if row is None else int(row[0])
