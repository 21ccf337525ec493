"""`POST /v1/classify`: one or a few images on the fast lane, their labels in the answer, or on its deadline a job to fetch them from.

Its job lies on the partition that this process reads at all times, and the reader is there before the first image is sent, so that a
label reaches the caller as soon as Kafka has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.admission import check_serving, expect_handler
from convnet_kafka.server.api_models import ClassifyAnswer
from convnet_kafka.server.auth import caller
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.bodies import IMAGE_BODIES, NAME_PARAMETERS, BodyLimits
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.describing import described, number
from convnet_kafka.server.events import line
from convnet_kafka.server.fastlane import MOST_IMAGES, FastLane
from convnet_kafka.server.following import Follower, FollowerClosed, TooManyScans
from convnet_kafka.server.intake import ACKNOWLEDGEMENT_SLACK_S, Intake
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.overload import BacklogGate
from convnet_kafka.server.parameters import seconds
from convnet_kafka.server.receiving import Reception, SharedRoom
from convnet_kafka.server.traced import trace_of
from convnet_kafka.server.uploads import count_images

if TYPE_CHECKING:
    from convnet_kafka.tracing.requests import RequestTrace

MAX_TIMEOUT_S = 60.0
# Kafka has the caller's time-out to acknowledge the images, but this many seconds at least: an answer must be true before it is quick.
LEAST_ACKNOWLEDGE_S = 2.0


class Classify:
    """The handler, and what it checks first."""

    def __init__(
        self,
        config: ServerConfig,
        backend: Backend,
        metrics: ServerMetrics,
        lifecycle: Lifecycle,
        gate: BacklogGate,
        fast_lane: FastLane,
        room: SharedRoom,
    ) -> None:
        self._backend = backend
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._gate = gate
        self._fast_lane = fast_lane
        self._settings = config.server
        self._reception = Reception(BodyLimits.of(config, MOST_IMAGES), room)

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.post("/v1/classify", self.classify, expect_handler=expect_handler(self._check, self._metrics))]

    @described(
        "Classify at once",
        tag="classify",
        about="One image, or a few, on the fast lane. 200: all labels. 202: those that came in time, and a job to read the others from.",
        parameters=(number("timeout", "seconds to wait for labels; the server has a default", MAX_TIMEOUT_S), *NAME_PARAMETERS),
        body=IMAGE_BODIES,
        answers={200: ClassifyAnswer, 202: ClassifyAnswer},
        problems=("unsupported", "too-slow", "backlog-too-long", "backlog-too-old", "fast-lane-busy"),
    )
    async def classify(self, request: web.Request) -> web.Response:
        """200 with all labels, or 202 with those that came in time."""
        timeout_s, job = self._check(request)
        started = time.monotonic()
        names: dict[str, str] = {}
        with self._fast_lane.call(names):
            if (trace := trace_of(request)) is not None:
                trace.job(job.id)
            async with self._backend.readers.follow(job) as follower:
                labels = _Labels(follower, names, timeout_s, trace, lambda: self._backend.signer.token(job))
                intake = Intake(
                    self._backend.producer(Lane.FAST),
                    self._backend.topology.images(Lane.FAST),
                    job,
                    deadline=started + self._settings.upload_deadline_s,
                    acknowledge_s=min(self._settings.delivery_timeout_s, max(timeout_s, LEAST_ACKNOWLEDGE_S) - ACKNOWLEDGEMENT_SLACK_S),
                    queue_full=self._metrics.queue_full,
                    names=names,
                    available=self._backend.available,
                    partitioner=self._backend.partitioner(Lane.FAST),
                    trace=trace,
                    meanwhile=labels.wait,
                    on_failure=follower.notify,
                )
                try:
                    outcome = await self._reception.receive(request, intake)
                    if intake.last_image:
                        self._fast_lane.answered(asyncio.get_running_loop().time() - intake.ended_at, len(labels.lines))
                finally:
                    count_images(request, self._metrics, intake, Lane.FAST, started)
        lines = labels.lines
        self._metrics.labels.inc(len(lines))
        unknown = {item.name for item in outcome.unknown}
        waited_for = [name for name in names.values() if name not in unknown]
        end = {"missing": waited_for, "problems": outcome.problems()}
        body = b'{"job":' + orjson.dumps(labels.token) + b',"labels":[' + b",".join(lines) + b"]," + orjson.dumps(end)[1:]
        return web.Response(status=202 if waited_for else 200, body=body, content_type="application/json")

    def _check(self, request: web.Request) -> tuple[float, Job]:
        """All that can be known before the body is read. Takes nothing; returns the time-out in seconds, and a job for the call."""
        check_serving(self._lifecycle)
        timeout_s = seconds(request, "timeout", MAX_TIMEOUT_S, self._settings.classify_timeout_s)
        self._reception.check(request)
        job = self._backend.open_home_job(caller(request).tenant)
        self._gate.check(Lane.FAST)
        self._fast_lane.check(timeout_s)
        return timeout_s, job


class _Labels:
    """Labels as they come.

    Args:
        follower: of the call's job.
        missing: name of every image without a label, by its id; what comes is taken out.
        timeout_s: seconds to wait, from when the images were handed over.
        trace: of the request, when it is recorded.
        sign: makes the id by which the caller may read on.

    Attributes:
        lines: what came.
        token: the job's id, made while the images are on their way; nobody waits for it.
    """

    def __init__(
        self, follower: Follower, missing: dict[str, str], timeout_s: float, trace: RequestTrace | None, sign: Callable[[], str]
    ) -> None:
        self._follower = follower
        self._missing = missing
        self._timeout_s = timeout_s
        self._trace = trace
        self._sign = sign
        self.token = ""
        self.lines: list[bytes] = []

    async def wait(self, intake: Intake) -> None:
        """Until none is missing but what Kafka does not have, or the time is over."""
        self.token = self._sign()
        with self._trace.step("wait for labels") if self._trace is not None else nullcontext():
            now = asyncio.get_running_loop().time
            deadline = intake.ended_at + self._timeout_s
            while len(self._missing) > intake.failed and (left_s := deadline - now()) > 0:
                try:
                    events = await self._follower.next(left_s)
                except (FollowerClosed, TooManyScans):
                    return  # the caller reads the rest from the job, from another server
                for event in events:
                    self.lines.append(line(event))
                    self._missing.pop(orjson.loads(event.value).get("image"), None)
