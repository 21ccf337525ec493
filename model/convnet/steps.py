"""The batches of one epoch, cut from the uint8 array as they are needed: no copy of the data set as floats ever exists.

Order and changes of an epoch depend on seed and epoch alone, so that a run that was killed sees the images as if it had not been.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from convnet.augmentation import Augmentation, augment, mirrored_classes
from convnet.dataset import Dataset, Split
from convnet.progress import Progress

if TYPE_CHECKING:
    from convnet.training import TrainingSettings

# Classes that differ less are as good as equal; weighting them would only add noise.
_EQUAL_ENOUGH = 1.5
# Handed to TensorFlow at once.
_CHUNK_BYTES = 4 * 2**20
# One picture must not outweigh a whole step.
_MAX_WEIGHT = 10.0


@dataclass(frozen=True, slots=True)
class ClassRules:
    """What differs between classes.

    Attributes:
        mirrored: whether a class's pictures may be mirrored [classes].
        weights: of `class_weights`.
    """

    mirrored: NDArray[np.bool_]
    weights: NDArray[np.float32] | None


def class_rules(dataset: Dataset, wanted: Augmentation, progress: Progress) -> ClassRules:
    """Look at the training images, and say what was found."""
    count = len(dataset.classes)
    weights = class_weights(dataset.training.labels, count)
    if weights is not None:
        progress.note(f"classes differ in size: a picture counts {weights.min():.2g} to {weights.max():.2g} times, by its class")
    if wanted.mirror != "alike":
        return ClassRules(np.full(count, wanted.mirror == "always"), weights)
    mirrored = mirrored_classes(dataset.training.images, dataset.training.labels, count)
    names = ", ".join(name for name, alike in zip(dataset.classes, mirrored, strict=True) if alike)
    progress.note(f"mirrored pictures look like their own class, and are trained on too, of: {names or 'no class'}")
    return ClassRules(mirrored, weights)


def class_weights(labels: NDArray[np.int32], classes: int) -> NDArray[np.float32] | None:
    """How much a picture of each class counts, so that every class counts the same: float32 [classes], at most 10.

    None when the classes are of about equal size.
    """
    counts = np.bincount(labels, minlength=classes)
    if counts.max() <= _EQUAL_ENOUGH * counts.min():
        return None
    weights: NDArray[np.float32] = np.minimum(len(labels) / (classes * np.maximum(counts, 1)), _MAX_WEIGHT).astype(np.float32)
    return weights


def batches(tf: Any, split: Split, settings: TrainingSettings, epoch: int, rules: ClassRules) -> Any:
    """The epoch as a `tf.data.Dataset` of (uint8 images, float32 certainties of each class, and weights when classes differ).

    Python cuts chunks of many steps, TensorFlow cuts the steps out of them: asking Python for each step costs some per cent of it.
    """
    order = np.random.default_rng((settings.seed, epoch)).permutation(len(split))
    certain = np.eye(len(rules.mirrored), dtype=np.float32)
    size = min(settings.batch_size, len(split))
    whole = len(split) // size
    together = max(1, min(whole, _CHUNK_BYTES // (size * math.prod(settings.spec.shape))))

    def chunk(start: int, steps: int, size: int) -> tuple[NDArray[Any], ...]:
        chosen = order[start : start + steps * size]
        labels = split.labels[chosen]
        random = np.random.default_rng((settings.seed, epoch, start))
        images = augment(split.images[chosen], settings.recipe.augmentation, random, rules.mirrored[labels])
        parts = (images, certain[labels]) if rules.weights is None else (images, certain[labels], rules.weights[labels])
        return tuple(part.reshape(steps, size, *part.shape[1:]) for part in parts)

    def chunks() -> Iterator[tuple[NDArray[Any], ...]]:
        for first in range(0, whole, together):
            yield chunk(first * size, min(together, whole - first), size)
        if whole * size < len(split):
            yield chunk(whole * size, 1, len(split) - whole * size)

    signature = [tf.TensorSpec((None, None, *settings.spec.shape), tf.uint8), tf.TensorSpec((None, None, len(certain)), tf.float32)]
    if rules.weights is not None:
        signature.append(tf.TensorSpec((None, None), tf.float32))
    cut = tf.data.Dataset.from_generator(chunks, output_signature=tuple(signature)).prefetch(1)
    steps = cut.flat_map(lambda *parts: tf.data.Dataset.from_tensor_slices(parts)).prefetch(2)
    options = tf.data.Options()
    # There is nothing to tune, and the tuner's thread sometimes oversleeps the end of an epoch: a third of all epochs of a minute then
    # took half a minute more (TensorFlow 2.21; it looks after 10 ms, 20 ms and so on, and an end in between may not wake it).
    options.autotune.enabled = False
    steps = steps.with_options(options)
    return steps.apply(tf.data.experimental.assert_cardinality(math.ceil(len(split) / size)))
