"""Makes rigs and ends them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from convnet_kafka.messages import Lane
from convnet_kafka.metrics import ClassifierMetrics
from support.classifier_rig import FakePredictor, Rig
from support.memory_kafka import MemoryProducer, MemoryTopic


@pytest.fixture
def rig() -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(partitions: int = 1, topics: dict[Lane, MemoryTopic] | None = None, **other: Any) -> Rig:
        made.append(
            Rig(
                topics=topics or {lane: MemoryTopic(partitions) for lane in Lane},
                producers={lane: MemoryProducer() for lane in Lane},
                predictor=FakePredictor(),
                metrics=ClassifierMetrics(CollectorRegistry()),
                **other,
            )
        )
        return made[-1]

    yield make
    for each in made:
        for producer in each.producers.values():
            producer.silent = False
        each.end()
