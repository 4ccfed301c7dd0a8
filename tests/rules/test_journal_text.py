"""Plain-text journals: what each piece of the syntax books, and what is refused.

The balances expected here follow from the manuals of ledger and, where it alone has the syntax, of
hledger; the corpus of its own test suite is in
``test_journal_corpus.py``.
"""

from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest

from api.journal_text import (
    CONVERSION_ACCOUNT,
    Included,
    Journal,
    JournalEntry,
    JournalRefused,
    read_journal,
)

TODAY = date(2024, 6, 15)

Balances = dict[str, str]


def read(text: str) -> Journal:
    """Read a journal on a fixed day."""
    return read_journal(text, today=TODAY)


def only_entry(text: str) -> JournalEntry:
    """Read a journal of one entry."""
    (entry,) = read(text).entries
    return entry


def balances(journal: Journal) -> Balances:
    """Return what each account holds as ``{"Account": "1.5 EUR, 2 USD"}``, without zeros."""
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for entry in journal.entries:
        for posting in entry.postings:
            if not posting.conversion:
                sums[posting.account, posting.commodity] += posting.amount
    held: dict[str, list[str]] = defaultdict(list)
    for (account, commodity), amount in sorted(sums.items()):
        if amount:
            held[account].append(f"{amount.normalize():f} {commodity}".strip())
    return {account: ", ".join(amounts) for account, amounts in held.items()}


def refusal(text: str) -> JournalRefused:
    """Return the refusal of a journal."""
    with pytest.raises(JournalRefused) as refused:
        read(text)
    return refused.value


def entry_of(*postings: str, header: str = "2024/01/05 Shop") -> str:
    """Return the text of one entry."""
    return "\n".join([header, *(f"    {posting}" for posting in postings)]) + "\n"


AMOUNTS = {
    "suffix": ("10.50 EUR", "10.5 EUR"),
    "suffix without blank": ("10EUR", "10 EUR"),
    "prefix": ("EUR 10", "10 EUR"),
    "prefix without blank": ("$10", "10 $"),
    "minus before the commodity": ("-$10", "-10 $"),
    "minus behind the commodity": ("$-10", "-10 $"),
    "minus with blanks": ("- $ 10", "-10 $"),
    "plus": ("+10 EUR", "10 EUR"),
    "no commodity": ("10", "10"),
    "bare fraction": (".5 EUR", "0.5 EUR"),
    "quoted commodity": ('3 "Fund 2030"', "3 Fund 2030"),
    "quoted commodity first": ('"A 1" 3', "3 A 1"),
    "unicode commodity": ("€3", "3 €"),
    "thousands commas": ("$1,234,567.89", "1234567.89 $"),
    "thousands comma alone": ("$1,234", "1234 $"),
    "decimal comma": ("1,5 EUR", "1.5 EUR"),
    "decimal comma of many digits": ("1234,5678 EUR", "1234.5678 EUR"),
    "thousands periods": ("1.234.567,89 EUR", "1234567.89 EUR"),
    "thousands blanks": ("1 234 567.50 EUR", "1234567.5 EUR"),
    "thousands blanks and decimal comma": ("1 234,5 zł", "1234.5 zł"),
    "Indian groups": ("12,34,567.89 INR", "1234567.89 INR"),
    "thousands apostrophes": ("1'234.50 CHF", "1234.5 CHF"),
    "expression": ("(2 * 3 EUR - 1 EUR)", "5 EUR"),
    "expression with division": ("($10 / 4)", "2.5 $"),
    "expression in an expression": ("(-(1 + 2) * 2 EUR)", "-6 EUR"),
    "lot price": ("10 AAPL {$150}", "10 AAPL"),
    "lot of everything": ("10 AAPL {{$1500}} [2024/01/01] (first) ((market(amount)))", "10 AAPL"),
    "comment behind": ("10 EUR  ; lunch", "10 EUR"),
    "comment right behind": ("10 EUR; lunch", "10 EUR"),
}


