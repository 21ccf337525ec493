"""A backend for tests, given to a classifier as `support.deadly_backend:load`: the real model, but some pictures end its process.

A picture whose first pixel has one of these shades, and all of whose pixels are alike, does it. Others are never seen by this code.
"""

from __future__ import annotations

import ctypes
import io
import os
import time
from typing import Any

import numpy as np
from PIL import Image

from convnet.predictor import load_predictor
from convnet.registry import Registry

CRASH = 201
EXIT = 202
HANG = 203
SLOW_S = float(os.environ.get("SLOW_BATCH_S", "0"))


def picture(shade: int) -> bytes:
    """A picture that does it."""
    png = io.BytesIO()
    Image.new("L", (32, 32), shade).save(png, "PNG")
    return png.getvalue()


class Deadly:
    def __init__(self, real: Any) -> None:
        self._real = real
        self.card, self.spec, self.max_batch = real.card, real.spec, real.max_batch

    def warm_up(self) -> None:
        self._real.warm_up()

    def predict(self, images: np.ndarray) -> Any:
        alike = (images == images[:, :1, :1, :1]).all(axis=(1, 2, 3))
        for shade in images[alike, 0, 0, 0].tolist():
            if shade == CRASH:
                ctypes.string_at(0)
            elif shade == EXIT:
                os._exit(3)
            elif shade == HANG:
                time.sleep(3600)
        if SLOW_S:
            time.sleep(SLOW_S)
        return self._real.predict(images)


def load(registry: Registry, version: int, *, max_batch: int, threads: int) -> Deadly:
    return Deadly(load_predictor(registry, version, max_batch=max_batch, threads=threads))
