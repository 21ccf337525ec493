"""What a trained network becomes: files to serve, each measured on the held-out images before it may be.

Float32 must answer as Keras does. Int8 may answer a little worse: it is what is served when it loses at most half a point of accuracy,
and is not kept otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convnet import export, machine, training
from convnet.confidence import fit_temperature
from convnet.dataset import Dataset
from convnet.errors import ModelError
from convnet.images import Pixels
from convnet.model_card import ModelCard
from convnet.predictor import LiteRTPredictor
from convnet.progress import Progress
from convnet.registry import FLOAT32, INT8, KERAS
from convnet.training import EVALUATION_BATCH

# Of accuracy, that int8 may lose: half a point.
MAX_INT8_LOSS = 0.005
# More calibration images changed no range of the networks here.
_CALIBRATION_IMAGES = 256

Quantise = Callable[[Any, Pixels], bytes]


@dataclass(frozen=True, slots=True)
class Artefacts:
    """Files of one version, and what was found out about them; see `ModelCard` for the figures.

    Attributes:
        files: name to contents.
        accuracy: by artefact, also of refused ones.
        served: which one is served unless another is asked for.
        refused: artefacts that are not among the files, and why.
        temperature: fitted on the held-out images, and in every file.
        network: the Keras model with that temperature.
        probabilities: of the held-out images by float32: float32 [n, classes].
    """

    files: Mapping[str, bytes]
    accuracy: Mapping[str, float]
    served: str
    refused: Mapping[str, str]
    temperature: float
    network: Any
    probabilities: NDArray[np.float32]


def make(network: Any, dataset: Dataset, card: ModelCard, progress: Progress, *, quantise: Quantise = export.litert_int8) -> Artefacts:
    """Convert and measure.

    Args:
        network: the trained Keras model.
        dataset: its training images calibrate int8, its held-out images judge.
        card: classes and size; its version means nothing yet.
        progress: told what was refused.
        quantise: makes the int8 file.

    Raises:
        ModelError: float32 does not answer as Keras does; nothing may be registered.
    """
    held_out = dataset.held_out
    progress.stage("exporting and checking", 3 * len(held_out))
    temperature = fit_temperature(training.keras_answers(network, held_out), held_out.labels)
    tempered = export.with_temperature(network, temperature)
    reference = training.keras_answers(tempered, held_out)
    progress.done(len(held_out))
    files = {KERAS: export.keras_file(tempered), FLOAT32: export.litert_float32(tempered)}
    probabilities = training.answers(_predictor(card, files[FLOAT32]), held_out)
    export.check_same(reference, probabilities, FLOAT32)
    progress.done(2 * len(held_out))
    accuracy = {KERAS: _accuracy(reference, held_out.labels), FLOAT32: _accuracy(probabilities, held_out.labels)}
    refused = {}
    try:
        candidate = quantise(tempered, _calibration(dataset))
        accuracy[INT8] = training.accuracy(_predictor(card, candidate), held_out)
    except ModelError as error:
        refused[INT8] = str(error)
    else:
        if accuracy[INT8] < accuracy[FLOAT32] - MAX_INT8_LOSS:
            refused[INT8] = (
                f"it classifies {accuracy[INT8]:.2%} of {len(held_out)} held-out images rightly, float32 {accuracy[FLOAT32]:.2%}; "
                f"at most {MAX_INT8_LOSS:.1%} may be lost"
            )
        else:
            files[INT8] = candidate
    for name, reason in refused.items():
        progress.note(f"{name} is not kept and float32 is served: {reason}")
    progress.done(3 * len(held_out))
    served = INT8 if INT8 in files else FLOAT32
    return Artefacts(files, accuracy, served, refused, temperature, tempered, probabilities)


def _predictor(card: ModelCard, model: bytes) -> LiteRTPredictor:
    return LiteRTPredictor(card, model, max_batch=EVALUATION_BATCH, threads=machine.processors())


def _accuracy(probabilities: NDArray[np.float32], labels: NDArray[np.int32]) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == labels))


def _calibration(dataset: Dataset) -> Pixels:
    """Training images of all classes, the same ones every time."""
    chosen = np.random.default_rng(0).permutation(len(dataset.training))[:_CALIBRATION_IMAGES]
    images: Pixels = dataset.training.images[np.sort(chosen)]
    return images
