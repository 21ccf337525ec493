"""`/v1/jobs`: open a job, look at it, close or cancel it. Opening asks nobody; the rest reads the job's partition of the labels topic."""

from __future__ import annotations

import asyncio
from typing import Literal

from aiohttp import web
from pydantic import ValidationError

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.producer import QueueFull
from convnet_kafka.messages import Lane
from convnet_kafka.replies import close_headers, close_value
from convnet_kafka.server.accesslog import note_lane
from convnet_kafka.server.admission import check_serving
from convnet_kafka.server.api_models import CloseRequest, JobShown, OpenedJob
from convnet_kafka.server.auth import GUARD, caller
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.config import ServerConfig
from convnet_kafka.server.describing import JSON, choice, described
from convnet_kafka.server.intake import Acknowledgement
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.parameters import lane
from convnet_kafka.server.problems import Problem, model_response
from convnet_kafka.server.seen import JobProgress

# Seconds a caller waits while a job's results are counted from its start; what was counted is kept for the next try.
COUNT_S = 30.0
_STEP_S = 1.0
# What may be in the way of counting a job's results.
_COUNTING = ("kafka-unavailable", "too-many-scans", "shutting-down")


class JobsApi:
    """Handlers of the four calls."""

    def __init__(self, config: ServerConfig, backend: Backend, lifecycle: Lifecycle) -> None:
        self._backend = backend
        self._lifecycle = lifecycle
        self._acknowledge_s = config.server.delivery_timeout_s

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [
            web.post("/v1/jobs", self.open),
            web.get("/v1/jobs/{job}", self.show),
            web.post("/v1/jobs/{job}/close", self.close),
            web.delete("/v1/jobs/{job}", self.cancel),
        ]

    @described(
        "Open a job",
        tag="jobs",
        parameters=(choice("lane", "`fast`: past what waits in bulk, within the key's rate and while it is quick", list(Lane), Lane.BULK),),
        answers={201: OpenedJob},
        headers={"Location": "the job's path"},
    )
    async def open(self, request: web.Request) -> web.Response:
        """201 with a new job's id."""
        wanted = lane(request)
        note_lane(request, wanted)  # a job that cannot be opened is an upload that cannot begin
        check_serving(self._lifecycle)
        if wanted is Lane.FAST:
            request.app[GUARD].admit_to(request, wanted)
        job = self._backend.open_job(caller(request).tenant, wanted)
        token = self._backend.signer.token(job)
        answer = model_response(OpenedJob(job=token, expires_at_ms=self._backend.signer.expires_at_ms(job), lane=job.lane), 201)
        answer.headers["Location"] = f"/v1/jobs/{token}"
        return answer

    @described("Look at a job", tag="jobs", answers={200: JobShown}, problems=_COUNTING)
    async def show(self, request: web.Request) -> web.Response:
        """200 with the job's state and counts."""
        job = self._backend.signer.parse(request.match_info["job"], caller(request).tenant)
        return self._shown(job, await self._progress(job))

    @described("Say how many images a job has", tag="jobs", body={JSON: CloseRequest}, answers={200: JobShown}, problems=_COUNTING)
    async def close(self, request: web.Request) -> web.Response:
        """Write how many images the job has, then 200 with its state."""
        job = self._backend.signer.parse(request.match_info["job"], caller(request).tenant)
        images = _images(await request.read())
        self._backend.check_available()
        await self._write_close(job, images)
        # Until the record has been read back here: who asks this server again finds the job closed.
        return self._shown(job, await self._progress(job, at_least=images))

    @described("Cancel a job", tag="jobs", answers={200: JobShown}, problems=_COUNTING)
    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel the job, then 200 with its state: images that still wait get the result `cancelled`."""
        job = self._backend.signer.parse(request.match_info["job"], caller(request).tenant)
        self._backend.check_available()
        expires_at_ms = self._backend.signer.expires_at_ms(job)
        await self._backend.control.cancel(job, expires_at_ms, self._backend.producer(Lane.FAST), self._acknowledge_s)
        return self._shown(job, await self._progress(job))

    async def _write_close(self, job: Job, images: int) -> None:
        written = Acknowledgement()
        delivery = self._backend.producer(Lane.FAST).delivery(written)
        headers = close_headers(job=job.id, tenant=job.tenant)
        try:
            delivery.send(self._backend.topology.labels, close_value(images), headers, partition=job.partition)
        except QueueFull:
            raise KafkaUnavailable("Kafka takes nothing at the moment: close the job again in a few seconds") from None
        delivery.seal()
        await written.wait(self._acknowledge_s)
        if delivery.failures:
            raise KafkaUnavailable(f"the close was not acknowledged ({delivery.failures[0].reason}): send it again")

    async def _progress(self, job: Job, at_least: int | None = None) -> JobProgress:
        """How far the job is, up to now; with `at_least` up to a close with such a total."""
        async with self._backend.readers.follow(job, buffer_events=0) as follower:
            deadline = asyncio.get_running_loop().time() + COUNT_S
            while not follower.drained or not _closed_with(follower.progress, at_least):
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    raise Problem("too-many-scans", "the job's results are still being counted: ask again, it goes on where it is")
                if not follower.live:
                    self._backend.check_available()
                await follower.next(min(left, _STEP_S))
            return follower.progress

    def _shown(self, job: Job, progress: JobProgress) -> web.Response:
        shown = JobShown(
            state=self._state(job, progress),
            total=progress.total,
            labelled=progress.labelled,
            failed=progress.failed,
            complete=progress.complete(),
            opened_at_ms=job.opened_at_ms,
            expires_at_ms=self._backend.signer.expires_at_ms(job),
            lane=job.lane,
        )
        return model_response(shown)

    def _state(self, job: Job, progress: JobProgress) -> Literal["open", "closed", "cancelled"]:
        if self._backend.control.is_cancelled(job):
            return "cancelled"
        return "open" if progress.total is None else "closed"


def _closed_with(progress: JobProgress, at_least: int | None) -> bool:
    return at_least is None or (progress.total is not None and progress.total >= at_least)


def _images(body: bytes) -> int:
    """The number in `{"images": N}`."""
    try:
        return CloseRequest.model_validate_json(body).images
    except ValidationError:
        raise Problem("bad-request", 'the body must be {"images": N}, with the number of images of the job') from None
