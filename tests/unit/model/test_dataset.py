"""Class folders: what is wrong is said clearly, damaged files are skipped by name, and the split never moves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convnet import folders
from convnet.dataset import load
from convnet.digits import SIDE, DigitsFolders, write_digits
from convnet.errors import DatasetError
from convnet.images import ImageSpec, decode
from convnet.progress import Silent

SPEC = ImageSpec(12, 12, 1)
Write = Callable[..., Path]


def scan(folder: Path, *names: str) -> folders.ClassFolders:
    return folders.scan(folder, Silent(), class_names=names)


def test_classes_are_sorted_and_every_picture_is_on_one_side(write_classes: Write) -> None:
    data = load(scan(write_classes(dog=40, cat=30)), SPEC, Silent())
    assert data.classes == ("cat", "dog")
    assert len(data.training) + len(data.held_out) == 70
    assert data.training.images.shape[1:] == SPEC.shape
    assert set(data.training.labels.tolist()) == {0, 1}
    assert not {picture.digest for picture in data.training.pictures} & {picture.digest for picture in data.held_out.pictures}


def test_training_pixels_are_those_that_serving_decodes(digits: DigitsFolders) -> None:
    data = load(scan(digits.train), ImageSpec(28, 28, 3), Silent())
    for split in (data.training, data.held_out):
        for index in range(0, len(split), 37):
            served = decode(split.pictures[index].path.read_bytes(), data.spec)
            assert np.array_equal(split.images[index], served)
            assert split.pictures[index].path.parent.name == data.classes[split.labels[index]]


def test_about_a_fifth_is_held_out(digits: DigitsFolders) -> None:
    found = scan(digits.train)
    assert 0.17 < sum(picture.held_out for picture in found.pictures) / len(found.pictures) < 0.23


def test_a_picture_keeps_its_side_when_files_come_go_and_are_renamed(write_classes: Write) -> None:
    folder = write_classes(cat=40, dog=40)
    before = {picture.digest: picture.held_out for picture in scan(folder).pictures}
    for path in sorted((folder / "cat").iterdir())[:10]:
        path.unlink()
    for path in list((folder / "dog").iterdir()):
        path.rename(path.with_name("renamed-" + path.name))
    Image.new("L", (9, 9)).save(folder / "cat" / "new.png")
    after = {picture.digest: picture.held_out for picture in scan(folder).pictures}
    assert all(before[digest] == held_out for digest, held_out in after.items() if digest in before)


def test_duplicates_never_straddle_the_split(write_classes: Write) -> None:
    folder = write_classes(cat=30, dog=30)
    for path in list((folder / "cat").iterdir()):
        shutil.copy(path, path.with_name("copy-" + path.name))
    data = load(scan(folder), SPEC, Silent())
    assert not {picture.digest for picture in data.training.pictures} & {picture.digest for picture in data.held_out.pictures}


def test_the_fingerprint_is_of_contents_not_names(write_classes: Write) -> None:
    folder = write_classes(cat=10, dog=10)
    before = scan(folder).fingerprint
    (folder / "cat" / "3.png").rename(folder / "cat" / "zzz.bin")
    assert scan(folder).fingerprint == before
    (folder / "cat" / "zzz.bin").rename(folder / "dog" / "zzz.bin")
    assert scan(folder).fingerprint != before


def test_arrays_do_not_depend_on_file_names(write_classes: Write) -> None:
    folder = write_classes(cat=20, dog=20)
    before = load(scan(folder), SPEC, Silent())
    for path in list((folder / "cat").iterdir()):
        path.rename(path.with_name(f"{hash(path.name) % 1000}-{path.name}"))
    assert np.array_equal(load(scan(folder), SPEC, Silent()).training.images, before.training.images)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"nowhere does not exist; give a folder"):
        scan(tmp_path / "nowhere")


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DatasetError, match="cannot read the training folder"):
        scan(tmp_path / "file")


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no class folder; it must hold at least two"):
        scan(tmp_path)


def test_one_class(write_classes: Write) -> None:
    with pytest.raises(DatasetError, match="only the class folder cat"):
        scan(write_classes(cat=20))


def test_too_few_pictures_names_the_classes_and_the_minimum(write_classes: Write) -> None:
    with pytest.raises(DatasetError, match=r"cat \(1\), cow \(0\); every class needs at least 2"):
        scan(write_classes(cat=1, dog=9, cow=0))


def test_too_few_readable_pictures(write_classes: Write) -> None:
    folder = write_classes(cat=9, dog=9)
    for number in range(8):
        (folder / "cat" / f"{number}.png").write_bytes(b"damaged %d" % number)
    with pytest.raises(DatasetError, match=r"too few readable pictures.*cat \(1\)"):
        load(scan(folder), SPEC, Silent())


def test_given_class_names_must_match_and_both_lists_are_said(write_classes: Write) -> None:
    folder = write_classes(cat=9, dog=9)
    assert scan(folder, "dog", "cat").classes == ("cat", "dog")
    with pytest.raises(DatasetError, match=r"given are cat, horse; .* holds the folders cat, dog"):
        scan(folder, "cat", "horse")


def test_unreadable_files_are_skipped_by_name_and_reason(write_classes: Write, listening: Any) -> None:
    folder = write_classes(cat=20, dog=20)
    (folder / "cat" / "empty.png").touch()
    (folder / "cat" / "notes.txt").write_text("not a picture")
    (folder / "dog" / "cut.png").write_bytes((folder / "dog" / "0.png").read_bytes()[:60])
    (folder / "dog" / "gone.png").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "dog" / "pipe.png")
    (folder / "stray.csv").write_text("a,b")
    (folder / ".hidden").write_text("x")
    (folder / "cat" / ".DS_Store").write_text("x")
    data = load(scan(folder), SPEC, listening)
    reasons = {file.name: file.reason for file in data.skipped}
    assert set(reasons) == {"cat/empty.png", "cat/notes.txt", "dog/cut.png", "dog/gone.png", "dog/pipe.png", "stray.csv"}
    assert reasons["cat/empty.png"] == "undecodable: the file is empty"
    assert reasons["cat/notes.txt"].startswith("unsupported: not a JPEG")
    assert reasons["dog/cut.png"].startswith("undecodable: damaged")
    assert reasons["dog/pipe.png"] == "not a regular file"
    assert reasons["stray.csv"] == "not in a class folder"
    assert len(data.training) + len(data.held_out) == 40
    assert "skipped cat/empty.png: undecodable: the file is empty" in listening.notes


def test_many_unreadable_files_are_summed_up(write_classes: Write, listening: Any) -> None:
    folder = write_classes(cat=20, dog=20)
    for number in range(200):
        (folder / "cat" / f"{number}.txt").write_text(f"not a picture {number}")
    data = load(scan(folder), SPEC, listening)
    assert len(data.skipped) == 200
    assert len(listening.notes) == 51
    assert listening.notes[-1].startswith("and 150 more, most for: unsupported: not a JPEG")


def test_a_class_without_a_training_picture_after_the_split(write_classes: Write) -> None:
    folder = write_classes(cat=30, dog=30)
    for picture in scan(folder).pictures:
        if picture.label == 0 and not picture.held_out:
            picture.path.unlink()
    with pytest.raises(DatasetError, match="left no training picture for cat"):
        load(scan(folder), SPEC, Silent())


def test_nothing_held_out_after_the_split(write_classes: Write) -> None:
    folder = write_classes(cat=30, dog=30)
    for picture in scan(folder).pictures:
        if picture.held_out:
            picture.path.unlink()
    with pytest.raises(DatasetError, match="left no held-out picture"):
        load(scan(folder), SPEC, Silent())


def test_unicode_long_and_undecodable_names(write_classes: Write) -> None:
    folder = write_classes(**{"größe ✓": 10, "猫" * 60: 10})
    (folder / "größe ✓" / "0.png").rename(folder / "größe ✓" / ("ñ" * 120 + ".png"))
    (folder / "größe ✓" / os.fsdecode(b"bad-\xff.png")).write_bytes(b"")
    data = load(scan(folder), SPEC, Silent())
    assert data.classes == ("größe ✓", "猫" * 60)
    assert [file.name for file in data.skipped] == ["größe ✓/bad-\\xff.png"]


def test_a_class_folder_whose_name_no_label_can_carry(write_classes: Write) -> None:
    folder = write_classes(cat=9, dog=9)
    Path(os.fsdecode(os.fsencode(folder) + b"/bad-\xff")).mkdir()
    with pytest.raises(DatasetError, match="rename it"):
        scan(folder)


def test_nested_folders_belong_to_their_class_and_link_loops_end(write_classes: Write) -> None:
    folder = write_classes(cat=9, dog=9)
    (folder / "cat" / "more" / "deep").mkdir(parents=True)
    (folder / "cat" / "1.png").rename(folder / "cat" / "more" / "deep" / "1.png")
    (folder / "cat" / "loop").symlink_to(folder / "cat")
    (folder / "cat" / "more" / "loop").symlink_to(folder / "cat" / "more")
    assert len(scan(folder).pictures) == 18


def test_the_same_picture_in_two_classes_is_pointed_out(write_classes: Write, listening: Any) -> None:
    folder = write_classes(cat=9, dog=9)
    shutil.copy(folder / "cat" / "1.png", folder / "dog" / "same.png")
    load(scan(folder), SPEC, listening)
    assert any("1 pictures stand in more than one class" in note for note in listening.notes)


def test_digits_are_real_and_the_same_every_time(digits: DigitsFolders, tmp_path: Path) -> None:
    again = write_digits(tmp_path)
    for first, second in ((digits.train, again.train), (digits.test, again.test)):
        files = {path.relative_to(first): path.read_bytes() for path in first.rglob("*.png")}
        assert files == {path.relative_to(second): path.read_bytes() for path in second.rglob("*.png")}
    assert len(list(digits.train.rglob("*.png"))) == 1433
    assert len(list(digits.test.rglob("*.png"))) == 364
    with Image.open(next(digits.test.rglob("*.png"))) as image:
        assert (image.size, image.mode) == ((SIDE, SIDE), "L")
