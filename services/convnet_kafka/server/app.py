"""The aiohttp application: which parts there are, who owns them, and which paths lead where."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Middleware

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics, process_registry
from convnet_kafka.server.accesslog import ACCESS_LOG, CALLER_GONE, AccessLog, lane_of, route_of
from convnet_kafka.server.admission import guarded
from convnet_kafka.server.auth import GUARD, Guard, authenticated, check_routes
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.classify import Classify
from convnet_kafka.server.config import ServerConfig, signing_keys
from convnet_kafka.server.fastlane import FastLane
from convnet_kafka.server.health import Health
from convnet_kafka.server.jobs_api import JobsApi
from convnet_kafka.server.labels_api import LabelsApi
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.models_api import ModelsApi
from convnet_kafka.server.openapi import OpenApi
from convnet_kafka.server.overload import BacklogGate, BacklogLimits, UploadSlots
from convnet_kafka.server.pages import Pages
from convnet_kafka.server.problems import Handler, problems
from convnet_kafka.server.receiving import SharedRoom
from convnet_kafka.server.traced import TRACES, traced
from convnet_kafka.server.uploads import Uploads

if TYPE_CHECKING:
    from convnet_kafka.tracing.requests import RequestTraces

LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
BACKEND = web.AppKey("backend", Backend)
METRICS = web.AppKey("metrics", ServerMetrics)


def build(config: ServerConfig, traces: RequestTraces | None = None) -> web.Application:
    """An application that is not started: no thread, no connection. Its start-up starts the backend, its clean-up ends it.

    Args:
        config: all settings.
        traces: makes spans of requests; None when nobody asks for any.

    Raises:
        SettingsError: a signing key is missing or too short, or the keys file cannot be used.
    """
    lifecycle = Lifecycle()
    metrics = ServerMetrics(process_registry())
    backend = Backend(config, signing_keys(config.server), metrics, traces.received if traces is not None else None)
    slots = UploadSlots(config.server.max_uploads, metrics.uploads)
    gate = BacklogGate(BacklogLimits.of(config.server), backend.backlog.lane)
    fast_lane = FastLane(
        config.server.max_classify,
        lambda: backend.backlog.lane(Lane.FAST),
        metrics.classify_calls,
        jobs_wait_s=config.server.fast_jobs_wait_s,
    )
    room = SharedRoom.of(config.server, metrics)
    guard = Guard(config.server, metrics)
    guard.load()
    health = Health(backend, metrics, lifecycle, guard)
    access_log = AccessLog(at_info=config.server.access_log, names=config.server.log_names)
    tracing = [traced(traces)] if traces is not None else []
    app = web.Application(middlewares=[*tracing, _observe(metrics, lifecycle, access_log), problems, authenticated])
    if traces is not None:
        app[TRACES] = traces
    app[LIFECYCLE], app[BACKEND], app[METRICS], app[GUARD] = lifecycle, backend, metrics, guard
    app[ACCESS_LOG] = access_log
    for part in (
        JobsApi(config, backend, lifecycle),
        Uploads(config, backend, metrics, lifecycle, slots, gate, fast_lane, room),
        LabelsApi(backend, metrics),
        Classify(config, backend, metrics, lifecycle, gate, fast_lane, room),
        ModelsApi(backend.control),
        health,
        Pages(),
        OpenApi(app),
    ):
        app.add_routes(guarded(part.routes(), metrics))
    check_routes(app.router.routes())

    async def running(_app: web.Application) -> AsyncIterator[None]:
        guard.start()
        backend.start()
        sampling = asyncio.create_task(health.keep_sampling(), name="gauges")
        yield
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        await guard.close()
        await backend.close(lifecycle.left_s())

    app.cleanup_ctx.append(running)
    return app


def _observe(metrics: ServerMetrics, lifecycle: Lifecycle, access_log: AccessLog) -> Middleware:
    """Middleware: count and log every answer, and close connections while the server leaves."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        status = CALLER_GONE
        try:
            with lifecycle.request():
                response = await handler(request)
            status = response.status
        except web.HTTPException as redirect:
            status = redirect.status
            raise
        finally:
            metrics.answered(route_of(request), status, time.monotonic() - started, lane_of(request))
            access_log.tell(request, status, started)
        if lifecycle.leaving:
            response.force_close()
        return response

    return observe
