"""What `run.py` sends and what answers it: small grey pictures for the original network, or photos for EfficientNet-Lite0.

Owns the pictures and the model of one benchmark, in a folder given to it. How accurate the model is does not change how fast it is, but
int8 is only measured when the training's own gate let it pass.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

import pictures
from convnet.registry import FLOAT32, INT8, Registry

ARTEFACTS = {"float32": FLOAT32, "int8": INT8}
# Enough for a validation side of some dozens, by which the gate of int8 judges; few enough that training takes seconds.
TRAINED_ON = {"digits": 400, "photos": 96}


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of picture and its network.

    Attributes:
        name: `digits` or `photos`.
        what: for people.
        content_type: of every picture.
        write: puts `count` pictures into a folder and gives them, in the order of their names.
        options: of `convnet-kafka train`.
        images: a round's, by default: ten seconds of work on two cores, so that its ends weigh little.
        single: calls of `classify` with one picture in flight, by default.
    """

    name: str
    what: str
    content_type: str
    write: Callable[[Path, int], list[Path]]
    options: tuple[str, ...]
    images: int
    single: int

    def train(self, models: Path, files: list[Path], artefact: str) -> None:
        """Train a model of the right shape and have it serve one artefact, `float32` or `int8`.

        Raises:
            ClickException: the training failed, or refused int8.
        """
        classes = models.parent / "classes"
        for index, file in enumerate(files[: TRAINED_ON[self.name]]):
            target = classes / str(index % (10 if self.name == "digits" else 2)) / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
        command = [sys.executable, "-m", "convnet_kafka", "train", str(classes), "--models", str(models), "--no-cache", "--epochs", "1"]
        done = subprocess.run([*command, *self.options], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise click.ClickException(f"the training failed:\n{done.stderr[-2000:]}")
        serve(models, artefact)


def serve(models: Path, artefact: str) -> None:
    """Let the stable version of a benchmark's own folder serve this artefact, whatever is the better one."""
    registry = Registry(models)
    version = registry.resolve("stable") or 0
    card, name = registry.card(version), ARTEFACTS[artefact]
    if name in card.refused:
        raise click.ClickException(f"int8 was refused: {card.refused[name]}")
    (models / str(version) / "model.json").write_text(card.model_copy(update={"served": name}).model_dump_json())


DIGITS = Workload(
    name="digits",
    what=f"pictures of {pictures.SIDE}x{pictures.SIDE}",
    content_type="image/png",
    write=pictures.write_pictures,
    options=("--network", "original", "--height", str(pictures.SIDE), "--width", str(pictures.SIDE), "--colors", "grey"),
    images=100_000,
    single=500,
)
PHOTOS = Workload(
    name="photos",
    what=f"JPEG photos of {pictures.PHOTO[0]}x{pictures.PHOTO[1]}",
    content_type="image/jpeg",
    write=pictures.write_photos,
    options=("--network", "efficientnet-lite0", "--height", "224", "--width", "224", "--colors", "rgb"),
    images=1_500,
    single=100,
)
