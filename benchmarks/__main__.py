"""``python -m benchmarks``: measure everything, print the table, keep it in ``results``.

``BENCH=quick`` makes every part shorter. ``--rival FILE --address URL`` drives another ledger
instead, by the adapter in that file. ``--growth EVENTS`` measures on a small log and on one of that
size. ``--profile`` says where the time goes. ``README.md`` says what each figure means.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import msgspec

from api import collector
from benchmarks import drawing, growth, profiling, reading, report, rivals, writing
from benchmarks.controls import Controls
from benchmarks.figures import Book
from benchmarks.product import Product, started
from benchmarks.sizes import MODES, Sizes

RESULTS = Path(__file__).parent / "results"
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
PLOTS = PAGE.with_suffix("")


def everything(sizes: Sizes, mode: str) -> int:
    """Measure every target; 1 if some part could not be measured."""
    with started(sizes.accounts) as product:
        book = Book(Controls(product.owner_url, sizes.insert_s))
        writing.begin(product, book, sizes)
        faults: list[str] = []
        part("rebuild and verify", lambda: reading.upkeep(product, book, sizes), faults)
        part("library", lambda: writing.library(product, book, sizes), faults)
        part("load", lambda: writing.load_file(product, book, sizes), faults)
        part("end to end", lambda: writing.end_to_end(product, book, sizes), faults)
        with product.serving() as server:
            part("HTTP", lambda: writing.over_http(product, server, book, sizes), faults)
            part("balances", lambda: reading.balances(product, server, book, sizes), faults)
        part("large account", lambda: reading.grow_statement(product, sizes), faults)
        with product.serving() as server:
            part("statements", lambda: reading.pages(product, server, book, sizes), faults)
        part("start", lambda: reading.start(product, book), faults)
        stores = {name: store(name, product, sizes) for name in ("eventsourcing", "umadb")}
    RESULTS.mkdir(exist_ok=True)
    text = report.markdown(book, mode, stores, faults)
    (RESULTS / "latest.md").write_text(text)
    (RESULTS / "latest.json").write_bytes(report.as_json(book, mode, stores, faults))
    print(text)
    return 1 if faults else 0


def part(name: str, measure: Callable[[], object], faults: list[str]) -> None:
    """Measure a part; what fails is told, and does not cost the other figures."""
    print(f"{name} …", file=sys.stderr, flush=True)
    begun = time.monotonic()
    try:
        measure()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        traceback.print_exc()
        faults.append(f"{name}: {type(error).__name__}: {error}")
    print(f"  {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)


def store(name: str, product: Product, sizes: Sizes) -> dict[str, float | str]:
    """What another event store does, in a process of its own; or why that is not known."""
    print(f"{name} …", file=sys.stderr, flush=True)
    arguments = ("benchmarks.recorders", name, product.owner_url, str(sizes.recorder_s))
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        return {"not measured": "it failed"}
    found: dict[str, float | str] = json.loads(done.stdout)
    return found


def document() -> None:
    """Bring the figures and plots of ``docs/performance.md`` up to the latest results."""
    latest = json.loads((RESULTS / "latest.json").read_text())
    grown = RESULTS / "growth.json"
    charts = drawing.charts(latest, json.loads(grown.read_text()) if grown.exists() else [])
    PLOTS.mkdir(exist_ok=True)
    for name, chart in charts.items():
        (PLOTS / f"{name}.svg").write_text(chart)
    text = report.replaced(PAGE.read_text(), "results", report.summary(latest))
    if (RESULTS / "growth.md").exists():
        text = report.replaced(text, "growth", (RESULTS / "growth.md").read_text())
    PAGE.write_text(text)


def main() -> int:
    """Do what the options say."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rival", type=Path, metavar="FILE", help="an adapter: another ledger")
    parser.add_argument("--address", metavar="URL", help="where the other ledger is")
    parser.add_argument(
        "--growth", type=int, metavar="EVENTS", help="compare with a log of that size"
    )
    parser.add_argument("--accounts", type=int, default=None, help="accounts of the run")
    parser.add_argument("--profile", action="store_true", help="say where the time goes")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md anew")
    options = parser.parse_args()
    mode = os.environ.get("BENCH") or "full"
    sizes = MODES[mode]
    if options.accounts is not None:
        sizes = msgspec.structs.replace(sizes, accounts=options.accounts)
    collector.tune()  # As the programs of the product do.
    if options.rival is not None:
        if options.address is None:
            parser.error("--rival needs --address")
        print(rivals.drive(options.rival, options.address, sizes))
    elif options.growth is not None:
        text, grown = growth.measured(options.growth, options.accounts or growth.ACCOUNTS)
        (RESULTS / "growth.md").write_text(text)
        (RESULTS / "growth.json").write_bytes(msgspec.json.format(msgspec.json.encode(grown)))
        print(text)
    elif options.profile:
        text = profiling.profiled()
        (RESULTS / "profile.md").write_text(text)
        print(text)
    elif options.docs:
        document()
    else:
        return everything(sizes, mode)
    return 0


if __name__ == "__main__":
    sys.exit(main())
