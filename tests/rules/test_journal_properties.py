"""Plain-text journals made up by the thousand: read back exactly, or refused, nothing else."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from api.journal_text import Included, Journal, JournalRefused, read_journal

TODAY = date(2024, 6, 15)

Leg = tuple[str, Decimal, str]

ACCOUNTS = st.sampled_from(["Assets:Cash", "Expenses:Food", "Equity:Opening Balances", "費用", "x"])
COMMODITIES = st.sampled_from(["EUR", "$", "€", "Fund 2030", ""])
AMOUNTS = st.decimals(min_value=-(10**9), max_value=10**9, places=3).filter(bool)


def render_number(amount: Decimal, *, grouped: bool) -> str:
    """Write a number in one of the ways that leave no doubt."""
    return f"{amount:,f}" if grouped else f"{amount:f}"


@st.composite
def written_amounts(draw: st.DrawFn, amount: Decimal, commodity: str) -> str:
    """Write an amount with its commodity before or behind it."""
    number = render_number(amount, grouped=draw(st.booleans()))
    name = f'"{commodity}"' if " " in commodity else commodity
    if not name:
        return number
    blank = draw(st.sampled_from(["", " "]))
    forms = [f"{number}{blank}{name}", f"{name}{blank}{number}"]
    if amount < 0:
        forms.append(f"-{name}{blank}{number[1:]}")
    return draw(st.sampled_from(forms))


@st.composite
def written_entries(draw: st.DrawFn) -> tuple[str, list[Leg]]:
    """Write an entry that balances, and say what it books."""
    legs: list[Leg] = draw(
        st.lists(st.tuples(ACCOUNTS, AMOUNTS, COMMODITIES), min_size=1, max_size=5)
    )
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for _, amount, commodity in legs:
        sums[commodity] += amount
    other = draw(ACCOUNTS)
    balancing = [
        (other, -amount, commodity) for commodity, amount in sorted(sums.items()) if amount
    ]
    header = draw(
        st.sampled_from(["2024/01/05 * Shop", "2024-01-05=2024-01-06 (1) ! S", "2024.1.5"])
    )
    left_out = draw(st.booleans()) or not balancing
    shown = legs if left_out else legs + balancing
    lines = [header]
    for account, amount, commodity in shown:
        note = draw(st.sampled_from(["", "  ; note", "\t; Key: value"]))
        written = draw(written_amounts(amount, commodity))
        lines.append(f"    {draw(st.sampled_from(['', '* ', '! ']))}{account}  {written}{note}")
    if left_out:
        lines.append(f"    {other}")
    return "\n".join(lines) + "\n", legs + balancing


def booked(journal: Journal) -> list[list[Leg]]:
    """Return the legs of each entry."""
    return [
        [(posting.account, posting.amount, posting.commodity) for posting in entry.postings]
        for entry in journal.entries
    ]


def check_invariants(journal: Journal) -> None:
    """Check what holds for every journal that is read."""
    for entry in journal.entries:
        assert len(entry.postings) > 1
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for posting in entry.postings:
            assert posting.amount
            assert not posting.virtual
            scaled = posting.amount.scaleb(journal.commodities[posting.commodity])
            assert scaled == scaled.to_integral_value()
            sums[posting.commodity] += posting.amount
        assert not any(sums.values())


@given(st.lists(written_entries(), max_size=4))
def test_what_is_written_is_booked(written: list[tuple[str, list[Leg]]]) -> None:
    """Entries written in any of the ways are booked leg by leg as they were made up."""
    journal = read_journal("\n".join(text for text, _ in written), today=TODAY)
    assert booked(journal) == [legs for _, legs in written]
    check_invariants(journal)


@given(AMOUNTS, st.decimals(min_value=0, max_value=10**6, places=4), st.booleans())
def test_cost_is_exact(amount: Decimal, price: Decimal, per_unit: bool) -> None:  # noqa: FBT001
    """What an amount cost is the price times the amount, or the total with the amount's sign."""
    text = f"2024/01/05 x\n  A  {amount:f} X @{'' if per_unit else '@'} ${price:f}\n  B\n"
    journal = read_journal(text, today=TODAY)
    cost = amount * price if per_unit else price.copy_sign(amount)
    paid = [leg for legs in booked(journal) for leg in legs if leg[0] == "B"]
    assert paid == ([("B", -cost, "$")] if cost else [])
    check_invariants(journal)


PIECES = st.sampled_from(
    [
        "2024/01/05 x\n",
        "1/5=1/6 * (c) y  ; n\n",
        "  A  ",
        "  (B)  ",
        "  [C]",
        "\n",
        "\t; [2024/01/01]\n",
        "1",
        "1,000.50",
        "1.000,5",
        "-",
        "$",
        " EUR",
        '"q"',
        " @ ",
        " @@ ",
        " {",
        "}",
        " {{",
        "}}",
        " {=",
        " [2024/01/01]",
        " (",
        ")",
        " = ",
        "  ",
        "=",
        "~",
        "= /A/\n",
        "apply account X\n",
        "end apply\n",
        "account A\n",
        "  alias B\n",
        "commodity $\n",
        "  format ",
        "D ",
        "Y ",
        "C ",
        "P 2024/01/01 ",
        "bucket A\n",
        "comment\n",
        "include f\n",
        "decimal-mark ,\n",
        "commodity 1.000,00 EUR\n",
        " == 3 X",
        " =* 1 234,5",
        "*",
        "/",
        "+",
        ";",
        "\r\n",
        "\ufeff",
        "é",
    ]
)


def include(_: str) -> list[Included]:
    """Include the same entry, whatever the name."""
    return [Included("2024/01/05 x\n  A  1\n  B\n", include)]


def read_or_refuse(text: str) -> Journal | JournalRefused:
    """Return the journal, or why it is refused."""
    try:
        return read_journal(text, today=TODAY, include=include)
    except JournalRefused as refused:
        return refused


@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever the text, it is read into sound entries or refused, and nothing else happens."""
    result = read_or_refuse(text)
    if isinstance(result, JournalRefused):
        assert 1 <= result.line <= text.count("\n") + 1
        assert result.reason
    else:
        check_invariants(result)
