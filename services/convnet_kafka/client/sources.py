"""Where images come from: folders, files, and tar and zip archives, walked lazily and named uniquely.

Names within a job: a file is named by its path relative to the folder or archive it was found in, with `/`. With several paths given,
what lies in a folder or archive has that one's own name before it. If a name is taken all the same (two files of one name from
different folders), the later one is named by its whole path as given, and then by a number at its end. The same path given twice counts
once. So the same command always gives the same names, and sending again is harmless.
"""

from __future__ import annotations

import os
import posixpath
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from convnet_kafka.client import archives
from convnet_kafka.client.label import BAD_NAME, UNREADABLE, Label, failure
from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.messages import MAX_NAME_BYTES

# What one take holds of images that are in memory already (from archives), beside the last one.
_TAKE_BYTES = 8 * 1024 * 1024


class SourceError(ConvnetKafkaError):
    """There is nothing to send where the caller said."""

    exit_code = 2


class Found(NamedTuple):
    """An image to send.

    Attributes:
        name: its name within the job.
        path: the file to read, or None when it came from an archive.
        content: its bytes when it came from an archive, else None.
    """

    name: str
    path: str | None
    content: bytes | None


@dataclass(slots=True)
class Skipped:
    """What was left out on purpose, by kind."""

    hidden: int = 0
    special: int = 0
    loops: int = 0

    def __str__(self) -> str:
        parts = [(self.hidden, "hidden"), (self.special, "neither file nor folder"), (self.loops, "links back to a folder above")]
        return ", ".join(f"{count:,} {what}" for count, what in parts if count)


