"""One cache entry: the decoded pictures of one data set in one size, as a mapped file."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import numpy as np

from convnet import files
from convnet.images import ImageSpec, Pixels
from convnet.statindex import DIGEST_BYTES

_PIXELS, _DIGESTS, _CARD = "pixels.bin", "digests.bin", "card.json"
# Rows moved at once when unreadable pictures leave gaps: bounds the memory a move takes.
_MOVED_AT_ONCE = 256

Failures = tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class ArrayEntry:
    """Decoded pictures.

    Attributes:
        folder: where the entry is.
        images: uint8 [readable pictures, height, width, channels], mapped, read only.
        digests: of the readable pictures, in the same order.
        failures: (index into the pictures asked for, reason) of those that cannot be decoded.
    """

    folder: Path
    images: Pixels
    digests: bytes
    failures: Failures

    @classmethod
    def open(cls, folder: Path, spec: ImageSpec) -> ArrayEntry | None:
        """Map an entry and mark it as used; None when it is not there or not whole."""
        try:
            card = json.loads((folder / _CARD).read_bytes())
            digests = (folder / _DIGESTS).read_bytes()
            count = int(card["images"])
            images = _mapped(folder / _PIXELS, (count, *spec.shape), "r")
            failures = tuple((int(index), str(reason)) for index, reason in card["failures"])
            if len(digests) != count * DIGEST_BYTES:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        with contextlib.suppress(OSError):  # a read-only cache serves as well
            os.utime(folder)
        return cls(folder, np.asarray(images), digests, failures)

    def rows(self, wanted: AbstractSet[bytes]) -> Iterator[tuple[bytes, int]]:
        """(digest, row) of those that are wanted."""
        for row in range(len(self.images)):
            digest = self.digests[DIGEST_BYTES * row : DIGEST_BYTES * (row + 1)]
            if digest in wanted:
                yield digest, row


@dataclass(slots=True)
class NewArrays:
    """An entry that is being written, seen by nobody.

    Attributes:
        target: what it will be called.
        aside: where it is until then.
        images: uint8 [pictures, height, width, channels], mapped, to be filled.
        digests: of the pictures, in the same order.
    """

    target: Path
    aside: Path
    images: np.memmap[Any, np.dtype[np.uint8]]
    digests: Sequence[bytes]

    @classmethod
    def create(cls, target: Path, spec: ImageSpec, digests: Sequence[bytes]) -> NewArrays:
        """Reserve the space now: a mapped file on a disk that fills up would kill the process instead of raising.

        Raises:
            OSError: there is no space, or the folder cannot be written.
        """
        aside = target.with_name(f".new-{uuid4().hex}")
        aside.mkdir()
        shape = (len(digests), *spec.shape)
        try:
            with (aside / _PIXELS).open("xb") as file:
                os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)))
            return cls(target, aside, _mapped(aside / _PIXELS, shape, "r+"), digests)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise

    def publish(self, failures: Failures) -> None:
        """Bring it to the disk and give it its name. Another process that made the same entry meanwhile is as good.

        Raises:
            OSError: it could not be written; the images in memory are still good.
        """
        lost = {index for index, _ in failures}
        count = len(self.digests) - len(lost)
        card = {"images": count, "failures": failures}
        try:
            files.write_new(self.aside / _DIGESTS, b"".join(each for index, each in enumerate(self.digests) if index not in lost))
            files.write_new(self.aside / _CARD, json.dumps(card).encode())
            self.images.flush()
            os.truncate(self.aside / _PIXELS, int(np.prod((count, *self.images.shape[1:]))))
            files.sync_file(self.aside / _PIXELS)
            self.aside.rename(self.target)
            files.sync_folder(self.target.parent)
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the files; images that are mapped stay readable."""
        shutil.rmtree(self.aside, ignore_errors=True)


def close_gaps(images: Pixels, failures: Failures) -> Pixels:
    """Move the rows behind each failed one down, and return the rows that remain."""
    if not failures:
        return images
    lost = {index for index, _ in failures}
    kept = np.fromiter((row for row in range(len(images)) if row not in lost), np.int64, len(images) - len(lost))
    # Rows only ever move to the front, and a block is copied (fancy indexing) before it is written.
    for start in range(0, len(kept), _MOVED_AT_ONCE):
        rows = kept[start : start + _MOVED_AT_ONCE]
        images[start : start + len(rows)] = images[rows]
    return images[: len(kept)]


def _mapped(path: Path, shape: tuple[int, ...], mode: Literal["r", "r+"]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A file as an array. Raises ValueError when its size is not that of the array."""
    size = path.stat().st_size
    if size != int(np.prod(shape)) or not size:
        raise ValueError(f"{path} has {size} bytes, not {int(np.prod(shape))}")
    return np.memmap(path, np.uint8, mode, shape=shape)
