"""Keras -> LiteRT and SavedModel, and the proof that float32 says the same before anyone is served by it."""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from convnet.errors import ModelError, RegistryError
from convnet.images import Pixels
from convnet.quiet import import_tensorflow, quiet_native_stderr
from convnet.registry import KERAS

# Float32 sums in another order differ in the last digits: 1e-6 was seen here. A wrong layout or activation differs by 0.1 and more.
MAX_PROBABILITY_DIFFERENCE = 1e-3
# Two classes may tie within the difference above; more than one image in a thousand is no tie.
MIN_SAME_ANSWER = 0.999


def with_temperature(network: Any, temperature: float) -> Any:
    """A copy, without the optimizer, whose probabilities are those at a temperature: serving then pays nothing for it.

    The last layer's weights are divided by it, which divides the logits.
    """
    copy = type(network).from_config(network.get_config())
    copy.set_weights(network.get_weights())
    last = copy.layers[-1]
    last.set_weights([weight / temperature for weight in last.get_weights()])
    return copy


def keras_file(network: Any) -> bytes:
    """A `.keras` file's bytes: weights and architecture, without the optimizer."""
    # A copy that was never compiled: the optimizer's state is twice the weights, and only checkpoints need it.
    bare = type(network).from_config(network.get_config())
    bare.set_weights(network.get_weights())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / KERAS
        bare.save(path)
        return path.read_bytes()


def litert_float32(network: Any) -> bytes:
    """A `.tflite` file's bytes: float32 throughout, any batch size.

    Raises:
        ModelError: the network holds an operation that LiteRT lacks.
    """
    return _converted(network, lambda _tf, _converter: None)


def litert_int8(network: Any, calibration: Pixels) -> bytes:
    """A `.tflite` file's bytes: integers throughout (arXiv:1712.05877), uint8 pixels in, uint8 probabilities out, any batch size.

    Args:
        network: the Keras model.
        calibration: training images, uint8 [n, height, width, channels]; the ranges of all layers are taken from them.

    Raises:
        ModelError: an operation has no integer form.
    """
    # Pixels must map to integers one to one, whatever the darkest and brightest of the calibration images are.
    ends = np.stack([np.zeros_like(calibration[0]), np.full_like(calibration[0], 255)])

    def images() -> Iterator[list[NDArray[np.float32]]]:
        for image in (*ends, *calibration):
            yield [image[None].astype(np.float32)]

    def quantise(tf: Any, converter: Any) -> None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8

    return _converted(network, quantise)


def saved_model(network: Any, folder: Path, version: int) -> Path:
    """Write `folder/<version>/`, a TensorFlow SavedModel as TF Serving looks for it; appears whole. Gives the version's folder.

    Raises:
        RegistryError: it cannot be written, or is there.
    """
    target, aside = folder / str(version), folder / f".new-{uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_native_stderr(None), contextlib.redirect_stdout(io.StringIO()):
            network.export(aside, format="tf_saved_model", verbose=False)
        aside.rename(target)
    except OSError as error:
        raise RegistryError(f"cannot write the SavedModel {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def _converted(network: Any, set_up: Callable[[Any, Any], None]) -> bytes:
    tf = import_tensorflow()
    # From the Keras model, not from a traced function: only that way are the weights frozen into constants (else LiteRT answers NaN).
    with quiet_native_stderr(None), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converter about its own future
        try:
            converter = tf.lite.TFLiteConverter.from_keras_model(network)
            set_up(tf, converter)
            model: bytes = converter.convert()
        except Exception as error:  # the converter's own error class moves between releases
            raise ModelError(f"the network cannot be converted to LiteRT: {error}") from error
    return model


def check_same(reference: NDArray[np.float32], exported: NDArray[np.float32], artefact: str) -> None:
    """Compare probabilities of the same images, float32 [n, classes] each.

    Raises:
        ModelError: they differ by more than rounding; the artefact must not be registered.
    """
    difference = float(np.abs(reference - exported).max())
    same = float(np.mean(reference.argmax(axis=1) == exported.argmax(axis=1)))
    # Few images: one tie must not refuse a model.
    allowed = min(MIN_SAME_ANSWER, 1 - 1 / len(reference))
    if not difference <= MAX_PROBABILITY_DIFFERENCE or same < allowed:
        raise ModelError(
            f"{artefact} does not answer as the trained network does: probabilities differ by up to {difference:.2g} "
            f"(at most {MAX_PROBABILITY_DIFFERENCE}), {same:.2%} of {len(reference)} answers are the same "
            f"(at least {MIN_SAME_ANSWER:.1%}). It was not registered; this is a fault of the conversion, not of the data"
        )
