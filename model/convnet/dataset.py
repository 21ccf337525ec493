"""Class folders -> arrays: every picture decoded as serving decodes it, split into training and held-out images.

A damaged file is skipped by name and never stops a training, unless that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convnet.cache import Cache
from convnet.decoding import decode_all
from convnet.errors import DatasetError
from convnet.folders import ClassFolders, Picture, Side, Skipped, check_readable, shown
from convnet.images import ImageSpec, Pixels
from convnet.progress import Progress

# A folder of a thousand strays must not scroll everything else away; the outcome lists them all.
_MAX_NAMED = 50
# An error is one line; `data check` names them all.
_MAX_NAMED_STRICT = 5


@dataclass(frozen=True, slots=True)
class Split:
    """One side of the data.

    Attributes:
        images: uint8 [n, height, width, channels]; a mapped, read-only file when it comes from the cache.
        labels: int32 [n], indices into the class names.
        pictures: the files they came from, so that another network's size can be decoded from the same ones.
    """

    images: Pixels
    labels: NDArray[np.int32]
    pictures: tuple[Picture, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything a training needs.

    Attributes:
        classes: sorted class names.
        spec: size and channels of the images.
        training: fitted to.
        held_out: never trained on; every accuracy is measured here.
        test: neither trained on nor decided by: the pictures of `test/`; None without such a folder.
        skipped: files that were not used, and why.
        fingerprint: of the files, see `ClassFolders`.
    """

    classes: tuple[str, ...]
    spec: ImageSpec
    training: Split
    held_out: Split
    test: Split | None
    skipped: tuple[Skipped, ...]
    fingerprint: str


def load(folders: ClassFolders, spec: ImageSpec, progress: Progress, *, cache: Cache | None = None, strict: bool = False) -> Dataset:
    """Decode the pictures of a scanned folder, or map the arrays that an earlier run decoded.

    Args:
        folders: what `scan` found.
        spec: size and channels of the arrays.
        progress: told what is skipped and how far decoding is.
        cache: where decoded arrays are kept; without one they are decoded into memory.
        strict: stop when any file cannot be used, instead of going on without it.

    Raises:
        DatasetError: too few pictures of a class are readable, one side of the split came out empty, or `strict` found a file at fault.
    """
    skipped = list(folders.skipped)
    if strict:
        _refuse_skipped(folders, skipped)
    split = decode_files(folders.pictures, spec, progress, skipped, folders.folder, cache)
    if strict:
        _refuse_skipped(folders, skipped)
    sides = np.fromiter((picture.side for picture in split.pictures), np.int8, len(split))
    check_readable(folders, split.labels[sides != Side.TEST].tolist())
    # The pictures are ordered by side, so each side is a slice: nothing is copied, and mapped files stay mapped.
    ends = np.searchsorted(sides, list(Side), side="right").tolist()
    training, held_out, test = (_slice(split, start, end) for start, end in zip([0, *ends], ends, strict=False))
    _check_sides(folders, training, held_out)
    _warn(folders, split, skipped, progress)
    return Dataset(folders.classes, spec, training, held_out, test if len(test) else None, tuple(skipped), folders.fingerprint)


def decode_files(
    pictures: Sequence[Picture], spec: ImageSpec, progress: Progress, skipped: list[Skipped], folder: Path, cache: Cache | None = None
) -> Split:
    """Decode files in parallel, in their order. Those that cannot be read are added to `skipped` and left out."""
    decoded = decode_all(pictures, spec, progress, cache, folder)
    skipped.extend(Skipped(shown(pictures[index].file, folder), reason) for index, reason in decoded.failures)
    lost = {index for index, _ in decoded.failures}
    readable = tuple(picture for index, picture in enumerate(pictures) if index not in lost) if lost else tuple(pictures)
    labels = np.fromiter((picture.label for picture in readable), np.int32, len(readable))
    return Split(decoded.images, labels, readable)


def _refuse_skipped(folders: ClassFolders, skipped: Sequence[Skipped]) -> None:
    if skipped:
        named = "; ".join(f"{file.name}: {file.reason}" for file in skipped[:_MAX_NAMED_STRICT])
        more = f"; and {len(skipped) - _MAX_NAMED_STRICT} more" if len(skipped) > _MAX_NAMED_STRICT else ""
        raise DatasetError(
            f"{len(skipped)} files of {folders.folder} cannot be used: {named}{more}. "
            "Mend or remove them (convnet-kafka data check names them all), or train without --strict to go on without them"
        )


def _slice(split: Split, start: int, end: int) -> Split:
    return Split(split.images[start:end], split.labels[start:end], split.pictures[start:end])


def _check_sides(folders: ClassFolders, training: Split, held_out: Split) -> None:
    """A class without a training image cannot be learned, and without held-out images nothing can be judged."""
    trained = set(training.labels.tolist())
    missing = [name for label, name in enumerate(folders.classes) if label not in trained]
    if missing:
        raise DatasetError(
            f"the split by content left no training picture for {', '.join(missing)} in {folders.folder}; "
            f"add pictures that differ from those already there"
        )
    if not len(held_out):
        raise DatasetError(
            f"the split by content left no held-out picture in {folders.folder} to measure accuracy on; "
            "add pictures (50 or more are sensible)"
        )


def _warn(folders: ClassFolders, split: Split, skipped: Sequence[Skipped], progress: Progress) -> None:
    for file in skipped[:_MAX_NAMED]:
        progress.note(f"skipped {file.name}: {file.reason}")
    if len(skipped) > _MAX_NAMED:
        reasons = Counter(file.reason for file in skipped[_MAX_NAMED:]).most_common(3)
        progress.note(f"and {len(skipped) - _MAX_NAMED} more, most for: " + "; ".join(f"{reason} ({count})" for reason, count in reasons))
    first_label: dict[bytes, int] = {}
    ambiguous = {picture.digest for picture in split.pictures if first_label.setdefault(picture.digest, picture.label) != picture.label}
    if ambiguous:
        progress.note(f"{len(ambiguous)} pictures stand in more than one class folder; no network can tell those apart")
    held_out = {picture.label for picture in split.pictures if picture.held_out}
    unjudged = [name for label, name in enumerate(folders.classes) if label not in held_out]
    if unjudged:
        progress.note(f"no held-out picture of {', '.join(unjudged)}: the accuracy says nothing about these classes")
