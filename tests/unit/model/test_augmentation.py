"""Changed pictures: repeatable, in bounds, the original left alone."""

from __future__ import annotations

import numpy as np
import pytest

from convnet.augmentation import Augmentation, augment, mirrored_classes

IMAGES = np.random.default_rng(1).integers(0, 256, (64, 12, 10, 3), np.uint8)


def changed(wanted: Augmentation, seed: int = 1, *, mirrored: np.ndarray | None = None) -> np.ndarray:
    before = IMAGES.copy()
    images = augment(IMAGES, wanted, np.random.default_rng(seed), mirrored)
    assert np.array_equal(IMAGES, before)
    assert (images.shape, images.dtype) == (IMAGES.shape, np.uint8)
    return images


def test_nothing_asked_for_is_nothing_done() -> None:
    assert changed(Augmentation()) is IMAGES


def test_the_same_random_state_gives_the_same_pictures() -> None:
    everything = Augmentation(shift=0.2, erase=0.3)
    assert np.array_equal(changed(everything), changed(everything))
    assert not np.array_equal(changed(everything), changed(everything, seed=2))


def test_a_shift_moves_by_at_most_its_share_and_repeats_the_border() -> None:
    moved = changed(Augmentation(shift=0.2))
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    ways = [padded[:, top : top + 12, left : left + 10] for top in range(5) for left in range(5)]
    for index, image in enumerate(moved):
        assert any(np.array_equal(image, way[index]) for way in ways)
    assert not np.array_equal(moved, IMAGES)


def test_about_half_of_those_that_may_be_are_mirrored() -> None:
    may = np.arange(64) < 48
    mirrored = changed(Augmentation(), mirrored=may)
    turned = (mirrored == IMAGES[:, :, ::-1]).all(axis=(1, 2, 3))
    assert ((mirrored == IMAGES).all(axis=(1, 2, 3)) | turned).all()
    assert not turned[~may].any()
    assert 12 < turned.sum() < 36


def test_of_digits_only_symmetric_ones_are_mirrored() -> None:
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    alike = mirrored_classes(np.uint8(digits.images[..., None] * 15), np.int32(digits.target), 10)
    assert {0, 8} >= set(np.flatnonzero(alike).tolist())
    assert alike[0]


def test_a_square_is_erased() -> None:
    erased = (changed(Augmentation(erase=0.5)) != IMAGES).any(axis=3)
    assert (erased.any(axis=(1, 2))).all()
    assert erased.sum(axis=(1, 2)).max() <= 7 * 6
