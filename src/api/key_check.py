"""Whether the key store agrees with the log: what ``ledger verify`` needs the wrapping key for."""

import msgspec

from api.runtime import Runtime
from ledger_core import snapshots
from projections.findings import Finding
from projections.verification import Verdict


def with_keys(runtime: Runtime, ledger_id: int, verdict: Verdict) -> Verdict:
    """The verdict on the log and the views, and on the keys of customers beside.

    A customer who was not erased must have a key that opens; one who was must have none. The views
    must have caught up with the log.
    """
    with runtime.connect("ledger_reader") as connection:
        subjects = snapshots.load_subjects(connection, ledger_id)
        names = [subject for _, subject, _ in subjects]
        exist, open_ = runtime.vault.keys_that_open(connection, ledger_id, names)
    findings = list(verdict.findings)
    for customer_id, subject, erased in subjects:
        found = "gone" if subject not in exist else "whole" if subject in open_ else "damaged"
        expected = "gone" if erased else "whole"
        if found != expected:
            message = f"the key of customer {customer_id} is {found}; it should be {expected}"
            findings.append(
                Finding(
                    kind="key",
                    message=message,
                    customer_id=customer_id,
                    expected=expected,
                    found=found,
                )
            )
    added = len(findings) - len(verdict.findings)
    return msgspec.structs.replace(
        verdict,
        findings=tuple(findings),
        findings_count=verdict.findings_count + added,
        ok=verdict.ok and not added,
    )
