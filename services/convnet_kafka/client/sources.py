"""Where images come from: folders, files, patterns, archives, addresses, open files, and what the caller's own code makes; named uniquely.

Names within a job: a file is named by its path relative to the folder, pattern or archive it was found in, with `/`. With several sources
given, what lies in a folder or archive has that one's own name before it. If a name is taken all the same (two files of one name from
different folders), the later one is named by its whole path as given, and then by a number at its end. The same path given twice counts
once. So the same command always gives the same names, and sending again is harmless.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from convnet_kafka.client import archives, folders, given
from convnet_kafka.client.errors import SourceError
from convnet_kafka.client.feed import LINGER_S, PAUSE, Feed, Pause
from convnet_kafka.client.folders import Skipped
from convnet_kafka.client.given import Given
from convnet_kafka.client.label import BAD_NAME, UNREADABLE, Label, failure
from convnet_kafka.client.remote import Remote, Unlisted, is_url
from convnet_kafka.messages import MAX_NAME_BYTES

# What one take holds of images that are in memory already (from archives), beside the last one.
_TAKE_BYTES = 8 * 1024 * 1024


class Found(NamedTuple):
    """An image to send.

    Attributes:
        name: its name within the job.
        path: the file to read, or None when its bytes are here.
        content: its bytes when they are in memory already, else None.
    """

    name: str
    path: str | None
    content: bytes | None


class Sources:
    """All images of what was given, in order. Threads may take from it at once.

    Args:
        sources: one or many. A sequence is looked at as a whole; anything else that can be iterated over is taken from as images
            are sent, an async one on the event loop that `start` was called on.
        wanted: names to fetch; the others are passed over where that saves a transfer. None for all.
    """

    def __init__(self, sources: Given, *, wanted: Collection[str] | None = None) -> None:
        self._sources = given.normal(sources)
        self._wanted = wanted
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feeds: list[Feed] = []
        # What the take in progress was told, and what it has already: who has something does not wait for a slow source.
        self._hurry = False
        self._taking: list[Found | Label] = []
        self._stopped = False
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        self._back: deque[Found | Label] = deque()
        self._items = self._walk_all()
        self.skipped = Skipped()

    def start(self) -> None:
        """Remember this event loop for async iterables."""
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """There is nothing more; whoever waits in `take` comes back. May be called from any thread."""
        self._stopped = True
        for feed in self._feeds:
            feed.stop()
        # Both know us too: let go, what we hold is gone with us, and not when somebody looks for garbage.
        self._feeds = []
        self._items = iter(())

    def check(self, *, strict: bool = False) -> None:
        """Make sure that there is something to look into, reading nothing.

        Args:
            strict: every source must be there; otherwise one that is missing is told as a failure under its name.

        Raises:
            SourceError: no source was given, or none (with `strict`: not all) is there.
            SettingsError: an address needs a package that is not installed.
        """
        if not self._sources:
            raise SourceError("no folder or file was given: name one, or set IMG_DIR")
        paths = [source for source in self._sources if isinstance(source, str)]
        missing = [path for path in paths if not given.is_there(path)]
        if missing and (strict or len(missing) == len(self._sources)):
            where = "" if is_url(missing[0]) else f" (it is relative to {os.getcwd()})"  # noqa: PTH109
            raise SourceError(f"there is no file or folder {missing[0]}: check the path{where}")

    def nothing_found(self) -> SourceError:
        """The error for sources that hold no image."""
        left_out = f" (left out: {self.skipped})" if str(self.skipped) else ""
        named = ", ".join(given.describe(source) for source in self._sources)
        return SourceError(f"no files to send in {named}{left_out}: name a folder with pictures, pictures, or a tar or zip")

    def take(self, most: int, *, hurry: bool = False) -> list[Found | Label]:
        """The next images, at most so many, or failures by name.

        Args:
            most: how many.
            hurry: do not wait for a slow source.

        Returns:
            an empty list when there are no more, or in a hurry when there are none now.
        """
        taken: list[Found | Label] = []
        held = 0
        if not self._lock.acquire(timeout=LINGER_S if hurry else -1):
            return taken
        try:
            self._hurry, self._taking = hurry, taken
            while len(taken) < most and held < _TAKE_BYTES:
                item = self._back.popleft() if self._back else next(self._items, None)
                if item is None or item is PAUSE or self._stopped:
                    break
                taken.append(item)  # type: ignore[arg-type]  # PAUSE is the only Pause
                if type(item) is Found and item.content is not None:
                    held += len(item.content)
            return taken
        finally:
            self._lock.release()

    def put_back(self, items: Sequence[Found | Label]) -> None:
        """Give back what was taken and not used; it comes next."""
        with self._lock:
            self._back.extendleft(reversed(items))

    def count(self) -> int | None:
        """Files there are now, without opening any; None when nobody knows before they are read. About 1 us a file."""
        total = 0
        for source in self._sources:
            if not isinstance(source, str) or is_url(source) or archives.is_archive(source):
                return None
            if folders.is_pattern(source) or os.path.isdir(source):  # noqa: PTH112
                total += sum(1 for _ in Sources([source])._walk_all())  # noqa: SLF001 - a fresh one of our own
            else:
                total += 1
        return total

    def _walk_all(self) -> Iterator[Found | Label | Pause]:
        several = len(self._sources) > 1
        for source in self._sources:
            yield from self._walk_one(source, several=several)

    def _walk_one(self, source: Any, *, several: bool) -> Iterator[Found | Label | Pause]:
        if isinstance(source, str):
            yield from self._walk_url(source, several=several) if is_url(source) else self._walk_path(source, several=several)
        elif isinstance(source, tuple):
            yield from self._given(*source, several=several)
        elif hasattr(source, "read"):
            yield from self._given(given.file_name(source), source, several=several)
        else:
            for item in self._feed(source):
                if isinstance(item, Pause):
                    yield item
                else:
                    # What else will come is not known: everything is named as one of several.
                    yield from self._walk_one(given.plain(item), several=True)

    def _walk_path(self, path: str, *, several: bool) -> Iterator[Found | Label | Pause]:
        base = os.path.basename(os.path.abspath(path))  # noqa: PTH100, PTH119 - strings all along: Path costs microseconds an image
        prefix = f"{base}/" if several else ""
        if os.path.isdir(path):  # noqa: PTH112
            yield from self._walk_folder(path, prefix)
        elif folders.is_pattern(path):
            for name, match in folders.expand(path):
                if os.path.isdir(match):  # noqa: PTH112
                    yield from self._walk_folder(match, f"{name}/")
                else:
                    yield self._named(name, match, None, match)
        elif several and not os.path.lexists(path):
            yield failure(_clean(path), UNREADABLE, "there is no such file or folder")
        elif archives.is_archive(path):
            yield from self._unpack(archives.members(path), path, prefix)
        else:
            yield self._named(base, path, None, path)

    def _walk_folder(self, path: str, prefix: str) -> Iterator[Found | Label]:
        for listing in folders.walk(path, prefix, self.skipped):
            prefix, start = listing.prefix, listing.start
            for name in listing.files:
                yield self._named(prefix + name, start + name, None, start + name)
            for name, detail in listing.unreadable:
                yield failure(_clean(name), UNREADABLE, detail)

    def _walk_url(self, url: str, *, several: bool) -> Iterator[Found | Label | Pause]:
        try:
            remote = Remote(url)
            kind = remote.kind()
        except SourceError as error:
            yield failure(url, UNREADABLE, str(error))
            return
        if kind == "nothing":
            yield failure(url, UNREADABLE, "there is no such file or folder")
        elif kind == "file" and archives.is_archive(url):
            yield from self._unpack(_opened(remote), url, f"{remote.name}/" if several else "")
        else:
            prefix = f"{remote.name}/" if several and kind == "folder" else ""
            for entries in remote.entries():
                if isinstance(entries, Unlisted):
                    yield failure(_clean(prefix + entries.name), UNREADABLE, entries.detail)
                    continue
                named = [self._named(prefix + entry.name, None, None, f"{url}/{entry.name}") for entry in entries]
                asked = [index for index, item in enumerate(named) if self._wanted is None or item.name in self._wanted]
                contents = remote.fetch([entries[index] for index in asked])
                for index, content in zip(asked, contents, strict=True):
                    yield _with_content(named[index], content)

    def _given(self, name: str, content: Any, *, several: bool) -> Iterator[Found | Label | Pause]:
        """A picture or an open file that the caller named."""
        if not hasattr(content, "read"):
            yield self._named(name.strip("/") or "image", None, bytes(content), name)
        elif archives.is_archive(name):
            base = posixpath.basename(name)
            yield from self._unpack(self._feed(archives.members(name, content)), name, f"{base}/" if several else "")
        else:
            # In a thread of its own, as a pipe may stay silent.
            for read in self._feed(_read_open(content)):
                yield read if isinstance(read, Pause) else _with_content(self._named(name, None, None, name), read[1])

    def _feed(self, source: Any) -> Feed:
        feed = Feed(source, self._loop, lambda: self._hurry or bool(self._taking))
        self._feeds.append(feed)
        if self._stopped:
            feed.stop()
        return feed

    def _unpack(self, members: Iterable[Any], path: str, prefix: str) -> Iterator[Found | Label | Pause]:
        images = 0
        try:
            for member in members:
                if isinstance(member, Pause):
                    yield member
                    continue
                name, content = member
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


def _opened(remote: Remote) -> Iterator[tuple[str, bytes | archives.Unusable | None]]:
    """The members of an archive behind an address."""
    try:
        with remote.open() as file:
            yield from archives.members(remote.url, file)
    except archives.DAMAGED:
        raise
    except Exception as error:
        # A store's driver raises what it likes; for whoever reads the archive it is damaged here.
        raise OSError(str(error)) from error


def _read_open(file: Any) -> Iterator[tuple[str, bytes | archives.Unusable]]:
    """An open file's content, once; not kept whole when no server could take it."""
    try:
        content = file.read(archives.MAX_FILE_BYTES + 1)
    except OSError as error:
        yield "", archives.Unusable(UNREADABLE, f"the file cannot be read: {error.strerror or error}")
        return
    if not isinstance(content, bytes):
        raise TypeError("the file must be opened to read bytes: open(..., 'rb')")
    yield "", content if len(content) <= archives.MAX_FILE_BYTES else archives.too_large(len(content))


def _with_content(named: Found | Label, content: bytes | archives.Unusable) -> Found | Label:
    if isinstance(named, Label):
        return named
    if isinstance(content, bytes):
        return Found(named.name, None, content)
    return failure(named.name, content.code, content.detail)


def _clean(name: str) -> str:
    """The name as Unicode: bytes of a file name that are not UTF-8 become U+FFFD."""
    return name if name.isascii() else name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
