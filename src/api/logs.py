"""Structured logs: one JSON object a line on standard error, with ids and never names.

What the libraries log goes the same way without its message's arguments' values: an exception's
text can hold what somebody sent, so only its type and place are written.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

from api.edge import frames_of

_SHARED: tuple[structlog.typing.Processor, ...] = (
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


def configure(stream: TextIO | None = None) -> None:
    """Send every log of this process to ``stream`` (standard error), as JSON."""
    stream = sys.stderr if stream is None else stream
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*_SHARED, _without_message],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _without_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep of an exception its type and place, and nothing that it says."""
    found = event.pop("exc_info", None)
    if found:
        error = found[1] if isinstance(found, tuple) else sys.exc_info()[1]
        event["error_type"] = type(error).__name__
        event["frames"] = frames_of(None if error is None else error.__traceback__)
    return event
