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
from api.self_audit_figures import LatestAudit, latest_audits, state_of
from api.sql import driver_connection
from api.standing import Standing, standings
from projections import alarm_queries

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
        """The database answers, no writer has stopped, reads can be recorded; lag is no failure."""
        found = await _standings(context)
        await context.accesses.require_writable()
        if not all(writer.is_running for writer in context.runtime.writers().values()):
            raise Problem(WRITER_STOPPED, headers=(("Retry-After", str(RETRY_AFTER_S)),))
        audits = await _latest_audits(context)
        lags = [(name, view.lag_events) for at in found for name, view in at.projections.items()]
        worst = {name: max(lag for other, lag in lags if other == name) for name, _ in lags}
        return _json(Ready("ready", _notary_state(context), state_of(audits), worst))

    async def metrics(_request: Request) -> Response:
        """Every figure in Prometheus' text format."""
        found = await _standings(context)
        context.self_audit_figures.latest = await _latest_audits(context)
        context.alarm_figures.counts = await context.reads.ask(alarm_queries.counts)
        body = context.metrics.render(context.runtime.writers(), found)
        return Response(body, media_type=CONTENT_TYPE)

    return [
        _route("/livez", livez),
        _route("/readyz", readyz),
        _route("/metrics", metrics),
    ]


def _notary_state(context: Context) -> str:
    """Whether every log is being signed."""
    return "stopped" if context.runtime.notary.is_stopped else "signing"


async def _standings(context: Context) -> list[Standing]:
    """Where every ledger stands."""
    return await context.reads.run(lambda connection: standings(driver_connection(connection)))


async def _latest_audits(context: Context) -> list[LatestAudit]:
    """The newest self-audit of every ledger."""
    return await context.reads.run(lambda connection: latest_audits(driver_connection(connection)))


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
