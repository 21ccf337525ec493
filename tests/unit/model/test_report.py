"""The figures are right, and the page is one well-formed file that asks for nothing and believes no name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from convnet import charts
from convnet.dataset import Split
from convnet.errors import RegistryError
from convnet.evaluation import Evaluation
from convnet.folders import Picture, Side, Skipped
from convnet.measuring import Measured
from convnet.model_card import EpochResult, ModelCard
from convnet.report import Report, render, write

MakeCard = Callable[..., ModelCard]


def evaluation(*answers: tuple[int, float], classes: tuple[str, ...] = ("cat", "dog", "cow"), labels: list[int]) -> Evaluation:
    """Answers as (class, confidence); what is left is shared by the others."""
    rows = np.zeros((len(answers), len(classes)), np.float32)
    for row, (label, confidence) in zip(rows, answers, strict=True):
        row[:] = (1 - confidence) / (len(classes) - 1)
        row[label] = confidence
    return Evaluation(classes, np.array(labels, np.int32), rows, seconds=0.1)


def test_figures_by_hand() -> None:
    judged = evaluation((0, 0.9), (0, 0.8), (1, 0.7), (0, 0.95), (1, 0.65), labels=[0, 0, 1, 1, 0])
    assert judged.accuracy == pytest.approx(3 / 5)
    assert judged.confusion().tolist() == [[2, 1, 0], [1, 1, 0], [0, 0, 0]]
    cat, dog, cow = judged.scores()
    assert (cat.images, cat.precision, cat.recall, cat.f1) == (3, pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (dog.precision, dog.recall) == (0.5, 0.5)
    assert (cow.images, cow.precision, cow.recall, cow.f1) == (0, None, None, None)
    assert judged.worst(5) == [3, 4]
    assert judged.confused(5) == [("cat", "dog", 1), ("dog", "cat", 1)]
    assert judged.top_accuracy(2) >= judged.accuracy
    assert judged.top_accuracy(3) == 1


def test_calibration_error_is_the_weighted_gap() -> None:
    # Four answers of 0.95, half of them right, and one of 0.55 that is right.
    judged = evaluation(*[(0, 0.95)] * 4, (0, 0.55), labels=[0, 0, 1, 1, 0])
    assert judged.calibration_error() == pytest.approx((4 * 0.45 + 1 * 0.45) / 5, abs=1e-6)
    assert sum(each.images for each in judged.bins()) == 5
    assert evaluation((0, 1.0), labels=[0]).calibration_error() == 0


class Checker(HTMLParser):
    """Collects tags left open and everything a browser would fetch."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def report(make_card: MakeCard, tmp_path: Path) -> Report:
    classes = ("<b>bold</b>", 'quo"te & co')
    history = tuple(EpochResult(loss=1 / n, accuracy=0.5, validation_loss=1 / n, validation_accuracy=0.4, seconds=1) for n in range(1, 4))
    pictures = tuple(Picture(str(tmp_path / f"<i>{n}.png"), n % 2, bytes(16), Side.HELD_OUT) for n in range(6))
    split = Split(np.full((6, 8, 8, 1), 200, np.uint8), np.array([0, 1] * 3, np.int32), pictures)
    judged = evaluation(*[(0, 0.8)] * 6, classes=classes, labels=[0, 1] * 3)
    return Report(
        card=make_card(classes=classes, history=history, settings={"epochs": 3, "mirror": None, "sizes": [1, 2], "more": {"a_b": "<u>"}}),
        evaluation=judged,
        judged=split,
        what="held-out pictures",
        artefacts=(Measured("float32.tflite", 1_340_000, 6e-5, 4e-5), Measured("model.keras", 900)),
        counts=(("training", (10, 20)), ("held out", (3, 3))),
        skipped=(Skipped("<script>.png", "undecodable"),),
    )


def test_the_page_is_whole_asks_for_nothing_and_escapes_every_name(report: Report) -> None:
    page = render(report)
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.fetched
    assert all(each.startswith("data:image/png;base64,") for each in checker.fetched)
    assert checker.tags & {"script", "link", "iframe", "object", "u"} == set()
    assert not re.search(r"url\(|@import|https?://", page)
    for heading in ("Curves", "Confusion matrix", "Classes", "Calibration", "Worst mistakes", "Data", "Artefacts", "Settings"):
        assert f"<h2>{heading}</h2>" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_a_page_without_history_mistakes_and_measurements(report: Report) -> None:
    sound = evaluation(*[(n % 2, 0.8) for n in range(6)], classes=report.card.classes, labels=[0, 1] * 3)
    plain = replace(report, card=report.card.model_copy(update={"history": ()}), evaluation=sound, artefacts=(), counts=())
    page = render(plain)
    assert "There are no mistakes." in page
    assert "<h2>Curves</h2>" not in page
    assert "<h2>Worst mistakes</h2>" not in page


@pytest.mark.parametrize("count", [2, 24, 60, 200])
def test_any_number_of_classes(report: Report, count: int) -> None:
    classes = tuple(f"class {number} with a long name" for number in range(count))
    judged = evaluation(*[(1, 0.9)] * 6, classes=classes, labels=[0, 1] * 3)
    page = render(replace(report, card=report.card.model_copy(update={"classes": classes}), evaluation=judged, counts=()))
    assert ("Confusion matrix" in page) == (count <= charts.MOST_CELLS)
    assert "class 0 with a long name taken for class 1 with a long name: 3" in page


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [0.0, 1.0], [1e-9, 2e-9], [float("nan"), 1.0], [float("nan")], list(range(300))])
def test_any_curve_is_drawn(values: list[float]) -> None:
    drawn = charts.lines("title", "epoch", [charts.Line("name", "training", values)])
    numbers = [float(number) for number in re.findall(r' (?:x|y|x1|x2|y1|y2)="([^"]+)"', drawn)]
    assert all(-10 <= number <= 500 for number in numbers)
    assert "nan" not in drawn


def test_a_page_that_cannot_be_written_is_a_clear_error(report: Report, tmp_path: Path) -> None:
    write(report, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    with pytest.raises(RegistryError, match="cannot write the report"):
        write(report, tmp_path / "nowhere" / "page.html")
