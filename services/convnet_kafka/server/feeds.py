"""Who reads the labels topic: a live feed of each partition that is followed, and a scan for those who are behind.

A scan hands its followers over to the feed when it gets there; the hand-over is decided on the event loop, by offset, so nothing is
seen twice and nothing is missed. Reads run in a pool of threads; each reader has one read at a time.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import structlog
from confluent_kafka import Message

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.server.following import MAX_EVENTS, Follower, dispatch, needed

logger = structlog.get_logger(__name__)

READ_WAIT_S = 0.5
# A read that brought this many is followed by one that lets records gather: at full rate every wake-up costs as much as ten records.
BUSY_RECORDS = 32
GATHER_S = 0.01
RETRY_S = 1.0


class RecordReader(Protocol):
    """Reads one partition; `kafka.consumer.PartitionReader` is the real one."""

    def start(self, offset: int) -> None:
        """Read from this offset on, without waiting for Kafka."""

    def start_at_end(self) -> int:
        """Read what comes from now on; returns the offset that the next record will have, or raises KafkaUnavailable."""

    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Message]:
        """Records in order, none when nothing came in time or the reader is closed; the first waits `fill_s` for company."""

    def close(self) -> None:
        """Let go, after the read under way."""


class LiveFeed:
    """Reads the end of one partition for all who follow jobs there."""

    def __init__(self, reader: RecordReader, partition: int) -> None:
        self._reader = reader
        self.partition = partition
        self.followers: dict[str, list[Follower]] = {}
        # Every record before this offset has been dispatched; None until the end of the log is known.
        self.position: int | None = None
        self.ready = asyncio.Event()
        self.unused_since = time.monotonic()

    def attach(self, follower: Follower) -> None:
        """From `position` on this follower is shown everything here."""
        self.followers.setdefault(follower.job.id, []).append(follower)
        follower.live = True
        follower.catching_up = False
        follower.notify()

    def detach(self, follower: Follower) -> None:
        """Show it no more."""
        followers = self.followers.get(follower.job.id, [])
        if follower in followers:
            followers.remove(follower)
        if not followers:
            self.followers.pop(follower.job.id, None)
        follower.live = False
        self.unused_since = time.monotonic()

    async def run(self, pool: ThreadPoolExecutor) -> None:
        """Read until cancelled; Kafka's absence is waited out."""
        loop = asyncio.get_running_loop()
        await self._start(loop, pool)
        gather_s = 0.0
        while True:
            messages = await loop.run_in_executor(pool, self._reader.read, MAX_EVENTS, READ_WAIT_S, gather_s)
            if messages:
                self._advance(messages)
            gather_s = GATHER_S if len(messages) >= BUSY_RECORDS else 0.0

    async def _start(self, loop: asyncio.AbstractEventLoop, pool: ThreadPoolExecutor) -> None:
        while self.position is None:
            try:
                self.position = await loop.run_in_executor(pool, self._reader.start_at_end)
            except KafkaUnavailable as error:
                logger.warning("labels cannot be read", partition=self.partition, error=str(error))
                await asyncio.sleep(RETRY_S)
        self.ready.set()

    def _advance(self, messages: list[Message]) -> None:
        end = dispatch(messages, self.followers)
        self.position = end
        for followers in list(self.followers.values()):
            followers[0].seen.covered = max(followers[0].seen.covered, end)
            for follower in list(followers):
                follower.position = max(follower.position, end)
                if not follower.has_room():
                    self.detach(follower)


class Scan:
    """Catches up on one partition for all who are behind, in one pass, and ends when nobody is left in it."""

    def __init__(self, reader: RecordReader, feed: LiveFeed) -> None:
        self._reader = reader
        self._feed = feed
        self._waiting: list[Follower] = []
        self.followers: dict[str, list[Follower]] = {}
        self.position = 0

    def add(self, follower: Follower) -> None:
        """Take a follower along: in this pass when it needs nothing that has passed, else in the next."""
        follower.catching_up = True
        if self.followers and needed(follower) >= self.position:
            self._join(follower)
        else:
            self._waiting.append(follower)

    def remove(self, follower: Follower) -> None:
        """Take it no further."""
        follower.catching_up = False
        if follower in self._waiting:
            self._waiting.remove(follower)
        followers = self.followers.get(follower.job.id, [])
        if follower in followers:
            followers.remove(follower)
        if not followers:
            self.followers.pop(follower.job.id, None)

    async def run(self, pool: ThreadPoolExecutor) -> None:
        """Pass after pass until nobody is behind."""
        await self._feed.ready.wait()
        while self._waiting:
            self.position = min(needed(follower) for follower in self._waiting)
            for follower in self._waiting:
                self._join(follower)
            self._waiting = []
            self._hand_over()
            if self.followers:
                await self._pass(pool)

    async def _pass(self, pool: ThreadPoolExecutor) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(pool, self._reader.start, self.position)
        try:
            while self.followers:
                messages = await loop.run_in_executor(pool, self._reader.read, MAX_EVENTS, READ_WAIT_S)
                if messages:
                    self._advance(dispatch(messages, self.followers))
                self._hand_over()
        finally:
            await loop.run_in_executor(pool, self._reader.close)

    def _join(self, follower: Follower) -> None:
        self.followers.setdefault(follower.job.id, []).append(follower)

    def _advance(self, end: int) -> None:
        self.position = end
        for followers in list(self.followers.values()):
            followers[0].seen.covered = max(followers[0].seen.covered, end)
            for follower in list(followers):
                follower.position = max(follower.position, end)
                if not follower.has_room():
                    self.remove(follower)

    def _hand_over(self) -> None:
        """Followers that have seen all the feed has dispatched go over to the feed."""
        if self._feed.position is None or self.position < self._feed.position:
            return
        for followers in list(self.followers.values()):
            for follower in list(followers):
                self.remove(follower)
                self._feed.attach(follower)