@pytest.mark.parametrize(("written", "read_as"), AMOUNTS.values(), ids=AMOUNTS)
def test_amounts(written: str, read_as: str) -> None:
    """An amount is read exactly, wherever its sign, marks and commodity stand."""
    number, _, commodity = read_as.partition(" ")
    negated = f"{-Decimal(number):f} {commodity}".strip()
    assert balances(read(entry_of(f"A  {written}", "B"))) == {"A": read_as, "B": negated}


JOURNALS: dict[str, tuple[str, Balances]] = {
    "left-out amount of several commodities": (
        entry_of("A  1 EUR", "B  2 USD", "C"),
        {"A": "1 EUR", "B": "2 USD", "C": "-1 EUR, -2 USD"},
    ),
    "cost per unit": (
        entry_of("Stock  3 AAPL @ $1.333", "Cash"),
        {"Stock": "3 AAPL", "Cash": "-3.999 $"},
    ),
    "cost in total takes the sign of the amount": (
        entry_of("Stock  -3 AAPL @@ $10", "Cash"),
        {"Stock": "-3 AAPL", "Cash": "10 $"},
    ),
    "virtual costs": (
        entry_of("Stock  3 AAPL (@) $2", "Stock  1 MSFT (@@) $5", "Cash"),
        {"Stock": "3 AAPL, 1 MSFT", "Cash": "-11 $"},
    ),
    "fixed cost": (
        entry_of("Stock  3 AAPL @ =$2", "Cash  $-6"),
        {"Stock": "3 AAPL", "Cash": "-6 $"},
    ),
    "cost by expression": (
        entry_of("Stock  3 AAPL @ ($1 + $1)", "Cash"),
        {"Stock": "3 AAPL", "Cash": "-6 $"},
    ),
    "rate implied by two commodities": (
        entry_of("EUR  100 EUR", "USD  $-110"),
        {"EUR": "100 EUR", "USD": "-110 $"},
    ),
    "lot without cost stays in kind": (
        entry_of("Stock  3 AAPL {$2}", "Cash"),
        {"Stock": "3 AAPL", "Cash": "-3 AAPL"},
    ),
    "gain on a lot is what is left": (
        entry_of("Stock  -5 AAPL {$100.00} @ $150.00", "Cash  $750.00", "Gains"),
        {"Stock": "-5 AAPL", "Cash": "750 $", "Gains": "-250 $"},
    ),
    "gain on a lot is checked": (
        entry_of("Stock  -5 AAPL {$100.00} @ $150.00", "Cash  $750.00", "Gains  $-250.00"),
        {"Stock": "-5 AAPL", "Cash": "750 $", "Gains": "-250 $"},
    ),
    "fixated prices of several commodities": (
        entry_of("A  10 EUR {=$2}", "A  5 GBP {=$3}", "B  $-35"),
        {"A": "10 EUR, 5 GBP", "B": "-35 $"},
    ),
    "costs rounded by the one who wrote them": (
        entry_of("Food  0.50 bread @ $3.99", "Cash  $-2.00"),
        {"Food": "0.5 bread", "Cash": "-2 $"},
    ),
    "virtual postings are beside the books": (
        entry_of("A  1 EUR", "B", "(A)  5 EUR", "[C]  2 EUR", "[D]"),
        {"A": "1 EUR", "B": "-1 EUR"},
    ),
    "states of postings": (entry_of("* A  1 EUR", "! B"), {"A": "1 EUR", "B": "-1 EUR"}),
    "tabs": ("2024/01/05\tShop\n\tA\t1 EUR\t; x\n\tB\n", {"A": "1 EUR", "B": "-1 EUR"}),
    "carriage returns and byte order mark": (
        "\ufeff2024/01/05 Shop\r\n  A  1 EUR\r\n  B\r\n\r\n",
        {"A": "1 EUR", "B": "-1 EUR"},
    ),
    "unicode": (entry_of("費用:食品  ¥500", "現金"), {"費用:食品": "500 ¥", "現金": "-500 ¥"}),
    "account with blanks": (
        entry_of("Expenses:Eating out: Lunch  1", "B"),
        {"Expenses:Eating out: Lunch": "1", "B": "-1"},
    ),
    "assertions hold": (
        entry_of("A  3 X = 3 X", "B") + entry_of("A  -3 X = 0", "B  = 0"),
        {},
    ),
    "assignment": (
        entry_of("A  3 X", "B") + entry_of("A  = 5 X", "C"),
        {"A": "5 X", "B": "-3 X", "C": "-2 X"},
    ),
    "assignment counts the entry's own postings": (
        entry_of("A  1 X", "A  = 5 X", "C"),
        {"A": "5 X", "C": "-5 X"},
    ),
    "bare assignment empties": (
        entry_of("A  3 X", "B") + entry_of("A  = 0", "C"),
        {"B": "-3 X", "C": "3 X"},
    ),
    "assertion counts real postings only": (
        entry_of("A  3 X", "(A)  9 X", "B") + entry_of("A  1 X = 4 X", "B"),
        {"A": "4 X", "B": "-4 X"},
    ),
    "comments of all kinds": (
        "; a\n# b\n% c\n* d\n| e\n"
        + entry_of("; note", ":tag:", "A  1 X", "; Key: value", "B").replace(":tag:", "; :tag:"),
        {"A": "1 X", "B": "-1 X"},
    ),
    "comment and test blocks": (
        "comment\n2024/01/05 x\n  A  1\nend comment\ntest bal\n x\nend test\n" + entry_of("A  0"),
        {},
    ),
    "periodic entries book nothing": ("~ Monthly\n  A  1 X\n  B\n", {}),
    "virtual automated entries book nothing": (
        "= /A/ and expr 'amount > 1'\n  (Budget:%(account))  -1\n  [C]  (amount * 2)\n\n"
        + entry_of("A  1 X", "B"),
        {"A": "1 X", "B": "-1 X"},
    ),
    "automated entry multiplies": (
        "= /^Sal/\n  Tax  0.2\n  Due  -0.2\n\n" + entry_of("Salary  -10 X", "Cash"),
        {"Salary": "-10 X", "Cash": "10 X", "Tax": "-2 X", "Due": "2 X"},
    ),
    "automated entry of a fixed amount, for each match": (
        "= food\n  Fee  $1\n  Fees due  $-1\n\n" + entry_of("Food:A  1 X", "food:b  2 X", "Cash"),
        {
            "Food:A": "1 X",
            "food:b": "2 X",
            "Cash": "-3 X",
            "Fee": "2 $",
            "Fees due": "-2 $",
        },
    ),
    "automated entry of a fixed amount, for a match of zero": (
        "= B\n  Fee  $1\n  Due  $-1\n\n" + entry_of("A  = 0", "B"),
        {"Fee": "1 $", "Due": "-1 $"},
    ),
    "automated entries change only what follows": (
        entry_of("A  1 X", "B") + "= A\n  C  1\n  D  -1\n",
        {"A": "1 X", "B": "-1 X"},
    ),
    "apply account": (
        "apply account X\napply account Y\n" + entry_of("A  1", "B") + "end apply account\n"
        "end\n" + entry_of("A  1", "B"),
        {"A": "1", "B": "-1", "X:Y:A": "1", "X:Y:B": "-1"},
    ),
    "apply tag": ("apply tag x\n" + entry_of("A  1", "B") + "end tag\n", {"A": "1", "B": "-1"}),
    "apply fixed rate": (
        "apply fixed EUR $2\n" + entry_of("A  1 EUR", "C  1 EUR", "B  $-4") + "end apply fixed\n",
        {"A": "1 EUR", "C": "1 EUR", "B": "-4 $"},
    ),
    "alias of an account and of its root": (
        "alias chk=Assets:Checking\nalias a = Assets\n" + entry_of("chk  1", "a:Cash"),
        {"Assets:Checking": "1", "Assets:Cash": "-1"},
    ),
    "alias within an account directive": (
        "account Assets:Checking\n  note ours\n  alias chk\n\n" + entry_of("chk  1", "B"),
        {"Assets:Checking": "1", "B": "-1"},
    ),
    "bucket": ("bucket Cash\n" + entry_of("Food  1 X"), {"Food": "1 X", "Cash": "-1 X"}),
    "bucket by letter": ("A Cash\n" + entry_of("Food  1 X"), {"Food": "1 X", "Cash": "-1 X"}),
    "bucket by account": (
        "account Cash\n  default\n\n" + entry_of("Food  1 X"),
        {"Food": "1 X", "Cash": "-1 X"},
    ),
    "commodity alias": (
        "commodity EUR\n  alias €\n  nomarket\n\n" + entry_of("A  1 €", "B  -1 EUR"),
        {"A": "1 EUR", "B": "-1 EUR"},
    ),
    "decimal comma by format": (
        "commodity EUR\n  format 1.000,00 EUR\n\n" + entry_of("A  1.500 EUR", "B"),
        {"A": "1500 EUR", "B": "-1500 EUR"},
    ),
    "decimal comma by default commodity": (
        "D 1.000,00 EUR\n" + entry_of("A  1,500 EUR", "B"),
        {"A": "1.5 EUR", "B": "-1.5 EUR"},
    ),
    "decimal comma by use": (
        entry_of("A  1,50 EUR", "B") + entry_of("A  1.500 EUR", "B"),
        {"A": "1501.5 EUR", "B": "-1501.5 EUR"},
    ),
    "decimal comma by an example": (
        "commodity 1.000,00 EUR  ; euro\n" + entry_of("A  1.500 EUR", "B"),
        {"A": "1500 EUR", "B": "-1500 EUR"},
    ),
    "decimal marks by examples without decimals": (
        'commodity $1,000.\ncommodity "A 1" 1 000,\ncommodity EUR\n  format 1.000, EUR\n\n'
        + entry_of("A  $1,500", 'A  "A 1" 1,500', "A  1,500 EUR", "B"),
        {"A": "1500 $, 1.5 A 1, 1.5 EUR", "B": "-1500 $, -1.5 A 1, -1.5 EUR"},
    ),
    "decimal mark set for all": (
        entry_of("A  1,5 X", "B")
        + "decimal-mark .\n"
        + entry_of("A  1,500 X", "B")
        + "decimal-mark ,\n"
        + entry_of("A  1.500 Y", "B"),
        {"A": "1501.5 X, 1500 Y", "B": "-1501.5 X, -1500 Y"},
    ),
    "assertion of a balance at a cost": (
        entry_of("A  1 X @ 2 Y = 1 X @ 2 Y", "B"),
        {"A": "1 X", "B": "-2 Y"},
    ),
    "assertion of a balance alone": (
        entry_of("A  3 X == 3 X", "B") + entry_of("A  == 0 X", "B"),
        {},
    ),
    "assertions that count accounts below": (
        entry_of("A:B  3 X", "A  1 X", "AB  9 X", "C")
        + entry_of("A  1 X =* 5 X", "C  0 X ==* -13 X", "AB  -1 X"),
        {"A": "2 X", "A:B": "3 X", "AB": "8 X", "C": "-13 X"},
    ),
    "assignment that counts accounts below": (
        entry_of("A:B  3 X", "C") + entry_of("A  ==* 0 X", "D"),
        {"A": "-3 X", "A:B": "3 X", "C": "-3 X", "D": "3 X"},
    ),
    "indented comment outside of entries": (
        "\n  ; note\n" + entry_of("A  1 X", "B"),
        {"A": "1 X", "B": "-1 X"},
    ),
    "directives that change no balance": (
        "account A\ncommodity X\n  note n\npayee P\n  alias p\ntag t\n  check true\nN X\n"
        "P 2024/01/01 X $1\nP 2024/01/01 10:00:00 X $1\ndefine f(a)=a\neval 1\nexpr 1\nvalue 1\n"
        "check 1\nC 1 kb = 1024 b\n!account B\n@account C\nh\nb\n" + entry_of("A  1 X", "B"),
        {"A": "1 X", "B": "-1 X"},
    ),
    "entries that move nothing": (
        entry_of("A") + entry_of("A  0 X", "B") + "2024/01/05 only a header\n",
        {},
    ),
}


