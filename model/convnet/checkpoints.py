"""What a training writes after each epoch, so that the same command goes on after a crash as if there had been none.

One folder a run (`models/.training/<run>/`), named by what makes runs equal: the data, the settings and the Keras version. An epoch is
one file, written aside, synced and renamed; a file that is there is whole. It holds numbers only: nothing in it can run.
"""

from __future__ import annotations

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from convnet import files
from convnet.errors import RegistryError
from convnet.model_card import EpochResult

# Runs that were never finished: kept for a week of second thoughts, then removed by the next training that ends.
_FORGOTTEN_AFTER_S = 7 * 24 * 3600.0

_HISTORY: TypeAdapter[tuple[EpochResult, ...]] = TypeAdapter(tuple[EpochResult, ...])

Arrays = Sequence[NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after some epoch.

    Attributes:
        history: what each epoch gave; its length is the number of epochs done.
        weights: the network's, as `get_weights()` gives them.
        optimizer: its variables, the step count with which the learning rate falls among them.
        best: weights of the best epoch so far.
    """

    history: tuple[EpochResult, ...]
    weights: Arrays
    optimizer: Arrays
    best: Arrays


class Checkpoints:
    """The checkpoints of one run.

    Args:
        models: the models folder.
        run: names the run.
    """

    def __init__(self, models: Path, run: str) -> None:
        self._runs = models / ".training"
        self.folder = self._runs / run

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then drop the one before.

        Raises:
            RegistryError: it cannot be written, for example because the disk is full; the one before is still there.
        """
        path = self.folder / f"epoch-{len(checkpoint.history):04d}.npz"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            files.replace(path, _packed(checkpoint))
        except OSError as error:
            raise RegistryError(
                f"cannot write a checkpoint into {self.folder}: {error.strerror or error}; check space and permissions. "
                "Models that were there are untouched; the same command goes on after the last epoch that was written"
            ) from error
        for old in self.folder.iterdir():
            if old != path:
                old.unlink(missing_ok=True)

    def load(self) -> Checkpoint | None:
        """The newest checkpoint; None when there is none that can be read."""
        for path in sorted(self.folder.glob("epoch-*.npz"), reverse=True):
            try:
                return _unpacked(path.read_bytes())
            except (OSError, ValueError, KeyError, BadZipFile, ValidationError):
                continue  # written by a crash of the machine or another release: an older one, or the beginning, will do
        return None

    def remove(self) -> None:
        """Forget this run, and those that nobody came back to."""
        shutil.rmtree(self.folder, ignore_errors=True)
        files.remove_older(self._runs.glob("*"), _FORGOTTEN_AFTER_S)


def _packed(checkpoint: Checkpoint) -> bytes:
    arrays: dict[str, NDArray[Any]] = {"history": np.frombuffer(_HISTORY.dump_json(checkpoint.history), np.uint8)}
    for name, group in (("weights", checkpoint.weights), ("optimizer", checkpoint.optimizer), ("best", checkpoint.best)):
        arrays |= {f"{name}-{index:05d}": array for index, array in enumerate(group)}
    packed = io.BytesIO()
    np.savez(packed, allow_pickle=False, **arrays)
    return packed.getvalue()


def _unpacked(data: bytes) -> Checkpoint:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        groups = {
            group: [arrays[name] for name in sorted(arrays.files) if name.startswith(f"{group}-")]
            for group in ("weights", "optimizer", "best")
        }
        return Checkpoint(_HISTORY.validate_json(arrays["history"].tobytes()), **groups)
