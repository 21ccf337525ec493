"""Where a server is between its start and its end, and how many requests are in progress. Lives on the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Lifecycle:
    """The two steps of going away, set by `run.py`, the count that the second one waits for, and the time there is.

    Attributes:
        leaving: told to stop: not ready, connections are closed after each answer, everything still works.
        draining: takes nothing new; what has begun is finished.
        end_by: `time.monotonic()` by which all must have ended; infinite until the server is told to stop.
    """

    def __init__(self) -> None:
        self.leaving = False
        self.draining = False
        self.end_by = float("inf")
        self._requests = 0
        self._changed = asyncio.Event()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count one request for as long as it takes."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            if self.draining:
                self._changed.set()

    def left_s(self) -> float:
        """Seconds until all must have ended."""
        return max(0.0, self.end_by - time.monotonic())

    async def drained(self, timeout_s: float) -> int:
        """Take nothing new, and wait until what has begun is finished; returns how many requests were not in time."""
        self.leaving = self.draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._requests:
                    self._changed.clear()
                    await self._changed.wait()
        return self._requests
