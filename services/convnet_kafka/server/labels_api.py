"""`GET /v1/jobs/{job}/labels`: a page of JSON, or a stream of NDJSON that follows the job to its end.

A caller that reads slowly is waited for; what it has waiting is bounded by its follower. Every answer gives a cursor to go on with.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson
from aiohttp import web

from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.config import TENANT
from convnet_kafka.server.following import Follower, FollowerClosed, LabelEvent, TooManyScans
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.parameters import MAX_OFFSET, seconds, whole

NDJSON = "application/x-ndjson"
MAX_PAGE, DEFAULT_PAGE = 10_000, 1000
MAX_WAIT_S = 60.0
HEARTBEAT_S = 10.0
# Seconds a page waits at most while its job is read from the start; it then gives a cursor from which reading goes on.
CATCH_UP_S = 30.0
# A reader that takes nothing for so long is cut off; it comes back with its cursor.
STALLED_S = 120.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What the caller wants.

    Attributes:
        after: only results after this offset, or None for all.
        expect: images that make the job complete for this caller, or None.
    """

    after: int | None
    expect: int | None

    @classmethod
    def of(cls, request: web.Request) -> Reading:
        """From the query."""
        return cls(whole(request, "cursor", 0, MAX_OFFSET), whole(request, "expect", 0, MAX_OFFSET))


class LabelsApi:
    """The handler."""

    def __init__(self, backend: Backend, metrics: ServerMetrics) -> None:
        self._backend = backend
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.get("/v1/jobs/{job}/labels", self.labels)]

    async def labels(self, request: web.Request) -> web.StreamResponse:
        """A page, or with `Accept: application/x-ndjson` a stream."""
        job = self._backend.signer.parse(request.match_info["job"], TENANT)
        reading = Reading.of(request)
        with self._metrics.followers.track_inprogress():
            if NDJSON in request.headers.get("Accept", ""):
                return await self._stream(request, job, reading)
            return await self._page(request, job, reading)

    async def _page(self, request: web.Request, job: Job, reading: Reading) -> web.Response:
        limit = whole(request, "limit", 1, MAX_PAGE) or DEFAULT_PAGE
        wait_s = seconds(request, "wait", MAX_WAIT_S, 0.0)
        async with self._backend.readers.follow(job, reading.after, buffer_events=limit) as follower:
            events = await collect(follower, reading.expect, limit=limit, wait_s=wait_s)
            cursor = follower.cursor
            if not follower.waiting and not follower.drained and follower.position > job.offset:
                # Nothing more was found in the time there was, but all this has been looked at.
                cursor = max(follower.position - 1, cursor if cursor is not None else -1)
            complete = follower.drained and follower.progress.complete(reading.expect)
            end = {"cursor": _text(cursor), "total": follower.progress.total, "complete": complete}
        self._metrics.labels.inc(len(events))
        body = b'{"labels":[' + b",".join(map(line, events)) + b"]," + orjson.dumps(end)[1:]
        return web.Response(body=body, content_type="application/json")

    async def _stream(self, request: web.Request, job: Job, reading: Reading) -> web.StreamResponse:
        async with self._backend.readers.follow(job, reading.after) as follower:
            # `no-buffering` for proxies in front of us: a label is wanted when it comes.
            response = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store", "X-Accel-Buffering": "no"})
            await response.prepare(request)
            try:
                end = await self._follow(response, follower, reading.expect)
                last = {"end": end, "cursor": _text(follower.cursor), "total": follower.progress.total}
                await _write(response, orjson.dumps(last) + b"\n")
                await response.write_eof()
            except TimeoutError:
                response.force_close()
                if request.transport is not None:
                    request.transport.abort()
            return response

    async def _follow(self, response: web.StreamResponse, follower: Follower, expect: int | None) -> str:
        """Write labels as they come; returns why it ended."""
        now = asyncio.get_running_loop().time
        beat_at = now() + HEARTBEAT_S
        while not (follower.drained and follower.progress.complete(expect)):
            try:
                events = await follower.next(max(0.0, beat_at - now()))
            except (FollowerClosed, TooManyScans):
                return "reconnect"
            if events:
                await _write(response, b"".join([line(event) + b"\n" for event in events]))
                self._metrics.labels.inc(len(events))
            elif now() >= beat_at:
                await _write(response, b"\n")
            else:
                continue
            beat_at = now() + HEARTBEAT_S
        return "complete"


async def collect(follower: Follower, expect: int | None, *, limit: int, wait_s: float) -> list[LabelEvent]:
    """The next labels: what is there, or the first that come within `wait_s`; none when the job is complete.

    Raises:
        FollowerClosed: the server goes away.
        TooManyScans: there is no room to catch up.
    """
    now = asyncio.get_running_loop().time
    started = now()
    events: list[LabelEvent] = []
    while len(events) < limit:
        if follower.drained and (events or follower.progress.complete(expect)):
            break
        left_s = started + (wait_s if follower.live else max(wait_s, CATCH_UP_S)) - now()
        if left_s <= 0 and not follower.waiting:
            break
        events += await follower.next(max(0.0, left_s), limit - len(events))
    return events


def line(event: LabelEvent) -> bytes:
    """A label as the caller gets it: the stored object with its cursor in front, never parsed on the way."""
    return b'{"cursor":"%d",' % event.offset + event.value[1:]


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(STALLED_S):
        await response.write(data)


def _text(cursor: int | None) -> str | None:
    return None if cursor is None else str(cursor)
