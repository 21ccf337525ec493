"""What a lane's thread counts while it reads: partitions that come and go, images that are lost, handled alone or given up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ClassifierMetrics
from convnet_kafka.metrics.classifier import REBALANCES

Count = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class LaneCounts:
    """Where each is counted; every function takes how many.

    Attributes:
        expired: images that were gone before they were read.
        alone: images that are handled alone.
        given_up: images in flight when their partitions went away.
        commits_failed: commits that Kafka did not take.
        rebalanced: by event, `assigned`, `revoked` or `lost`: times it came.
    """

    expired: Count
    alone: Count
    given_up: Count
    commits_failed: Count
    rebalanced: Mapping[str, Count]

    @classmethod
    def of(cls, metrics: ClassifierMetrics, lane: Lane) -> Self:
        """In the metrics of a classifier."""
        name = lane.value
        return cls(
            metrics.expired.labels(name).inc,
            metrics.alone.labels(name).inc,
            metrics.given_up.labels(name).inc,
            metrics.commit_failures.labels(name).inc,
            {event: metrics.rebalances.labels(name, event).inc for event in REBALANCES},
        )