@pytest.mark.parametrize(("text", "expected"), JOURNALS.values(), ids=JOURNALS)
def test_journals(text: str, expected: Balances) -> None:
    """A journal gives these balances, and every entry of it sums to zero per commodity."""
    journal = read(text)
    assert balances(journal) == expected
    for entry in journal.entries:
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for posting in entry.postings:
            assert posting.amount
            sums[posting.commodity] += posting.amount
        assert not any(sums.values())
        assert len(entry.postings) > 1


REFUSED = {
    "does not balance": (entry_of("A  1 X", "B  -2 X"), 3, "does not balance"),
    "two amounts left out": (entry_of("A  1 X", "B", "C"), 4, "more than one posting"),
    "three commodities": (entry_of("A  1 X", "B  -2 Y", "C  -3 Z"), 4, "does not balance"),
    "same side": (entry_of("A  1 X", "B  2 Y"), 3, "does not balance"),
    "balanced virtual does not": (
        entry_of("A  0 X", "[C]  2 X", "[D]  -1 X"),
        4,
        "does not balance",
    ),
    "cost off by more than rounding": (
        entry_of("A  3 X @ $3.33", "B  $-10.00"),
        3,
        "does not balance",
    ),
    "lot price and rate differ": (entry_of("A  10 X {$5}", "B  $-51"), 3, "than its price"),
    "lot for its own commodity": (entry_of("A  10 X {$5}", "B  -9 X"), 3, "without one"),
    "gain with too many decimals": (
        entry_of("A  -3 X {$3.3333} @ $4", "B"),
        3,
        "more decimals",
    ),
    "negative cost": (entry_of("A  1 X @ $-3", "B"), 2, "negative"),
    "cost in its own commodity": (entry_of("A  1 X @ 2 X", "B"), 2, "commodity of its amount"),
    "assertion fails": (entry_of("A  1 X = 2 X", "B"), 2, "balance of A is not"),
    "assertion of another commodity": (
        entry_of("A  1 X", "B") + entry_of("A  1 Y = 1 X", "B"),
        5,
        "balance of A is not",
    ),
    "assertion out of the order of dates": (
        entry_of("A  1 X", "B") + entry_of("A  1 X = 2 X", "B", header="2024/01/04 Earlier"),
        5,
        "date order",
    ),
    "assignment at a cost": (entry_of("A  = 4 X @ $2", "B"), 2, "at a cost"),
    "posting before a balance assigned above": (
        entry_of("A  = 5 X", "B") + entry_of("A  1 X", "B", header="2024/01/04 Earlier"),
        6,
        "A is posted to for a day before",
    ),
    "posting before a bare balance assigned above": (
        entry_of("A  1 X", "B")
        + entry_of("A  = 0", "B")
        + entry_of("A  1 X", "B", header="2024/01/04 Earlier"),
        9,
        "A is posted to for a day before",
    ),
    "assertion where virtual and real postings mix": (
        entry_of("(A)  1 X") + entry_of("A  1 X = 1 X", "B"),
        4,
        "mixes virtual",
    ),
    "bare assignment of several commodities": (
        entry_of("A  1 X", "A  1 Y", "B") + entry_of("A  = 0", "B"),
        6,
        "several commodities",
    ),
    "assertion of a balance alone fails": (
        entry_of("A  1 X", "A  1 Y", "B") + entry_of("A  1 X == 2 X", "B"),
        6,
        "balance of A is not",
    ),
    "assertion with accounts below fails": (
        entry_of("A:B  1 X", "B") + entry_of("A  1 X =* 1 X", "B"),
        5,
        "balance of A is not",
    ),
    "decimal or thousands comma": (entry_of("A  0,500 EUR", "B"), 2, "comma could be"),
    "comma with six digits": (entry_of("A  1,234567 EUR", "B"), 2, "comma could be"),
    "two periods": (entry_of("A  1.000.000 EUR", "B"), 2, "not certain"),
    "loose groups": (entry_of("A  1,2345,678.00 EUR", "B"), 2, "not certain"),
    "loose groups of blanks": (entry_of("A  1 234 56 EUR", "B"), 2, "goes on"),
    "trailing mark": (entry_of("A  10. EUR", "B"), 2, "mark"),
    "endless decimals": (entry_of("A  (10 EUR / 3)", "B"), 3, "division"),
    "division by zero": (entry_of("A  (10 EUR / 0)", "B"), 2, "zero"),
    "names in an expression": (entry_of("A  (amount * 2)", "B"), 2, "no quantity"),
    "commodities multiplied": (entry_of("A  (2 X * 2 X)", "B"), 2, "multiplies"),
    "commodities added": (entry_of("A  (2 X + 2 Y)", "B"), 2, "adds different"),
    "too deep": (entry_of("A  " + "(" * 99 + "1" + ")" * 99, "B"), 2, "too deeply"),
    "something behind the amount": (entry_of("A  1 X 2", "B"), 2, "goes on"),
    "lot price without a commodity": (entry_of("A  1 X {5}", "B"), 2, "of a commodity"),
    "no amount": (entry_of("A  EUR", "B"), 2, "no quantity"),
    "too many digits": (entry_of(f"A  {'9' * 99}", "B"), 2, "too many digits"),
    "hours": (entry_of("A  2h", "B"), 2, "converted"),
    "converted units": ("C 1 kb = 1024 b\n" + entry_of("A  2 kb", "B"), 3, "converted"),
    "bare amounts and a default commodity": (
        "D $1.00\n" + entry_of("A  2", "B"),
        3,
        "no commodity",
    ),
    "account cut short": (entry_of("A:  1 X", "B"), 2, "empty part"),
    "comment in a name": (entry_of("A  1 X", "B ; not a comment"), 3, "comment"),
    "reserved account": (entry_of("Import:Conversion  1 X", "B"), 2, "importer's own"),
    "deferred posting": (entry_of("A  1 X", "<B>"), 3, "deferred"),
    "indentation without a header": ("\n  A  1 X\n", 2, "belongs to nothing"),
    "comment at the margin ends an entry": (
        "2024/01/05 x\n  A  0 X\n; c\n  B\n",
        4,
        "belongs to nothing",
    ),
    "no date": ("2024/ x\n", 1, "a date"),
    "no such day": ("2024/02/30 x\n", 1, "calendar"),
    "alias by a pattern": ("alias /^A/=B\n", 1, "pattern"),
    "decimal mark of another kind": ("decimal-mark '\n", 1, "neither"),
    "comma for another mark that is set": (
        "decimal-mark .\n" + entry_of("A  1,5 X", "B"),
        3,
        "not certain",
    ),
    "example without a commodity's name": ("commodity 1,000.00 X 3\n", 1, "not given by"),
    "two-digit year": ("24/01/30 x\n", 1, "date"),
    "year too early": ("1200/01/30 x\n", 1, "1400"),
    "unknown directive": ("frobnicate A\n", 1, "no directive"),
    "command line option": ("--strict\n", 1, "no directive"),
    "python": ("python\n  print()\n", 1, "no directive"),
    "time clock": ("i 2024/01/01 10:00:00 A\n", 1, "no directive"),
    "assertion by expression": ("assert 1 == 1\n", 1, "no directive"),
    "assertion within an entry": (entry_of("A  1", "assert true", "B"), 3, "expression"),
    "include": ("include other.dat\n", 1, "not included"),
    "end of nothing": ("end apply account\n", 1, "not the end"),
    "end of something else": ("apply tag x\nend apply account\n", 2, "not the end"),
    "malformed price": ("P 2024/13/01 X $1\n", 1, "calendar"),
    "unknown word of an account": ("account A\n  frob x\n", 2, "indented line"),
    "format of another commodity": ("commodity X\n  format 1 Y\n", 2, "not an amount of it"),
    "automated entry by expression": (
        "= expr 'amount > 1'\n  C  1\n  D  -1\n",
        3,
        "predicate",
    ),
    "automated entry that does not balance": (
        "= A\n  C  1\n\n" + entry_of("A  1 X", "B"),
        6,
        "do not balance",
    ),
    "automated entry with a cost": (
        "= A\n  C  1\n  D  -1\n\n" + entry_of("A  1 X @ $2", "B"),
        7,
        "costs or lots",
    ),
    "automated entry on several amounts left out": (
        "= B\n  C  1\n  D  -1\n\n" + entry_of("A  1 X", "A  1 Y", "B"),
        8,
        "several postings",
    ),
    "automated entry on a bucket": (
        "bucket Cash\n= Food\n  C  1\n  D  -1\n\n" + entry_of("Food  1 X"),
        7,
        "several postings",
    ),
    "account by payee": (
        "account A\n  payee ^Shop\n\n" + entry_of("C  1", "Unknown"),
        6,
        "named by its payee",
    ),
    "same UUID twice": (
        entry_of("; UUID: 1", "A  1", "B") + entry_of("; UUID: 1", "A  1", "B"),
        8,
        "UUID",
    ),
    "control character": ("2024/01/05 x\n  A\x07  1\n  B\n", 2, "control"),
    "null character": ("2024/01/05 x\n  A\0  1\n  B\n", 2, "not text"),
    "long line": ("; " + "x" * 5000, 1, "too long"),
}


