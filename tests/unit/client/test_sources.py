"""What is found, in what order, and under which names."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convnet_kafka.client.errors import SourceError
from convnet_kafka.client.packing import pack, pick
from convnet_kafka.client.sources import Sources
from convnet_kafka.client.tarstream import END, member
from support.fake_server import untar
from support.sources import CATS, failures, found, sent, tarred, write
from support.waiting import until


def test_a_folder_is_walked_in_order_and_named_by_relative_path(tmp_path: Path) -> None:
    for name in ("b/2.png", "b/1.png", "a/c/9.png", "z.png", "a/1.png"):
        write(tmp_path / name)
    assert list(found(tmp_path)) == ["z.png", "a/1.png", "a/c/9.png", "b/1.png", "b/2.png"]


def test_hidden_files_and_what_is_no_file_are_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    write(tmp_path / ".hidden.png")
    write(tmp_path / ".git" / "2.png")
    os.mkfifo(tmp_path / "pipe")
    sources = Sources([tmp_path])
    assert pack(sources, 10, 10**6).batch.names == ["1.png"]
    assert (sources.skipped.hidden, sources.skipped.special) == (2, 1)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "self").symlink_to(tmp_path / "self")
    sources = Sources([tmp_path])
    packed = pack(sources, 10_000, 10**9)
    assert packed.batch.names == ["a/1.png", "b/1.png"]
    assert sources.skipped.loops == 2
    assert [label.name for label in packed.failures] == ["self"]


def test_a_link_to_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone.png").symlink_to(tmp_path / "nothing")
    (failed,) = failures(tmp_path)
    assert (failed.name, failed.error) == ("gone.png", "unreadable")


def test_a_file_that_vanishes_before_it_is_read_is_named(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    write(tmp_path / "2.png")
    sources = Sources([tmp_path])
    sources.put_back(sources.take(10))
    (tmp_path / "1.png").unlink()
    packed = pack(sources, 10, 10**6)
    assert packed.batch.names == ["2.png"]
    assert [(label.name, label.error) for label in packed.failures] == [("1.png", "unreadable")]


def test_a_file_that_became_something_else_is_named(tmp_path: Path) -> None:
    write(tmp_path / "1.png")
    sources = Sources([tmp_path])
    sources.put_back(sources.take(10))
    (tmp_path / "1.png").unlink()
    os.mkfifo(tmp_path / "1.png")
    (failed,) = pack(sources, 10, 10**6).failures
    assert (failed.name, failed.detail) == ("1.png", "it is no longer a file")


def test_files_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    paths = [write(tmp_path / folder / "1.png", folder.encode()) for folder in ("a", "b")]
    names = found(*paths)
    assert list(names) == ["1.png", str(paths[1]).lstrip("/")]
    assert list(names.values()) == [b"a", b"b"]


def test_several_folders_are_named_apart_and_the_same_one_counts_once(tmp_path: Path) -> None:
    for folder in ("x/cats", "x/dogs", "y/cats"):
        write(tmp_path / folder / "1.png", folder.encode())
    paths = [tmp_path / "x/cats", tmp_path / "x/dogs", tmp_path / "x/../x/cats"]
    assert list(found(*paths)) == ["cats/1.png", "dogs/1.png"]
    assert len(found(tmp_path / "x/cats", tmp_path / "y/cats")) == 2


def test_names_that_differ_only_in_bytes_that_are_not_utf8_stay_apart(tmp_path: Path) -> None:
    for raw in (b"\xff.png", b"\xfe.png"):
        write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)), raw)
    names = found(tmp_path)
    assert len(names) == 2
    assert "\ufffd.png" in names


@pytest.mark.parametrize("name", ["a.png", "x" * 100, "x" * 101, "ü/é😀.png", "d/" + "y" * 300, "with space\nand line.png"])
@pytest.mark.parametrize("size", [1, 511, 512, 513, 70_000])
def test_members_are_what_the_standard_library_reads(name: str, size: int) -> None:
    content = os.urandom(size)
    assert list(untar(member(name, content) + END)) == [(name, content)]


def test_a_name_no_server_takes_is_refused_here(tmp_path: Path) -> None:
    write(tmp_path / ("d" * 250) / ("e" * 250) / ("é" * 120) / ("ü" * 120) / ("ö" * 120) / "1.png")
    (failed,) = failures(tmp_path)
    assert failed.error == "bad-name"


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.xz", "zip"])
def test_archives_are_sent_image_by_image(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"pictures.{ending}"
    contents = {f"d/{number}.png": os.urandom(2000) for number in range(200)}
    if ending == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.mkdir("d")
            for name, content in contents.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, f"w:{ending.partition('.')[2]}") as tar:
            tar.addfile(tarfile.TarInfo("./.hidden"), io.BytesIO())
            for name, content in contents.items():
                info = tarfile.TarInfo(f"./{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    assert found(path) == contents


def test_a_damaged_archive_gives_what_is_whole_and_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pictures.tar"
    path.write_bytes(member("1.png", b"x" * 100) + member("2.png", b"y" * 100_000)[:5000])
    packed = pack(Sources([path]), 10, 10**6)
    assert packed.batch.names == ["1.png"]
    (failed,) = packed.failures
    assert "damaged after 1 images" in (failed.detail or "")


def test_a_full_batch_gives_back_what_it_did_not_use(tmp_path: Path) -> None:
    for number in range(100):
        write(tmp_path / f"{number:02d}.png", os.urandom(1000))
    sources = Sources([tmp_path])
    sizes, names = [], []
    while (batch := pack(sources, 30, 10_000).batch).names:
        sizes.append(len(batch))
        names += batch.names
    assert names == [f"{number:02d}.png" for number in range(100)]
    assert max(sizes) == 7


def test_nothing_to_send_says_where_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file or folder .*nowhere"):
        Sources([tmp_path / "nowhere"]).check()
    write(tmp_path / ".hidden")
    sources = Sources([tmp_path])
    assert sources.take(1) == []
    assert "1 hidden" in str(sources.nothing_found())


def test_files_can_be_counted_without_taking_them(tmp_path: Path) -> None:
    for number in range(7):
        write(tmp_path / str(number) / "1.png")
    sources = Sources([tmp_path])
    assert sources.count() == 7
    assert len(sources.take(100)) == 7
    assert Sources([write(tmp_path / "a.tar")]).count() is None


def test_pictures_in_memory_are_sent_under_their_names() -> None:
    assert sent(CATS) == CATS
    assert sent(list(CATS.items())) == CATS
    assert sent((name, content) for name, content in CATS.items()) == CATS
    assert sent(("one.png", b"one")) == {"one.png": b"one"}
    assert list(sent([("a.png", b"1"), ("a.png", b"2")])) == ["a.png", "a.png~2"]


def test_open_files_are_sent_as_pictures_or_as_archives(tmp_path: Path) -> None:
    with write(tmp_path / "one.png", b"one").open("rb") as picture:
        assert sent(picture) == {"one.png": b"one"}
    assert sent(io.BytesIO(b"x")) == {"image": b"x"}
    assert sent(("dog.png", io.BytesIO(b"x"))) == {"dog.png": b"x"}
    assert sent([("stdin.tar", io.BytesIO(tarred(CATS)))]) == CATS
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in CATS.items():
            archive.writestr(name, content)
    packed.seek(0)
    assert sent(("cats.zip", packed)) == CATS
    (failed,) = failures(("cats.tar", io.BytesIO(tarred(CATS)[:700])))
    assert "damaged" in (failed.detail or "")
    with pytest.raises(TypeError, match="to read bytes"):
        sent(("text.png", io.StringIO("x")))


def test_what_cannot_be_a_source_is_told_when_it_is_given() -> None:
    with pytest.raises(TypeError, match="not int"):
        Sources([1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="not bytes"):
        Sources([b"x"])  # type: ignore[list-item]


def test_paths_made_one_by_one_and_pictures_may_be_mixed(tmp_path: Path) -> None:
    paths = [write(tmp_path / "x" / f"{number}.png", str(number).encode()) for number in range(3)]
    names = sent(itertools.chain(paths, [("mine.png", b"m")]))
    assert names == {"0.png": b"0", "1.png": b"1", "2.png": b"2", "mine.png": b"m"}


def test_patterns_are_expanded_and_named_from_their_last_plain_folder(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.jpg", "b/c/3.png", ".hidden/4.png", "b/.5.png"):
        write(tmp_path / name)
    assert list(found(f"{tmp_path}/**/*.png")) == ["a/1.png", "b/c/3.png"]
    assert list(found(f"{tmp_path}/[ab]")) == ["a/1.png", "a/2.jpg", "b/c/3.png"]
    assert Sources([f"{tmp_path}/*/*.png"]).count() == 1
    with pytest.raises(SourceError, match=r"no file or folder .*\*\.gif"):
        Sources([f"{tmp_path}/*.gif"]).check()


def test_a_name_that_looks_like_a_pattern_is_taken_as_it_stands(tmp_path: Path) -> None:
    assert found(write(tmp_path / "x[1].png", b"one")) == {"x[1].png": b"one"}


def test_one_missing_path_among_several_is_named_unless_all_must_be_there(tmp_path: Path) -> None:
    sources = Sources([write(tmp_path / "1.png"), tmp_path / "gone"])
    sources.check()
    packed = pack(sources, 10, 10**6)
    assert packed.batch.names == ["1.png"]
    assert [(label.name, label.error) for label in packed.failures] == [(str(tmp_path / "gone"), "unreadable")]
    with pytest.raises(SourceError, match="gone"):
        Sources([tmp_path / "1.png", tmp_path / "gone"]).check(strict=True)


def test_what_a_slow_source_gave_is_sent_before_it_gives_more() -> None:
    more = threading.Event()

    def slow() -> Iterator[tuple[str, bytes]]:
        yield "1.png", b"one"
        more.wait(20)
        yield "2.png", b"two"

    sources = Sources(slow())
    assert pack(sources, 100, 10**6).batch.names == ["1.png"]
    more.set()
    assert pack(sources, 100, 10**6).batch.names == ["2.png"]
    assert pack(sources, 100, 10**6).batch.names == []


def test_an_endless_source_is_taken_from_no_faster_than_it_is_sent() -> None:
    made = itertools.count()
    sources = Sources((f"{next(made)}.png", bytes(100_000)) for _ in itertools.count())
    assert len(pack(sources, 10, 10**9).batch) == 10
    assert len(pack(sources, 10, 10**9).batch) == 10
    assert next(made) < 200
    sources.stop()
    assert sources.take(10) == []


def test_who_waits_for_a_silent_source_can_be_let_go() -> None:
    more = threading.Event()

    def silent() -> Iterator[tuple[str, bytes]]:
        more.wait(20)
        yield "1.png", b"one"

    sources = Sources(silent())
    taken: list[Any] = []
    waiting = threading.Thread(target=lambda: taken.append(sources.take(1)))
    waiting.start()
    until(lambda: sources._feeds)
    sources.stop()
    waiting.join(10)
    assert taken == [[]]
    more.set()


def test_what_a_source_raises_reaches_whoever_takes() -> None:
    def broken() -> Iterator[tuple[str, bytes]]:
        yield "1.png", b"one"
        raise ValueError("the camera is gone")

    with pytest.raises(ValueError, match="the camera is gone"):
        sent(broken())


def test_some_images_can_be_read_once_more_by_name(tmp_path: Path) -> None:
    write(tmp_path / "a" / "1.png", b"one")
    write(tmp_path / "b.tar", tarred(CATS))
    paths = [tmp_path / "a", tmp_path / "b.tar"]
    names = set(found(*paths))
    assert dict(pick(Sources(paths), names - {"b.tar/cats/2.png"})) == {"a/1.png": b"one", "b.tar/cats/1.png": b"one"}
