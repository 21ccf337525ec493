"""A trained model for programs: pictures in, labels with probabilities out. Needs LiteRT, and no TensorFlow, Kafka or server."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from convnet.errors import RegistryError, UnreadableCode, UnreadableImage
from convnet.images import ImageSpec, Pixels, decode, decode_image
from convnet.machine import processors
from convnet.model_card import ModelCard
from convnet.predictor import Backend, Predictor, load_predictor
from convnet.registry import Registry

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | NDArray[Any]

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one picture.

    Attributes:
        label: the most probable class.
        probability: of that class, 0-1.
        top: (class, probability) of the most probable classes, best first.
        version: of the model that answered.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    version: int


class Model:
    """A loaded version of a model. May be used by several threads: they take turns.

    Args:
        predictor: what answers.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._turn = threading.Lock()

    @property
    def card(self) -> ModelCard:
        """Everything that is known of this version: accuracy, settings, history, checksums."""
        return self._predictor.card

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a probability's position is its class's position here."""
        return self.card.classes

    @property
    def version(self) -> int:
        """Which version was loaded, 1 or more."""
        return self.card.version

    @property
    def spec(self) -> ImageSpec:
        """Height, width and channels that pictures are brought to."""
        return self.card.spec

    def predict(self, images: Sequence[Source], *, top_k: int = 5) -> list[Prediction]:
        """Classify pictures.

        Args:
            images: any number of pictures, each one of
                a path (str or Path) of a JPEG, PNG, BMP, GIF or WebP file;
                the bytes of such a file;
                a Pillow image of any mode;
                a uint8 array, 0-255, [height, width] or [height, width, 1] grey, [height, width, 3] RGB, of any size.
            top_k: how many classes `Prediction.top` holds at most, 1 or more.

        Returns:
            one prediction a picture, in order.

        Raises:
            UnreadableImage: a picture cannot be read; the message says which. Nothing is returned for the others: `decode` each alone
                where some may be damaged.
            ModelError: the model failed.
        """
        if top_k < 1:
            raise ValueError(f"top_k is 1 or more, not {top_k}")
        if isinstance(images, str | bytes | bytearray | os.PathLike | Image.Image):
            raise TypeError("predict takes a list of pictures: predict([picture])")
        predictions: list[Prediction] = []
        for start in range(0, len(images), _BATCH):
            batch = np.stack([self._decoded(each, start + index) for index, each in enumerate(images[start : start + _BATCH])])
            predictions += [self._prediction(row, top_k) for row in self.probabilities(batch)]
        return predictions

    def probabilities(self, pixels: Pixels) -> NDArray[np.float32]:
        """Probabilities of decoded pictures.

        Args:
            pixels: uint8 [n, height, width, channels] as `decode` returns them, 0-255, any n.

        Returns:
            float32 [n, classes], 0-1; each row sums to 1.
        """
        answers = np.empty((len(pixels), len(self.classes)), np.float32)
        with self._turn:
            for start in range(0, len(pixels), self._predictor.max_batch):
                end = start + self._predictor.max_batch
                answers[start:end] = self._predictor.predict(pixels[start:end])
        return answers

    def decode(self, image: Source) -> Pixels:
        """Bring one picture (see `predict`) to what the network takes: uint8 [height, width, channels], 0-255.

        Raises:
            UnreadableImage: it cannot be read.
        """
        if isinstance(image, Image.Image):
            return decode_image(image, self.spec)
        if isinstance(image, np.ndarray):
            return decode_image(_image_of(image), self.spec)
        if isinstance(image, bytes | bytearray | memoryview):
            return decode(bytes(image), self.spec)
        try:
            data = Path(image).read_bytes()
        except OSError as error:
            raise UnreadableImage(UnreadableCode.UNDECODABLE, f"cannot read {os.fspath(image)}: {error.strerror}") from error
        return decode(data, self.spec)

    def _decoded(self, image: Source, index: int) -> Pixels:
        try:
            return self.decode(image)
        except UnreadableImage as error:
            name = os.fspath(image) if isinstance(image, str | os.PathLike) else f"picture {index}"
            raise UnreadableImage(error.code, f"{name}: {error}") from error

    def _prediction(self, row: NDArray[np.float32], top_k: int) -> Prediction:
        best = np.argsort(-row, kind="stable")[:top_k]
        top = tuple((self.classes[index], float(row[index])) for index in best)
        return Prediction(*top[0], top, self.version)


def load_model(folder: str | os.PathLike[str], version: str | int = "stable", *, backend: Backend = "litert") -> Model:
    """Load a model; see `convnet.load`."""
    registry = Registry(Path(folder))

    def load(number: int) -> Predictor:
        return load_predictor(registry, number, backend=backend, max_batch=_BATCH, threads=processors())

    predictor = registry.newest_load(version, load)
    if predictor is None:
        raise RegistryError(f"no {version} model in {registry.folder} yet; run: convnet-kafka train FOLDER --models {registry.folder}")
    return Model(predictor)


def _image_of(array: NDArray[Any]) -> Image.Image:
    """A Pillow image of an array. Raises UnreadableImage when it is none."""
    plain = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if array.dtype != np.uint8 or not array.size or not (plain.ndim == 2 or (plain.ndim == 3 and plain.shape[2] == 3)):
        raise UnreadableImage(
            UnreadableCode.UNSUPPORTED,
            f"an array is uint8 [height, width] or [height, width, 1 or 3], 0-255, not {array.dtype} {list(array.shape)}",
        )
    return Image.fromarray(np.ascontiguousarray(plain))
