"""Bank statements read from camt.053 files: what is read, what is refused, how files chain."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from string import ascii_letters, digits

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import camt053, camt053_xml
from api.camt053 import BankStatement, StatementBalance, StatementEntry
from api.camt053_xml import Camt053Refused

REAL_FILES = Path(__file__).parents[3] / "shared" / "data" / "camt053"
DAY = date(2031, 5, 14)

STATEMENT = """<?xml version="1.0" encoding="UTF-8"?>
<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08">
 <BkToCstmrStmt>
  <GrpHdr><MsgId>M-1</MsgId><CreDtTm>2031-05-15T06:00:00+02:00</CreDtTm></GrpHdr>
  <Stmt>
   <Id>S-1</Id>
   <ElctrncSeqNb>134</ElctrncSeqNb>
   <FrToDt><FrDtTm>2031-05-14T00:00:00</FrDtTm><ToDtTm>2031-05-14T23:59:59.999Z</ToDtTm></FrToDt>
   <Acct><Id><IBAN>XX00TEST0001</IBAN></Id><Ccy>EUR</Ccy><Ownr><Nm>Ada Example</Nm></Ownr></Acct>
   <Bal>
    <Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp>
    <Amt Ccy="EUR">100.5</Amt><CdtDbtInd>DBIT</CdtDbtInd><Dt><Dt>2031-05-14</Dt></Dt>
   </Bal>
   <Bal>
    <Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp>
    <Amt Ccy="EUR">49.70</Amt><Dt><DtTm>2031-05-14T23:00:00Z</DtTm></Dt>
   </Bal>
   <Bal>
    <Tp><CdOrPrtry><Cd>CLAV</Cd></CdOrPrtry></Tp>
    <Amt Ccy="EUR">40</Amt><CdtDbtInd>CRDT</CdtDbtInd><Dt><Dt>2031-05-14</Dt></Dt>
   </Bal>
   <Ntry>
    <NtryRef>N-1</NtryRef>
    <Amt Ccy="EUR">150.40</Amt><CdtDbtInd>CRDT</CdtDbtInd><RvslInd>true</RvslInd>
    <Sts><Cd>BOOK</Cd></Sts>
    <BookgDt><Dt>2031-05-13+02:00</Dt></BookgDt><ValDt><Dt>2031-05-12</Dt></ValDt>
    <AcctSvcrRef>A-1</AcctSvcrRef>
    <BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd><SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd>
    <NtryDtls>
     <Btch><NbOfTxs>2</NbOfTxs></Btch>
     <TxDtls>
      <Refs><EndToEndId>NOTPROVIDED</EndToEndId><TxId>T-1</TxId></Refs>
      <Amt Ccy="USD">99.99</Amt><RmtInf><Ustrd>secret words</Ustrd></RmtInf>
     </TxDtls>
     <TxDtls><Refs><EndToEndId>E-2</EndToEndId><TxId>T-2</TxId></Refs></TxDtls>
    </NtryDtls>
   </Ntry>
   <Ntry>
    <Amt Ccy="EUR">7</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>PDNG</Cd></Sts>
   </Ntry>
   <Ntry>
    <Amt Ccy="EUR">0.2</Amt><CdtDbtInd>DBIT</CdtDbtInd>
    <BkTxCd><Prtry><Cd>FEE</Cd></Prtry></BkTxCd>
    <AddtlNtryInf>more secret words</AddtlNtryInf>
   </Ntry>
   <Ntry><Amt Ccy="EUR">0.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts>BOOK</Sts></Ntry>
  </Stmt>
 </BkToCstmrStmt>
