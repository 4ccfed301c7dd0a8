"""The driver's connection under SQLAlchemy's: the log and the key store speak to it directly."""

from typing import cast

import sqlalchemy

from ledger_core.log import Connection


def driver_connection(connection: sqlalchemy.Connection) -> Connection:
    """The psycopg connection on which this transaction runs."""
    return cast("Connection", connection.connection.driver_connection)
