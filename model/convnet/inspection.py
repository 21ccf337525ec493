"""Look at one file as training would: can it be read, and what is unusual about it by itself."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from convnet.errors import UnreadableCode, UnreadableImage
from convnet.images import DEFAULT_LIMITS, Header, ImageSpec, decode, read_header
from convnet.listing import ListedFile
from convnet.statindex import content_digest

# Decoding to any size reads all pixels; a small one costs the least.
_PROBE = ImageSpec(32, 32, 3)

_EXTENSIONS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "PNG": {".png"},
    "BMP": {".bmp", ".dib"},
    "GIF": {".gif"},
    "WebP": {".webp"},
}


class Kind(StrEnum):
    """What can be found. The first ones are problems: such files are not trained on, or teach what is wrong."""

    UNREADABLE = "unreadable"
    TRUNCATED = "truncated"
    TOO_LARGE = "too-large"
    NOT_AN_IMAGE = "not-an-image"
    TWO_CLASSES = "two-classes"
    TWO_PARTS = "two-parts"
    STRAY = "stray"
    DUPLICATE = "duplicate"
    TINY = "tiny"
    ODD_SIZE = "odd-size"
    ODD_MODE = "odd-mode"
    ANIMATED = "animated"
    ROTATED = "rotated"
    WRONG_EXTENSION = "wrong-extension"

    @property
    def is_problem(self) -> bool:
        """Whether it should be mended; the others are remarks, and training goes well with them."""
        return self in _PROBLEMS


_PROBLEMS = {Kind.UNREADABLE, Kind.TRUNCATED, Kind.TOO_LARGE, Kind.NOT_AN_IMAGE, Kind.TWO_CLASSES, Kind.TWO_PARTS}


@dataclass(frozen=True, slots=True)
class Inspected:
    """What one file is.

    Attributes:
        file: where it is listed.
        digest: of its content; empty when that cannot be read.
        header: None when it is no picture.
        fault: why it cannot be used, and how; None when it can.
        remarks: what is unusual about it by itself.
    """

    file: ListedFile
    digest: bytes = b""
    header: Header | None = None
    fault: tuple[Kind, str] | None = None
    remarks: tuple[tuple[Kind, str], ...] = ()


def inspect(file: ListedFile) -> Inspected:
    """Read and decode one file. Raises nothing, whatever the file holds."""
    path = Path(file.path)
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return Inspected(file, fault=(Kind.UNREADABLE, "not a regular file"))
        if status.st_size > DEFAULT_LIMITS.max_bytes:
            return Inspected(file, fault=(Kind.TOO_LARGE, f"{status.st_size} bytes; at most {DEFAULT_LIMITS.max_bytes} are read"))
        data = path.read_bytes()
    except OSError as error:
        return Inspected(file, fault=(Kind.UNREADABLE, error.strerror or "cannot be read"))
    digest = content_digest(data)
    header = None
    try:
        header = read_header(data)
        decode(data, _PROBE)
    except UnreadableImage as error:
        return Inspected(file, digest, header, fault=(_kind(error, data), str(error)))
    return Inspected(file, digest, header, remarks=tuple(_remarks(header, path.suffix.lower())))


def _kind(error: UnreadableImage, data: bytes) -> Kind:
    if error.code is UnreadableCode.TOO_LARGE:
        return Kind.TOO_LARGE
    if error.code is UnreadableCode.UNSUPPORTED:
        return Kind.NOT_AN_IMAGE if str(error).startswith("not a") else Kind.UNREADABLE
    # Each decoder has its own words for a file that ends too early; a WebP says how long it should be (RFC 9649, section 2.4).
    cut_webp = data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data)
    return Kind.TRUNCATED if cut_webp or "truncated" in str(error).lower() else Kind.UNREADABLE


def _remarks(header: Header, suffix: str) -> list[tuple[Kind, str]]:
    remarks = []
    if header.frames > 1:
        remarks.append((Kind.ANIMATED, f"{header.frames} frames; only the first is used"))
    if 2 <= header.orientation <= 8:
        remarks.append((Kind.ROTATED, f"EXIF orientation {header.orientation}; it is turned upright"))
    if suffix not in _EXTENSIONS[header.format]:
        remarks.append((Kind.WRONG_EXTENSION, f"a {header.format} file named {suffix or 'without an extension'}"))
    return remarks
