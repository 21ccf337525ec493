"""Broken and hostile uploads against a server with a real Kafka: no 500, memory stays flat, and good uploads beside them notice nothing."""

from __future__ import annotations

import asyncio
import collections
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from convnet_kafka.local.broker import LocalBroker
from support.fake_classifier import FakeClassifier
from support.hostile_uploads import Attacks, send, with_names
from support.http import TAR, call, open_job, png, stream, tar, upload
from support.running_server import config
from support.server_process import ServerProcess
from support.waiting import until_ready

MIB = 1024 * 1024
# Attacks in all, of 21 kinds in turn, and in progress at once.
UPLOADS, ABREAST = 1008, 24
# Statuses that an upload may have; None is a connection that ended while the body came.
FORESEEN = {200, 202, 400, 404, 405, 408, 411, 413, 415, 417, 429, 431, 503, None}
# What the allocator keeps back after bodies of some MiB, and the server for jobs and readers. A leak of one body in ten would be more.
GROWTH_MIB = 40


@pytest.fixture
def hostile(broker: LocalBroker, tmp_path: Path) -> Iterator[ServerProcess]:
    prefix = f"hostile-{uuid.uuid4().hex[:8]}"
    settings = config(
        tmp_path,
        broker.bootstrap_servers,
        prefix,
        kafka={"max_image_bytes": 100_000},
        max_request_bytes=4 * MIB,
        max_request_images=2000,
        upload_memory_mib=32,
        upload_deadline_s=30.0,
        spool_folder=tmp_path,
    )
    with ServerProcess(settings, level="critical") as server, FakeClassifier(broker.bootstrap_servers, prefix):
        server.wait()
        until_ready(server.url)
        yield server


async def test_a_thousand_hostile_uploads_cost_nobody_anything(hostile: ServerProcess, tmp_path: Path) -> None:
    process = psutil.Process(hostile.pid)
    statuses: collections.Counter[tuple[str, int | None]] = collections.Counter()
    async with aiohttp.ClientSession(hostile.url, timeout=aiohttp.ClientTimeout(total=60)) as session:
        target = await open_job(session)
        paths = [*with_names(f"{target}/images"), "/v1/classify?timeout=0.1"]

        async def attack(seed: int, many: int) -> None:
            waiting = collections.deque(Attacks(paths, seed).make(many))

            async def one_after_another() -> None:
                while waiting:
                    next_one = waiting.popleft()
                    statuses[next_one.kind, await send(hostile.url, next_one)] += 1

            await asyncio.gather(*(one_after_another() for _ in range(ABREAST)))

        # Once round first: what a server keeps for good (buffers, threads, the reader of a partition) is there then.
        await attack(seed=1, many=84)
        before = process.memory_info().rss
        good = asyncio.create_task(_good_uploads(session, attacks := asyncio.Event()))
        await attack(seed=2, many=UPLOADS)
        attacks.set()
        uploaded = await good
        after = process.memory_info().rss

        async with session.get("/metrics") as answer:
            metrics = await answer.text()
        assert 'status="500"' not in metrics
        assert {status for _, status in statuses} <= FORESEEN, statuses
        for gauge in ("uploads", "assembling_bytes", "spool_bytes", "classify_calls"):
            assert f"convnet_server_{gauge} 0.0" in metrics, gauge
        told = sorted(collections.Counter(str(status) for _, status in statuses.elements()).items())
        print(f"\n{sum(statuses.values())} bad uploads, {uploaded} good ones beside them; answers {told}")
        print(f"the server's memory: {before / MIB:.0f} MiB before, {after / MIB:.0f} MiB after")
        assert (after - before) / MIB < GROWTH_MIB
    assert await asyncio.to_thread(os.listdir, tmp_path) == ["signing-key"]


async def _good_uploads(session: aiohttp.ClientSession, over: asyncio.Event) -> int:
    """One upload after the other until the attacks are over, while a large one goes on; all is accepted, with one result each."""
    job = await open_job(session)
    large = {f"large/{number}.png": png(f"large {number}" * 100) for number in range(500)}
    body = tar(large)

    async def through_it_all() -> AsyncIterator[bytes]:
        """In pieces, the last when the attacks are over, or before the server's patience ends."""
        pieces = [body[at : at + 10_000] for at in range(0, len(body), 10_000)]
        for piece in pieces[:-1]:
            yield piece
            await asyncio.sleep(0.01)
        yield pieces[-1]

    uploading = asyncio.create_task(call(session, "POST", f"{job}/images", 202, data=through_it_all(), headers=TAR))
    uploads = 0
    while not over.is_set() or not uploading.done():
        images = {f"{uploads}/{number}.png": png(f"good {uploads} {number}") for number in range(10)}
        assert await upload(session, job, images) == {"accepted": 10, "refused": 0, "unknown": 0, "problems": []}
        uploads += 1
    assert (await uploading)["accepted"] == 500
    total = 500 + 10 * uploads
    await call(session, "POST", f"{job}/close", 200, json={"images": total})
    lines, end = await stream(session, job)
    assert end is not None
    assert end["end"] == "complete"
    assert len(lines) == len({line["name"] for line in lines}) == total
    return uploads
