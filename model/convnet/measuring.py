"""How large and how fast a version's artefacts are, here and now."""

from __future__ import annotations

import time
from dataclasses import dataclass

from convnet.errors import ModelError, RegistryError
from convnet.images import Pixels
from convnet.model_card import ModelCard
from convnet.predictor import LiteRTPredictor
from convnet.registry import Registry

_BATCH = 32
# Enough rounds that one disturbed by other work does not show (the best counts), few enough for a large network.
_ROUNDS = 5
_MOST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """One artefact.

    Attributes:
        name: its file.
        bytes: its size.
        alone_s: seconds for a picture alone, one thread; None when it is not one that serves.
        batch_s: seconds a picture in batches of 32.
    """

    name: str
    bytes: int
    alone_s: float | None = None
    batch_s: float | None = None


def measure(registry: Registry, card: ModelCard, images: Pixels) -> tuple[Measured, ...]:
    """Measure every artefact of a version on some pictures, uint8 [n, height, width, channels], n >= 1."""
    return tuple(_measured(registry, card, name, images[:_BATCH]) for name in card.checksums)


def _measured(registry: Registry, card: ModelCard, name: str, images: Pixels) -> Measured:
    size = (registry.folder / str(card.version) / name).stat().st_size
    if not name.endswith(".tflite"):
        return Measured(name, size)
    try:
        predictor = LiteRTPredictor(card, registry.artefact(card.version, name), max_batch=_BATCH)
        return Measured(name, size, _best(predictor, images[:1]), _best(predictor, images))
    except (ModelError, RegistryError):
        return Measured(name, size)  # it cannot serve; why is said where someone asks for it


def _best(predictor: LiteRTPredictor, images: Pixels) -> float:
    """The least seconds a picture took."""
    predictor.predict(images)
    best, ends = float("inf"), time.perf_counter() + _MOST_SECONDS
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        predictor.predict(images)
        best = min(best, time.perf_counter() - started)
        if time.perf_counter() > ends:
            break
    return best / len(images)
