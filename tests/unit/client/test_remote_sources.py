"""Sources behind addresses: what fsspec opens, and what is said where it cannot."""

from __future__ import annotations

import functools
import http.server
import importlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from convnet_kafka.client.errors import SourceError
from convnet_kafka.client.packing import pack, pick
from convnet_kafka.client.sources import Sources
from convnet_kafka.errors import SettingsError
from support.sources import CATS, failures, found, tarred, write


@pytest.fixture
def store() -> Iterator[Any]:
    """An empty store behind memory:// addresses."""
    memory = pytest.importorskip("fsspec").filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    yield memory
    memory.store.clear()


def test_a_folder_behind_an_address_is_sent_like_one_here(store: Any) -> None:
    for name in ("z.png", "a/1.png", "a/c/9.png", "a/.hidden.png", ".git/2.png", "b/1.png"):
        store.pipe(f"/pictures/{name}", name.encode())
    names = found("memory://pictures")
    assert list(names) == ["z.png", "a/1.png", "a/c/9.png", "b/1.png"]
    assert names["a/c/9.png"] == b"a/c/9.png"
    assert list(found("memory://pictures/a", "memory://pictures/b")) == ["a/1.png", "a/c/9.png", "b/1.png"]


def test_single_files_archives_and_patterns_behind_an_address(store: Any) -> None:
    store.pipe("/d/one.png", b"one")
    store.pipe("/d/two.jpg", b"two")
    store.pipe("/d/cats.tar", tarred(CATS))
    assert found("memory://d/one.png") == {"one.png": b"one"}
    assert found("memory://d/cats.tar") == CATS
    assert found("memory://d/*.png") == {"one.png": b"one"}
    store.pipe("/d/cut.tar", tarred(CATS)[:700])
    assert "damaged" in (failures("memory://d/cut.tar")[0].detail or "")


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """A folder behind http://, as the standard library serves it."""
    pytest.importorskip("fsspec")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_pictures_behind_http(website: str, tmp_path: Path) -> None:
    write(tmp_path / "one.png", b"one")
    write(tmp_path / "d" / "a" / "2.png", b"two")
    write(tmp_path / "cats.tar", tarred(CATS))
    assert found(f"{website}/one.png") == {"one.png": b"one"}
    assert found(f"{website}/cats.tar") == CATS
    assert found(f"{website}/d/") == {"a/2.png": b"two"}
    (failed,) = failures(f"{website}/gone.png")
    assert (failed.name, failed.error) == ("gone.png", "unreadable")


def test_files_here_may_be_given_by_address_without_any_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib, "import_module", None)
    write(tmp_path / "with space" / "1.png", b"one")
    assert found(f"{(tmp_path / 'with space').as_uri()}") == {"1.png": b"one"}


def test_a_file_that_cannot_be_fetched_is_named_and_the_others_are_sent(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1.png", "2.png", "3.png"):
        store.pipe(f"/d/{name}", name.encode())
    whole = type(store).cat_file

    def cat_file(self: Any, path: str, *args: Any, **options: Any) -> bytes:
        if path.endswith("2.png"):
            raise PermissionError(13, "Access Denied")
        content: bytes = whole(self, path, *args, **options)
        return content

    monkeypatch.setattr(type(store), "cat_file", cat_file)
    packed = pack(Sources("memory://d"), 100, 10**6)
    assert packed.batch.names == ["1.png", "3.png"]
    assert [(label.name, label.error, label.detail) for label in packed.failures] == [
        ("2.png", "unreadable", "the file cannot be read: Access Denied")
    ]


def test_a_folder_that_cannot_be_listed_is_named(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store.pipe("/d/1.png", b"one")
    store.pipe("/d/locked/2.png", b"two")
    listing = type(store).ls

    def ls(self: Any, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith("locked"):
            raise PermissionError(13, "Access Denied")
        return listing(self, path, *args, **options)

    monkeypatch.setattr(type(store), "ls", ls)
    packed = pack(Sources("memory://d"), 100, 10**6)
    assert packed.batch.names == ["1.png"]
    assert [label.name for label in packed.failures] == ["locked"]


def test_only_wanted_files_are_fetched_again(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1.png", "2.png"):
        store.pipe(f"/d/{name}", name.encode())
    fetched: list[str] = []
    whole = type(store).cat_file

    def cat_file(self: Any, path: str, *args: Any, **options: Any) -> bytes:
        fetched.append(path)
        content: bytes = whole(self, path, *args, **options)
        return content

    monkeypatch.setattr(type(store), "cat_file", cat_file)
    assert dict(pick(Sources("memory://d", wanted={"2.png"}), {"2.png"})) == {"2.png": b"2.png"}
    assert fetched == ["/d/2.png"]


def test_addresses_that_lead_nowhere_or_that_nobody_knows(store: Any) -> None:
    with pytest.raises(SourceError, match="no file or folder memory://nowhere"):
        Sources("memory://nowhere").check()
    with pytest.raises(SettingsError, match="gopher://x is no address"):
        Sources("gopher://x").check()


def test_without_a_stores_own_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    core = pytest.importorskip("fsspec.core")

    def missing(*_args: object, **_options: object) -> None:
        raise ImportError("something is missing")

    monkeypatch.setattr(core, "url_to_fs", missing)
    for url, words in (("s3://bucket", "pip install s3fs"), ("gs://bucket", "pip install gcsfs"), ("sftp://host", "something is missing")):
        with pytest.raises(SettingsError, match=words):
            Sources(url).check()


def test_without_fsspec_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SettingsError, match=r"pip install 'convnet-kafka\[fsspec\]'"):
        Sources("s3://bucket").check()
