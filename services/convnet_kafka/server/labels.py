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
from contextvars import Context
from typing import Any

import structlog

from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.server.events import Wanted
from convnet_kafka.server.feeds import LiveFeed, RecordReader, Scan
from convnet_kafka.server.following import BUFFER_EVENTS, Follower, FollowerClosed, OnTraced, Skipped, TooManyScans, needed
from convnet_kafka.server.jobs import Job, JobOfAnotherCluster
from convnet_kafka.server.seen import SeenJobs

logger = structlog.get_logger(__name__)

# A feed nobody follows any more goes on for a while: the next page, or a reconnect, finds it live.
FEED_LINGER_S = 30.0
# Seconds between looks at what nobody uses any more; each costs some microseconds for every job that is remembered.
TIDY_S = 1.0


class LabelReaders:
    """All readers of the labels topic in this process.

    Args:
        open_reader: makes a reader of a partition of the labels topic.
        seen_bytes: memory for jobs that nobody reads at the moment.
        max_scans: stretches of partitions that may be caught up on at once.
        count_skipped: called for every record that no reader may be shown.
        count_repeats: called with the number of results that came before, of every record that has any.
        on_traced: called for every traced record that somebody follows; None when nobody asks for traces.
    """

    def __init__(
        self,
        open_reader: Callable[[int], RecordReader],
        *,
        seen_bytes: int,
        max_scans: int,
        count_skipped: Callable[[], None] = lambda: None,
        count_repeats: Callable[[int], None] = lambda _count: None,
        on_traced: OnTraced | None = None,
    ) -> None:
        self._open_reader = open_reader
        self._seen = SeenJobs(seen_bytes, count_repeats)
        self._max_scans = max_scans
        self._skipped = Skipped(count_skipped)
        self._on_traced = on_traced
        self._pool = ThreadPoolExecutor(max_workers=256, thread_name_prefix="labels")
        self._feeds: dict[int, LiveFeed] = {}
        self._scans: dict[Scan, int] = {}
        self._readers: dict[int, RecordReader] = {}
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._tidying: asyncio.Task[None] | None = None
        self._followers: set[Follower] = set()
        self._home: int | None = None
        self._closing = False

    def start(self, home_partition: int) -> None:
        """Start reading the home partition, whose feed never ends. Does not wait for Kafka."""
        self._home = home_partition
        self._feed(home_partition)
        self._tidying = self._tidying or asyncio.create_task(self._keep_tidy(), name="labels-tidy")

    def restart(self, home_partition: int) -> None:
        """The topic was made anew: end all followers, whose jobs are gone with it, forget everything, and read the new one."""
        for follower in list(self._followers):
            follower.close(JobOfAnotherCluster("the labels topic was made anew: open a new job and send the images again"))
        for task in list(self._tasks.values()):
            task.cancel()
        for reader in self._readers.values():
            self._pool.submit(reader.close)
        self._feeds, self._scans, self._readers = {}, {}, {}
        self._seen.clear()
        self.start(home_partition)

    def end(self, partition: int) -> int | None:
        """A safe start for a job opened now: where the live feed of a partition is, if there is one."""
        feed = self._feeds.get(partition)
        return feed.position if feed else None

    @property
    def home_ready(self) -> bool:
        """True once the home partition is read."""
        return self._home is not None and self.end(self._home) is not None

    @asynccontextmanager
    async def follow(
        self,
        job: Job,
        after: int | None = None,
        buffer_events: int = BUFFER_EVENTS,
        *,
        quota: int | None = None,
        wanted: Wanted | None = None,
    ) -> AsyncIterator[Follower]:
        """Follow a job.

        Args:
            job: the job.
            after: the cursor: only results after this offset; None for all.
            buffer_events: events it may have waiting; 0 follows the progress alone.
            quota: events it takes altogether, so that none are read for it beyond; None for all there are.
            wanted: lets through the results that are to be shown; all count for the progress.

        Raises:
            TooManyScans: it would have to catch up and there is no room.
            FollowerClosed: the server goes away.
        """
        if self._closing:
            raise _going_away()
        seen = self._seen.get(job.id, job.offset)
        follower = Follower(self.enroll, job, seen, after=after, buffer_events=buffer_events, quota=quota, wanted=wanted)
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
        self._scan_for(follower, feed).add(follower)

    def disconnect(self) -> None:
        """Tell all followers to connect elsewhere; what they have waiting is still theirs."""
        self._closing = True
        for follower in list(self._followers):
            follower.close(_going_away())

    async def close(self) -> None:
        """Stop reading."""
        self.disconnect()
        tasks = [*self._tasks.values(), *([self._tidying] if self._tidying else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Reads under way end within READ_WAIT_S; only then may their consumers be closed.
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _scan_for(self, follower: Follower, feed: LiveFeed) -> Scan:
        """The scan that takes a follower along: one that is near, else a new one, else one of its partition that will come to it."""
        partition = follower.job.partition
        here = [scan for scan, where in self._scans.items() if where == partition and not scan.ended]
        for scan in here:
            if scan.suits(follower):
                return scan
        # Several scans of one partition spare far-apart readers each other's stretches, but must leave room for other partitions.
        if here and len(self._scans) >= self._max_scans // 2:
            return min(here, key=lambda scan: len(scan.everyone()))
        if len(self._scans) >= self._max_scans:
            self._end_idle_scan()
        if len(self._scans) >= self._max_scans:
            raise TooManyScans(f"{self._max_scans} readers are catching up in this process: try again in a moment")
        scan = Scan(self._open_reader(partition), feed, self._skipped, self._on_traced)
        self._scans[scan] = partition
        self._spawn(scan, scan.run(self._pool))
        return scan

    def _end_idle_scan(self) -> None:
        """Make room: a scan that only keeps its place gives it up."""
        for scan in list(self._scans):
            if scan.idle or scan.ended:
                scan.ended = True
                del self._scans[scan]
                if scan in self._tasks:
                    self._tasks[scan].cancel()
                return

    def _feed(self, partition: int) -> LiveFeed:
        feed = self._feeds.get(partition)
        if feed is None:
            reader = self._readers[partition] = self._open_reader(partition)
            feed = self._feeds[partition] = LiveFeed(reader, partition, self._skipped, self._on_traced)
            self._spawn(feed, feed.run(self._pool))
        return feed

    def _spawn(self, owner: LiveFeed | Scan, work: Coroutine[Any, Any, None]) -> None:
        # In a context of its own: it outlives the request that had it begun, whose trace its log lines must not name.
        task = self._tasks[owner] = asyncio.create_task(work, context=Context())

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.pop(owner, None)
            if isinstance(owner, Scan):
                self._scans.pop(owner, None)
            if not task.cancelled() and task.exception() is not None:
                logger.error("a labels reader ended", error=repr(task.exception()))
                self._lost(owner)

        task.add_done_callback(ended)

    def _lost(self, owner: LiveFeed | Scan) -> None:
        """A reader broke: its followers enroll again at their next call."""
        followers = owner.everyone() if isinstance(owner, Scan) else [one for group in owner.followers.values() for one in group]
        for follower in followers:
            follower.live = follower.catching_up = False
            follower.notify()
        if isinstance(owner, LiveFeed) and self._feeds.get(owner.partition) is owner:
            del self._feeds[owner.partition]
            self._pool.submit(self._readers.pop(owner.partition).close)

    def _leave(self, follower: Follower) -> None:
        partition = follower.job.partition
        if partition in self._feeds:
            self._feeds[partition].detach(follower)
        for scan, where in self._scans.items():
            if where == partition:
                scan.remove(follower)

    async def _keep_tidy(self) -> None:
        """Until cancelled: forget jobs past the bound, and stop feeds that nobody has followed for a while."""
        while True:
            await asyncio.sleep(TIDY_S)
            self._seen.shrink({follower.seen for follower in self._followers})
            self._end_unused()

    def _end_unused(self) -> None:
        used = {self._home, *self._scans.values()}
        for partition, feed in list(self._feeds.items()):
            if not feed.followers and partition not in used and time.monotonic() - feed.unused_since > FEED_LINGER_S:
                del self._feeds[partition]
                if feed in self._tasks:
                    self._tasks[feed].cancel()
                self._pool.submit(self._readers.pop(partition).close)


def _going_away() -> ConvnetKafkaError:
    return FollowerClosed("the server is going away: connect again with the cursor")
