"""Walks folders and patterns on this machine's disks, in order of names. Opens nothing and names nothing: that is for `sources.py`."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Skipped:
    """What was left out on purpose, by kind."""

    hidden: int = 0
    special: int = 0
    loops: int = 0

    def __str__(self) -> str:
        parts = [(self.hidden, "hidden"), (self.special, "neither file nor folder"), (self.loops, "links back to a folder above")]
        return ", ".join(f"{count:,} {what}" for count, what in parts if count)


@dataclass(slots=True)
class Listing:
    """One folder.

    Attributes:
        prefix: of its files' names: the way from the root to here.
        start: of its files' paths.
        files: names of files, sorted.
        unreadable: names (with the prefix) of what cannot be read, with the reason.
    """

    prefix: str
    start: str
    files: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def walk(root: str, prefix: str, skipped: Skipped) -> Iterator[Listing]:
    """A folder and those in it: a folder's files come before its folders; links are followed unless they lead back up."""
    waiting: list[tuple[str, str, frozenset[tuple[int, int]]]] = [(root, prefix, frozenset())]
    while waiting:
        folder, prefix, above = waiting.pop()
        listing = Listing(prefix, folder.rstrip("/") + "/")
        try:
            status = os.stat(folder)  # noqa: PTH116 - strings all along: Path costs microseconds an image
            identity = (status.st_dev, status.st_ino)
            if identity in above:
                skipped.loops += 1
                continue
            folders = _list(folder, listing, skipped)
        except OSError as error:
            listing.unreadable = [(prefix.rstrip("/") or folder, f"the folder cannot be read: {error.strerror}")]
            yield listing
            continue
        yield listing
        inside = above | {identity}
        waiting.extend((listing.start + name, f"{prefix}{name}/", inside) for name in reversed(folders))


def _list(folder: str, listing: Listing, skipped: Skipped) -> list[str]:
    """Fill the listing; returns names of folders, sorted. Names only: a flat folder may hold a million."""
    files, folders = listing.files, []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                skipped.hidden += 1
                continue
            try:
                if entry.is_file():
                    files.append(name)
                elif entry.is_dir():
                    folders.append(name)
                elif entry.is_symlink() and not os.path.exists(entry.path):  # noqa: PTH110
                    listing.unreadable.append((listing.prefix + name, "a link to a file that is not there"))
                else:
                    skipped.special += 1
            except OSError as error:
                listing.unreadable.append((listing.prefix + name, f"cannot be read: {error.strerror}"))
    files.sort()
    folders.sort()
    listing.unreadable.sort()
    return folders


def is_pattern(path: str) -> bool:
    """Whether a path that does not exist as it stands is one to be expanded."""
    return glob.has_magic(path) and not os.path.lexists(path)


def expand(pattern: str) -> Iterator[tuple[str, str]]:
    """What matches, in order: (its path below the last folder without a pattern in it, its path).

    Folders match too, unless `**` is in the pattern: then what is in them matches by itself.
    """
    fixed = pattern
    while glob.has_magic(fixed):
        fixed = os.path.dirname(fixed)  # noqa: PTH120
    deep = "**" in pattern
    start = len(fixed) + 1 if fixed and not fixed.endswith("/") else len(fixed)
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 - hidden files are left out here
        if not (deep and os.path.isdir(path)):  # noqa: PTH112
            yield path[start:], path
