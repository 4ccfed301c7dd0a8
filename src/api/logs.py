"""Structured logs: one JSON object a line on standard error, with ids and never names.

What the libraries log goes the same way without what their exceptions say: that can hold what
somebody sent, so only type and place are written.
"""

import logging
import sys

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from api import clock
from api.edge import frames_of

_encoder = msgspec.json.Encoder(enc_hook=str)


def configure() -> None:
    """Send every log of this process to standard error, as JSON."""
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, _timestamp, _to_bytes],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.BytesLoggerFactory(file=sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, _timestamp, _without_message],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _to_text],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def _timestamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say when."""
    event["timestamp"] = clock.now()
    return event


def _without_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep of an exception its type and place, and nothing that it says."""
    found = event.pop("exc_info", None)
    if found:
        error = found[1] if isinstance(found, tuple) else sys.exc_info()[1]
        event["error_type"] = type(error).__name__
        event["frames"] = frames_of(None if error is None else error.__traceback__)
    return event


def _to_bytes(_logger: WrappedLogger, _method: str, event: EventDict) -> bytes:
    """The line."""
    return _encoder.encode(event)


def _to_text(logger: WrappedLogger, method: str, event: EventDict) -> str:
    """The line, for the standard library's handlers."""
    return _to_bytes(logger, method, event).decode()
