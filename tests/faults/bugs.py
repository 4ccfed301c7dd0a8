"""The list of deliberate bugs: what each takes away, and where it can be noticed.

``BUGS[name]()`` puts a bug into this process, before anything has begun; ``planted`` does so for a
while. Some safeguards stand one behind the other: where PostgreSQL's constraints turn a bug into
mere errors, it is listed a second time, ``…-unguarded``, without those, so that it is the checker
that has to notice.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from tests.faults import bug_plants, view_bugs
from tests.faults.bug_plants import Patches

_KEY_OF_POSITIONS = "ALTER TABLE ledger.events DROP CONSTRAINT events_pkey"
_KEY_OF_KEYS = "DROP INDEX ledger.events_command_key"
_HELD = tuple(
    f"ALTER TABLE views.held_lines DROP CONSTRAINT held_lines_{side}_held_after_minor_check"
    for side in ("debits", "credits")
)
_KEYS_OF_LINES = tuple(
    f"ALTER TABLE views.{table} DROP CONSTRAINT {table}_pkey"
    for table in ("statement_lines", "held_lines", "account_changes")
)


@dataclass(frozen=True, slots=True)
class Bug:
    """A deliberate bug.

    ``what`` says what is missing; ``faults`` under which of the harness's faults it can show, the
    likeliest first; ``drops`` what of the database is dropped, too. ``in_small`` is a rule that it
    breaks in ``small_bank``'s story; ``harmless`` says why no run need find anything.
    """

    name: str
    what: str
    plant: Callable[[Patches], None]
    faults: tuple[str, ...] = ("none",)
    drops: tuple[str, ...] = ()
    in_small: str = ""
    harmless: str = ""


_IN_DOUBT = ("cut-mid-message", "kill-backend", "reset-connections", "drop-connections")

DELIBERATE: tuple[Bug, ...] = (
    Bug(
        "lock-dropped",
        "the head is neither locked nor looked at again before it is moved",
        bug_plants.lock_dropped,
        in_small="server_error",
    ),
    Bug(
        "lock-dropped-unguarded",
        "the same, on a table of events without its primary key",
        bug_plants.lock_dropped,
        drops=(_KEY_OF_POSITIONS,),
        in_small="position_order",
    ),
    Bug(
        "stale-decision",
        "what was decided before another writer appended is appended behind it",
        bug_plants.stale_decision,
        in_small="position",
    ),
    Bug(
        "key-check-skipped",
        "nobody looks whether an idempotency key was used",
        bug_plants.key_check_skipped,
        in_small="server_error",
    ),
    Bug(
        "key-check-skipped-unguarded",
        "the same, without the unique index of keys",
        bug_plants.key_check_skipped,
        drops=(_KEY_OF_KEYS,),
        in_small="doubled",
    ),
    Bug(
        "cache-not-refreshed",
        "a writer does not take in what another writer appended",
        bug_plants.cache_not_refreshed,
        in_small="limit",
    ),
    Bug(
        "acked-before-commit",
        "a batch is acknowledged before it is committed",
        bug_plants.acked_before_commit,
        ("none", *_IN_DOUBT),
        in_small="position",
    ),
    Bug(
        "answered-though-failed",
        "a commit that was not answered is taken for done",
        bug_plants.answered_though_failed,
        _IN_DOUBT,
        in_small="position",
    ),
    Bug(
        "in-doubt-done-again",
        "a transaction in doubt is done again without looking for it in the log",
        bug_plants.in_doubt_done_again,
        _IN_DOUBT,
        harmless="its keys are found in the log, and the first answers given again",
    ),
    Bug(
        "in-doubt-done-again-unguarded",
        "the same, without looking for its keys either, and without their unique index",
        bug_plants.in_doubt_done_again_without_keys,
        _IN_DOUBT,
        drops=(_KEY_OF_KEYS,),
        in_small="doubled",
    ),
    Bug(
        "not-rolled-back",
        "what was decided in vain stays in the writer's memory",
        bug_plants.not_rolled_back,
        in_small="linearizability",
    ),
    Bug(
        "hold-released-twice",
        "a hold that is resolved can be captured or voided once more",
        bug_plants.hold_released_twice,
        in_small="linearizability",
    ),
    Bug(
        "hold-released-twice-unguarded",
        "the same, without the checks that nothing held is negative",
        bug_plants.hold_released_twice,
        drops=_HELD,
        in_small="hold",
    ),
    Bug(
        "limit-skipped-after-reload",
        "an account loaded from its snapshot has no limit",
        bug_plants.limit_skipped_after_reload,
        ("kill-backend", "rolling-restart", "kill-server"),
        in_small="limit",
    ),
    Bug(
        "replay-of-another",
        "a repeated key is answered with another command's outcome",
        bug_plants.replay_of_another,
        in_small="replay",
    ),
    Bug(
        "recorded-at-back",
        "an event bears the clock's time, even where that is behind the log's",
        bug_plants.recorded_at_back,
        ("clock-back", "clock-forward"),
        in_small="time",
    ),
    Bug(
        "frontier-not-updated",
        "the tree's frontier stays behind when the head is moved",
        bug_plants.frontier_not_updated,
        in_small="tree",
    ),
    Bug(
        "atomic-half-kept",
        "of an atomic batch that fails, the first items stay",
        bug_plants.atomic_half_kept,
        in_small="atomic",
    ),
    Bug(
        "identities-not-taken",
        "chosen ids and references are not written down",
        bug_plants.identities_not_taken,
        in_small="identity",
    ),
    Bug(
        "projector-skips-event",
        "the projector leaves a journal entry out now and then",
        view_bugs.projector_skips_event,
        in_small="balance",
    ),
    Bug(
        "position-not-stored",
        "the views change and their positions stay",
        view_bugs.position_not_stored,
        in_small="run",
    ),
    Bug(
        "position-not-stored-unguarded",
        "the same now and then, and lines and changes without their keys",
        view_bugs.batch_taken_twice,
        drops=(*_KEYS_OF_LINES, *_HELD),
        in_small="balance",
    ),
    Bug(
        "position-without-change",
        "the balances' position moves and what changed is not written",
        view_bugs.position_without_change,
        in_small="read",
    ),
    Bug(
        "min-position-ignored",
        "a read does not wait for the position that it asks for",
        view_bugs.min_position_ignored,
        in_small="read",
    ),
)
NAMED = {bug.name: bug for bug in DELIBERATE}


def _planter(bug: Bug) -> Callable[[], None]:
    """What puts the bug into this process for good."""
    return lambda: bug.plant(Patches())


BUGS: dict[str, Callable[[], None]] = {bug.name: _planter(bug) for bug in DELIBERATE}


@contextmanager
def planted(name: str) -> Iterator[None]:
    """Have the bug in this process for a while."""
    patches = Patches()
    try:
        NAMED[name].plant(patches)
        yield
    finally:
        patches.take_back()


def drop_guards(name: str, owner_url: str) -> None:
    """Drop what of a database stands behind the safeguard that the bug takes away."""
    with psycopg.connect(owner_url, autocommit=True) as connection:
        for statement in NAMED[name].drops:
            connection.execute(statement.encode())