@pytest.mark.parametrize(("text", "line", "reason"), REFUSED.values(), ids=REFUSED)
def test_refusals(text: str, line: int, reason: str) -> None:
    """What cannot be read exactly is refused at its line with the reason."""
    refused = refusal(text)
    assert refused.line == line
    assert reason in refused.reason


def test_entry_keeps_its_header() -> None:
    """Dates, state, code, payee and line of an entry are kept, notes are not."""
    entry = only_entry("\n2024-01-05=2024-01-07 * (A 12) Corner Shop  ; note\n  A  1\n  B\n")
    assert entry.line == 2
    assert (entry.booking_date, entry.value_date) == (date(2024, 1, 5), date(2024, 1, 7))
    assert (entry.state, entry.code, entry.payee) == ("*", "A 12", "Corner Shop")


def test_state_behind_the_code() -> None:
    """The state may stand behind the code as well, and a header may be a date alone."""
    assert only_entry(entry_of("A  1", "B", header="2024/01/05 (7) ! P")).state == "!"
    plain = only_entry(entry_of("A  1", "B", header="2024/01/05"))
    assert (plain.state, plain.code, plain.payee) == ("", None, "")
    assert plain.value_date == plain.booking_date


def test_note_sets_the_dates_of_an_entry() -> None:
    """A note of an entry that begins with dates in brackets sets them."""
    entry = only_entry(entry_of("; [2024/02/01=2024/02/03]", "A  1", "B"))
    assert (entry.booking_date, entry.value_date) == (date(2024, 2, 1), date(2024, 2, 3))


