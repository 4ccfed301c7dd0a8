"""Every case of a file, run against this ledger through its public commands and queries."""

from tests.conformance.adapter import Adapter
from tests.conformance.cases import Case
from tests.conformance.compare import Difference, differences
from tests.conformance.deliberate import deliberate
from tests.conformance.house import House


def test_case(house: House, case: Case) -> None:
    """The ledger answers as the case says, and differs on purpose only where the table says so."""
    found, told = run(house, case)
    on_purpose = deliberate(case)
    if on_purpose is None:
        assert not found, told
    else:
        assert {difference.path for difference in found} == on_purpose.at, told


def test_own_case(house: House, own_case: Case) -> None:
    """The same for cases of our own, of operations and answers that others seldom ask for."""
    found, told = run(house, own_case)
    assert not found, told


def run(house: House, case: Case) -> tuple[list[Difference], str]:
    """The places where the ledger answers otherwise than a case says, and the words for it."""
    results, balances = Adapter(house, case).run()
    found = differences(case, results, balances)
    return found, "\n".join([f"{case.n}: {case.name} ({case.source})", *map(str, found)])
