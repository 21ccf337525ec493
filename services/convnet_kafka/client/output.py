"""Label files: csv and jsonl, written aside and renamed, so that a file of that name is always a whole one."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import orjson

from convnet_kafka.client.label import Label
from convnet_kafka.errors import SettingsError

Writer = Callable[[Path, Iterable[Label]], None]
COLUMNS = Label._fields


def flat(label: Label) -> Label:
    """The label with its `top` as JSON text, for tables of plain values."""
    return label if label.top is None else Label(*label[:-1], orjson.dumps(label.top).decode())  # type: ignore[arg-type]


def write_csv(path: Path, labels: Iterable[Label]) -> None:
    """Columns as `Label` has them, with a header line; what is None is empty, and `top` is JSON."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(flat(label) for label in labels)


def write_jsonl(path: Path, labels: Iterable[Label]) -> None:
    """One JSON object a line."""
    with path.open("wb") as file:
        file.writelines(orjson.dumps(label._asdict(), option=orjson.OPT_APPEND_NEWLINE) for label in labels)


WRITERS: Mapping[str, Writer] = MappingProxyType({".csv": write_csv, ".jsonl": write_jsonl, ".ndjson": write_jsonl})


class Output:
    """Where the outcomes go. Made before anything is sent, so that a wrong place is told then.

    Args:
        path: the file; its ending says the format.
        writers: what writes which ending.

    Raises:
        SettingsError: nobody writes that ending, or the folder cannot be written.
    """

    def __init__(self, path: Path, writers: Mapping[str, Writer] = WRITERS) -> None:
        writer = writers.get(path.suffix.lower())
        if writer is None:
            raise SettingsError(f"the output {path} must end in one of {', '.join(writers)}")
        self.path = path
        self._writer = writer
        if path.is_dir():
            raise SettingsError(f"the output {path} is a folder: name a file in it")
        try:
            # Tried, not asked: what access() says is not true on every file system, and root may do all.
            with tempfile.TemporaryFile(dir=path.parent):
                pass
        except OSError as error:
            raise SettingsError(
                f"the output {path} cannot be written ({error.strerror}): nothing was sent; choose another --output"
            ) from error

    def write(self, labels: Iterable[Label]) -> None:
        """Write the file.

        Raises:
            SettingsError: the disk is full or the folder has gone.
        """
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        try:
            self._writer(aside, labels)
            aside.replace(self.path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise SettingsError(
                f"the output {self.path} cannot be written ({error.strerror}): read the labels again with --output elsewhere"
            ) from error
