"""`GET /v1/jobs/{job}/labels`: a page of JSON, or a stream (NDJSON or SSE) that follows the job to its end.

What a caller asks for is parsed here; who writes to it for long stands in `streams.py`. Every answer gives a cursor to go on with.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import orjson
from aiohttp import web

from convnet_kafka.metrics import ServerMetrics
from convnet_kafka.server import describing
from convnet_kafka.server.api_models import LabelsPage
from convnet_kafka.server.auth import caller
from convnet_kafka.server.backend import Backend
from convnet_kafka.server.events import LabelEvent, Wanted, line, wanted
from convnet_kafka.server.following import Follower
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.parameters import MAX_OFFSET, flag, seconds, share, whole, whole_number
from convnet_kafka.server.sse import EVENT_STREAM, NDJSON, StreamFormat, cursor_text, format_of
from convnet_kafka.server.streams import LabelStream

MAX_PAGE, DEFAULT_PAGE = 10_000, 1000
MAX_WAIT_S = 60.0
# Seconds a page waits at most while its job is read from the start; it then gives a cursor from which reading goes on.
CATCH_UP_S = 30.0
# A browser whose stream ended comes back by itself. For so long it is looked whether anything is left to say before it is told to stop.
SETTLE_S = 2.0
LAST_EVENT_ID = "Last-Event-ID"
_PARAMETERS = (
    describing.whole_number("cursor", "only results after this one; as an earlier answer gave it", 0, MAX_OFFSET),
    describing.whole_number("limit", "results of a page, at most", 1, MAX_PAGE, DEFAULT_PAGE),
    describing.number("wait", "seconds that a page waits for its first new result", MAX_WAIT_S, 0),
    describing.whole_number("expect", "count as complete when so many images have results", 0, MAX_OFFSET),
    describing.flag("failed", "only failures"),
    describing.number("below", "only labels with a confidence below it", 1),
    describing.header(LAST_EVENT_ID, "the cursor, as browsers send it; goes before `?cursor=`", "^[0-9]{0,18}$"),
)
_STREAMS = (
    describing.Stream(NDJSON, "one result a line, an empty line as heartbeat, and at last a line with the member `end`"),
    describing.Stream(EVENT_STREAM, "events `label`, `progress` and `end`; an event's id is its cursor"),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the caller wants.

    Attributes:
        after: only results after this offset, or None for all.
        resumed: True when a browser says what it saw last.
        expect: images that make the job complete for this caller, or None.
        wanted: lets through the results the caller wants; None for all.
    """

    after: int | None
    resumed: bool
    expect: int | None
    wanted: Wanted | None

    @classmethod
    def of(cls, request: web.Request) -> Reading:
        """From the query and the headers.

        Raises:
            Problem: one of them is malformed.
        """
        after = whole(request, "cursor", 0, MAX_OFFSET)
        # A browser repeats the URL it was given, with the cursor of its first connection: the header is newer.
        last = request.headers.get(LAST_EVENT_ID, "")
        if last:
            after = whole_number(f"the header {LAST_EVENT_ID}", last, 0, MAX_OFFSET)
        return cls(
            after,
            bool(last),
            whole(request, "expect", 0, MAX_OFFSET),
            wanted(failed=flag(request, "failed"), below=share(request, "below")),
        )


class LabelsApi:
    """The handler."""

    def __init__(self, backend: Backend, metrics: ServerMetrics) -> None:
        self._backend = backend
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        """The routes served here."""
        return [web.get("/v1/jobs/{job}/labels", self.labels)]

    @describing.described(
        "Read results",
        tag="jobs",
        about="A page; or, by `Accept`, a stream that follows the job to its end. 204 tells a browser whose stream is over to stay away.",
        parameters=_PARAMETERS,
        answers={200: LabelsPage, 204: None},
        streams=_STREAMS,
        problems=("kafka-unavailable", "too-many-scans", "shutting-down"),
    )
    async def labels(self, request: web.Request) -> web.StreamResponse:
        """A page, or with `Accept: application/x-ndjson` or `text/event-stream` a stream."""
        job = self._backend.signer.parse(request.match_info["job"], caller(request).tenant)
        reading = Reading.of(request)
        form = format_of(request.headers.get("Accept", ""))
        with self._metrics.followers.track_inprogress():
            if form is not None:
                return await self._stream(request, job, reading, form)
            return await self._page(request, job, reading)

    async def _page(self, request: web.Request, job: Job, reading: Reading) -> web.Response:
        limit = whole(request, "limit", 1, MAX_PAGE) or DEFAULT_PAGE
        wait_s = seconds(request, "wait", MAX_WAIT_S, 0.0)
        async with self._backend.readers.follow(job, reading.after, quota=limit, wanted=reading.wanted) as follower:
            if not follower.live:
                self._backend.check_available()  # what lies behind is read from Kafka; nobody waits for one that is away
            events = await collect(follower, reading.expect, limit=limit, wait_s=wait_s)
            # Where nothing was found in the time there was, or is not wanted, all this has been looked at all the same.
            moved = reading.wanted is not None or not (events or follower.drained)
            cursor = follower.looked_at if moved else follower.cursor
            complete = follower.drained and follower.progress.complete(reading.expect)
            end = {"cursor": cursor_text(cursor), "total": follower.progress.total, "complete": complete}
        self._metrics.labels.inc(len(events))
        body = b'{"labels":[' + b",".join(map(line, events)) + b"]," + orjson.dumps(end)[1:]
        return web.Response(body=body, content_type="application/json")

    async def _stream(self, request: web.Request, job: Job, reading: Reading, form: StreamFormat) -> web.StreamResponse:
        async with self._backend.readers.follow(job, reading.after, wanted=reading.wanted) as follower:
            if reading.resumed:
                await follower.settled(SETTLE_S)
                if follower.drained and follower.progress.complete(reading.expect):
                    # The one answer after which a browser does not come back (WHATWG HTML, section 9.2.3).
                    return web.Response(status=204)
            stream = LabelStream(follower, form, expect=reading.expect, filtered=reading.wanted is not None, sent=self._metrics.labels)
            return await stream.answer(request)


async def collect(follower: Follower, expect: int | None, *, limit: int, wait_s: float) -> list[LabelEvent]:
    """The next labels: what is there, or the first that come within `wait_s`; none when the job is complete.

    Raises:
        FollowerClosed: the server goes away.
        JobOfAnotherCluster: the labels topic was made anew.
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
