"""Fit a network to a data set, one epoch at a time, with a checkpoint after each; and measure how well it classifies."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from convnet import machine
from convnet import network as networks
from convnet.checkpoints import Checkpoint, Checkpoints
from convnet.confidence import cross_entropy
from convnet.dataset import Dataset, Split
from convnet.errors import TooLargeForMemory
from convnet.images import ImageSpec
from convnet.model_card import EpochResult
from convnet.predictor import Predictor
from convnet.progress import Progress
from convnet.quiet import import_tensorflow
from convnet.recipe import DEFAULTS, Recipe, compile_for, recipe
from convnet.steps import batches, class_rules

# Images of one call when measuring: past 256 the original network gains nothing and memory grows.
EVALUATION_BATCH = 256
# What a step holds of each layer's output: the output and its gradient.
_COPIES_A_STEP = 2


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What is asked of a training. Equal settings on equal data are the same training.

    Attributes:
        height: pixels.
        width: pixels.
        channels: 1 grey, 3 RGB.
        epochs: passes over the training images, 1 or more; 0 stands for the network's own number and is replaced by it.
        batch_size: images a step, 1 or more; 0 likewise.
        seed: of the first weights, the order of images, how they are changed, and dropout.
        network: which architecture, one of `network.NETWORKS`.
        mirror: train on mirrored pictures too; None does as the network's recipe says.
    """

    height: int
    width: int
    channels: int
    epochs: int = 0
    batch_size: int = 0
    seed: int = 1
    network: str = networks.ORIGINAL
    mirror: bool | None = None

    def __post_init__(self) -> None:
        """Fill in what was left to the network."""
        networks.check(self.network, self.spec)
        object.__setattr__(self, "epochs", self.epochs or DEFAULTS[self.network].epochs)
        object.__setattr__(self, "batch_size", self.batch_size or DEFAULTS[self.network].batch_size)

    @property
    def spec(self) -> ImageSpec:
        """What the network will take."""
        return ImageSpec(self.height, self.width, self.channels)

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        return recipe(self.network, mirror=self.mirror)

    def as_json(self) -> dict[str, JsonValue]:
        """As stored on the model card."""
        return {**asdict(self), "mirror": self.recipe.augmentation.mirror, "recipe": asdict(self.recipe)}

    def run_name(self, fingerprint: str) -> str:
        """Names the run on data of this fingerprint, so that the same command finds its checkpoints."""
        keras_version = import_tensorflow().keras.__version__
        text = json.dumps([self.as_json(), fingerprint, keras_version], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def fit(
    dataset: Dataset,
    settings: TrainingSettings,
    checkpoints: Checkpoints,
    progress: Progress,
    *,
    still_ours: Callable[[], None] = lambda: None,
) -> tuple[Any, tuple[EpochResult, ...]]:
    """Train, going on from a checkpoint when there is one.

    Args:
        dataset: fitted to its training side, judged by its held-out side.
        settings: what to train.
        checkpoints: where to go on from, and where each epoch is written.
        progress: told how each epoch ended.
        still_ours: called before anything is written; raises when another took over.

    Returns:
        the trained Keras model, with the weights of its best epoch, and one result an epoch.

    Raises:
        TooLargeForMemory: a step does not fit.
        RegistryError: a checkpoint cannot be written.
    """
    tf = import_tensorflow()
    patience = settings.recipe.patience
    rules = class_rules(dataset, settings.recipe.augmentation, progress)
    run = _Run(tf, dataset, settings, checkpoints.load(), progress)
    _check_memory(run.network, settings)
    for epoch in range(run.done, settings.epochs):
        if _exhausted(run.history, patience):
            progress.note(f"no better epoch in the last {patience}: the training ends early, with the weights of the best one")
            break
        run.begin(epoch)
        progress.stage(f"epoch {epoch + 1} of {settings.epochs}", len(dataset.training))
        steps = batches(tf, dataset.training, settings, epoch, rules)
        told = tf.keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, **_: progress.done(min((batch + 1) * settings.batch_size, len(dataset.training)))
        )
        # Called beside the training, not within it: otherwise each step waits for the one before to be counted.
        told.async_safe = True
        started = time.monotonic()
        try:
            fitted = run.network.fit(steps, verbose=0, callbacks=[told]).history
            answered = keras_answers(run.network, dataset.held_out)
        except (MemoryError, tf.errors.ResourceExhaustedError) as error:
            raise TooLargeForMemory(settings.batch_size, settings.spec.shape) from error
        result = _epoch_result(fitted, answered, dataset.held_out.labels, time.monotonic() - started)
        still_ours()
        checkpoints.save(run.end(result))
        left = settings.epochs - run.done
        progress.epoch(run.done, settings.epochs, result, seconds_left=left * result.seconds)
    trained = networks.build(settings.network, settings.spec, len(dataset.classes), pretrained=False)
    trained.set_weights(run.best)
    return trained, run.history


