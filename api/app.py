"""The API as one FastAPI app: read only, over ClickHouse."""

from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

from api import problems
from api.context import ApiContext, Clock, Reader
from api.index import index_page
from api.middleware import Envelope
from api.params import refuse_unknown
from api.routes import devices, incidents, series, silences, stats, trace, why
from api.routes.health import health_router
from api.telemetry import ApiMetrics
from operators.clickhouse import ClickHouseAwayError, QueryTooBigError
from operators.observability import FlowMetrics
from policy import PolicySet
from schemas.settings import Settings

log = structlog.get_logger()


def utc_now() -> datetime:
    """The time of day, aware, in UTC."""
    return datetime.now(UTC)


def create_app(
    reader: Reader,
    *,
    settings: Settings,
    policy: PolicySet,
    metrics: FlowMetrics | None = None,
    clock: Clock = utc_now,
) -> FastAPI:
    """Build the app; nothing is opened, and ClickHouse may be away.

    metrics is shown in /metrics beside the API's own; clock says where "the last 24 h" end.
    """
    app = FastAPI(
        title="Watchkeeper",
        version=package_version(),
        description="What is wrong on board, how often, and how we know. Read only; every error is a problem detail "
        "(RFC 9457, application/problem+json).",
        docs_url=None,
        redoc_url=None,
    )
    app.state.context = ApiContext(reader, settings, policy, clock)
    own = ApiMetrics()
    registries = (own.registry,) if metrics is None else (own.registry, metrics.registry)
    problems.install(app)
    app.add_exception_handler(ClickHouseAwayError, _on_clickhouse)
    app.add_exception_handler(QueryTooBigError, _on_clickhouse)
    for part in (stats, incidents, trace, series, devices, silences, why):
        app.include_router(part.router, dependencies=[Depends(refuse_unknown)])
    app.include_router(health_router(reader, app.version, registries))
    _add_index(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    app.add_middleware(Envelope, metrics=own)
    return app


def package_version() -> str:
    """The version of the installed package; 0+unknown when it runs from a folder that is not installed."""
    try:
        return version("watchkeeper")
    except PackageNotFoundError:
        return "0+unknown"


def _add_index(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def index() -> Response:
        return HTMLResponse(index_page(app))


async def _on_clickhouse(request: Request, error: Exception) -> Response:
    log.warning("clickhouse_unavailable", path=request.url.path, error=str(error))
    return await problems.on_problem(request, problems.Unavailable(str(error)))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's description, with errors under the media type that they are sent with. Built once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        for path in document["paths"].values():
            for operation in path.values():
                _fix_media_types(operation["responses"])
        app.openapi_schema = document
    return app.openapi_schema


def _fix_media_types(responses: dict[str, Any]) -> None:
    for response in responses.values():
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
        if schema.get("$ref") == "#/components/schemas/Problem":
            response["content"] = {problems.MEDIA_TYPE: {"schema": schema}}
