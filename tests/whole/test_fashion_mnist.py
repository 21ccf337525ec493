"""Fashion-MNIST through the commands alone: convert, train, run, classify the 10,000 test images, and compare with the true classes."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from convnet_kafka.local.stack import Stack, StackOptions
from support.tools import required

CONVERT = Path(__file__).parents[2] / "benchmarks" / "fashion_mnist.py"
TEST_IMAGES = 10_000


def run(*command: str | Path) -> None:
    subprocess.run([sys.executable, *map(str, command)], check=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_ten_thousand_images_come_back_each_once_and_nine_in_ten_are_right(tmp_path: Path) -> None:
    required("/usr/share/datasets/fashion-mnist", "apt-get install dataset-fashion-mnist")
    data, models, output = tmp_path / "data", tmp_path / "models", tmp_path / "labels.csv"
    run(CONVERT, data)
    size = ("--height", "28", "--width", "28", "--colors", "grey", "--network", "original", "--epochs", "8")
    run("-m", "convnet_kafka", "train", data / "train", *size, "--models", models)
    with Stack(StackOptions(models=models, data=tmp_path / "stack", classifiers=2)) as stack:
        run("-m", "convnet_kafka", "classify", data / "test", "--server", stack.server_url, "--output", output)
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == TEST_IMAGES
    assert {row["name"] for row in rows} == {path.relative_to(data / "test").as_posix() for path in (data / "test").rglob("*.png")}
    right = sum(row["label"] == row["name"].partition("/")[0] for row in rows)
    print(f"{right} of {TEST_IMAGES} right")
    assert right >= 0.90 * TEST_IMAGES
