"""What is found, in what order, and under which names."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from convnet_kafka.client.label import Label
from convnet_kafka.client.packing import pack
from convnet_kafka.client.sources import SourceError, Sources
from convnet_kafka.client.tarstream import END, member
from support.fake_server import untar


def found(*paths: Path | str) -> dict[str, bytes]:
    """Names and contents as they would be sent, in order."""
    packed = pack(Sources(paths), 10_000, 10**9)
    assert packed.failures == []
    return dict(untar(b"".join(packed.batch.body())))


def failures(*paths: Path) -> list[Label]:
    return pack(Sources(paths), 10_000, 10**9).failures


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


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
