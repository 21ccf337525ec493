"""What the models say, counted: labels by class, confidences, and how often a model on trial agrees with the stable one.

Belongs to the loop's thread. The number of classes with a series of their own is bounded; all others are counted together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import prometheus_client

from convnet.confidence import UNCERTAIN
from convnet.model_card import ModelCard
from convnet_kafka.classifier.models import Role, Selection
from convnet_kafka.classifier.results import Failed, Result
from convnet_kafka.metrics import ClassifierMetrics
from convnet_kafka.metrics.classifier import OTHER_CLASS

SAME, OTHER, FAILED = "same", "other", "failed"


class Quality:
    """Counts for one classifier.

    Args:
        metrics: of the classifier.
        max_classes: classes that have a series of their own, 0 or more: the first of the models, in the order in which they came.
    """

    def __init__(self, metrics: ClassifierMetrics, max_classes: int) -> None:
        self._metrics = metrics
        self._max_classes = max_classes
        self._named: set[str] = {UNCERTAIN}
        # By role and class as a model says it; bounded by the models' classes.
        self._counters: dict[tuple[Role, str], prometheus_client.Counter] = {}
        self._confidences = {role: metrics.confidence.labels(role.value) for role in Role}

    def chosen(self, selection: Selection) -> None:
        """Other models are in use from now on."""
        metrics = self._metrics
        models = {Role.STABLE: selection.stable, Role.CANARY: selection.canary, Role.SHADOW: selection.shadow}
        metrics.model_info.clear()
        metrics.canary_percent.set(selection.canary_percent if selection.canary is not None else 0)
        for role, model in models.items():
            metrics.model.labels(role.value).set(model.card.version if model is not None else 0)
            metrics.model_accuracy.labels(role.value).set(_accuracy(model.card) if model is not None else 0.0)
            if model is not None:
                self._name(model.card.classes)
                metrics.model_info.labels(role.value, str(model.card.version), model.card.network, model.card.served).set(1)
        if selection.stable is not None:
            self._show_validation(selection.stable.card)

    def answered(self, role: Role, results: Sequence[Result]) -> None:
        """A model has given these results; failures say nothing of its quality and are counted elsewhere."""
        labelled = [result for result in results if not isinstance(result, Failed)]
        for name, images in Counter([result[0] for result in labelled]).items():
            counter = self._counters.get((role, name)) or self._counter(role, name)
            counter.inc(images)
        self._confidences[role].observe_all([result[1] for result in labelled])

    def compared(self, role: Role, stable: Sequence[str], trial: Sequence[Result]) -> dict[str, int]:
        """The stable model has given these labels, the one on trial these results; how often they agree is counted, and given back."""
        counts = dict.fromkeys((SAME, OTHER, FAILED), 0)
        for name, result in zip(stable, trial, strict=True):
            counts[FAILED if isinstance(result, Failed) else SAME if result[0] == name else OTHER] += 1
        for agreement, images in counts.items():
            if images:
                self._metrics.compared.labels(role.value, agreement).inc(images)
        return counts

    def stepped_in(self, images: int) -> None:
        """So many images have the stable model's answer because the canary failed on them."""
        self._metrics.canary_failures.inc(images)

    def _name(self, classes: Sequence[str]) -> None:
        """Give the first of these classes series of their own, as long as there is room; a name that has one keeps it."""
        for name in classes[: self._max_classes]:
            if len(self._named) > self._max_classes:
                return
            self._named.add(name)

    def _counter(self, role: Role, name: str) -> prometheus_client.Counter:
        shown = name if name in self._named else OTHER_CLASS
        counter = self._counters[role, name] = self._metrics.labels.labels(role.value, shown)
        return counter

    def _show_validation(self, card: ModelCard) -> None:
        gauge = self._metrics.validation_share
        gauge.clear()
        total = sum(card.validation_class_images)
        if not total:
            return
        shares: Counter[str] = Counter()
        for name, images in zip(card.classes, card.validation_class_images, strict=True):
            shares[name if name in self._named else OTHER_CLASS] += images
        for name, images in shares.items():
            gauge.labels(name).set(images / total)


def _accuracy(card: ModelCard) -> float:
    return card.accuracy.get(card.served, 0.0)
