"""Automated entries (``= predicate``): postings added to every later entry that matches.

Templates in ``(…)`` or ``[…]`` never touch the books, whatever they match, so their predicates
are not read. Templates of real accounts are read where the predicate is one pattern for account
names and their amounts are plain.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from api.journal_text.amounts import Amount
from api.journal_text.balancing import Leg, totals
from api.journal_text.lines import Kind, PostingLine
from api.journal_text.model import UnreadableError

_PREDICATES = (
    re.compile(r"/(?P<pattern>[^/]+)/"),
    re.compile(r"(?P<pattern>\^?[A-Za-z][A-Za-z0-9_:]*\$?)"),
    re.compile(r"expr account ?=~ ?/(?P<pattern>[^/]+)/"),
    re.compile(r"expr '\(?account ?=~ ?/(?P<pattern>[^/']+)/\)?'"),
)
_PLAIN_PATTERN = re.compile(r"[\w :&'|^$.-]+")
_QUERY_WORDS = re.compile(
    "and|or|not|expr|payee|desc|code|note|meta|tag|data|show|only|bold|for|since|until",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is added for each posting whose account matches ``pattern``."""

    pattern: re.Pattern[str]
    templates: tuple[PostingLine, ...]


def read_rule(predicate: str, templates: Sequence[PostingLine]) -> Rule:
    """Read a rule of which some templates are real.

    Raises:
        UnreadableError: the predicate or a template is more than this importer can apply.
    """
    matches = (form.fullmatch(predicate) for form in _PREDICATES)
    found = next((match for match in matches if match), None)
    pattern = found["pattern"] if found and not _QUERY_WORDS.fullmatch(predicate) else ""
    if not _PLAIN_PATTERN.fullmatch(pattern):
        raise UnreadableError("an automated entry posts to accounts by a predicate not read here")
    for template in templates:
        if not template.amount or template.cost or template.asserted or template.amount.lot:
            raise UnreadableError("an automated entry posts more than a plain amount")
    return Rule(re.compile(pattern, re.IGNORECASE), tuple(templates))


def apply(rule: Rule, written: Sequence[Leg], legs: Sequence[Leg]) -> list[Leg]:
    """Return the real legs that a rule adds to an entry.

    ``written`` are the entry's legs before its amounts were computed, ``legs`` afterwards.

    Raises:
        UnreadableError: what is added depends on costs or lots, or does not balance; or the entry
            has postings that are not written, which ledger's releases match in different ways.
    """
    added: list[Leg] = []
    matched = [leg for leg in legs if leg.amount and rule.pattern.search(leg.account)]
    if matched and len(legs) > len(written):
        raise UnreadableError("an automated entry matches where several postings are computed")
    for leg in matched:
        for template in rule.templates:
            if not leg.amount or not template.amount or template.kind is not Kind.REAL:
                continue
            amount = template.amount
            if not amount.commodity:
                if any(other.cost or (other.amount and other.amount.lot) for other in legs):
                    raise UnreadableError(
                        "an automated entry multiplies where there are costs or lots"
                    )
                amount = Amount(leg.amount.number * amount.number, leg.amount.commodity)
            added.append(Leg(template.account, Kind.REAL, amount))
    if any(totals(leg.amount for leg in added if leg.amount).values()):
        raise UnreadableError("an automated entry adds postings that do not balance")
    return added
