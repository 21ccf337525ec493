"""`POST /v1/jobs/{job}/images`: answers only when Kafka holds the images, or says of each one that it does not."""

from __future__ import annotations

import time
from collections import Counter

from aiohttp import web

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.accesslog import note_images, note_lane
from convnet_kafka.server.admission import check_serving, expect_handler
from convnet_kafka.server.api_models import UploadAnswer
from convnet_kafka.server.auth import GUARD, caller
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.bodies import IMAGE_BODIES, NAME_PARAMETERS, BodyLimits, Kind, kind_of
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.describing import described
from convnet_kafka.server.fastlane import MOST_IMAGES, FastLane
from convnet_kafka.server.intake import Intake
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.overload import BacklogGate, UploadSlots
from convnet_kafka.server.problems import json_response
from convnet_kafka.server.receiving import Reception, SharedRoom
from convnet_kafka.server.traced import trace_of


class Uploads:
    """The handler, and what it checks first."""

    def __init__(
        self,
        config: ServerConfig,
        backend: Backend,
        metrics: ServerMetrics,
        lifecycle: Lifecycle,
        slots: UploadSlots,
        gate: BacklogGate,
        fast_lane: FastLane,
        room: SharedRoom,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._slots = slots
        self._gate = gate
        self._fast_lane = fast_lane
        self._acknowledge_s = config.server.delivery_timeout_s
        self._deadline_s = config.server.upload_deadline_s
        most = {Lane.BULK: config.server.max_request_images, Lane.FAST: MOST_IMAGES}
        self._receptions = {lane: Reception(BodyLimits.of(config, most[lane]), room) for lane in Lane}

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.post("/v1/jobs/{job}/images", self.upload, expect_handler=expect_handler(self._check, self._metrics))]

    @described(
        "Upload images",
        tag="jobs",
        about="One image, or many. Answers when Kafka holds them; names every one that it does not. Sending again is harmless.",
        parameters=NAME_PARAMETERS,
        body=IMAGE_BODIES,
        answers={202: UploadAnswer},
        problems=("unsupported", "too-slow", "job-cancelled", "too-many-uploads", "backlog-too-long", "backlog-too-old", "fast-lane-busy"),
    )
    async def upload(self, request: web.Request) -> web.Response:
        """202 with the outcome."""
        job = self._check(request)
        started = time.monotonic()
        with self._slots.taken():
            intake = Intake(
                self._backend.producer(job.lane),
                self._backend.topology.images(job.lane),
                job,
                deadline=started + self._deadline_s,
                acknowledge_s=self._acknowledge_s,
                queue_full=self._metrics.queue_full,
                available=self._backend.available,
                partitioner=self._backend.partitioner(job.lane),
                trace=trace_of(request),
            )
            try:
                outcome = await self._receptions[job.lane].receive(request, intake)
                one = {"image": intake.last_image} if kind_of(request) is Kind.IMAGE else {}
                return json_response(outcome.to_dict() | one, 202)
            finally:
                count_images(request, self._metrics, intake, job.lane, started)
                if job.lane is Lane.FAST:
                    self._fast_lane.job_sent(intake.images)

    def _check(self, request: web.Request) -> Job:
        """All that can be known before the body is read. Takes nothing."""
        job = self._backend.signer.parse(request.match_info["job"], caller(request).tenant)
        note_lane(request, job.lane)
        check_serving(self._lifecycle)
        self._receptions[job.lane].check(request)
        self._backend.control.check_not_cancelled(job)
        self._slots.check()
        self._backend.check_available()
        self._gate.check(job.lane)
        if job.lane is Lane.FAST:
            request.app[GUARD].admit_to(request, job.lane)
            self._fast_lane.check_job()
        return job


def count_images(request: web.Request, metrics: ServerMetrics, intake: Intake, lane: Lane, started: float) -> None:
    """Add what became of one request's images, for the metrics, the log and the rate of the caller's key.

    Args:
        request: theirs.
        metrics: of the server.
        intake: took them.
        lane: which they are on.
        started: `time.monotonic()` when the request came, the clock of the event loop.
    """
    images, outcome = intake.images, intake.outcome
    note_images(request, images)
    caller(request).charge(images, lane)
    counts = outcome.counts()
    if (trace := trace_of(request)) is not None:
        trace.outcome(counts)
    for name, count in counts.items():
        if count:
            metrics.images.labels(lane.value, name).inc(count)
    if outcome.refused:
        for reason, count in Counter(refusal.code.value for refusal in outcome.refused).items():
            metrics.images_refused.labels(reason).inc(count)
    if intake.acknowledged_at:
        metrics.accept_seconds.labels(lane.value).observe(intake.ended_at - started)
        metrics.acknowledge_seconds.labels(lane.value).observe(intake.acknowledged_at - intake.ended_at)
