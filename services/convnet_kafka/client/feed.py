"""What the caller's own code makes one after another: an iterable in a thread of its own, an async one on the event loop.

Between it and the threads that pack lies a bounded queue, so that a fast source does not fill the memory, and a slow one holds nobody up:
who waits here can be told to stop, and what came so far can be sent although more is to come.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import Any, Final

# What waits to be packed: as much as one request takes of small images, and few large ones.
_MOST_ITEMS = 512
_MOST_BYTES = 8 * 1024 * 1024
# A source that has been quiet for so long is not waited for while there is something to send.
LINGER_S = 0.05


class Pause:
    """Said instead of an item by a source that is slow: nothing at hand now, more may come."""


PAUSE: Final = Pause()


class Feed:
    """The queue, and the thread or task that fills it.

    Args:
        source: anything to iterate over; it is begun with the first item that is asked for.
        loop: where an async one is iterated over, else None.
        hurry: whether whoever asks has something to send already; asked for each item.
    """

    def __init__(
        self, source: Iterable[Any] | AsyncIterable[Any], loop: asyncio.AbstractEventLoop | None, hurry: Callable[[], bool]
    ) -> None:
        self._source = source
        self._loop = loop
        self._hurry = hurry
        self._items: deque[Any] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._ended = False
        self._error: BaseException | None = None
        self._room: asyncio.Event | None = None
        self._task: Future[None] | None = None

    def __iter__(self) -> Iterator[Any]:
        """Items as they come, and PAUSE when there is none and whoever asks is in a hurry.

        Raises:
            Exception: what the source raised.
        """
        self._begin()
        while True:
            item = self._take()
            if item is None:
                return
            yield item

    def stop(self) -> None:
        """Take nothing more from the source, and let go whoever waits. May be called from any thread."""
        self._end(None)
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        if not isinstance(self._source, AsyncIterable):
            # A daemon: a source that blocks forever must not keep the program from ending.
            threading.Thread(target=self._fill, args=(self._source,), name="convnet-source", daemon=True).start()
        elif self._loop is None:
            raise RuntimeError("an async iterable can only be sent by the client, on its event loop")
        else:
            self._task = asyncio.run_coroutine_threadsafe(self._fill_async(self._source), self._loop)

    def _take(self) -> Any:
        """The next item; PAUSE, or None at the end."""
        with self._changed:
            while not self._items:
                if self._ended:
                    if self._error is not None:
                        raise self._error
                    return None
                if not self._changed.wait(LINGER_S if self._hurry() else None) and self._hurry():
                    return PAUSE
            item = self._items.popleft()
            self._bytes -= _size(item)
            self._changed.notify_all()
            if self._room is not None and self._loop is not None and self._has_room():
                # Closed: the client has gone meanwhile, and nobody waits for room any more.
                with contextlib.suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._room.set)
            return item

    def _has_room(self) -> bool:
        return len(self._items) < _MOST_ITEMS and self._bytes < _MOST_BYTES

    def _fill(self, source: Iterable[Any]) -> None:
        try:
            for item in source:
                with self._changed:
                    self._changed.wait_for(lambda: self._ended or self._has_room())
                    if self._ended:
                        return
                    self._add(item)
        except Exception as error:  # noqa: BLE001 - raised where the items are taken
            self._end(error)
        else:
            self._end(None)

    async def _fill_async(self, source: AsyncIterable[Any]) -> None:
        self._room = asyncio.Event()
        try:
            async for item in source:
                while True:
                    with self._changed:
                        if self._ended:
                            return
                        if self._has_room():
                            self._add(item)
                            break
                        self._room.clear()
                    await self._room.wait()
        except Exception as error:  # noqa: BLE001 - raised where the items are taken
            self._end(error)
        else:
            self._end(None)

    def _add(self, item: Any) -> None:
        """With the lock held."""
        self._items.append(item)
        self._bytes += _size(item)
        self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()
        if self._room is not None and self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._room.set)


def _size(item: Any) -> int:
    """Bytes that an item holds in memory."""
    return len(item[1]) if isinstance(item, tuple) and len(item) > 1 and isinstance(item[1], bytes) else 0
