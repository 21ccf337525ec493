"""Keeps a topic's identity and end offsets fresh in the background, and so knows whether Kafka can be reached.

Owns one thread and one admin client. Readers of its values never wait.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported without `as`

from convnet_kafka.errors import ConvnetKafkaError, TopicMismatch
from convnet_kafka.kafka.connection import Options
from convnet_kafka.kafka.topics import topic_id

logger = structlog.get_logger(__name__)

# Three small requests, whatever the number of partitions: cheap, and an end offset that is a second old is a safe start all the same.
REFRESH_S = 1.0
ANSWER_S = 3.0
RETRY_S = 0.2
# A topic that was just made has no leader for a moment: not worth a warning.
FAILURES_BEFORE_WARNING = 10


@dataclass(frozen=True, slots=True)
class WatchedTopic:
    """A topic at one moment.

    Attributes:
        topic_id: its UUID, 16 bytes; empty while it has not been seen.
        ends: the end offset of each partition, never beyond the end of the topic with this UUID.
    """

    topic_id: bytes = b""
    ends: Mapping[int, int] = field(default_factory=dict)


class TopicWatch:
    """Identity, end offsets and reachability of one topic.

    Args:
        options: from `connection.admin_options`.
        topic: the topic to watch.
        on_made_anew: called from the watch's thread when the topic has another UUID than before: its records are gone.

    Attributes:
        topic: as it was last seen.
    """

    def __init__(self, options: Options, topic: str, on_made_anew: Callable[[], None] = lambda: None) -> None:
        self._options = options
        self._name = topic
        self._on_made_anew = on_made_anew
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._answered_at = 0.0
        self.topic = WatchedTopic()

    def start(self) -> None:
        """Start watching. Does not wait for Kafka."""
        self._thread = threading.Thread(target=self._run, name="topic-watch", daemon=True)
        self._thread.start()

    def wait_ready(self, timeout_s: float) -> bool:
        """Wait for the first answer; False when it did not come in time."""
        return self._ready.wait(timeout_s)

    @property
    def ready(self) -> bool:
        """True once the topic has been seen."""
        return self._ready.is_set()

    def silent_s(self) -> float:
        """Seconds since Kafka last told of the topic; infinite before the first time."""
        return time.monotonic() - self._answered_at if self._answered_at else float("inf")

    def close(self, timeout_s: float = 2 * ANSWER_S) -> None:
        """Stop the thread; what it asks Kafka at the moment is waited for at most so long, and ends by itself."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        admin = AdminClient(self._options)
        failures = 0
        while not self._stop.is_set():
            try:
                self._look(admin)
                failures = 0
            except (KafkaException, ConvnetKafkaError, TimeoutError) as error:
                failures += 1
                if failures >= FAILURES_BEFORE_WARNING:
                    logger.warning("kafka does not answer", topic=self._name, error=str(error))
            self._stop.wait(REFRESH_S if self.ready else RETRY_S)

    def _look(self, admin: AdminClient) -> None:
        before = self.topic.topic_id
        # The identity before the ends: where the topic is made anew in between, the ends are the newer one's: too small, not too large.
        identity = topic_id(admin, self._name)
        self.topic = WatchedTopic(identity, self._ends(admin))
        self._answered_at = time.monotonic()
        self._ready.set()
        if before not in {b"", identity}:
            logger.error("the topic was made anew: jobs opened before are gone", topic=self._name)
            self._on_made_anew()

    def _ends(self, admin: AdminClient) -> dict[int, int]:
        partitions = admin.list_topics(self._name, timeout=ANSWER_S).topics[self._name].partitions
        if not partitions:
            raise TopicMismatch(f"topic {self._name} does not exist")
        wanted = {TopicPartition(self._name, number): OffsetSpec.latest() for number in partitions}  # type: ignore[no-untyped-call]
        futures = admin.list_offsets(wanted, request_timeout=ANSWER_S)
        return {item.partition: future.result(timeout=ANSWER_S + 1).offset for item, future in futures.items()}