</Document>
"""

EXPECTED = BankStatement(
    statement_id="S-1",
    account_id="XX00TEST0001",
    currency="EUR",
    opening=StatementBalance(amount=Decimal("-100.50"), balance_date=DAY),
    closing=StatementBalance(amount=Decimal("49.70"), balance_date=DAY),
    entries=(
        StatementEntry(
            index=0,
            amount=Decimal("150.40"),
            side="credit",
            booking_date=date(2031, 5, 13),
            value_date=date(2031, 5, 12),
            is_reversal=True,
            entry_reference="N-1",
            servicer_reference="A-1",
            end_to_end_id="E-2",
            transaction_id="T-1",
            bank_transaction_code="PMNT/RCDT/ESCT",
        ),
        StatementEntry(
            index=2,
            amount=Decimal("0.20"),
            side="debit",
            booking_date=DAY,
            value_date=DAY,
            is_reversal=False,
            entry_reference=None,
            servicer_reference=None,
            end_to_end_id=None,
            transaction_id=None,
            bank_transaction_code="FEE",
        ),
        StatementEntry(
            index=3,
            amount=Decimal("0.00"),
            side="credit",
            booking_date=DAY,
            value_date=DAY,
            is_reversal=False,
            entry_reference=None,
            servicer_reference=None,
            end_to_end_id=None,
            transaction_id=None,
            bank_transaction_code=None,
        ),
    ),
    created_at="2031-05-15T06:00:00+02:00",
    period_from=DAY,
    period_to=DAY,
    sequence_number=134,
    page_number=None,
)


def read(text: str) -> BankStatement:
    """Read a file that holds one statement."""
    (statement,) = camt053.read_camt053(text.encode())
    return statement


def replaced(old: str, new: str) -> str:
    """Give the example with its first ``old`` replaced, which must be there."""
    assert old in STATEMENT
    return STATEMENT.replace(old, new, 1)


def refused(action: Callable[[], object]) -> Camt053Refused:
    """Give the refusal that the action ends in."""
    with pytest.raises(Camt053Refused) as caught:
        action()
    return caught.value


def statement_of(  # noqa: PLR0913 - each is one thing that tells statements apart.
    opening: str,
    closing: str,
    *,
    first_day: date = DAY,
    last_day: date | None = None,
    statement_id: str = "S",
    sequence_number: int | None = None,
    page_number: int | None = None,
    account_id: str = "A",
) -> BankStatement:
    """Make a statement without entries, for tests of its place among others."""
    return BankStatement(
        statement_id=statement_id,
        account_id=account_id,
        currency="EUR",
        opening=StatementBalance(amount=Decimal(opening), balance_date=first_day),
        closing=StatementBalance(amount=Decimal(closing), balance_date=last_day or first_day),
        entries=(),
        created_at=None,
        period_from=None,
        period_to=None,
        sequence_number=sequence_number,
        page_number=page_number,
    )


# What is read


def test_a_statement_is_read_in_full() -> None:
    """Signs, dates, fallbacks, batches, references and statuses are read as documented."""
    assert read(STATEMENT) == EXPECTED
    camt053.check_statement(EXPECTED)


def test_no_personal_data_is_in_the_plan() -> None:
    """Names and remittance texts do not leave the file."""
    plan = msgspec.json.encode(read(STATEMENT))
    assert b"Ada" not in plan
    assert b"secret" not in plan


@pytest.mark.parametrize("version", [f"{number:02}" for number in range(1, 15)])
def test_every_version_is_read(version: str) -> None:
    """The versions 001.01 to 001.14 are read alike."""
    text = replaced("camt.053.001.08", f"camt.053.001.{version}")
    assert read(text) == EXPECTED
    if version == "01":
        assert read(text.replace("BkToCstmrStmt>", "BkToCstmrStmtV01>")) == EXPECTED


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "iso-8859-2", "iso-8859-15", "windows-1250"],
)
def test_encodings_of_banks_are_read(encoding: str) -> None:
    """The declared encoding decides."""
    name = encoding.removesuffix("-sig")
    text = replaced('"UTF-8"', f'"{name}"').replace("Ada", "Adä")
    assert camt053.read_camt053(text.encode(encoding)) == (EXPECTED,)


def test_a_namespace_prefix_is_read() -> None:
    """A prefix means the same as the default namespace."""
    text = STATEMENT.replace("</", "\0").replace("<", "<c:").replace("\0", "</c:")
    text = text.replace("<c:?", "<?").replace("xmlns=", "xmlns:c=")
    assert read(text) == EXPECTED


def enveloped(content: str) -> str:
    """Put messages into the envelope of a network, behind a header."""
    header = '<h:AppHdr xmlns:h="urn:iso:std:iso:20022:tech:xsd:head.001.001.02"><h:Id>1</h:Id>'
    return f'<BizMsgEnvlp xmlns="urn:x">{header}</h:AppHdr>{content}<Sgntr>x</Sgntr></BizMsgEnvlp>'


def test_a_message_in_an_envelope_is_read() -> None:
    """What is around the message is not looked at."""
    message = STATEMENT[STATEMENT.index("<Document") :]
    assert read(enveloped(message)) == EXPECTED
    assert refused(lambda: read(enveloped(message * 2))).reason == "several_messages"
    assert refused(lambda: read(enveloped(""))).reason == "not_camt053"


def test_a_message_without_its_namespace_is_read() -> None:
    """The name of the message says what it is; another message is refused."""
    bare = replaced(' xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"', "")
    assert read(bare) == EXPECTED
    other = bare.replace("BkToCstmrStmt", "BkToCstmrAcctRpt")
    assert refused(lambda: read(other)).reason == "not_camt053"


def test_elements_of_other_namespaces_are_not_read() -> None:
    """An extension's own Ntry is no entry."""
    extension = '<x:Ntry xmlns:x="urn:x"><x:Amt Ccy="EUR">1</x:Amt></x:Ntry></Stmt>'
    assert read(replaced("</Stmt>", extension)) == EXPECTED


