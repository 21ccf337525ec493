"""`convnet.load`: paths, bytes, Pillow images and arrays give the same answers; and `predict` and `evaluate` on the command line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import convnet
from convnet.digits import DigitsFolders
from convnet.errors import DatasetError, RegistryError, UnreadableImage
from convnet.library import Model
from convnet.registry import Registry
from convnet.run import Outcome
from convnet_kafka.cli import evaluate, predict

Trained = tuple[Registry, Outcome]


@pytest.fixture(scope="module")
def model(trained: Trained) -> Model:
    return convnet.load(trained[0].folder)


@pytest.fixture(scope="module")
def paths(digits: DigitsFolders) -> list[Path]:
    return sorted(digits.test.rglob("*.png"))


def test_digits_are_recognised(model: Model, paths: list[Path]) -> None:
    predictions = model.predict(paths)
    assert np.mean([prediction.label == path.parent.name for prediction, path in zip(predictions, paths, strict=True)]) > 0.85
    assert model.classes == tuple("0123456789")
    assert model.version == predictions[0].version == 1


def test_every_way_to_give_a_picture_gives_the_same_answer(model: Model, paths: list[Path]) -> None:
    path = paths[7]
    with Image.open(path) as image:
        grey, array = image.copy(), np.asarray(image)
    sources = [path, str(path), path.read_bytes(), memoryview(path.read_bytes()), grey, array, array[:, :, None], np.dstack([array] * 3)]
    answers = model.predict(sources)
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0].top) == 5
    assert answers[0].top[0] == (answers[0].label, answers[0].probability)
    probabilities = [probability for _, probability in model.predict([path], top_k=99)[0].top]
    assert len(probabilities) == 10
    assert sum(probabilities) == pytest.approx(1, abs=1e-4)
    assert probabilities == sorted(probabilities, reverse=True)


def test_a_pillow_image_is_left_as_it_is_and_any_mode_is_taken(model: Model) -> None:
    file = io.BytesIO()
    Image.new("RGB", (900, 700), "white").save(file, "JPEG")
    opened = Image.open(file)
    for image in (opened, *(Image.new(mode, (50, 40)) for mode in ("1", "P", "RGBA", "CMYK", "YCbCr", "I;16", "F", "LA"))):
        before = (image.size, image.mode)
        model.predict([image])
        assert (image.size, image.mode) == before


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (b"", "picture 0: the file is empty"),
        (b"text", "picture 0: not a JPEG"),
        ("nowhere.png", "nowhere.png: cannot read nowhere.png: No such file"),
        (np.zeros((4, 4, 2), np.uint8), "picture 0: an array is uint8"),
        (np.zeros((4, 4)), "picture 0: an array is uint8"),
        (np.zeros((0, 4), np.uint8), "picture 0: an array is uint8"),
        (Image.new("L", (9000, 9000)), "picture 0: 9000 x 9000 pixels"),
    ],
    ids=["empty", "text", "missing", "channels", "floats", "no pixels", "huge"],
)
def test_what_is_no_picture_is_named(model: Model, source: object, said: str) -> None:
    with pytest.raises(UnreadableImage, match=said):
        model.predict([source])  # type: ignore[list-item]


def test_misuse_is_a_clear_error(model: Model, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"predict\(\[picture\]\)"):
        model.predict("photo.jpg")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="top_k is 1 or more"):
        model.predict([], top_k=0)
    assert model.predict([]) == []
    with pytest.raises(RegistryError, match=r"no stable model in .*convnet-kafka train"):
        convnet.load(tmp_path)


def test_importing_convnet_is_light() -> None:
    script = "import sys, convnet; print(*({'numpy', 'PIL', 'pydantic', 'tensorflow', 'ai_edge_litert'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "\n"


def test_predict_names_unreadable_files_and_classifies_the_others(trained: Trained, digits: DigitsFolders, tmp_path: Path) -> None:
    bad = tmp_path / os.fsdecode(b"bad-\xff.png")
    bad.write_bytes(b"x")
    arguments = ["--models", str(trained[0].folder), "--json", str(digits.test / "3"), str(bad)]
    done = CliRunner().invoke(predict.command, arguments)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.exit_code == 1
    assert len(lines) == len(list((digits.test / "3").iterdir())) + 1
    assert sum(line.get("label") == "3" for line in lines) > 20
    assert "not a JPEG" in lines[-1]["error"]
    text = CliRunner().invoke(predict.command, ["--models", str(trained[0].folder), str(bad), *map(str, digits.test.glob("0/*"))])
    assert text.stderr.startswith("convnet-kafka: ")
    assert ".png: 0 " in text.stdout


def evaluated(trained: Trained, folder: Path, page: Path, *more: str) -> dict[str, object]:
    arguments = [str(folder), "--models", str(trained[0].folder), "--report", str(page), "--json", *more]
    done = CliRunner().invoke(evaluate.command, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_evaluate_measures_and_writes_the_report(trained: Trained, digits: DigitsFolders, tmp_path: Path) -> None:
    figures = evaluated(trained, digits.test, tmp_path / "page.html", "--version", "1")
    assert figures["images"] == 364
    assert isinstance(figures["accuracy"], float)
    assert figures["accuracy"] > 0.85
    assert np.trace(np.array(figures["confusion"])) == round(364 * figures["accuracy"])
    assert "364 pictures of test" in (tmp_path / "page.html").read_text()


def test_evaluate_takes_test_where_there_are_parts_and_fewer_classes(trained: Trained, digits: DigitsFolders, tmp_path: Path) -> None:
    assert evaluated(trained, digits.train.parent, tmp_path / "page.html")["images"] == 364
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "7").symlink_to(digits.test / "7")
    answer = evaluated(trained, tmp_path / "some", tmp_path / "page.html")
    assert answer["images"] == len(list((digits.test / "7").iterdir()))
    (tmp_path / "some" / "horse").mkdir()
    with pytest.raises(DatasetError, match=r"holds the class folders 7, horse; version 1 knows 0, 1, .*judged on horse"):
        evaluated(trained, tmp_path / "some", tmp_path / "page.html")


def test_training_writes_the_versions_report(trained: Trained) -> None:
    page = (trained[0].folder / "1" / "report.html").read_text()
    assert f"{trained[1].card.validation_images:,} held-out pictures" in page
    assert "float32.tflite" in page
    assert "<h2>Curves</h2>" in page
