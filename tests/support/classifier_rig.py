"""The classifier's loop on stand-ins: topics, consumers and producers in memory, and a predictor that reads its answer off the picture."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from convnet.errors import ModelError
from convnet.images import DecodeLimits, ImageSpec
from convnet_kafka.classifier.answers import Answers
from convnet_kafka.classifier.batching import BatchSizer
from convnet_kafka.classifier.deadletters import DeadLetters, KeptBytes
from convnet_kafka.classifier.handoff import Handoff, Turns
from convnet_kafka.classifier.lanecounts import LaneCounts
from convnet_kafka.classifier.lanes import LaneReader
from convnet_kafka.classifier.pipeline import Pipeline
from convnet_kafka.classifier.publishing import Publisher
from convnet_kafka.classifier.quality import Quality
from convnet_kafka.classifier.results import ResultMaker
from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.kafka.consumer import GroupEvents
from convnet_kafka.kafka.producer import ProducerBroken
from convnet_kafka.messages import LabelRecord, Lane, image_base_headers, image_headers, image_id
from convnet_kafka.metrics import ClassifierMetrics
from convnet_kafka.replies import labels_in
from convnet_kafka.topology import Topology
from convnet_kafka.tracing.batches import BatchTraces
from support.memory_kafka import MemoryConsumer, MemoryProducer, MemoryTopic, Sent
from support.waiting import until

JOB = "0123456789abcdef" * 2
# A picture of this shade makes the predictor fail.
POISON = 250


def picture(shade: int) -> bytes:
    png = io.BytesIO()
    Image.new("L", (4, 4), shade).save(png, "PNG")
    return png.getvalue()


class FakePredictor:
    """Class = shade // 10. Fails on a batch that holds the poison shade, and on everything while it is broken."""

    def __init__(self, version: int = 1) -> None:
        self.card: Any = SimpleNamespace(version=version, classes=tuple(f"class-{number}" for number in range(26)))
        self.spec = ImageSpec(4, 4, 1)
        self.max_batch = 8
        self.broken = False
        self.batches: list[int] = []
        self.on_predict: Callable[[list[int]], None] = lambda _: None

    def predict(self, images: np.ndarray) -> np.ndarray:
        self.batches.append(len(images))
        shades = images[:, 0, 0, 0]
        self.on_predict(shades.tolist())
        if self.broken or (shades == POISON).any():
            raise ModelError("cannot")
        answers = np.zeros((len(images), 26), np.float32)
        answers[np.arange(len(images)), shades // 10] = 0.75
        return answers

    def warm_up(self) -> None:
        if self.broken:
            raise ModelError("broken")


@dataclass
class Rig:
    """A pipeline and everything around it."""

    topics: dict[Lane, MemoryTopic]
    producers: dict[Lane, MemoryProducer]
    predictor: FakePredictor
    metrics: ClassifierMetrics
    stop: threading.Event = field(default_factory=threading.Event)
    consumers: dict[Lane, MemoryConsumer] = field(default_factory=dict)
    lanes: dict[Lane, LaneReader] = field(default_factory=dict)
    pipeline: Pipeline = field(init=False)
    handoff: Handoff = field(init=False)
    on_consumer: Callable[[MemoryConsumer], None] = lambda _: None
    error: Exception | None = None
    finished: bool | None = None
    kept: KeptBytes = field(default_factory=lambda: KeptBytes(0.1))
    revoke_timeout_s: float = 5.0
    drain_timeout_s: float = 5.0
    cancelled: set[str] = field(default_factory=set)
    traces: BatchTraces | None = None
    _answers: Answers | None = None
    _thread: threading.Thread | None = None

    def current(self) -> Answers | None:
        if self._answers is None or self._answers.stable.predictor is not self.predictor:
            self._answers = Answers(ResultMaker(self.predictor, DecodeLimits()), self.cancelled, quality=Quality(self.metrics, 20))
        return self._answers

    def submit(self, content: bytes, name: str = "a.png", lane: Lane = Lane.BULK, partition: int = 0, **changed: bytes | None) -> str:
        """Put an image on a lane; `changed` replaces or removes headers. Returns its id."""
        identity = image_id(JOB, name, content)
        base = image_base_headers(job=JOB, reply_partition=1, tenant="default", traceparent=None, submitted_at_ms=1)
        headers = dict(image_headers(base, image=identity, name=name, content_type="image/png"))
        for header, value in changed.items():
            headers.pop(header.replace("_", "-"), None)
            if value is not None:
                headers[header.replace("_", "-")] = value
        self.topics[lane].put(content, list(headers.items()), partition)
        return identity

    def start(self) -> None:
        self.handoff = Handoff(Turns(0.2))
        for lane in Lane:
            self.lanes[lane] = LaneReader(
                lane,
                lambda events, lane=lane: self._consumer(lane, events),
                handoff=self.handoff,
                sizer=BatchSizer(8),
                fill_s=0,
                commit_interval_s=0.02,
                revoke_timeout_s=self.revoke_timeout_s,
                counts=LaneCounts.of(self.metrics, lane),
            )
        self.pipeline = Pipeline(
            lanes=self.lanes,
            producers=self.producers,  # type: ignore[arg-type]
            handoff=self.handoff,
            model=self,
            publisher=Publisher(Topology("t"), DeadLetters("t.images.dlq", self.kept), lambda partition: partition < 6, self.metrics),
            metrics=self.metrics,
            stop=self.stop.is_set,
            beat=lambda: None,
            drain_timeout_s=self.drain_timeout_s,
            traces=self.traces,
        )
        for reader in self.lanes.values():
            reader.start()
        self._thread = threading.Thread(target=self._run, name="loop")
        self._thread.start()

    def die(self) -> None:
        """As kill -9 ends it, for all that anybody else can tell: nothing of it reaches Kafka any more."""
        for consumer in self.consumers.values():
            consumer.dead = True
        for producer in self.producers.values():
            producer.dead = True

    @property
    def dead(self) -> bool:
        return any(consumer.dead for consumer in self.consumers.values())

    def end(self) -> None:
        """As SIGTERM ends it; idempotent."""
        self.stop.set()
        if self._thread is not None:
            self._thread.join(20)
            assert not self._thread.is_alive()

    def wait_for_end(self) -> None:
        assert self._thread is not None
        self._thread.join(20)
        assert not self._thread.is_alive()

    @property
    def stored(self) -> list[Sent]:
        return [sent for producer in self.producers.values() for sent in producer.stored]

    @property
    def labels(self) -> list[LabelRecord]:
        return [label for sent in self.stored if sent.topic == "t.labels" for label in labels_in(sent.headers, sent.value)]

    @property
    def dead_letters(self) -> list[Sent]:
        return [sent for sent in self.stored if sent.topic == "t.images.dlq"]

    def wait_for_labels(self, count: int) -> list[LabelRecord]:
        until(lambda: len(self.labels) >= count, 20, f"{count} labels")
        return self.labels

    def wait_for_commit(self, offset: int, lane: Lane = Lane.BULK, partition: int = 0) -> None:
        until(lambda: self.topics[lane].committed.get(partition) == offset, 20, f"commit of {offset}")

    def _consumer(self, lane: Lane, events: GroupEvents) -> MemoryConsumer:
        self.consumers[lane] = MemoryConsumer(self.topics[lane], events)
        self.on_consumer(self.consumers[lane])
        return self.consumers[lane]

    def _run(self) -> None:
        try:
            self.pipeline.run()
        except ConvnetKafkaError as error:
            self.error = error
        self.finished = not isinstance(self.error, ProducerBroken) and self.pipeline.finish()
        self.handoff.close()
        for reader in self.lanes.values():
            if not self.finished:
                reader.abandon()
            reader.leave()
        for reader in self.lanes.values():
            assert reader.join(10)
