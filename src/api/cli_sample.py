"""``ledger sample``: records that an auditor looks at, drawn so that anybody can draw them again.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from api.cli_export import STDOUT, to_output
from api.cli_support import Common, Failed, answer, open_runtime, record_read

if TYPE_CHECKING:
    from api.runtime import Runtime
    from api.sampling import Sample

_COLUMNS = (
    "position",
    "recorded_at",
    "type",
    "command_key",
    "currency",
    "amount_minor",
    "hits",
    "number",
    "leaf_hash",
)


def sample(  # noqa: PLR0913 - what a sample is drawn by
    *,
    seed: str,
    size: int,
    kind: Literal["entries", "events"] = "entries",
    method: Literal["random", "monetary"] = "random",
    first: Annotated[int, Parameter(name="--from")] = 1,
    last: Annotated[int | None, Parameter(name="--to")] = None,
    currency: str | None = None,
    min_amount: int | None = None,
    output: Annotated[Path, Parameter(name=["--output", "-o"], allow_leading_hyphen=True)] = STDOUT,
    bundle: Path | None = None,
    common: Common | None = None,
) -> None:
    """Draw SIZE records by a SEED, as CSV; the same seed draws the same records again.

    Parameters
    ----------
    seed
        Any text; whoever draws again needs it.
    size
        How many to draw.
    kind
        Journal entries, or events of every type.
    method
        random: each record alike. monetary: by money, large amounts more likely.
    first
        The first position that can be drawn.
    last
        The last position that can be drawn; left out, all there is.
    currency
        Only entries that move this currency; amounts are counted in it.
    min_amount
        Only entries of at least so many minor units of that currency.
    output
        The CSV file to write; - is standard output.
    bundle
        Also write an evidence bundle of the sample to this file.
    """
    from api import csv_text, sampling
    from api.archives import ArchiveRefused
    from ledger_core import log

    common = common or Common()
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        record_read(runtime, ledger_id, common, "draw_sample")
        if last is None:
            with runtime.connect("ledger_reader") as connection:
                last = log.read_head(connection, ledger_id).position
        plan = sampling.Plan(
            seed=seed,
            size=size,
            kind=kind,
            method=method,
            first=first,
            last=last,
            currency=currency,
            min_amount_minor=min_amount,
        )
        try:
            found = sampling.draw(runtime, ledger_id, plan)
            if bundle is not None:
                _write(runtime, ledger_id, common.ledger, found, bundle)
        except ArchiveRefused as problem:
            raise Failed(str(problem)) from None
    if common.json:
        answer(common, found, "")
        return
    rows = (
        (
            item.position,
            item.recorded_at,
            item.type,
            item.command_key,
            currency,
            item.amount_minor,
            item.hits,
            item.number,
            item.leaf_hash,
        )
        for item in found.drawn
    )
    to_output(common, output, csv_text.lines(_COLUMNS, rows), last, f"{len(found.drawn)} drawn")


def _write(runtime: Runtime, ledger_id: int, ledger: str, found: Sample, path: Path) -> None:
    """Write the evidence of a sample."""
    import msgspec

    from api import evidence

    plan = found.plan
    facts = msgspec.to_builtins(msgspec.structs.replace(found, drawn=()))
    del facts["drawn"]
    introduction = [
        f"Sample by seed {plan.seed}: {len(found.drawn)} of {found.candidates} {plan.kind}",
        f"  method {plan.method}, positions {plan.first} to {plan.last}",
    ]
    if plan.currency is not None:
        introduction.append(
            f"  {plan.min_amount_minor or 0} minor units of {plan.currency} or more"
        )
    made = evidence.of_positions(
        runtime,
        ledger_id,
        ledger,
        evidence.Subject("sample", plan.seed),
        [item.position for item in found.drawn],
        size=plan.last,
        sample=facts,
        introduction=introduction,
    )
    made.write(path)
