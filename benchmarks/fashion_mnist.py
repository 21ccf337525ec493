"""Fashion-MNIST as class folders of PNG files, from Debian's package: `python benchmarks/fashion_mnist.py OUT`.

Writes `OUT/train/<class>/NNNNN.png` (60,000) and `OUT/test/<class>/NNNNN.png` (10,000); the folder is the true class and the number the
picture's place in the published set. 28 x 28 grey, MIT licence.
"""

from __future__ import annotations

import argparse
import gzip
import io
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SOURCE = Path("/usr/share/datasets/fashion-mnist")
CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")
# The published set: side of ours -> (file prefix, pictures).
SIDES = {"train": ("train", 60_000), "test": ("t10k", 10_000)}

_IMAGES_MAGIC, _LABELS_MAGIC = 0x0803, 0x0801


def read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes (the format of the MNIST pages): magic, one big-endian size a dimension, the bytes."""
    data = gzip.decompress(path.read_bytes())
    dimensions = magic & 0xFF
    header = np.frombuffer(data, ">u4", 1 + dimensions)
    if header[0] != magic:
        raise ValueError(f"{path} is not an idx file of {dimensions} dimensions")
    return np.frombuffer(data, np.uint8, offset=header.nbytes).reshape(tuple(header[1:].tolist()))


def write_side(out: Path, prefix: str, expected: int) -> int:
    """Write one side as class folders; return the number of pictures."""
    images = read_idx(SOURCE / f"{prefix}-images-idx3-ubyte.gz", _IMAGES_MAGIC)
    labels = read_idx(SOURCE / f"{prefix}-labels-idx1-ubyte.gz", _LABELS_MAGIC)
    if images.shape != (expected, 28, 28) or labels.shape != (expected,):
        raise ValueError(f"{prefix}: {images.shape} pictures and {labels.shape} labels, not the published {expected} of 28 x 28")
    for name in CLASSES:
        (out / name).mkdir(parents=True, exist_ok=True)
    for number, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG", compress_level=1)
        (out / CLASSES[label] / f"{number:05d}.png").write_bytes(png.getvalue())
    return len(labels)


def main() -> int:
    """Write both sides, or say which package is missing."""
    parser = argparse.ArgumentParser(description="Fashion-MNIST as class folders of PNG files.")
    parser.add_argument("out", type=Path, help="folder to write train/ and test/ into")
    out: Path = parser.parse_args().out
    if not SOURCE.is_dir():
        print(f"{SOURCE} is not there; install Debian's package: apt-get install dataset-fashion-mnist", file=sys.stderr)
        return 1
    for side, (prefix, expected) in SIDES.items():
        print(f"{write_side(out / side, prefix, expected)} pictures in {out / side}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
