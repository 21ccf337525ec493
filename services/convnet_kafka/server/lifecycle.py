"""Where a server is between its start and its end, and how many requests are in progress. Lives on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Lifecycle:
    """The two steps of going away, set by `run.py`, and the count that the second one waits for.

    Attributes:
        leaving: told to stop: not ready, connections are closed after each answer, everything still works.
        draining: takes nothing new; what has begun is finished.
    """

    def __init__(self) -> None:
        self.leaving = False
        self.draining = False
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

    async def drained(self, timeout_s: float) -> int:
        """Take nothing new, and wait until what has begun is finished; returns how many requests were not in time."""
        self.leaving = self.draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._requests:
                    self._changed.clear()
                    await self._changed.wait()
        return self._requests
