"""What is counted of each batch on its way through the loop: how long its images waited, what each stage took, when Kafka had the results.

Belongs to the loop's thread. Some ten increments a batch, each about 1 us; the labels of a lane are looked up once, not for each batch.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

from convnet_kafka.classifier.answers import CANCELLED
from convnet_kafka.classifier.results import Result
from convnet_kafka.messages import ImageRecord, Lane, now_ms
from convnet_kafka.metrics import ClassifierMetrics
from convnet_kafka.metrics.classifier import STAGES

MS = 1000
_submitted_at = attrgetter("submitted_at_ms")
_revision = attrgetter("revision")

# When images were submitted, in milliseconds, and how many of a batch were then: those of one upload share their time.
Submissions = Counter[int]


@dataclass(frozen=True, slots=True)
class Sent:
    """A batch whose results are on their way.

    Attributes:
        submissions: of its images, but for those whose time says nothing.
        at: when its results were handed over, `time.monotonic()`.
    """

    submissions: Submissions
    at: float


class LaneMeter:
    """Of one lane.

    Args:
        metrics: of the classifier.
        lane: which.
    """

    def __init__(self, metrics: ClassifierMetrics, lane: Lane) -> None:
        name = lane.value
        self._queue = metrics.queue_seconds.labels(name)
        self._end_to_end = metrics.end_to_end_seconds.labels(name)
        self._images = metrics.batch_images.labels(name)
        self._stages = {stage: metrics.stage_seconds.labels(name, stage) for stage in STAGES}
        self._acknowledge = metrics.acknowledge_seconds.labels(name)

    def sent(
        self, records: Sequence[ImageRecord], results: Sequence[Result], stages: dict[str, float], *, cancelled: int, since: float
    ) -> Sent:
        """A batch's results were handed to Kafka's client.

        Args:
            records: its images.
            results: theirs, in the same order.
            stages: seconds by stage; those that took none may be left out.
            cancelled: how many of the results are that the job was cancelled.
            since: seconds from the batch's beginning until now.
        """
        self._images.observe(len(records))
        for stage, seconds in stages.items():
            self._stages[stage].observe(seconds)
        if any(map(_revision, records)):
            # A replay's time is that of its first submission, days ago.
            pairs = [(record, result) for record, result in zip(records, results, strict=True) if not record.revision]
            records, results = [record for record, _ in pairs], [result for _, result in pairs]
        began_ms = now_ms() - since * MS
        for at_ms, images in Counter(map(_submitted_at, records)).items():
            self._queue.observe(max(began_ms - at_ms, 0.0) / MS, images)
        if cancelled:
            records = [record for record, result in zip(records, results, strict=True) if result is not CANCELLED]
        return Sent(Counter(map(_submitted_at, records)), time.monotonic())

    def compared(self, seconds: float) -> None:
        """Models on trial were compared by a batch."""
        self._stages["compare"].observe(seconds)

    def stored(self, sent: Sent) -> None:
        """Kafka has all results of a batch."""
        self._acknowledge.observe(time.monotonic() - sent.at)
        now = now_ms()
        for at_ms, images in sent.submissions.items():
            self._end_to_end.observe(max(now - at_ms, 0) / MS, images)
