"""Both backends answer the same, for any number of images, and say clearly what does not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convnet.digits import DigitsFolders
from convnet.errors import ModelError, RegistryError
from convnet.images import Pixels, decode
from convnet.model_card import ModelCard
from convnet.predictor import Backend, LiteRTPredictor, Predictor, Probabilities, load_predictor
from convnet.registry import FLOAT32, INT8, Registry
from convnet.run import Outcome

Trained = tuple[Registry, Outcome]


@pytest.fixture(scope="module")
def images(digits: DigitsFolders, trained: Trained) -> tuple[Pixels, list[str]]:
    paths = sorted(digits.test.rglob("*.png"))
    return np.stack([decode(path.read_bytes(), trained[1].card.spec) for path in paths]), [path.parent.name for path in paths]


@pytest.fixture(scope="module", params=["litert", "tensorflow"])
def predictor(request: pytest.FixtureRequest, trained: Trained) -> Predictor:
    return load_predictor(trained[0], backend=request.param, max_batch=32)


def test_pictures_never_trained_on_are_recognised(predictor: Predictor, images: tuple[Pixels, list[str]]) -> None:
    pixels, names = images
    answers = np.concatenate([predictor.predict(pixels[start : start + 32]) for start in range(0, len(pixels), 32)])
    right = np.mean([predictor.card.classes[answer] == name for answer, name in zip(answers.argmax(1), names, strict=True)])
    assert right >= 0.85


def test_any_number_of_images_gives_the_answers_of_each_alone(predictor: Predictor, images: tuple[Pixels, list[str]]) -> None:
    pixels = images[0][:32]
    alone = np.concatenate([predictor.predict(pixels[index : index + 1]) for index in range(32)])
    assert alone.dtype == np.float32
    assert np.abs(alone.sum(axis=1) - 1).max() < 1e-5
    for count in range(1, 33):
        answers = predictor.predict(pixels[:count])
        assert answers.shape == (count, 10)
        assert np.abs(answers - alone[:count]).max() < 1e-5


def test_answers_belong_to_the_caller(predictor: Predictor, images: tuple[Pixels, list[str]]) -> None:
    first = predictor.predict(images[0][:3])
    kept = first.copy()
    predictor.predict(images[0][3:6])
    assert np.array_equal(first, kept)


def test_litert_equals_keras(trained: Trained, images: tuple[Pixels, list[str]]) -> None:
    litert = load_predictor(trained[0], artefact="float32", max_batch=400)
    keras = load_predictor(trained[0], backend="tensorflow", max_batch=400)
    difference = np.abs(litert.predict(images[0]) - keras.predict(images[0]))
    assert difference.max() < 1e-4


def test_int8_is_served_by_default_and_answers_nearly_the_same(trained: Trained, images: tuple[Pixels, list[str]]) -> None:
    assert trained[1].card.served == INT8
    served, int8, float32 = (
        load_predictor(trained[0], artefact=artefact, max_batch=400).predict(images[0]) for artefact in ("auto", "int8", "float32")
    )
    assert np.array_equal(served, int8)
    assert np.abs(int8.sum(axis=1) - 1).max() < 1e-5
    assert np.mean(int8.argmax(1) == float32.argmax(1)) > 0.98
    assert np.abs(int8 - float32).mean() < 0.01


def test_a_refused_artefact_is_not_served(trained_copy: Registry) -> None:
    path = trained_copy.folder / "1" / "model.json"
    card = trained_copy.card(1).model_copy(update={"refused": {INT8: "it was worse"}, "served": FLOAT32})
    path.write_text(card.model_dump_json())
    load_predictor(trained_copy).warm_up()
    with pytest.raises(ModelError, match=r"int8\.tflite of version 1 was refused when it was made: it was worse"):
        load_predictor(trained_copy, artefact="int8")


@pytest.mark.parametrize(
    "batch",
    [
        np.zeros((0, 32, 32, 1), np.uint8),
        np.zeros((33, 32, 32, 1), np.uint8),
        np.zeros((1, 28, 28, 1), np.uint8),
        np.zeros((32, 32, 1), np.uint8),
        np.zeros((1, 32, 32, 1), np.float32),
    ],
    ids=["none", "too many", "size", "no batch", "type"],
)
def test_a_batch_that_does_not_fit_is_refused(predictor: Predictor, batch: Pixels) -> None:
    with pytest.raises(ModelError, match=r"a batch is uint8 \[1 to 32, 32, 32, 1\], not"):
        predictor.predict(batch)


def test_warm_up_passes_on_a_good_model(predictor: Predictor) -> None:
    predictor.warm_up()


@pytest.mark.parametrize(
    ("backend", "max_batch", "sizes"),
    [
        ("litert", 256, {16, 8, 4, 2, 1}),
        ("litert", 12, {8, 4, 2, 1}),
        ("tensorflow", 256, {1, 2, 4, 8, 16}),
        ("tensorflow", 12, {1, 2, 4, 8, 12}),
        ("tensorflow", 3, {1, 2, 3}),
    ],
)
def test_warm_up_runs_what_small_batches_are_run_in(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, backend: Backend, max_batch: int, sizes: set[int]
) -> None:
    """Nine images are run as eight and one by LiteRT, and padded to twelve by a TensorFlow that takes no more."""
    one = load_predictor(trained[0], backend=backend, max_batch=max_batch)
    seen: list[int] = []

    def predict(images: Pixels) -> Probabilities:
        seen.append(len(images))
        return np.full((len(images), 10), 0.1, np.float32)

    monkeypatch.setattr(one, "predict", predict)
    one.warm_up()
    assert len(seen) == len(sizes)
    assert set(seen) == sizes


def test_warm_up_fails_on_a_model_that_answers_nonsense(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "predict", lambda images: np.full((len(images), 10), np.nan, np.float32))
    with pytest.raises(ModelError, match="does not answer probabilities"):
        predictor.warm_up()


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x1c\0\0\0TFL3" + bytes(100)])
def test_bytes_that_are_no_model(content: bytes, make_card: Callable[..., ModelCard]) -> None:
    with pytest.raises(ModelError, match="cannot load version 1"):
        LiteRTPredictor(make_card(), content)


def test_a_card_of_other_classes_is_refused(trained: Trained) -> None:
    registry, outcome = trained
    card = outcome.card.model_copy(update={"classes": ("a", "b")})
    with pytest.raises(ModelError, match="answers 10 classes, its card names 2"):
        LiteRTPredictor(card, registry.artefact(1, FLOAT32))


def test_no_model_yet_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"no stable model in .*; run: convnet-kafka train"):
        load_predictor(Registry(tmp_path))


def test_serving_imports_no_tensorflow_and_prints_nothing(trained: Trained) -> None:
    script = (
        "import sys; from convnet.predictor import load_predictor; from convnet.registry import Registry; "
        f"load_predictor(Registry({str(trained[0].folder)!r})).warm_up(); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
