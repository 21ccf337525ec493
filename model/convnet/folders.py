"""Find the pictures of class folders: names, contents' hashes, and which side of the split each one is on.

Decodes nothing, so that what is wrong with a folder is said at once. A picture's side depends on its content alone, or on the `val/` or
`test/` folder it stands in: it never changes when files come or go, and duplicates never straddle.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from convnet.cache import Cache
from convnet.errors import DatasetError
from convnet.images import DEFAULT_LIMITS
from convnet.listing import Listing, Part, list_files, normal, shown
from convnet.parallel import in_threads
from convnet.progress import Progress
from convnet.statindex import DIGEST_BYTES, StatIndex, digest

__all__ = ["ClassFolders", "Picture", "Side", "Skipped", "check_readable", "hash_files", "scan", "shown", "side_of"]

HELD_OUT_SHARE = 0.2
# One picture is most likely a stray folder. How many make a good network is not for us to say; that some must be trained on is checked
# after the split.
MIN_IMAGES_PER_CLASS = 2

# Reading waits for the disk or the network far more than for the CPU.
_READ_THREADS = 8
_CHUNK = 256


class Side(IntEnum):
    """What a picture is used for, in the order in which arrays hold them."""

    TRAINING = 0
    HELD_OUT = 1
    TEST = 2


_SIDES = {Part.TRAIN: Side.TRAINING, Part.VAL: Side.HELD_OUT, Part.TEST: Side.TEST}


@dataclass(frozen=True, slots=True)
class Picture:
    """One file of a class folder.

    Attributes:
        file: where it is, as text.
        label: index into the sorted class names.
        digest: BLAKE2b of its content, 16 bytes.
        side: what it is used for.
    """

    file: str
    label: int
    digest: bytes
    side: Side

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.file)

    @property
    def held_out(self) -> bool:
        """Whether it is never trained on and every decision is measured on it."""
        return self.side is Side.HELD_OUT


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is not used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """What is in a training folder.

    Attributes:
        folder: the training folder.
        classes: sorted names of the class folders.
        pictures: ordered by side, class, then content: the order depends on the data alone, not on file names or the file system.
        skipped: files that could not be read or stand outside the class folders.
        fingerprint: equal for equal classes, contents and sides, whatever the files are called.
    """

    folder: Path
    classes: tuple[str, ...]
    pictures: tuple[Picture, ...]
    skipped: tuple[Skipped, ...]
    fingerprint: str


def scan(folder: Path, progress: Progress, *, class_names: Sequence[str] = (), cache: Cache | None = None) -> ClassFolders:
    """List and hash the pictures of a training folder. Hidden files and folders (leading dot) are ignored.

    Args:
        folder: holds one folder a class, which may hold folders of their own; or `train/` with `val/`, `test/` or both, each of which
            holds the class folders. `val/` is then what is held out, and `test/` is neither trained on nor decided by.
        progress: told how many files have been read.
        class_names: when given, exactly the classes that must be there, in any order.
        cache: remembers the hashes of files that have not changed since; without one every file is read.

    Raises:
        DatasetError: the folder is missing, holds fewer than two classes or too few pictures, or other classes than given.
    """
    listing = list_files(folder)
    _check_names(folder, listing.classes, class_names)
    _check_counts(folder, listing.classes, (file.label for file in listing.files if file.part is not Part.TEST), "files")
    pictures, skipped = hash_files(listing, progress, cache)
    pictures, leaked = _without_leaks(pictures, folder)
    _check_counts(folder, listing.classes, (picture.label for picture in pictures if picture.side is not Side.TEST), "readable files")
    pictures.sort(key=lambda picture: (picture.side, picture.label, picture.digest, picture.file))
    fingerprint = _fingerprint(listing, pictures)
    return ClassFolders(folder, listing.classes, tuple(pictures), tuple(skipped + leaked), fingerprint)


def hash_files(listing: Listing, progress: Progress, cache: Cache | None = None) -> tuple[list[Picture], list[Skipped]]:
    """Hash every listed file that is not known from an earlier look; and name those that cannot be read."""
    index = StatIndex.load(cache.index_file(listing.folder)) if cache is not None else StatIndex()
    # Whether a file changed again within the clock tick of its last change cannot be seen: such young files are read again next time.
    settled_before_ns = time.time_ns() - 2_000_000_000
    root = len(str(listing.folder)) + 1
    parts = {file.part for file in listing.files}

    def hash_chunk(start: int) -> list[bytes | str]:
        return [
            digest(file.path, file.path[root:], index, settled_before_ns, DEFAULT_LIMITS.max_bytes)
            for file in listing.files[start : start + _CHUNK]
        ]

    pictures: list[Picture] = []
    skipped = [Skipped(name, reason) for name, reason in listing.skipped]
    progress.stage("looking at files", len(listing.files))
    for found in in_threads(hash_chunk, range(0, len(listing.files), _CHUNK), _READ_THREADS, "read"):
        first = len(pictures) + len(skipped) - len(listing.skipped)
        for file, result in zip(listing.files[first : first + _CHUNK], found, strict=True):
            if isinstance(result, str):
                skipped.append(Skipped(shown(file.path, listing.folder), result))
            else:
                pictures.append(Picture(file.path, file.label, result, side_of(file.part, result, parts)))
        progress.done(first + len(found))
    index.save(progress)
    return pictures, skipped


def check_readable(folders: ClassFolders, labels: Iterable[int]) -> None:
    """Raise DatasetError unless enough pictures of every class could be decoded."""
    _check_counts(folders.folder, folders.classes, labels, "readable pictures")


def side_of(part: Part, content: bytes, parts: AbstractSet[Part]) -> Side:
    """Decided by the folder where there are such folders; where nothing is set aside to decide by, by the content alone."""
    if part is Part.WHOLE or (part is Part.TRAIN and Part.VAL not in parts):
        return Side.HELD_OUT if int.from_bytes(content[:4], "big") < HELD_OUT_SHARE * 2**32 else Side.TRAINING
    return _SIDES[part]


def _without_leaks(pictures: Sequence[Picture], folder: Path) -> tuple[list[Picture], list[Skipped]]:
    """Leave out of `train/` what stands in `val/` or `test/` too, and of `val/` what stands in `test/`: it would flatter the figures."""
    last: dict[bytes, Side] = {picture.digest: picture.side for picture in pictures if picture.side is Side.HELD_OUT}
    last |= {picture.digest: picture.side for picture in pictures if picture.side is Side.TEST}
    kept, leaked = [], []
    for picture in pictures:
        side = last.get(picture.digest, picture.side)
        if side is picture.side:
            kept.append(picture)
        else:
            leaked.append(Skipped(shown(picture.file, folder), f"the same picture stands in {'test/' if side is Side.TEST else 'val/'}"))
    return kept, leaked


def _fingerprint(listing: Listing, pictures: Iterable[Picture]) -> str:
    whole = hashlib.blake2b("\0".join(listing.classes).encode(), digest_size=DIGEST_BYTES)
    divided = any(file.part is not Part.WHOLE for file in listing.files)
    for picture in sorted(pictures, key=lambda picture: (picture.label, picture.digest)):
        whole.update(picture.label.to_bytes(4, "big") + picture.digest + (bytes([picture.side]) if divided else b""))
    return whole.hexdigest()


def _check_names(folder: Path, found: Sequence[str], given: Sequence[str]) -> None:
    wanted = sorted({normal(name) for name in given})
    if wanted and wanted != list(found):
        raise DatasetError(
            f"the class names given are {', '.join(wanted)}; {folder} holds the folders {', '.join(found)}. "
            "Correct the names (--class-names or CLASS_NAMES) or the folders, or leave the names out to take every folder"
        )


def _check_counts(folder: Path, classes: Sequence[str], labels: Iterable[int], what: str) -> None:
    counts = Counter(labels)
    few = [f"{name} ({counts[label]})" for label, name in enumerate(classes) if counts[label] < MIN_IMAGES_PER_CLASS]
    if few:
        raise DatasetError(
            f"too few {what} in {folder}: {', '.join(few)}; every class needs at least {MIN_IMAGES_PER_CLASS} pictures. "
            "Add pictures to these folders, or move folders that are no class elsewhere"
        )
