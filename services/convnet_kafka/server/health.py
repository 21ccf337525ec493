"""Probes and metrics: alive (the loop answers), ready (Kafka answers and labels are read), and what Prometheus scrapes.

Never limited by load, and never waits for Kafka.
"""

from __future__ import annotations

import asyncio
import math

from aiohttp import hdrs, web

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics, exposition
from convnet_kafka.server.api_models import Alive, Ready
from convnet_kafka.server.auth import Guard
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.describing import described
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.problems import model_response

# Seconds between looks at what is shown as a gauge.
SAMPLE_S = 1.0
# JSON and multi-process gauges have no infinity.
_NEVER_S = 1e9


class Health:
    """Handlers of the three paths, and the sampling of gauges."""

    def __init__(self, backend: Backend, metrics: ServerMetrics, lifecycle: Lifecycle, guard: Guard) -> None:
        self._backend = backend
        self._guard = guard
        self._metrics = metrics
        self._lifecycle = lifecycle

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.get("/healthz", self.alive), web.get("/readyz", self.ready), web.get("/metrics", self.metrics)]

    @described("Is it alive", tag="service", answers={200: Alive})
    async def alive(self, _request: web.Request) -> web.Response:
        """200 whenever the event loop comes to answer."""
        return model_response(Alive(alive=True))

    @described("Is it ready", tag="service", answers={200: Ready, 503: Ready})
    async def ready(self, _request: web.Request) -> web.Response:
        """200 when this server can take uploads and tell labels, else 503 with what is missing."""
        reasons = self.reasons()
        return model_response(Ready(ready=not reasons, reasons=reasons), 503 if reasons else 200)

    @described("Metrics for Prometheus", tag="service", answers={200: None})
    async def metrics(self, request: web.Request) -> web.Response:
        """All metrics of this process, or of all that share its port."""
        self.sample()
        body, content_type = exposition(self._metrics.registry, request.headers.get(hdrs.ACCEPT, ""))
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})

    def reasons(self) -> list[str]:
        """Why this server is not ready; empty when it is."""
        return ["going away"] if self._lifecycle.leaving else self._backend.not_ready()

    def sample(self) -> None:
        """Bring the gauges up to date."""
        self._metrics.process.sample()
        self._guard.sample()
        silent_s = self._backend.silent_s()
        self._metrics.kafka_silent.set(silent_s if math.isfinite(silent_s) else _NEVER_S)
        self._metrics.ready.set(not self.reasons())
        for lane in Lane:
            self._metrics.producer_queue.labels(lane.value).set(self._backend.producer(lane).queued())
            self._sample_backlog(lane)

    def _sample_backlog(self, lane: Lane) -> None:
        silent_s = self._backend.backlog.silent_s(lane)
        self._metrics.backlog_silent.labels(lane.value).set(silent_s if math.isfinite(silent_s) else _NEVER_S)
        found = self._backend.backlog.lane(lane)
        if found is None:
            return
        self._metrics.backlog_images.labels(lane.value).set(found.waiting)
        self._metrics.backlog_drain.labels(lane.value).set(-1 if found.drain_s is None else found.drain_s)
        self._metrics.backlog_still.labels(lane.value).set(found.still_s)
        self._metrics.backlog_oldest.labels(lane.value).set(found.oldest_s)
        self._metrics.backlog_expired.labels(lane.value).set(found.expired)

    async def keep_sampling(self) -> None:
        """Sample until cancelled: a process that shares its port is scraped through another one."""
        clock = asyncio.get_running_loop().time
        while True:
            self.sample()
            due = clock() + SAMPLE_S
            await asyncio.sleep(SAMPLE_S)
            self._metrics.loop_delay.observe(max(clock() - due, 0.0))
