"""The cache: a second load decodes nothing, every change of a file is noticed, and neither crashes nor full disks harm anything."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from convnet import decoding, statindex
from convnet.cache import Cache, folder_bytes
from convnet.dataset import Dataset, load
from convnet.errors import DatasetError
from convnet.folders import Side, scan
from convnet.images import ImageSpec
from convnet.progress import Progress, Silent
from convnet_kafka.cli.data import command

SPEC = ImageSpec(12, 12, 1)
Write = Callable[..., Path]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


def loaded(folder: Path, cache: Cache | None, progress: Progress | None = None, spec: ImageSpec = SPEC) -> Dataset:
    progress = progress or Silent()
    return load(scan(folder, progress, cache=cache), spec, progress, cache=cache)


def age(folder: Path) -> None:
    """Make files old enough to be entered into the index, as all but those just written are."""
    for path in folder.rglob("*.*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files for settled whatever their times: changing one sets its ctime, which no test can set back."""
    plain = statindex.digest
    monkeypatch.setattr("convnet.folders.digest", lambda path, name, index, _before, limit: plain(path, name, index, 2**63, limit))


class Counting:
    """Counts what is decoded and what is read for hashing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.decoded = self.hashed = 0
        decode, digest = decoding.decode, statindex.content_digest

        def counted_decode(*arguments: Any) -> Any:
            self.decoded += 1
            return decode(*arguments)

        def counted_digest(data: bytes) -> bytes:
            self.hashed += 1
            return digest(data)

        monkeypatch.setattr(decoding, "decode", counted_decode)
        monkeypatch.setattr(statindex, "content_digest", counted_digest)


def same(one: Dataset, other: Dataset) -> bool:
    sides = ((one.training, other.training), (one.held_out, other.held_out))
    return all(np.array_equal(a.images, b.images) and np.array_equal(a.labels, b.labels) for a, b in sides)


@pytest.mark.usefixtures("settled")
def test_the_second_load_decodes_and_hashes_nothing_and_is_the_same(
    write_classes: Write, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_classes(cat=30, dog=30)
    plain, first = loaded(folder, None), loaded(folder, cache)
    counting = Counting(monkeypatch)
    second = loaded(folder, cache)
    assert (counting.decoded, counting.hashed) == (0, 0)
    assert same(plain, first)
    assert same(plain, second)
    assert plain.fingerprint == second.fingerprint
    assert not second.training.images.flags.writeable
    assert not second.training.images.flags.owndata


@pytest.mark.usefixtures("settled")
def test_changed_added_and_removed_files_are_noticed_and_only_new_ones_decoded(
    write_classes: Write, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_classes(cat=30, dog=30)
    loaded(folder, cache)
    Image.new("L", (12, 12), 7).save(folder / "cat" / "1.png")
    Image.new("L", (12, 12), 9).save(folder / "dog" / "new.png")
    (folder / "dog" / "5.png").unlink()
    counting = Counting(monkeypatch)
    changed = loaded(folder, cache)
    assert (counting.decoded, counting.hashed) == (2, 2)
    assert same(changed, loaded(folder, None))


@pytest.mark.usefixtures("settled")
def test_a_file_rewritten_with_its_old_size_and_mtime_is_noticed(write_classes: Write, cache: Cache) -> None:
    folder = write_classes(cat=20, dog=20)
    path = folder / "cat" / "1.bmp"
    Image.new("L", (12, 12), 1).save(path)
    before, status = loaded(folder, cache).fingerprint, path.stat()
    Image.new("L", (12, 12), 2).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert loaded(folder, cache).fingerprint != before


def test_files_that_changed_a_moment_ago_are_read_again(write_classes: Write, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_classes(cat=10, dog=10)
    scan(folder, Silent(), cache=cache)
    counting = Counting(monkeypatch)
    scan(folder, Silent(), cache=cache)
    assert counting.hashed == 20


def test_unreadable_files_are_remembered_with_their_reasons(write_classes: Write, cache: Cache) -> None:
    folder = write_classes(cat=20, dog=20)
    (folder / "cat" / "a-cut.png").write_bytes((folder / "cat" / "0.png").read_bytes()[:60])
    (folder / "dog" / "z-notes.txt").write_text("x")
    first, second, plain = loaded(folder, cache), loaded(folder, cache), loaded(folder, None)
    assert first.skipped == second.skipped == plain.skipped
    assert len(plain.skipped) == 2
    assert same(plain, first)
    assert same(plain, second)


def test_another_size_and_another_decoder_have_arrays_of_their_own(
    write_classes: Write, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_classes(cat=10, dog=10)
    loaded(folder, cache)
    assert loaded(folder, cache, spec=ImageSpec(6, 6, 3)).training.images.shape[1:] == (6, 6, 3)
    counting = Counting(monkeypatch)
    monkeypatch.setattr("PIL.__version__", "99.0")
    loaded(folder, cache)
    assert counting.decoded == 20


@pytest.mark.parametrize("damage", ["short", "card", "digests", "missing"])
def test_a_damaged_entry_is_decoded_again(write_classes: Write, cache: Cache, damage: str) -> None:
    folder = write_classes(cat=10, dog=10)
    plain = loaded(folder, cache)
    (entry,) = (path.parent for path in cache.folder.rglob("pixels.bin"))
    if damage == "short":
        os.truncate(entry / "pixels.bin", 100)
    elif damage == "card":
        (entry / "card.json").write_text("{")
    elif damage == "digests":
        (entry / "digests.bin").write_bytes(b"x")
    else:
        (entry / "pixels.bin").unlink()
    again = loaded(folder, cache)
    shutil.rmtree(cache.folder)
    assert same(again, loaded(folder, None))
    assert len(plain.training) == len(again.training)


def test_a_damaged_index_is_an_empty_one(write_classes: Write, cache: Cache) -> None:
    folder = write_classes(cat=10, dog=10)
    before = loaded(folder, cache)
    for content in ("", "{", "[]", '{"format": 99}', '{"format": 1, "files": {"cat/1.png": [1]}}'):
        cache.index_file(folder).parent.mkdir(parents=True, exist_ok=True)
        cache.index_file(folder).write_text(content)
        assert loaded(folder, cache).fingerprint == before.fingerprint


def test_a_full_disk_costs_only_the_cache(write_classes: Write, cache: Cache, listening: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.posix_fallocate", full)
    folder = write_classes(cat=10, dog=10)
    assert len(loaded(folder, cache, listening).training)
    assert any("No space left on device); decoding into memory" in note for note in listening.notes)
    assert not list(cache.folder.rglob(".new-*"))


def test_a_cache_that_cannot_be_made_costs_only_the_cache(write_classes: Write, tmp_path: Path, listening: Any) -> None:
    (tmp_path / "file").write_text("x")
    assert len(loaded(write_classes(cat=10, dog=10), Cache(tmp_path / "file"), listening).training)
    assert any("decoding into memory" in note for note in listening.notes)


def test_what_a_killed_writer_left_is_never_read_and_goes_after_a_day(write_classes: Write, cache: Cache) -> None:
    folder = write_classes(cat=10, dog=10)
    loaded(folder, cache)
    (entry,) = (path.parent for path in cache.folder.rglob("pixels.bin"))
    left = entry.with_name(".new-0123")
    entry.rename(left)
    os.utime(left, (1, 1))
    assert same(loaded(folder, cache), loaded(folder, None))
    assert not left.exists()


def test_writers_at_once_end_with_one_whole_entry(write_classes: Write, cache: Cache) -> None:
    folder = write_classes(cat=40, dog=40)
    plain = loaded(folder, None)
    results: list[Dataset] = []
    writers = [threading.Thread(target=lambda: results.append(loaded(folder, cache))) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(results) == 6
    assert all(same(plain, each) for each in results)
    assert len(list(cache.folder.rglob("pixels.bin"))) == 1
    assert not list(cache.folder.rglob(".new-*"))


def test_a_file_that_is_not_what_its_hash_says_is_not_kept(write_classes: Write, cache: Cache) -> None:
    folder = write_classes(cat=20, dog=20)
    found = scan(folder, Silent(), cache=cache)
    Image.new("L", (12, 12), 7).save(folder / "cat" / "1.png")
    data = load(found, SPEC, Silent(), cache=cache)
    assert [(file.name, file.reason) for file in data.skipped] == [("cat/1.png", "it changed while it was being read; run again")]
    assert not list(cache.folder.rglob("pixels.bin"))
    assert loaded(folder, cache).skipped == ()


def test_the_oldest_arrays_go_when_the_limit_is_reached(write_classes: Write, cache: Cache) -> None:
    small = Cache(cache.folder, max_bytes=5_000)
    folder = write_classes(cat=10, dog=10)
    for round_ in range(4):
        Image.new("L", (12, 12), round_).save(folder / "cat" / "1.png")
        data = loaded(folder, small)
    assert len(list(cache.folder.rglob("pixels.bin"))) == 1
    assert same(data, loaded(folder, None))


def test_mapped_pictures_outlive_the_removal_of_the_cache(write_classes: Write, cache: Cache) -> None:
    folder = write_classes(cat=10, dog=10)
    loaded(folder, cache)
    data = loaded(folder, cache)
    cache.clear()
    assert same(data, loaded(folder, None))


def test_the_command_says_how_much_there_is_and_clears_it(write_classes: Write, cache: Cache) -> None:
    loaded(write_classes(cat=10, dog=10), cache)
    environment = {"CONVNET_CACHE_DIR": str(cache.folder)}
    assert "MB; it may be removed at any time" in CliRunner().invoke(command, ["cache"], env=environment).stdout
    assert CliRunner().invoke(command, ["cache", "--clear"], env=environment).exit_code == 0
    assert folder_bytes(cache.folder) == 0


def test_val_and_test_folders_decide_the_sides(write_classes: Write, tmp_path: Path, cache: Cache) -> None:
    write_classes("data/train", cat=20, dog=21)
    write_classes("data/val", cat=5, dog=6, x=0)
    write_classes("data/test", cat=7, dog=8, x=0, y=0)
    for empty in ("val/x", "test/x", "test/y"):
        (tmp_path / "data" / empty).rmdir()
    data = loaded(tmp_path / "data", cache)
    assert data.test is not None
    assert (len(data.training), len(data.held_out), len(data.test)) == (41, 11, 15)
    assert {picture.path.parts[-3] for picture in data.held_out.pictures} == {"val"}
    assert {picture.path.parts[-3] for picture in data.test.pictures} == {"test"}
    (tmp_path / "data/test").rename(tmp_path / "elsewhere")
    assert loaded(tmp_path / "data", cache).test is None
    assert loaded(tmp_path / "data", cache).fingerprint != data.fingerprint


def test_without_val_the_training_part_is_split_by_content(write_classes: Write, tmp_path: Path) -> None:
    write_classes("data/train", cat=30, dog=30)
    write_classes("data/test", cat=7, dog=8, x=0)
    (tmp_path / "data/test/x").rmdir()
    data = loaded(tmp_path / "data", None)
    assert data.test is not None
    assert len(data.test) == 15
    assert 0 < len(data.held_out) < 30


def test_a_picture_of_test_is_not_trained_on(write_classes: Write, tmp_path: Path) -> None:
    folder = write_classes("data/train", cat=20, dog=20)
    for name in ("cat", "dog"):
        shutil.copytree(folder / name, tmp_path / "data/test" / name)
        for number in range(3, 20):
            (tmp_path / "data/test" / name / f"{number}.png").unlink()
    found = scan(tmp_path / "data", Silent())
    assert sum(picture.side is Side.TEST for picture in found.pictures) == 6
    assert [file.reason for file in found.skipped] == ["the same picture stands in test/"] * 6


def test_classes_called_train_and_test_are_classes(write_classes: Write) -> None:
    assert scan(write_classes(train=10, test=10), Silent()).classes == ("test", "train")


def test_a_class_that_only_test_has_is_refused_with_both_lists(write_classes: Write, tmp_path: Path) -> None:
    write_classes("data/train", cat=10, dog=10)
    write_classes("data/test", cat=5, zebra=5, dog=5)
    with pytest.raises(DatasetError, match=r"test holds the class folders zebra, which .*train lacks \(it holds cat, dog\)"):
        scan(tmp_path / "data", Silent())


def test_strict_stops_at_a_file_that_cannot_be_used(write_classes: Write) -> None:
    folder = write_classes(cat=10, dog=10)
    load(scan(folder, Silent()), SPEC, Silent(), strict=True)
    (folder / "cat" / "cut.png").write_bytes(b"\x89PNG")
    with pytest.raises(DatasetError, match=r"1 files of .* cannot be used: cat/cut\.png: undecodable.*without --strict"):
        load(scan(folder, Silent()), SPEC, Silent(), strict=True)
