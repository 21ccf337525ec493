"""What a model gets right and wrong on labelled pictures, in figures."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from convnet.dataset import Split
from convnet.predictor import Predictor, Probabilities

# The number that papers use (arXiv:1706.04599), so that figures can be compared.
CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How one class fares.

    Attributes:
        name: of the class.
        images: pictures of it.
        precision: share of the answers of this class that are right, 0-1; None when it was never answered.
        recall: share of its pictures that are found, 0-1; None when there are none.
        f1: harmonic mean of both; None without either.
    """

    name: str
    images: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Bin:
    """Answers of similar confidence.

    Attributes:
        low: least confidence, 0-1.
        high: highest.
        images: how many answers.
        confidence: their mean.
        accuracy: share of them that are right.
    """

    low: float
    high: float
    images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Answers beside the truth.

    Attributes:
        classes: the model's.
        labels: int32 [n], indices into the classes.
        answers: float32 [n, classes], probabilities.
        seconds: wall time of predicting, without decoding.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int32]
    answers: Probabilities
    seconds: float

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def chosen(self) -> NDArray[np.intp]:
        """Index of the most probable class [n]."""
        best: NDArray[np.intp] = self.answers.argmax(axis=1)
        return best

    @property
    def confidence(self) -> Probabilities:
        """Probability of the chosen class [n], 0-1."""
        highest: Probabilities = self.answers.max(axis=1)
        return highest

    @property
    def accuracy(self) -> float:
        """Share of pictures whose most probable class is theirs, 0-1."""
        return float((self.chosen == self.labels).mean())

    def top_accuracy(self, count: int) -> float:
        """Share of pictures whose class is among the `count` most probable, 0-1."""
        own = self.answers[np.arange(len(self)), self.labels]
        return float(((self.answers > own[:, None]).sum(axis=1) < count).mean())

    def confusion(self) -> NDArray[np.int64]:
        """Counts [class, chosen class]."""
        counts = np.zeros((len(self.classes), len(self.classes)), np.int64)
        np.add.at(counts, (self.labels, self.chosen), 1)
        return counts

    def scores(self) -> tuple[ClassScore, ...]:
        """Precision, recall and F1 of every class."""
        counts = self.confusion()
        right, own, answered = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
        return tuple(
            ClassScore(
                name,
                int(own[index]),
                _share(right[index], answered[index]),
                _share(right[index], own[index]),
                _share(2 * right[index], own[index] + answered[index]),
            )
            for index, name in enumerate(self.classes)
        )

    def bins(self) -> tuple[Bin, ...]:
        """Answers by confidence, in bins of equal width; empty ones are left out."""
        confidence, right = self.confidence, self.chosen == self.labels
        number = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        found = []
        for index in range(CALIBRATION_BINS):
            inside = number == index
            if inside.any():
                low, high = index / CALIBRATION_BINS, (index + 1) / CALIBRATION_BINS
                found.append(Bin(low, high, int(inside.sum()), float(confidence[inside].mean()), float(right[inside].mean())))
        return tuple(found)

    def calibration_error(self) -> float:
        """Expected calibration error, 0-1: how far confidence and accuracy lie apart, weighted by the bins' sizes."""
        return sum(each.images * abs(each.confidence - each.accuracy) for each in self.bins()) / len(self)

    def worst(self, count: int) -> list[int]:
        """Indices of the mistakes made with the most confidence, worst first."""
        wrong = np.flatnonzero(self.chosen != self.labels)
        return [int(index) for index in wrong[np.argsort(-self.confidence[wrong], kind="stable")][:count]]

    def confused(self, count: int) -> list[tuple[str, str, int]]:
        """The pairs (class, what it was taken for, how often) that happen most."""
        counts = self.confusion()
        np.fill_diagonal(counts, 0)
        order = np.argsort(-counts, axis=None, kind="stable")[:count]
        pairs = [(int(index) // len(self.classes), int(index) % len(self.classes)) for index in order]
        return [(self.classes[own], self.classes[taken], int(counts[own, taken])) for own, taken in pairs if counts[own, taken]]


def evaluate(predictor: Predictor, split: Split) -> Evaluation:
    """Predict every picture of a split, whose labels are indices into the model's classes."""
    starts: Sequence[int] = range(0, len(split), predictor.max_batch)
    started = time.perf_counter()
    answers = [predictor.predict(split.images[start : start + predictor.max_batch]) for start in starts]
    return Evaluation(predictor.card.classes, split.labels, np.concatenate(answers), time.perf_counter() - started)


def _share(part: np.int64, whole: np.int64) -> float | None:
    return float(part / whole) if whole else None
