"""Thresholds at serving: when a label is `uncertain`, which classes are named beside it, and how that travels to the client."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import orjson
import pytest
from PIL import Image

from convnet.confidence import ThresholdError
from convnet.images import DecodeLimits, ImageSpec
from convnet.model_card import ModelCard
from convnet_kafka.classifier.results import Result, ResultMaker, Saying
from convnet_kafka.client.label import Label
from convnet_kafka.client.output import write_csv, write_jsonl
from convnet_kafka.errors import SettingsError
from convnet_kafka.messages import FailureCode, ImageRecord, LabelRecord, Lane
from convnet_kafka.settings import ClassifierSettings, load

CLASSES = ("cat", "cow", "dog", "hen")


class Fixed:
    """A predictor whose answer stands in the picture: its grey picks a row."""

    spec = ImageSpec(4, 4, 1)
    max_batch = 8
    card = ModelCard(
        version=5,
        classes=CLASSES,
        height=4,
        width=4,
        channels=1,
        network="original",
        accuracy={},
        training_images=1,
        validation_images=1,
        data_fingerprint="x",
        checksums={},
        created_at=datetime.now(UTC),
    )
    answers = np.array([[0.9, 0.05, 0.03, 0.02], [0.5, 0.1, 0.38, 0.02], [0.1, 0.6, 0.2, 0.1]], np.float32)

    def predict(self, images: np.ndarray) -> np.ndarray:
        return self.answers[images[:, 0, 0, 0]].copy()

    def warm_up(self) -> None:
        return None


def record(row: int) -> ImageRecord:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), row).save(buffer, "PNG")
    return ImageRecord("0" * 32, f"{row:032x}", f"{row}.png", "image/png", 0, "default", 0, 0, None, buffer.getvalue())


def results(saying: Saying) -> list[Result]:
    return ResultMaker(Fixed(), DecodeLimits(), saying).results([record(row) for row in range(3)])


def test_without_thresholds_labels_are_classes_and_nothing_else_is_named() -> None:
    assert results(Saying()) == [("cat", 0.9, 5, None, None), ("cat", 0.5, 5, None, None), ("cow", 0.6, 5, None, None)]


def test_below_its_class_s_threshold_a_label_is_uncertain_and_names_the_likely_classes() -> None:
    sure, unsure, other = results(Saying({"cat": 0.8}))
    assert sure == ("cat", 0.9, 5, None, None)
    assert unsure == ("uncertain", 0.5, 5, None, (("cat", 0.5), ("dog", 0.38), ("cow", 0.1)))
    assert other == ("cow", 0.6, 5, None, None)


def test_a_star_stands_for_all_classes_that_are_not_named() -> None:
    assert [result[0] for result in results(Saying({"cat": 0.4, "*": 0.7})) if isinstance(result, tuple)] == ["cat", "cat", "uncertain"]


def test_every_label_names_as_many_classes_as_are_set() -> None:
    assert [result[4] for result in results(Saying(top=2)) if isinstance(result, tuple)] == [
        (("cat", 0.9), ("cow", 0.05)),
        (("cat", 0.5), ("dog", 0.38)),
        (("cow", 0.6), ("dog", 0.2)),
    ]
    both = results(Saying({"*": 0.55}, top=2))
    assert [len(result[4] or ()) for result in both if isinstance(result, tuple)] == [2, 3, 2]
    assert [len(result[4] or ()) for result in results(Saying(top=100)) if isinstance(result, tuple)] == [4, 4, 4]


def test_a_threshold_of_a_class_that_the_model_has_not_is_told() -> None:
    with pytest.raises(ThresholdError, match=r"mouse.*cat, cow, dog, hen"):
        Saying({"mouse": 0.5}).of(CLASSES)


def test_top_is_in_the_record_only_where_there_is_one() -> None:
    plain = LabelRecord("a" * 32, "n", 0, "cat", 0.9, None, None, 5, Lane.BULK, 1, 2)
    assert b"top" not in plain.to_json()
    unsure = LabelRecord("a" * 32, "n", 0, "uncertain", 0.5, None, None, 5, Lane.BULK, 1, 2, top=(("cat", 0.5), ("dog", 0.4)))
    assert orjson.loads(unsure.to_json())["top"] == [["cat", 0.5], ["dog", 0.4]]
    assert LabelRecord.from_json(unsure.to_json()) == unsure
    failed = LabelRecord("a" * 32, "n", 0, None, None, FailureCode.UNDECODABLE, "why", None, Lane.BULK, 1, 2)
    assert LabelRecord.from_json(failed.to_json()).top is None


def test_the_client_reads_top_and_writes_it(tmp_path: Path) -> None:
    label = Label.parse(
        {"name": "n", "label": "uncertain", "confidence": 0.5, "revision": 0, "image": "a", "top": [["cat", 0.5], ["dog", 0.4]]}
    )
    assert label.top == (("cat", 0.5), ("dog", 0.4))
    plain = Label.parse({"name": "m", "label": "cat", "confidence": 0.9, "revision": 0, "image": "b"})
    assert plain.top is None
    write_csv(tmp_path / "labels.csv", [label, plain])
    with (tmp_path / "labels.csv").open(newline="") as file:
        assert [row["top"] for row in csv.DictReader(file)] == ['[["cat",0.5],["dog",0.4]]', ""]
    write_jsonl(tmp_path / "labels.jsonl", [label, plain])
    assert [orjson.loads(line)["top"] for line in (tmp_path / "labels.jsonl").read_bytes().splitlines()] == [
        [["cat", 0.5], ["dog", 0.4]],
        None,
    ]


def test_thresholds_are_set_as_json_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVNET_CLASSIFIER_THRESHOLDS", '{"cat": 0.8, "*": 0.5}')
    assert load(ClassifierSettings).thresholds == {"cat": 0.8, "*": 0.5}
    monkeypatch.setenv("CONVNET_CLASSIFIER_THRESHOLDS", '{"cat": 1.8}')
    with pytest.raises(SettingsError, match="CONVNET_CLASSIFIER_THRESHOLDS"):
        load(ClassifierSettings)
    monkeypatch.setenv("CONVNET_CLASSIFIER_THRESHOLDS", "cat=0.8")
    with pytest.raises(SettingsError, match=r"thresholds.*CONVNET_CLASSIFIER_.*must be JSON"):
        load(ClassifierSettings)
