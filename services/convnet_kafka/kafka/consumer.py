"""A member of a consumer group.

Owns the confluent consumer; the calling thread owns the waiting. It starts where its group has committed, else at
the beginning; an offset that is gone is reported as expired before it goes on, never skipped in silence. Commits never go backwards, and
may carry a text for the partition's next owner.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from convnet_kafka.errors import KafkaUnavailable
from convnet_kafka.kafka.connection import Options
from convnet_kafka.kafka.errorlog import ErrorLog
from convnet_kafka.kafka.history import History, Start
from convnet_kafka.kafka.progress import Progress

logger = structlog.get_logger(__name__)

# A commit that is waited for takes one round trip, some milliseconds; one that Kafka has not taken in this time is made again later.
COMMIT_TIMEOUT_S = 2.0
_COMMIT_LOOK_S = 0.002
# Between looks at where the group was in partitions that came while Kafka did not say it, and how long each question may keep those waiting
# that are read; longer than a fetch that a broker holds back (0.5 s), which the question may have to wait for.
PLACE_AGAIN_S = 2.0
PLACE_ANSWER_S = 1.0
# One who does not read for `max.poll.interval.ms` is thrown out of the group: whoever waits for something else attends so often within it.
ATTENDANCES = 5
MAX_POLL_INTERVAL_MS = 300_000
# librdkafka's error codes that its Python binding spells with an underscore.
_AUTO_OFFSET_RESET: int = KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001
_NO_OFFSET: int = KafkaError._NO_OFFSET  # noqa: SLF001
_FATAL: int = KafkaError._FATAL  # noqa: SLF001


def _is_fatal(error: KafkaError) -> bool:
    """Whether the consumer can do nothing any more; `fatal()` alone says no of an event that a read gives."""
    return error.fatal() or error.code() == _FATAL


@dataclass(frozen=True, slots=True)
class GroupEvents:
    """What a group consumer tells its owner, from the thread that reads.

    Attributes:
        on_assigned: these partitions are ours now; each with what Kafka said of it, or None when Kafka did not say it in time. Those are
            told again when Kafka has said it, if nothing was read of them by then.
        on_revoked: these partitions go away: finish what is in flight of them, call `done`, and return within a deadline of your own.
        on_lost: these partitions are already somebody else's: drop what is in flight of them.
        on_expired: partition and number of records that were gone before they were read.
        on_commit_failed: number of commits that Kafka did not take, of whichever thread.
    """

    on_assigned: Callable[[Mapping[int, Start | None]], None]
    on_revoked: Callable[[frozenset[int]], None]
    on_lost: Callable[[frozenset[int]], None]
    on_expired: Callable[[int, int], None]
    on_commit_failed: Callable[[int], None] = lambda _: None


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
        self._tell = ErrorLog("consumer", topic=topic)
        self._events = events
        self._progress = Progress()
        self._history = History(topic, self._pass_expired, self._progress.forget)
        self._consumer: Consumer | None = None
        self._fatal: KafkaError | None = None
        self._commit_due = False
        self._to_start_again: set[int] = set()
        # Of which neither a place to begin is known nor anything was read.
        self._unplaced: set[int] = set()
        self._place_at = 0.0
        # First offsets that are left where records have expired.
        self._passed: dict[int, int] = {}
        self._gone_while_reading: set[int] = set()
        self._left_over: list[Message] = []
        self._read_at = time.monotonic()
        interval_ms = options.get("max.poll.interval.ms", MAX_POLL_INTERVAL_MS)
        self._attend_s = float(interval_ms) / 1000 / ATTENDANCES

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that are ours now."""
        return self._progress.assigned

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
        self._read_at = time.monotonic()
        if self._left_over:
            left_over, self._left_over = self._left_over, []
            self._unplaced.difference_update(message.partition() for message in left_over)
            return left_over
        if self._unplaced:  # before anything is in hand that would have to wait for it
            self._place(consumer)
        # consume(n, t) waits for all n or the whole t: so wait for one, then take what is there.
        first = consumer.poll(timeout_s)
        self._raise_fatal()
        messages = [first] if first is not None else []
        if first is not None and max_messages > 1:
            self._gone_while_reading.clear()
            rest = consumer.consume(max_messages - 1, fill_s)
            # librdkafka drops what it had queued of a partition that goes away; what `poll` has handed out already is ours to drop.
            messages = rest if first.partition() in self._gone_while_reading else [first, *rest]
        records = [message for message in messages if message.error() is None or self._handled(message)]
        self._raise_fatal()
        if self._to_start_again:
            self._start_again(consumer)
        if self._unplaced:
            self._unplaced.difference_update(message.partition() for message in records)
        return records

    def attend(self) -> None:
        """Stay in the group while its owner is busy with what it has: partitions may go and come meanwhile, no record is read.

        Does something a few times in every `max.poll.interval.ms` only, so it may be called as often as one likes.
        """
        now = time.monotonic()
        if now < self._read_at + self._attend_s:
            return
        self._read_at = now
        consumer = self._open()
        consumer.pause(self._places(self.assigned))
        self._gone_while_reading.clear()
        message = consumer.poll(0.0)
        consumer.resume(self._places(self.assigned))
        # Of a partition that has only just come; everything else is paused.
        if message is not None and (message.error() is None or self._handled(message)):
            self._left_over.append(message)

    def rewind(self, positions: Mapping[int, int]) -> None:
        """Read these partitions again from these offsets. For the thread that reads."""
        consumer = self._open()
        held = {partition: offset for partition, offset in positions.items() if partition in self.assigned}
        self._left_over = [message for message in self._left_over if message.partition() not in held]
        # seek() is refused after a failed fetch: take the partitions up again instead.
        consumer.incremental_unassign(self._places(held))
        consumer.incremental_assign([TopicPartition(self._topic, partition, offset) for partition, offset in held.items()])

    def annotate(self, partition: int, offset: int, text: str) -> None:
        """From now on commits of this partition carry this text, or none when it is empty; the next one is due, at this offset or later.

        The text is for the partition's next owner, and is forgotten here with the partition.
        """
        self._progress.annotate(partition, offset, text)

    def done(self, positions: Mapping[int, int]) -> None:
        """All records before these offsets (by partition) have their results in Kafka."""
        self._progress.done(positions)

    def commit(self, *, wait: bool = False, partitions: Collection[int] | None = None) -> bool:
        """Commit what is done and not committed yet; a commit that fails is tried again at the next call.

        confluent-kafka lets one thread at a time use a consumer, and one that polls without a pause starves all others: so without
        `wait` this only asks the reading thread to commit, which it does before its next read.

        Args:
            wait: True to commit now and wait for the broker's answer; only for the thread that reads.
            partitions: only these, or None for all; with `wait`.

        Returns:
            With `wait`, whether Kafka has taken all of it.
        """
        if wait:
            return self._commit_now(wait=True, partitions=partitions)
        self._commit_due = True
        return True

    def _commit_now(self, *, wait: bool, partitions: Collection[int] | None = None) -> bool:
        offsets = [TopicPartition(self._topic, *position) for position in self._progress.take(partitions)]
        if not offsets or self._consumer is None:
            return not offsets
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
            if wait:
                self._see_committed(self._consumer, offsets)
        except KafkaException as error:
            return self._on_commit(error.args[0], offsets)
        return True

    def _see_committed(self, consumer: Consumer, offsets: list[TopicPartition]) -> None:
        """Return once Kafka says that these are committed: asked on the connection that carried the commit, so behind it.

        `asynchronous=False` would wait without an end: it never returns where the broker has been away from the metadata meanwhile, as
        each broker is that starts anew (librdkafka 2.16; confluent-kafka-python issue 1801), and the member is thrown out of its group.

        Raises:
            KafkaException: Kafka has not taken them in time; why is told to `_on_commit` at the next read.
        """
        wanted = {item.partition: (item.offset, item.metadata or "") for item in offsets}
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        while (left := deadline - time.monotonic()) > 0:
            found = consumer.committed(self._places(wanted), timeout=left)
            if {item.partition: (item.offset, item.metadata or "") for item in found} == wanted:
                return
            time.sleep(_COMMIT_LOOK_S)
        raise KafkaException(KafkaError(KafkaError.REQUEST_TIMED_OUT))

    def close(self) -> None:
        """Leave the group. What is done but not committed is read again by others."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _raise_fatal(self) -> None:
        if self._fatal is not None:
            raise KafkaUnavailable(f"the consumer of {self._topic} cannot go on: {self._fatal.str()}")

    def _open(self) -> Consumer:
        if self._consumer is None:
            raise KafkaUnavailable(f"the consumer of {self._topic} is not started")
        return self._consumer

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        starts = self._history.starts(consumer, partitions)
        # Where no offset is known librdkafka takes the committed one; where that fails `_handled` starts at the beginning.
        places = self._history.beginnings(consumer, partitions, starts)
        consumer.incremental_assign(places)
        added = frozenset(item.partition for item in partitions)
        self._progress.add(added)
        self._commit_passed()
        self._unplaced |= {place.partition for place in places if place.offset < 0}
        self._place_at = time.monotonic() + PLACE_AGAIN_S
        if added:
            self._events.on_assigned(starts)

    def _place(self, consumer: Consumer) -> None:
        """Take up partitions again that came without a place to begin, once Kafka says where the group was.

        librdkafka asks for it by itself, but once: when a coordinator that is only just coming back refuses the question, it never asks
        again and reads nothing of them, for ever (librdkafka 2.16; issue 5586).
        """
        if time.monotonic() < self._place_at:
            return
        found = self._history.starts(consumer, self._places(self._unplaced), PLACE_ANSWER_S)
        starts = {number: start for number, start in found.items() if start is not None}
        places = self._history.beginnings(consumer, self._places(starts), starts, PLACE_ANSWER_S)
        self._place_at = time.monotonic() + PLACE_AGAIN_S
        known = [place for place in places if place.offset >= 0]
        if not known:
            return
        try:
            consumer.incremental_unassign(known)
            consumer.incremental_assign(known)
        except KafkaException as error:
            logger.warning("partitions will be taken up again", topic=self._topic, partitions=sorted(self._unplaced), error=str(error))
            return
        placed = {place.partition for place in known}
        self._unplaced -= placed
        self._to_start_again -= placed  # what was asked for before has its answer
        self._commit_passed()
        self._events.on_assigned({place.partition: starts[place.partition] for place in known})

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, partition) for partition in sorted(partitions)]

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
        self._progress.remove(removed)
        self._gone_while_reading |= removed
        self._to_start_again -= removed
        self._unplaced -= removed
        self._left_over = [message for message in self._left_over if message.partition() not in removed]

    def _handled(self, message: Message) -> bool:
        """Deal with an error event; always False: there is no record in it."""
        error = message.error()
        partition = message.partition()
        if error is not None and error.code() in {_AUTO_OFFSET_RESET, _NO_OFFSET} and partition in self.assigned:
            self._to_start_again.add(partition)
        elif error is not None and _is_fatal(error):
            self._fatal = error
        elif error is not None:
            logger.warning("kafka error", client="consumer", topic=self._topic, partition=partition, error=error.str())
        return False

    def _start_again(self, consumer: Consumer) -> None:
        """The group has no committed offset, or one that the log no longer has: go on at the beginning, and say what is gone."""
        try:
            for place in self._history.gone(consumer, self._places(self._to_start_again)):
                # seek() is refused after a failed fetch: take the partition up again instead.
                consumer.incremental_unassign([place])
                consumer.incremental_assign([TopicPartition(self._topic, place.partition, OFFSET_BEGINNING)])
                self._to_start_again.discard(place.partition)
                self._unplaced.discard(place.partition)
                self._commit_passed()
        except KafkaException as error:
            due = sorted(self._to_start_again)
            logger.warning("partitions will be taken up again", topic=self._topic, partitions=due, error=str(error))

    def _pass_expired(self, partition: int, records: int, first: int) -> None:
        self._passed[partition] = first
        self._events.on_expired(partition, records)

    def _commit_passed(self) -> None:
        """What is gone is behind the group, also where no record follows: else who asks for its position counts it as lost again."""
        passed, self._passed = self._passed, {}
        self.done(passed)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> bool:
        """Note what Kafka did not take for the next commit; whether it took everything."""
        failed = {item.partition: error or item.error for item in partitions if error is not None or item.error is not None}
        if not failed:
            return True
        errors = [item for item in failed.values() if item is not None]
        self._fatal = self._fatal or next(filter(_is_fatal, errors), None)
        self._progress.give_back(failed)
        if any(item.code() == KafkaError.OFFSET_METADATA_TOO_LARGE for item in errors) and self._progress.drop_texts():
            # Until then an image that ends its process is not found.
            logger.error("the broker takes no notes with commits", topic=self._topic, set="offset.metadata.max.bytes to its default")
        self._events.on_commit_failed(1)
        logger.info("commit will be tried again", topic=self._topic, partitions=sorted(failed), error=str(next(iter(failed.values()))))
        return False

    def _on_error(self, error: KafkaError) -> None:
        if _is_fatal(error):
            self._fatal = error
        else:
            self._tell(error)
