"""One reader of one job, and how records find their readers.

Everything here runs on the event loop and waits for nothing but the next result. Who reads Kafka stands in `feeds.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from confluent_kafka import Message

from convnet_kafka.errors import ConvnetKafkaError, WireError
from convnet_kafka.replies import ID_BYTES, ReplyHeaders, offset_of, parse_close, place_of, values_in
from convnet_kafka.server.events import LabelEvent, Wanted
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.seen import JobProgress, SeenResults

logger = structlog.get_logger(__name__)

# Events given out at once, and looked at at once: a few milliseconds of the loop.
MAX_EVENTS = 1000
# Events and bytes of results a follower may have waiting (the bytes may be passed once, by the results of one read). A label has some
# 250 bytes; results of long names and details, which may be ten times larger, take up no more.
BUFFER_EVENTS = 8_000
BUFFER_BYTES = 2 * 1024 * 1024
# The position of a follower that wants no results, only how far the job is: beyond every place.
NO_EVENTS = 1 << 62
# A sender of rubbish must not fill the log; the metric counts every record.
SKIPS_LOGGED_EVERY_S = 10.0

Followers = dict[bytes, list["Follower"]]
# A record that is shown to somebody, and its traceparent.
OnTraced = Callable[[Message, str], None]


class TooManyScans(ConvnetKafkaError):
    """As many readers are catching up in this process as it allows: try again in a moment."""


class FollowerClosed(ConvnetKafkaError):
    """The server goes away: connect again with the cursor."""


class Follower:
    """One reader of one job. Made by `LabelReaders.follow`, used by one task.

    Attributes:
        cursor: place of the last event given out, or what the reader started with.
        live: True while it sees results as they come; then `progress` is up to date.
        position: the next place this follower has not been shown.
        full: True when there were results it had no room for.
        on_close: called when it is closed, if set.
    """

    def __init__(
        self,
        enroll: Callable[[Follower], None],
        job: Job,
        seen: SeenResults,
        *,
        after: int | None,
        buffer_events: int,
        quota: int | None = None,
        wanted: Wanted | None = None,
    ) -> None:
        self._enroll = enroll
        self._buffer_events = buffer_events
        self._quota = NO_EVENTS if quota is None else quota
        self._wanted = wanted
        self._events: deque[LabelEvent] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._closed: ConvnetKafkaError | None = None
        self.job = job
        self.key = job.id.encode()
        self.seen = seen
        self.cursor = after
        self.live = False
        self.catching_up = False
        self.full = False
        self.on_close: Callable[[], None] | None = None
        start = place_of(seen.start)
        self.position = start if after is None else max(after + 1, start)
        if not buffer_events:
            self.position = NO_EVENTS

    async def next(self, timeout_s: float, limit: int = MAX_EVENTS) -> list[LabelEvent]:
        """The next results, as soon as there are any; none when the time is over or the job's state has changed.

        Raises:
            FollowerClosed: the server goes away.
            JobOfAnotherCluster: the labels topic was made anew.
            TooManyScans: the reader fell behind and there is no room to catch up.
        """
        if not self._events:
            if self._closed is not None:
                raise self._closed
            self._join()
            await self._wait(timeout_s)
        return self._take(limit)

    async def settled(self, timeout_s: float) -> None:
        """Wait until it is live or has something to give out, at most so long. Raises as `next`."""
        deadline = time.monotonic() + timeout_s
        while not self.live and not self._events and (left_s := deadline - time.monotonic()) > 0:
            if self._closed is not None:
                raise self._closed
            self._join()
            await self._wait(left_s)

    def _join(self) -> None:
        if not self.live and not self.catching_up:
            self._enroll(self)

    async def _wait(self, timeout_s: float) -> None:
        self._wake.clear()
        if self._events or self._closed is not None:
            return
        # A wake-up too many does no harm, so a timer will do; a time-out that cancels the wait costs three times as much.
        over = asyncio.get_running_loop().call_later(timeout_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            over.cancel()

    def _take(self, limit: int) -> list[LabelEvent]:
        if len(self._events) <= limit:
            events = list(self._events)
            self._events.clear()
            self._bytes = 0
        else:
            events = [self._events.popleft() for _ in range(limit)]
            self._bytes -= _size(events)
        if events:
            self.cursor = events[-1].place
        return events

    @property
    def waiting(self) -> int:
        """Events that have not been given out."""
        return len(self._events)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of these."""
        return self._bytes

    @property
    def looked_at(self) -> int | None:
        """A cursor that goes on after all that was looked at, shown or filtered out, once everything was given out; else as `cursor`."""
        if self._events or self.position in {NO_EVENTS, place_of(self.seen.start)}:
            return self.cursor
        return max(self.position - 1, -1 if self.cursor is None else self.cursor)

    @property
    def progress(self) -> JobProgress:
        """How far the job is, as far as has been seen."""
        return self.seen.progress

    @property
    def drained(self) -> bool:
        """True when everything up to now has been given out."""
        return self.live and not self._events

    @property
    def room(self) -> int:
        """Events it can be shown before it must give some out."""
        if self.position == NO_EVENTS:
            return MAX_EVENTS
        return max(0, min(self._buffer_events - len(self._events), self._quota)) if self._bytes < BUFFER_BYTES else 0

    def show(self, events: list[LabelEvent], end: int, size: int) -> None:
        """Show it the results of its job in a stretch of the partition, as far as there is room; `position` tells how far that was.

        Args:
            events: the results, in order; shared with other followers.
            end: the place after the stretch.
            size: bytes of the results.
        """
        if self.position == NO_EVENTS:
            self._wake.set()
            return
        given = events
        if events and events[0].place < self.position:
            given = [event for event in events if event.place >= self.position]
        if self._wanted is not None:
            given = [event for event in given if self._wanted(event)]
        room = self.room
        self.full = len(given) > room
        if self.full:
            end = given[room].place
            given = given[:room]
        if given:
            self._events.extend(given)
            self._quota -= len(given)
            self._bytes += size if given is events else _size(given)
            self._wake.set()
        self.position = max(self.position, end)

    def notify(self) -> None:
        """Wake its task without an event: the state has changed."""
        self._wake.set()

    def close(self, reason: ConvnetKafkaError) -> None:
        """End it at the next call with this error, after what it has waiting."""
        self._closed = reason
        self._wake.set()
        if self.on_close is not None:
            self.on_close()


