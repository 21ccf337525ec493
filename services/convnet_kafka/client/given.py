"""What a caller may hand over as pictures, brought into the few forms that `sources.py` tells apart."""

from __future__ import annotations

import glob
import os
from collections.abc import AsyncIterable, Collection, Iterable, Mapping
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from convnet_kafka.client import folders
from convnet_kafka.client.remote import Remote, is_url

# A path, pattern or address; an open file; a picture as (name, bytes) or (name, open file).
Source = str | os.PathLike[str] | IO[bytes] | tuple[str, bytes | IO[bytes]]
Given = Source | Iterable[Source] | AsyncIterable[Source] | Mapping[str, bytes]


def normal(given: Given) -> list[Any]:
    """The sources as a list, each path once.

    Raises:
        TypeError: one is nothing that can be sent.
    """
    return _once(_as_list(given))


def _as_list(given: Any) -> list[Any]:
    """What was given as a list of sources."""
    if isinstance(given, Mapping):
        return [iter(given.items())]
    if isinstance(given, str | bytes | os.PathLike) or hasattr(given, "read") or _is_picture(given):
        return [given]
    return list(given) if isinstance(given, Collection) else [given]


def _once(sources: Iterable[Any]) -> list[Any]:
    """The sources, each path once by what it really is, as plain strings."""
    once: dict[Any, Any] = {}
    for number, source in enumerate(map(plain, sources)):
        key = source if isinstance(source, str) and is_url(source) else os.path.realpath(source) if isinstance(source, str) else number
        once.setdefault(key, source)
    return list(once.values())


def plain(source: Any) -> Any:
    """A source in one of the forms that are told apart here.

    Raises:
        TypeError: it is none.
    """
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        if path.startswith("file://"):
            return unquote(urlsplit(path).path)
        return path
    if _is_picture(source) or hasattr(source, "read"):
        return source
    if isinstance(source, Iterable | AsyncIterable) and not isinstance(source, bytes | bytearray | tuple):
        return source
    raise TypeError(f"a source is a path, an address, an open file, or (name, bytes), not {type(source).__name__}")


def _is_picture(source: Any) -> bool:
    if not (isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], str)):
        return False
    return isinstance(source[1], bytes | bytearray | memoryview) or hasattr(source[1], "read")


def is_there(path: str) -> bool:
    """Whether a path, pattern or address leads to something."""
    if is_url(path):
        return Remote(path).kind() != "nothing"
    if folders.is_pattern(path):
        return next(glob.iglob(path, recursive=True), None) is not None  # noqa: PTH207
    return os.path.exists(path)  # noqa: PTH110


def file_name(file: Any) -> str:
    """What an open file is called, or `image` when it has no name."""
    name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) and name else "image"  # noqa: PTH119


def describe(source: Any) -> str:
    """A source in a message."""
    return source if isinstance(source, str) else "what was given as pictures"
