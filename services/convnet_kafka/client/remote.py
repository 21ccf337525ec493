"""Pictures behind an address (`s3://`, `gs://`, `http://`, `memory://`, ...) through fsspec: an extra, loaded only when it is used.

Listed folder by folder and fetched some at a time: what the store can send side by side it does, and only a few megabytes wait here.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from typing import IO, Any, NamedTuple, cast

from convnet_kafka.client.archives import MAX_FILE_BYTES, Unusable, too_large
from convnet_kafka.client.errors import SourceError
from convnet_kafka.client.label import UNREADABLE
from convnet_kafka.errors import SettingsError

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_MAGIC = re.compile(r"[*?\[]")
# Fetched side by side; together no more bytes than this, where the store says how large they are.
_TOGETHER = 64
_TOGETHER_BYTES = 8 * 1024 * 1024
_INSTALL = "pip install 'convnet-kafka[fsspec]'"
# What fsspec loads for a kind of address; of others it says so itself.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}


class Entry(NamedTuple):
    """A file that was listed.

    Attributes:
        name: its path below the folder that was asked for.
        path: where the store has it.
        size: bytes, or None where the store does not say.
    """

    name: str
    path: str
    size: int | None


class Unlisted(NamedTuple):
    """A folder that could not be listed, by its name, and why."""

    name: str
    detail: str


def is_url(path: str) -> bool:
    """Whether a source is an address and not a path."""
    return _URL.match(path) is not None


class Remote:
    """One address: a file, a folder, an archive, or a pattern.

    Args:
        url: as fsspec knows it.

    Raises:
        SettingsError: fsspec, or what it needs for this kind of address, is not installed.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            core = importlib.import_module("fsspec.core")
        except ImportError:
            raise SettingsError(f"reading {url} needs fsspec: {_INSTALL}") from None
        try:
            # Listings are read once; what a cache kept of them would be a second copy of a million names.
            self._files, self._path = core.url_to_fs(url, use_listings_cache=False)
        except ImportError as error:
            package = _PACKAGES.get(url.partition("://")[0].lower())
            raise SettingsError(f"reading {url} needs another package: {f'pip install {package}' if package else error}") from error
        except ValueError as error:
            raise SettingsError(f"{url} is no address that fsspec knows: {error}") from error

    @property
    def name(self) -> str:
        """Its last part, as a prefix of names or as a name."""
        return self._path.rstrip("/").rpartition("/")[2] or "image"

    @property
    def is_pattern(self) -> bool:
        """Whether it is to be expanded."""
        return _MAGIC.search(self.url.partition("://")[2]) is not None and not self.url.startswith(("http://", "https://"))

    def kind(self) -> str:
        """`folder`, `file`, `pattern`, or `nothing`.

        Raises:
            SourceError: the store does not say: it cannot be reached, or wants credentials.
        """
        if self.is_pattern:
            return "pattern"
        if self.url.startswith(("http://", "https://")):
            # Whatever answers is a file; what does not is told when it is fetched. Only a page of links can be a folder.
            return "folder" if self.url.endswith("/") else "file"
        try:
            kind = self._files.info(self._path)["type"]
        except FileNotFoundError:
            return "nothing"
        except Exception as error:
            raise SourceError(f"{self.url} cannot be read: {_words(error)}") from error
        return "folder" if kind == "directory" else "file"

    def open(self) -> IO[bytes]:
        """The file, to be read from its start."""
        return cast("IO[bytes]", self._files.open(self._path, "rb"))

    def entries(self) -> Iterator[list[Entry] | Unlisted]:
        """All files, some at a time, in order of their names within each folder; hidden ones are left out."""
        kind = self.kind()
        if kind == "folder":
            yield from self._walk()
        elif kind == "file":
            yield [Entry(self.name, self._path, None)]
        elif kind == "pattern":
            yield from self._expand()

    def fetch(self, entries: Sequence[Entry]) -> list[bytes | Unusable]:
        """The files' contents, in the order of the entries."""
        known = [entry.path for entry in entries if entry.size is not None and entry.size <= MAX_FILE_BYTES]
        try:
            # One that fails does not stop the others.
            fetched = self._files.cat(known, on_error="return") if known else {}
        except Exception as error:  # noqa: BLE001 - a store's driver raises what it likes; it is told of every file
            fetched = dict.fromkeys(known, error)
        # A single path is answered with its content alone.
        contents: dict[str, Any] = fetched if isinstance(fetched, dict) else {known[0]: fetched}
        return [self._content(entry, contents) for entry in entries]

    def _content(self, entry: Entry, contents: dict[str, Any]) -> bytes | Unusable:
        if entry.size is None:
            return self._read(entry.path)
        if entry.size > MAX_FILE_BYTES:
            return too_large(entry.size)
        content = contents.get(entry.path)
        if isinstance(content, bytes):
            return content
        return Unusable(UNREADABLE, f"the file cannot be read: {_words(content) if content is not None else 'it is gone'}")

    def _read(self, path: str) -> bytes | Unusable:
        """A file of a size that nobody knows: no more of it than a server could take."""
        try:
            with self._files.open(path, "rb") as file:
                content = cast("bytes", file.read(MAX_FILE_BYTES + 1))
        except Exception as error:  # noqa: BLE001 - a store's driver raises what it likes
            return Unusable(UNREADABLE, f"the file cannot be read: {_words(error)}")
        return content if len(content) <= MAX_FILE_BYTES else too_large(len(content))

    def _walk(self) -> Iterator[list[Entry] | Unlisted]:
        waiting = [(self._path, "")]
        while waiting:
            folder, prefix = waiting.pop()
            try:
                listing = self._files.ls(folder, detail=True)
            except Exception as error:  # noqa: BLE001 - a store's driver raises what it likes
                yield Unlisted(prefix.rstrip("/") or self.name, f"the folder cannot be read: {_words(error)}")
                continue
            files, folders = [], []
            for info in listing:
                path = info["name"].rstrip("/")
                name = path.rpartition("/")[2]
                if path == folder.rstrip("/") or not name or name.startswith("."):
                    continue  # a store's marker of the folder itself, or hidden
                if info["type"] == "directory":
                    folders.append((info["name"], f"{prefix}{name}/"))
                else:
                    files.append(Entry(prefix + name, info["name"], info.get("size")))
            yield from _together(sorted(files))
            waiting.extend(sorted(folders, reverse=True))

    def _expand(self) -> Iterator[list[Entry] | Unlisted]:
        """Files that match, named by their path below the last folder without a pattern in it."""
        fixed = _MAGIC.split(self._path, maxsplit=1)[0].rpartition("/")[0]
        try:
            found = self._files.glob(self._path, detail=True)
        except Exception as error:  # noqa: BLE001 - a store's driver raises what it likes
            yield Unlisted(self.name, f"it cannot be read: {_words(error)}")
            return
        files = [
            Entry(path[len(fixed) :].lstrip("/"), path, info.get("size"))
            for path, info in sorted(found.items())
            if info["type"] != "directory" and not path.rpartition("/")[2].startswith(".")
        ]
        yield from _together(files)


def _together(files: Sequence[Entry]) -> Iterator[list[Entry]]:
    """The files in groups that are fetched side by side."""
    group: list[Entry] = []
    held = 0
    for entry in files:
        if group and (len(group) >= _TOGETHER or held + (entry.size or 0) > _TOGETHER_BYTES):
            yield group
            group, held = [], 0
        group.append(entry)
        held += entry.size or 0
    if group:
        yield group


def _words(error: object) -> str:
    """What an error says, or its kind where it says nothing."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
