"""The images a benchmark sends: real 28x28 grey PNG files, as many as asked for, each under a name of its own."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

SIDE = 28


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Write scikit-learn's digits, scaled to 28x28, over and over until there are `count` files; repeated pictures are hard links.

    Args:
        folder: made anew; files lie in folders of a thousand.
        count: files to write.

    Returns:
        The files, in the order of their names.
    """
    digits = load_digits()
    encoded = [_png(image) for image in digits.images]
    originals: list[Path] = []
    files = []
    for number in range(count):
        file = folder / f"{number // 1000:04d}" / f"{number:07d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < len(encoded):
            file.write_bytes(encoded[number])
            originals.append(file)
        else:
            os.link(originals[number % len(encoded)], file)
        files.append(file)
    return files


def _png(image: np.ndarray) -> bytes:
    """One digit (8x8, 0-16) as a 28x28 PNG."""
    pixels = Image.fromarray((image * (255 / 16)).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG")
    return buffer.getvalue()
