"""Real handwritten digits as class folders of PNG files: 1,797 pictures that come with scikit-learn (UCI, BSD licence), no download."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from convnet.errors import DatasetError

SIDE = 32
# Every fifth picture of a class is never trained on: 364 of 1,797.
_TEST_EVERY = 5


@dataclass(frozen=True, slots=True)
class DigitsFolders:
    """Where the pictures are.

    Attributes:
        train: `train/<digit>/digit-NNNN.png`, 1,433 pictures.
        test: `test/<digit>/digit-NNNN.png`, 364 pictures; the folder is the true class.
    """

    train: Path
    test: Path


def write_digits(folder: Path) -> DigitsFolders:
    """Write the digits, 32 x 32 grey PNG, the same bytes every time. Takes about half a second; files that are there are replaced.

    Raises:
        DatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra that only the demo and the tests need
    except ImportError as error:
        raise DatasetError("the digits come with scikit-learn; install it: pip install 'convnet-kafka[local]'") from error
    digits = load_digits()
    folders = DigitsFolders(folder / "train", folder / "test")
    for side in (folders.train, folders.test):
        for name in map(str, digits.target_names):
            (side / name).mkdir(parents=True, exist_ok=True)
    seen = dict.fromkeys(map(str, digits.target_names), 0)
    for number, (ink, target) in enumerate(zip(digits.images, digits.target, strict=True)):
        name = str(target)
        side = folders.test if seen[name] % _TEST_EVERY == 0 else folders.train
        seen[name] += 1
        # The ink is 0-16.
        small = Image.fromarray(np.rint(ink * (255 / 16)).astype(np.uint8))
        png = io.BytesIO()
        small.resize((SIDE, SIDE), Image.Resampling.BILINEAR).save(png, "PNG", compress_level=1)
        (side / name / f"digit-{number:04d}.png").write_bytes(png.getvalue())
    return folders
