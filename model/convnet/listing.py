"""List the files of class folders, with their classes and parts; reads no file."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from convnet.errors import DatasetError


class Part(StrEnum):
    """Which folder above the class folders a file stands under; `WHOLE` where there are no such folders."""

    WHOLE = ""
    TRAIN = "train"
    VAL = "val"
    TEST = "test"


_PART_FOLDERS = {"train": Part.TRAIN, "val": Part.VAL, "validation": Part.VAL, "test": Part.TEST}


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file under a class folder.

    Attributes:
        path: where it is, as text: a `Path` each would be most of the time of listing a large folder.
        label: index into the listing's classes.
        part: which part of the data it is.
    """

    path: str
    label: int
    part: Part


@dataclass(frozen=True, slots=True)
class Listing:
    """What stands in a folder of class folders.

    Attributes:
        folder: that folder.
        classes: sorted names.
        files: in a stable order.
        skipped: (name, reason) of what stands outside the class folders or cannot be entered.
    """

    folder: Path
    classes: tuple[str, ...]
    files: tuple[ListedFile, ...]
    skipped: tuple[tuple[str, str], ...]


def list_files(folder: Path, *, least_classes: int = 2) -> Listing:
    """List a folder of class folders, or one of `train/`, `val/` and `test/` that hold the class folders.

    Raises:
        DatasetError: the folder is missing or unreadable, holds fewer classes than `least_classes`, a class's name can be no label, or
            `val/` or `test/` holds a class that `train/` lacks.
    """
    skipped: list[tuple[str, str]] = []
    top, strays = _entries(folder, folder)
    parts = _parts(top)
    if not parts:
        parts = {Part.WHOLE: folder}
    else:
        skipped += strays
    found = {part: _class_folders(where, folder, skipped) for part, where in parts.items()}
    main = next(part for part in (Part.WHOLE, Part.TRAIN, Part.TEST, Part.VAL) if part in found)
    _check_class_folders(found[main], parts[main], least_classes)
    classes = tuple(found[main])
    for part, class_folders in found.items():
        if unknown := [name for name in class_folders if name not in found[main]]:
            raise DatasetError(
                f"{parts[part]} holds the class folders {', '.join(unknown)}, which {parts[main]} lacks (it holds {', '.join(classes)}); "
                "nothing of them can be learned: add them there, or move them elsewhere"
            )
    labels = {name: label for label, name in enumerate(classes)}
    files = tuple(
        ListedFile(path, labels[name], part)
        for part, class_folders in found.items()
        for name, where in class_folders.items()
        for path in _files(where, skipped, folder)
    )
    return Listing(folder, classes, files, tuple(skipped))


def shown(path: Path | str, folder: Path) -> str:
    """A file's name for people: relative to the folder, and printable whatever bytes the file system holds."""
    path = Path(path)
    relative = path.relative_to(folder) if path.is_relative_to(folder) else path
    return os.fsencode(relative).decode("utf-8", "backslashreplace")


def normal(name: str) -> str:
    """A class's name in the one form that names are compared in (file systems differ in how they spell accents)."""
    return unicodedata.normalize("NFC", name)


def _entries(folder: Path, root: Path) -> tuple[list[Path], list[tuple[str, str]]]:
    """Sub-folders sorted by name, and the files that stand beside them; hidden ones are ignored."""
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except FileNotFoundError as error:
        raise DatasetError(f"the training folder {folder} does not exist; give a folder that holds one folder a class") from error
    except OSError as error:
        raise DatasetError(f"cannot read the training folder {folder}: {error.strerror}; check its path and permissions") from error
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    folders = [entry for entry in entries if entry.is_dir()]
    return folders, [(shown(entry, root), "not in a class folder") for entry in entries if not entry.is_dir()]


def _parts(top: list[Path]) -> dict[Part, Path]:
    """The parts, if the folder is divided so: `train` (holding folders) with `val`, `test` or both, and no other folder.

    Two classes may well be called `train` and `test`; then the folder `train` holds pictures, not folders.
    """
    names = {entry.name for entry in top}
    if "train" not in names or len(names) < 2 or not names <= set(_PART_FOLDERS) or {"val", "validation"} <= names:
        return {}
    parts = {_PART_FOLDERS[entry.name]: entry for entry in top}
    if not any(entry.is_dir() for entry in parts[Part.TRAIN].iterdir()):
        return {}
    return parts


def _class_folders(folder: Path, root: Path, skipped: list[tuple[str, str]]) -> dict[str, Path]:
    """Class name to folder, sorted by name."""
    folders, strays = _entries(folder, root)
    skipped += strays
    names = {entry: normal(entry.name) for entry in folders}
    for entry, name in names.items():
        if not name.isprintable() or "," in name:
            raise DatasetError(f"the class folder {shown(entry, root)} has a name that no label can carry; rename it (no commas, UTF-8)")
    return {names[entry]: entry for entry in sorted(folders, key=names.__getitem__)}


def _check_class_folders(class_folders: dict[str, Path], folder: Path, least: int) -> None:
    if len(class_folders) < least:
        what = f"only the class folder {next(iter(class_folders))}" if class_folders else "no class folder"
        needed = "two folders" if least == 2 else "one folder"
        raise DatasetError(f"{folder} holds {what}; it must hold at least {needed}, one a class, with the pictures of each class inside")


def _files(class_folder: Path, skipped: list[tuple[str, str]], folder: Path) -> Iterator[str]:
    """Every file under a class folder in a stable order; a folder that links lead to twice is walked once."""
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        skipped.append((shown(str(error.filename), folder), error.strerror or "unreadable folder"))

    for where, folders, names in os.walk(class_folder, followlinks=True, onerror=refuse):
        status = os.stat(where)  # noqa: PTH116 - os.walk gives strings
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield os.path.join(where, name)  # noqa: PTH118 - see ListedFile
