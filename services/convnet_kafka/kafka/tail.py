"""The newest records of a topic, once: reads the end of every partition up to where it ends now, without a group, and stops."""

from __future__ import annotations

import time
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from convnet_kafka.errors import KafkaUnavailable, TopicMismatch
from convnet_kafka.kafka.connection import Options

ANSWER_S = 10.0
# Seconds without a record after which the rest is given up.
SILENT_S = 10.0
MAX_RECORDS = 1000
# librdkafka's error code that its Python binding spells with an underscore.
_PARTITION_EOF: int = KafkaError._PARTITION_EOF  # noqa: SLF001


def newest_records(options: Options, topic: str, most: int) -> Iterator[Message]:
    """The last records of each partition, each partition's in order.

    Args:
        options: from `connection.reader_options`.
        topic: its name.
        most: records of one partition at most, 1 or more.

    Raises:
        KafkaUnavailable: Kafka does not answer.
        TopicMismatch: there is no such topic.
    """
    consumer = Consumer(options | {"enable.partition.eof": True, "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100})
    try:
        starts = _starts(consumer, topic, most)
        consumer.assign(starts)
        yield from _read(consumer, topic, {start.partition for start in starts})
    except KafkaException as error:
        raise KafkaUnavailable(f"Kafka did not let us read {topic}: {error.args[0].str()}") from error
    finally:
        consumer.close()


def _starts(consumer: Consumer, topic: str, most: int) -> list[TopicPartition]:
    """Where to begin in each partition that holds anything."""
    found = consumer.list_topics(topic, timeout=ANSWER_S).topics.get(topic)
    if found is None or found.error is not None or not found.partitions:
        raise TopicMismatch(f"topic {topic} does not exist; is KAFKA_TOPIC_PREFIX right?")
    starts = []
    for partition in found.partitions:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=ANSWER_S)
        if high > low:
            starts.append(TopicPartition(topic, partition, max(low, high - most)))
    return starts


def _read(consumer: Consumer, topic: str, left: set[int]) -> Iterator[Message]:
    heard_at = time.monotonic()
    while left:
        messages = consumer.consume(MAX_RECORDS, 0.2)
        if messages:
            heard_at = time.monotonic()
        elif time.monotonic() > heard_at + SILENT_S:
            raise KafkaUnavailable(f"Kafka sent nothing of {topic} for {SILENT_S:.0f} s, and partitions {sorted(left)} are not read")
        for message in messages:
            error = message.error()
            if error is None:
                yield message
            elif error.code() == _PARTITION_EOF:
                left.discard(message.partition() or 0)
            elif error.fatal():
                raise KafkaException(error)
