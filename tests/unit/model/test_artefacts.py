"""What a training makes: equal answers of everything that is served, int8 only when it is good enough, and a SavedModel."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convnet import artefacts, export
from convnet.dataset import Dataset, load
from convnet.digits import DigitsFolders
from convnet.errors import ModelError
from convnet.folders import scan
from convnet.images import Pixels, decode
from convnet.model_card import ModelCard
from convnet.predictor import load_keras, load_predictor
from convnet.progress import Silent
from convnet.registry import FLOAT32, INT8, KERAS, Registry
from convnet.run import Outcome, train
from convnet.training import TrainingSettings

Trained = tuple[Registry, Outcome]


@pytest.fixture(scope="module")
def dataset(digits: DigitsFolders, settings: TrainingSettings) -> Dataset:
    return load(scan(digits.train, Silent()), settings.spec, Silent())


@pytest.fixture(scope="module")
def network(trained: Trained) -> Any:
    return load_keras(trained[0].artefact(1, KERAS), "version 1")


def real_files(digits: DigitsFolders) -> list[bytes]:
    """The same digit as people send it: PNG, JPEG, palette, transparent, turned by EXIF, larger."""
    digit = Image.open(min(digits.test.rglob("*.png")))
    turned = Image.Exif()
    turned[0x0112] = 6
    ways: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (digit, "PNG", {}),
        (digit.resize((640, 480)), "JPEG", {"quality": 80}),
        (digit.convert("P"), "GIF", {}),
        (digit.convert("RGBA"), "PNG", {}),
        (digit.convert("RGB"), "JPEG", {"exif": turned}),
        (digit.convert("RGB").resize((20, 50)), "WebP", {}),
    ]
    files = []
    for image, kind, options in ways:
        file = io.BytesIO()
        image.save(file, kind, **options)
        files.append(file.getvalue())
    return files


def test_keras_float32_and_the_serving_path_answer_equally_on_real_files(trained: Trained, network: Any, digits: DigitsFolders) -> None:
    registry, outcome = trained
    pixels = np.stack([decode(file, outcome.card.spec) for file in real_files(digits)])
    keras = network.predict(pixels, verbose=0)
    for backend in ("litert", "tensorflow"):
        served = load_predictor(registry, backend=backend, artefact="float32")
        assert np.abs(served.predict(pixels) - keras).max() < 1e-5
    int8 = load_predictor(registry).predict(pixels)
    assert np.array_equal(int8.argmax(1), keras.argmax(1))


def test_the_card_holds_the_figures_of_every_artefact(trained: Trained) -> None:
    card = trained[0].card(1)
    assert set(card.accuracy) == {KERAS, FLOAT32, INT8}
    assert card.accuracy[INT8] >= card.accuracy[FLOAT32] - artefacts.MAX_INT8_LOSS
    assert 0.2 < card.temperature < 5
    assert not card.refused


def test_an_int8_that_is_worse_than_allowed_is_refused(network: Any, dataset: Dataset, make_card: Callable[..., ModelCard]) -> None:
    def badly(model: Any, calibration: Pixels) -> bytes:
        """A real int8 model whose ranges were taken from almost black pictures: whatever is brighter is cut off."""
        dark = np.random.default_rng(1).integers(0, 2, calibration.shape, np.uint8)
        spoiled = type(model).from_config(model.get_config())
        weights = model.get_weights()
        spoiled.set_weights([weights[0] * 1000, *weights[1:]])
        return export.litert_int8(spoiled, dark)

    card = make_card(classes=dataset.classes, height=32, width=32)
    made = artefacts.make(network, dataset, card, Silent(), quantise=badly)
    assert made.accuracy[INT8] < made.accuracy[FLOAT32] - 0.005
    assert set(made.files) == {KERAS, FLOAT32}
    assert made.served == FLOAT32
    assert "float32" in made.refused[INT8]


def test_a_network_without_an_int8_form_is_served_in_float32(network: Any, dataset: Dataset, make_card: Callable[..., ModelCard]) -> None:
    def never(model: Any, calibration: Pixels) -> bytes:
        raise ModelError("no integer form")

    made = artefacts.make(network, dataset, make_card(classes=dataset.classes, height=32, width=32), Silent(), quantise=never)
    assert (made.served, made.refused) == (FLOAT32, {INT8: "no integer form"})


def test_the_savedmodel_answers_as_keras_and_appears_whole(
    trained_copy: Registry, network: Any, dataset: Dataset, digits: DigitsFolders, settings: TrainingSettings, tmp_path: Path
) -> None:
    from convnet.quiet import import_tensorflow

    again = train(digits.train, trained_copy, settings, Silent(), saved_models=tmp_path / "serving")
    assert again.reused
    assert [path.name for path in (tmp_path / "serving").iterdir()] == ["1"]
    pixels = dataset.held_out.images[:4].astype(np.float32)
    loaded = import_tensorflow().saved_model.load(str(tmp_path / "serving" / "1"))
    assert np.abs(loaded.serve(pixels).numpy() - network.predict(pixels, verbose=0)).max() < 1e-5
