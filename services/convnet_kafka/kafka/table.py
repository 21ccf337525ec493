"""Follows a compacted topic of one partition from its beginning: a table that several processes share.

Owns one thread and one consumer. Knows nothing of what the records say. Kafka or the topic may be missing: it waits, and says so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from convnet_kafka.kafka.connection import Options
from convnet_kafka.kafka.errorlog import ErrorLog

logger = structlog.get_logger(__name__)

# How long one read waits for a record; bounds how fast the thread stops, and how late `tick` is called.
READ_S = 0.25
# Between looks at whether Kafka and the topic are there.
LOOK_S = 0.2
# After an error that librdkafka does not get over by itself.
AGAIN_S = 1.0
ANSWER_S = 3.0
MAX_RECORDS = 500
# librdkafka's error codes that its Python binding spells with an underscore.
_PARTITION_EOF: int = KafkaError._PARTITION_EOF  # noqa: SLF001


class TableFollower:
    """Hands every record of the topic to its owner, from the first on, in order.

    Args:
        options: from `connection.reader_options`.
        topic: the topic; partition 0 is read.
        apply: called with each record, on this thread; must not raise.
        tick: called between reads once everything is read, on this thread, at least every `READ_S`; must not wait.
    """

    def __init__(self, options: Options, topic: str, apply: Callable[[Message], None], tick: Callable[[], None] | None = None) -> None:
        self._options = options | {"error_cb": self._on_error, "enable.partition.eof": True, "auto.offset.reset": "earliest"}
        self._topic = topic
        self._tell = ErrorLog("reader", topic=topic)
        self._apply = apply
        self._tick = tick
        self._stop = threading.Event()
        self._caught_up = threading.Event()
        self._problem = f"topic {topic} is not read yet"
        self._thread: threading.Thread | None = None

    @property
    def caught_up(self) -> bool:
        """True once everything has been read that the topic held when reading began."""
        return self._caught_up.is_set()

    @property
    def problem(self) -> str | None:
        """What is waited for, or None once caught up."""
        return None if self.caught_up else self._problem

    def start(self) -> None:
        """Start following. Does not wait for Kafka."""
        self._thread = threading.Thread(target=self._run, name="table", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=ANSWER_S + READ_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with closing(Consumer(self._options)) as consumer:
                    self._read(consumer)
            except KafkaException as error:
                # librdkafka's word on options that it refuses, too: whoever waits for the topic must hear it.
                self._problem = f"topic {self._topic} cannot be read: {error.args[0].str()}"
                logger.warning("kafka reader begins again", topic=self._topic, error=error.args[0].str())
                self._stop.wait(AGAIN_S)

    def _read(self, consumer: Consumer) -> None:
        end = self._end(consumer)
        while end is None:
            if self._stop.wait(LOOK_S):
                return
            end = self._end(consumer)
        consumer.assign([TopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        self._follow(consumer, end)

    def _end(self, consumer: Consumer) -> int | None:
        """Where the topic ends now; None while it cannot be told."""
        try:
            found = consumer.list_topics(self._topic, timeout=ANSWER_S).topics.get(self._topic)
            if found is None or found.error is not None or not found.partitions:
                why = "" if found is None or found.error is None else f" ({found.error.str()})"
                self._problem = f"topic {self._topic} does not exist{why}; create it, for example with 'convnet-kafka topics create'"
                return None
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), timeout=ANSWER_S)
        except KafkaException as error:
            self._problem = f"topic {self._topic} cannot be read: {error.args[0].str()}"
            return None
        return high if high > low else 0

    def _follow(self, consumer: Consumer, end: int) -> None:
        if end == 0:
            self._caught_up.set()
        while not self._stop.is_set():
            first = consumer.poll(READ_S)
            if first is not None:
                for message in [first, *consumer.consume(MAX_RECORDS - 1, 0)]:
                    self._take(message, end)
            if self._tick is not None and self.caught_up:
                self._tick()

    def _take(self, message: Message, end: int) -> None:
        error = message.error()
        if error is None:
            self._apply(message)
            # Compaction may have left a gap before the end; then the event below tells.
            if (message.offset() or 0) + 1 >= end:
                self._caught_up.set()
        elif error.code() == _PARTITION_EOF:
            self._caught_up.set()
        else:
            logger.warning("kafka error", client="reader", topic=self._topic, error=error.str())

    def _on_error(self, error: KafkaError) -> None:
        self._tell(error)
