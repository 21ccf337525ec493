"""One reader of one job, and how records find their readers.

Everything here runs on the event loop and waits for nothing but the next result. Who reads Kafka stands in `feeds.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from confluent_kafka import Message

from convnet_kafka.errors import ConvnetKafkaError, WireError
from convnet_kafka.messages import ReplyHeaders, parse_close
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.seen import JobProgress, SeenResults

logger = structlog.get_logger(__name__)

# Events given out at once, and looked at at once: a few milliseconds of the loop.
MAX_EVENTS = 1000
# The position of a follower that wants no results, only how far the job is: beyond every offset.
NO_EVENTS = 1 << 62


class TooManyScans(ConvnetKafkaError):
    """As many readers are catching up in this process as it allows: try again in a moment."""


class FollowerClosed(ConvnetKafkaError):
    """The server goes away: connect again with the cursor."""


# Not frozen: freezing doubles the cost of making one, and one is made for every result.
@dataclass(slots=True)
class LabelEvent:
    """One result.

    Attributes:
        offset: its offset in the labels partition; the cursor after it.
        value: the LabelRecord's JSON object, one line.
    """

    offset: int
    value: bytes


class Follower:
    """One reader of one job. Made by `LabelReaders.follow`, used by one task.

    Attributes:
        cursor: offset of the last event given out, or what the reader started with.
        live: True while it sees results as they come; then `progress` is up to date.
    """

    def __init__(self, enroll: Callable[[Follower], None], job: Job, seen: SeenResults, *, after: int | None, buffer_events: int) -> None:
        self._enroll = enroll
        self._buffer_events = buffer_events
        self._events: deque[LabelEvent] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self.job = job
        self.seen = seen
        self.cursor = after
        self.live = False
        self.catching_up = False
        # The next offset this follower has not been shown.
        self.position = seen.start if after is None else max(after + 1, seen.start)
        if not buffer_events:
            self.position = NO_EVENTS

    async def next(self, timeout_s: float, limit: int = MAX_EVENTS) -> list[LabelEvent]:
        """The next results, as soon as there are any; none when the time is over or the job's state has changed.

        Raises:
            FollowerClosed: the server goes away.
            TooManyScans: the reader fell behind and there is no room to catch up.
        """
        if not self._events:
            if self._closed:
                raise FollowerClosed("the server is going away: connect again with the cursor")
            if not self.live and not self.catching_up:
                self._enroll(self)
            await self._wait(timeout_s)
        events = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
        if events:
            self.cursor = events[-1].offset
        return events

    async def _wait(self, timeout_s: float) -> None:
        self._wake.clear()
        if self._events or self._closed:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        except TimeoutError:
            return

    @property
    def waiting(self) -> int:
        """Events that have not been given out."""
        return len(self._events)

    @property
    def progress(self) -> JobProgress:
        """How far the job is, as far as has been seen."""
        return self.seen.progress

    @property
    def drained(self) -> bool:
        """True when everything up to now has been given out."""
        return self.live and not self._events

    def has_room(self) -> bool:
        """False when this follower must give out events before it is shown more."""
        return len(self._events) < self._buffer_events or self.position == NO_EVENTS

    def push(self, event: LabelEvent) -> None:
        """Show it one result."""
        self._events.append(event)
        self._wake.set()

    def notify(self) -> None:
        """Wake its task without an event: the state has changed."""
        self._wake.set()

    def close(self) -> None:
        """End it at the next call, after what it has waiting."""
        self._closed = True
        self._wake.set()


def dispatch(messages: list[Message], followers: dict[str, list[Follower]]) -> int:
    """Show records to the followers of their jobs, in order.

    Args:
        messages: records of one partition, none of them an error.
        followers: by job; those of a job share one `SeenResults`.

    Returns:
        The offset after the last record.
    """
    end = 0
    for message in messages:
        offset = message.offset() or 0
        end = offset + 1
        try:
            headers = ReplyHeaders.parse(message.headers())
            interested = followers.get(headers.job)
            if not interested:
                continue
            seen = interested[0].seen
            if headers.tenant != interested[0].job.tenant:
                continue
            if headers.image is None:
                seen.close(parse_close(message.value()))
                for follower in interested:
                    follower.notify()
                continue
            first = seen.observe(offset, headers.image, headers.revision, failed=headers.failed)
        except (WireError, ValueError) as error:
            logger.warning("record skipped in labels topic", partition=message.partition(), offset=offset, error=str(error))
            continue
        if first:
            event = LabelEvent(offset, message.value() or b"{}")
            for follower in interested:
                if offset >= follower.position:
                    follower.push(event)
    return end


def needed(follower: Follower) -> int:
    """The first offset that must be read so that this follower misses nothing and its job's results are known without a gap."""
    return min(follower.position, follower.seen.covered)
