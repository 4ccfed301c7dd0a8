"""Health, for machines that ask without a key: alive, ready, figures. None names a customer."""

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.context import Context
from api.edge import TRACE
from api.metrics import CONTENT_TYPE
from api.problems import RETRY_AFTER_S, Kind, Problem
from api.self_audit_figures import state_of
from api.stopping import turned_away

WRITER_STOPPED = Kind(503, "writer_stopped", "A ledger's writer has stopped.")


class Ready(msgspec.Struct, frozen=True):
    """The server answers; how far each projection is behind its ledger.

    ``notary`` is ``stopped`` where a log does not continue what was signed of it; ``self_audit`` is
    ``findings`` where the newest self-audit of a ledger found anything.
    """

    status: str
    notary: str
    self_audit: str
    lag_events: dict[str, int]


def routes(context: Context) -> list[Route]:
    """The routes of health."""

    async def livez(_request: Request) -> Response:
        """The process runs."""
        return _json({"status": "alive"})

    async def readyz(_request: Request) -> Response:
        """The server can do its work, and is not to stop; lag is told, and is no failure.

        That is: the database answers and can be written, reads can be recorded, no writer has
        stopped. All of it is found out in bounded time.
        """
        if context.stop.is_begun:
            raise turned_away()
        if not all(writer.is_running for writer in context.runtime.writers().values()):
            raise Problem(WRITER_STOPPED, headers=(("Retry-After", str(RETRY_AFTER_S)),))
        found = await context.readiness.require_writable()
        lags = [
            (name, view.lag_events)
            for at in found.standings
            for name, view in at.projections.items()
        ]
        worst = {name: max(lag for other, lag in lags if other == name) for name, _ in lags}
        return _json(Ready("ready", _notary_state(context), state_of(found.audits), worst))

    async def metrics(_request: Request) -> Response:
        """Every figure in Prometheus' text format; also where the database does not answer."""
        await context.database_figures.look()
        return Response(context.metrics.render(), media_type=CONTENT_TYPE)

    return [
        _route("/livez", livez),
        _route("/readyz", readyz),
        _route("/metrics", metrics),
    ]


def _notary_state(context: Context) -> str:
    """Whether every log is being signed."""
    return "stopped" if context.runtime.notary.is_stopped else "signing"


def _route(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    """A route that notes its template for the log."""

    async def traced(request: Request) -> Response:
        """Note the template, then answer."""
        request.scope[TRACE].route = path
        return await endpoint(request)

    return Route(path, traced, methods=["GET"], name=path.removeprefix("/"))


def _json(value: object) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(value), media_type="application/json")