class Sources:
    """All images of some paths, in order. Threads may take from it at once.

    Args:
        paths: folders, files and archives.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        # By what they really are, so that one path given twice is one source.
        once: dict[str, str] = {}
        for path in paths:
            once.setdefault(os.path.realpath(path), os.fspath(path))
        self._paths = list(once.values())
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        self._back: deque[Found | Label] = deque()
        self._items = self._walk_all()
        self.skipped = Skipped()

    def check(self) -> None:
        """Make sure that there is something to look into, reading nothing.

        Raises:
            SourceError: no path was given, or one does not exist.
        """
        if not self._paths:
            raise SourceError("no folder or file was given: name one, or set IMG_DIR")
        for path in self._paths:
            if not os.path.exists(path):  # noqa: PTH110 - strings all along: Path costs microseconds an image
                raise SourceError(f"there is no file or folder {path}: check the path (it is relative to {os.getcwd()})")  # noqa: PTH109

    def nothing_found(self) -> SourceError:
        """The error for paths that hold no image."""
        left_out = f" (left out: {self.skipped})" if str(self.skipped) else ""
        return SourceError(
            f"no files to send in {', '.join(self._paths)}{left_out}: name a folder with pictures, pictures, or a tar or zip"
        )

    def take(self, most: int) -> list[Found | Label]:
        """The next images, at most so many, or failures by name; an empty list when there are no more."""
        taken: list[Found | Label] = []
        held = 0
        with self._lock:
            while len(taken) < most and held < _TAKE_BYTES:
                item = self._back.popleft() if self._back else next(self._items, None)
                if item is None:
                    break
                taken.append(item)
                if type(item) is Found and item.content is not None:
                    held += len(item.content)
        return taken

    def put_back(self, items: Sequence[Found | Label]) -> None:
        """Give back what was taken and not used; it comes next."""
        with self._lock:
            self._back.extendleft(reversed(items))

    def count(self) -> int | None:
        """Files there are now, without opening any; None when an archive is among them. About 1 us a file."""
        total = 0
        for path in self._paths:
            if os.path.isdir(path):  # noqa: PTH112
                total += sum(1 for _ in Sources([path])._walk_all())  # noqa: SLF001 - a fresh one of our own
            elif archives.is_archive(path):
                return None
            else:
                total += 1
        return total

    def _walk_all(self) -> Iterator[Found | Label]:
        several = len(self._paths) > 1
        for path in self._paths:
            base = os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119
            prefix = f"{base}/" if several else ""
            if os.path.isdir(path):  # noqa: PTH112
                yield from self._walk(path, prefix)
            elif archives.is_archive(path):
                yield from self._unpack(path, prefix)
            else:
                yield self._named(base, path, None, path)

    def _walk(self, root: str, prefix: str) -> Iterator[Found | Label]:
        """A folder: its files in order of their names, then its folders; links are followed unless they lead back up."""
        waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(root, prefix, frozenset())]
        while waiting:
            folder, prefix, above = waiting.pop()
            try:
                status = os.stat(folder)  # noqa: PTH116
                identity = (status.st_dev, status.st_ino)
                if identity in above:
                    self.skipped.loops += 1
                    continue
                files, folders, broken = self._list(folder)
            except OSError as error:
                yield failure(_clean(prefix.rstrip("/")) or folder, UNREADABLE, f"the folder cannot be read: {error.strerror}")
                continue
            start = folder.rstrip("/") + "/"
            for name in files:
                yield self._named(prefix + name, start + name, None, start + name)
            for name, detail in broken:
                yield failure(_clean(prefix + name), UNREADABLE, detail)
            inside = above | {identity}
            waiting.extend((start + name, f"{prefix}{name}/", inside) for name in reversed(folders))

    def _list(self, folder: str) -> tuple[list[str], list[str], list[tuple[str, str]]]:
        """Names of files, of folders, and of links that lead nowhere, each sorted. Names only: a flat folder may hold a million."""
        files: list[str] = []
        folders: list[str] = []
        broken: list[tuple[str, str]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    self.skipped.hidden += 1
                    continue
                try:
                    if entry.is_file():
                        files.append(name)
                    elif entry.is_dir():
                        folders.append(name)
                    elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                        broken.append((name, "a link to a file that is not there"))
                    else:
                        self.skipped.special += 1
                except OSError as error:
                    broken.append((name, f"cannot be read: {error.strerror}"))
        files.sort()
        folders.sort()
        broken.sort()
        return files, folders, broken

    def _unpack(self, path: str, prefix: str) -> Iterator[Found | Label]:
        images = 0
        try:
            for name, content in archives.members(path):
                inside = posixpath.normpath(f"/{name}").lstrip("/")
                if any(part.startswith(".") for part in inside.split("/")):
                    self.skipped.hidden += 1
                elif isinstance(content, bytes):
                    images += 1
                    yield self._named(prefix + inside, None, content, f"{path}/{inside}")
                elif content is None:
                    self.skipped.special += 1
                else:
                    yield failure(_clean(prefix + inside), content.code, content.detail)
        except archives.DAMAGED as error:
            # By its own name: the images before the damage have theirs.
            yield failure(_clean(path), UNREADABLE, f"the archive is damaged after {images:,} images: {error}")

    def _named(self, name: str, path: str | None, content: bytes | None, whole: str) -> Found | Label:
        """An image under a name that no other has."""
        if not name.isascii():
            name = _clean(name)
        if name in self._taken:
            name = self._another_name(name, _clean(whole).lstrip("./"))
        self._taken.add(name)
        if len(name) * 4 > MAX_NAME_BYTES and len(name.encode()) > MAX_NAME_BYTES:
            return failure(name, BAD_NAME, f"the name has more than {MAX_NAME_BYTES} bytes of UTF-8")
        return Found(name, path, content)

    def _another_name(self, name: str, whole: str) -> str:
        if whole not in self._taken:
            return whole
        number = 2
        while f"{name}~{number}" in self._taken:
            number += 1
        return f"{name}~{number}"


def _clean(name: str) -> str:
    """The name as Unicode: bytes of a file name that are not UTF-8 become U+FFFD."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
