"""The aiohttp application: which parts there are, who owns them, and which paths lead where."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from convnet_kafka.logs import ACCESS_LOGGER
from convnet_kafka.metrics import ServerMetrics, process_registry
from convnet_kafka.server.admission import route_of
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.classify import Classify
from convnet_kafka.server.config import ServerConfig, signing_keys
from convnet_kafka.server.health import Health
from convnet_kafka.server.jobs_api import JobsApi
from convnet_kafka.server.labels_api import LabelsApi
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.overload import UploadSlots
from convnet_kafka.server.problems import Handler, problems
from convnet_kafka.server.uploads import Uploads

access = structlog.get_logger(ACCESS_LOGGER)

LIFECYCLE = web.AppKey("lifecycle", Lifecycle)
BACKEND = web.AppKey("backend", Backend)
METRICS = web.AppKey("metrics", ServerMetrics)


def build(config: ServerConfig) -> web.Application:
    """An application that is not started: no thread, no connection. Its start-up starts the backend, its clean-up ends it.

    Raises:
        SettingsError: a signing key is missing or too short.
    """
    lifecycle = Lifecycle()
    backend = Backend(config, signing_keys(config.server))
    metrics = ServerMetrics(process_registry())
    slots = UploadSlots(config.server.max_uploads, metrics.uploads)
    health = Health(backend, metrics, lifecycle)
    app = web.Application(middlewares=[_observe(metrics, lifecycle), problems])
    app[LIFECYCLE], app[BACKEND], app[METRICS] = lifecycle, backend, metrics
    for part in (
        JobsApi(config, backend, lifecycle),
        Uploads(config, backend, metrics, lifecycle, slots),
        LabelsApi(backend, metrics),
        Classify(config, backend, metrics, lifecycle, slots),
        health,
    ):
        app.add_routes(part.routes())

    async def running(_app: web.Application) -> AsyncIterator[None]:
        backend.start()
        sampling = asyncio.create_task(health.keep_sampling(), name="gauges")
        yield
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        await backend.close()

    app.cleanup_ctx.append(running)
    return app


def _observe(metrics: ServerMetrics, lifecycle: Lifecycle) -> Middleware:
    """Middleware: count every answer, log it at debug, and close connections while the server leaves."""

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.monotonic()
        with lifecycle.request():
            response = await handler(request)
        route = route_of(request)
        metrics.requests.labels(route, str(response.status)).inc()
        access.debug("request", method=request.method, route=route, status=response.status, seconds=round(time.monotonic() - started, 6))
        if lifecycle.leaving:
            response.force_close()
        return response

    return observe
