"""What the client's tasks hand to whoever iterates over the labels: lists, in order, and then an end or an error."""

from __future__ import annotations

import asyncio
from collections import deque

from convnet_kafka.client.label import Label

# Chunks that wait for a slow reader before no more are read from the network: with 64 KiB a chunk at most some 4 MB.
_ROOM = 64


class Mailbox:
    """A queue that never blocks who puts: they ask for room before they fetch more, so nothing is ever in their hands when they stop."""

    def __init__(self) -> None:
        self._chunks: deque[list[Label]] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._discarding = False
        self._ended = False
        self._error: BaseException | None = None

    def put(self, labels: list[Label]) -> None:
        """Add labels; empty lists are dropped."""
        if not labels or self._discarding:
            return
        self._chunks.append(labels)
        self._filled.set()
        if len(self._chunks) >= _ROOM:
            self._room.clear()

    async def room(self) -> None:
        """Wait until the reader has caught up."""
        await self._room.wait()

    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; the reader gets the rest, and then the error if there is one."""
        self._ended, self._error = True, self._error or error
        self._filled.set()

    def discard(self) -> None:
        """Nobody reads any more: whoever waits for room goes on, and what they put is dropped."""
        self._discarding = True
        self._chunks.clear()
        self._room.set()

    async def get(self) -> list[Label] | None:
        """The next labels, or None after the last ones.

        Raises:
            BaseException: what the mailbox was ended with.
        """
        while not self._chunks:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._filled.clear()
            await self._filled.wait()
        chunk = self._chunks.popleft()
        self._room.set()
        return chunk
