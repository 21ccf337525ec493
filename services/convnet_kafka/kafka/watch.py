"""Keeps a topic's end offsets fresh in the background, and so knows whether Kafka can be reached.

Owns one thread and one admin client. Readers of its values never wait.
"""

from __future__ import annotations

import threading
import time

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported without `as`

from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.kafka.connection import Options
from convnet_kafka.kafka.topics import topic_id

logger = structlog.get_logger(__name__)

# One small request for all partitions: cheap, and an end offset that is a second old is a safe start all the same.
REFRESH_S = 1.0
ANSWER_S = 3.0
RETRY_S = 0.2
# A topic that was just made has no leader for a moment: not worth a warning.
FAILURES_BEFORE_WARNING = 10


class TopicWatch:
    """End offsets, UUID and reachability of one topic.

    Args:
        options: from `connection.common_options`.
        topic: the topic to watch.
    """

    def __init__(self, options: Options, topic: str) -> None:
        self._options = options
        self._topic = topic
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None
        self._answered_at = 0.0
        self.topic_id = b""
        self.ends: dict[int, int] = {}

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
        """Seconds since Kafka last answered; infinite before the first time."""
        return time.monotonic() - self._answered_at if self._answered_at else float("inf")

    def close(self) -> None:
        """Stop the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * ANSWER_S)

    def _run(self) -> None:
        admin = AdminClient(self._options)
        failures = 0
        while not self._stop.is_set():
            try:
                if not self.topic_id:
                    self.topic_id = topic_id(admin, self._topic)
                self._refresh(admin)
                failures = 0
            except (KafkaException, ConvnetKafkaError, TimeoutError) as error:
                failures += 1
                if failures >= FAILURES_BEFORE_WARNING:
                    logger.warning("kafka does not answer", topic=self._topic, error=str(error))
            self._stop.wait(REFRESH_S if self.ready else RETRY_S)

    def _refresh(self, admin: AdminClient) -> None:
        partitions = admin.list_topics(self._topic, timeout=ANSWER_S).topics[self._topic].partitions
        wanted = {TopicPartition(self._topic, number): OffsetSpec.latest() for number in partitions}  # type: ignore[no-untyped-call]
        futures = admin.list_offsets(wanted, request_timeout=ANSWER_S)
        self.ends = {item.partition: future.result(timeout=ANSWER_S + 1).offset for item, future in futures.items()}
        self._answered_at = time.monotonic()
        self._ready.set()
