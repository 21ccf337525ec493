"""Probabilities that can be taken at their word: a temperature fitted on held-out images, the best k, and when to say `uncertain`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convnet.errors import ConvnetError

# What stands in place of a label that is not certain enough; no class folder should be called so when thresholds are set.
UNCERTAIN = "uncertain"

# Outside of this a network has learned nothing, or has learned its training images by heart.
_COLDEST, _HOTTEST = 0.05, 20.0
_STEPS = 60
# Doubling or halving must be worth about two nats, over all images.
_RELUCTANCE = 5.0
_SMALLEST = 1e-12

Probabilities = NDArray[np.float32]


class ThresholdError(ConvnetError):
    """A threshold names a class that the model does not know, or is no probability."""

    exit_code = 2


def fit_temperature(probabilities: Probabilities, labels: NDArray[np.int32]) -> float:
    """The temperature that makes probabilities match how often they are right (arXiv:1706.04599): the least cross-entropy.

    Few images, or ones that are all answered rightly, say little: the fewer there are, the nearer to 1 it stays.

    Args:
        probabilities: float32 [n, classes] of images that were not trained on.
        labels: int32 [n], their classes.

    Returns:
        what logits are to be divided by, 0.05-20; above 1 where the network is too sure. The most probable class never changes.
    """
    logits = np.log(np.maximum(probabilities.astype(np.float64), _SMALLEST))
    # Cross-entropy has one valley in the logarithm of the temperature: golden-section search walks down it.
    low, high, ratio = np.log(_COLDEST), np.log(_HOTTEST), (np.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        colder, hotter = high - ratio * (high - low), low + ratio * (high - low)
        if _cross_entropy(logits, labels, np.exp(colder)) < _cross_entropy(logits, labels, np.exp(hotter)):
            high = hotter
        else:
            low = colder
    return float(np.exp((low + high) / 2))


def cross_entropy(probabilities: Probabilities, labels: NDArray[np.int32]) -> float:
    """Mean cross-entropy in nats."""
    right = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(right, _SMALLEST)).mean())


def top_k(probabilities: Probabilities, k: int) -> tuple[NDArray[np.intp], Probabilities]:
    """The most probable classes of each image, best first.

    Args:
        probabilities: float32 [n, classes].
        k: how many, 1 or more; more than there are classes gives all.

    Returns:
        class indices [n, k] and their probabilities float32 [n, k]; equal ones in the order of the classes.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :k]
    return best, np.take_along_axis(probabilities, best, axis=1)


@dataclass(frozen=True, slots=True)
class Decisions:
    """What is said of a batch.

    Attributes:
        best: index of each image's most probable class [n].
        confidence: its probability, float32 [n].
        certain: whether it reaches that class's threshold [n]; where False the label is `UNCERTAIN`.
    """

    best: NDArray[np.intp]
    confidence: Probabilities
    certain: NDArray[np.bool_]


def decide(probabilities: Probabilities, thresholds: Probabilities | None = None) -> Decisions:
    """The most probable class of each image, and whether it is probable enough.

    Args:
        probabilities: float32 [n, classes].
        thresholds: float32 [classes] of `thresholds`; without them every answer is certain.
    """
    best = probabilities.argmax(axis=1)
    confidence = probabilities[np.arange(len(best)), best]
    certain = np.ones(len(best), np.bool_) if thresholds is None else confidence >= thresholds[best]
    return Decisions(best, confidence, certain)


def thresholds(classes: Sequence[str], by_class: Mapping[str, float], otherwise: float = 0.0) -> Probabilities | None:
    """Thresholds in the order of a model's classes.

    Args:
        classes: the model's.
        by_class: class name to the least probability at which it is answered, 0-1.
        otherwise: of the classes not named, 0-1; 0 always answers.

    Returns:
        float32 [classes], or None when every one is 0, so that serving pays nothing.

    Raises:
        ThresholdError: a class is unknown, or a value is no probability.
    """
    unknown = sorted(set(by_class) - set(classes))
    if unknown:
        raise ThresholdError(f"thresholds name {', '.join(unknown)}, which the model does not know; its classes are {', '.join(classes)}")
    values = {"every other class": otherwise} | dict(by_class)
    wrong = [f"{name} ({value})" for name, value in values.items() if not 0 <= value <= 1]
    if wrong:
        raise ThresholdError(f"a threshold is a probability, 0 to 1, not that of {', '.join(wrong)}")
    found = np.array([by_class.get(name, otherwise) for name in classes], np.float32)
    return found if found.any() else None


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int32], temperature: float) -> float:
    scaled = logits / temperature
    highest = scaled.max(axis=1)
    total = np.log(np.exp(scaled - highest[:, None]).sum(axis=1)) + highest
    loss = (total - scaled[np.arange(len(labels)), labels]).mean()
    return float(loss + _RELUCTANCE * np.log(temperature) ** 2 / len(labels))
