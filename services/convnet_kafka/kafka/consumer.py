"""Readers of Kafka: a member of a consumer group, and a reader of told partitions.

Owns the confluent consumers; the calling thread owns the waiting. A group consumer starts where its group has committed, else at
the beginning; an offset that is gone is reported as expired before it goes on, never skipped in silence. Commits never go backwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import Options

logger = structlog.get_logger(__name__)

# Asking the broker for offsets takes milliseconds; a broker that restarts gets a few seconds.
OFFSETS_TIMEOUT_S = 10.0
# Taking a partition up again asks the broker twice, in the thread that reads: no answer in this time is tried again at the next read.
START_AGAIN_TIMEOUT_S = 2.0
# librdkafka's error codes that its Python binding spells with an underscore.
_AUTO_OFFSET_RESET: int = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
_NO_OFFSET: int = KafkaError._NO_OFFSET  # noqa: SLF001


@dataclass(frozen=True, slots=True)
class GroupEvents:
    """What a group consumer tells its owner, from the thread that reads.

    Attributes:
        on_assigned: these partitions are ours now.
        on_revoked: these partitions go away: finish what is in flight of them, call `done`, and return within a deadline of your own.
        on_lost: these partitions are already somebody else's: drop what is in flight of them.
        on_expired: partition and number of records that were gone before they were read.
    """

    on_assigned: Callable[[frozenset[int]], None]
    on_revoked: Callable[[frozenset[int]], None]
    on_lost: Callable[[frozenset[int]], None]
    on_expired: Callable[[int, int], None]


class GroupConsumer:
    """One member of a consumer group on one topic.

    Belongs to one thread, which joins, reads, commits and closes; only `done` may be called from others. (confluent-kafka lets one call
    at a time into a consumer: a second thread would wait for the end of a read, or, between short reads, for ever.)

    Args:
        options: from `connection.group_options`.
        topic: the topic to share with the group.
        events: what to tell the owner.
    """

    def __init__(self, options: Options, topic: str, events: GroupEvents) -> None:
        self._options = options | {"on_commit": self._on_commit, "error_cb": self._on_error}
        self._topic = topic
        self._events = events
        self._consumer: Consumer | None = None
        self._lock = threading.Lock()
        self._assigned: frozenset[int] = frozenset()
        self._done: dict[int, int] = {}
        self._dirty: set[int] = set()
        self._fatal: KafkaError | None = None
        self._commit_due = False
        self._to_start_again: set[int] = set()
        self._gone_while_reading: set[int] = set()

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that are ours now."""
        return self._assigned

    def start(self) -> None:
        """Join the group. Does not wait for Kafka: partitions arrive during `read`."""
        self._consumer = Consumer(self._options)
        self._consumer.subscribe([self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)

    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Message]:
        """Records in the order of their partitions.

        Args:
            max_messages: at most so many, 1 or more.
            timeout_s: seconds to wait for the first.
            fill_s: seconds the first may wait for company.

        Raises:
            KafkaUnavailable: the consumer has met an error that it cannot recover from.
        """
        consumer = self._open()
        if self._commit_due:
            self._commit_due = False
            self._commit_now(wait=False)
        # consume(n, t) waits for all n or the whole t: so wait for one, then take what is there.
        first = consumer.poll(timeout_s)
        if self._fatal is not None:
            raise KafkaUnavailable(f"the consumer of {self._topic} cannot go on: {self._fatal.str()}")
        messages = [first] if first is not None else []
        if first is not None and max_messages > 1:
            self._gone_while_reading.clear()
            rest = consumer.consume(max_messages - 1, fill_s)
            # librdkafka drops what it had queued of a partition that goes away; what `poll` has handed out already is ours to drop.
            messages = rest if first.partition() in self._gone_while_reading else [first, *rest]
        records = [message for message in messages if message.error() is None or self._handled(message)]
        if self._to_start_again:
            self._start_again(consumer)
        return records

    def done(self, positions: Mapping[int, int]) -> None:
        """All records before these offsets (by partition) have their results in Kafka."""
        with self._lock:
            for partition, offset in positions.items():
                if partition in self._assigned and offset > self._done.get(partition, -1):
                    self._done[partition] = offset
                    self._dirty.add(partition)

    def commit(self, *, wait: bool = False, partitions: Collection[int] | None = None) -> None:
        """Commit what is done and not committed yet; a commit that fails is tried again at the next call.

        confluent-kafka lets one thread at a time use a consumer, and one that polls without a pause starves all others: so without
        `wait` this only asks the reading thread to commit, which it does before its next read.

        Args:
            wait: True to commit now and wait for the broker's answer; only for the thread that reads.
            partitions: only these, or None for all; with `wait`.
        """
        if wait:
            self._commit_now(wait=True, partitions=partitions)
        else:
            self._commit_due = True

    def _commit_now(self, *, wait: bool, partitions: Collection[int] | None = None) -> None:
        with self._lock:
            dirty = self._dirty if partitions is None else self._dirty & set(partitions)
            offsets = [TopicPartition(self._topic, partition, self._done[partition]) for partition in sorted(dirty)]
            self._dirty = self._dirty - dirty
        if not offsets or self._consumer is None:
            return
        try:
            if wait:
                self._on_commit(None, self._consumer.commit(offsets=offsets, asynchronous=False) or [])
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], offsets)

    def close(self) -> None:
        """Leave the group. What is done but not committed is read again by others."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise KafkaUnavailable(f"the consumer of {self._topic} is not started")
        return self._consumer

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Without offsets librdkafka takes the committed ones; where there are none `_handled` starts at the beginning.
        consumer.incremental_assign(partitions)
        added = frozenset(item.partition for item in partitions)
        with self._lock:
            self._assigned |= added
            for partition in added:
                self._done.pop(partition, None)
        if added:
            self._events.on_assigned(added)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        removed = frozenset(item.partition for item in partitions)
        if removed:
            self._events.on_revoked(removed)
            self.commit(wait=True, partitions=removed)
        self._drop(removed)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        removed = frozenset(item.partition for item in partitions)
        self._drop(removed)
        if removed:
            self._events.on_lost(removed)
        consumer.incremental_unassign(partitions)

    def _drop(self, removed: frozenset[int]) -> None:
        with self._lock:
            self._assigned -= removed
            self._dirty -= removed
            self._gone_while_reading |= removed
            self._to_start_again -= removed
            for partition in removed:
                self._done.pop(partition, None)

    def _handled(self, message: Message) -> bool:
        """Deal with an error event; always False: there is no record in it."""
        error = message.error()
        partition = message.partition()
        if error is not None and error.code() in {_AUTO_OFFSET_RESET, _NO_OFFSET} and partition in self._assigned:
            self._to_start_again.add(partition)
        elif error is not None and error.fatal():
            self._fatal = error
        elif error is not None:
            logger.warning("kafka consumer", topic=self._topic, partition=partition, error=error.str())
        return False

    def _start_again(self, consumer: Consumer) -> None:
        """The group has no committed offset, or one that the log no longer has: go on at the beginning, and say what is gone."""
        here = [TopicPartition(self._topic, partition) for partition in sorted(self._to_start_again)]
        try:
            committed = {item.partition: item.offset for item in consumer.committed(here, timeout=START_AGAIN_TIMEOUT_S)}
            for item in here:
                low, high = consumer.get_watermark_offsets(item, timeout=START_AGAIN_TIMEOUT_S)
                read_to = max(committed[item.partition], self._position(consumer, item))
                self._tell_expired(item.partition, read_to, low, high)
                # seek() is refused after a failed fetch: take the partition up again instead.
                consumer.incremental_unassign([item])
                consumer.incremental_assign([TopicPartition(self._topic, item.partition, OFFSET_BEGINNING)])
                self._to_start_again.discard(item.partition)
        except KafkaException as error:
            due = sorted(self._to_start_again)
            logger.warning("partitions will be taken up again", topic=self._topic, partitions=due, error=str(error))

    @staticmethod
    def _position(consumer: Consumer, partition: TopicPartition) -> int:
        """The offset after the last record that was read, negative before the first."""
        return int(consumer.position([partition])[0].offset)

    def _tell_expired(self, partition: int, read_to: int, low: int, high: int) -> None:
        """Count and log what was gone before it was read.

        Args:
            partition: which.
            read_to: where reading would have gone on; negative when the group never read here, which is to begin at 0.
            low: first offset that is left.
            high: the end.
        """
        due = max(read_to, 0)
        if due < low:
            self._events.on_expired(partition, low - due)
            logger.error("images expired unread", topic=self._topic, partition=partition, due=due, first=low, expired=low - due)
        elif due > high:
            logger.error("the topic was made anew or truncated", topic=self._topic, partition=partition, due=due, end=high)
            with self._lock:
                self._done.pop(partition, None)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        failed = {item.partition for item in partitions if error is not None or item.error is not None}
        if not failed:
            return
        with self._lock:
            self._dirty |= failed & self._assigned & self._done.keys()
        logger.info("commit will be tried again", topic=self._topic, partitions=sorted(failed), error=str(error))

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        else:
            logger.warning("kafka consumer", topic=self._topic, error=error.str())


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
                raise KafkaUnavailable(f"Kafka did not tell the end of {self._topic}[{self._partition}]: {error.args[0].str()}") from error
            self._assign(end)
            return int(end)

    def read(self, max_messages: int, timeout_s: float, fill_s: float = 0.0) -> list[Message]:
        """Records in order; none when nothing came in time or the reader is closed. The first may wait `fill_s` for company.

        Where records are gone it goes on with the first that is left.
        """
        with self._reading:
            if self._consumer is None:
                return []
            first = self._consumer.poll(timeout_s)
            if first is None:
                return []
            messages = [first, *self._consumer.consume(max_messages - 1, fill_s)] if max_messages > 1 else [first]
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
            logger.warning("kafka reader", topic=self._topic, partition=self._partition, error=error.str())
        return False

    def _on_error(self, error: KafkaError) -> None:
        logger.warning("kafka reader", topic=self._topic, partition=self._partition, error=error.str())
