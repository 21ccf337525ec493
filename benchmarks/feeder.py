"""A client that feeds the path for as long as it is told to, in bounded memory: one job after another, its pictures made as they are sent.

Runs in a process of its own (`Worker(prepare_feeder, ...)`). What it has done so far stands in counts that the benchmark reads meanwhile.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

# Between two looks whether the next picture may come: at 10,000 a second 50 come at once then, of the thousands of a request.
_LOOK_S = 0.005
_SENT, _LABELLED, _FAILED = range(3)


class Counts:
    """Images of a feeder so far, shared by two processes; each number is written by one thread."""

    def __init__(self) -> None:
        self._numbers = multiprocessing.get_context("spawn").RawArray("q", 3)

    @property
    def sent(self) -> int:
        """Handed to the client library."""
        return int(self._numbers[_SENT])

    @property
    def labelled(self) -> int:
        """Whose label was read."""
        return int(self._numbers[_LABELLED])

    @property
    def failed(self) -> int:
        """That got a failure instead."""
        return int(self._numbers[_FAILED])

    @property
    def in_flight(self) -> int:
        """Sent, and nothing heard of them yet."""
        return self.sent - self.labelled - self.failed

    def add_sent(self) -> None:
        """One more."""
        self._numbers[_SENT] += 1

    def add(self, labelled: int, failed: int) -> None:
        """So many more."""
        self._numbers[_LABELLED] += labelled
        self._numbers[_FAILED] += failed


@dataclass(frozen=True, slots=True)
class Plan:
    """What to send.

    Attributes:
        images: how many.
        job_images: of one job; the next begins when the last picture of the one before is sent, while its labels still come.
        in_flight: images without a label at most; the pictures wait beyond that.
        rate: images a second at most, or None for as fast as it goes.
    """

    images: int
    job_images: int
    in_flight: int
    rate: float | None = None


def prepare_feeder(server_url: str, files: list[Path], counts: Counts) -> Callable[[Plan], None]:
    """In the feeder's process: the work is to send a plan's images and to read all their labels."""
    originals = [file.read_bytes() for file in files]
    ending = files[0].suffix

    def work(plan: Plan) -> None:
        asyncio.run(_Feeding(plan, originals, ending, counts).run(server_url))

    return work


class _Feeding:
    """One plan at work."""

    def __init__(self, plan: Plan, originals: list[bytes], ending: str, counts: Counts) -> None:
        self._plan = plan
        self._originals = originals
        self._ending = ending
        self._counts = counts
        self._sent = 0
        self._began_at = time.monotonic()

    async def run(self, server_url: str) -> None:
        from convnet_kafka.client import Client  # noqa: PLC0415 - only the feeder's process needs it

        loop = asyncio.get_running_loop()

        async with Client(server_url) as client, asyncio.TaskGroup() as jobs:

            async def job(images: int, all_sent: asyncio.Event) -> None:
                pictures = self._pictures(images, lambda: loop.call_soon_threadsafe(all_sent.set))
                async for labels in client.classify(pictures).batches():
                    failed = sum(label.error is not None for label in labels)
                    self._counts.add(len(labels) - failed, failed)

            for first in range(0, self._plan.images, self._plan.job_images):
                all_sent = asyncio.Event()
                jobs.create_task(job(min(self._plan.job_images, self._plan.images - first), all_sent))
                await all_sent.wait()

    def _pictures(self, images: int, done: Callable[[], object]) -> Iterator[tuple[str, bytes]]:
        """One job's, each when it may come. In a thread of the client library."""
        for number in range(images):
            while not self._may_come():
                time.sleep(_LOOK_S)
            self._sent += 1
            self._counts.add_sent()
            yield f"{number:07d}{self._ending}", self._originals[number % len(self._originals)]
        done()

    def _may_come(self) -> bool:
        rate = self._plan.rate
        return self._counts.in_flight < self._plan.in_flight and (rate is None or self._sent < (time.monotonic() - self._began_at) * rate)
