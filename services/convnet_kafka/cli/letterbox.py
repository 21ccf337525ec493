"""The dead letters of one release, for `convnet-kafka dlq`: read them, send their images again, purge them.

Owns its Kafka clients for as long as it works. Never takes a dead letter away except in `purge`, and never sends an image again that has
a label, or whose job has expired, unless told to.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from convnet_kafka.deadletters import DeadLetter, Selection, replay_headers
from convnet_kafka.errors import KafkaUnavailable, WireError
from convnet_kafka.kafka.connection import Options, admin_options, producer_options, reader_options
from convnet_kafka.kafka.scan import bounds, scan
from convnet_kafka.messages import Lane, now_ms
from convnet_kafka.replies import ReplyHeaders
from convnet_kafka.settings import KafkaSettings
from convnet_kafka.topology import Topology, max_dead_letter_bytes

HOUR_MS = 3_600_000
FLUSH_S = 60.0
DELIVERY_TIMEOUT_S = 30.0
# A label is written after its image was accepted, by clocks of two machines.
CLOCK_SKEW_MS = 600_000
# Records of one purge that are copied between looks at what was acknowledged.
ROOM_S = 0.1


@dataclass(slots=True)
class Replayed:
    """What became of a replay.

    Attributes:
        sent: images that Kafka has again.
        left: images that were not sent, by reason.
    """

    sent: int = 0
    left: Counter[str] = field(default_factory=Counter)


class Letterbox:
    """The dead letters of one release.

    Args:
        kafka: how to reach Kafka.
        job_life_hours: hours that results can be read; what was submitted longer ago has nobody who waits for it.
    """

    def __init__(self, kafka: KafkaSettings, job_life_hours: float) -> None:
        self._kafka = kafka
        self._topology = Topology(kafka.topic_prefix)
        self._topic = self._topology.dead_letters
        self._job_life_ms = int(job_life_hours * HOUR_MS)
        self.foreign = 0

    def letters(self, selection: Selection) -> Iterator[DeadLetter]:
        """Those that are meant, partition by partition; records that are no dead letters of ours are counted in `foreign`.

        Raises:
            KafkaUnavailable: Kafka did not answer.
            TopicMismatch: there is no topic of dead letters.
            NewerWireVersion: one was written by a newer version: upgrade first.
        """
        options = self._reader()
        for message in scan(options, self._topic, bounds(options, self._topic, since_ms=selection.since_ms)):
            try:
                letter = DeadLetter.parse(message)
            except WireError as error:
                if type(error) is not WireError:
                    raise
                self.foreign += 1
                continue
            if selection.takes(letter):
                yield letter

    def replay(self, letters: Iterable[DeadLetter], *, lane: Lane, rate: float, force: bool, said: Callable[[int], None]) -> Replayed:
        """Send images again, each with its revision one higher: doing it twice changes nothing more.

        Args:
            letters: of several letters of an image the one of the highest revision counts.
            lane: where they wait.
            rate: images a second at most.
            force: also those that have a label.
            said: told how many were sent, now and then.
        """
        latest: dict[tuple[str, str], DeadLetter] = {}
        for letter in letters:
            key = letter.image.job, letter.image.image
            if key not in latest or letter.image.revision > latest[key].image.revision:
                latest[key] = letter
        result = Replayed()
        oldest = now_ms() - self._job_life_ms
        wanted = []
        for letter in latest.values():
            if letter.dropped is not None:
                result.left["its file was not kept"] += 1
            elif letter.image.submitted_at_ms < oldest:
                result.left["its job has expired"] += 1
            else:
                wanted.append(letter)
        labelled = set() if force else self._labelled(wanted)
        result.left["it has a label"] += len(labelled)
        self._send([letter for letter in wanted if letter.image.image not in labelled], lane, rate, result, said)
        return result

    def purge(self, selection: Selection) -> tuple[int, int]:
        """Remove those that are meant; what lies between them and is not meant is copied to the end, with its time, and then removed too.

        Kafka removes only from the beginning of a partition up to an offset. What is written meanwhile stays where it is. If this is
        interrupted, some letters that were to stay are there twice; doing it again mends that only where they are purged, and a replay
        counts them once.

        Returns:
            How many were removed, and how many were copied.
        """
        options = self._reader()
        removed = copied = 0
        admin = AdminClient(admin_options(self._kafka, f"{self._kafka.topic_prefix}-dlq"))
        for partition, (low, end) in bounds(options, self._topic).items():
            marked = self._marked(options, partition, (low, end), selection)
            if not marked:
                continue
            # Up to the last one that goes; what comes after it may stay where it is.
            before = max(marked) + 1
            copied += self._copy(options, partition, (low, before), marked)
            removed += len(marked)
            future = admin.delete_records([TopicPartition(self._topic, partition, before)])
            try:
                for answer in future.values():
                    answer.result(DELIVERY_TIMEOUT_S)
            except KafkaException as error:
                raise KafkaUnavailable(
                    f"Kafka did not remove records of {self._topic}[{partition}]: {error.args[0].str()}; its ACLs must allow Delete"
                ) from error
        return removed, copied

    def _marked(self, options: Options, partition: int, within: tuple[int, int], selection: Selection) -> set[int]:
        """Offsets of what is to go. What is no dead letter of ours stays."""
        marked = set()
        for message in scan(options, self._topic, {partition: within}):
            try:
                letter = DeadLetter.parse(message)
            except WireError:
                continue
            if selection.takes(letter):
                marked.add(letter.offset)
        return marked

    def _copy(self, options: Options, partition: int, within: tuple[int, int], marked: set[int]) -> int:
        """Write again what is to stay; returns how much when Kafka has it all."""
        first = next((offset for offset in range(*within) if offset not in marked), within[1])
        if first == within[1]:
            return 0
        producer, failed = self._producer(), Counter[str]()
        sent = 0
        for message in scan(options, self._topic, {partition: within}):
            if (message.offset() or 0) not in marked:
                self._produce(
                    producer,
                    failed,
                    self._topic,
                    message.value(),
                    message.headers() or [],
                    partition=partition,
                    key=message.key(),
                    timestamp=message.timestamp()[1],
                )
                sent += 1
        self._flush(producer, failed)
        return sent

    def _labelled(self, letters: list[DeadLetter]) -> set[str]:
        """Those that have a label by now, in any revision."""
        if not letters:
            return set()
        options = self._reader()
        images = {letter.image.image for letter in letters}
        partitions = {letter.image.reply_partition for letter in letters}
        since_ms = min(letter.image.submitted_at_ms for letter in letters) - CLOCK_SKEW_MS
        topic = self._topology.labels
        found = set()
        for message in scan(options, topic, bounds(options, topic, partitions, since_ms)):
            try:
                headers = ReplyHeaders.parse(message.headers())
            except WireError:
                continue
            if not headers.failed:
                found.update(images.intersection(headers.images))
        return found

    def _send(self, letters: list[DeadLetter], lane: Lane, rate: float, result: Replayed, said: Callable[[int], None]) -> None:
        producer, failed = self._producer(), Counter[str]()
        topic = self._topology.images(lane)
        due = time.monotonic()
        for letter in letters:
            pause = due - time.monotonic()
            if pause > 0:
                producer.poll(0)
                time.sleep(pause)
            due = max(due, time.monotonic() - 1.0) + 1.0 / rate
            headers = replay_headers(letter.headers, letter.image.revision + 1)
            self._produce(producer, failed, topic, letter.image.content, headers)
            result.sent += 1
            said(result.sent)
        self._flush(producer, failed)

    def _produce(self, producer: Producer, failed: Counter[str], topic: str, value: bytes | None, headers: object, **where: object) -> None:
        def answered(error: object, _message: object) -> None:
            if error is not None:
                failed[str(error)] += 1

        while True:
            try:
                producer.produce(topic, value, headers=headers, on_delivery=answered, **where)  # type: ignore[arg-type]
            except BufferError:
                producer.poll(ROOM_S)
            else:
                producer.poll(0)
                return

    @staticmethod
    def _flush(producer: Producer, failed: Counter[str]) -> None:
        if (left := producer.flush(FLUSH_S)) or failed:
            reason = next(iter(failed), "no answer")
            raise KafkaUnavailable(
                f"Kafka did not take {left + failed.total()} records ({reason}); nothing was removed, and doing it again is harmless"
            )

    def _reader(self) -> Options:
        return reader_options(
            self._kafka, f"{self._kafka.topic_prefix}-dlq", share=0.5, max_record_bytes=max_dead_letter_bytes(self._kafka)
        )

    def _producer(self) -> Producer:
        return Producer(
            producer_options(
                self._kafka,
                f"{self._kafka.topic_prefix}-dlq",
                linger_ms=5,
                share=0.5,
                max_record_bytes=max_dead_letter_bytes(self._kafka),
                delivery_timeout_s=DELIVERY_TIMEOUT_S,
            )
        )
