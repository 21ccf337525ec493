"""The network that is trained is the network that is served, only computed faster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from convnet import network as networks
from convnet.images import ImageSpec
from convnet.quiet import import_tensorflow

SPEC = ImageSpec(12, 12, 1)
CLASSES = 3
IMAGES = 32


@dataclass(frozen=True, slots=True)
class Step:
    """What one step gives: the loss, its gradients, and all weights after the forward pass, moving averages among them."""

    loss: float
    gradients: list[np.ndarray[Any, Any]]
    weights: list[np.ndarray[Any, Any]]


@pytest.fixture(scope="module")
def batch() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (IMAGES, *SPEC.shape)).astype(np.float32)
    return images, np.eye(CLASSES, dtype=np.float32)[random.integers(0, CLASSES, IMAGES)]


def step(network: Any, weights: list[Any], batch: tuple[Any, Any]) -> Step:
    """One from these weights, without dropout, which is random."""
    tf = import_tensorflow()
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.Dropout):
            layer.rate = 0.0
    network.set_weights(weights)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.keras.losses.categorical_crossentropy(batch[1], network(batch[0], training=True)))
    gradients = tape.gradient(loss, network.trainable_variables)
    return Step(float(loss), [np.array(gradient) for gradient in gradients], network.get_weights())


@pytest.fixture(scope="module")
def plain(batch: tuple[Any, Any]) -> tuple[list[Any], Step]:
    """First weights, and a step of the network with Keras' own layers."""
    import_tensorflow().keras.utils.set_random_seed(1)
    network = networks.build(networks.CNN, SPEC, CLASSES)
    weights = network.get_weights()
    return weights, step(network, weights, batch)


def test_a_step_of_the_network_made_to_be_trained_is_one_of_the_plain_network(
    batch: tuple[Any, Any], plain: tuple[list[Any], Step]
) -> None:
    weights, expected = plain
    found = step(networks.build_to_train(networks.CNN, SPEC, CLASSES), weights, batch)
    assert found.loss == pytest.approx(expected.loss, rel=1e-5)
    for own, other in zip(found.gradients, expected.gradients, strict=True):
        assert np.linalg.norm(own - other) < 1e-2 * np.linalg.norm(other)
    for own, other in zip(found.weights, expected.weights, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-3)  # moving variances differ by Bessel's correction


def test_in_bfloat16_it_goes_the_same_way_and_its_weights_stay_float32(batch: tuple[Any, Any], plain: tuple[list[Any], Step]) -> None:
    weights, expected = plain
    found = step(networks.build_to_train(networks.CNN, SPEC, CLASSES, bfloat16=True), weights, batch)
    assert found.loss == pytest.approx(expected.loss, rel=0.02)
    own, other = (np.concatenate([gradient.ravel() for gradient in one.gradients]) for one in (found, expected))
    assert own @ other > 0.95 * np.linalg.norm(own) * np.linalg.norm(other)
    assert {weight.dtype for weight in found.weights} == {np.dtype(np.float32)}
    assert import_tensorflow().keras.config.dtype_policy().name == "float32"


def test_its_weights_give_the_same_answers_in_the_plain_network(batch: tuple[Any, Any], plain: tuple[list[Any], Step]) -> None:
    trained = networks.build_to_train(networks.CNN, SPEC, CLASSES)
    weights = step(trained, plain[0], batch).weights
    network = networks.build(networks.CNN, SPEC, CLASSES, pretrained=False)
    network.set_weights(weights)
    np.testing.assert_allclose(network.predict_on_batch(batch[0]), trained.predict_on_batch(batch[0]), atol=1e-5)
