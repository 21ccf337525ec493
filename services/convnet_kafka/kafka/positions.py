"""Where a consumer group stands on a topic, asked from outside: what it has committed beside the log's start and end.

Owns one consumer that never joins the group and never reads a record. Belongs to one thread. The admin client's way to ask for a
group's offsets is not used: in librdkafka 2.16 it crashes the process while a coordinator loads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import Options

# Small requests to one or two brokers: they take milliseconds.
ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class Position:
    """A group on one partition.

    Attributes:
        start: the first offset that the log still has.
        end: the offset that the next record will have.
        committed: where the group goes on, None when it never committed.
    """

    start: int
    end: int
    committed: int | None

    @property
    def next(self) -> int:
        """The first offset the group has not done and still can: classifiers begin at the start where nothing is committed."""
        return max(self.start, self.committed or 0)

    @property
    def waiting(self) -> int:
        """Records that wait for the group."""
        return max(0, self.end - self.next)

    @property
    def expired(self) -> int:
        """Records that retention removed before the group had done them."""
        return max(0, self.start - (self.committed or 0))


class GroupPositions:
    """Looks at one group on one topic.

    Args:
        options: from `connection.reader_options`.
        topic: the topic.
        group: the group that reads it.
    """

    def __init__(self, options: Options, topic: str, group: str) -> None:
        self._options = options | {"group.id": group}
        self._topic = topic
        self._group = group
        self._consumer: Consumer | None = None

    def look(self) -> dict[int, Position]:
        """The group on each partition.

        Raises:
            KafkaUnavailable: Kafka did not answer, or does not let us see the topic or the group.
        """
        try:
            consumer = self._open()
            # Serves what librdkafka has to say (its log lines); nothing is assigned, so no record can come.
            consumer.poll(0)
            partitions = list(consumer.list_topics(self._topic, timeout=ANSWER_S).topics[self._topic].partitions)
            if not partitions:
                raise KafkaUnavailable(f"the backlog of {self._topic} cannot be seen: there is no such topic, or it is hidden from us")
            # Before the ends: asked the other way round, a group that is quick would seem to be past the end.
            committed = self._by_partition(consumer.committed(self._at(partitions), timeout=ANSWER_S))
            starts = self._times(consumer, partitions, OFFSET_BEGINNING)
            ends = self._times(consumer, partitions, OFFSET_END)
        except KafkaException as error:
            raise KafkaUnavailable(f"the backlog of {self._topic} cannot be seen: {error.args[0].str()}") from error
        return {
            partition: Position(starts[partition], ends[partition], committed[partition] if committed[partition] >= 0 else None)
            for partition in partitions
        }

    def first_since(self, partitions: Collection[int], at_ms: int) -> dict[int, int | None]:
        """The first offset of each partition whose record is of this time (milliseconds since the epoch) or later; None for none.

        An older record that stands behind a younger one is not seen, nor does retention remove it before that.

        Raises:
            KafkaUnavailable: Kafka did not answer.
        """
        try:
            found = self._times(self._open(), partitions, at_ms)
        except KafkaException as error:
            raise KafkaUnavailable(f"the age of {self._topic} cannot be seen: {error.args[0].str()}") from error
        return {partition: offset if offset >= 0 else None for partition, offset in found.items()}

    def close(self) -> None:
        """Let the consumer go; a later look makes a new one."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _open(self) -> Consumer:
        if self._consumer is None:
            self._consumer = Consumer(self._options)
        return self._consumer

    def _at(self, partitions: Collection[int], offset: int = 0) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition, offset) for partition in partitions]

    def _times(self, consumer: Consumer, partitions: Collection[int], at: int) -> dict[int, int]:
        # One request a broker for all partitions; the protocol's times -2 and -1 (ListOffsets) stand for the start and the end.
        return self._by_partition(consumer.offsets_for_times(self._at(partitions, at), timeout=ANSWER_S))

    @staticmethod
    def _by_partition(found: list[TopicPartition]) -> dict[int, int]:
        for item in found:
            if item.error is not None:
                raise KafkaException(item.error)
        return {item.partition: item.offset for item in found}
