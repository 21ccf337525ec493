"""Pictures slightly changed each time they are trained on: moved, mirrored, a part erased. Numpy on uint8, microseconds an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convnet.images import Pixels

# Enough to see; the time grows with the product.
_ASKED, _COMPARED, _COMPARED_SIDE = 500, 2_000, 16
# Of the upright pictures' share. Symmetric clothes have 0.9 and more, digits but 0 and 8 at most 0.7.
_STILL_ALIKE = 0.8


@dataclass(frozen=True, slots=True)
class Augmentation:
    """What may be done to a picture. Nothing by default.

    Attributes:
        shift: move by up to this share of the side in each direction, the border repeated, 0-0.5.
        erase: paint a square of this share of the side over with one random shade (arXiv:1708.04896), 0-1.
        mirror: swap left and right in half of the pictures: of every class, of none (letters and digits become others), or of the
            classes whose mirrored pictures look like themselves, see `mirrored_classes`.
    """

    shift: float = 0.0
    erase: float = 0.0
    mirror: Literal["never", "alike", "always"] = "never"


def augment(images: Pixels, wanted: Augmentation, random: np.random.Generator, mirrored: NDArray[np.bool_] | None = None) -> Pixels:
    """Change a batch, each picture in its own way.

    Args:
        images: uint8 [n, height, width, channels]; left as it is.
        wanted: what to do; its `mirror` was decided by who calls.
        mirrored: which pictures may be mirrored [n]; None for none.
        random: decides; the same state gives the same pictures.

    Returns:
        uint8 of the same shape; the input itself when there is nothing to do.
    """
    if wanted.shift:
        images = _shifted(images, wanted.shift, random)
    if mirrored is not None:
        chosen = (random.random(len(images)) < 0.5) & mirrored
        images = np.where(chosen[:, None, None, None], images[:, :, ::-1], images)
    if wanted.erase:
        images = _erased(images, wanted.erase, random)
    return images


def mirrored_classes(images: Pixels, labels: NDArray[np.int32], classes: int) -> NDArray[np.bool_]:
    """Whose mirrored pictures look like that class still: bool [classes]. Some tenths of a second, whatever the size of the set.

    Of up to 500 pictures, mirrored and not, the most alike of up to 2,000 is found. A class is named when mirroring makes its pictures
    hardly more often alike to another class: trousers are, digits but 0 and 8 are not, and shoes that all point one way are not.

    Args:
        images: uint8 [n, height, width, channels], the training images.
        labels: int32 [n].
        classes: how many.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(len(labels))[:_COMPARED])
    step = max(1, min(images.shape[1:3]) // _COMPARED_SIDE)
    small, own = images[chosen][:, ::step, ::step].astype(np.float32), labels[chosen]
    asked = np.random.default_rng(1).permutation(len(own))[:_ASKED]
    known = _directions(small)
    right = []
    for queries in (small[asked], small[asked, :, ::-1]):
        likeness = _directions(queries) @ known.T
        likeness[np.arange(len(asked)), asked] = -1.0  # not itself
        right.append(own[likeness.argmax(axis=1)] == own[asked])
    upright, turned = (np.bincount(own[asked], weights=each, minlength=classes) for each in right)
    return (upright > 0) & (turned >= _STILL_ALIKE * upright)


def _directions(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pictures as vectors of length 1 around their mean: brightness and contrast do not count."""
    flat = images.reshape(len(images), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    directions: NDArray[np.float32] = flat / (np.linalg.norm(flat, axis=1, keepdims=True) + 1e-6)
    return directions


def _shifted(images: Pixels, share: float, random: np.random.Generator) -> Pixels:
    count, height, width, _ = images.shape
    down, right = round(height * share), round(width * share)
    padded = np.pad(images, ((0, 0), (down, down), (right, right), (0, 0)), mode="edge")
    top, left = random.integers(0, 2 * down + 1, count), random.integers(0, 2 * right + 1, count)
    moved = np.empty_like(images)
    for index in range(count):
        moved[index] = padded[index, top[index] : top[index] + height, left[index] : left[index] + width]
    return moved


def _erased(images: Pixels, share: float, random: np.random.Generator) -> Pixels:
    """A square whose centre is anywhere: near the border less of it is seen, so some pictures stay almost whole."""
    count, height, width, channels = images.shape
    inside = _near(height, share, count, random)[:, :, None] & _near(width, share, count, random)[:, None, :]
    shades = random.integers(0, 256, (count, 1, 1, channels), np.uint8)
    return np.where(inside[..., None], shades, images)


def _near(side: int, share: float, count: int, random: np.random.Generator) -> NDArray[np.bool_]:
    centre = random.integers(0, side, (count, 1))
    near: NDArray[np.bool_] = np.abs(np.arange(side) - centre) <= side * share / 2
    return near