class Skipped:
    """Counts records that are passed over, and says so now and then.

    Args:
        count: called for every record.
    """

    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count
        self._told_at = float("-inf")

    def __call__(self, message: Message, error: Exception) -> None:
        """Pass over one record."""
        self._count()
        if time.monotonic() - self._told_at > SKIPS_LOGGED_EVERY_S:
            self._told_at = time.monotonic()
            logger.warning("record skipped in labels topic", partition=message.partition(), offset=message.offset(), error=str(error))


def dispatch(messages: list[Message], followers: Followers, skipped: Skipped, on_traced: OnTraced | None = None) -> tuple[int, int]:
    """Show records to the followers of their jobs, in order. Records of other jobs are not looked into.

    Args:
        messages: records of one partition, none of them an error.
        followers: by job; those of a job share one `SeenResults`.
        skipped: told of records that no reader may be shown.
        on_traced: told of traced ones that are shown; None when nobody asks for traces.

    Returns:
        The offset after the last record, and how many followers were shown something.
    """
    found: dict[bytes, list[LabelEvent]] = {}
    for message in messages:
        headers: Mapping[str, Any] = dict(message.headers() or ())
        interested = followers.get(headers.get("job", b""))
        try:
            # One without a job is no record of ours at all: what it lacks is told by the same words.
            events = _observe(message, headers, interested) if interested or "job" not in headers else None
        except (WireError, ValueError) as error:
            skipped(message, error)
            continue
        if events and interested:
            found.setdefault(interested[0].key, []).extend(events)
            if on_traced is not None and "traceparent" in headers:
                on_traced(message, headers["traceparent"].decode("ascii", "replace"))
    end = (messages[-1].offset() or 0) + 1 if messages else 0
    after, shown = place_of(end), 0
    for job, events in found.items():
        size = _size(events)
        for follower in followers[job]:
            follower.show(events, after, size)
        shown += len(followers[job])
    return end, shown


def _observe(message: Message, headers: Mapping[str, Any], interested: list[Follower] | None) -> list[LabelEvent]:
    """Enter one record of a job into what was seen of it; gives the results that count.

    Raises:
        WireError: the record is not as docs/wire.md says. It is passed over before it counts, so every reader agrees.
    """
    record = ReplyHeaders.parse(headers)
    if not interested or record.tenant != interested[0].job.tenant:
        return []
    seen = interested[0].seen
    if record.ids is None:
        seen.close(parse_close(message.value()))
        for follower in interested:
            follower.notify()
        return []
    values = values_in(message.value(), len(record.ids) // ID_BYTES)
    offset, failed = message.offset() or 0, record.failed
    first = place_of(offset + 1) - len(values)
    counting = seen.observe(offset, record.ids, record.revision, failed=failed)
    return [LabelEvent(first + number, values[number], failed) for number in counting]


def _size(events: list[LabelEvent]) -> int:
    return sum([len(event.value) for event in events])


def needed(follower: Follower) -> int:
    """The first offset that must be read so that this follower misses nothing and its job's results are known without a gap."""
    return min(offset_of(follower.position), follower.seen.covered)
