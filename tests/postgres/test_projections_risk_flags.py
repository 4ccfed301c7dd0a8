"""Risk flags on PostgreSQL: what the rules look back on survives restarts and rebuilds."""

from collections.abc import Iterator

import pytest
from tests.postgres.auditing_harness import audited
from tests.postgres.ledger_harness import World, answers
from tests.rules.harness import deposited, opened, withdrawn

from ledger_core.deposits import Deposit, Withdraw
from ledger_core.risk_rules import WINDOW_MOVEMENTS, SetRiskRule
from projections import audit_reads, runner
from projections.rebuilding import rebuild
from projections.verification import verify

CENTS = WINDOW_MOVEMENTS + 20


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    """A ledger with one customer's account."""
    with World(database_url) as world:
        world.run(opened("A", key="a"))
        yield world


@pytest.fixture(autouse=True)
def _audits_look_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """An audit takes a few events at once: what a rule looks back on is mostly read back."""
    monkeypatch.setattr(audit_reads, "PAGE_POSITIONS", 13)


def _deposits(world: World, amount: int, count: int, name: str) -> list[int]:
    """Deposit an amount some times; the positions."""
    commands = [deposited("A", amount, key=f"{name}-{number}") for number in range(count)]
    outcomes = world.run(*commands)
    assert set(answers(outcomes)) == {"recorded"}
    return [outcome.position for outcome in outcomes]


def _flagged(world: World) -> list[list[int]]:
    """The positions behind each structuring flag."""
    rows = world.writer.execute(
        "SELECT positions::text::jsonb FROM views.risk_flags WHERE rule = 'structuring'"
        " ORDER BY raised_position"
    ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize("restarts", ["never", "between batches"])
def test_many_small_deposits_do_not_hide_structuring(world: World, restarts: str) -> None:
    """With one memory and with a new one a batch, and a rebuild finds the same."""
    cache = runner.RunnerCache()
    positions: list[int] = []
    for number in range(3):
        positions += _deposits(world, 950_000, 1, f"large-{number}")
        _deposits(world, 1, CENTS, f"cent-{number}")
        if restarts != "never":
            cache = runner.RunnerCache()
        while runner.advance(world.projector, world.ledger_id, limit=50, cache=cache):
            if restarts != "never":
                cache = runner.RunnerCache()
    assert _flagged(world) == [positions]
    report = rebuild(world.projector, world.ledger_id, "risk_flags")
    assert (report.differing_rows, report.swapped) == (0, True)
    assert _flagged(world) == [positions]
    assert verify(world.projector, world.ledger_id).ok
    assert audited(world).findings == ()


@pytest.mark.parametrize("restarts", ["never", "between batches"])
@pytest.mark.parametrize(
    ("parameters", "amount"), [({"amount": 5_000}, 470_000), ({"days": 8}, 950_000)]
)
def test_a_changed_rule_counts_from_its_change_on(
    world: World, parameters: dict[str, int], amount: int, restarts: str
) -> None:
    """Before it only the recent movements are looked at, whether or not the projector restarted."""
    cache = runner.RunnerCache()

    def catch_up() -> None:
        """Take in what was recorded."""
        nonlocal cache
        cache = cache if restarts == "never" else runner.RunnerCache()
        while runner.advance(world.projector, world.ledger_id, cache=cache):
            pass

    _deposits(world, amount, 1, "hidden")
    _deposits(world, 1, CENTS, "cent")
    catch_up()
    recent = _deposits(world, amount, 1, "recent")
    world.run(SetRiskRule(key="r", rule="structuring", parameters=parameters))
    catch_up()
    seen = _deposits(world, amount, 1, "seen")
    _deposits(world, 1, WINDOW_MOVEMENTS - 2, "more")
    catch_up()
    last = _deposits(world, amount, 1, "last")
    catch_up()
    assert _flagged(world) == [recent + seen + last]
    assert rebuild(world.projector, world.ledger_id, "risk_flags").differing_rows == 0
    assert verify(world.projector, world.ledger_id).ok
    assert audited(world).findings == ()


def test_an_account_with_another_scale_has_bounds_of_its_own(world: World) -> None:
    """Thresholds are whole units: the yen account is loaded beside the euro account."""
    world.run(opened("Y", key="y", currency="JPY"))
    for number in range(3):
        _deposits(world, 950_000, 1, f"euro-{number}")
        world.run(deposited("Y", 9_500, key=f"yen-{number}", currency="JPY"))
        _deposits(world, 1, CENTS, f"cent-{number}")
        world.catch_up()
    assert [len(positions) for positions in _flagged(world)] == [3, 3]
    assert verify(world.projector, world.ledger_id).ok
    assert audited(world).findings == ()


@pytest.mark.parametrize("limit", [7, 60, 1_000])
def test_a_busy_account_is_flagged_the_same_whatever_is_forgotten(world: World, limit: int) -> None:
    """Its movements are kept only while they matter, and read back when they matter again."""
    cache = runner.RunnerCache()

    def flagged(*commands: Deposit | Withdraw) -> set[str]:
        """The rules that raised a flag, once the commands are taken in."""
        assert set(answers(world.run(*commands))) == {"recorded"}
        while runner.advance(world.projector, world.ledger_id, limit=limit, cache=cache):
            pass
        rows = world.writer.execute("SELECT rule FROM views.risk_flags").fetchall()
        return {row[0] for row in rows}

    busy = [
        command
        for number in range(130)
        for command in (
            deposited("A", 900, key=f"in-{number}"),
            withdrawn("A", 900, key=f"out-{number}"),
        )
    ]
    assert flagged(*busy) == {"velocity"}
    (memory,) = cache.memories.values()
    assert bool(memory.windows) == (limit > len(busy))  # All at once is looked at as a whole.
    wage, spent = deposited("A", 200_000, key="wage"), withdrawn("A", 190_000, key="spent")
    assert flagged(wage, spent) == {"velocity", "rapid_in_and_out"}
    large = deposited("A", 1_000_000, key="large")
    assert flagged(large) == {"velocity", "rapid_in_and_out", "large_movement"}
    assert rebuild(world.projector, world.ledger_id, "risk_flags").differing_rows == 0
    assert verify(world.projector, world.ledger_id).ok
    assert audited(world).findings == ()
