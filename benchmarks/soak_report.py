"""What came of a soak and of an overload: as data, and as tables."""

from collections.abc import Mapping, Sequence

import msgspec


class Target(msgspec.Struct, frozen=True):
    """Something that was to be reached, and whether it was."""

    name: str
    is_met: bool
    found: str
    wanted: str


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a soak; ``memory`` is MiB before, after, and growth in per cent, by process."""

    machine: str
    capacity_per_s: float
    rate_per_s: float
    seconds: float
    answered: int
    answered_per_s: float
    percentiles_ms: Mapping[str, float]
    warm_up_s: float
    memory: Mapping[str, tuple[float, float, float]]
    lags: Mapping[str, tuple[float, float]]
    errors: Mapping[str, int]
    database_mib: tuple[float, float]
    client_cores: float
    memory_over_time: Sequence[tuple[float, Mapping[str, float]]]
    shared_buffers_mib: float = 0.0
    lag_over_time: Sequence[tuple[float, float]] = ()
    targets: Sequence[Target]


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an overload; ``server_mib`` is before, at most, and after."""

    machine: str
    capacity_per_s: float
    offered_per_s: float
    seconds: float
    connections: int
    accepted_per_s: float
    refused_per_s: float
    given_up_per_s: float
    accepted_ms: Mapping[str, float]
    refused_ms: Mapping[str, float]
    refused_since_due_ms: Mapping[str, float]
    before_ms: float
    after_ms: float
    recovery_s: int | None
    lag_s_max: float
    server_mib: tuple[float, float, float]
    faults: Mapping[str, int]
    client_cores: float
    accepted_over_time: Sequence[int]
    refused_over_time: Sequence[int]
    targets: Sequence[Target]


def markdown(result: Soak | Overload) -> str:
    """The result for people."""
    return _soak(result) if isinstance(result, Soak) else _overload(result)


def _soak(found: Soak) -> str:
    """A soak's tables."""
    before, after = found.database_mib
    rows = [
        ("capacity (p99 within 0.5 s, views within 2 s)", f"{found.capacity_per_s:.0f}/s"),
        ("offered", f"{found.rate_per_s:.0f}/s for {found.seconds / 60:g} minutes"),
        ("answered", f"{found.answered}, {found.answered_per_s:.0f}/s"),
        ("time from when due", _ms(found.percentiles_ms)),
        ("database", f"{before:.0f} MiB before, {after:.0f} MiB after"),
        ("processors that the clients took", f"{found.client_cores:.2f}"),
    ]
    return "\n".join(
        [
            f"On {found.machine}; clients, server and PostgreSQL share its cores.",
            "",
            *_table(rows),
            "",
            *_targets(found.targets),
            "",
            f"Memory, median of the first and of the last third after {found.warm_up_s:.0f} s:",
            "",
            "| process | MiB before | MiB after | growth |",
            "|---|---|---|---|",
            *(
                f"| {name} | {first:.1f} | {last:.1f} | {percent:+.1f} % |"
                for name, (first, last, percent) in found.memory.items()
            ),
            "",
            f"What PostgreSQL's processes share is {found.shared_buffers_mib:.0f} MiB of pages and",
            "some more, set aside at its start; what was touched is shown, and does not count.",
            "",
            "| projection | events behind, p99 | seconds behind, p99 |",
            "|---|---|---|",
            *(
                f"| {name} | {events:.0f} | {seconds:.2f} |"
                for name, (events, seconds) in found.lags.items()
            ),
            "",
            *([f"Errors: {dict(found.errors)}", ""] if found.errors else []),
        ]
    )


def _overload(found: Overload) -> str:
    """An overload's tables."""
    before, most, after = found.server_mib
    rows = [
        ("capacity (p99 within 0.5 s, views within 2 s)", f"{found.capacity_per_s:.0f}/s"),
        ("offered", f"{found.offered_per_s:.0f}/s for {found.seconds:.0f} s"),
        ("connections", f"{found.connections}"),
        ("answered", f"{found.accepted_per_s:.0f}/s, {_ms(found.accepted_ms)}"),
        ("refused (503, 429)", f"{found.refused_per_s:.0f}/s, {_ms(found.refused_ms)}"),
        ("the same, from when due", _ms(found.refused_since_due_ms)),
        ("no connection free for 2 s", f"{found.given_up_per_s:.0f}/s"),
        ("p99 at half the capacity, before and after", _both(found.before_ms, found.after_ms)),
        ("views behind, at most", f"{found.lag_s_max:.1f} s"),
        ("memory of the server", f"{before:.0f} MiB before, {most:.0f} at most, {after:.0f} after"),
        ("processors that the clients took", f"{found.client_cores:.2f}"),
    ]
    return "\n".join(
        [
            f"On {found.machine}; clients, server and PostgreSQL share its cores.",
            "",
            *_targets(found.targets),
            "",
            *_table(rows),
            "",
            *([f"Other answers: {dict(found.faults)}", ""] if found.faults else []),
        ]
    )


def _targets(targets: Sequence[Target]) -> list[str]:
    """A table of what was to be reached."""
    return [
        "| target | wanted | found | |",
        "|---|---|---|---|",
        *(
            f"| {item.name} | {item.wanted} | {item.found} | {'met' if item.is_met else 'missed'} |"
            for item in targets
        ),
    ]


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """A table of two columns."""
    return ["| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in rows)]


def _ms(percentiles: Mapping[str, float]) -> str:
    """Percentiles in milliseconds."""
    return ", ".join(f"p{name} {ms:.0f} ms" for name, ms in percentiles.items())


def _both(before_ms: float, after_ms: float) -> str:
    """Two times."""
    return f"{before_ms:.0f} ms, {after_ms:.0f} ms"
