"""What was measured: figures, each in rounds, each round against the controls around it.

A figure is measured in rounds. Each round's rate is divided by the control measured just before and
after it, and the median of the quotients is what is held against the target (``targets``).
"""

import time
from collections.abc import Mapping
from statistics import median

import msgspec

from benchmarks import controls
from benchmarks.controls import Controls


class Round(msgspec.Struct, kw_only=True):
    """One measurement: a rate, when, and what else was seen."""

    begun: float
    ended: float
    rate: float
    seen: dict[str, float] = {}
    cpu: dict[str, float] = {}
    """Processor time in microseconds an item, by process."""


class Figure(msgspec.Struct, kw_only=True):
    """A name for what was measured, its control and its rounds."""

    name: str
    unit: str
    control: controls.Name | None
    rounds: list[Round] = []

    @property
    def rate(self) -> float:
        """The median of the rates."""
        return median(item.rate for item in self.rounds)

    def ratio(self, measured: Controls) -> float | None:
        """The median of the quotients by the controls around each round."""
        if self.control is None:
            return None
        name = self.control
        return median(
            item.rate / measured.around(name, item.begun, item.ended) for item in self.rounds
        )

    def seen(self, what: str) -> float | None:
        """The median of something else that was seen."""
        found = [item.seen[what] for item in self.rounds if what in item.seen]
        return median(found) if found else None

    def cpu(self) -> dict[str, float]:
        """The median of each process's time, an item."""
        names = dict.fromkeys(name for item in self.rounds for name in item.cpu)
        return {name: median(item.cpu.get(name, 0.0) for item in self.rounds) for name in names}


class Book:
    """All figures of a run, in order, with its controls."""

    def __init__(self, measured: Controls) -> None:
        """Begin empty."""
        self.controls = measured
        self.figures: dict[str, Figure] = {}
        self.histograms: dict[str, dict[str, int]] = {}

    def add(  # noqa: PLR0913 - the columns of a figure
        self,
        name: str,
        unit: str,
        control: controls.Name | None,
        *,
        begun: float,
        rate: float,
        cpu: Mapping[str, float] | None = None,
        seen: Mapping[str, float] | None = None,
    ) -> None:
        """Note a round that ends now."""
        figure = self.figures.setdefault(name, Figure(name=name, unit=unit, control=control))
        now = time.monotonic()
        figure.rounds.append(
            Round(begun=begun, ended=now, rate=rate, seen=dict(seen or {}), cpu=dict(cpu or {}))
        )
