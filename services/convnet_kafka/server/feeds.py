"""Who reads the labels topic: a live feed of each partition that is followed, and scans for those who are behind.

A scan hands its followers over to the feed when it gets there; the hand-over is decided on the event loop, by offset, so nothing is
seen twice and nothing is missed. Reads run in a pool of threads: a feed keeps its thread, a scan asks for one read at a time.
"""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Executor
from contextlib import suppress
from typing import Protocol

import structlog
from confluent_kafka import Message

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.replies import offset_of, place_of
from convnet_kafka.server.following import MAX_EVENTS, Follower, Followers, OnTraced, Skipped, dispatch, needed

logger = structlog.get_logger(__name__)

READ_WAIT_S = 0.5
# A read that brought so much, some 32 results, is followed by one that lets records gather: at full rate every wake-up costs as much as ten
# results.
BUSY_BYTES = 8 * 1024
GATHER_S = 0.01
# Writing to one follower costs the loop some 50 us, however little is written; records gather for twice as long as their followers cost,
# so that many followers of one job take half of the loop at most, and never wait longer than this.
FOLLOWER_COST_S = 0.0001
LONGEST_GATHER_S = 0.1
RETRY_S = 1.0
# A scan that stopped because its readers had no room keeps its place for a while: the next page goes on there, and nothing is read twice.
LINGER_S = 10.0
# Reading on over so many records is cheaper than asking Kafka for another place, which throws away what was fetched.
NEAR_RECORDS = 2_000
# Results looked at at once in a scan, at least; a page of a few labels needs no more.
MIN_SLICE = 100


class RecordReader(Protocol):
    """Reads one partition; `kafka.reader.PartitionReader` is the real one."""

    def start(self, offset: int) -> None:
        """Read from this offset on, without waiting for Kafka."""

    def start_at_end(self) -> int:
        """Read what comes from now on; returns the offset that the next record will have, or raises KafkaUnavailable."""

    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Message]:
        """Records in order, none when nothing came in time or the reader is closed; the first waits `fill_s` for company."""

    def close(self) -> None:
        """Let go, after the read under way."""


class LiveFeed:
    """Reads the end of one partition for all who follow jobs there.

    Its thread reads on by itself and wakes the event loop for what it found: a caller waits for the label, not for the next read to be
    asked for, which costs as much as all the rest of showing it.
    """

    def __init__(self, reader: RecordReader, partition: int, skipped: Skipped, on_traced: OnTraced | None = None) -> None:
        self._reader = reader
        self._on_traced = on_traced
        self._skipped = skipped
        self._stopped = threading.Event()
        # Held while a read waits to be shown; the next one is under way meanwhile, but is not handed over: back-pressure.
        self._handed_over = threading.Lock()
        self._gather_s = 0.0
        self.partition = partition
        self.followers: Followers = {}
        # Every record before this offset has been dispatched; None until the end of the log is known.
        self.position: int | None = None
        self.ready = asyncio.Event()
        self.unused_since = time.monotonic()

    def attach(self, follower: Follower) -> None:
        """From `position` on this follower is shown everything here."""
        self.followers.setdefault(follower.key, []).append(follower)
        follower.live = True
        follower.catching_up = follower.full = False
        follower.notify()

    def detach(self, follower: Follower) -> None:
        """Show it no more."""
        _take_out(self.followers, follower)
        follower.live = False
        self.unused_since = time.monotonic()

    async def run(self, pool: Executor) -> None:
        """Read until cancelled; Kafka's absence is waited out. Its thread ends with the read under way."""
        loop = asyncio.get_running_loop()
        await self._start(loop, pool)
        broken: asyncio.Future[None] = loop.create_future()
        reading = loop.run_in_executor(pool, self._read_on, loop, broken)
        try:
            await asyncio.wait({reading, broken}, return_when=asyncio.FIRST_COMPLETED)
            for ended in (broken, reading):
                if ended.done():
                    ended.result()
        finally:
            self._stopped.set()
            self._let_go()

    async def _start(self, loop: asyncio.AbstractEventLoop, pool: Executor) -> None:
        while self.position is None:
            try:
                self.position = await loop.run_in_executor(pool, self._reader.start_at_end)
            except KafkaUnavailable as error:
                logger.warning("labels cannot be read", partition=self.partition, error=str(error))
                await asyncio.sleep(RETRY_S)
        self.ready.set()

    def _read_on(self, loop: asyncio.AbstractEventLoop, broken: asyncio.Future[None]) -> None:
        """In a thread: hand every read to the loop."""
        busy = False
        while not self._stopped.is_set():
            gather_s = max(GATHER_S if busy else 0.0, self._gather_s)
            messages = self._reader.read(MAX_EVENTS, READ_WAIT_S, gather_s)
            busy = sum(map(len, messages)) >= BUSY_BYTES
            if messages:
                self._handed_over.acquire()
                with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(self._show, messages, broken)

    def _show(self, messages: list[Message], broken: asyncio.Future[None]) -> None:
        """On the loop: show a read to the followers; what goes wrong ends the feed."""
        self._let_go()
        if self._stopped.is_set() or broken.done():
            return
        try:
            shown = self._advance(messages)
        except Exception as error:  # noqa: BLE001 - the boundary of the loop: `run` raises it
            broken.set_exception(error)
        else:
            self._gather_s = min(shown * FOLLOWER_COST_S, LONGEST_GATHER_S)

    def _let_go(self) -> None:
        """The thread may hand over its next read."""
        with suppress(RuntimeError):  # it has handed over none
            self._handed_over.release()

    def _advance(self, messages: list[Message]) -> int:
        end, shown = dispatch(messages, self.followers, self._skipped, self._on_traced)
        self.position = end
        for follower in _advanced(self.followers, end):
            self.detach(follower)
            follower.notify()
        return shown


