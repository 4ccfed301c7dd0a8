"""Line charts as SVG, written by hand: nothing to install, and a few kilobytes each."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 34, 44
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")
TICKS = 5

Series = Mapping[str, Sequence[tuple[float, float]]]


def line_chart(title: str, x_label: str, y_label: str, series: Series) -> str:
    """A chart of several series; x is logarithmic, y begins at 0."""
    points = [point for line in series.values() for point in line]
    low, high = min(x for x, _ in points), max(x for x, _ in points)
    top = _round_up(max(y for _, y in points))
    span = math.log10(high / low) or 1.0

    def place(x: float, y: float) -> tuple[float, float]:
        """Where a point stands on the page."""
        across = (WIDTH - LEFT - RIGHT) * math.log10(x / low) / span
        return LEFT + across, HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * y / top

    parts = [_text(LEFT, 18, title, "start", size=13)]
    for step in range(TICKS + 1):
        value = top * step / TICKS
        _, y = place(low, value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>'
        )
        parts.append(_text(LEFT - 6, y + 4, f"{value:,.4g}", "end"))
    for value in _ticks(low, high):
        x, y = place(value, 0)
        parts.append(_text(x, y + 16, f"{value:,.4g}", "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"))
    parts.append(_text(WIDTH - RIGHT, 18, y_label, "end"))
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        placed = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(
            f'<polyline points="{placed}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(
            _text(WIDTH - RIGHT + 10, TOP + 12 + 16 * number, name, "start", colour=colour)
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}"'
        f' font-family="sans-serif"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def distribution(histogram: Mapping[str, int]) -> list[tuple[float, float]]:
    """The share of answers, in percent, that came within so many milliseconds."""
    total = sum(histogram.values())
    reached = 0
    line = []
    for bound in sorted(histogram, key=float):
        reached += histogram[bound]
        line.append((float(bound), 100 * reached / total))
    return line


def _text(  # noqa: PLR0913 - what a text on a page has
    x: float, y: float, text: str, anchor: str, *, size: int = 11, colour: str = "#24292f"
) -> str:
    """A text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
        f' fill="{colour}">{escape(text)}</text>'
    )


def _round_up(value: float) -> float:
    """The next 1, 2 or 5 with zeros."""
    scale = 10 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next(step * scale for step in (1, 2, 5, 10) if step * scale >= value)


def _ticks(low: float, high: float) -> list[float]:
    """Powers of ten, or of four where there are few, between two bounds."""
    base = 10 if high / low >= 1_000 else 4  # noqa: PLR2004 - three decades
    exponent = math.ceil(math.log(low, base) - 1e-9)
    found = []
    while base**exponent <= high * 1.0001:
        found.append(float(base**exponent))
        exponent += 1
    return found