def test_several_statements_of_one_file_are_read_in_order() -> None:
    """A file may hold statements on several accounts."""
    start, end = STATEMENT.index("<Stmt>"), STATEMENT.index("</Stmt>") + len("</Stmt>")
    other = STATEMENT[start:end].replace("<IBAN>XX00TEST0001</IBAN>", "<Othr><Id>77</Id></Othr>")
    statements = camt053.read_camt053((STATEMENT[:end] + other + STATEMENT[end:]).encode())
    assert statements == (EXPECTED, msgspec.structs.replace(EXPECTED, account_id="77"))


def test_the_previous_closing_balance_serves_as_opening() -> None:
    """PRCD is read where there is no OPBD, and ignored where there is one."""
    assert read(replaced("OPBD", "PRCD")) == EXPECTED
    assert read(replaced("CLAV", "PRCD")) == EXPECTED


def test_a_balance_without_indicator_has_its_own_sign() -> None:
    """A plain amount is in the holder's favour; a negative one is overdrawn."""
    assert read(STATEMENT).closing.amount == Decimal("49.70")
    overdrawn = read(replaced('"EUR">49.70', '"EUR">-49.70'))
    assert overdrawn.closing.amount == Decimal("-49.70")


def balance_xml(code: str, amount: str, day: str, kind: str = "") -> str:
    """Write a balance in the holder's favour."""
    return (
        f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry>{kind}</Tp>"
        f'<Amt Ccy="EUR">{amount}</Amt><Dt><Dt>{day}</Dt></Dt></Bal><Ntry>'
    )


def test_a_statement_with_the_balances_of_each_day_spans_them_all() -> None:
    """The first opening and the last closing balance count; two of one day are unclear."""
    earlier = balance_xml("OPBD", "3", "2031-05-12") + balance_xml("CLBD", "2", "2031-05-12")
    statement = read(replaced("<Ntry>", earlier.replace("<Ntry><Bal>", "<Bal>")))
    assert statement.opening == StatementBalance(Decimal(3), date(2031, 5, 12))
    assert statement.closing == EXPECTED.closing
    again = replaced("<Ntry>", balance_xml("CLBD", "2", "2031-05-14"))
    assert refused(lambda: read(again)).reason == "balance_ambiguous"


def test_a_balance_of_a_sub_type_is_passed_over() -> None:
    """What is only part of the closing balance is not it."""
    part = balance_xml("CLBD", "2", "2031-05-14", "<SubTp><Cd>BCUR</Cd></SubTp>")
    assert read(replaced("<Ntry>", part)) == EXPECTED


def test_a_statement_of_available_balances_alone_is_read() -> None:
    """Where no booked balance is given, the available ones are what the entries lie between."""
    text = STATEMENT.replace("CLAV", "XXXX").replace("OPBD", "OPAV").replace("CLBD", "CLAV")
    assert read(text) == EXPECTED
    half = replaced("OPBD", "OPAV")
    assert refused(lambda: read(half)).reason == "balance_missing"


def test_an_iban_is_the_same_with_blanks() -> None:
    """Banks print an IBAN in groups of four; it is one account all the same."""
    assert read(replaced("XX00TEST0001", "XX00 TEST 0001")) == EXPECTED


@pytest.mark.parametrize("written", ["2031-05-12T00:00:00", "2031-05-12T10:30", "2031-05-12Z"])
def test_a_date_may_have_a_time(written: str) -> None:
    """The day counts, whether a date or a point in time was called for."""
    assert read(replaced("<Dt>2031-05-12<", f"<Dt>{written}<")) == EXPECTED
    assert read(replaced("2031-05-14T23:00:00Z", "2031-05-14")) == EXPECTED


