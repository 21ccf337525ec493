"""A backend for tests, given to a classifier as `support.breakable_backend:load`: the real model, which a file breaks or slows down.

In the folder that BREAKABLE names: `broken-<version>` lets every prediction of that version fail, its own warm-up images too;
`failing-<version>` lets those of others' images fail; `slow` holds the seconds that a prediction takes. Pictures of one shade end the
process as in `support.deadly_backend`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from convnet.predictor import load_predictor
from convnet.registry import Registry
from support.deadly_backend import Deadly

FOLDER = Path(os.environ.get("BREAKABLE", "."))


class Breakable(Deadly):
    def warm_up(self) -> None:
        self._fail("broken")
        super().warm_up()

    def predict(self, images: np.ndarray) -> Any:
        self._fail("broken")
        self._fail("failing")
        slow = FOLDER / "slow"
        if slow.exists():
            time.sleep(float(slow.read_text()))
        return super().predict(images)

    def _fail(self, how: str) -> None:
        if (FOLDER / f"{how}-{self.card.version}").exists():
            raise RuntimeError(f"version {self.card.version} is {how}, as the test wants it")


def load(registry: Registry, version: int, *, max_batch: int, threads: int) -> Breakable:
    return Breakable(load_predictor(registry, version, max_batch=max_batch, threads=threads))