class Scan:
    """Catches up on a stretch of one partition for all who are behind there, in one pass, and ends when nobody has needed it for a while.

    Attributes:
        ended: True when it takes nobody along any more.
        position: every record of the pass before this offset has been dispatched; None before the first pass.
    """

    def __init__(self, reader: RecordReader, feed: LiveFeed, skipped: Skipped, on_traced: OnTraced | None = None) -> None:
        self._reader = reader
        self._on_traced = on_traced
        self._feed = feed
        self._skipped = skipped
        self._waiting: list[Follower] = []
        self._called = asyncio.Event()
        # Records that were read and that nobody had room for.
        self._left: list[Message] = []
        self._started = False
        self.followers: Followers = {}
        self.position: int | None = None
        self.ended = False

    def suits(self, follower: Follower) -> bool:
        """True when this follower can be taken along without reading much for it alone."""
        return self.position is None or 0 <= needed(follower) - self.position <= NEAR_RECORDS

    def add(self, follower: Follower) -> None:
        """Take a follower along: in this pass when it needs nothing that has passed, else in the next."""
        follower.catching_up = True
        follower.full = False
        if self.followers and self.position is not None and needed(follower) >= self.position:
            self._join(follower)
        else:
            self._waiting.append(follower)
            self._called.set()

    def remove(self, follower: Follower) -> None:
        """Take it no further."""
        follower.catching_up = False
        if follower in self._waiting:
            self._waiting.remove(follower)
        _take_out(self.followers, follower)

    @property
    def idle(self) -> bool:
        """True while it takes nobody along and only keeps its place."""
        return not self._waiting and not self.followers

    def everyone(self) -> list[Follower]:
        """All it takes along, or will."""
        return self._waiting + [follower for group in self.followers.values() for follower in group]

    async def run(self, pool: Executor) -> None:
        """Pass after pass, until nobody has been behind for a while."""
        await self._feed.ready.wait()
        try:
            while self._waiting or await self._lingered():
                await self._begin(pool)
                self._hand_over()
                while self.followers:
                    await self._step(pool)
                    self._hand_over()
        finally:
            self.ended = True
            await asyncio.get_running_loop().run_in_executor(pool, self._reader.close)

    async def _lingered(self) -> bool:
        """Keep the place while that may be of use; True when somebody came."""
        if self.position is None or self._feed.position is None or self.position >= self._feed.position:
            return False
        self._called.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._called.wait()
        return bool(self._waiting)

    async def _begin(self, pool: Executor) -> None:
        """Go to where those who wait must begin."""
        first = min(needed(follower) for follower in self._waiting)
        for follower in self._waiting:
            self._join(follower)
        self._waiting = []
        if not self._started or self.position is None or not 0 <= first - self.position <= NEAR_RECORDS:
            await self._go_to(first, pool)

    async def _go_to(self, offset: int, pool: Executor) -> None:
        self.position = offset
        self._left = []
        self._started = self._feed.position is None or offset < self._feed.position
        if self._started:
            await asyncio.get_running_loop().run_in_executor(pool, self._reader.start, offset)

    async def _step(self, pool: Executor) -> None:
        """Show the followers some records."""
        messages = self._left
        if not messages:
            messages = await asyncio.get_running_loop().run_in_executor(pool, self._reader.read, MAX_EVENTS, READ_WAIT_S)
        room = max((follower.room for group in self.followers.values() for follower in group), default=0)
        several = _holding(messages, max(MIN_SLICE, min(room, MAX_EVENTS)))
        messages, self._left = messages[:several], messages[several:]
        if not messages or not self.followers:
            self._left = messages + self._left
            return
        end, _ = dispatch(messages, self.followers, self._skipped, self._on_traced)
        full = _advanced(self.followers, end)
        for follower in full:
            self.remove(follower)
            follower.notify()
        self.position = end
        if not self.followers and full:
            # Back to the first record that somebody had no room for.
            self.position = min(offset_of(follower.position) for follower in full)
            self._left = [message for message in messages if (message.offset() or 0) >= self.position] + self._left
        elif self.followers:
            await self._skip(pool)

    async def _skip(self, pool: Executor) -> None:
        """Pass over a long stretch that nobody needs."""
        first = min(needed(follower) for group in self.followers.values() for follower in group)
        if self.position is not None and first - self.position > NEAR_RECORDS:
            await self._go_to(first, pool)

    def _join(self, follower: Follower) -> None:
        self.followers.setdefault(follower.key, []).append(follower)

    def _hand_over(self) -> None:
        """Followers that have seen all the feed has dispatched go over to the feed."""
        if self._feed.position is None or self.position is None or self.position < self._feed.position:
            return
        for followers in list(self.followers.values()):
            for follower in list(followers):
                self.remove(follower)
                self._feed.attach(follower)


def _holding(messages: list[Message], results: int) -> int:
    """How many of the records, from the first on, hold at least so many results."""
    for number, message in enumerate(messages, 1):
        results -= (message.value() or b"").count(b"\n") + 1
        if results <= 0:
            return number
    return len(messages)


def _advanced(followers: Followers, end: int) -> list[Follower]:
    """Note that all records before `end` were dispatched; gives the followers that had no room for all of theirs."""
    full, after = [], place_of(end)
    for group in followers.values():
        seen = group[0].seen
        seen.covered = max(seen.covered, end)
        for follower in group:
            if follower.full:
                full.append(follower)
            else:
                follower.position = max(follower.position, after)
    return full


def _take_out(followers: Followers, follower: Follower) -> None:
    group = followers.get(follower.key, [])
    if follower in group:
        group.remove(follower)
    if not group:
        followers.pop(follower.key, None)