class _Run:
    """The state of one training: the network, what each epoch gave, and the best weights so far."""

    def __init__(self, tf: Any, dataset: Dataset, settings: TrainingSettings, resumed: Checkpoint | None, progress: Progress) -> None:
        self._keras, self._settings = tf.keras, settings
        self._steps = math.ceil(len(dataset.training) / settings.batch_size)
        self._phase: int | None = None
        self.history: tuple[EpochResult, ...] = ()
        tf.keras.utils.set_random_seed(settings.seed)
        self.network = networks.build_to_train(
            settings.network, settings.spec, len(dataset.classes), pretrained=resumed is None, bfloat16=machine.multiplies_bfloat16()
        )
        self.best: Sequence[NDArray[Any]] = self.network.get_weights()
        if resumed is not None:
            self._resume(resumed)
            progress.note(f"going on after epoch {self.done} of {settings.epochs}, from the checkpoint of an earlier run of this command")

    @property
    def done(self) -> int:
        """Epochs that are done."""
        return len(self.history)

    def begin(self, epoch: int) -> None:
        """Compile when a phase begins; then draw from random states that depend on seed and epoch alone."""
        self._enter(self._settings.recipe.phase(epoch))
        self._keras.utils.set_random_seed(self._settings.seed + epoch)
        for layer in self.network.layers:
            generator = getattr(layer, "seed_generator", None)
            if generator is not None:
                generator.state.assign(np.array([self._settings.seed, epoch], np.uint32))

    def end(self, result: EpochResult) -> Checkpoint:
        """Note what the epoch gave."""
        weights, best = self.network.get_weights(), _best(self.history)
        if best is None or _rank(result) > _rank(self.history[best]):
            self.best = weights
        self.history = (*self.history, result)
        return Checkpoint(self.history, weights, [variable.numpy() for variable in self.network.optimizer.variables], self.best)

    def _enter(self, phase: int) -> None:
        if phase != self._phase:
            compile_for(self._keras, self.network, self._settings.recipe, phase, self._settings.epochs, self._steps)
            self._phase = phase

    def _resume(self, checkpoint: Checkpoint) -> None:
        self.history, self.best = checkpoint.history, checkpoint.best
        self._enter(self._settings.recipe.phase(self.done - 1))
        self.network.set_weights(checkpoint.weights)
        optimizer = self.network.optimizer
        optimizer.build(self.network.trainable_variables)
        for variable, value in zip(optimizer.variables, checkpoint.optimizer, strict=True):
            variable.assign(value)


def accuracy(predictor: Predictor, split: Split) -> float:
    """Share of images whose most probable class is their own, 0-1."""
    return float(np.mean(answers(predictor, split).argmax(axis=1) == split.labels))


def answers(predictor: Predictor, split: Split) -> NDArray[np.float32]:
    """Probabilities of every image of a split: float32 [n, classes]."""
    starts = range(0, len(split), predictor.max_batch)
    return np.concatenate([predictor.predict(split.images[start : start + predictor.max_batch]) for start in starts])


def keras_answers(network: Any, split: Split) -> NDArray[np.float32]:
    """The same of a Keras model in memory."""
    starts = range(0, len(split), EVALUATION_BATCH)
    return np.concatenate([network.predict_on_batch(split.images[start : start + EVALUATION_BATCH]) for start in starts])


def _rank(result: EpochResult) -> tuple[float, float]:
    """Which of two epochs is better: more accurate, then less loss."""
    return result.validation_accuracy, -result.validation_loss


def _best(history: Sequence[EpochResult]) -> int | None:
    return max(range(len(history)), key=lambda index: (_rank(history[index]), -index), default=None)


def _exhausted(history: Sequence[EpochResult], patience: int) -> bool:
    best = _best(history)
    return best is not None and len(history) - 1 - best >= patience


def _epoch_result(fitted: dict[str, list[float]], answered: NDArray[np.float32], labels: NDArray[np.int32], seconds: float) -> EpochResult:
    return EpochResult(
        loss=fitted["loss"][-1],
        accuracy=fitted["accuracy"][-1],
        validation_loss=cross_entropy(answered, labels),
        validation_accuracy=float(np.mean(answered.argmax(axis=1) == labels)),
        seconds=seconds,
    )


def _check_memory(network: Any, settings: TrainingSettings) -> None:
    """Say so now rather than be killed by the container's limit: nobody can catch that."""
    left = machine.memory_bytes()
    elements = sum(math.prod(layer.output.shape[1:]) for layer in network.layers)
    needed = 4 * settings.batch_size * elements * _COPIES_A_STEP
    if left is not None and needed > left:
        raise TooLargeForMemory(settings.batch_size, settings.spec.shape, needed, left)
