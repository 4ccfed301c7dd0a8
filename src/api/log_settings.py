"""What the surroundings say about the program's log: how urgent a line must be to be written.

``LEDGER_LOG_LEVEL`` is ``info`` (a line a request), ``warning`` or ``error``.
"""

import logging

from api import surroundings
from api.surroundings import SettingError

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def load() -> int:
    """The least urgent level that is written, as the standard library counts them.

    Raises:
        SettingError: none of the three.
    """
    name = surroundings.text("LEDGER_LOG_LEVEL") or "info"
    if name not in _LEVELS:
        msg = "LEDGER_LOG_LEVEL must be info, warning or error"
        raise SettingError(msg)
    return _LEVELS[name]
