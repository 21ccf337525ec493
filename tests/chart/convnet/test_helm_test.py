"""What `helm test` says of results: nothing of good ones, a sentence of each that is missing or wrong."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest

from convnet_kafka.client import Label
from support.convnet_chart import CHART


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("helm_test", CHART.folder / "files" / "helm_test.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def label(name: str, answer: str | None) -> Label:
    values = dict.fromkeys(Label._fields) | {"name": name, "label": answer}
    return Label(**(values if answer else values | {"error": "undecodable", "detail": "damaged"}))  # type: ignore[arg-type]


GOOD = [label(f"{digit}-0.png", str(digit)) for digit in range(10)]
TWO_WRONG = [label(each.name, "9") if number < 2 else each for number, each in enumerate(GOOD)]
THREE_WRONG = [label(each.name, "9") if number < 3 else each for number, each in enumerate(GOOD)]


@pytest.mark.parametrize(
    ("labels", "digits", "sentences"),
    [
        (GOOD, True, []),
        (TWO_WRONG, True, []),
        (THREE_WRONG, True, ["bulk lane: 7 of 10 digits are right"]),
        (THREE_WRONG, False, []),
        (GOOD[:9], False, ["bulk lane: 9 results for 10 pictures"]),
        ([*GOOD[:9], GOOD[0]], False, ["bulk lane: 10 results for 10 pictures"]),
        ([*GOOD[:9], label("9-0.png", None)], False, ["bulk lane: 9-0.png has no label: undecodable (damaged)"]),
    ],
)
def test_each_fault_is_told_and_nothing_else(program: ModuleType, labels: list[Label], digits: bool, sentences: list[str]) -> None:
    assert program.faults("bulk lane", labels, 10, digits=digits) == sentences


def test_the_pictures_are_two_of_each_digit() -> None:
    names = sorted(path.name for path in (CHART.folder / "files" / "digits").iterdir())
    assert names == [f"{digit}-{number}.png" for digit in range(10) for number in range(2)]
