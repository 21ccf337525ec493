"""`POST /v1/jobs/{job}/images`: answers only when Kafka holds the images, or says of each one that it does not."""

from __future__ import annotations

import time

from aiohttp import web

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.admission import check_body, check_serving, expect_handler, is_tar
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.config import TENANT, ServerConfig
from convnet_kafka.server.intake import Intake
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.outcome import Outcome
from convnet_kafka.server.overload import UploadSlots
from convnet_kafka.server.problems import json_response
from convnet_kafka.server.receiving import Body, BodyLimits, image_name


class Uploads:
    """The handler, and what it checks first."""

    def __init__(self, config: ServerConfig, backend: Backend, metrics: ServerMetrics, lifecycle: Lifecycle, slots: UploadSlots) -> None:
        self._backend = backend
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._slots = slots
        self._acknowledge_s = config.server.delivery_timeout_s
        self._limits = BodyLimits(
            max_request_bytes=config.server.max_request_bytes,
            max_image_bytes=config.kafka.max_image_bytes,
            max_images=config.server.max_request_images,
            deadline_s=config.server.upload_deadline_s,
        )

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.post("/v1/jobs/{job}/images", self.upload, expect_handler=expect_handler(self._check, self._metrics))]

    async def upload(self, request: web.Request) -> web.Response:
        """202 with the outcome."""
        job = self._check(request)
        started = time.monotonic()
        with self._slots.taken():
            intake = Intake(
                self._backend.producer(Lane.BULK),
                self._backend.topology.images(Lane.BULK),
                job,
                deadline=started + self._limits.deadline_s,
                acknowledge_s=self._acknowledge_s,
                queue_full=self._metrics.queue_full,
            )
            body = Body(request, self._limits, self._metrics.upload_bytes)
            try:
                if is_tar(request):
                    return json_response((await body.tar(intake)).to_dict(), 202)
                outcome = await body.image(intake, image_name(request))
                return json_response(outcome.to_dict() | {"image": intake.last_image}, 202)
            finally:
                count_images(self._metrics, intake.outcome)
                self._metrics.upload_seconds.observe(time.monotonic() - started)

    def _check(self, request: web.Request) -> Job:
        """All that can be known before the body is read. Takes nothing."""
        job = self._backend.signer.parse(request.match_info["job"], TENANT)
        check_serving(self._lifecycle)
        check_body(request, max_request_bytes=self._limits.max_request_bytes, max_image_bytes=self._limits.max_image_bytes)
        if not is_tar(request):
            image_name(request)
        self._slots.check()
        self._backend.check_available()
        return job


def count_images(metrics: ServerMetrics, outcome: Outcome) -> None:
    """Add what became of one request's images."""
    for name, count in outcome.counts().items():
        if count:
            metrics.images.labels(name).inc(count)
