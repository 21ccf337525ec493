"""What an epoch costs beside a plain in-memory Keras `fit` of the same network on the same pictures: `python benchmarks/training.py`.

Both run in this process in turns, so that other work on the machine hits both. A round's ratio is of one epoch of each, in processor time
(what counts: wall time beside other work says little) and in wall time; the median and the spread of the rounds are printed. Ours cuts
batches from mapped uint8 arrays, moves each picture a little, reports progress, and writes a checkpoint; the plain one gets everything
as arrays. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convnet import machine
from convnet import network as networks
from convnet.checkpoints import Checkpoint, Checkpoints
from convnet.dataset import Dataset, Split
from convnet.images import ImageSpec
from convnet.progress import Silent
from convnet.quiet import import_tensorflow
from convnet.recipe import compile_for
from convnet.training import TrainingSettings, fit

CLASSES = 10
SPEC = ImageSpec(28, 28, 1)


def pictures(count: int, random: np.random.Generator) -> Split:
    """Noise costs what pictures cost."""
    return Split(random.integers(0, 256, (count, *SPEC.shape), np.uint8), random.integers(0, CLASSES, count).astype(np.int32), ())


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one epoch, in seconds."""

    wall: float
    processors: float


class Stopwatch:
    """Laps in wall and processor time."""

    def __init__(self) -> None:
        self._wall, self._processors = time.perf_counter(), time.process_time()

    def lap(self) -> Cost:
        """Since the last lap."""
        wall, processors = time.perf_counter(), time.process_time()
        cost = Cost(wall - self._wall, processors - self._processors)
        self._wall, self._processors = wall, processors
        return cost


def plain_epochs(network: Any, dataset: Dataset, batch_size: int, epochs: int) -> list[Cost]:
    """Epochs of `fit` on arrays, with the held-out images measured after each as ours are."""
    images, labels = dataset.training.images, np.eye(CLASSES, dtype=np.float32)[dataset.training.labels]
    judged = dataset.held_out.images, np.eye(CLASSES, dtype=np.float32)[dataset.held_out.labels]
    costs, watch = [], Stopwatch()
    for _ in range(epochs):
        network.fit(images, labels, batch_size=batch_size, validation_data=judged, validation_batch_size=256, verbose=0)
        costs.append(watch.lap())
    return costs


class Watched(Checkpoints):
    """Checkpoints that note when each is done: an epoch reaches from one to the next."""

    def __init__(self, models: Path) -> None:
        super().__init__(models, "benchmark")
        self._watch = Stopwatch()
        self.costs: list[Cost] = []

    def save(self, checkpoint: Checkpoint) -> None:
        """Write it and note the time."""
        super().save(checkpoint)
        self.costs.append(self._watch.lap())


def our_epochs(dataset: Dataset, settings: TrainingSettings, folder: Path) -> list[Cost]:
    """Epochs of a training, their checkpoints included."""
    checkpoints = Watched(folder)
    fit(dataset, settings, checkpoints, Silent())
    return checkpoints.costs


def spread(ratios: list[float]) -> dict[str, float]:
    """Of the rounds' ratios: the median, the least and the most."""
    return {name: round(of(ratios), 3) for name, of in (("median", statistics.median), ("least", min), ("most", max))}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="An epoch of ours beside one of a plain Keras fit.")
    parser.add_argument("--network", default=networks.ORIGINAL, choices=(networks.ORIGINAL, networks.CNN))
    parser.add_argument("--pictures", type=int, default=48_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    random = np.random.default_rng(1)
    dataset = Dataset(
        tuple("0123456789"), SPEC, pictures(arguments.pictures, random), pictures(arguments.pictures // 4, random), None, (), ""
    )
    settings = TrainingSettings(*SPEC.shape, epochs=2, network=arguments.network)
    tf = import_tensorflow()
    tf.config.threading.set_intra_op_parallelism_threads(machine.processors())
    tf.config.threading.set_inter_op_parallelism_threads(1)
    network = networks.build(settings.network, SPEC, CLASSES)
    steps = -(-arguments.pictures // settings.batch_size)
    compile_for(tf.keras, network, settings.recipe, 1, settings.epochs, steps)
    plain: list[Cost] = []
    ours: list[Cost] = []
    for _ in range(arguments.rounds):
        # Of each pair the second counts: the first also traces the graph.
        plain += plain_epochs(network, dataset, settings.batch_size, 2)[1:]
        with tempfile.TemporaryDirectory() as folder:
            ours += our_epochs(dataset, settings, Path(folder))[1:]
    print(
        json.dumps(
            {
                "network": settings.network,
                "pictures": arguments.pictures,
                "processors": machine.processors(),
                "plain_s": [round(cost.wall, 2) for cost in plain],
                "ours_s": [round(cost.wall, 2) for cost in ours],
                "plain_processor_s": [round(cost.processors, 2) for cost in plain],
                "ours_processor_s": [round(cost.processors, 2) for cost in ours],
                "ratio_processor": spread([own.processors / bare.processors for own, bare in zip(ours, plain, strict=True)]),
                "ratio_wall": spread([own.wall / bare.wall for own, bare in zip(ours, plain, strict=True)]),
            }
        )
    )


if __name__ == "__main__":
    main()
