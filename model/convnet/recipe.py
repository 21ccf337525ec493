"""How each network is trained unless told otherwise. A recipe is part of what makes two trainings equal, so it is stored on the card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from convnet import backbone
from convnet.augmentation import Augmentation
from convnet.network import CNN, EFFICIENTNET_LITE0, ORIGINAL


@dataclass(frozen=True, slots=True)
class Recipe:
    """The rules of one training.

    Attributes:
        optimizer: `adam`, or `sgd` with Nesterov momentum 0.9.
        rate: the highest learning rate; it falls to 0 along half a cosine (arXiv:1608.03983) over all epochs.
        rising: share of the steps in which the rate rises to its highest, 0-1.
        weight_decay: of convolutions and dense layers, 0 for none.
        label_smoothing: probability that is spread over all classes (arXiv:1512.00567), 0-1.
        frozen_epochs: epochs at the beginning in which only the output is trained, at `frozen_rate`.
        frozen_rate: their learning rate, falling likewise.
        patience: epochs without a better network on the held-out images after which training ends.
        augmentation: what happens to the pictures.
    """

    optimizer: Literal["adam", "sgd"]
    rate: float
    rising: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    frozen_epochs: int = 0
    frozen_rate: float = 0.0
    patience: int = 10
    augmentation: Augmentation = field(default_factory=Augmentation)

    def phase(self, epoch: int) -> int:
        """0 while most of the network is frozen, 1 when all of it learns. Epochs count from 0."""
        return int(epoch >= self.frozen_epochs)


@dataclass(frozen=True, slots=True)
class Defaults:
    """A network's recipe and the settings that go with it.

    Attributes:
        recipe: the rules.
        epochs: passes over the training images.
        batch_size: images a step.
    """

    recipe: Recipe
    epochs: int
    batch_size: int


DEFAULTS: Mapping[str, Defaults] = MappingProxyType(
    {
        ORIGINAL: Defaults(Recipe("adam", 1e-3, augmentation=Augmentation(shift=0.04)), epochs=20, batch_size=64),
        CNN: Defaults(
            Recipe("sgd", 0.1, rising=0.15, weight_decay=5e-3, label_smoothing=0.1, augmentation=Augmentation(0.07, 0.2, "alike")),
            epochs=30,
            batch_size=128,
        ),
        EFFICIENTNET_LITE0: Defaults(
            Recipe(
                "adam",
                1e-4,
                rising=0.1,
                label_smoothing=0.1,
                frozen_epochs=4,
                frozen_rate=3e-3,
                augmentation=Augmentation(shift=0.1, mirror="always"),
            ),
            epochs=12,
            batch_size=32,
        ),
    }
)


def recipe(network: str, *, mirror: bool | None = None) -> Recipe:
    """The recipe of a network; `mirror` decides about mirrored pictures of all classes, None leaves it as it is."""
    found = DEFAULTS[network].recipe
    if mirror is None:
        return found
    return replace(found, augmentation=replace(found.augmentation, mirror="always" if mirror else "never"))


def compile_for(keras: Any, network: Any, rules: Recipe, phase: int, epochs: int, steps: int) -> None:
    """Make a network ready for a phase: what learns, optimizer, schedule and loss.

    Args:
        keras: the library.
        network: a model of `network.build`.
        rules: the recipe.
        phase: see `Recipe.phase`.
        epochs: of the whole training.
        steps: of one epoch.
    """
    frozen = min(rules.frozen_epochs, epochs)
    if rules.frozen_epochs:
        for layer in backbone.backbone_layers(network):
            # Batch statistics of a small data set are worse than ImageNet's: they stay, also while the convolutions learn.
            layer.trainable = phase == 1 and not isinstance(layer, keras.layers.BatchNormalization)
    total, rate = (frozen, rules.frozen_rate) if phase == 0 and frozen else (epochs - frozen, rules.rate)
    total = max(1, total * steps)
    rising = round(total * rules.rising)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 25 if rising else rate, max(1, total - rising), warmup_target=rate if rising else None, warmup_steps=rising
    )
    decay = rules.weight_decay or None
    optimizer = (
        keras.optimizers.Adam(schedule, weight_decay=decay)
        if rules.optimizer == "adam"
        else keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, weight_decay=decay)
    )
    if decay:
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(
        optimizer=optimizer,
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=rules.label_smoothing),
        metrics=["accuracy"],
        # On a CPU XLA's convolutions take 1.5 to 3.5 times as long as oneDNN's (benchmarks/training.py); elsewhere Keras knows best.
        jit_compile=False if not keras.distribution.list_devices("gpu") else "auto",
    )
