"""The targets of the performance issue, and whether a run's figures meet them."""

from typing import Literal

import msgspec

from benchmarks.figures import Book, Figure

NOISE = 0.95
"""“No slower” allows for the machine's noise: two runs of the same differ by some percent."""

Verdict = Literal["met", "NOT MET", "not measured"]


class Target(msgspec.Struct, frozen=True):
    """A bound: on a figure's ratio, to its control or to another figure, or on what was seen."""

    number: int
    figure: str
    ratio_min: float | None = None
    than: str | None = None
    seen: str | None = None
    most: float = 0.0
    unit: str = ""


class Judged(msgspec.Struct, frozen=True):
    """A line of the table."""

    number: int
    figure: str
    rate: str
    measured: str
    wanted: str
    verdict: Verdict


_LIBRARY = tuple(
    Target(1, f"library, batches of {size}, {workload}", ratio_min=0.60)
    for size in ("1,000", "8,000")
    for workload in ("W1", "W2", "W3")
)
_HOT = tuple(
    Target(
        1,
        f"library, batches of {size}, W3",
        ratio_min=NOISE,
        than=f"library, batches of {size}, W2",
    )
    for size in ("1,000", "8,000")
)
_STATEMENT = tuple(
    Target(6, f"statement of 100 lines, {page}", seen="p99_ms", most=15, unit="ms p99")
    for page in ("first page", "last page", "by value date")
)
_AS_OF = tuple(
    Target(6, f"balance as of {share} % of the log", seen="p99_ms", most=20, unit="ms p99")
    for share in (1, 50, 99)
)

TARGETS = (
    *_LIBRARY,
    *_HOT,
    Target(2, "POST /v1/batch of 1,000, W1", ratio_min=0.35),
    Target(2, "ledger load, W1", ratio_min=0.40),
    Target(3, "end to end, all projections, W1", ratio_min=0.30),
    Target(3, "end to end, all projections, W1", seen="lag_s", most=2, unit="s behind at the end"),
    Target(4, "POST /v1/transfers, W1, 64 connections", ratio_min=0.45),
    Target(4, "POST /v1/transfers, W1, 64 connections", seen="p99_ms", most=25, unit="ms p99"),
    Target(4, "POST /v1/transfers, W1, 256 connections", ratio_min=0.55),
    Target(4, "POST /v1/transfers, W1, 1 connection", seen="p50_ms", most=1.5, unit="ms p50"),
    Target(
        4,
        "POST /v1/transfers, W3, 64 connections",
        ratio_min=NOISE,
        than="POST /v1/transfers, W1, 64 connections",
    ),
    Target(5, "rebuild of all projections", ratio_min=0.35),
    Target(5, "ledger verify", ratio_min=0.50),
    Target(6, "balance, 64 connections", ratio_min=0.50),
    *_STATEMENT,
    *_AS_OF,
    Target(6, "inclusion proof", seen="p99_ms", most=20, unit="ms p99"),
    Target(8, "start of ledger serve", seen="start_s", most=2, unit="s"),
)


def judged(book: Book) -> list[Judged]:
    """Every target, with what was measured."""
    return [_judged(target, book) for target in TARGETS]


def _judged(target: Target, book: Book) -> Judged:
    """One target's line."""
    figure = book.figures.get(target.figure)
    if figure is None:
        return Judged(target.number, target.figure, "", "", _wanted(target, None), "not measured")
    rate = f"{figure.rate:,.0f} {figure.unit}" if figure.rate else ""
    if target.seen is not None:
        seen = figure.seen(target.seen)
        if seen is None:
            return Judged(
                target.number, target.figure, rate, "", _wanted(target, figure), "not measured"
            )
        measured, met = f"{seen:.2f} {target.unit}", seen <= target.most
    else:
        ratio = _ratio(target, figure, book)
        if ratio is None or target.ratio_min is None:
            return Judged(
                target.number, target.figure, rate, "", _wanted(target, figure), "not measured"
            )
        than = f"of {workload_of(target.than)}" if target.than else figure.control
        measured, met = f"{ratio:.2f} {than}", ratio >= target.ratio_min
    return Judged(
        target.number,
        target.figure,
        rate,
        measured,
        _wanted(target, figure),
        "met" if met else "NOT MET",
    )


def _ratio(target: Target, figure: Figure, book: Book) -> float | None:
    """The figure's ratio to what the target compares it with."""
    if target.than is None:
        return figure.ratio(book.controls)
    other = book.figures.get(target.than)
    return None if other is None else figure.rate / other.rate


def _wanted(target: Target, figure: Figure | None) -> str:
    """The bound, as the table says it."""
    if target.seen is not None:
        return f"≤ {target.most:g} {target.unit}"
    if target.than is not None:
        return f"≥ {target.ratio_min:.2f} of {workload_of(target.than)}"
    return f"≥ {target.ratio_min:.2f} {figure.control if figure else ''}".rstrip()


def workload_of(figure: str) -> str:
    """The workload that a figure's name says."""
    return next(word for word in figure.replace(",", "").split() if word.startswith("W"))
