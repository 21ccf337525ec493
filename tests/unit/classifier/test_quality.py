"""What the models say is counted by role, class and confidence, with a bounded number of series; and models on trial are compared."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from convnet.confidence import UNCERTAIN
from convnet_kafka.classifier.models import Role, Selection
from convnet_kafka.classifier.quality import Quality
from convnet_kafka.classifier.results import Failed, Result
from convnet_kafka.messages import FailureCode
from convnet_kafka.metrics import ClassifierMetrics

BROKEN = Failed(FailureCode.UNDECODABLE, "no picture")


@pytest.fixture
def metrics() -> ClassifierMetrics:
    return ClassifierMetrics(CollectorRegistry())


def model(version: int, *classes: str, validation: tuple[int, ...] = ()) -> Any:
    card = SimpleNamespace(version=version, classes=classes, network="original", served="int8.tflite", accuracy={"int8.tflite": 0.9})
    card.validation_class_images = validation
    return SimpleNamespace(card=card)


def said(*names: str, confidence: float = 0.75) -> list[Result]:
    return [(name, confidence, 1, None, None) for name in names]


def value(metrics: ClassifierMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"convnet_classifier_{name}", labels)


def test_labels_are_counted_by_role_and_class_and_failures_are_not(metrics: ClassifierMetrics) -> None:
    quality = Quality(metrics, 10)
    quality.chosen(Selection(stable=model(1, "cat", "dog")))
    quality.answered(Role.STABLE, [*said("cat", "dog", "cat"), BROKEN, *said(UNCERTAIN, confidence=0.3)])
    quality.answered(Role.CANARY, said("dog"))
    assert value(metrics, "labels_total", role="stable", **{"class": "cat"}) == 2
    assert value(metrics, "labels_total", role="stable", **{"class": UNCERTAIN}) == 1
    assert value(metrics, "labels_total", role="canary", **{"class": "dog"}) == 1
    assert value(metrics, "confidence_count", role="stable") == 4
    assert value(metrics, "confidence_bucket", role="stable", le="0.3") == 1
    assert value(metrics, "confidence_bucket", role="stable", le="0.8") == 4


def test_classes_beyond_the_bound_are_counted_together_whatever_models_come(metrics: ClassifierMetrics) -> None:
    quality = Quality(metrics, 2)
    quality.chosen(Selection(stable=model(1, "a", "b", "c", "d", validation=(1, 1, 1, 1))))
    quality.chosen(Selection(stable=model(2, "e", "f", "a", "b", validation=(1, 1, 1, 1))))
    quality.answered(Role.STABLE, said("a", "b", "c", "d", "e", "f", UNCERTAIN))
    shown = {
        sample.labels["class"]: sample.value
        for family in metrics.labels.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    assert shown == {"a": 1, "b": 1, "(other)": 4, UNCERTAIN: 1}
    assert value(metrics, "validation_share", **{"class": "a"}) == 0.25
    assert value(metrics, "validation_share", **{"class": "(other)"}) == 0.5


def test_models_in_use_are_shown_and_those_that_are_not_are_gone(metrics: ClassifierMetrics) -> None:
    quality = Quality(metrics, 10)
    quality.chosen(Selection(stable=model(1, "a", "b", validation=(30, 10)), canary=model(2, "a", "b"), canary_percent=5))
    assert (value(metrics, "model_version", role="canary"), value(metrics, "canary_percent")) == (2, 5)
    assert value(metrics, "model_accuracy", role="stable") == 0.9
    assert value(metrics, "validation_share", **{"class": "a"}) == 0.75
    info = {"role": "canary", "version": "2", "network": "original", "artefact": "int8.tflite"}
    assert value(metrics, "model_info", **info) == 1
    quality.chosen(Selection(stable=model(3, "a", "b")))
    assert (value(metrics, "model_version", role="canary"), value(metrics, "canary_percent")) == (0, 0)
    assert value(metrics, "model_info", **info) is None
    assert value(metrics, "validation_share", **{"class": "a"}) is None  # its card does not say


def test_agreement_with_stable_is_counted(metrics: ClassifierMetrics) -> None:
    quality = Quality(metrics, 10)
    assert quality.compared(Role.SHADOW, ["a", "a", "b"], [*said("a", "b"), BROKEN]) == {"same": 1, "other": 1, "failed": 1}
    assert value(metrics, "compared_images_total", role="shadow", agreement="failed") == 1
