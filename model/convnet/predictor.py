"""A trained network that answers batches: one protocol, LiteRT (the default, no TensorFlow needed) and TensorFlow behind it.

Owns no thread beyond the backend's own. One predictor belongs to one thread at a time.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from convnet.errors import ModelError, RegistryError
from convnet.images import ImageSpec, Pixels
from convnet.model_card import ModelCard
from convnet.quiet import quiet_native_stderr
from convnet.registry import FLOAT32, INT8, KERAS, Registry

Probabilities = NDArray[np.float32]
Backend = Literal["litert", "tensorflow"]
# `auto` is what the version's card says is served.
Artefact = Literal["auto", "float32", "int8"]

# Prepared batch shapes. Measured on one AVX-512 core with the original network at 28x28x1: 60 us an image alone, 49 at 2, 43 at 4,
# 42 at 16 and no better beyond (64 falls out of the cache). Any number is a sum of these, so no padding is ever computed.
_SMALL_NETWORK_CHUNKS = (16, 8, 4, 2, 1)
# Each prepared shape holds its own packed weights, and a large network gains little from batches on a CPU.
_LARGE_NETWORK_CHUNKS = (4, 1)
_LARGE_NETWORK_BYTES = 8_000_000

# Up to so many images TensorFlow runs before it serves: batches that a person waits for are small. Larger ones prepare themselves when the
# first of them comes, and would take gigabytes here.
_WARM_UP_TO = 16

# LiteRT prints this on every start, past every logging setting it has.
_NOISE = (b"XNNPACK delegate",)


class Predictor(Protocol):
    """A loaded model.

    Attributes:
        card: what is known of it.
        spec: what images it takes.
        max_batch: images one call may hold.
    """

    card: ModelCard
    spec: ImageSpec
    max_batch: int

    def predict(self, images: Pixels) -> Probabilities:
        """Class probabilities.

        Args:
            images: uint8 [n, height, width, channels], 0-255, 1 <= n <= max_batch.

        Returns:
            float32 [n, classes]; each row sums to 1. Owned by the caller.

        Raises:
            ModelError: the shape does not fit, or the backend failed.
        """
        ...

    def warm_up(self) -> None:
        """Predict once in sizes that batches are run in, so that no client's image pays for their preparation.

        LiteRT is run in every size, since it makes larger batches up from them; TensorFlow in those up to 16, so the first larger batch of
        a size still pays.

        Raises:
            ModelError: the model is broken.
        """
        ...


class LiteRTPredictor:
    """LiteRT with XNNPACK on the CPU, float32 or int8.

    Args:
        card: the model's card.
        model: a `.tflite` file's bytes.
        max_batch: images one call may hold, 1 or more.
        threads: CPU threads of one call; 1 is best when every core has its own classifier.
    """

    def __init__(self, card: ModelCard, model: bytes, *, max_batch: int = 32, threads: int = 1) -> None:
        self.card = card
        self.spec = card.spec
        self.max_batch = max_batch
        try:
            alone = _FixedBatch(model, (1, *self.spec.shape), threads)
            # A weight takes a byte in int8, four in float32.
            large = len(model) > (_LARGE_NETWORK_BYTES // 4 if alone.integers else _LARGE_NETWORK_BYTES)
            sizes = [size for size in (_LARGE_NETWORK_CHUNKS if large else _SMALL_NETWORK_CHUNKS) if 1 < size <= max_batch]
            self._chunks = (*((size, _FixedBatch(model, (size, *self.spec.shape), threads)) for size in sizes), (1, alone))
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT cannot load version {card.version}: {error}; train again with this release") from error
        outputs = self._chunks[0][1].classes
        if outputs != len(card.classes):
            raise ModelError(f"version {card.version} answers {outputs} classes, its card names {len(card.classes)}; train again")

    def predict(self, images: Pixels) -> Probabilities:
        """Class probabilities; see `Predictor.predict`."""
        count = _checked_count(images, self.spec, self.max_batch)
        answers = np.empty((count, len(self.card.classes)), np.float32)
        done = 0
        try:
            for size, fixed in self._chunks:
                while count - done >= size:
                    fixed.run(images[done : done + size], answers[done : done + size])
                    done += size
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"LiteRT failed on a batch of {count} with version {self.card.version}: {error}") from error
        return answers

    def warm_up(self) -> None:
        """Run every prepared shape once; see `Predictor.warm_up`."""
        _warm_up(self, [size for size, _ in self._chunks])


class _FixedBatch:
    """One interpreter, prepared for one batch size, so that XNNPACK plans its memory once.

    Attributes:
        classes: number of outputs.
        integers: whether it takes uint8 pixels and answers in integers, which are made to add up to 1 here: rounding to 1/256 each
            leaves a sum up to a few hundredths off.
    """

    def __init__(self, model: bytes, shape: tuple[int, ...], threads: int) -> None:
        with quiet_native_stderr(_NOISE):
            from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415 - only serving with LiteRT pays for it

            interpreter: Any = Interpreter(model_content=model, num_threads=threads)
            source = interpreter.get_input_details()[0]["index"]
            interpreter.resize_tensor_input(source, shape)
            interpreter.allocate_tensors()
        target = interpreter.get_output_details()[0]
        self.classes = int(target["shape"][-1])
        self.integers = target["dtype"] != np.float32
        self._zero = np.float32(target["quantization"][1])
        self._invoke: Callable[[], None] = interpreter.invoke
        # Views of the interpreter's own memory, made per call: one held across invoke() would make it refuse.
        self._input: Callable[[], NDArray[Any]] = interpreter.tensor(source)
        self._output: Callable[[], NDArray[Any]] = interpreter.tensor(target["index"])

    def run(self, images: Pixels, answers: Probabilities) -> None:
        """Predict exactly the prepared number of images into `answers`."""
        self._input()[...] = images  # the cast from uint8, if any, and the only copy
        self._invoke()
        if not self.integers:
            answers[...] = self._output()
            return
        np.subtract(self._output(), self._zero, out=answers, dtype=np.float32)
        total = answers.sum(axis=1, keepdims=True)
        # Of very many equally likely classes each rounds to 0.
        np.divide(answers, total, out=answers, where=total > 0)
        answers[total[:, 0] <= 0] = 1 / self.classes


class TensorFlowPredictor:
    """Keras on TensorFlow: the reference, and the way onto a GPU.

    Args:
        card: the model's card.
        model: a `.keras` file's bytes.
        max_batch: images one call may hold, 1 or more.
        threads: CPU threads within one operation; 0 leaves the choice to TensorFlow. Takes effect before TensorFlow's first use only.
    """

    def __init__(self, card: ModelCard, model: bytes, *, max_batch: int = 32, threads: int = 0) -> None:
        from convnet.quiet import import_tensorflow  # noqa: PLC0415 - TensorFlow takes seconds to import

        tensorflow = import_tensorflow()
        self.card = card
        self.spec = card.spec
        self.max_batch = max_batch
        if threads:
            with contextlib.suppress(RuntimeError):  # TensorFlow is already running in this process and keeps the threads it has
                tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        self._network = load_keras(model, f"version {card.version}")
        # One graph for all sizes of a batch, where TensorFlow would trace one for each.
        batches = tensorflow.TensorSpec((None, *self.spec.shape), tensorflow.float32)
        self._call = tensorflow.function(lambda images: self._network(images, training=False), input_signature=[batches])

    def predict(self, images: Pixels) -> Probabilities:
        """Class probabilities; see `Predictor.predict`."""
        count = _checked_count(images, self.spec, self.max_batch)
        batch = np.zeros((self._size(count), *self.spec.shape), np.float32)
        batch[:count] = images
        answers: Probabilities = self._call(batch).numpy()[:count]
        return answers

    def warm_up(self) -> None:
        """Run once every size that a batch of up to 16 images is padded to; see `Predictor.warm_up`."""
        _warm_up(self, sorted({self._size(count) for count in range(1, min(_WARM_UP_TO, self.max_batch) + 1)}))

    def _size(self, count: int) -> int:
        """What a batch is padded to: the least power of two that is no less, or the largest batch.

        The libraries below prepare themselves for each size that they meet: it is one of a few, at most twice as large as it must be.
        """
        return min(1 << (count - 1).bit_length(), self.max_batch)


def load_keras(model: bytes, what: str) -> Any:
    """A Keras model from the bytes of a `.keras` file, for inference. Safe mode: no code stored in the file is run."""
    from convnet.quiet import import_tensorflow  # noqa: PLC0415 - TensorFlow takes seconds to import

    keras = import_tensorflow().keras
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KERAS
        path.write_bytes(model)
        try:
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except (ValueError, TypeError, OSError) as error:
            raise ModelError(f"Keras cannot load {what}: {error}; train again with this release") from error


def load_predictor(
    registry: Registry,
    alias_or_version: str | int = "stable",
    *,
    backend: Backend = "litert",
    artefact: Artefact = "auto",
    max_batch: int = 32,
    threads: int = 1,
) -> Predictor:
    """Load a model from the registry; it is not warmed up yet.

    Args:
        registry: the models folder.
        alias_or_version: `stable`, `canary` or a version.
        backend: `litert`, or `tensorflow`, which always runs the Keras model.
        artefact: what LiteRT runs; `auto` is what the training found good enough to serve.
        max_batch: images one call may hold, 1 or more.
        threads: CPU threads of one call.

    Raises:
        RegistryError: the alias is not set, or a file is missing or damaged.
        ModelError: the backend cannot load the file, it does not match its card, or the artefact was refused when it was made.
    """
    version = registry.resolve(alias_or_version)
    if version is None:
        raise RegistryError(
            f"no {alias_or_version} model in {registry.folder} yet; run: convnet-kafka train FOLDER --models {registry.folder}"
        )
    card = registry.card(version)
    if backend == "tensorflow":
        return TensorFlowPredictor(card, registry.artefact(version, KERAS), max_batch=max_batch, threads=threads)
    name = {"auto": card.served, "float32": FLOAT32, "int8": INT8}[artefact]
    if name in card.refused:
        raise ModelError(f"{name} of version {version} was refused when it was made: {card.refused[name]}; serve auto or float32")
    return LiteRTPredictor(card, registry.artefact(version, name), max_batch=max_batch, threads=threads)


def _checked_count(images: Pixels, spec: ImageSpec, max_batch: int) -> int:
    count = images.shape[0] if images.ndim == 4 else 0
    if images.shape[1:] != spec.shape or images.dtype != np.uint8 or not 1 <= count <= max_batch:
        raise ModelError(
            f"a batch is uint8 [1 to {max_batch}, {spec.height}, {spec.width}, {spec.channels}], not {images.dtype} {list(images.shape)}"
        )
    return count


def _warm_up(predictor: Predictor, sizes: Sequence[int]) -> None:
    for size in sizes:
        answers = predictor.predict(np.zeros((size, *predictor.spec.shape), np.uint8))
        if not np.isfinite(answers).all() or abs(float(answers.sum()) - size) > 0.01 * size:
            raise ModelError(
                f"version {predictor.card.version} does not answer probabilities; train again or set the alias to another version"
            )
