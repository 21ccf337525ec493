"""All readers of the labels topic in this process: everyone who follows a job gets each of its results once, live or from the start.

Owns the feeds, the scans and their threads. What was seen of a job is kept while memory allows, so that paging and resuming read on. A
follower that does not keep up is dropped back to catching up, never allowed to grow memory.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import structlog

from convnet_kafka.server.feeds import LiveFeed, RecordReader, Scan
from convnet_kafka.server.following import Follower, FollowerClosed, TooManyScans, needed
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.seen import SeenJobs

logger = structlog.get_logger(__name__)

# Events a follower may have waiting; at some 250 bytes each this bounds a follower to 2.5 MB.
BUFFER_EVENTS = 10_000
# A feed nobody follows any more goes on for a while: the next page, or a reconnect, finds it live.
FEED_LINGER_S = 30.0


class LabelReaders:
    """All readers of the labels topic in this process.

    Args:
        open_reader: makes a reader of a partition of the labels topic.
        seen_bytes: memory for jobs that nobody reads at the moment.
        max_scans: partitions that may be caught up on at once.
    """

    def __init__(self, open_reader: Callable[[int], RecordReader], *, seen_bytes: int, max_scans: int) -> None:
        self._open_reader = open_reader
        self._seen = SeenJobs(seen_bytes)
        self._max_scans = max_scans
        self._pool = ThreadPoolExecutor(max_workers=256, thread_name_prefix="labels")
        self._feeds: dict[int, LiveFeed] = {}
        self._scans: dict[int, Scan] = {}
        self._readers: dict[int, RecordReader] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._followers: set[Follower] = set()
        self._home: int | None = None
        self._closing = False

    def start(self, home_partition: int) -> None:
        """Start reading the home partition, whose feed never ends. Does not wait for Kafka."""
        self._home = home_partition
        self._feed(home_partition)

    def end(self, partition: int) -> int | None:
        """A safe start for a job opened now: where the live feed of a partition is, if there is one."""
        feed = self._feeds.get(partition)
        return feed.position if feed else None

    @property
    def home_ready(self) -> bool:
        """True once the home partition is read."""
        return self._home is not None and self.end(self._home) is not None

    @asynccontextmanager
    async def follow(self, job: Job, after: int | None = None, buffer_events: int = BUFFER_EVENTS) -> AsyncIterator[Follower]:
        """Follow a job.

        Args:
            job: the job.
            after: the cursor: only results after this offset; None for all.
            buffer_events: events it may have waiting; a page needs no more than its limit, and 0 follows the progress alone.

        Raises:
            TooManyScans: it would have to catch up and there is no room.
            FollowerClosed: the server goes away.
        """
        if self._closing:
            raise FollowerClosed("the server is going away: connect again")
        follower = Follower(self.enroll, job, self._seen.get(job.id, job.offset), after=after, buffer_events=buffer_events)
        self._followers.add(follower)
        try:
            self.enroll(follower)
            yield follower
        finally:
            self._followers.discard(follower)
            self._leave(follower)

    def enroll(self, follower: Follower) -> None:
        """Get a follower to the live end: at once where it is there already, else by a scan."""
        partition = follower.job.partition
        feed = self._feed(partition)
        if feed.position is not None and needed(follower) >= feed.position:
            # Nothing lies between: what the feed dispatches next is what this follower needs next.
            follower.seen.covered = max(follower.seen.covered, feed.position)
            feed.attach(follower)
            return
        scan = self._scans.get(partition)
        if scan is None:
            if len(self._scans) >= self._max_scans:
                raise TooManyScans(f"{self._max_scans} partitions are being caught up on in this process: try again in a moment")
            scan = self._scans[partition] = Scan(self._open_reader(partition), feed)
            scan.add(follower)
            self._spawn(scan, scan.run(self._pool), partition)
        else:
            scan.add(follower)

    def disconnect(self) -> None:
        """Tell all followers to connect elsewhere; what they have waiting is still theirs."""
        self._closing = True
        for follower in self._followers:
            follower.close()

    async def close(self) -> None:
        """Stop reading."""
        self.disconnect()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        # Reads under way end within READ_WAIT_S; only then may their consumers be closed.
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _feed(self, partition: int) -> LiveFeed:
        feed = self._feeds.get(partition)
        if feed is None:
            reader = self._readers[partition] = self._open_reader(partition)
            feed = self._feeds[partition] = LiveFeed(reader, partition)
            self._spawn(feed, feed.run(self._pool), None)
        return feed

    def _spawn(self, owner: LiveFeed | Scan, work: Coroutine[Any, Any, None], scanned: int | None) -> None:
        task = self._tasks[owner] = asyncio.create_task(work)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.pop(owner, None)
            if scanned is not None:
                self._scans.pop(scanned, None)
            if not task.cancelled() and task.exception() is not None:
                logger.error("a labels reader ended", error=repr(task.exception()))
                self._lost(owner)

        task.add_done_callback(ended)

    def _lost(self, owner: LiveFeed | Scan) -> None:
        """A reader broke: its followers enroll again at their next call."""
        for followers in list(owner.followers.values()):
            for follower in list(followers):
                follower.live = follower.catching_up = False
                follower.notify()
        if isinstance(owner, LiveFeed):
            self._feeds.pop(owner.partition, None)

    def _leave(self, follower: Follower) -> None:
        partition = follower.job.partition
        if partition in self._feeds:
            self._feeds[partition].detach(follower)
        if partition in self._scans:
            self._scans[partition].remove(follower)
        self._seen.shrink({other.seen for other in self._followers})
        self._end_unused()

    def _end_unused(self) -> None:
        """Stop feeds that nobody has followed for a while."""
        for partition, feed in list(self._feeds.items()):
            unused = not feed.followers and partition not in self._scans and partition != self._home
            if unused and time.monotonic() - feed.unused_since > FEED_LINGER_S:
                del self._feeds[partition]
                if feed in self._tasks:
                    self._tasks[feed].cancel()
                self._pool.submit(self._readers.pop(partition).close)
