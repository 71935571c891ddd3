"""/health/live, /health/ready and /metrics."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from time import perf_counter
from typing import Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from api.context import Reader
from api.models import Health, Part
from api.telemetry import exposition
from operators.clickhouse import ClickHouseError

READY_WITHIN_S: Final = 2.0

_ACTION = "Start ClickHouse or correct CLICKHOUSE_DSN; `watchkeeper doctor` checks both. Incidents go on meanwhile."


class Probe:
    """Asks ClickHouse for nothing, in a thread of its own, and waits 2 s at most.

    While one question hangs no second is asked, so a dead server costs one thread however often
    readiness is polled.
    """

    def __init__(self, reader: Reader, within_s: float = READY_WITHIN_S) -> None:
        self._reader = reader
        self._within_s = within_s
        self._lock = threading.Lock()
        self._asked: Future[float] | None = None

    def check(self) -> Part:
        """The state of ClickHouse."""
        try:
            seconds = self._ask().result(self._within_s)
        except TimeoutError:
            return Part(
                name="clickhouse", state="failed", detail=f"no answer within {self._within_s:g} s", action=_ACTION
            )
        except ClickHouseError as error:
            return Part(name="clickhouse", state="failed", detail=str(error), action=_ACTION)
        return Part(name="clickhouse", state="ok", detail=f"answers in {seconds * 1000:.0f} ms")

    def _ask(self) -> "Future[float]":
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = _in_thread(self._measure)
            return self._asked

    def _measure(self) -> float:
        started = perf_counter()
        self._reader.query("SELECT 1 AS one")
        return perf_counter() - started


def _in_thread(work: Callable[[], float]) -> "Future[float]":
    future: Future[float] = Future()

    def run() -> None:
        try:
            result = work()
        except BaseException as error:
            future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            future.set_result(result)

    threading.Thread(target=run, name="api-ready", daemon=True).start()
    return future


def health_router(reader: Reader, version: str, registries: tuple[CollectorRegistry, ...]) -> APIRouter:
    """The routes that a supervisor and Prometheus read."""
    router = APIRouter(tags=["health"])
    probe = Probe(reader)

    @router.get("/health/live")
    async def live() -> Health:
        """Whether the process answers at all."""
        return Health(status="live", version=version)

    @router.get("/health/ready", response_model=Health, responses={503: {"model": Health}})
    def ready() -> Response:
        """Whether requests can be answered: each part's state, and what to do when it is not ok."""
        parts = [probe.check()]
        good = all(part.state == "ok" for part in parts)
        body = Health(status="ready" if good else "not ready", version=version, parts=parts)
        return JSONResponse(body.model_dump(), 200 if good else 503)

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Metrics in Prometheus text format."""
        return Response(exposition(*registries), media_type=CONTENT_TYPE_LATEST)

    return router
