"""Reads Kafka for a job: its results, its images, its dead letters, each from where they can begin, and for no longer than is allowed.

Owns a consumer for as long as a search is iterated over. Changes nothing, commits nothing, joins no group.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from convnet_kafka.control import ControlState
from convnet_kafka.deadletters import DeadLetter
from convnet_kafka.diagnosis.groups import describe
from convnet_kafka.diagnosis.trace.found import Answered, ImageAt, JobPlace, LetterAt, ResultAt
from convnet_kafka.errors import ConvnetKafkaError, WireError
from convnet_kafka.kafka.connection import admin_options, reader_options
from convnet_kafka.kafka.positions import GroupPositions
from convnet_kafka.kafka.scan import bounds, scan
from convnet_kafka.messages import ImageRecord, Lane
from convnet_kafka.replies import ReplyHeaders, labels_in, parse_close
from convnet_kafka.settings import KafkaSettings
from convnet_kafka.topology import Topology, max_dead_letter_bytes

# An upload may last so long, and all of its images carry the time of its begin (settings.upload_deadline_s).
UPLOAD_MS = 130_000
# Most images are with Kafka a moment after they were submitted: that is looked at first.
MOMENT_MS = 5000
# As many letters of an id as tell images of a job apart, and as nobody gives a picture as its name by chance.
LEAST_ID = 6
# Clocks of servers and brokers.
SKEW_MS = 2000
SHARE = 0.5


class Search:
    """Looks for one job.

    Args:
        kafka: how to reach Kafka.
        seconds: how long all reading may take.
    """

    def __init__(self, kafka: KafkaSettings, seconds: float) -> None:
        self._kafka = kafka
        self._topology = Topology(kafka.topic_prefix)
        self._client = f"{kafka.topic_prefix}-trace"
        self._options = reader_options(kafka, self._client, share=SHARE, max_record_bytes=max_dead_letter_bytes(kafka))
        self._deadline = time.monotonic() + seconds
        self.unread = 0

    def results(self, job: JobPlace) -> Iterator[ResultAt | int]:
        """The job's results in the order of each partition, and the numbers that it was closed with.

        Raises:
            KafkaUnavailable: Kafka did not answer.
            TopicMismatch: there is no topic of labels.
        """
        since = None if job.opened_at_ms is not None else job.since_ms
        within = bounds(self._options, self._topology.labels, job.starts or None, since)
        within = {number: (max(low, job.starts.get(number, low)), end) for number, (low, end) in within.items()}
        for message in self._scan(self._topology.labels, {number: (low, end) for number, (low, end) in within.items() if low < end}):
            try:
                headers = ReplyHeaders.parse(message.headers())
                if headers.job != job.id:
                    continue
                if headers.ids is None:
                    yield parse_close(message.value())
                    continue
                results = list(labels_in(message.headers(), message.value()))
            except WireError:
                continue
            by = Answered.parse(_text(message, "by"))
            place = self._topology.labels, message.partition() or 0, message.offset() or 0, message.timestamp()[1]
            for result in results:
                yield ResultAt(*place, result, by)

    def images(self, job: JobPlace, image: str, *, lane: Lane | None, since_ms: int, until_ms: int | None) -> list[ImageAt]:
        """Every record of one image in a lane, or in both, written within a time.

        Args:
            job: its job.
            image: its id, the begin of its id, or its name.
            lane: only there.
            since_ms: not written before.
            until_ms: not written later; None for no end, and then the first that is found is enough.
        """
        found = []
        for each in [lane] if lane is not None else list(Lane):
            topic = self._topology.images(each)
            for message in self._scan(topic, bounds(self._options, topic, None, since_ms, until_ms)):
                record = self._image(message, topic, job, image)
                if record is not None:
                    found.append(record)
                    if until_ms is None:
                        break
        return found

    def image_near(self, job: JobPlace, image: str, lane: Lane, submitted_at_ms: int, labelled_at_ms: int) -> list[ImageAt]:
        """The records of an image whose result is known: near its time first, then as late as its upload may have lasted."""
        since, latest = submitted_at_ms - SKEW_MS, min(labelled_at_ms, submitted_at_ms + UPLOAD_MS) + SKEW_MS
        near = min(submitted_at_ms + MOMENT_MS, latest)
        found = self.images(job, image, lane=lane, since_ms=since, until_ms=near)
        return found or (self.images(job, image, lane=lane, since_ms=near, until_ms=latest) if near < latest else [])

    def letters(self, job: JobPlace, image: str | None, since_ms: int) -> Iterator[LetterAt]:
        """Dead letters of a job, or of one image of it."""
        topic = self._topology.dead_letters
        for message in self._scan(topic, bounds(self._options, topic, None, since_ms)):
            headers = dict(message.headers() or ())
            if headers.get("job") != job.id.encode() or (image is not None and headers.get("image") != image.encode()):
                continue
            try:
                letter = DeadLetter.parse(message)
            except WireError:
                continue
            yield LetterAt(letter.place, letter.at_ms, letter.image.revision, letter.reason, letter.detail, letter.attempts, letter.source)

    def is_cancelled(self, job: JobPlace) -> bool:
        """Whether the control topic says so now; it forgets when the job's life is over."""
        state = ControlState()
        topic = self._topology.control
        for message in self._scan(topic, bounds(self._options, topic)):
            state.apply(message.headers(), message.key(), message.value())
        return job.id in state.cancelled

    def before(self, record: ImageAt) -> int | None:
        """How many records its group has to do before this one; None when the group is past it."""
        lane = self._lane_of(record)
        with closing(GroupPositions(self._options, record.topic, self._topology.group(lane))) as positions:
            position = positions.look()[record.partition]
        return record.offset - position.next if record.offset >= position.next else None

    def owner(self, record: ImageAt) -> str:
        """The member that holds its partition now; empty when nobody does, or nobody may be seen."""
        admin = AdminClient(admin_options(self._kafka, self._client))
        try:
            group = describe(admin, self._topology.group(self._lane_of(record)), max(1.0, self._deadline - time.monotonic()))
        except ConvnetKafkaError:
            return ""
        return next((f"{member.client} ({member.host})" for member in group.members if record.partition in member.partitions), "")

    def _lane_of(self, record: ImageAt) -> Lane:
        return next(lane for lane in Lane if self._topology.images(lane) == record.topic)

    def _image(self, message: Message, topic: str, job: JobPlace, image: str) -> ImageAt | None:
        headers = dict(message.headers() or ())
        if headers.get("job") != job.id.encode() or not is_meant(_decoded(headers.get("image")), _decoded(headers.get("name")), image):
            return None
        try:
            record = ImageRecord.parse(message.headers(), message.value())
        except WireError:
            return None
        return ImageAt(
            topic,
            message.partition() or 0,
            message.offset() or 0,
            message.timestamp()[1],
            record.submitted_at_ms,
            record.revision,
            record.name,
            record.tenant,
            record.content_type,
            len(record.content),
            record.traceparent,
        )

    def _scan(self, topic: str, within: dict[int, tuple[int, int]]) -> Iterator[Message]:
        """What lies there, until time is up; what is left then is counted in `unread`."""
        left = sum(end - low for low, end in within.values())
        if not left:
            return
        if time.monotonic() > self._deadline:
            self.unread += left
            return
        with closing(scan(self._options, topic, within)) as messages:
            for message in messages:
                left -= 1
                yield message
                if time.monotonic() > self._deadline:
                    self.unread += max(left, 0)
                    return


def is_meant(identity: str, name: str, wanted: str) -> bool:
    """Whether an image is called so: by its name, or by the begin of its id."""
    return name == wanted or (len(wanted) >= LEAST_ID and identity.startswith(wanted))


def _text(message: Message, header: str) -> str:
    return _decoded(dict(message.headers() or ()).get(header))


def _decoded(value: bytes | str | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""
