"""What Kafka knows of partitions that come to a member of a group: how far its group was, where their logs begin and end, what has expired.

Asks in the calling thread, which is the consumer's own, and keeps nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaException, TopicPartition

logger = structlog.get_logger(__name__)

# A question is asked in the thread that reads: one without an answer in this time is asked again at the next read, or done without.
ANSWER_S = 2.0


@dataclass(frozen=True, slots=True)
class Start:
    """A partition as it was when it came.

    Attributes:
        committed: the group's committed offset, negative when there is none.
        metadata: the text that was committed with it; empty for none.
        end: the offset that the next record would have had.
    """

    committed: int
    metadata: str
    end: int


class History:
    """Of the partitions of one topic.

    Args:
        topic: which.
        on_expired: told a partition, the number of records that were gone before they were read, and the first offset that is left.
        on_made_anew: told a partition whose log ends before what was read of it.
    """

    def __init__(self, topic: str, on_expired: Callable[[int, int, int], None], on_made_anew: Callable[[int], None]) -> None:
        self._topic = topic
        self._on_expired = on_expired
        self._on_made_anew = on_made_anew

    def starts(self, consumer: Consumer, partitions: Sequence[TopicPartition], answer_s: float = ANSWER_S) -> dict[int, Start | None]:
        """What Kafka says of partitions that have just come; None of those it says nothing of in time, or does not want to.

        Args:
            consumer: the member's.
            partitions: which.
            answer_s: seconds that Kafka has for each of two questions; nothing is read meanwhile.
        """
        here = [TopicPartition(self._topic, item.partition) for item in sorted(partitions, key=lambda item: item.partition)]
        found: dict[int, Start | None] = {item.partition: None for item in here}
        if not here:  # librdkafka takes a question about nothing for a mistake
            return found
        try:
            committed = consumer.committed(here, timeout=answer_s)
            # Asks for the first offset from a time on; this time means the end, and one request to a broker does for all its partitions.
            ends = consumer.offsets_for_times([TopicPartition(self._topic, item.partition, OFFSET_END) for item in here], answer_s)
        except KafkaException as error:
            logger.warning("partitions come without their history", topic=self._topic, partitions=sorted(found), error=str(error))
            return found
        end = {item.partition: item.offset for item in ends if item.error is None and item.offset >= 0}
        for item in committed:
            if item.error is None and item.partition in end:
                found[item.partition] = Start(item.offset, item.metadata or "", end[item.partition])
        if refused := [item for item in (*committed, *ends) if item.error is not None]:
            without = sorted({item.partition for item in refused})
            logger.warning("partitions come without their history", topic=self._topic, partitions=without, error=str(refused[0].error))
        return found

    def beginnings(
        self,
        consumer: Consumer,
        partitions: Sequence[TopicPartition],
        starts: Mapping[int, Start | None],
        answer_s: float = ANSWER_S,
    ) -> list[TopicPartition]:
        """Where to begin in partitions that have just come, as offsets wherever they are known.

        All is settled before anything is fetched: what librdkafka had to ask the broker for (committed offsets, the beginning) would wait
        behind each fetch that the broker holds back, half a second for each, and the lane's first image with it.
        """
        committed = {number: start.committed for number, start in starts.items() if start is not None}
        new_numbers = [number for number in sorted(committed) if committed[number] < 0]
        new = [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in new_numbers]
        begin = {number: offset for number, offset in committed.items() if offset >= 0}
        try:
            found = consumer.offsets_for_times(new, answer_s) if new else []
        except KafkaException as error:
            logger.warning("partitions come without their history", topic=self._topic, partitions=new_numbers, error=str(error))
            found = []
        low = {item.partition: item.offset for item in found if item.error is None and item.offset >= 0}
        for number, first in low.items():
            start = starts[number]
            self._tell(number, committed[number], first, start.end if start is not None else first)
        begin |= low
        return [TopicPartition(self._topic, item.partition, begin.get(item.partition, item.offset)) for item in partitions]

    def gone(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> Iterator[TopicPartition]:
        """Partitions that can be read no further, each once it is told what was gone there.

        Raises:
            KafkaException: Kafka does not answer; those that were not given are to be asked for again.
        """
        committed = {item.partition: item.offset for item in consumer.committed(list(partitions), timeout=ANSWER_S)}
        for item in partitions:
            low, high = consumer.get_watermark_offsets(item, timeout=ANSWER_S)
            # The position is that after the last record that was read, negative before the first.
            self._tell(item.partition, max(committed[item.partition], consumer.position([item])[0].offset), low, high)
            yield item

    def _tell(self, partition: int, read_to: int, low: int, high: int) -> None:
        """Count and log what was gone before it was read.

        Args:
            partition: which.
            read_to: where reading would have gone on; negative when the group never read here, which is to begin at 0.
            low: first offset that is left.
            high: the end.
        """
        due = max(read_to, 0)
        if due < low:
            self._on_expired(partition, low - due, low)
            logger.error("images expired unread", topic=self._topic, partition=partition, due=due, first=low, expired=low - due)
        elif due > high:
            logger.error("the topic was made anew or truncated", topic=self._topic, partition=partition, due=due, end=high)
            self._on_made_anew(partition)