def test_auxiliary_dates_are_in_the_year_of_the_entry() -> None:
    """An auxiliary date without a year is in the year of the entry, whatever day it is today."""
    entry = only_entry(entry_of("A  1", "B", header="2008/01/31=02/01 P"))
    assert entry.value_date == date(2008, 2, 1)


DATES = {
    "slashes": ("2024/1/5", date(2024, 1, 5)),
    "dots": ("2024.01.05", date(2024, 1, 5)),
    "month only": ("2024/03", date(2024, 3, 1)),
    "this year": ("6/30", date(2024, 6, 30)),
    "last year, as its month is still to come": ("07-01", date(2023, 7, 1)),
}


@pytest.mark.parametrize(("written", "day"), DATES.values(), ids=DATES)
def test_dates(written: str, day: date) -> None:
    """A date may leave out its year or its day."""
    assert only_entry(entry_of("A  1", "B", header=f"{written} P")).booking_date == day


@pytest.mark.parametrize("directive", ["Y 2020", "Y2020", "year 2020", "apply year 2020"])
def test_year_directives(directive: str) -> None:
    """A year that is set holds for dates without one."""
    entry = only_entry(f"{directive}\n" + entry_of("A  1", "B", header="12/31 P"))
    assert entry.booking_date == date(2020, 12, 31)


