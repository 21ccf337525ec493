"""`POST /v1/classify`: one or a few images on the fast lane, their labels in the answer, or on its deadline a job to fetch them from.

Its job lies on the partition that this process reads at all times, and the reader is there before the first image is sent, so that a
label reaches the caller as soon as Kafka has it.
"""

from __future__ import annotations

import asyncio
import time

import orjson
from aiohttp import web

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.admission import check_body, check_serving, expect_handler, is_tar
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.config import TENANT, ServerConfig
from convnet_kafka.server.following import Follower, FollowerClosed, TooManyScans
from convnet_kafka.server.intake import Intake
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.labels_api import line
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.outcome import Outcome
from convnet_kafka.server.overload import UploadSlots
from convnet_kafka.server.parameters import seconds
from convnet_kafka.server.receiving import Body, BodyLimits, image_name
from convnet_kafka.server.uploads import count_images

# More belong into a job of their own.
MAX_IMAGES = 100
MAX_TIMEOUT_S = 60.0


class Classify:
    """The handler, and what it checks first."""

    def __init__(self, config: ServerConfig, backend: Backend, metrics: ServerMetrics, lifecycle: Lifecycle, slots: UploadSlots) -> None:
        self._backend = backend
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._slots = slots
        self._settings = config.server
        image_bytes = config.kafka.max_image_bytes
        self._limits = BodyLimits(
            max_request_bytes=config.server.max_request_bytes,
            max_image_bytes=image_bytes,
            max_images=MAX_IMAGES,
            deadline_s=config.server.upload_deadline_s,
        )

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.post("/v1/classify", self.classify, expect_handler=expect_handler(self._check, self._metrics))]

    async def classify(self, request: web.Request) -> web.Response:
        """200 with all labels, or 202 with those that came in time."""
        timeout_s = self._check(request)
        started = time.monotonic()
        with self._slots.taken():
            job = self._backend.open_home_job(TENANT)
            names: dict[str, str] = {}
            intake = Intake(
                self._backend.producer(Lane.FAST),
                self._backend.topology.images(Lane.FAST),
                job,
                deadline=started + self._limits.deadline_s,
                acknowledge_s=self._settings.delivery_timeout_s,
                queue_full=self._metrics.queue_full,
                names=names,
            )
            try:
                async with self._backend.readers.follow(job) as follower:
                    outcome = await self._receive(request, intake)
                    lines = await _labels(follower, names, timeout_s)
            finally:
                count_images(self._metrics, intake.outcome)
                self._metrics.classify_seconds.observe(time.monotonic() - started)
        self._metrics.labels.inc(len(lines))
        return self._answer(job, outcome, lines, names)

    async def _receive(self, request: web.Request, intake: Intake) -> Outcome:
        body = Body(request, self._limits, self._metrics.upload_bytes)
        if is_tar(request):
            return await body.tar(intake)
        return await body.image(intake, image_name(request))

    def _answer(self, job: Job, outcome: Outcome, lines: list[bytes], missing: dict[str, str]) -> web.Response:
        unknown = {item.name for item in outcome.unknown}
        waited_for = [name for name in missing.values() if name not in unknown]
        end = {"missing": waited_for, "problems": outcome.problems()}
        token = self._backend.signer.token(job)
        body = b'{"job":' + orjson.dumps(token) + b',"labels":[' + b",".join(lines) + b"]," + orjson.dumps(end)[1:]
        return web.Response(status=202 if waited_for else 200, body=body, content_type="application/json")

    def _check(self, request: web.Request) -> float:
        """All that can be known before the body is read. Takes nothing; returns the time-out in seconds."""
        check_serving(self._lifecycle)
        timeout_s = seconds(request, "timeout", MAX_TIMEOUT_S, self._settings.classify_timeout_s)
        check_body(request, max_request_bytes=self._limits.max_request_bytes, max_image_bytes=self._limits.max_image_bytes)
        if not is_tar(request):
            image_name(request)
        self._slots.check()
        self._backend.open_home_job(TENANT)
        return timeout_s


async def _labels(follower: Follower, missing: dict[str, str], timeout_s: float) -> list[bytes]:
    """Labels as they come, until none is missing or the time is over; takes what came out of `missing`."""
    now = asyncio.get_running_loop().time
    deadline = now() + timeout_s
    lines: list[bytes] = []
    while missing and (left_s := deadline - now()) > 0:
        try:
            events = await follower.next(left_s)
        except (FollowerClosed, TooManyScans):
            break  # the caller reads the rest from the job, from another server
        for event in events:
            lines.append(line(event))
            missing.pop(orjson.loads(event.value).get("image"), None)
    return lines