def test_the_value_date_falls_back_to_the_booking_date() -> None:
    """Without a value date an entry counts when it is booked."""
    entry = read(replaced("<ValDt><Dt>2031-05-12</Dt></ValDt>", "")).entries[0]
    assert entry.value_date == date(2031, 5, 13)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("150.40000", "150.40"), ("150.", "150.00"), (".4", "0.40"), ("0150.4", "150.40")],
)
def test_decimal_spellings_of_the_schema_are_read(text: str, expected: str) -> None:
    """Amounts are exact, with the decimals of their currency."""
    assert str(read(replaced("150.40", text)).entries[0].amount) == expected


# Pages


def page(number: int, opening: str, closing: str) -> str:
    """Make one page of the example from the kinds of its two balances."""
    text = replaced("<FrToDt>", f"<StmtPgntn><PgNb>{number}</PgNb></StmtPgntn><FrToDt>")
    return text.replace("OPBD", opening).replace("CLBD", closing)


def test_interim_balances_of_pages_chain() -> None:
    """The first, middle and last pages of a statement open and close at interim balances."""
    pages = [
        read(page(1, "OPBD", "ITBD")),
        read(page(2, "ITBD", "ITBD")),
        read(page(3, "ITBD", "CLBD")),
    ]
    assert [each.page_number for each in pages] == [1, 2, 3]
    for each in pages:
        assert (each.opening, each.closing) == (EXPECTED.opening, EXPECTED.closing)
    assert camt053.order_statements(reversed(pages)) == pages
    keys = {camt053.entry_key(each, entry) for each in pages for entry in each.entries}
    assert len(keys) == sum(len(each.entries) for each in pages)


def test_an_interim_balance_outside_pages_is_refused() -> None:
    """Without a page number an interim balance is not known to be the end of anything."""
    assert refused(lambda: read(replaced("CLBD", "ITBD"))).reason == "balance_missing"


def test_an_unclear_choice_of_interim_balances_is_refused() -> None:
    """A page with an opening and two interim balances does not say where it ends."""
    text = page(1, "OPBD", "ITBD").replace("CLAV", "ITBD")
    assert refused(lambda: read(text)).reason == "balance_ambiguous"


# What is refused


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("150.40", "150.401", "amount_too_precise"),
        ("150.40", "1,5", "amount_invalid"),
        ("150.40", "1e2", "amount_invalid"),
        ("150.40", "-1", "amount_invalid"),
        ("150.40", "+1", "amount_invalid"),
        ("150.40", "NaN", "amount_invalid"),
        ("150.40", "Infinity", "amount_invalid"),
        ("150.40", ".", "amount_invalid"),
        ("150.40", "1 0", "amount_invalid"),
        ("150.40", "1_0", "amount_invalid"),
        ("150.40", "١٢", "amount_invalid"),
        ("150.40", "9" * 30, "amount_invalid"),
        ("150.40", "9" * 300, "value_too_long"),
        ("150.40", "", "element_missing"),
        ("100.5", "-100.5", "amount_invalid"),
        ('Ccy="EUR">150.40', 'Ccy="USD">150.40', "currency_differs"),
        ('Ccy="EUR">150.40', ">150.40", "currency_differs"),
        ('Ccy="EUR">100.5', 'Ccy="USD">100.5', "currency_differs"),
        ("<Ccy>EUR</Ccy>", "<Ccy>XXX</Ccy>", "currency_unknown"),
        ("<Ccy>EUR</Ccy>", "<Ccy>eur</Ccy>", "currency_unknown"),
        ("CRDT</CdtDbtInd><RvslInd>", "CREDIT</CdtDbtInd><RvslInd>", "value_invalid"),
        ("<CdtDbtInd>CRDT</CdtDbtInd><RvslInd>", "<RvslInd>", "element_missing"),
        ("<RvslInd>true", "<RvslInd>yes", "value_invalid"),
        ("<Cd>BOOK</Cd>", "<Cd>FOO</Cd>", "status_unknown"),
        ("<Cd>BOOK</Cd>", "<Prtry>BOOK</Prtry>", "status_unknown"),
        ("<Dt>2031-05-12</Dt>", "<Dt>2031-02-29</Dt>", "value_invalid"),
        ("<Dt>2031-05-12</Dt>", "<Dt>12.05.2031</Dt>", "value_invalid"),
        ("<Dt>2031-05-12</Dt>", "", "value_invalid"),
        ("<Dt><Dt>2031-05-14</Dt></Dt>", "", "element_missing"),
        ("<DtTm>2031-05-14T", "<DtTm>2031-05-13T", "dates_reversed"),
        ("CLBD", "OPBD", "balance_ambiguous"),
        ("CLBD", "XPCD", "balance_missing"),
        ("OPBD", "CLBD", "balance_ambiguous"),
        ("OPBD", "XXXX", "balance_missing"),
        ("<Id>S-1</Id>", "", "element_missing"),
        ("<Id>S-1</Id>", "<Id>S-1</Id><Id>S-2</Id>", "element_repeated"),
        ("<Id>S-1</Id>", f"<Id>{'S' * 256}</Id>", "value_too_long"),
        ("<Id>S-1</Id>", "<Id>S\u202e1</Id>", "value_invalid"),
        ("<IBAN>XX00TEST0001</IBAN>", "", "element_missing"),
        ("<ElctrncSeqNb>134", "<ElctrncSeqNb>x", "value_invalid"),
        ("camt.053.001.08", "camt.053.001.15", "not_camt053"),
        ("camt.053.001.08", "camt.052.001.08", "not_camt053"),
        ("<NtryRef>N-1", f"{'<b>' * 99}<NtryRef>N-1", "too_deep"),
        ("</Document>", "", "not_xml"),
        ("secret words", "&undefined;", "not_xml"),
        ('"UTF-8"', '"unicode_escape"', "encoding_unknown"),
    ],
)
def test_what_is_not_certain_is_refused(old: str, new: str, reason: str) -> None:
    """One thing wrong in a good file is refused for that reason, and never guessed around."""
    assert refused(lambda: read(replaced(old, new))).reason == reason


