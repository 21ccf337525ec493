"""Zip archives for tests, and lies in their directories."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping

# Where the fields of an entry of the directory stand, and how long they are.
_FIELDS = {"flags": (8, "<H"), "method": (10, "<H"), "crc": (16, "<L"), "packed": (20, "<L"), "size": (24, "<L"), "offset": (42, "<L")}


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of files; those whose name ends in a slash are folders."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def patched(data: bytes, name: str, **fields: int) -> bytes:
    """The archive with other values in a file's entry of the directory."""
    at = len(data)
    while data[at - 46 : at - 42] != b"PK\1\2":
        at = data.rindex(name.encode(), 0, at)
    at -= 46
    changed = bytearray(data)
    for field, value in fields.items():
        offset, form = _FIELDS[field]
        struct.pack_into(form, changed, at + offset, value)
    return bytes(changed)