def test_year_ends_with_its_block() -> None:
    """The year before an ``apply year`` is back behind its end."""
    text = "Y 2020\napply year 2021\nend apply year\n" + entry_of("A  1", "B", header="12/31 P")
    assert only_entry(text).booking_date == date(2020, 12, 31)


def test_conversion_takes_the_other_side() -> None:
    """An exchange is booked against the position account, each commodity to zero."""
    entry = only_entry(entry_of("Stock  3 AAPL @ $2.50", "Cash"))
    conversions = {
        posting.commodity: posting.amount for posting in entry.postings if posting.conversion
    }
    assert conversions == {"AAPL": Decimal(-3), "$": Decimal("7.5")}
    accounts = {posting.account for posting in entry.postings if posting.conversion}
    assert accounts == {CONVERSION_ACCOUNT}


def test_no_conversion_without_exchange() -> None:
    """An entry that balances in each commodity has no leg but its own."""
    entry = only_entry(entry_of("A  3 X", "B  4 Y", "C"))
    assert not any(posting.conversion for posting in entry.postings)


def test_virtual_postings_are_handed_over_apart() -> None:
    """Virtual postings, computed ones too, are kept beside the entry."""
    entry = only_entry(entry_of("A  1 X", "B", "(C)  5 X", "[D]  2 X", "[E]"))
    assert [
        (posting.account, posting.amount, posting.virtual) for posting in entry.virtual_postings
    ] == [("C", Decimal(5), True), ("D", Decimal(2), True), ("E", Decimal(-2), True)]
    assert not any(posting.virtual for posting in entry.postings)


