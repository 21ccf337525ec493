"""A small set of real photos with a train/test split, cut from those that come with scikit-image and scikit-learn: `photos.py OUT`.

Which photo is a piece from? Each photo is one class. Pieces for training come from its left part, pieces for testing from its right,
with a gap between, so that no pixel is in both. Writes `OUT/train/<photo>/N.jpg` (16 each) and `OUT/test/<photo>/N.jpg` (40 each).
Needs scikit-image and scikit-learn; nothing is downloaded. A stand-in for a folder of photos, not a benchmark that others publish on.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = {
    "skimage/data": (
        *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png"),
        *("hubble_deep_field.jpg", "ihc.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
    ),
    "sklearn/datasets/images": ("china.jpg", "flower.jpg"),
}
TRAIN, TEST = 16, 40
# Shares of a photo's width: training pieces lie in the first part, test pieces in the last.
LEFT, RIGHT = 0.48, 0.52
SMALLEST, LARGEST = 110, 180


def pieces(photo: Image.Image, count: int, left: float, right: float, random: np.random.Generator) -> list[Image.Image]:
    """Square pieces of random size and place between two shares of the width."""
    start, end = round(photo.width * left), round(photo.width * right)
    found = []
    for _ in range(count):
        side = min(int(random.integers(SMALLEST, LARGEST)), end - start, photo.height)
        x, y = start + int(random.integers(0, end - start - side + 1)), int(random.integers(0, photo.height - side + 1))
        found.append(photo.crop((x, y, x + side, y + side)))
    return found


def main() -> int:
    """Write both sides, or say which package is missing."""
    parser = argparse.ArgumentParser(description="A small set of real photos as class folders.")
    parser.add_argument("out", type=Path, help="folder to write train/ and test/ into")
    out: Path = parser.parse_args().out
    random = np.random.default_rng(1)
    for folder, names in PHOTOS.items():
        package = folder.partition("/")[0]
        try:
            root = Path(str(importlib.import_module(package).__file__)).parents[1]
        except ImportError:
            print(f"{package} is not installed: pip install scikit-image scikit-learn", file=sys.stderr)
            return 1
        for name in names:
            photo = Image.open(root / folder / name).convert("RGB")
            # The shorter side of all to 300 pixels: sizes must not give a photo away.
            scale = 300 / min(photo.size)
            photo = photo.resize((max(400, round(photo.width * scale)), round(photo.height * scale)), Image.Resampling.LANCZOS)
            for side, count, left, right in (("train", TRAIN, 0.0, LEFT), ("test", TEST, RIGHT, 1.0)):
                target = out / side / Path(name).stem
                target.mkdir(parents=True, exist_ok=True)
                for number, piece in enumerate(pieces(photo, count, left, right, random)):
                    piece.save(target / f"{number:02d}.jpg", quality=90)
    print(f"{sum(1 for _ in out.rglob('*.jpg'))} pieces in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
