"""`data fetch`: an archive behind an address becomes class folders, and nothing else than that archive does."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from convnet_kafka.cli.data import command
from convnet_kafka.cli.fetch import ArchiveError, fetch
from convnet_kafka.errors import SettingsError


def tar_of(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


@pytest.fixture
def served() -> Iterator[dict[str, bytes]]:
    """Path -> content of a web server; its address is under the key `url`."""
    content: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = content.get(self.path)
            self.send_response(200 if found is not None else 404)
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    content["url"] = f"http://127.0.0.1:{server.server_port}".encode()
    yield content
    server.shutdown()
    server.server_close()


def url(served: dict[str, bytes], archive: bytes) -> str:
    served["/a"] = archive
    return f"{served['url'].decode()}/a"


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PICTURES = {"cat/1.png": b"one", "dog/2.png": b"two"}


@pytest.mark.parametrize("archive", [tar_of(PICTURES), tar_of(PICTURES, "w"), zip_of(PICTURES)], ids=["tar.gz", "tar", "zip"])
def test_an_archive_becomes_class_folders(served: dict[str, bytes], tmp_path: Path, archive: bytes) -> None:
    digest = hashlib.sha256(archive).hexdigest()
    assert fetch(url(served, archive), tmp_path / "data", sha256=digest) == 2
    assert files_in(tmp_path) == {f"data/{name}": content for name, content in PICTURES.items()}


def test_a_single_folder_around_the_classes_is_left_out(served: dict[str, bytes], tmp_path: Path) -> None:
    fetch(url(served, tar_of({f"pictures/{name}": content for name, content in PICTURES.items()})), tmp_path / "data")
    assert files_in(tmp_path / "data") == PICTURES


def test_another_archive_than_the_one_meant_is_refused_and_leaves_nothing(served: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="another file"):
        fetch(url(served, tar_of(PICTURES)), tmp_path / "data", sha256="0" * 64)
    assert files_in(tmp_path) == {}


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "..\\out.png"])
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_no_file_leads_out_of_the_folder(served: dict[str, bytes], tmp_path: Path, name: str, pack: object) -> None:
    with pytest.raises(ArchiveError, match="leads out"):
        fetch(url(served, pack({name: b"x"})), tmp_path / "deep" / "data")  # type: ignore[operator]
    assert files_in(tmp_path) == {}


def test_links_are_passed_over(served: dict[str, bytes], tmp_path: Path) -> None:
    packed = io.BytesIO(tar_of(PICTURES, "w"))
    with tarfile.open(fileobj=packed, mode="a") as tar:
        link = tarfile.TarInfo("cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    fetch(url(served, packed.getvalue()), tmp_path / "data")
    assert files_in(tmp_path / "data") == PICTURES


@pytest.mark.parametrize("archive", [b"no archive at all", tar_of(PICTURES)[:60], tar_of({})], ids=["no archive", "cut", "empty"])
def test_what_is_no_whole_archive_is_said(served: dict[str, bytes], tmp_path: Path, archive: bytes) -> None:
    with pytest.raises(ArchiveError, match=r"no whole tar or zip|holds no files"):
        fetch(url(served, archive), tmp_path / "data")


def test_an_address_that_gives_nothing_is_said(served: dict[str, bytes], tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="404"):
        fetch(f"{served['url'].decode()}/missing", tmp_path / "data")
    with pytest.raises(SettingsError, match="http://"):
        fetch("file:///etc/passwd", tmp_path / "data")


def test_a_folder_that_holds_something_is_left_as_it_is(served: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = CliRunner().invoke(command, ["fetch", url(served, tar_of(PICTURES)), str(tmp_path)])
    assert isinstance(done.exception, SettingsError)
    assert files_in(tmp_path) == {"mine.txt": b"mine"}
