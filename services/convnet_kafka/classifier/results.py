"""From images to results: decode each on its own, predict the rest together, and find the one that a prediction fails on.

Knows nothing of Kafka. A picture that cannot be read never harms its neighbours, and neither does one that the model fails on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import structlog

from convnet.errors import UnreadableImage
from convnet.images import DecodeLimits, Pixels, decode
from convnet.predictor import Predictor
from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.messages import FailureCode, ImageRecord

logger = structlog.get_logger(__name__)

# Six digits are more than a probability of a network is worth, and half the bytes of a float's.
CONFIDENCE_DIGITS = 6


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


# Class name, confidence, the version that answered, and the version that was to answer and failed, or None. A tuple, because one is made
# for every image.
Labelled = tuple[str, float, int, int | None]
Result = Labelled | Failed


class ResultMaker:
    """Images in, results out, with one model.

    Args:
        predictor: loaded and warm; belongs to the calling thread from now on.
        limits: what a picture may cost.
    """

    def __init__(self, predictor: Predictor, limits: DecodeLimits) -> None:
        self.predictor = predictor
        self.version = predictor.card.version
        self._decode_s = 0.0
        self._predict_s = 0.0
        self._limits = limits
        self._classes = predictor.card.classes
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
        return list(zip(names, rounded, repeat(self.version), repeat(None), strict=False))

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
