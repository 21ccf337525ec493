"""The images a benchmark sends: real 28x28 grey PNG files or JPEG photos, as many as asked for, each under a name of its own."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits, load_sample_images

SIDE = 28
# Width and height of scikit-learn's two photos, and how many different pictures are made of them.
PHOTO = (640, 427)
PHOTOS = 96


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Write scikit-learn's digits, scaled to 28x28, over and over until there are `count` files; repeated pictures are hard links.

    Args:
        folder: made anew; files lie in folders of a thousand.
        count: files to write.

    Returns:
        The files, in the order of their names.
    """
    return _write(folder, count, [_png(image) for image in load_digits().images], "png")


def write_photos(folder: Path, count: int) -> list[Path]:
    """Write pieces of scikit-learn's two photos at their full size, over and over, as `write_pictures` does; even ones show the first.

    Each is another part of its photo, mirrored or not, lighter or darker, and saved at another JPEG quality between 80 and 92.
    """
    random = np.random.default_rng(1)
    photos = [Image.fromarray(image) for image in load_sample_images().images]
    return _write(folder, count, [_jpeg(photos[number % 2], random) for number in range(PHOTOS)], "jpg")


def _write(folder: Path, count: int, encoded: list[bytes], ending: str) -> list[Path]:
    originals: list[Path] = []
    files = []
    for number in range(count):
        file = folder / f"{number // 1000:04d}" / f"{number:07d}.{ending}"
        file.parent.mkdir(parents=True, exist_ok=True)
        if number < len(encoded):
            file.write_bytes(encoded[number])
            originals.append(file)
        else:
            os.link(originals[number % len(encoded)], file)
        files.append(file)
    return files


def _jpeg(photo: Image.Image, random: np.random.Generator) -> bytes:
    """A piece of a photo, as a JPEG of the usual size."""
    scale = float(random.uniform(0.7, 1.0))
    width, height = round(photo.width * scale), round(photo.height * scale)
    left, top = int(random.integers(0, photo.width - width + 1)), int(random.integers(0, photo.height - height + 1))
    piece = photo.resize(PHOTO, Image.Resampling.LANCZOS, (left, top, left + width, top + height))
    if random.random() < 0.5:
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    piece = ImageEnhance.Brightness(piece).enhance(float(random.uniform(0.8, 1.2)))
    buffer = io.BytesIO()
    piece.save(buffer, "JPEG", quality=int(random.integers(80, 93)))
    return buffer.getvalue()


def _png(image: np.ndarray) -> bytes:
    """One digit (8x8, 0-16) as a 28x28 PNG."""
    pixels = Image.fromarray((image * (255 / 16)).astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    pixels.save(buffer, "PNG")
    return buffer.getvalue()
