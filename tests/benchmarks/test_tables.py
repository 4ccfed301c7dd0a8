"""Figures, targets, tables and plots say what was measured, and no more."""

import xml.etree.ElementTree as ET

import msgspec
import pytest
from benchmarks.controls import Controls, Name
from benchmarks.figures import Book

from benchmarks import drawing, plots, report, targets

HOT = "library, batches of 1,000, W3"
UNIFORM = "library, batches of 1,000, W2"
SINGLE = "POST /v1/transfers, W1, 64 connections"


@pytest.fixture
def book() -> Book:
    """Controls of 100 and then 300 a second, with figures between them."""
    controls = Controls("postgresql://nowhere", 1)
    controls.measured["C"] = [(1.0, 100.0), (3.0, 300.0), (5.0, 100.0)]
    controls.measured["I"] = [(1.0, 50.0)]
    return Book(controls)


def noted(book: Book, name: str, rates: list[float], **seen: float) -> None:
    """Note a figure of which each round lies between the first two controls."""
    for rate in rates:
        control: Name = "I" if "POST" in name else "C"
        book.add(name, "transfers/s", control, begun=2.0, rate=rate, seen=seen)
        book.figures[name].rounds[-1].ended = 2.5


def test_a_ratio_is_to_the_controls_around(book: Book) -> None:
    """Each round is set against the mean of the control before and after it; the median counts."""
    noted(book, UNIFORM, [100, 120, 400])
    assert book.figures[UNIFORM].ratio(book.controls) == pytest.approx(0.6)
    assert book.controls.around("C", 4.0, 4.5) == 200
    assert book.controls.around("C", 6.0, 7.0) == 100
    assert book.controls.around("I", 6.0, 7.0) == 50


def test_targets_are_judged(book: Book) -> None:
    """A target is met, not met or not measured, by its own bound."""
    noted(book, UNIFORM, [120])
    noted(book, HOT, [110])
    noted(book, SINGLE, [40], p99_ms=26)
    lines = [line for line in targets.judged(book) if line.measured]
    assert [(line.figure, line.measured, line.verdict) for line in lines] == [
        (UNIFORM, "0.60 C", "met"),
        (HOT, "0.55 C", "NOT MET"),
        (HOT, "0.92 of W2", "NOT MET"),
        (SINGLE, "0.80 I", "met"),
        (SINGLE, "26.00 ms p99", "NOT MET"),
    ]
    others = [line for line in targets.judged(book) if not line.measured]
    assert {line.verdict for line in others} == {"not measured"}


def test_the_report_has_every_target_and_fault(book: Book) -> None:
    """Every target has its line, and what could not be measured is said."""
    noted(book, UNIFORM, [120])
    stores: dict[str, dict[str, float | str]] = {
        "umadb": {"not measured": "it failed"},
        "eventsourcing": {"single": 1234.5},
    }
    text = report.markdown(book, "smoke", stores, ["HTTP: RuntimeError"])
    assert text.count(" not measured |\n") == len(targets.TARGETS) - 1
    assert "NOT MEASURED: HTTP: RuntimeError" in text
    assert "1,234" in text
    document = msgspec.json.decode(report.as_json(book, "smoke", stores, []))
    assert document["figures"][0]["ratio"] == pytest.approx(0.6)


def test_the_page_is_kept_up(book: Book) -> None:
    """A named section of the page is replaced as a whole, again and again; none else is touched."""
    noted(book, UNIFORM, [120])
    book.figures[UNIFORM].rounds[0].cpu = {"caller": 8.0, "PostgreSQL, ledger_writer": 9.0}
    document = msgspec.json.decode(report.as_json(book, "smoke", {"umadb": {"single": 5.0}}, []))
    text = report.summary(document)
    assert "| 0.60 C" in text
    assert "| 8.0 " in text
    page = "before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n"
    once = report.replaced(page, "results", text)
    assert report.replaced(once, "results", text) == once
    assert once.startswith("before\n")
    assert once.endswith("\nafter\n")
    assert "old" not in once
    with pytest.raises(ValueError, match="growth"):
        report.replaced(page, "growth", text)


def test_tables_are_aligned() -> None:
    """Every line of a table is as wide as the others, and has its columns."""
    lines = report.table(["a", "long head"], [["1", "2"], ["longer", ""]]).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert {line.count("|") for line in lines} == {3}


def test_charts_are_svg_within_their_page() -> None:
    """A chart is well-formed, has a line a series, and no point outside the page."""
    series = {"W1 <one>": [(1.0, 10.0), (16.0, 90.0), (256.0, 70.0)], "W3": [(1.0, 5.0)]}
    root = ET.fromstring(plots.line_chart("Title & more", "x", "y", series))
    space = "{http://www.w3.org/2000/svg}"
    lines = root.findall(f"{space}polyline")
    assert len(lines) == len(series)
    for line in lines:
        for point in line.attrib["points"].split():
            x, y = map(float, point.split(","))
            assert plots.LEFT <= x <= plots.WIDTH - plots.RIGHT
            assert plots.TOP <= y <= plots.HEIGHT - plots.BOTTOM
    assert "W1 <one>" in [text.text for text in root.findall(f"{space}text")]


def test_plots_are_drawn_from_the_results(book: Book) -> None:
    """Concurrency and batch sizes are read off the names of the figures, in order."""
    for connections, rate in (("64 connections", 40), ("1 connection", 10)):
        noted(book, f"POST /v1/transfers, W1, {connections}", [rate])
    for size in ("8,000", "10"):
        noted(book, f"library, batches of {size}, W1", [float(size.replace(",", ""))])
    book.histograms["POST /v1/transfers, W1, 1 connection"] = {"2": 3, "10": 1}
    document = msgspec.json.decode(report.as_json(book, "smoke", {}, []))
    rates = {figure["name"]: figure["rounds"][0]["rate"] for figure in document["figures"]}
    assert drawing.concurrency(rates) == [(1, 10), (64, 40)]
    assert drawing.batches(rates) == [(10, 10), (8_000, 8_000)]
    grown = [{"events": "1,000", "a second": "50"}, {"events": "2,000", "a second": "0"}]
    assert set(drawing.charts(document, grown)) == {"concurrency", "batches", "latency", "growth"}
    assert set(drawing.charts(document, [])) == {"concurrency", "batches", "latency"}


def test_a_distribution_ends_at_all() -> None:
    """The share of answers grows with the time, to all of them."""
    line = plots.distribution({"10": 1, "2": 3})
    assert line == [(2.0, 75.0), (10.0, 100.0)]