def test_a_refusal_says_where() -> None:
    """The path and the line of the offending element are named, and its content is not."""
    refusal = refused(lambda: read(replaced("0.2</Amt>", "0.2345</Amt>")))
    assert refusal.path == "/Document/BkToCstmrStmt[1]/Stmt[1]/Ntry[3]/Amt[1]"
    assert refusal.line == STATEMENT[: STATEMENT.index("0.2</Amt>")].count("\n") + 1
    assert "0.2345" not in str(refusal)


def test_a_document_type_is_refused_before_its_entities_grow() -> None:
    """Entities that would expand to gigabytes, or name other files, are never declared."""
    laughs = "".join(
        f'<!ENTITY l{level} "{f"&l{level - 1};" * 10 if level else "ha"}">' for level in range(12)
    )
    for subset in (f"[{laughs}]", '[<!ENTITY l11 SYSTEM "file:///etc/hostname">]', ""):
        text = replaced("<Document", f"<!DOCTYPE Document {subset}><Document")
        for data in (text, text.replace("<Id>S-1", "<Id>&l11;")):
            assert refused(lambda data=data: read(data)).reason == "doctype"  # type: ignore[misc]


def test_a_file_past_the_limits_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the bytes nor the elements of a file are unbounded."""
    monkeypatch.setattr(camt053_xml, "ELEMENTS_MAX", 10)
    assert refused(lambda: read(STATEMENT)).reason == "too_large"
    monkeypatch.setattr(camt053, "FILE_SIZE_MAX", len(STATEMENT) - 1)
    assert refused(lambda: read(STATEMENT)).line == 0


@given(st.binary(max_size=300))
def test_garbage_is_refused_and_nothing_else(data: bytes) -> None:
    """Whatever bytes come, the answer is a refusal."""
    assert refused(lambda: camt053.read_camt053(data)).reason == "not_xml"


@given(st.integers(0, len(STATEMENT) - 1), st.integers(0, 40), st.binary(max_size=4))
def test_a_damaged_file_is_read_or_refused(start: int, length: int, new: bytes) -> None:
    """Damage anywhere in a file gives statements or a refusal, never another error."""
    data = STATEMENT.encode()
    try:
        statements = camt053.read_camt053(data[:start] + new + data[start + length :])
    except Camt053Refused:
        return
    assert statements


# Round trip

PLACES = {"EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}
TEXTS = st.text(ascii_letters + digits + "-/&<", min_size=1, max_size=35).filter(
    lambda text: text != "NOTPROVIDED"
)
DATES = st.dates(date(1990, 1, 1), date(2060, 1, 1))


def amounts(currency: str) -> st.SearchStrategy[Decimal]:
    """Amounts of up to 14 digits in a currency's minor units."""
    return st.integers(0, 10**14).map(lambda minor: Decimal(minor).scaleb(-PLACES[currency]))


