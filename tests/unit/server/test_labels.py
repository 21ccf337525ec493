"""Followers of a job: each result once and none missed, live, from the start, resumed, slow, and many at once."""

from __future__ import annotations

import asyncio
import random

import pytest

from convnet_kafka.replies import close_headers, close_value, label_headers, place_of
from convnet_kafka.server import feeds, following
from convnet_kafka.server.following import FollowerClosed, TooManyScans
from convnet_kafka.server.jobs import JobOfAnotherCluster
from convnet_kafka.server.labels import LabelReaders
from support.followed_jobs import JOB, OTHER, add, add_together, job, numbers, take
from support.memory_log import MemoryLog, MemoryReader
from support.waiting import until_async


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
    images = list(range(300)) + source.choices(range(300), k=200)
    source.shuffle(images)
    for number in images:
        add(log, number)
    seen: list[int] = []
    cursor = None
    while len(seen) < 300:
        async with readers.follow(job(offset=1000), cursor) as follower:
            seen += await take(follower, 1)
            seen += numbers(await follower.next(0, limit=source.randrange(1, 40)))
            cursor = follower.cursor
    assert sorted(seen) == list(range(300))


async def test_a_fresh_process_gives_the_same_answer_to_a_cursor(log: MemoryLog, readers: LabelReaders) -> None:
    for number in [1, 2, 1, 3, 2, 4]:
        add(log, number)
    async with readers.follow(job(offset=1000), after=place_of(1002) - 1) as follower:
        assert await take(follower, 2) == [3, 4]


async def test_many_followers_share_scans_and_all_see_everything(log: MemoryLog, readers: LabelReaders) -> None:
    for number in range(500):
        add(log, number)

    async def read(after: int | None, expected: list[int]) -> None:
        async with readers.follow(job(offset=1000), after) as follower:
            assert await take(follower, len(expected)) == expected

    middle = place_of(1250) - 1
    await asyncio.gather(*(read(None, list(range(500))) for _ in range(20)), *(read(middle, list(range(250, 500))) for _ in range(20)))
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
    log.append(label_headers(job=JOB, images="not hex", revision=0, tenant="default", failed=False), b"{}")
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


async def test_a_higher_revision_is_a_later_event_and_the_one_that_counts(log: MemoryLog, readers: LabelReaders) -> None:
    add(log, 1, failed=True)
    add(log, 1, revision=1)
    add(log, 1, revision=1)
    async with readers.follow(job(offset=1000)) as follower:
        assert await take(follower, 2) == [1, 1]
        async with asyncio.timeout(5):
            while not follower.drained:
                assert not await follower.next(0.1)
        assert (follower.progress.images, follower.progress.failed) == (1, 0)


async def test_what_is_no_json_object_is_skipped_counted_and_takes_no_images_place(log: MemoryLog) -> None:
    counted: list[int] = []
    headers = label_headers(job=JOB, images=f"{1:032x}", revision=0, tenant="default", failed=False)
    for value in (b"", b"rubbish", b"[1]", b"{}", b"{broken", b'"}"', b'{"image"\n'):
        log.append(headers, value)
    log.append([("what", b"ever")], b"not ours")
    log.append(headers, b'{\n  "image": "x"\r\n}')
    readers = LabelReaders(lambda _: MemoryReader(log), seen_bytes=1 << 20, max_scans=1, count_skipped=lambda: counted.append(1))
    try:
        readers.start(0)
        async with readers.follow(job(offset=1000)) as follower:
            (event,) = await follower.next(5)
            assert event.value == b'{"image":"x"}'
            assert event.ndjson() == b'{"cursor":"1008999","image":"x"}\n'
            assert event.sse() == b'id: 1008999\nevent: label\ndata: {"cursor":"1008999","image":"x"}\n\n'
            assert follower.progress.images == 1
    finally:
        await readers.close()
    assert len(counted) == 8


