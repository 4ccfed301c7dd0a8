"""The route by which an auditor takes the log along: the archive of ``ledger export log``."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import Field

from api import export_log
from api.archives import ArchiveRefused
from api.parameters import Fresh, Position
from api.problems import FieldError, malformed
from api.sql import driver_connection
from api.views import Reader, ReaderOf, ViewRoute
from api.wire import Receive, Scope, Send
from ledger_core import log

TAR = "application/x-tar"


class Stream(StreamingResponse):
    """A long answer, one of as many as may be under way."""

    def __init__(self, reader: Reader, content: Iterator[bytes], file_name: str) -> None:
        """The answer to the reader's caller: a file of that name."""
        disposition = f'attachment; filename="{file_name}"'
        super().__init__(content, media_type=TAR, headers={"Content-Disposition": disposition})
        self._reader = reader

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, if there is room for one more long answer.

        Raises:
            Problem: there is not.
        """
        streams, caller = self._reader.context.streams, self._reader.caller
        streams.begin(caller)
        try:
            await super().__call__(scope, receive, send)
        finally:
            streams.end(caller)


class ExportQuery(Fresh):
    """Which part of the log."""

    from_position: Position = Field(
        default=1,
        description="The first position. With a checkpoint of size n from an earlier export, go on"
        " from n + 1.",
    )
    to_position: Position | None = Field(
        default=None, description="The last position; left out, all there is by now."
    )


async def export_the_log(
    reader: ReaderOf, query: Annotated[ExportQuery, Query()]
) -> StreamingResponse:
    """The log as one archive that ``ledger-verify`` checks."""
    head = await reader.run(
        lambda connection: log.read_head(driver_connection(connection), reader.ledger_id).position
    )
    last = head if query.to_position is None else query.to_position
    if last > head:
        raise malformed(FieldError("not beyond the log's end", "to_position"))
    if query.from_position < 1 or query.from_position > last + 1 - bool(head):
        raise malformed(FieldError("from 1 to the last position", "from_position"))
    # The balances in the archive are those of the views: they must have come that far.
    await reader.wait(query.model_copy(update={"min_position": last}))
    runtime, ledger_id = reader.context.runtime, reader.ledger_id

    def begin() -> export_log.Export:
        """Prepare the export."""
        with runtime.connect("ledger_reader") as connection:
            name = dict(log.ledgers(connection))[ledger_id]
        return export_log.begin(runtime, ledger_id, name, first=query.from_position, last=last)

    try:
        export = await reader.context.reads.off_loop(begin)
    except ArchiveRefused:
        raise malformed(FieldError("positions that are in the log", "from_position")) from None
    shown = export.head
    name = f"{shown.ledger}-{shown.first}-{shown.last}.tar"
    return Stream(reader, export.stream(), name)


VIEWS = (
    ViewRoute(
        path="/v1/export/log",
        operation="export_log",
        endpoint=export_the_log,
        summary="The log as an archive that proves itself",
        keep="never",
        media=(TAR,),
    ),
)
