"""Copies of the session's small model, and folders of pictures to break."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnet.model_card import ModelCard
from convnet.progress import Silent
from convnet.registry import Registry
from convnet.run import Outcome


class Listening(Silent):
    """Progress that remembers what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def listening() -> Listening:
    return Listening()


@pytest.fixture
def trained_copy(trained: tuple[Registry, Outcome], tmp_path: Path) -> Registry:
    shutil.copytree(trained[0].folder, tmp_path / "models")
    return Registry(tmp_path / "models")


@pytest.fixture
def write_classes(tmp_path: Path) -> Callable[..., Path]:
    """Write class folders of small random pictures: `write_classes(cat=20, dog=20)`."""

    def write(folder: str = "pictures", /, **counts: int) -> Path:
        random = np.random.default_rng(sorted(counts.items()) == [] or len(counts))
        for name, count in counts.items():
            (tmp_path / folder / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (12, 12), np.uint8)).save(tmp_path / folder / name / f"{number}.png")
        return tmp_path / folder

    return write


@pytest.fixture
def make_card() -> Callable[..., ModelCard]:
    """A card of a model that was never trained; any field can be given."""

    def make(**fields: object) -> ModelCard:
        plain: dict[str, object] = {
            "version": 1,
            "classes": ("cat", "dog"),
            "height": 8,
            "width": 8,
            "channels": 1,
            "network": "original",
            "accuracy": {"float32.tflite": 0.5},
            "training_images": 8,
            "validation_images": 2,
            "data_fingerprint": "00",
            "checksums": {},
            "created_at": datetime.now(UTC),
        }
        return ModelCard.model_validate(plain | fields)

    return make
