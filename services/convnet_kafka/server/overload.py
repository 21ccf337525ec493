"""How many uploads one process has in progress at once, and no more: memory stays bounded, and the caller is told before it sends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Gauge

from convnet_kafka.server.problems import Problem


class UploadSlots:
    """Counts uploads in progress. Belongs to the event loop.

    Args:
        limit: uploads at once, 1 or more.
        gauge: shows how many there are.
    """

    def __init__(self, limit: int, gauge: Gauge) -> None:
        self._limit = limit
        self._gauge = gauge
        self._taken = 0

    def check(self) -> None:
        """There is room for one more.

        Raises:
            Problem: there is none.
        """
        if self._taken >= self._limit:
            raise Problem("too-many-uploads", f"{self._limit} uploads are in progress in this process: try again in a moment")

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Take a slot for the time of one upload.

        Raises:
            Problem: there is none.
        """
        self.check()
        self._taken += 1
        self._gauge.inc()
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.dec()