@st.composite
def bank_statements(draw: st.DrawFn) -> BankStatement:
    """Statements that close, on any account."""
    currency = draw(st.sampled_from(sorted(PLACES)))
    first_day, last_day = sorted((draw(DATES), draw(DATES)))
    entries = tuple(
        StatementEntry(
            index=index,
            amount=draw(amounts(currency)),
            side=draw(st.sampled_from(["credit", "debit"])),
            booking_date=draw(DATES),
            value_date=draw(DATES),
            is_reversal=draw(st.booleans()),
            entry_reference=draw(st.none() | TEXTS),
            servicer_reference=draw(st.none() | TEXTS),
            end_to_end_id=draw(st.none() | TEXTS),
            transaction_id=draw(st.none() | TEXTS),
            bank_transaction_code=draw(st.none() | TEXTS),
        )
        for index in range(draw(st.integers(0, 4)))
    )
    opening = draw(amounts(currency)) * draw(st.sampled_from([1, -1]))
    closing = opening + sum(
        entry.amount * (1 if entry.side == "credit" else -1) for entry in entries
    )
    return BankStatement(
        statement_id=draw(TEXTS),
        account_id=draw(TEXTS),
        currency=currency,
        opening=StatementBalance(amount=opening, balance_date=first_day),
        closing=StatementBalance(amount=closing, balance_date=last_day),
        entries=entries,
        created_at=draw(st.sampled_from([None, "2031-05-15T06:00:00Z"])),
        period_from=draw(st.none() | DATES),
        period_to=draw(st.none() | DATES),
        sequence_number=draw(st.none() | st.integers(0, 10**9)),
        page_number=draw(st.none() | st.integers(0, 99999)),
    )


def tag(name: str, value: object, attributes: str = "") -> str:
    """Write an element, or nothing for ``None``; a value in angle brackets is content."""
    if value is None:
        return ""
    text = str(value)
    if not (text.startswith("<") and text.endswith(">")):
        text = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<{name}{attributes}>{text}</{name}>"


def amount_tags(amount: Decimal, currency: str) -> str:
    """Write an amount and its side."""
    side = "DBIT" if amount < 0 else "CRDT"
    return tag("Amt", f"{abs(amount):f}", f' Ccy="{currency}"') + tag("CdtDbtInd", side)


def balance_tag(code: str, balance: StatementBalance, currency: str) -> str:
    """Write a ``Bal``."""
    kind = tag("Tp", tag("CdOrPrtry", tag("Cd", code)))
    day = tag("Dt", tag("Dt", balance.balance_date))
    return tag("Bal", kind + amount_tags(balance.amount, currency) + day)


def entry_tag(entry: StatementEntry, currency: str) -> str:
    """Write an ``Ntry``."""
    code = entry.bank_transaction_code
    references = tag("EndToEndId", entry.end_to_end_id) + tag("TxId", entry.transaction_id)
    side = "CRDT" if entry.side == "credit" else "DBIT"
    return tag(
        "Ntry",
        tag("NtryRef", entry.entry_reference)
        + tag("Amt", f"{entry.amount:f}", f' Ccy="{currency}"')
        + tag("CdtDbtInd", side)
        + tag("RvslInd", str(entry.is_reversal).lower())
        + tag("Sts", "BOOK")
        + tag("BookgDt", tag("Dt", entry.booking_date))
        + tag("ValDt", tag("DtTm", f"{entry.value_date}T12:00:00"))
        + tag("AcctSvcrRef", entry.servicer_reference)
        + ("" if code is None else tag("BkTxCd", tag("Prtry", tag("Cd", code))))
        + tag("NtryDtls", f"<TxDtls><Refs>{references}</Refs></TxDtls>"),
    )


def written(statement: BankStatement) -> str:
    """Write a file of one statement."""
    period = "".join(
        tag(name, f"{day}T00:00:00Z")
        for name, day in (("FrDtTm", statement.period_from), ("ToDtTm", statement.period_to))
        if day is not None
    )
    number = statement.page_number
    return tag(
        "Document",
        tag(
            "BkToCstmrStmt",
            tag(
                "Stmt",
                tag("Id", statement.statement_id)
                + ("" if number is None else tag("StmtPgntn", tag("PgNb", number)))
                + tag("ElctrncSeqNb", statement.sequence_number)
                + tag("CreDtTm", statement.created_at)
                + (tag("FrToDt", period) if period else "")
                + tag("Acct", tag("Id", f"<Othr>{tag('Id', statement.account_id)}</Othr>"))
                + balance_tag("OPBD", statement.opening, statement.currency)
                + balance_tag("CLBD", statement.closing, statement.currency)
                + "".join(entry_tag(entry, statement.currency) for entry in statement.entries),
            ),
        ),
        ' xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.02"',
    )


