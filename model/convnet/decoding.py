"""Decode many files in parallel, into memory or into the cache; what the cache holds is not decoded again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from convnet.arrays import ArrayEntry, Failures, NewArrays, close_gaps
from convnet.cache import Cache
from convnet.errors import UnreadableImage
from convnet.folders import Picture
from convnet.images import ImageSpec, Pixels, decode
from convnet.machine import processors
from convnet.parallel import in_threads
from convnet.progress import Progress
from convnet.statindex import content_digest

# Files handed to a thread at once: large enough that handing over costs nothing, small enough for a smooth progress bar on photos.
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came out.

    Attributes:
        images: uint8 [readable pictures, height, width, channels], in the order asked for.
        failures: (index into the pictures, reason) of the others.
    """

    images: Pixels
    failures: Failures


@dataclass(frozen=True, slots=True)
class _Failure:
    """A picture that gave no pixels; `passing` when its content is not to blame, so that the next run must try again."""

    index: int
    reason: str
    passing: bool


def decode_all(pictures: Sequence[Picture], spec: ImageSpec, progress: Progress, cache: Cache | None, folder: Path) -> Decoded:
    """Decode pictures in their order, or map them when an earlier run did."""
    if cache is None or not pictures:
        return _into(np.empty((len(pictures), *spec.shape), np.uint8), pictures, spec, progress, [])[0]
    digests = [picture.digest for picture in pictures]
    entry = cache.find(spec, digests)
    if entry is not None:
        return Decoded(entry.images, entry.failures)
    try:
        arrays = cache.create(spec, digests)
    except OSError as error:
        progress.note(f"cannot keep decoded pictures in {cache.folder} ({error.strerror}); decoding into memory")
        return _into(np.empty((len(pictures), *spec.shape), np.uint8), pictures, spec, progress, [])[0]
    return _into_cache(arrays, pictures, spec, progress, cache, folder)


def _into_cache(arrays: NewArrays, pictures: Sequence[Picture], spec: ImageSpec, progress: Progress, cache: Cache, folder: Path) -> Decoded:
    try:
        decoded, whole = _into(arrays.images, pictures, spec, progress, cache.similar(spec))
        if not whole:
            cache.forget(folder)  # a file is not what its hash says, or cannot be read now: neither may be remembered
            return decoded
        arrays.publish(decoded.failures)
        cache.trim(keep=arrays.target)
    except OSError as error:
        progress.note(f"cannot keep decoded pictures in {cache.folder} ({error.strerror}); they are decoded again next time")
        return decoded
    finally:
        arrays.discard()
    entry = cache.find(spec, arrays.digests)
    return decoded if entry is None else Decoded(entry.images, entry.failures)


def _into(
    images: Pixels, pictures: Sequence[Picture], spec: ImageSpec, progress: Progress, similar: Sequence[ArrayEntry]
) -> tuple[Decoded, bool]:
    """Fill `images`, then close the gaps of the unreadable. Also says whether every failure is the content's own."""
    wanted = {picture.digest for picture in pictures} if similar else set()
    known = {digest: (entry, row) for entry in reversed(similar) for digest, row in entry.rows(wanted)}

    def decode_chunk(start: int) -> list[_Failure]:
        failed: list[_Failure] = []
        for index in range(start, min(start + _CHUNK, len(pictures))):
            picture = pictures[index]
            if picture.digest in known:
                entry, row = known[picture.digest]
                images[index] = entry.images[row]
                continue
            try:
                data = picture.path.read_bytes()
                if content_digest(data) == picture.digest:
                    images[index] = decode(data, spec)
                else:
                    failed.append(_Failure(index, "it changed while it was being read; run again", passing=True))
            except UnreadableImage as error:
                # Other work may leave more memory next time.
                failed.append(_Failure(index, f"{error.code}: {error}", passing=isinstance(error.__cause__, MemoryError)))
            except OSError as error:
                failed.append(_Failure(index, error.strerror or "unreadable", passing=True))
        return failed

    failed: list[_Failure] = []
    progress.stage("decoding pictures", len(pictures))
    # Pillow decodes outside the interpreter lock, so threads use all cores on photos; tiny pictures take microseconds anyway.
    for chunk, found in enumerate(in_threads(decode_chunk, range(0, len(pictures), _CHUNK), processors(), "decode"), 1):
        failed += found
        progress.done(min(chunk * _CHUNK, len(pictures)))
    failures = tuple((failure.index, failure.reason) for failure in failed)
    return Decoded(np.asarray(close_gaps(images, failures)), failures), not any(failure.passing for failure in failed)
