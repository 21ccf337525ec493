"""The networks. Each takes pixels 0-255 and rescales them itself, so that serving feeds it what decoding gives."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from convnet import backbone
from convnet.images import ImageSpec
from convnet.normalization import fused_batch_normalization
from convnet.quiet import import_tensorflow

ORIGINAL, CNN, EFFICIENTNET_LITE0 = "original", "cnn", "efficientnet-lite0"
NETWORKS = (ORIGINAL, CNN, EFFICIENTNET_LITE0)
# Two 2x2 poolings leave nothing of less.
MIN_SIDE = 4
# Five halvings of less leave EfficientNet no area to look at.
MIN_BACKBONE_SIDE = 32

# The side at which `cnn` does its work; larger pictures are halved by strided convolutions first.
_CNN_SIDE = 28
# Of the moving averages: the usual 0.99 lags behind in the short trainings meant here.
_BN_MOMENTUM = 0.9


def build(network: str, spec: ImageSpec, classes: int, *, pretrained: bool = True) -> Any:
    """An untrained Keras model: float32 [n, height, width, channels] pixels 0-255 -> float32 [n, classes] probabilities.

    Args:
        network: one of `NETWORKS`.
        spec: what it takes.
        classes: number of its outputs.
        pretrained: start `efficientnet-lite0` from its ImageNet weights; False when others are set right after.

    Raises:
        ValueError: there is no such network, or the images do not fit it.
        ModelError: the pretrained weights are not installed.
    """
    check(network, spec)
    keras = import_tensorflow().keras
    if network == EFFICIENTNET_LITE0:
        return _transfer(keras, spec, classes, pretrained=pretrained)
    if network == CNN:
        return _cnn(keras, spec, classes, keras.layers.BatchNormalization)
    return _original(keras, spec, classes)


def build_to_train(network: str, spec: ImageSpec, classes: int, *, pretrained: bool = True, bfloat16: bool = False) -> Any:
    """The same model with the same weights in the same order, made to be trained fast; set its weights to those of `build` to keep them.

    Args:
        network: one of `NETWORKS`.
        spec: what it takes.
        classes: number of its outputs.
        pretrained: as of `build`.
        bfloat16: compute in bfloat16; weights, probabilities and what is learnt stay float32. Only `cnn` does.

    Raises:
        ValueError: as `build`.
        ModelError: as `build`.
    """
    if network != CNN:
        return build(network, spec, classes, pretrained=pretrained)
    check(network, spec)
    keras = import_tensorflow().keras
    with _dtype_policy(keras, "mixed_bfloat16" if bfloat16 else "float32"):
        return _cnn(keras, spec, classes, fused_batch_normalization())


@contextmanager
def _dtype_policy(keras: Any, name: str) -> Iterator[None]:
    """What layers that are made meanwhile compute in."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check(network: str, spec: ImageSpec) -> None:
    """Raise ValueError when there is no such network, or images of this size and colour do not fit it. Needs no TensorFlow."""
    if network not in NETWORKS:
        raise ValueError(f"there is no network {network!r}; there are {', '.join(NETWORKS)}")
    side = MIN_BACKBONE_SIDE if network == EFFICIENTNET_LITE0 else MIN_SIDE
    if min(spec.height, spec.width) < side:
        raise ValueError(f"the network {network} needs images of at least {side} x {side} pixels, not {spec.height} x {spec.width}")
    if network == EFFICIENTNET_LITE0 and spec.channels != 3:
        raise ValueError(f"the network {network} was trained on colours: it takes rgb images (3 channels), not {spec.channels}")


def _original(keras: Any, spec: ImageSpec, classes: int) -> Any:
    """Two convolutions, each pooled, and two dense layers: 0.33 million weights at 28x28x1, 13 million at 180x180x3."""
    layers = keras.layers
    pixels = keras.Input(spec.shape, name="pixels")
    flow = layers.Rescaling(1.0 / 255)(pixels)
    flow = layers.Conv2D(32, 3, padding="same", activation="relu")(flow)
    flow = layers.MaxPooling2D(2)(flow)
    flow = layers.Conv2D(64, 3, padding="same", activation="relu")(flow)
    flow = layers.MaxPooling2D(2)(flow)
    # Flatten with a constant target shape: the layer of that name computes the batch size at run time, and these operations split the
    # network in two for LiteRT's XNNPACK.
    flow = keras.ops.reshape(flow, (-1, math.prod(flow.shape[1:])))
    flow = layers.Dense(100, activation="relu")(flow)
    flow = layers.Dropout(0.2)(flow)
    return keras.Model(pixels, layers.Dense(classes, activation="softmax")(flow), name=ORIGINAL)


def _cnn(keras: Any, spec: ImageSpec, classes: int, normalization: Any) -> Any:
    """A small residual network (arXiv:1512.03385): 0.75 million weights, 50 million multiplications at 28x28x1.

    Halves by strided convolutions, not by pooling: on a CPU TensorFlow's max-pooling made a step three times as long (measured).
    """
    layers = keras.layers

    def normalised(flow: Any, filters: int, stride: int = 1) -> Any:
        flow = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(flow)
        return normalization(momentum=_BN_MOMENTUM)(flow)

    def stage(flow: Any, filters: int) -> Any:
        """Half the side, then two residual blocks."""
        flow = layers.ReLU()(normalised(flow, filters, 2))
        for _ in range(2):
            inner = normalised(layers.ReLU()(normalised(flow, filters)), filters)
            flow = layers.ReLU()(layers.Add()([flow, inner]))
        return flow

    pixels = keras.Input(spec.shape, name="pixels")
    flow = layers.Rescaling(1.0 / 255)(pixels)
    for _ in range(max(0, round(math.log2(min(spec.height, spec.width) / _CNN_SIDE)))):
        flow = layers.ReLU()(normalised(flow, 32, 2))
    flow = layers.ReLU()(normalised(flow, 32))
    flow = stage(stage(flow, 48), 128)
    # A weight for each place instead of an average over all: where in the picture something is often tells classes apart.
    flow = layers.DepthwiseConv2D(flow.shape[1:3], use_bias=False)(flow)
    flow = keras.ops.squeeze(normalization(momentum=_BN_MOMENTUM)(flow), (1, 2))
    flow = layers.Dropout(0.2)(flow)
    # float32 whatever the rest computes in: probabilities near 0 and 1 need it.
    return keras.Model(pixels, layers.Dense(classes, activation="softmax", dtype="float32")(flow), name=CNN)


def _transfer(keras: Any, spec: ImageSpec, classes: int, *, pretrained: bool) -> Any:
    """EfficientNet-Lite0 with an output of its own: 3.4 million weights, 0.39 thousand million multiplications at 224x224."""
    weights = backbone.weights() if pretrained else None
    pixels = keras.Input(spec.shape, name="pixels")
    flow = keras.layers.Dropout(0.2)(backbone.features(keras, pixels))
    model = keras.Model(pixels, keras.layers.Dense(classes, activation="softmax")(flow), name=EFFICIENTNET_LITE0)
    if weights is not None:
        backbone.load(model, weights)
    return model
