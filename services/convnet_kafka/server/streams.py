"""One caller that follows a job over an open connection: labels as they come, heartbeats, and an end that says how to go on.

What is waiting for a caller that reads slowly is bounded, by its follower and by the socket's buffer; one that takes nothing is cut off,
and comes back with its cursor. Owns no connection to Kafka.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from prometheus_client import Counter

from convnet_kafka.server.following import Follower, FollowerClosed, TooManyScans
from convnet_kafka.server.jobs import JobOfAnotherCluster
from convnet_kafka.server.seen import JobProgress
from convnet_kafka.server.sse import StreamFormat

HEARTBEAT_S = 10.0
# How often a reader is told how far the job is, at most.
PROGRESS_S = 1.0
# Results written at once: some 60 KB, which with the connection's own buffers bounds what a reader that has stopped keeps in memory.
WRITE_EVENTS = 200
# A reader that takes nothing for so long is cut off.
STALLED_S = 60.0
# When the server goes away a reader has this long to take what it has waiting and the end.
LEAVING_S = 3.0


class LabelStream:
    """The answer to one caller.

    Args:
        follower: what it reads.
        form: how it is written.
        expect: images that make the job complete for this caller, or None.
        filtered: True when the caller does not want all results, so that the cursor also moves without one.
        sent: counts labels.
    """

    def __init__(self, follower: Follower, form: StreamFormat, *, expect: int | None, filtered: bool, sent: Counter) -> None:
        self._follower = follower
        self._form = form
        self._expect = expect
        self._filtered = filtered
        self._sent = sent
        self._now = asyncio.get_running_loop().time
        self._writing: asyncio.Timeout | None = None
        self._leave_by: float | None = None
        self._told: JobProgress | None = None
        self._beat_at = self._now() + HEARTBEAT_S
        self._progress_at = self._now()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Stream to the caller until the job is complete, the server goes away, or the caller takes nothing any more."""
        # `no`: proxies in front of us are not to gather what is wanted when it comes.
        headers = {"Content-Type": self._form.content_type, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        self._follower.on_close = self._hurry
        try:
            await self._write(response, self._form.hello())
            why = await self._follow(response)
            await self._write(response, self._form.end(why, self._cursor(), self._follower.progress.total))
            await response.write_eof()
        except TimeoutError:
            response.force_close()
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._follower.on_close = None
        return response

    async def _follow(self, response: web.StreamResponse) -> str:
        """Write labels as they come; returns why it ended."""
        follower = self._follower
        while not (follower.drained and follower.progress.complete(self._expect)):
            try:
                events = await follower.next(max(0.0, self._due_at() - self._now()), WRITE_EVENTS)
            except (FollowerClosed, TooManyScans, JobOfAnotherCluster):
                return "reconnect"
            if self._leave_by is not None and self._now() > self._leave_by:
                raise TimeoutError  # what was taken out now has not been told: the caller's own cursor is the right one
            data = (self._form.labels(events) if events else b"") + self._progress()
            if not data and self._now() >= self._beat_at:
                data = self._form.heartbeat(self._cursor() if self._filtered else None)
            if data:
                await self._write(response, data)
                self._sent.inc(len(events))
                self._beat_at = self._now() + HEARTBEAT_S
        await self._write(response, self._progress(last=True))
        return "complete"

    def _due_at(self) -> float:
        """When something is to be said even if no label comes."""
        untold = self._form.tells_progress and self._follower.live and self._follower.progress != self._told
        return min(self._beat_at, self._progress_at) if untold else self._beat_at

    def _progress(self, *, last: bool = False) -> bytes:
        """How far the job is, when there is something new to say of it and it is time to."""
        if not self._form.tells_progress or not self._follower.live or (self._now() < self._progress_at and not last):
            return b""
        progress = self._follower.progress
        if progress == self._told:
            return b""
        self._told = progress
        self._progress_at = self._now() + PROGRESS_S
        return self._form.progress(progress)

    def _cursor(self) -> int | None:
        return self._follower.looked_at if self._filtered else self._follower.cursor

    async def _write(self, response: web.StreamResponse, data: bytes) -> None:
        deadline = self._now() + STALLED_S
        async with asyncio.timeout_at(deadline if self._leave_by is None else min(deadline, self._leave_by)) as self._writing:
            await response.write(data)
        self._writing = None

    def _hurry(self) -> None:
        """The server goes away: a caller that does not read must not hold it up."""
        self._leave_by = self._now() + LEAVING_S
        if self._writing is not None:
            self._writing.reschedule(min(self._leave_by, self._writing.when() or self._leave_by))
