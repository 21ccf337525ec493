"""Everything a topic holds now, read once from end to end, without a group. For commands, not for services.

Owns the confluent consumer for as long as the scan is iterated over.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Generator
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from convnet_kafka.errors import KafkaUnavailable, TopicMismatch
from convnet_kafka.kafka.connection import Options

ANSWER_S = 10.0
AGAIN_S = 0.2
# A scan reads what is there: a broker that gives nothing for so long has a problem.
SILENT_S = 30.0
MAX_RECORDS = 500
# librdkafka's error code, which its Python binding spells with an underscore.
_PARTITION_EOF: int = KafkaError._PARTITION_EOF  # noqa: SLF001


def bounds(
    options: Options,
    topic: str,
    partitions: Collection[int] | None = None,
    since_ms: int | None = None,
    until_ms: int | None = None,
) -> dict[int, tuple[int, int]]:
    """First offset and end of partitions that hold something.

    Args:
        options: from `connection.reader_options`.
        topic: the topic.
        partitions: only these, or None for all.
        since_ms: leave out what was written before, milliseconds since the epoch.
        until_ms: leave out what comes from the first record on that was written at this time or later.

    Raises:
        KafkaUnavailable: Kafka did not answer.
        TopicMismatch: there is no such topic.
    """
    deadline = time.monotonic() + ANSWER_S
    with closing(Consumer(options)) as consumer:
        while True:
            try:
                return _bounds(consumer, topic, partitions, since_ms, until_ms)
            except KafkaException as error:
                # A topic that was just made, or a broker that restarts, leaves partitions without a leader for a moment.
                if time.monotonic() > deadline:
                    raise KafkaUnavailable(f"Kafka did not tell what {topic} holds: {error.args[0].str()}") from error
                time.sleep(AGAIN_S)


def _bounds(
    consumer: Consumer, topic: str, partitions: Collection[int] | None, since_ms: int | None, until_ms: int | None
) -> dict[int, tuple[int, int]]:
    known = consumer.list_topics(topic, timeout=ANSWER_S).topics[topic]
    if known.error is not None or not known.partitions:
        raise TopicMismatch(f"topic {topic} does not exist: is the prefix right? 'convnet-kafka topics check' says what is there")
    wanted = sorted(known.partitions if partitions is None else set(partitions) & set(known.partitions))
    found = {number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=ANSWER_S) for number in wanted}
    since, until = (_first(consumer, topic, wanted, at_ms) for at_ms in (since_ms, until_ms))
    within = {}
    for number, (low, end) in found.items():
        first, last = since.get(number, low), until.get(number, end)
        # No record of that time or later: then nothing is left, or nothing is left out.
        within[number] = (max(low, first) if first >= 0 else end, min(end, last) if last >= 0 else end)
    return {number: (int(low), int(end)) for number, (low, end) in within.items() if low < end}


def _first(consumer: Consumer, topic: str, partitions: Collection[int], at_ms: int | None) -> dict[int, int]:
    """The first offset of each partition of this time or later, negative for none; empty when no time is given."""
    if at_ms is None or not partitions:
        return {}
    items = consumer.offsets_for_times([TopicPartition(topic, number, at_ms) for number in partitions], timeout=ANSWER_S)
    for item in items:
        if item.error is not None:
            raise KafkaException(item.error)
    return {item.partition: item.offset for item in items}


def scan(options: Options, topic: str, within: dict[int, tuple[int, int]]) -> Generator[Message, None, None]:
    """Records in the order of their partitions.

    Args:
        options: from `connection.reader_options`.
        topic: the topic.
        within: first offset and end of each partition to read, from `bounds`.

    Raises:
        KafkaUnavailable: Kafka gave nothing for a while.
    """
    left = {number: end for number, (_, end) in within.items()}
    with closing(Consumer(options | {"enable.partition.eof": True, "auto.offset.reset": "earliest"})) as consumer:
        consumer.assign([TopicPartition(topic, number, low) for number, (low, _) in within.items()])
        while left:
            # consume(n, t) waits for all n or the whole t: so wait for one, then take what is there.
            first = consumer.poll(SILENT_S)
            if first is None:
                raise KafkaUnavailable(f"Kafka gave nothing of {topic} for {SILENT_S:.0f} s: look at its log, and try again")
            for message in [first, *consumer.consume(MAX_RECORDS - 1, 0.0)]:
                number = message.partition()
                if number is None or number not in left:
                    continue
                error = message.error()
                if error is None:
                    offset = message.offset() or 0
                    if offset < left[number]:
                        yield message
                    if offset + 1 >= left[number]:
                        del left[number]
                elif error.code() == _PARTITION_EOF:
                    del left[number]
                elif error.fatal() or not error.retriable():
                    raise KafkaUnavailable(f"{topic} cannot be read: {error.str()}")
