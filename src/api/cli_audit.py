"""``ledger audit`` and ``ledger audits``: a self-audit now, and the results so far.

Imports are made inside the commands, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from api.cli_support import Common, Failed, answer, open_runtime

LIMIT_DEFAULT = 20
PAUSE_S = 0.05
PATIENCE_S = 30.0
"""How long projections that we bring forward ourselves may stand still."""


def register(app: App) -> None:
    """Add the commands."""
    app.command(audit)
    app.command(audits)


def audit(*, common: Common | None = None) -> None:
    """Audit the ledger now, in full: fold the whole log, compare everything, sign the result.

    The same as the server does again and again by itself, but without pauses. Exit code 1 on any
    finding.
    """
    import time

    import msgspec

    from api import self_audit, self_audits
    from projections import runner

    common = common or Common()
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        started_at = runtime.now()
        with (
            runtime.connect("ledger_projector") as projector,
            runtime.connect("ledger_reader") as reader,
        ):
            auditor = self_audit.auditor_of(runtime.vault, ledger_id)

            def go_on() -> None:
                """Bring the projections forward ourselves: there may be no server."""
                runner.catch_up(projector, ledger_id)
                time.sleep(PAUSE_S)

            try:
                runner.catch_up(projector, ledger_id)
                audited = self_audit.run(
                    auditor, reader, rest=lambda _: True, wait=go_on, patience_s=PATIENCE_S
                )
            except (ValueError, msgspec.MsgspecError):
                audited = auditor.give_up(reader)  # What cannot be projected is found there.
        if audited is None:
            msg = "The projections do not go on; `ledger verify` says why."
            raise Failed(msg)
        with runtime.connect("ledger_writer") as writer:
            ledger = (ledger_id, common.ledger)
            result = self_audits.record(writer, runtime.settings, ledger, audited, started_at)
    lines = [f"{finding.kind}: {finding.message}" for finding in result.findings]
    if result.findings_count:
        lines.append(f"{result.findings_count} findings: the ledger is DAMAGED. Signed and stored.")
    else:
        lines.append(
            f"{result.events} events and {result.accounts} accounts audited up to position"
            f" {result.position}; root {result.root}. Nothing found. Signed and stored."
        )
    answer(common, result, "\n".join(lines))
    if result.findings_count:
        raise SystemExit(1)


def audits(
    *,
    limit: Annotated[int, Parameter(help="How many, the newest first.")] = LIMIT_DEFAULT,
    common: Common | None = None,
) -> None:
    """The results of the self-audits so far, the newest first."""
    from api import self_audits
    from api.cli_support import record_read

    common = common or Common()
    if not 1 <= limit <= self_audits.AUDITS_MAX:
        msg = f"--limit is a number from 1 to {self_audits.AUDITS_MAX}."
        raise Failed(msg)
    with open_runtime() as runtime:
        ledger_id = runtime.ledger_id(common.ledger)
        record_read(runtime, ledger_id, common, "list_audits")
        with runtime.connect("ledger_reader") as connection:
            found = self_audits.listed(connection, ledger_id, None, limit)
    lines = [
        f"{item.audit_no:>6}  {item.ended_at:%Y-%m-%d %H:%M:%S}  {item.kind:9}"
        f"  position {item.position}  {item.findings_count or 'no'} findings"
        for item in found
    ]
    answer(common, found, "\n".join(lines) or "No self-audits yet.")
