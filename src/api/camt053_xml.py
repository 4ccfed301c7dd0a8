"""The XML of a camt.053 file, as the tree of those elements that are read.

Only the elements named in ``_READ`` are kept while parsing. Names, addresses and remittance texts
are not among them, so that personal data never reaches a plan. Document types and entities are
refused: a statement needs none, and they are how XML is made to grow or to reach for other files.
"""

import re
from datetime import date
from decimal import Decimal
from xml.parsers import expat

FILE_SIZE_MAX = 64 * 1024 * 1024
"""Bytes in one file: some 35,000 entries as banks write them."""

ELEMENTS_MAX = 1_000_000
"""Elements kept of one file: some 40,000 entries, and it bounds the memory that reading takes."""

DEPTH_MAX = 64
"""Elements within each other; the schemas need fewer than 20."""

TEXT_LENGTH_MAX = 255
"""Characters in one value that is read; the schemas allow at most 140, mostly 35."""

_REASONS = {
    "too_large": "the file is larger than 64 MiB or has more than 1,000,000 elements",
    "not_xml": "the file is not well-formed XML",
    "encoding_unknown": "the file declares a character encoding that no bank needs",
    "doctype": "the file declares a document type, which a statement never needs",
    "too_deep": "elements are nested too deeply",
    "not_camt053": "the file is not a camt.053 message of version 001.01 to 001.14",
    "several_messages": "the file holds several messages; each needs a file of its own",
    "element_missing": "an element that is needed is missing",
    "element_repeated": "an element that may occur once is repeated",
    "value_invalid": "a value is not of the kind that the standard allows here",
    "value_too_long": "a value is too long",
    "amount_invalid": "an amount is not a plain decimal number of at most 18 digits",
    "amount_too_precise": "an amount has more decimals than its currency",
    "currency_unknown": "the currency has no minor unit in ISO 4217",
    "currency_differs": "an amount is not in the account's currency",
    "status_unknown": "the entry's status does not say whether it is booked",
    "balance_missing": "the statement does not give an opening and a closing balance",
    "balance_ambiguous": "the statement gives several balances of the same kind",
    "dates_reversed": "the closing balance is dated before the opening balance",
    "details_mismatch": "the amounts of an entry's transactions are not the entry's amount",
    "closing_mismatch": "opening balance and entries do not give the closing balance",
    "statements_overlap": "the statement begins before the previous one ends",
    "statement_differs": "the statement is there twice with different content",
}
"""Each reason for which a file is refused, and what it says to a person."""

_READ = frozenset(
    """
    BkToCstmrStmt BkToCstmrStmtV01 GrpHdr CreDtTm MsgPgntn PgNb
    Stmt Id StmtPgntn ElctrncSeqNb LglSeqNb FrToDt FrDtTm ToDtTm
    Acct IBAN Othr BBAN UPIC PrtryAcct Ccy Bal Tp SubTp CdOrPrtry Cd Prtry Amt CdtDbtInd Dt DtTm
    Ntry NtryRef RvslInd Sts BookgDt ValDt AcctSvcrRef BkTxCd Domn Fmly SubFmlyCd
    NtryDtls Btch NbOfTxs TxDtls Refs EndToEndId TxId AmtDtls TxAmt Chrgs
    """.split()  # noqa: SIM905 - fifty-one lines of one name each are harder to compare.
)
"""Every element that is kept; any other is skipped with all that is in it."""

_ENCODINGS = frozenset(
    {"utf-8", "utf-16", "us-ascii"}
    | {f"iso-8859-{part}" for part in (1, 2, 4, 5, 7, 9, 13, 15)}
    | {f"windows-125{part}" for part in (0, 1, 2, 3, 4, 7)}
)
"""Character encodings that are read; Python knows others that are no encoding of text at all."""

_CHUNK_SIZE = 64 * 1024
_NAMESPACE = re.compile(
    r"urn:(iso:std:iso:20022:tech|swift):xsd:\$?camt\.053\.001\.(0[1-9]|1[0-4])"
)

Figure = Decimal | date


class Camt053Refused(Exception):  # noqa: N818 - a refusal, named as the ledger's refusals are.
    """A file, or a statement in it, that must not be imported.

    ``reason`` is a stable code. ``path`` (an XPath) and ``line`` say where in the file; they are
    empty and 0 where it is a matter of whole statements, which ``statement_id`` then names.
    ``expected`` and ``found`` are the figures that differ, if it is a matter of figures.
    """

    def __init__(  # noqa: PLR0913 - each is one fact of the refusal.
        self,
        reason: str,
        *,
        path: str = "",
        line: int = 0,
        statement_id: str | None = None,
        expected: Figure | None = None,
        found: Figure | None = None,
    ) -> None:
        self.reason = reason
        self.path = path
        self.line = line
        self.statement_id = statement_id
        self.expected = expected
        self.found = found
        place = f" ({path}, line {line})" if path else f" (line {line})" if line else ""
        figures = "" if expected is None else f": expected {expected}, found {found}"
        super().__init__(f"{_REASONS[reason]}{figures}{place}")


