"""`/v1/jobs`: open a job, look at it, close it. Opening asks nobody; the rest reads the job's partition of the labels topic."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.producer import QueueFull
from convnet_kafka.messages import Lane, close_headers, close_value
from convnet_kafka.server.admission import check_serving
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.config import TENANT, ServerConfig
from convnet_kafka.server.intake import Acknowledgement
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.lifecycle import Lifecycle
from convnet_kafka.server.problems import Problem, json_response
from convnet_kafka.server.seen import JobProgress

# Seconds a caller waits while a job's results are counted from its start; what was counted is kept for the next try.
COUNT_S = 30.0
# More than any cluster holds, and small enough for every JSON reader.
MAX_TOTAL = 10**15
_STEP_S = 1.0


class JobsApi:
    """Handlers of the three calls."""

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
        ]

    async def open(self, _request: web.Request) -> web.Response:
        """201 with a new job's id."""
        check_serving(self._lifecycle)
        job = self._backend.open_job(TENANT)
        token = self._backend.signer.token(job)
        answer = json_response({"job": token, "expires_at_ms": self._backend.signer.expires_at_ms(job)}, 201)
        answer.headers["Location"] = f"/v1/jobs/{token}"
        return answer

    async def show(self, request: web.Request) -> web.Response:
        """200 with the job's state and counts."""
        job = self._backend.signer.parse(request.match_info["job"], TENANT)
        return json_response(self._as_dict(job, await self._progress(job)))

    async def close(self, request: web.Request) -> web.Response:
        """Write how many images the job has, then 200 with its state."""
        job = self._backend.signer.parse(request.match_info["job"], TENANT)
        images = _images(await request.read())
        self._backend.check_available()
        await self._write_close(job, images)
        # Until the record has been read back here: who asks this server again finds the job closed.
        return json_response(self._as_dict(job, await self._progress(job, at_least=images)))

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
                await follower.next(min(left, _STEP_S))
            return follower.progress

    def _as_dict(self, job: Job, progress: JobProgress) -> dict[str, Any]:
        return {
            "state": "open" if progress.total is None else "closed",
            "total": progress.total,
            "labelled": progress.labelled,
            "failed": progress.failed,
            "complete": progress.complete(),
            "opened_at_ms": job.opened_at_ms,
            "expires_at_ms": self._backend.signer.expires_at_ms(job),
        }


def _closed_with(progress: JobProgress, at_least: int | None) -> bool:
    return at_least is None or (progress.total is not None and progress.total >= at_least)


def _images(body: bytes) -> int:
    """The number in `{"images": N}`."""
    try:
        images = orjson.loads(body)["images"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        images = None
    if type(images) is not int or not 0 <= images <= MAX_TOTAL:
        raise Problem("bad-request", 'the body must be {"images": N}, with the number of images of the job')
    return images
