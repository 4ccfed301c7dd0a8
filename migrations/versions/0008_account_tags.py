"""The tag index no longer repeats the accounts of entries and holds: the statements have them.

They were nearly all of the index. Deletes their rows, so that an index that grew with the ledger is
the same as one that is rebuilt; that takes some seconds a million events, once.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

DELETE = """
    DELETE FROM views.event_tags t USING ledger.events e
    WHERE e.ledger_id = t.ledger_id AND e.position = t.position AND t.tag ^@ 'account:'
        AND e.type IN ('JournalEntryPosted', 'HoldPlaced', 'HoldReleased')
"""


def upgrade() -> None:
    """Delete the rows."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(DELETE)
