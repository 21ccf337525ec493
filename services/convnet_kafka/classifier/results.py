"""From images to results: decode each on its own, predict the rest together, and find the one that a prediction fails on.

Knows nothing of Kafka. A picture that cannot be read never harms its neighbours, and neither does one that the model fails on.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

import numpy as np
import structlog
from numpy.typing import NDArray

from convnet.confidence import UNCERTAIN, decide, thresholds, top_k
from convnet.errors import UnreadableImage
from convnet.images import DecodeLimits, Pixels, decode
from convnet.predictor import Predictor
from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.messages import FailureCode, ImageRecord, Top

logger = structlog.get_logger(__name__)

# Six digits are more than a probability of a network is worth, and half the bytes of a float's.
CONFIDENCE_DIGITS = 6
# With an uncertain label come so many classes at least: it is for who looks at the picture to choose.
UNCERTAIN_TOP = 3
# In the setting of thresholds: every class that is not named.
EVERY_OTHER = "*"


class ModelBroken(ConvnetKafkaError):
    """The model fails even on its own warm-up batch: no image is at fault."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Why an image has no label.

    Attributes:
        code: for programs.
        detail: for people.
        attempts: how often it was tried.
        model: version of the model that was asked, or None.
    """

    code: FailureCode
    detail: str
    attempts: int = 1
    model: int | None = None


# Class name, confidence, the version that answered, the version that was to answer and failed, or None, and the most probable classes, or
# None. A tuple, because one is made for every image.
Labelled = tuple[str, float, int, int | None, Top | None]
Result = Labelled | Failed


@dataclass(frozen=True, slots=True)
class Saying:
    """How an answer is put.

    Attributes:
        thresholds: class name, or `*` for all others, to the least probability at which it is answered, 0 to 1; below it the label is
            `uncertain`.
        top: how many classes are named with their probabilities; 1 names none beside the label.
    """

    thresholds: Mapping[str, float] = field(default_factory=dict)
    top: int = 1

    def of(self, classes: Sequence[str]) -> NDArray[np.float32] | None:
        """Thresholds in the order of a model's classes; None when none is set.

        Raises:
            ThresholdError: the model has no such class.
        """
        named = {name: value for name, value in self.thresholds.items() if name != EVERY_OTHER}
        return thresholds(classes, named, self.thresholds.get(EVERY_OTHER, 0.0))


PLAIN = Saying()


class ResultMaker:
    """Images in, results out, with one model.

    Args:
        predictor: loaded and warm; belongs to the calling thread from now on.
        limits: what a picture may cost.
        saying: how answers are put.

    Raises:
        ThresholdError: a threshold is set of a class that the model has not.
    """

    def __init__(self, predictor: Predictor, limits: DecodeLimits, saying: Saying = PLAIN) -> None:
        self.predictor = predictor
        self.version = predictor.card.version
        self._decode_s = 0.0
        self._predict_s = 0.0
        self._limits = limits
        self._classes = predictor.card.classes
        self._top = saying.top
        self._thresholds = saying.of(self._classes)
        # Reused for every batch: one copy of 1 KB an image is cheaper than stacking arrays.
        self._pixels = np.empty((predictor.max_batch, *predictor.spec.shape), np.uint8)

    def results(self, records: Sequence[ImageRecord]) -> list[Result]:
        """One result for each image, in their order.

        Args:
            records: at most the predictor's `max_batch`.

        Raises:
            ModelBroken: the model fails on what it is known to be able to answer.
        """
        started = time.perf_counter()
        pixels, spec, limits = self._pixels, self.predictor.spec, self._limits
        results: list[Result | None] = [None] * len(records)
        rows: list[int] = []
        for index, record in enumerate(records):
            try:
                pixels[len(rows)] = decode(record.content, spec, limits)
            except UnreadableImage as error:
                results[index] = Failed(FailureCode(error.code.value), str(error))
            else:
                rows.append(index)
        decoded = time.perf_counter()
        for index, answer in zip(rows, self._answers(pixels[: len(rows)]) if rows else [], strict=True):
            results[index] = answer
        self._decode_s += decoded - started
        self._predict_s += time.perf_counter() - decoded
        return [result for result in results if result is not None]

    def taken(self) -> tuple[float, float]:
        """Seconds of decoding and of predicting since this was asked last."""
        taken = self._decode_s, self._predict_s
        self._decode_s = self._predict_s = 0.0
        return taken

    def _answers(self, pixels: Pixels) -> list[Result]:
        try:
            return self._predict(pixels)
        except Exception as error:  # noqa: BLE001 - whatever a backend raises; the image at fault is found below, and told
            logger.warning("prediction failed; looking for the image at fault", images=len(pixels), model=self.version, error=str(error))
        self._check_model()
        return self._bisect(pixels)

    def _predict(self, pixels: Pixels) -> list[Result]:
        probabilities = self.predictor.predict(pixels)
        confidences = probabilities.max(axis=1).astype(np.float64)
        if not np.isfinite(confidences).all():
            raise ArithmeticError("the model answered with a number that is none")
        best = probabilities.argmax(axis=1).tolist()
        classes = self._classes
        names, rounded = [classes[index] for index in best], confidences.round(CONFIDENCE_DIGITS).tolist()
        tops: Iterable[Top | None] = repeat(None)
        if self._thresholds is not None or self._top > 1:
            names, tops = self._put(probabilities, names)
        return list(zip(names, rounded, repeat(self.version), repeat(None), tops, strict=False))

    def _put(self, probabilities: NDArray[np.float32], names: list[str]) -> tuple[list[str], list[Top | None]]:
        """The labels, `uncertain` where no class is probable enough, and the most probable classes of those that are to name them."""
        certain = decide(probabilities, self._thresholds).certain.tolist()
        count = self._top if all(certain) else max(self._top, UNCERTAIN_TOP)
        indices, values = top_k(probabilities, count)
        rounded = values.astype(np.float64).round(CONFIDENCE_DIGITS).tolist()
        tops: list[Top | None] = []
        for sure, best, likely in zip(certain, indices.tolist(), rounded, strict=True):
            wanted = self._top if sure else count
            named = tuple((self._classes[index], value) for index, value in zip(best[:wanted], likely, strict=False))
            tops.append(None if sure and self._top == 1 else named)
        return [name if sure else UNCERTAIN for name, sure in zip(names, certain, strict=True)], tops

    def _bisect(self, pixels: Pixels) -> list[Result]:
        """Try again in halves: all that can be answered is, and one image alone is at fault."""
        try:
            return self._predict(pixels)
        except Exception as error:  # noqa: BLE001 - as above
            if len(pixels) == 1:
                return [Failed(FailureCode.MODEL_ERROR, f"model {self.version} failed on this image: {error}", 2, self.version)]
        half = len(pixels) // 2
        return self._bisect(pixels[:half]) + self._bisect(pixels[half:])

    def _check_model(self) -> None:
        """Before any image is blamed: a broken model must not empty the topic into the dead letters."""
        try:
            self.predictor.warm_up()
        except Exception as error:
            raise ModelBroken(f"model {self.version} fails on its own warm-up batch: {error}") from error
