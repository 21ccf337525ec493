"""A partition of the labels topic in memory, and a process's readers of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from convnet_kafka.server import feeds
from convnet_kafka.server.labels import LabelReaders
from support.memory_log import MemoryLog, MemoryReader


@pytest.fixture(autouse=True)
def _ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers end with the read under way."""
    monkeypatch.setattr(feeds, "READ_WAIT_S", 0.02)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog(first_offset=1000)


@pytest.fixture
async def readers(log: MemoryLog) -> AsyncIterator[LabelReaders]:
    readers = LabelReaders(lambda _: MemoryReader(log, chunk=7), seen_bytes=1 << 20, max_scans=1)
    readers.start(home_partition=0)
    yield readers
    await readers.close()
