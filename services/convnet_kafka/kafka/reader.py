"""A reader of one partition from a told offset, without a group.

Owns the confluent consumer; the calling thread owns the waiting. Where records are gone it goes on with the first that is left.
"""

from __future__ import annotations

import threading
import time

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import Options
from convnet_kafka.kafka.errorlog import ErrorLog

logger = structlog.get_logger(__name__)

# Asking the broker for offsets takes milliseconds. Who asks tries again, and must not be held up for longer when it is to stop.
OFFSETS_TIMEOUT_S = 3.0
# One read gives no more than this and one record: what a record holds differs a thousandfold, and who reads keeps all of a read in memory.
READ_BYTES = 256 * 1024
# Asked of librdkafka at a time, between looks at how much that is.
_PORTION = 64
# librdkafka's error code, which its Python binding spells with an underscore.
_AUTO_OFFSET_RESET: int = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001


class PartitionReader:
    """Reads one partition from a told offset, without a group. One thread reads; any may close it, and waits for the read to end.

    Args:
        options: from `connection.reader_options`.
        topic: the topic.
        partition: the partition.
    """

    def __init__(self, options: Options, topic: str, partition: int) -> None:
        self._options = options | {"error_cb": self._on_error}
        self._topic = topic
        self._partition = partition
        self._tell = ErrorLog("reader", topic=topic, partition=partition)
        self._consumer: Consumer | None = None
        self._reading = threading.Lock()

    def start(self, offset: int) -> None:
        """Read from this offset on. Does not wait for Kafka."""
        with self._reading:
            self._consumer = self._consumer or Consumer(self._options)
            self._assign(offset)

    def start_at_end(self) -> int:
        """Read what comes from now on.

        Returns:
            The offset that the next record will have.

        Raises:
            KafkaUnavailable: Kafka did not tell where the end is.
        """
        with self._reading:
            self._consumer = self._consumer or Consumer(self._options)
            try:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, self._partition), timeout=OFFSETS_TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError._TIMED_OUT:  # noqa: SLF001 - the library's public error code
                    # One made while Kafka was away may hold the partition for unknown long after it is back (librdkafka 2.16). A slow one
                    # answers the next question on the connections that it has by then.
                    self._consumer.close()
                    self._consumer = None
                raise KafkaUnavailable(f"Kafka did not tell the end of {self._topic}[{self._partition}]: {error.args[0].str()}") from error
            self._assign(end)
            return int(end)

    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Message]:
        """Records in order; none when nothing came in time or the reader is closed. The first may wait `fill_s` for company.

        At most `max_messages`, and no more once they hold READ_BYTES. Where records are gone it goes on with the first that is left.
        """
        with self._reading:
            if self._consumer is None:
                return []
            first = self._consumer.poll(timeout_s)
            if first is None:
                return []
            messages, size = [first], len(first)
            until = time.monotonic() + fill_s
            while size < READ_BYTES and (most := min(max_messages - len(messages), _PORTION)) > 0:
                # consume(n, t) waits for all n or the whole t.
                more = self._consumer.consume(most, max(0.0, until - time.monotonic()))
                if not more:
                    break
                messages += more
                size += sum(map(len, more))
            return [message for message in messages if message.error() is None or self._handled(message)]

    def close(self) -> None:
        """Let the consumer go, after the read under way; a later `start` makes a new one."""
        with self._reading:
            if self._consumer is not None:
                self._consumer.close()
                self._consumer = None

    def _assign(self, offset: int) -> None:
        if self._consumer is not None:
            self._consumer.assign([TopicPartition(self._topic, self._partition, offset)])

    def _handled(self, message: Message) -> bool:
        """Deal with an error event; always False: there is no record in it."""
        error = message.error()
        if error is not None and error.code() == _AUTO_OFFSET_RESET:
            logger.warning("reading from the first record that is left", topic=self._topic, partition=self._partition, error=error.str())
            self._assign(OFFSET_BEGINNING)
        elif error is not None:
            logger.warning("kafka error", client="reader", topic=self._topic, partition=self._partition, error=error.str())
        return False

    def _on_error(self, error: KafkaError) -> None:
        self._tell(error)
