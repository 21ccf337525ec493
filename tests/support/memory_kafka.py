"""A group consumer and a producer in memory: stand-ins for `kafka.consumer.GroupConsumer` and `kafka.producer.AcknowledgedProducer`.

The consumer is held to the real one by tests/kafka/test_consumer_contract.py. The producer's deliveries are the real class.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from confluent_kafka import TIMESTAMP_CREATE_TIME, KafkaError, KafkaException

from convnet_kafka.kafka.consumer import GroupEvents
from convnet_kafka.kafka.history import Start
from convnet_kafka.kafka.producer import Delivery

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """The part of confluent_kafka.Message that readers use."""

    at: int
    pairs: Headers
    payload: bytes
    number: int = 0
    name: str = "images"
    made_ms: int = 0

    def topic(self) -> str:
        return self.name

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.at

    def headers(self) -> Headers:
        return self.pairs

    def value(self) -> bytes:
        return self.payload

    def __len__(self) -> int:
        return len(self.payload)

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_CREATE_TIME, self.made_ms

    def error(self) -> None:
        return None


class MemoryTopic:
    """Partitions, and what one group has committed."""

    def __init__(self, partitions: int = 1) -> None:
        self.records: dict[int, list[Record]] = {partition: [] for partition in range(partitions)}
        self.committed: dict[int, int] = {}
        self.notes: dict[int, str] = {}
        self.changed = threading.Condition()

    def put(self, payload: bytes, headers: Headers | None = None, partition: int = 0) -> None:
        with self.changed:
            log = self.records[partition]
            log.append(Record(len(log), headers or [], payload, partition, made_ms=time.time_ns() // 1_000_000))
            self.changed.notify_all()


class MemoryConsumer:
    """The only member of its group; a test may take partitions away and give them back, at the next read."""

    def __init__(self, topic: MemoryTopic, events: GroupEvents) -> None:
        self._topic = topic
        self._events = events
        self._positions: dict[int, int] = {}
        self._done: dict[int, int] = {}
        self._texts: dict[int, str] = {}
        # The loop says what is done while the lane's thread notes and commits, as in the real one.
        self._lock = threading.RLock()
        self._thread: int | None = None
        # Set by a test: Kafka takes no commits.
        self.refuses = False
        self.on_commit: Callable[[], None] = lambda: None
        self.noted = 0
        self.rewinds = 0
        # Set by a test: the process is gone, nothing of it reaches Kafka any more.
        self.dead = False
        self.calls: list[Callable[[], None]] = []
        self.closed = threading.Event()

    @property
    def assigned(self) -> frozenset[int]:
        return frozenset(self._positions)

    def start(self) -> None:
        self._thread = threading.get_ident()
        self.assign(frozenset(self._topic.records))

    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Record]:
        self._check_thread()
        while self.calls:
            self.calls.pop(0)()
        deadline = time.monotonic() + timeout_s
        with self._topic.changed:
            while not (found := self._take(max_messages)):
                left = deadline - time.monotonic()
                if left <= 0 or self.calls:
                    return []
                self._topic.changed.wait(min(left, 0.01))
            return found

    def done(self, positions: Mapping[int, int]) -> None:
        with self._lock:
            for partition, offset in positions.items():
                if partition in self._positions:
                    self._done[partition] = max(offset, self._done.get(partition, -1))

    def annotate(self, partition: int, offset: int, text: str) -> None:
        with self._lock:
            if partition in self._positions:
                self.done({partition: offset})
                self._texts[partition] = text
                self.noted += bool(text)

    def commit(self, *, wait: bool = False, partitions: Collection[int] | None = None) -> bool:
        self._check_thread()
        self.on_commit()
        if self.refuses or self.dead:
            return False
        with self._lock:
            for partition, offset in self._done.items():
                if partitions is None or partition in partitions:
                    self._topic.committed[partition] = offset
                    self._topic.notes[partition] = self._texts.get(partition, "")
        return True

    def rewind(self, positions: Mapping[int, int]) -> None:
        self._check_thread()
        self.rewinds += 1
        self._positions |= {partition: offset for partition, offset in positions.items() if partition in self._positions}

    def attend(self) -> None:
        self._check_thread()
        while self.calls:
            self.calls.pop(0)()

    def close(self) -> None:
        self.revoke(self.assigned)
        self.closed.set()

    def assign(self, partitions: frozenset[int]) -> None:
        committed = {partition: self._topic.committed.get(partition, -1) for partition in partitions}
        self._positions |= {partition: max(offset, 0) for partition, offset in committed.items()}
        self._events.on_assigned(
            {
                partition: Start(offset, self._topic.notes.get(partition, ""), len(self._topic.records[partition]))
                for partition, offset in committed.items()
            }
        )

    def revoke(self, partitions: frozenset[int]) -> None:
        self._events.on_revoked(partitions)
        self.commit(partitions=partitions)
        self._drop(partitions)

    def lose(self, partitions: frozenset[int]) -> None:
        self._drop(partitions)
        self._events.on_lost(partitions)

    def _drop(self, partitions: frozenset[int]) -> None:
        with self._lock:
            for partition in partitions:
                self._positions.pop(partition, None)
                self._done.pop(partition, None)
                self._texts.pop(partition, None)

    def _take(self, max_messages: int) -> list[Record]:
        found: list[Record] = []
        for partition, position in self._positions.items():
            found += self._topic.records[partition][position : position + max_messages - len(found)]
            self._positions[partition] = max([record.at + 1 for record in found if record.number == partition], default=position)
        return found

    def _check_thread(self) -> None:
        assert self._thread == threading.get_ident(), "the real consumer would wait here for the reading thread, perhaps for ever"


@dataclass
class Sent:
    """A record handed to the producer, and its acknowledgement to come."""

    topic: str
    value: bytes
    headers: dict[str, bytes]
    partition: int
    key: bytes | None
    on_delivery: Callable[..., None] = field(repr=False)


class MemoryProducer:
    """Acknowledges at `poll`, unless told otherwise; `refuse` decides on a record's error code."""

    def __init__(self) -> None:
        self.waiting: list[Sent] = []
        self.stored: list[Sent] = []
        self.capacity = 10_000
        self.silent = False
        # Set by a test: the process is gone; it is answered, and nothing of it reaches Kafka.
        self.dead = False
        self.refuse: Callable[[Sent], int | None] = lambda _: None

    @property
    def results_waiting(self) -> int:
        """Results without an acknowledgement; a record holds one or more."""
        return sum(len(sent.headers["image"]) // 32 for sent in list(self.waiting))

    def delivery(self, on_done: Callable[[], None]) -> Delivery:
        return Delivery(self, on_done)  # type: ignore[arg-type]

    def produce(
        self, topic: str, value: bytes, headers: Headers, partition: int, key: bytes | None, on_delivery: Callable[..., None]
    ) -> None:
        if len(self.waiting) >= self.capacity:
            raise BufferError
        self.waiting.append(Sent(topic, value, dict(headers), partition, key, on_delivery))

    def flush(self, timeout_s: float) -> int:
        self.poll()
        return len(self.waiting)

    def poll(self, timeout_s: float = 0.0) -> None:
        if self.silent:
            return
        answered, self.waiting = self.waiting, []
        for sent in answered:
            code = self.refuse(sent)
            if code is None and not self.dead:
                self.stored.append(sent)
            sent.on_delivery(KafkaError(code) if code is not None else None, None)


def unavailable() -> KafkaException:
    return KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))
