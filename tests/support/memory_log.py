"""A partition in memory that behaves like Kafka's for one reader: the stand-in for `kafka.reader.PartitionReader`."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemoryMessage:
    """The part of confluent_kafka.Message that readers use."""

    at: int
    pairs: list[tuple[str, bytes]]
    payload: bytes

    def offset(self) -> int:
        return self.at

    def partition(self) -> int:
        return 0

    def headers(self) -> list[tuple[str, bytes]]:
        return self.pairs

    def value(self) -> bytes:
        return self.payload

    def error(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.payload)


class MemoryLog:
    """One partition: append and read, from any thread."""

    def __init__(self, first_offset: int = 0) -> None:
        self.first_offset = first_offset
        self.messages: list[MemoryMessage] = []
        self.changed = threading.Condition()
        self.reads = 0

    @property
    def end(self) -> int:
        return self.first_offset + len(self.messages)

    def append(self, headers: list[tuple[str, bytes]] | Mapping[str, bytes], value: bytes) -> int:
        with self.changed:
            pairs = list(headers.items()) if isinstance(headers, Mapping) else headers
            self.messages.append(MemoryMessage(self.end, pairs, value))
            self.changed.notify_all()
            return self.end - 1


class MemoryReader:
    """Reads a MemoryLog the way PartitionReader reads a partition."""

    def __init__(self, log: MemoryLog, chunk: int = 1000) -> None:
        self._log = log
        self._chunk = chunk
        self._position: int | None = None

    def start(self, offset: int) -> None:
        self._position = max(offset, self._log.first_offset)

    def start_at_end(self) -> int:
        self._position = self._log.end
        return self._log.end

    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[MemoryMessage]:
        deadline = time.monotonic() + timeout_s
        with self._log.changed:
            while self._position is not None and self._position >= self._log.end:
                left = deadline - time.monotonic()
                if left <= 0:
                    return []
                self._log.changed.wait(min(left, 0.02))
            if self._position is None:
                return []
            at = self._position - self._log.first_offset
            found = self._log.messages[at : at + min(max_messages, self._chunk)]
            self._position += len(found)
            self._log.reads += len(found)
            return found

    def close(self) -> None:
        self._position = None
