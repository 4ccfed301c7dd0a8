"""The tables of a run, in Markdown, and the same as JSON."""

import os
import platform
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from benchmarks.figures import Book, Figure
from benchmarks.targets import judged

_CONTROL_HEADS = ("control", "median a second", "lowest", "highest", "times")
_TARGET_HEADS = ("", "figure", "measured", "against", "target", "")
# The columns of processor time, and the processes in each.
_PROCESSES: Mapping[str, tuple[str, ...]] = {
    "writer, server": ("caller", "server"),
    "their PostgreSQL": ("PostgreSQL, ledger_writer", "PostgreSQL, ledger_reader"),
    "projector": ("projector",),
    "its PostgreSQL": ("PostgreSQL, ledger_projector",),
    "PostgreSQL, others": ("PostgreSQL, background",),
    "clients": ("load generator",),
}


def machine() -> str:
    """What the run ran on, without naming it."""
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores,"
        f" Python {platform.python_version()}"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown, its columns aligned for who reads it as text."""
    widths = [max(len(row[column]) for row in [heads, *rows]) for column in range(len(heads))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |"
        for row in [heads, *rows]
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"


def markdown(
    book: Book, mode: str, stores: Mapping[str, Mapping[str, float | str]], faults: Sequence[str]
) -> str:
    """The whole report."""
    controls = [
        [name, *(f"{found[what]:,.0f}" for what in ("median", "min", "max", "times"))]
        for name, found in book.controls.summary().items()
    ]
    targets = [
        [str(line.number), line.figure, line.rate, line.measured, line.wanted, line.verdict]
        for line in judged(book)
    ]
    parts = [
        f"{machine()}; {mode}. Each ratio is to the controls measured just before and after.\n",
        table(_CONTROL_HEADS, controls),
        table(_TARGET_HEADS, targets),
        "Everything measured; the last column is processor time in µs an item, by process:\n",
        table(
            ["figure", "a second", "ratio", "p50 ms", "p99 ms", "processor"],
            [_row(figure, book) for figure in book.figures.values()],
        ),
    ]
    if stores:
        parts += [
            "A transfer as one event with two tags and a condition; no balance checked or kept:\n",
            table(["store", "what", "transfers/s"], list(_store_rows(stores))),
        ]
    parts += [f"NOT MEASURED: {fault}\n" for fault in faults]
    return "\n".join(parts)


def summary(document: Mapping[str, Any]) -> str:
    """What the documentation shows of a run (``as_json``): controls, targets, processor time."""
    controls = [
        [name, *(f"{found[what]:,.0f}" for what in ("median", "min", "max", "times"))]
        for name, found in document["controls"].items()
    ]
    targets = [[str(value) for value in line.values()] for line in document["targets"]]
    used = [
        [figure["name"], *(_used(figure["rounds"], names) for names in _PROCESSES.values())]
        for figure in document["figures"]
        if figure["rounds"][0]["cpu"]
    ]
    return "\n".join(
        [
            f"{document['machine']}; {document['mode']}.\n",
            table(_CONTROL_HEADS, controls),
            table(_TARGET_HEADS, targets),
            "Processor time in µs an item, over both cores:\n",
            table(["figure", *_PROCESSES], used),
            "Other event stores, a transfer as one event on condition:\n",
            table(["store", "what", "transfers/s"], _store_rows(document["stores"])),
        ]
    )


def replaced(page: str, section: str, text: str) -> str:
    """The page with a section, between two comments that name it, replaced by a text.

    Raises:
        ValueError: the page has no such section.
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        msg = f"the page has no section {section}"
        raise ValueError(msg)
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def as_json(
    book: Book, mode: str, stores: Mapping[str, Mapping[str, float | str]], faults: Sequence[str]
) -> bytes:
    """The same for programs, with every round."""
    document: dict[str, Any] = {
        "machine": machine(),
        "mode": mode,
        "controls": book.controls.summary(),
        "targets": judged(book),
        "figures": [
            {**msgspec.to_builtins(figure), "ratio": figure.ratio(book.controls)}
            for figure in book.figures.values()
        ],
        "histograms": book.histograms,
        "stores": stores,
        "faults": faults,
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=1)


def _used(rounds: Sequence[Mapping[str, Any]], names: Sequence[str]) -> str:
    """The median over the rounds of what some processes used."""
    used = median(sum(item["cpu"].get(name, 0.0) for name in names) for item in rounds)
    return f"{used:.1f}" if used else ""


def _row(figure: Figure, book: Book) -> list[str]:
    """A figure's line."""
    ratio = figure.ratio(book.controls)
    p50, p99 = figure.seen("p50_ms"), figure.seen("p99_ms")
    cpu = [f"{name} {spent:.1f}" for name, spent in figure.cpu().items()]
    others = [
        f"{name} {value:,.2f}"
        for name in ("lag_s", "worst_lag_s", "until_all_projected", "events", "start_s")
        if (value := figure.seen(name)) is not None
    ]
    return [
        figure.name + (f" ({', '.join(others)})" if others else ""),
        f"{figure.rate:,.0f} {figure.unit.removesuffix('/s')}" if figure.rate else "",
        f"{ratio:.2f} {figure.control}" if ratio is not None else "",
        f"{p50:.2f}" if p50 is not None else "",
        f"{p99:.2f}" if p99 is not None else "",
        ", ".join(cpu),
    ]


def _store_rows(stores: Mapping[str, Mapping[str, float | str]]) -> list[list[str]]:
    """Lines of the other event stores."""
    return [
        [store, what, f"{rate:,.0f}" if isinstance(rate, float) else rate]
        for store, found in stores.items()
        for what, rate in found.items()
    ]
