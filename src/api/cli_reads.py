"""Recording what the command line shows: who runs it, with the reason that ``--reason`` gives.

Whoever may run the program on this machine reads without an API key; the access names the user of
the operating system. It is recorded when the command begins to read, so it stands in the access log
with status 200 even if there turns out to be nothing of that name.
"""

import os
import pwd
from collections.abc import Iterable

from api import clock, subjects
from api.accesses import Recorder
from api.cli_support import Failed
from api.problems import Problem
from api.runtime import Runtime
from ledger_core import access_log, log
from ledger_core.access_log import LEDGER, NewAccess
from ledger_core.errors import ValidationFailed

# What shows nobody where it shows nobody in particular.
_OF_NOBODY = frozenset({"search_customers"})
# What shows people's data.
_PERSONAL = frozenset({"get_customer", "search_customers", "unmask_customer"})


def record(
    runtime: Runtime, ledger_id: int, reason: str, operation: str, about: Iterable[str]
) -> None:
    """Have a read durable in the access log; about nothing in particular is about the ledger.

    Raises:
        Failed: the reason is malformed, or missing where it is required; or the read cannot be
            recorded.
    """
    reason = reason.strip()
    try:
        access_log.require_reason(reason)
    except ValidationFailed as error:
        msg = f"--reason: {error.rule}."
        raise Failed(msg) from None
    required = runtime.settings.reason_required
    if not reason and (required == "all" or (required == "customers" and operation in _PERSONAL)):
        msg = "Say why you read this: --reason."
        raise Failed(msg)
    with runtime.connect("ledger_reader") as connection:
        position = log.read_head(connection, ledger_id).position
    named = [subject for subject in about if subjects.is_subject(subject)]
    whole = () if operation in _OF_NOBODY else (LEDGER,)
    access = NewAccess(
        actor(),
        operation,
        subjects.listed(named or whole),
        reason,
        clock.new_request_id(),
        200,
        position,
    )
    recorder = Recorder(lambda: runtime.connect("ledger_writer"), runtime.now)
    try:
        recorder.record([(ledger_id, access)])
    except Problem:
        msg = "Nothing is shown: it cannot be recorded in the access log that it is read."
        raise Failed(msg) from None
    finally:
        recorder.close()


def actor() -> str:
    """The user of the operating system who runs the command line."""
    user_id = os.geteuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:  # A user without a name, as in many containers.
        name = str(user_id)
    return f"cli:{name}"
