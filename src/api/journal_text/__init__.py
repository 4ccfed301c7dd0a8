"""Plain-text accounting journals, read exactly or refused with line and reason.

The syntax is ledger's, and hledger's where ledger has none of its own. Text in, balanced entries
out: nothing is booked here, no file is opened, no clock is read. What ledger's releases read in
different ways, and what needs its expression language, is refused rather than guessed.

Virtual postings, ``(…)`` and ``[…]``, are outside the books by the journal's own words: they are
checked and handed over apart, and are part of no balance. Budgets (``~``), prices, tags and reports
change no balance and are passed over. Deliberately does not know: the ledger it is imported into.
"""

from api.journal_text.model import (
    CONVERSION_ACCOUNT,
    Journal,
    JournalEntry,
    JournalPosting,
    JournalRefused,
    UnreadableError,
)
from api.journal_text.reader import read_journal
from api.journal_text.scope import Include, Included

__all__ = [
    "CONVERSION_ACCOUNT",
    "Include",
    "Included",
    "Journal",
    "JournalEntry",
    "JournalPosting",
    "JournalRefused",
    "UnreadableError",
    "read_journal",
]
