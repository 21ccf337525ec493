"""The client for code without an event loop: the same work in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections.abc import Iterator, Sequence

from convnet_kafka.client.label import Label
from convnet_kafka.client.session import DEFAULT_SERVER, Client, ClientOptions

# Lists of labels that wait for a slow caller before the client stops reading.
_ROOM = 16
_POLL_S = 0.1


def classify(
    paths: Sequence[str | os.PathLike[str]], server: str = DEFAULT_SERVER, options: ClientOptions | None = None
) -> Iterator[Label]:
    """Send images and yield the outcome of each, as it comes. Leaving the loop early closes the job with what was accepted.

    Args:
        paths: folders, files, and tar and zip archives.
        server: address of the server.
        options: how to behave.

    Raises:
        SourceError: there is nothing to send.
        ServerError: the server refused, or was away for longer than the policy allows.
    """
    worker = _Worker(Client(server, options), paths)
    worker.start()
    try:
        while (item := worker.handed.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield from item
    finally:
        worker.stop()


class _Worker:
    """The thread and its event loop. It owns the client; the caller's thread only takes from `handed` and says when to stop."""

    def __init__(self, client: Client, paths: Sequence[str | os.PathLike[str]]) -> None:
        self.handed: queue.Queue[list[Label] | BaseException | None] = queue.Queue(_ROOM)
        self._client = client
        self._paths = paths
        self._left = threading.Event()
        self._ready = threading.Event()
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="convnet-client", daemon=True)

    def start(self) -> None:
        """Start the thread and wait until it can be told to stop."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Tell it that nobody takes any more, and wait until the job is closed."""
        self._left.set()
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._work())
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            self._hand(error)
        else:
            self._hand(None)

    async def _work(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._ready.set()
        async with self._client as client:
            sending = asyncio.create_task(self._send(client))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({sending, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for task in (sending, stopping):
                task.cancel()
            await asyncio.wait({sending, stopping})
            if not sending.cancelled():
                sending.result()

    async def _send(self, client: Client) -> None:
        async for labels in client.classify(self._paths).batches():
            await asyncio.to_thread(self._hand, labels)

    def _hand(self, item: list[Label] | BaseException | None) -> None:
        while not self._left.is_set():
            try:
                self.handed.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return
