"""Followers of a job: each result once and none missed, live, from the start, resumed, slow, and many at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from convnet_kafka.messages import close_headers, close_value, label_headers
from convnet_kafka.server.following import Follower, FollowerClosed, TooManyScans
from convnet_kafka.server.jobs import Job
from convnet_kafka.server.labels import LabelReaders
from support.memory_log import MemoryLog, MemoryReader
from support.waiting import until_async

JOB, OTHER = "11" * 16, "22" * 16


def job(identity: str = JOB, offset: int = 0, partition: int = 0) -> Job:
    return Job(identity, "default", 0, partition, offset, b"")


def add(log: MemoryLog, number: int, identity: str = JOB, tenant: str = "default") -> int:
    headers = label_headers(job=identity, image=f"{number:032x}", revision=0, tenant=tenant, failed=False)
    return log.append(headers, b'{"image":"%032x"}' % number)


async def take(follower: Follower, count: int, timeout_s: float = 5.0) -> list[int]:
    """The next `count` images, in order."""
    found: list[int] = []
    async with asyncio.timeout(timeout_s):
        while len(found) < count:
            found += [int(event.value[10:42], 16) for event in await follower.next(0.2)]
    return found


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(first_offset=1000)


@pytest.fixture
async def readers(log: MemoryLog) -> AsyncIterator[LabelReaders]:
    readers = LabelReaders(lambda _: MemoryReader(log, chunk=7), seen_bytes=1 << 20, max_scans=1)
    readers.start(home_partition=0)
    yield readers
    await readers.close()


async def test_a_follower_from_the_start_sees_all_once_and_then_goes_live(log: MemoryLog, readers: LabelReaders) -> None:
    for number in [*range(100), *range(50)]:
        add(log, number)
        add(log, number, OTHER)
    async with readers.follow(job(offset=1000)) as follower:
        assert await take(follower, 100) == list(range(100))
        for number in range(90, 120):
            add(log, number)
        assert await take(follower, 20) == list(range(100, 120))
        assert follower.drained
        assert follower.progress.images == 120


async def test_a_job_opened_at_the_live_end_needs_no_scan(log: MemoryLog, readers: LabelReaders) -> None:
    add(log, 1, OTHER)
    await until_async(lambda: readers.home_ready)
    end = readers.end(0)
    assert end is not None
    async with readers.follow(job(offset=end)) as follower:
        assert follower.live
        add(log, 7)
        assert await take(follower, 1) == [7]


async def test_a_resumed_follower_misses_nothing_and_repeats_nothing(log: MemoryLog, readers: LabelReaders) -> None:
    source = random.Random(3)
    numbers = list(range(300)) + source.choices(range(300), k=200)
    source.shuffle(numbers)
    for number in numbers:
        add(log, number)
    seen: list[int] = []
    cursor = None
    while len(seen) < 300:
        async with readers.follow(job(offset=1000), cursor) as follower:
            seen += await take(follower, 1)
            seen += [int(event.value[10:42], 16) for event in await follower.next(0, limit=source.randrange(1, 40))]
            cursor = follower.cursor
    assert sorted(seen) == list(range(300))


async def test_a_fresh_process_gives_the_same_answer_to_a_cursor(log: MemoryLog, readers: LabelReaders) -> None:
    for number in [1, 2, 1, 3, 2, 4]:
        add(log, number)
    async with readers.follow(job(offset=1000), after=1001) as follower:
        assert await take(follower, 2) == [3, 4]


async def test_many_followers_share_scans_and_all_see_everything(log: MemoryLog, readers: LabelReaders) -> None:
    for number in range(500):
        add(log, number)

    async def read(after: int | None, expected: list[int]) -> None:
        async with readers.follow(job(offset=1000), after) as follower:
            assert await take(follower, len(expected)) == expected

    await asyncio.gather(*(read(None, list(range(500))) for _ in range(20)), *(read(1249, list(range(250, 500))) for _ in range(20)))
    assert log.reads < 500 * 8


async def test_a_slow_follower_is_bounded_and_still_sees_everything_once(log: MemoryLog, readers: LabelReaders) -> None:
    async with readers.follow(job(offset=1000), buffer_events=10) as slow, readers.follow(job(offset=1000)) as quick:
        for number in range(1000):
            add(log, number)
        assert await take(quick, 1000) == list(range(1000))
        assert slow.waiting < 20
        assert await take(slow, 1000) == list(range(1000))


async def test_a_close_tells_the_total_and_wakes_followers(log: MemoryLog, readers: LabelReaders) -> None:
    add(log, 1)
    async with readers.follow(job(offset=1000)) as follower:
        assert await take(follower, 1) == [1]
        assert not follower.progress.complete()
        log.append(close_headers(job=JOB, tenant="default"), close_value(1))
        async with asyncio.timeout(5):
            while not follower.progress.complete():
                await follower.next(1)


async def test_progress_alone_is_followed_without_events(log: MemoryLog, readers: LabelReaders) -> None:
    for number in range(50):
        add(log, number)
    async with readers.follow(job(offset=1000), buffer_events=0) as follower:
        async with asyncio.timeout(5):
            while follower.progress.images < 50:
                assert not await follower.next(0.1)
        assert follower.waiting == 0


async def test_another_tenants_records_are_not_shown(log: MemoryLog, readers: LabelReaders) -> None:
    add(log, 1, tenant="other")
    add(log, 2)
    async with readers.follow(job(offset=1000)) as follower:
        assert await take(follower, 1) == [2]


async def test_foreign_records_are_skipped(log: MemoryLog, readers: LabelReaders) -> None:
    log.append([("what", b"ever")], b"rubbish")
    log.append(label_headers(job=JOB, image="not hex", revision=0, tenant="default", failed=False), b"{}")
    add(log, 2)
    async with readers.follow(job(offset=1000)) as follower:
        assert await take(follower, 1) == [2]


async def test_scans_are_bounded(log: MemoryLog, readers: LabelReaders) -> None:
    add(log, 1)
    async with readers.follow(job(offset=1000, partition=0)):
        with pytest.raises(TooManyScans):
            async with readers.follow(job(OTHER, offset=1000, partition=1)):
                pass


async def test_disconnected_followers_get_what_waits_and_are_told_to_reconnect(log: MemoryLog, readers: LabelReaders) -> None:
    add(log, 1)
    async with readers.follow(job(offset=1000)) as follower:
        await until_async(lambda: follower.waiting)
        readers.disconnect()
        assert await take(follower, 1) == [1]
        with pytest.raises(FollowerClosed):
            await follower.next(1)
    with pytest.raises(FollowerClosed):
        async with readers.follow(job()):
            pass
