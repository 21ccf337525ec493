"""Each image's wait and way are measured, a batch at a time; what would distort them is left out."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from convnet_kafka.classifier import measuring
from convnet_kafka.classifier.answers import CANCELLED
from convnet_kafka.classifier.measuring import LaneMeter
from convnet_kafka.messages import ImageRecord, Lane
from convnet_kafka.metrics import ClassifierMetrics

LABEL = ("cat", 0.9, 1, None, None)
STAGES = {"parse": 0.001, "decode": 0.002, "predict": 0.003, "publish": 0.004}
NOW_MS = 1_000_000


@pytest.fixture
def metrics(monkeypatch: pytest.MonkeyPatch) -> ClassifierMetrics:
    monkeypatch.setattr(measuring, "now_ms", lambda: NOW_MS)
    return ClassifierMetrics(CollectorRegistry())


def image(waited_ms: int, revision: int = 0) -> ImageRecord:
    return ImageRecord("0" * 32, "0" * 32, "a.png", "", 0, "default", NOW_MS - waited_ms, revision, None, b"")


def value(metrics: ClassifierMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"convnet_classifier_{name}", {"lane": "bulk", **labels})


def test_every_image_counts_with_its_own_wait(metrics: ClassifierMetrics) -> None:
    meter = LaneMeter(metrics, Lane.BULK)
    records = [image(200)] * 60 + [image(20_000)] * 4
    sent = meter.sent(records, [LABEL] * 64, STAGES, cancelled=0, since=0.01)
    assert value(metrics, "queue_seconds_count") == 64
    assert value(metrics, "queue_seconds_bucket", le="0.25") == 60
    assert value(metrics, "queue_seconds_sum") == pytest.approx(60 * 0.19 + 4 * 19.99)
    assert value(metrics, "end_to_end_seconds_count") == 0
    meter.stored(sent)
    assert value(metrics, "end_to_end_seconds_bucket", le="1.0") == 60
    assert value(metrics, "end_to_end_seconds_bucket", le="30.0") == 64
    assert value(metrics, "acknowledge_seconds_count") == 1
    assert value(metrics, "batch_images_sum") == 64
    assert value(metrics, "stage_seconds_sum", stage="predict") == 0.003


def test_replays_and_cancelled_images_say_nothing_of_how_long_things_take(metrics: ClassifierMetrics) -> None:
    meter = LaneMeter(metrics, Lane.BULK)
    records = [image(100), image(5_000_000, revision=1), image(60_000), image(100)]
    meter.stored(meter.sent(records, [LABEL, LABEL, CANCELLED, LABEL], STAGES, cancelled=1, since=0.0))
    assert value(metrics, "queue_seconds_count") == 3
    assert value(metrics, "end_to_end_seconds_count") == 2
    assert value(metrics, "end_to_end_seconds_sum") == pytest.approx(0.2)


def test_a_clock_that_is_ahead_makes_no_negative_wait(metrics: ClassifierMetrics) -> None:
    meter = LaneMeter(metrics, Lane.BULK)
    meter.stored(meter.sent([image(-500)], [LABEL], STAGES, cancelled=0, since=0.01))
    assert value(metrics, "queue_seconds_sum") == value(metrics, "end_to_end_seconds_sum") == 0
