"""Bounds what all bodies of a process hold of images that have come in part: past it they wait, and with them their senders' sockets.

Nobody waits for somebody who waits: when there is no room, one body at a time may go on nevertheless (it has the pass) until its image is
whole. So memory is bounded by the limit and one image, and something always moves. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from types import TracebackType
from typing import Self

from prometheus_client import Counter, Gauge

# Who has the pass and does not bring its image to its end in this time ends with 408, for all others wait for it.
PASS_S = 15.0


class Held:
    """What one body holds. Gives all of it back when left."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly
        self._image = 0
        self._decoder = 0
        self.pass_until = math.inf

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.decoder(0)
        self.image(0)

    def image(self, size: int) -> None:
        """Say how many bytes of an image have come; 0 when it went on its way."""
        if size != self._image:
            by, self._image = size - self._image, size
            self._assembly.change(by)
        if not size:
            self._assembly.end_pass(self)

    def decoder(self, size: int) -> None:
        """Say how many bytes the body's decoder holds."""
        if size != self._decoder:
            by, self._decoder = size - self._decoder, size
            self._assembly.change(by)

    @property
    def has_room(self) -> bool:
        """True when there is no need to wait."""
        return self._assembly.has_room(self)

    async def room(self) -> None:
        """Wait until there is room for more, or this body has the pass."""
        await self._assembly.room(self)


class Assembly:
    """The room of a process.

    Args:
        limit_bytes: of images that have come in part, all together.
        gauge: shows how many they are.
        waits: counts bodies that waited for room.
        pass_s: seconds that one body may have the pass for an image.
    """

    def __init__(self, limit_bytes: int, gauge: Gauge, waits: Counter, pass_s: float = PASS_S) -> None:
        self.pass_s = pass_s
        self._limit = limit_bytes
        self._gauge = gauge
        self._waits = waits
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._passed: Held | None = None
        self.used = 0

    def change(self, by: int) -> None:
        """So many bytes more, or less, are held."""
        self.used += by
        self._gauge.inc(by)
        if by < 0 and self._waiting:
            self._wake()

    def has_room(self, held: Held) -> bool:
        """True when a body may go on."""
        return self.used < self._limit or self._passed is held

    async def room(self, held: Held) -> None:
        """Wait until a body may go on."""
        if self.has_room(held):
            return
        self._waits.inc()
        loop = asyncio.get_running_loop()
        while not self.has_room(held):
            if self._passed is None:
                self._passed = held
                held.pass_until = loop.time() + self.pass_s
                return
            turn: asyncio.Future[None] = loop.create_future()
            self._waiting.append(turn)
            await turn

    def end_pass(self, held: Held) -> None:
        """A body has no image in part any more."""
        if self._passed is held:
            self._passed = None
            held.pass_until = math.inf
            self._wake()

    def _wake(self) -> None:
        """Let all look again, the first in line first."""
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)
