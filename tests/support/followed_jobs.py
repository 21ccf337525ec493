"""Jobs whose results lie in a log in memory, and what their followers are shown of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from convnet_kafka.replies import Results, label_headers
from convnet_kafka.server.events import LabelEvent
from convnet_kafka.server.following import Follower
from convnet_kafka.server.jobs import Job
from support.memory_log import MemoryLog

JOB, OTHER = "11" * 16, "22" * 16


def job(identity: str = JOB, offset: int = 0, partition: int = 0) -> Job:
    return Job(identity, "default", 0, partition, offset, b"")


def add(log: MemoryLog, number: int, identity: str = JOB, tenant: str = "default", *, failed: bool = False, revision: int = 0) -> int:
    headers = label_headers(job=identity, images=f"{number:032x}", revision=revision, tenant=tenant, failed=failed)
    return log.append(headers, b'{"image":"%032x","confidence":%.2f}' % (number, number / 100))


def add_together(log: MemoryLog, images: Sequence[int], identity: str = JOB) -> None:
    """All in one record."""
    results = Results(identity, "default", 0, failed=False)
    for number in images:
        results.images.append(f"{number:032x}")
        results.values.append(b'{"image":"%032x","confidence":%.2f}' % (number, number / 100))
    for headers, value in results.records():
        log.append(headers, value)


def numbers(events: list[LabelEvent]) -> list[int]:
    return [int(event.value[10:42], 16) for event in events]


async def take(follower: Follower, count: int, timeout_s: float = 5.0) -> list[int]:
    """The next `count` images, in order."""
    found: list[int] = []
    async with asyncio.timeout(timeout_s):
        while len(found) < count:
            found += numbers(await follower.next(0.2))
    return found