def test_commodities_have_the_decimals_they_need() -> None:
    """The scale of a commodity holds each of its amounts, computed ones included."""
    text = entry_of("A  2.50 X @ $1.25", "B") + entry_of("A  100 X", "B")
    assert read(text).commodities == {"X": 1, "$": 3}


def nothing(_: str) -> list[Included]:
    """Include no file."""
    return []


def test_several_files_included_by_one_name() -> None:
    """Each is read on its own, and includes others by its own resolver."""
    inner = Included(entry_of("Inner  1", "B"), nothing)
    one = Included("apply account One\ninclude inner\n", lambda _: [inner])
    two = Included(entry_of("Two  1", "B"), nothing)
    journal = read_journal("include *\n", today=TODAY, include=lambda _: [one, two])
    assert balances(journal) == {"One:Inner": "1", "One:B": "-1", "Two": "1", "B": "-1"}


def test_include_by_resolver() -> None:
    """An included file is read in place; its year and blocks end with it."""
    first = "Y 2020\ndecimal-mark ,\napply account Root\n"
    files = {"a.dat": [Included(first + entry_of("A  1,000", "B", header="1/1 P"), nothing)]}
    text = "include a.dat\n" + entry_of("A  1.0", "B", header="1/2 P")
    journal = read_journal(text, today=TODAY, include=files.__getitem__)
    assert balances(journal) == {"Root:A": "1", "Root:B": "-1", "A": "1", "B": "-1"}
    assert [entry.booking_date.year for entry in journal.entries] == [2020, 2024]


def test_included_refusal_names_both_lines() -> None:
    """What an included file cannot be read for is refused where it is included."""
    with pytest.raises(JournalRefused) as refused:
        read_journal(
            "\n\ninclude 'a'\n",
            today=TODAY,
            include=lambda _: [Included("; ok\nfrob x\n", nothing)],
        )
    assert refused.value.line == 3
    assert "line 2" in refused.value.reason


def test_includes_without_end() -> None:
    """A file that includes itself is refused."""

    def itself(_: str) -> list[Included]:
        """Return the same file again."""
        return [Included("include a\n", itself)]

    with pytest.raises(JournalRefused, match="too deeply"):
        read_journal("include a\n", today=TODAY, include=itself)


def test_refusals_keep_personal_text_to_themselves() -> None:
    """A refusal names neither payee nor note nor code."""
    text = entry_of("A  1 X  ; secret note", "B  2 X", header="2024/01/05 (secret) secret payee")
    assert "secret" not in str(refusal(text))
