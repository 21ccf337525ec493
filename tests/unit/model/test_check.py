"""`data check` names every damaged, odd and hostile file, survives all of them, and its exit code says what to expect."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from convnet import folders
from convnet.check import check
from convnet.dataset import load
from convnet.digits import DigitsFolders
from convnet.errors import DatasetError
from convnet.images import ImageSpec
from convnet.inspection import Kind
from convnet.progress import Silent
from convnet_kafka.cli.data import command
from support.hostile import photo, write_hostile

Write = Callable[..., Path]


def found(folder: Path) -> dict[str, list[Kind]]:
    kinds: dict[str, list[Kind]] = defaultdict(list)
    for finding in check(folder, Silent()).findings:
        kinds[finding.name].append(finding.kind)
    return kinds


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(command, ["check", *map(str, arguments)])
    return done.exit_code, done.stdout


def test_each_of_300_damaged_odd_and_hostile_files_is_named_and_none_crashes(tmp_path: Path) -> None:
    expected = write_hostile(tmp_path / "pictures")
    kinds = found(tmp_path / "pictures")
    assert len(expected) == 300
    assert {name: kinds.get(name) for name, wanted in expected.items() if not set(wanted) & set(kinds.get(name, []))} == {}
    exit_code, text = run(tmp_path / "pictures", "--all", "--sheet", tmp_path / "sheet.png")
    assert exit_code == 1
    assert [name for name in expected if name not in text] == []
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 900


def test_what_the_check_calls_unusable_is_what_training_leaves_out(tmp_path: Path) -> None:
    write_hostile(tmp_path / "pictures")
    unusable = {Kind.UNREADABLE, Kind.TRUNCATED, Kind.TOO_LARGE, Kind.NOT_AN_IMAGE}
    data = load(folders.scan(tmp_path / "pictures", Silent()), ImageSpec(16, 16, 3), Silent())
    kinds = found(tmp_path / "pictures")
    assert {file.name for file in data.skipped} == {name for name, each in kinds.items() if unusable & set(each)}


def test_a_sound_folder(digits: DigitsFolders) -> None:
    exit_code, text = run(digits.train)
    assert exit_code == 0
    assert "1433 files, 1433 usable pictures, 10 classes" in text
    assert "pixels: grey (1433)" in text
    assert "sizes: 32 x 32 (1433)" in text
    assert "no problem found" in text


def test_json_is_all_that_stands_on_stdout(digits: DigitsFolders) -> None:
    exit_code, text = run(digits.train, "--json")
    answer = json.loads(text)
    assert exit_code == 0
    assert answer["files"] == sum(each["training"] + each["held_out"] for each in answer["classes"]) == 1433
    assert answer["findings"] == []


def test_remarks_are_no_problems_unless_strict(write_classes: Write) -> None:
    folder = write_classes(cat=20, dog=20)
    shutil.copy(folder / "cat" / "1.png", folder / "cat" / "again.png")
    assert run(folder)[0] == 0
    exit_code, text = run(folder, "--strict")
    assert exit_code == 1
    assert "remark: duplicate (1)\n  cat/again.png: the same picture as cat/1.png" in text


def test_the_same_picture_in_two_classes_names_both(write_classes: Write) -> None:
    folder = write_classes(cat=20, dog=20)
    shutil.copy(folder / "cat" / "1.png", folder / "dog" / "same.png")
    exit_code, text = run(folder)
    assert exit_code == 1
    assert "cat/1.png: the same picture as dog/same.png" in text
    assert "dog/same.png: the same picture as cat/1.png" in text


def test_class_imbalance_is_said(write_classes: Write) -> None:
    assert check(write_classes(cat=40, dog=5), Silent()).imbalance.startswith("cat has 40 pictures, dog has 5: 8 times as many")


def test_one_grey_picture_among_colours_and_one_odd_size_stand_out(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(15):
            photo(random).save(tmp_path / name / f"{number}.png")
    photo(random).convert("L").save(tmp_path / "a" / "grey.png")
    photo(random, 48, 50).save(tmp_path / "b" / "wide.png")
    assert found(tmp_path) == {"a/grey.png": [Kind.ODD_MODE], "b/wide.png": [Kind.ODD_SIZE]}


def test_what_is_not_a_file_and_names_that_are_not_text(write_classes: Write) -> None:
    folder = write_classes(cat=10, dog=10)
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / "cat" / "gone.png").symlink_to(folder / "nowhere")
    (folder / "dog" / os.fsdecode(b"bad-\xff.png")).write_bytes(b"")
    (folder / "notes.txt").write_text("x")
    assert found(folder) == {
        "cat/pipe.png": [Kind.UNREADABLE],
        "cat/gone.png": [Kind.UNREADABLE],
        "dog/bad-\\xff.png": [Kind.UNREADABLE],
        "notes.txt": [Kind.STRAY],
    }


def test_a_folder_that_cannot_be_trained_on_ends_with_3_and_says_why(write_classes: Write, tmp_path: Path) -> None:
    folder = write_classes(cat=20, dog=1)
    exit_code, text = run(folder)
    assert exit_code == 3
    assert "cannot be trained on: too few readable pictures of dog (1)" in text
    with pytest.raises(DatasetError, match="does not exist"):
        check(tmp_path / "nowhere", Silent())


def test_parts_are_counted_and_leaks_between_them_are_problems(write_classes: Write, tmp_path: Path) -> None:
    write_classes("data/train", cat=10, dog=11)
    write_classes("data/test", cat=3, dog=4, cow=0)
    (tmp_path / "data/test/cow").rmdir()
    shutil.copy(tmp_path / "data/train/cat/1.png", tmp_path / "data/test/cat/leak.png")
    result = check(tmp_path / "data", Silent())
    assert [(each.name, each.usable, each.test) for each in result.classes] == [("cat", 14, 4), ("dog", 15, 4)]
    assert [finding.kind for finding in result.findings if finding.name == "train/cat/1.png"] == [Kind.TWO_PARTS]
    assert "      test" in run(tmp_path / "data")[1]


def test_an_html_sheet_holds_its_pictures(digits: DigitsFolders, tmp_path: Path) -> None:
    assert run(digits.test, "--sheet", tmp_path / "sheet.html")[0] == 0
    page = (tmp_path / "sheet.html").read_text()
    assert page.count("data:image/png;base64,") == 100
    assert "http" not in page
    with pytest.raises(DatasetError, match=r"a \.png or \.html file"):
        CliRunner().invoke(command, ["check", str(digits.test), "--sheet", "x.pdf"], catch_exceptions=False)
