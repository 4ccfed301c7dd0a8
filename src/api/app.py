"""The HTTP application, put together from the routes of every capability."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from api import business_day_route, direct_views, health, openapi, paths
from api.actions import ActionEndpoint
from api.batches import OPERATION, BatchEndpoint
from api.batches import PATH as BATCH_PATH
from api.business_day_route import PATH as BUSINESS_DAY_PATH
from api.business_day_route import BusinessDayEndpoint
from api.caching import KEEPING, Caching
from api.checkpoint_route import OPERATION as SIGN_OPERATION
from api.checkpoint_route import PATH as CHECKPOINT_PATH
from api.checkpoint_route import CheckpointEndpoint
from api.command_routes import CommandEndpoint
from api.context import Context
from api.denials import Denials
from api.deprecations import DEPRECATED, Deprecated
from api.deprecations import Route as Address
from api.edge import TRACE, Catching, Direct, Edge, problem_response
from api.parameters import caller_of, parameter_errors
from api.problems import METHOD_NOT_ALLOWED, NOT_FOUND, Problem, malformed
from api.readiness import LagWatch
from api.recording import Recorded
from api.roles import require_allowed
from api.routes import ACTIONS, COMMANDS, VIEWS
from api.runtime import Runtime
from api.version import program_version
from api.views import ViewRoute
from api.wire import App, Receive, Scope, Send


class Application(FastAPI):
    """FastAPI behind the edge, which is the outermost layer of all.

    Commands whose address has no variable part go from the edge straight to their endpoint: the
    framework's own layers would cost them more than the command itself.
    """

    edge: Edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, through the edge."""
        await self.edge(scope, receive, send)

    async def routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request by the framework's routes."""
        await super().__call__(scope, receive, send)


def create_app(runtime: Runtime, deprecated: Mapping[Address, Deprecated] = DEPRECATED) -> FastAPI:
    """The application over an open runtime, which the caller closes afterwards."""
    context = Context(runtime)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        """Watch how far the views are behind, and let go of the read threads at the end."""
        watch = LagWatch(context.intake, runtime.settings.limits.lag_events_max)
        watching = asyncio.create_task(watch.run_forever(context.readiness.look))
        yield
        watching.cancel()
        context.close()

    app = Application(
        title="Ledger",
        version=program_version(),
        description=openapi.DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        middleware=[Middleware(Catching), Middleware(Caching)],
    )
    app.state.context = context
    denials = Denials(context.accesses)
    endpoints = {command.path: CommandEndpoint(context, command, denials) for command in COMMANDS}
    for command in COMMANDS:
        endpoint = endpoints[command.path]
        app.router.routes.append(
            Route(command.path, endpoint, methods=["POST"], name=command.operation)
        )
    direct: dict[str, App] = {
        path: endpoint for path, endpoint in endpoints.items() if "{" not in path
    }
    direct[BATCH_PATH] = BatchEndpoint(context, denials)
    app.router.routes.append(
        Route(BATCH_PATH, direct[BATCH_PATH], methods=["POST"], name=OPERATION)
    )
    direct[BUSINESS_DAY_PATH] = BusinessDayEndpoint(context)
    app.router.routes.append(
        Route(
            BUSINESS_DAY_PATH,
            direct[BUSINESS_DAY_PATH],
            methods=["POST"],
            name=business_day_route.OPERATION,
        )
    )
    app.router.routes.append(
        Route(CHECKPOINT_PATH, CheckpointEndpoint(context), methods=["POST"], name=SIGN_OPERATION)
    )
    for action in ACTIONS:
        app.router.routes.append(
            Route(
                action.path,
                ActionEndpoint(context, action),
                methods=[action.method],
                name=action.operation,
            )
        )
    routed = Recorded(app.routed, context, app.router.routes)
    views = direct_views.find(context, routed)
    handlers = {path: endpoint.handle for path, endpoint in endpoints.items()}
    operations = {command.path: command.operation for command in COMMANDS}
    operations |= {BATCH_PATH: OPERATION, BUSINESS_DAY_PATH: business_day_route.OPERATION}
    recorded: dict[str, App] = {
        path: Recorded(endpoint, context, operation=operations[path])
        for path, endpoint in direct.items()
    }
    public = frozenset(action.path for action in ACTIONS if action.public)
    command_of = paths.finder(list(endpoints))
    found = Direct(recorded, handlers, views, public, command_of)
    app.edge = Edge(routed, context, found, deprecated)
    for view in VIEWS:
        _add_view(app, view)
    app.router.routes.extend(health.routes(context))
    app.add_exception_handler(HTTPException, _http_problem)
    app.add_exception_handler(RequestValidationError, _validation_problem)
    openapi.install(app, COMMANDS, VIEWS, ACTIONS, deprecated)
    return app


def _add_view(app: FastAPI, view: ViewRoute) -> None:
    """Add a view, which answers only the roles that the table allows."""

    async def authorise(request: Request) -> None:
        """Refuse a role that may not read this view."""
        caller = await caller_of(request)
        require_allowed(caller, view.operation)
        request.scope[KEEPING] = view.keeping(request.query_params)

    app.add_api_route(
        view.path,
        view.endpoint,
        methods=["GET"],
        operation_id=view.operation,
        name=view.operation,
        summary=view.summary,
        tags=["views"],
        dependencies=[Depends(authorise)],
    )


async def _http_problem(request: Request, error: Exception) -> Response:
    """The problem behind an error of the framework: no such address, or another method."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = tuple((getattr(error, "headers", None) or {}).items())
    kind = METHOD_NOT_ALLOWED if status == METHOD_NOT_ALLOWED.status else NOT_FOUND
    return _response(request, Problem(kind, headers=headers))


async def _validation_problem(request: Request, error: Exception) -> Response:
    """The problem behind parameters that do not have their form."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    known = openapi.parameters_of(request.app, request.scope["route"].operation_id)
    return _response(request, malformed(*parameter_errors(list(found), known)))


def _response(request: Request, problem: Problem) -> Response:
    """A problem as a response."""
    status, body, headers = problem_response(request.scope[TRACE], problem)
    response = Response(body, status)
    response.raw_headers.extend(headers)
    return response
