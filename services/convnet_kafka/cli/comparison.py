"""How a version on trial does beside the stable one, from the newest labels in Kafka: `convnet-kafka models canary --status`.

Reads, and changes nothing. Both versions classify other images, so a difference counts only when it is larger than chance makes it: what
chance would make of the same version is said beside each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import click
from confluent_kafka import Message

from convnet_kafka.errors import WireError
from convnet_kafka.messages import LabelRecord
from convnet_kafka.replies import labels_in

# With fewer labels of a version the figures say little.
ENOUGH = 100
# Records of a partition that are read at first, at least; results that each is thought to hold; and how many times more are read next.
LEAST_RECORDS = 200
TYPICAL_RESULTS = 50
AGAIN = 4
PERCENTILES = {"p50": 0.5, "p95": 0.95}


@dataclass(slots=True)
class Figures:
    """What the labels say of one version.

    Attributes:
        labels: images it gave a label.
        failures: images it failed on, whether stable answered in its place or nobody could.
        confidences: sum and sum of squares.
        classes: how often each class was its answer.
        waits_ms: from submission to label.
    """

    labels: int = 0
    failures: int = 0
    confidences: list[float] = field(default_factory=lambda: [0.0, 0.0])
    classes: Counter[str] = field(default_factory=Counter)
    waits_ms: list[int] = field(default_factory=list)

    def take(self, record: LabelRecord) -> None:
        """Count one label."""
        confidence = record.confidence or 0.0
        self.labels += 1
        self.confidences[0] += confidence
        self.confidences[1] += confidence * confidence
        self.classes[record.label or ""] += 1
        self.waits_ms.append(max(record.labelled_at_ms - record.submitted_at_ms, 0))

    @property
    def mean_confidence(self) -> float | None:
        """0 to 1, or None without labels."""
        return self.confidences[0] / self.labels if self.labels else None

    @property
    def confidence_variance(self) -> float:
        """Of one label's confidence."""
        mean = self.mean_confidence
        return max(self.confidences[1] / self.labels - mean * mean, 0.0) if mean is not None else 0.0

    @property
    def error_share(self) -> float | None:
        """Failures among all images it was asked about, 0 to 1."""
        asked = self.labels + self.failures
        return self.failures / asked if asked else None

    def to_dict(self, version: int) -> dict[str, Any]:
        """For people and programs."""
        waits = sorted(self.waits_ms)
        return {
            "version": version,
            "labels": self.labels,
            "failures": self.failures,
            "error_share": _rounded(self.error_share),
            "confidence_mean": _rounded(self.mean_confidence),
            "latency_ms": {
                name: waits[min(int(len(waits) * part), len(waits) - 1)] if waits else None for name, part in PERCENTILES.items()
            },
            "classes": dict(self.classes.most_common()),
        }


def newest_labels(read: Callable[[int], Iterable[Message]], newest: int) -> list[LabelRecord]:
    """The newest results, each image's first; what is no result is passed over.

    Args:
        read: gives at most so many of the last records of each partition.
        newest: results.
    """
    # A record holds one result or a thousand: more are read only where few held too little.
    most = max(LEAST_RECORDS, newest // TYPICAL_RESULTS)
    while True:
        messages = list(read(most))
        records, results = Counter[int | None](), Counter[int | None]()
        for message in messages:
            records[message.partition()] += 1
            results[message.partition()] += (message.value() or b"").count(b"\n") + 1
        if most >= newest or all(results[partition] >= newest for partition, count in records.items() if count >= most):
            return _firsts(messages)[-newest:]
        most = min(most * AGAIN, newest)


def _firsts(messages: Iterable[Message]) -> list[LabelRecord]:
    """Of every image the first result, in the order of time."""
    found: dict[tuple[str, int], LabelRecord] = {}
    for message in messages:
        with suppress(WireError):
            for record in labels_in(message.headers(), message.value()):
                found.setdefault((record.image, record.revision), record)
    return sorted(found.values(), key=lambda record: record.labelled_at_ms)


def compare(records: Sequence[LabelRecord], stable: int, trial: int) -> dict[str, Any]:
    """The figures of two versions, and how far they are apart."""
    figures = {stable: Figures(), trial: Figures()}
    for record in records:
        if record.model in figures:
            if record.error is None:
                figures[record.model].take(record)
            else:
                figures[record.model].failures += 1
        if record.instead_of in figures:
            figures[record.instead_of].failures += 1
    one, other = figures[stable], figures[trial]
    distance, by_chance = _class_distance(one, other)
    means = one.mean_confidence, other.mean_confidence
    return {
        "stable": one.to_dict(stable),
        "canary": other.to_dict(trial),
        "confidence_shift": _rounded(means[1] - means[0] if means[0] is not None and means[1] is not None else None),
        "confidence_shift_by_chance": _rounded(_confidence_error(one, other)),
        "class_mix_distance": _rounded(distance),
        "class_mix_distance_by_chance": _rounded(by_chance),
        "results_read": len(records),
        "from_ms": records[0].labelled_at_ms if records else None,
        "to_ms": records[-1].labelled_at_ms if records else None,
        "enough": min(one.labels, other.labels) >= ENOUGH,
    }


def show(status: dict[str, Any]) -> None:
    """Print a comparison as a table."""
    stable, canary = status["stable"], status["canary"]
    rows = [
        ("", f"stable {stable['version']}", f"canary {canary['version']}", "difference", "by chance"),
        ("labels", str(stable["labels"]), str(canary["labels"]), "", ""),
        ("failures", str(stable["failures"]), str(canary["failures"]), "", ""),
        ("error share", _percent(stable["error_share"]), _percent(canary["error_share"]), "", ""),
        (
            "confidence, mean",
            _number(stable["confidence_mean"]),
            _number(canary["confidence_mean"]),
            _number(status["confidence_shift"], "+"),
            _number(status["confidence_shift_by_chance"]),
        ),
        ("class mix", "", "", _number(status["class_mix_distance"]), _number(status["class_mix_distance_by_chance"])),
        *((f"ms to label, {name}", _whole(stable["latency_ms"][name]), _whole(canary["latency_ms"][name]), "", "") for name in PERCENTILES),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        click.echo(
            "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]).rstrip()
        )
    click.echo(f"from the newest {status['results_read']} results; class mix: 0 is the same share of each class, 1 no class in common")
    if not status["enough"]:
        click.echo(f"too few labels to judge: {ENOUGH} of each version are needed at least")


def _class_distance(one: Figures, other: Figures) -> tuple[float | None, float | None]:
    """Total variation distance of the classes answered, 0 to 1; and what is to be expected when both are the same.

    The expectation is the mean absolute difference of two normal shares: sqrt(2/pi) of its standard deviation, summed over classes.
    """
    if not one.labels or not other.labels:
        return None, None
    distance = by_chance = 0.0
    for name in one.classes.keys() | other.classes.keys():
        distance += abs(one.classes[name] / one.labels - other.classes[name] / other.labels)
        share = (one.classes[name] + other.classes[name]) / (one.labels + other.labels)
        by_chance += math.sqrt(2 / math.pi * share * (1 - share) * (1 / one.labels + 1 / other.labels))
    return distance / 2, by_chance / 2


def _confidence_error(one: Figures, other: Figures) -> float | None:
    """Two standard errors of the difference of the means: 95 % of differences by chance are smaller."""
    if not one.labels or not other.labels:
        return None
    return 2 * math.sqrt(one.confidence_variance / one.labels + other.confidence_variance / other.labels)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.4f}"


def _whole(value: int | None) -> str:
    return "-" if value is None else str(value)