@given(bank_statements())
def test_a_statement_written_and_read_is_the_same(statement: BankStatement) -> None:
    """Nothing is lost or changed on the way from a statement to a file and back."""
    assert read(written(statement)) == statement
    camt053.check_statement(statement)


# Figures, chains and keys


@given(bank_statements(), st.data())
def test_a_changed_amount_is_refused_with_the_figures(
    statement: BankStatement, data: st.DataObject
) -> None:
    """Any other opening balance, closing balance or entry no longer closes."""
    change = data.draw(amounts(statement.currency).filter(bool))
    opening, closing = statement.opening, statement.closing
    changed = [
        msgspec.structs.replace(
            statement, opening=msgspec.structs.replace(opening, amount=opening.amount - change)
        ),
        msgspec.structs.replace(
            statement, closing=msgspec.structs.replace(closing, amount=closing.amount + change)
        ),
    ]
    for index, entry in enumerate(statement.entries):
        entries = list(statement.entries)
        entries[index] = msgspec.structs.replace(entry, amount=entry.amount + change)
        changed.append(msgspec.structs.replace(statement, entries=tuple(entries)))
    for each in changed:
        refusal = refused(lambda each=each: camt053.check_statement(each))  # type: ignore[misc]
        assert refusal.reason == "closing_mismatch"
        assert refusal.found == each.closing.amount
        assert isinstance(refusal.expected, Decimal)
        assert abs(refusal.expected - each.closing.amount) == change
        assert str(refusal.expected) in str(refusal)


def test_a_tampered_file_is_refused() -> None:
    """One digit changed in a file shows as the figure that the balances then give."""
    refusal = refused(lambda: camt053.check_statement(read(replaced("150.40", "160.40"))))
    assert refusal.reason == "closing_mismatch"
    assert refusal.statement_id == "S-1"
    assert (refusal.expected, refusal.found) == (Decimal("59.70"), Decimal("49.70"))


ORDERED = [
    statement_of("0", "1", first_day=date(2031, 4, 1), last_day=date(2031, 4, 30)),
    statement_of("1", "2", first_day=date(2031, 5, 2), statement_id="Z", sequence_number=8),
    statement_of("2", "3", first_day=date(2031, 5, 2), statement_id="Y", sequence_number=9),
    statement_of("3", "4", first_day=date(2031, 5, 2), last_day=date(2031, 6, 1)),
    statement_of("9", "9", account_id="B", first_day=date(2031, 3, 1)),
]


@given(st.permutations([*ORDERED, ORDERED[2]]))
def test_statements_are_ordered_whatever_order_the_files_have(
    given_in: list[BankStatement],
) -> None:
    """Each account's statements come once in date order, those of one day by sequence number."""
    assert camt053.order_statements(given_in) == ORDERED


def test_overlapping_statements_are_refused() -> None:
    """A month and a day within it would count that day twice."""
    month = statement_of("0", "1", first_day=date(2031, 5, 1), last_day=date(2031, 5, 31))
    refusal = refused(lambda: camt053.order_statements([month, statement_of("0", "0")]))
    assert refusal.reason == "statements_overlap"
    assert refusal.statement_id == "S"


def test_pages_that_share_the_dates_of_their_statement_do_not_overlap() -> None:
    """Each page may bear the whole month's dates; two statements may not."""
    first, second = (
        statement_of(
            opening, "1", first_day=date(2031, 5, 1), last_day=date(2031, 5, 31), page_number=number
        )
        for number, opening in ((1, "0"), (2, "1"))
    )
    assert camt053.order_statements([second, first]) == [first, second]
    other = msgspec.structs.replace(second, statement_id="T")
    assert refused(lambda: camt053.order_statements([first, other])).reason == "statements_overlap"


def test_an_opening_balance_may_bear_an_earlier_date_than_the_period() -> None:
    """A balance as of the last movement, weeks ago, does not make the period begin then."""
    opened = statement_of("1", "1", first_day=date(2031, 4, 1), last_day=DAY)
    assert camt053.first_day(opened) == date(2031, 4, 1)
    assert camt053.first_day(msgspec.structs.replace(opened, period_from=DAY)) == DAY


def test_the_same_statement_with_other_content_is_refused() -> None:
    """A copy that was changed is no second statement; one made later is the same."""
    copy = msgspec.structs.replace(EXPECTED, created_at="2031-05-16T00:00:00Z")
    assert camt053.order_statements([EXPECTED, copy]) == [EXPECTED]
    changed = msgspec.structs.replace(EXPECTED, entries=EXPECTED.entries[:2])
    refusal = refused(lambda: camt053.order_statements([EXPECTED, changed]))
    assert refusal.reason == "statement_differs"


