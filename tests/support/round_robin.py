"""A load balancer in a few lines: each new TCP connection goes to the next server, and bytes pass untouched in both directions.

Whoever wants each request at another server makes a connection for each.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from support.waiting import until

PIECE = 64 * 1024


class RoundRobin:
    """Listens on a free port while entered; runs on an event loop of its own in a thread.

    Args:
        urls: of the servers.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._targets = itertools.cycle([(part.hostname, part.port) for part in map(urlsplit, urls)])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="round-robin")
        self.url = ""
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: self.url, 20, "the proxy listens")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._loop is not None and self._end is not None:
            self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        passing: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._pass(reader, writer))
            passing.add(task)
            task.add_done_callback(passing.discard)

        server = await asyncio.start_server(accepted, "127.0.0.1", 0, limit=PIECE)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await self._end.wait()
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until both sides have ended it or one has broken it."""
        host, port = next(self._targets)
        self.connections += 1
        try:
            their_reader, their_writer = await asyncio.open_connection(host, port, limit=PIECE)
        except OSError:
            writer.transport.abort()
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_one_way(reader, their_writer))
                both.create_task(_one_way(their_reader, writer))
        except* OSError:
            writer.transport.abort()
            their_writer.transport.abort()
        finally:
            writer.close()
            their_writer.close()


async def _one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    with suppress(OSError):  # the other direction may have ended it already
        writer.write_eof()
