"""A batch's results become records: a label or a failure for every image, those of a job together, and a dead letter for each failure.

Belongs to the loop's thread. A record that cannot be answered (not by our rules, or a reply partition that does not exist) is told,
counted and skipped: every dead letter has its failure in the labels topic, so it is not dead-lettered either.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import Message

from convnet_kafka.classifier.deadletters import SENDERS_FAULT, DeadLetters
from convnet_kafka.classifier.results import Failed, Result
from convnet_kafka.classifier.shipments import Shipment
from convnet_kafka.errors import NewerWireVersion, WireError
from convnet_kafka.identity import this_process
from convnet_kafka.messages import FailureCode, ImageReader, ImageRecord, LabelRecord, Lane, now_ms
from convnet_kafka.metrics import ClassifierMetrics
from convnet_kafka.metrics.values import LABELLED
from convnet_kafka.replies import Results, made_by
from convnet_kafka.topology import Topology

logger = structlog.get_logger(__name__)

# Counts the batches of this process, whichever membership they were of.
_BATCHES = itertools.count(1)

# Reply partition, job, tenant, revision, whether they are failures, and trace: what the results of one record have in common.
_Group = tuple[int, str, str, int, bool, str | None]


class Publisher:
    """Reads what is asked and writes what is answered.

    Args:
        topology: names of the topics.
        dead_letters: writes those of failures.
        reply_partition_exists: whether the labels topic has a partition.
        metrics: where skipped records are counted.
    """

    def __init__(
        self, topology: Topology, dead_letters: DeadLetters, reply_partition_exists: Callable[[int], bool], metrics: ClassifierMetrics
    ) -> None:
        self._labels_topic = topology.labels
        self._dead_letters = dead_letters
        self._reply_partition_exists = reply_partition_exists
        self._metrics = metrics
        self._reader = ImageReader()
        self._process = this_process()

    def parse(self, messages: Sequence[Message]) -> tuple[list[Message], list[ImageRecord]]:
        """The messages that can be answered, and their images.

        Raises:
            NewerWireVersion: one was written by a newer version: none of them may be committed.
        """
        kept, records = [], []
        for message in messages:
            try:
                record = self._reader.read(message.headers(), message.value())
            except NewerWireVersion as error:
                raise NewerWireVersion(f"{_where(message)}: {error}") from error
            except WireError as error:
                self._skip(message, "wire", str(error))
                continue
            if not self._reply_partition_exists(record.reply_partition):
                self._skip(message, "reply-partition", f"{self._labels_topic} has no partition {record.reply_partition}")
                continue
            kept.append(message)
            records.append(record)
        return kept, records

    def account(self, size: int) -> None:
        """A batch of so many encoded bytes was read: a share of them may be kept in dead letters."""
        self._dead_letters.kept.read(size)

    def publish(
        self,
        shipment: Shipment,
        lane: Lane,
        messages: Sequence[Message],
        records: Sequence[ImageRecord],
        results: Sequence[Result],
        traceparents: Sequence[str | None] | None = None,
    ) -> None:
        """Send every result, those of a job together; the sequences belong together item by item.

        Args:
            shipment: takes them.
            lane: where the images came from.
            messages: the images.
            records: the same, parsed.
            results: of them.
            traceparents: of the labels; None where they are the images' own, as a rule none.
        """
        now = now_ms()
        by = made_by(self._process, next(_BATCHES), len(records))
        failures: Counter[str] = Counter()
        groups: dict[_Group, Results] = {}
        for index, (message, record, result) in enumerate(zip(messages, records, results, strict=True)):
            traceparent = record.traceparent if traceparents is None else traceparents[index]
            label = _label(record, result, lane, now, traceparent)
            if isinstance(result, Failed):
                failures[result.code.value] += 1
                _tell_failed(lane, record, result)
                if result.code is not FailureCode.CANCELLED:  # somebody has said that nobody wants it
                    self._dead_letters.send(shipment, message, record, result, result.model)
            failed = label.error is not None
            group = record.reply_partition, record.job, record.tenant, record.revision, failed, traceparent
            together = groups.get(group)
            if together is None:
                together = groups[group] = Results(
                    record.job, record.tenant, record.revision, failed=failed, traceparent=traceparent, by=by
                )
            together.images.append(record.image)
            together.values.append(label.to_json())
        for (partition, *_), together in groups.items():
            for headers, value in together.records():
                shipment.send(self._labels_topic, value, headers, partition=partition)
        self._count(lane, len(records), failures)

    def _count(self, lane: Lane, results: int, failures: Counter[str]) -> None:
        """Once for the batch: a metric costs about 1 us."""
        images = self._metrics.images
        labelled = results - failures.total()
        if labelled:
            images.labels(lane.value, LABELLED).inc(labelled)
        for code, count in failures.items():
            images.labels(lane.value, code).inc(count)
            if code != FailureCode.CANCELLED.value:
                self._metrics.dead_letters.labels(code).inc(count)

    def _skip(self, message: Message, reason: str, what: str) -> None:
        self._metrics.skipped.labels(reason).inc()
        logger.error("a record cannot be answered and is skipped", record=_where(message), reason=what)


def _label(record: ImageRecord, result: Result, lane: Lane, now: int, traceparent: str | None) -> LabelRecord:
    """What is said of one image."""
    image, name, revision, at = record.image, record.name, record.revision, record.submitted_at_ms
    if isinstance(result, Failed):
        code, detail, asked = result.code, result.detail, result.model
        return LabelRecord(image, name, revision, None, None, code, detail, asked, lane, at, now, traceparent=traceparent)
    label, confidence, model, failed, top = result
    return LabelRecord(image, name, revision, label, confidence, None, None, model, lane, at, now, failed, top, traceparent)


def _tell_failed(lane: Lane, record: ImageRecord, failed: Failed) -> None:
    """What senders send is told at debug alone; what is ours to mend is a warning."""
    if failed.code is FailureCode.CANCELLED:
        return
    tell = logger.debug if failed.code in SENDERS_FAULT else logger.warning
    tell("image failed", lane=lane.value, job=record.job, image=record.image, reason=failed.code.value, detail=failed.detail)


def _where(message: Message) -> str:
    return f"{message.topic()}[{message.partition()}] at {message.offset()}"