class Element:
    """An element that was kept: its text, its children by name, and where it stood."""

    __slots__ = ("children", "currency", "line", "name", "number", "parent", "text")

    def __init__(self, name: str, parent: "Element | None", line: int, currency: str) -> None:
        self.name = name
        self.parent = parent
        self.line = line
        self.currency = currency
        self.text = ""
        self.children: dict[str, list[Element]] | None = None
        self.number = 1
        if parent is not None:
            if parent.children is None:
                parent.children = {}
            siblings = parent.children.setdefault(name, [])
            siblings.append(self)
            self.number = len(siblings)

    def path(self) -> str:
        """XPath of the element within the document."""
        if self.parent is None:
            return f"/{self.name}"
        return f"{self.parent.path()}/{self.name}[{self.number}]"

    def refused(self, reason: str) -> Camt053Refused:
        """Make the refusal of what this element says."""
        return Camt053Refused(reason, path=self.path(), line=self.line)

    def all(self, name: str) -> "list[Element]":
        """Children of that name, in order."""
        return [] if self.children is None else self.children.get(name, [])

    def one(self, *names: str) -> "Element | None":
        """Descendant down that path, each step of which may occur once; ``None`` if absent."""
        element = self
        for name in names:
            found = element.all(name)
            if not found:
                return None
            if len(found) > 1:
                raise found[1].refused("element_repeated")
            element = found[0]
        return element

    def required(self, name: str) -> "Element":
        """First child of that name, which must be there."""
        found = self.all(name)
        if not found:
            raise Camt053Refused("element_missing", path=f"{self.path()}/{name}", line=self.line)
        return found[0]

    def value(self, *names: str) -> str | None:
        """Text down that path with white space collapsed; ``None`` if absent or empty."""
        element = self.one(*names)
        if element is None:
            return None
        text = " ".join(element.text.split())
        if not text.isprintable():
            raise element.refused("value_invalid")
        return text or None


class _TreeBuilder:
    """What the parser calls: builds the tree of the elements in ``_READ``."""

    def __init__(self, parser: expat.XMLParserType) -> None:
        self.parser = parser
        self.namespace = ""
        self.document: Element | None = None
        self.current: Element | None = None
        self.depth = 0
        self.depth_skipped = 0
        self.count = 0
        parser.buffer_text = True
        parser.XmlDeclHandler = self.check_encoding
        parser.StartDoctypeDeclHandler = self.refuse_doctype
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.add_text

    def check_encoding(self, _version: str, encoding: str | None, _standalone: int) -> None:
        """Refuse an encoding before it is looked up."""
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise Camt053Refused("encoding_unknown", line=self.parser.CurrentLineNumber)

    def refuse_doctype(self, *_declaration: object) -> None:
        """Refuse before any entity can be declared."""
        raise Camt053Refused("doctype", line=self.parser.CurrentLineNumber)

    def start(self, qualified_name: str, attributes: dict[str, str]) -> None:
        """Keep the element, or skip it and all within."""
        line = self.parser.CurrentLineNumber
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise Camt053Refused("too_deep", line=line)
        namespace, _, name = qualified_name.rpartition(" ")
        if self.current is None:
            self.start_outside(namespace, name, line)
        elif self.depth_skipped or name not in _READ or namespace != self.namespace:
            self.depth_skipped += 1
        else:
            self.count += 1
            if self.count > ELEMENTS_MAX:
                raise Camt053Refused("too_large", line=line)
            self.current = Element(name, self.current, line, attributes.get("Ccy", ""))

    def start_outside(self, namespace: str, name: str, line: int) -> None:
        """Begin the message; what is around it is an envelope, with the header of a network.

        Some banks leave the namespace out. The element of the message then says what it is.
        """
        if name != "Document":
            return
        if namespace and _NAMESPACE.fullmatch(namespace) is None:
            raise Camt053Refused("not_camt053", line=line)
        if self.document is not None:
            raise Camt053Refused("several_messages", line=line)
        self.namespace = namespace
        self.document = self.current = Element(name, None, line, "")

    def end(self, _qualified_name: str) -> None:
        """Go back to the parent."""
        self.depth -= 1
        if self.depth_skipped:
            self.depth_skipped -= 1
        elif self.current is not None:
            self.current = self.current.parent

    def add_text(self, text: str) -> None:
        """Keep text, other than the white space between elements."""
        if self.depth_skipped or self.current is None or text.isspace():
            return
        self.current.text += text
        if len(self.current.text) > TEXT_LENGTH_MAX:
            raise self.current.refused("value_too_long")


def parse(data: bytes) -> Element:
    """Root of the file's tree; in chunks, so that a refusal ends the parsing at once."""
    parser = expat.ParserCreate(namespace_separator=" ")
    builder = _TreeBuilder(parser)
    try:
        for start in range(0, len(data), _CHUNK_SIZE):
            parser.Parse(data[start : start + _CHUNK_SIZE], False)  # noqa: FBT003 - positional only.
        parser.Parse(b"", True)  # noqa: FBT003 - positional only.
    except (expat.ExpatError, LookupError, ValueError):
        raise Camt053Refused("not_xml", line=parser.CurrentLineNumber) from None
    if builder.document is None:
        raise Camt053Refused("not_camt053", line=1)
    return builder.document