async def test_what_waits_for_a_follower_is_bounded_in_bytes_too(
    log: MemoryLog, readers: LabelReaders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BUFFER_BYTES", 2000)
    for number in range(1000):
        add(log, number)
    async with readers.follow(job(offset=1000)) as follower:
        seen: list[int] = []
        async with asyncio.timeout(10):
            while len(seen) < 1000:
                seen += numbers(await follower.next(0.2, 11))
                # A read of this stand-in brings seven, and a slice of what was left over a hundred.
                assert follower.waiting_bytes < 2000 + 100 * 80
    assert seen == list(range(1000))


async def test_a_topic_made_anew_ends_its_jobs_and_is_read_afresh(log: MemoryLog, readers: LabelReaders) -> None:
    for number in range(10):
        add(log, number)
    await until_async(lambda: readers.home_ready)
    async with readers.follow(job(offset=1000)) as follower:
        assert await take(follower, 10) == list(range(10))
        with log.changed:
            log.first_offset = 0
            log.messages.clear()
        readers.restart(home_partition=0)
        assert readers.end(0) is None
        with pytest.raises(JobOfAnotherCluster):
            await follower.next(1)
    add(log, 99, OTHER)
    async with readers.follow(job(OTHER, offset=0)) as follower:
        assert await take(follower, 1) == [99]
        add(log, 100, OTHER)
        assert await take(follower, 1) == [100]


class Brittle(MemoryReader):
    """Fails at its first read from a told offset."""

    failures = 0

    def start(self, offset: int) -> None:
        if not Brittle.failures:
            Brittle.failures += 1
            raise RuntimeError("no")
        super().start(offset)


async def test_followers_of_a_reader_that_breaks_go_on_with_another(log: MemoryLog) -> None:
    for number in range(100):
        add(log, number)
    Brittle.failures = 0
    readers = LabelReaders(lambda _: Brittle(log), seen_bytes=1 << 20, max_scans=1)
    try:
        async with readers.follow(job(offset=1000)) as follower:
            assert await take(follower, 100) == list(range(100))
    finally:
        await readers.close()
    assert Brittle.failures == 1


@pytest.mark.parametrize(("seed", "most"), [(0, 1), (1, 8), (2, 64)])
async def test_readers_of_all_kinds_at_once_each_see_everything_once(
    seed: int, most: int, log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "NEAR_RECORDS", 100)
    monkeypatch.setattr(feeds, "MIN_SLICE", 5)
    source = random.Random(seed)
    readers = LabelReaders(lambda _: MemoryReader(log, chunk=50), seen_bytes=20_000, max_scans=4)
    readers.start(home_partition=0)
    identities = [JOB, OTHER, "33" * 16]
    images = {identity: source.sample(range(100_000), 800) for identity in identities}
    records = [(identity, image) for identity in identities for image in images[identity]]
    records += source.choices(records, k=800)
    source.shuffle(records)
    firsts = {identity: list(dict.fromkeys(image for each, image in records if each == identity)) for identity in identities}

    async def write() -> None:
        """Results come alone or with the ones before of their job, as they lay in a batch."""
        together: dict[str, list[int]] = {}
        for number, (identity, image) in enumerate(records):
            together.setdefault(identity, []).append(image)
            if len(together[identity]) == most or source.random() < 0.1:
                add_together(log, together.pop(identity), identity)
            if number % 40 == 0:
                await asyncio.sleep(0)
        for identity, rest in together.items():
            add_together(log, rest, identity)

    async def read(identity: str, choice: random.Random, *, odd: bool) -> None:
        kept = (lambda event: int(event.value[41:42], 16) % 2 == 1) if odd else None
        expected = [image for image in firsts[identity] if not odd or image % 2]
        seen: list[int] = []
        cursor: int | None = None
        while len(seen) < len(expected):
            size, quota = choice.choice((3, 40, 1000)), choice.choice((None, 7, 60))
            async with readers.follow(job(identity, offset=1000), cursor, size, quota=quota, wanted=kept) as follower:
                left = 10_000 if quota is None else quota
                for _ in range(choice.randrange(1, 6)):
                    if left:
                        events = await follower.next(0.05, choice.randrange(1, min(left, 90) + 1))
                        left -= len(events)
                        seen += numbers(events)
                cursor = follower.looked_at if odd else follower.cursor
            if choice.random() < 0.1:
                await asyncio.sleep(0)
        assert seen == expected

    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as all_at_once:
            all_at_once.create_task(write())
            for number in range(24):
                work = read(identities[number % 3], random.Random(seed * 100 + number), odd=number % 4 == 3)
                all_at_once.create_task(work)
    finally:
        await readers.close()


async def test_a_record_whose_lines_and_ids_do_not_match_counts_for_nothing(log: MemoryLog) -> None:
    counted: list[int] = []
    ids = f"{1:032x}{2:032x}"
    for images, value in (
        (ids, b'{"image":"x"}'),
        (ids, b'{"a":1}\n{"a":1}\n{"a":1}'),
        (ids, b'{"a":1}\n[2]'),
        (ids[:-2], b'{"a":1}\n{"a":1}'),
        (ids[:-1] + "g", b'{"a":1}\n{"a":1}'),
        (f"{1:032x}" * 1001, b"\n".join([b'{"a":1}'] * 1001)),
    ):
        log.append(label_headers(job=JOB, images=images, revision=0, tenant="default", failed=False), value)
    log.append(label_headers(job=JOB, images=ids, revision=0, tenant="default", failed=False), b'{ "a": 1 }\r\n{"b":2}')
    readers = LabelReaders(lambda _: MemoryReader(log), seen_bytes=1 << 20, max_scans=1, count_skipped=lambda: counted.append(1))
    try:
        readers.start(0)
        async with readers.follow(job(offset=1000)) as follower:
            assert [event.value for event in await follower.next(5)] == [b'{"a":1}', b'{"b":2}']
            assert follower.progress.images == 2
    finally:
        await readers.close()
    assert len(counted) == 6