def test_two_like_entries_have_two_keys() -> None:
    """Equal payments within a statement are two payments, on every reading the same two."""
    start, end = STATEMENT.index("<Ntry>"), STATEMENT.index("</Ntry>") + len("</Ntry>")
    text = STATEMENT[:end] + STATEMENT[start:end] + STATEMENT[end:]
    statement = read(text)
    keys = [camt053.entry_key(statement, entry) for entry in statement.entries]
    assert len(set(keys)) == len(keys) == 4
    assert keys == [camt053.entry_key(read(text), entry) for entry in read(text).entries]
    for key in keys:
        assert len(key) <= 255
        assert key.isascii()
        assert key.isprintable()


@pytest.mark.parametrize(
    "other",
    [
        statement_of("0", "0", statement_id="S-2"),
        statement_of("0", "0", account_id="B"),
        statement_of("0", "0", sequence_number=1),
        statement_of("0", "0", page_number=1),
        statement_of("0", "0", first_day=date(2032, 5, 14)),
        msgspec.structs.replace(statement_of("0", "0"), currency="USD"),
    ],
)
def test_another_statement_has_other_keys(other: BankStatement) -> None:
    """Whatever says that a statement is another one makes its keys others."""
    assert camt053.statement_key(other) != camt053.statement_key(statement_of("0", "0"))


# Real files


@pytest.mark.skipif(not REAL_FILES.is_dir(), reason="the real statements are not here")
def test_real_statements_are_read_close_and_continue() -> None:
    """84 files of two banks, in any order: all close exactly, and both chains continue."""
    files = sorted(REAL_FILES.glob("*/*.xml"), reverse=True)
    assert len(files) == 84
    read_files = {file.stem: camt053.read_camt053(file.read_bytes()) for file in files}
    statements = [each for file in read_files.values() for each in file]
    for each in statements:
        camt053.check_statement(each)
    keys = {camt053.entry_key(each, entry) for each in statements for entry in each.entries}
    assert len(keys) == sum(len(each.entries) for each in statements) == 1965
    ordered = camt053.order_statements(statements)
    assert len(ordered) == len(statements) == 163

    breaks = [
        (before.closing.amount, after.opening.amount)
        for before, after in pairwise(ordered)
        if before.account_id == after.account_id and before.closing.amount != after.opening.amount
    ]
    assert breaks == [(Decimal("555.29"), Decimal("33443.03"))]

    chain = camt053.order_statements(
        each
        for name in ("BE68793230773034-202412", "BE68793230773034-202411", "account_statement-3")
        for each in read_files[name]
    )
    figures = [str(chain[0].opening.amount), *(str(each.closing.amount) for each in chain)]
    assert figures == ["33443.03", "59370.37", "87539.12", "41965.11"]


def with_details(amounts: str, batch: str = "") -> str:
    """The statement with other details on its first entry."""
    before, _, rest = STATEMENT.partition("<NtryDtls>")
    after = rest.partition("</NtryDtls>")[2]
    return f"{before}<NtryDtls>{batch}{amounts}</NtryDtls>{after}"


def test_details_that_do_not_come_to_their_entry_are_refused() -> None:
    """A changed amount is found in the details too, if they are whole and free of charges."""
    amount = read(STATEMENT).entries[0].amount

    def transaction(value: Decimal, more: str = "") -> str:
        """A transaction's details."""
        text = f'<Amt Ccy="EUR">{value}</Amt>'
        return f"<TxDtls>{more}<AmtDtls><TxAmt>{text}</TxAmt></AmtDtls></TxDtls>"

    less, more = transaction(amount - 1), transaction(amount + 1)
    partial = "<Btch><NbOfTxs>9</NbOfTxs></Btch>"
    assert read(with_details(less, partial)).entries[0].amount == amount
    for whole in (
        transaction(amount),
        transaction(Decimal(1)) + less,
        transaction(amount + 1, "<Chrgs><TtlChrgsAndTaxAmt>1</TtlChrgsAndTaxAmt></Chrgs>"),
        "<TxDtls><Refs><TxId>T</TxId></Refs></TxDtls>",
        more.replace("EUR", "USD"),
    ):
        assert read(with_details(whole)).entries[0].amount == amount
    for changed, batch in ((less, ""), (more, ""), (less + more, ""), (more, partial)):
        text = with_details(changed, batch)
        refusal = refused(lambda text=text: read(text))  # type: ignore[misc]
        assert (refusal.reason, refusal.expected) == ("details_mismatch", amount)
