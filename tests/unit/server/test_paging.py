"""Pages of a job's results: each result on one of them, each record read once, filters, and ends in the middle of a record."""

from __future__ import annotations

import asyncio

import pytest

from convnet_kafka.replies import place_of
from convnet_kafka.server import feeds
from convnet_kafka.server.events import wanted
from convnet_kafka.server.labels import LabelReaders
from support.followed_jobs import JOB, OTHER, add, add_together, job, numbers, take
from support.memory_log import MemoryLog, MemoryReader
from support.waiting import until_async


async def page(readers: LabelReaders, after: int | None, limit: int, identity: str = JOB) -> tuple[list[int], int | None]:
    """A page, and the cursor after it."""
    found: list[int] = []
    async with asyncio.timeout(20), readers.follow(job(identity, offset=1000), after, quota=limit) as follower:
        while len(found) < limit:
            found += numbers(await follower.next(1, limit - len(found)))
        return found, follower.cursor


async def test_paging_reads_each_record_once(log: MemoryLog, readers: LabelReaders) -> None:
    for number in range(1000):
        add(log, number)
    await until_async(lambda: readers.end(0) == log.end)
    before = log.reads
    seen: list[int] = []
    cursor: int | None = None
    while len(seen) < 990:
        found, cursor = await page(readers, cursor, 33)
        assert len(found) == 33
        seen += found
    assert seen == list(range(990))
    assert log.reads - before <= 1000


async def test_two_who_page_far_apart_do_not_read_what_lies_between(
    log: MemoryLog, readers: LabelReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "NEAR_RECORDS", 50)
    for number in range(5000):
        add(log, number)
    await until_async(lambda: readers.end(0) == log.end)
    # One read of all, so that cursors far in need no look back.
    assert len((await page(readers, None, 4900))[0]) == 4900
    before = log.reads
    first: int | None = None
    second: int | None = place_of(5501) - 1
    for turn in range(10):
        (found, first), (others, second) = await asyncio.gather(page(readers, first, 20), page(readers, second, 20))
        assert found == list(range(turn * 20, turn * 20 + 20))
        assert others == list(range(4501 + turn * 20, 4521 + turn * 20))
    # A page costs what it shows and at most some reads too many, never the 4500 in between.
    assert log.reads - before < 10 * 200


async def test_a_scan_that_only_keeps_its_place_gives_way(log: MemoryLog, readers: LabelReaders) -> None:
    for number in range(500):
        add(log, number)
    await until_async(lambda: readers.home_ready)
    assert (await page(readers, None, 10))[0] == list(range(10))
    async with readers.follow(job(OTHER, offset=1000, partition=1)) as follower:
        async with asyncio.timeout(5):
            while not follower.drained:
                await follower.next(0.1)


async def test_a_filter_shows_less_counts_all_and_moves_the_cursor(log: MemoryLog, readers: LabelReaders) -> None:
    for number in range(100):
        add(log, number, failed=number % 10 == 7)
    for kept, expected in (
        (wanted(failed=True, below=None), [number for number in range(100) if number % 10 == 7]),
        (wanted(failed=None, below=0.2), [number for number in range(20) if number % 10 != 7]),
        (wanted(failed=False, below=None), [number for number in range(100) if number % 10 != 7]),
        (wanted(failed=True, below=0.2), []),
    ):
        async with readers.follow(job(offset=1000), wanted=kept) as follower:
            assert await take(follower, len(expected)) == expected
            async with asyncio.timeout(5):
                while not follower.drained or follower.progress.images < 100:
                    assert not await follower.next(0.1)
            assert (follower.progress.images, follower.progress.failed) == (100, 10)
            assert follower.looked_at == place_of(1100) - 1
        # Small pages with a filter stop where there is no more room, and go on there.
        found, cursor = [], None
        async with asyncio.timeout(20):
            while len(found) < len(expected):
                async with readers.follow(job(offset=1000), cursor, quota=3, wanted=kept) as follower:
                    found += numbers(await follower.next(0.2, 3))
                    cursor = follower.looked_at
        assert found == expected


async def test_a_page_may_end_in_the_middle_of_a_record_and_the_next_goes_on_there(log: MemoryLog, readers: LabelReaders) -> None:
    for start in range(0, 300, 30):
        add_together(log, [*range(start, start + 30), start])
    await until_async(lambda: readers.end(0) == log.end)
    seen: list[int] = []
    cursor: int | None = None
    while len(seen) < 294:
        found, cursor = await page(readers, cursor, 7)
        seen += found
        assert cursor is not None
    assert seen == list(range(294))
    # Another process knows nothing of the job but the cursor.
    other = LabelReaders(lambda _: MemoryReader(log), seen_bytes=1 << 20, max_scans=1)
    try:
        other.start(home_partition=0)
        assert (await page(other, cursor, 6))[0] == list(range(294, 300))
    finally:
        await other.close()


async def test_results_of_one_record_are_told_apart_by_their_number_in_it(log: MemoryLog, readers: LabelReaders) -> None:
    add(log, 1)
    add_together(log, [5, 1, 6, 5, 7])
    async with readers.follow(job(offset=1000)) as follower:
        events = await follower.next(5) + await follower.next(0.2)
        assert numbers(events) == [1, 5, 6, 7]
        assert [event.place for event in events] == [1000999, 1001995, 1001997, 1001999]
    for after, left in ((1001995, [6, 7]), (1001996, [6, 7]), (1001997, [7]), (1001998, [7]), (1000999, [5, 6, 7])):
        async with readers.follow(job(offset=1000), after) as follower:
            assert await take(follower, len(left)) == left
            assert not await follower.next(0.05)
