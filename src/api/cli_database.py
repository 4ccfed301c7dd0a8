"""Which URL of the database the command line prints, for whom.

Imports are made inside the functions, so that ``ledger --help`` is quick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from api.cli_support import Failed

if TYPE_CHECKING:
    from api.settings import Settings


def url_for(login: str) -> str:
    """The URL by which somebody logs in; the embedded server is started if need be.

    Raises:
        Failed: there is no such login, or it is not known here.
    """
    from api import embedded_postgres, settings

    logins = {str(name): name for name in get_args(embedded_postgres.Login)}
    if login not in logins:
        msg = f"--login is one of {', '.join(logins)}."
        raise Failed(msg)
    given = settings.load()
    if given.database_url is not None:
        return _managed(given, login)
    running = embedded_postgres.ensure_running(given.data_dir)
    # Without parameters that tools older than PostgreSQL 16 do not know.
    return running.url(login=logins[login]).partition("?")[0]


def _managed(given: Settings, login: str) -> str:
    """The URL that the surroundings name.

    Raises:
        Failed: they name none.
    """
    urls = {"program": given.database_url, "owner": given.migration_url}
    url = urls.get(login)
    if url is None:
        msg = f"LEDGER_DATABASE_URL names a server whose {login} is not known here."
        raise Failed(msg)
    return url
