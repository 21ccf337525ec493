"""The bounded folder where bodies lie that can only be read from their end (zip): nameless files, gone with their upload or the process.

Room is taken before a body is read, so that nobody is sent away in the middle of one.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import structlog
from prometheus_client import Gauge

from convnet_kafka.server.problems import Problem

logger = structlog.get_logger(__name__)

T = TypeVar("T")

# Written at once, off the event loop: a call of a thread costs some 50 us.
_WRITE = 1024 * 1024


async def off_the_loop(work: Callable[..., T], *args: Any) -> T:
    """Work on a file in a thread, which has ended when this has, also when this is cancelled.

    So nobody closes a file under a thread, after which its number could belong to a socket.
    """
    working = asyncio.ensure_future(asyncio.to_thread(work, *args))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # nobody is left to be told
        raise


class SpoolFile:
    """One body on its way to the disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._batch = bytearray()

    async def write(self, chunk: bytes) -> None:
        """Add to its end; never blocks the event loop.

        Raises:
            Problem: the disk is full.
        """
        self._batch += chunk
        if len(self._batch) >= _WRITE:
            await self.flush()

    async def flush(self) -> None:
        """Write what is not written yet.

        Raises:
            Problem: the disk is full.
        """
        batch, self._batch = self._batch, bytearray()
        try:
            await off_the_loop(_write_all, self.file, batch)
        except OSError as error:
            raise _no_room(error) from error


class Spool:
    """The room of a process.

    Args:
        folder: where; None for the system's folder for such.
        limit_bytes: of all bodies together.
        gauge: shows how much is taken.
    """

    def __init__(self, folder: Path | None, limit_bytes: int, gauge: Gauge) -> None:
        self._folder = folder
        self._limit = limit_bytes
        self._gauge = gauge
        self._used = 0

    def check(self, size: int) -> None:
        """There is room for a body of this many bytes.

        Raises:
            Problem: there is none at the moment.
        """
        if self._used + size > self._limit:
            raise Problem("too-many-uploads", "the room for zip archives in this process is taken: try again in a moment, or send a tar")

    @contextmanager
    def taken(self, size: int) -> Iterator[SpoolFile]:
        """A file with room for this many bytes.

        Raises:
            Problem: there is no room.
        """
        self.check(size)
        self._used += size
        self._gauge.inc(size)
        try:
            with self._open() as file:
                yield SpoolFile(file)
        finally:
            self._used -= size
            self._gauge.dec(size)

    def _open(self) -> BinaryIO:
        try:
            return cast("BinaryIO", tempfile.TemporaryFile(dir=self._folder, buffering=0))
        except OSError as error:
            raise _no_room(error) from error


def _write_all(file: BinaryIO, data: bytearray) -> None:
    with memoryview(data) as view:
        at = 0
        while at < len(view):
            at += file.write(view[at:])


def _no_room(error: OSError) -> Problem:
    logger.error("zip archives cannot be spooled", error=str(error))
    return Problem("too-many-uploads", "this server has no disk to keep a zip archive on at the moment: send a tar, which needs none")
