"""Takes a zip archive apart that lies in a file: one member in memory at a time, and never its whole directory. Blocks: for a thread.

Reads what pictures are packed with: stored and deflated members, no zip64, no encryption; everything else is refused by name and the rest
goes on. The standard library's zipfile keeps some 700 bytes for every entry of a directory, which may have a million of them that are
nothing, and reads what it is told to, in any size. Formats: APPNOTE.TXT 6.3.10, sections 4.3 and 4.4.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from convnet_kafka.server.members import BodyError, Image, refusal, refused
from convnet_kafka.server.outcome import Refusal, RefusalCode

# End of the directory, an entry of it, and the header in front of a member's content.
_END, _ENTRY, _LOCAL = struct.Struct("<4s4H2LH"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_ELSEWHERE = 0xFFFFFFFF  # the number is in a zip64 record
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x2041  # bits 0, 6 and 13
_UTF8 = 0x800
_UNIX = 3
_DOS_FOLDER = 0x10
_STEP = 64 * 1024
# What deflate adds to content that does not get smaller is 5 bytes in 16 KiB at most; a member that claims more is made to cost time.
_DEFLATE_SLACK = 1024


class _Entry(NamedTuple):
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    made_by: int
    attributes: int
    at: int


class ZipReader:
    """One archive.

    Args:
        file: unbuffered, readable and seekable; its place is this object's.
        max_image_bytes: larger members are refused.

    Attributes:
        claimed: bytes that the members read so far say to have, once unpacked.

    Raises:
        BodyError: it is no zip archive, is cut off, or of a kind that is not read.
    """

    def __init__(self, file: BinaryIO, max_image_bytes: int) -> None:
        self._file = file
        self._max_image_bytes = max_image_bytes
        self._names: set[int] = set()
        self.claimed = 0
        self.entries, self._at, self._end, self._shift = self._directory()

    def members(self) -> Iterator[Image | Refusal | None]:
        """Every file of the archive, in the directory's order; None for an entry that is nothing (a folder).

        Raises:
            BodyError: the directory is damaged.
        """
        found = 0
        for entry in self._entries():
            found += 1
            member = self._member(entry)
            yield member
        if found != self.entries:
            raise BodyError(f"the archive is damaged: its directory has {found} entries, not {self.entries} as it says", self._end)

    def _directory(self) -> tuple[int, int, int, int]:
        """How many entries, where they begin and end, and how many bytes stand before the archive."""
        size = self._file.seek(0, os.SEEK_END)
        start = max(0, size - _LONGEST_COMMENT - _END.size)
        tail = self._read(start, size - start)
        at = len(tail)
        while (at := tail.rfind(b"PK\5\6", 0, at)) >= 0:
            if at + _END.size <= len(tail):
                fields = _END.unpack_from(tail, at)
                if at + _END.size + fields[7] == len(tail):
                    break
        if at < 0:
            raise BodyError("the body is not a zip archive, or is cut off: its directory's end is missing", size)
        _, disk, first_disk, here, entries, length, begins, _ = fields
        where = start + at
        if _ELSEWHERE in {length, begins} or entries == 0xFFFF:
            raise BodyError("a zip64 archive: send several smaller ones, or a tar", where)
        if disk or first_disk or here != entries:
            raise BodyError("a part of an archive in several volumes: send it in one, or a tar", where)
        if length + begins > where:
            raise BodyError("the archive is damaged or cut off: its directory is not where it says", where)
        return entries, where - length, where, where - length - begins

    def _entries(self) -> Iterator[_Entry]:
        at, data, base = self._at, b"", self._at
        while at < self._end:
            if at + _ENTRY.size + 3 * 0xFFFF > base + len(data) and base + len(data) < self._end:
                data, base = self._read(at, min(4 * _STEP, self._end - at)), at
            here = at - base
            if here + _ENTRY.size > len(data) or not data.startswith(b"PK\1\2", here):
                raise BodyError("the archive is damaged: there is no entry of the directory where one must be", at)
            (_, made_by, _, flags, method, _, _, crc, packed, size, name, extra, comment, _, _, attributes, offset) = _ENTRY.unpack_from(
                data, here
            )
            raw = data[here + _ENTRY.size : here + _ENTRY.size + name]
            yield _Entry(_decoded(raw, flags), flags, method, crc, packed, size, made_by >> 8, attributes, offset)
            at += _ENTRY.size + name + extra + comment

    def _member(self, entry: _Entry) -> Image | Refusal | None:
        name = entry.name
        mode = entry.attributes >> 16 if entry.made_by == _UNIX else 0
        if name.endswith("/") or stat.S_ISDIR(mode) or (entry.attributes & _DOS_FOLDER and not entry.size):
            return None
        if stat.S_IFMT(mode) not in {0, stat.S_IFREG}:
            what = "a symbolic link" if stat.S_ISLNK(mode) else "a device, socket or fifo"
            return refused(name, RefusalCode.NOT_A_FILE, f"{what}, not a file")
        if entry.flags & _ENCRYPTED:
            return refused(name, RefusalCode.UNSUPPORTED, "it is encrypted: pack it without a password")
        if entry.method not in {_STORED, _DEFLATED}:
            return refused(name, RefusalCode.UNSUPPORTED, f"packed with method {entry.method}: only stored and deflate are read")
        if _ELSEWHERE in {entry.packed, entry.size, entry.at}:
            return refused(name, RefusalCode.UNSUPPORTED, "a zip64 member: pack it without zip64, or send a tar")
        wrong = refusal(name, entry.size, self._max_image_bytes)
        if wrong is not None:
            return wrong
        # A name's hash, for a directory may have many and long ones: two that fall together by chance are one in 2^60.
        if (key := hash(name)) in self._names:
            return refused(name, RefusalCode.BAD_NAME, "a second member of this name: which of them is meant is not to be known")
        self._names.add(key)
        self.claimed += entry.size
        try:
            return name, self._content(entry)
        except (ValueError, zlib.error) as error:
            return refused(name, RefusalCode.DAMAGED, f"it is damaged: {error}")

    def _content(self, entry: _Entry) -> bytes:
        """A member's bytes, never more than it says to have.

        Raises:
            ValueError: it is damaged; says how.
            zlib.error: likewise.
        """
        at = entry.at + self._shift
        head = self._read(at, _LOCAL.size)
        if len(head) < _LOCAL.size or not head.startswith(b"PK\3\4"):
            raise ValueError("its header is not where the directory says")
        *_, name, extra = _LOCAL.unpack(head)
        at += _LOCAL.size + name + extra
        if entry.method == _STORED:
            if entry.packed != entry.size:
                raise ValueError("it is stored, and yet its two sizes differ")
            content = self._read(at, entry.size)
        else:
            content = self._inflated(at, entry)
        if len(content) != entry.size:
            raise ValueError(f"{len(content)} bytes, not {entry.size} as it says")
        if zlib.crc32(content) != entry.crc:
            raise ValueError("its checksum is wrong")
        return content

    def _inflated(self, at: int, entry: _Entry) -> bytes:
        if entry.packed > entry.size + entry.size // 256 + _DEFLATE_SLACK:
            raise ValueError("it is far larger packed than unpacked")
        inflate, content, left = zlib.decompressobj(-zlib.MAX_WBITS), bytearray(), entry.packed
        while left and not inflate.eof:
            data = self._read(at, min(left, _STEP))
            if not data:
                raise ValueError("it is cut off")
            at, left = at + len(data), left - len(data)
            # One byte more than it says to have shows that it lies.
            content += inflate.decompress(data, entry.size + 1 - len(content))
            if len(content) > entry.size:
                raise ValueError(f"more than the {entry.size} bytes that it says to have")
        if not inflate.eof:
            # Everything came in, and its end may still wait for room in the output.
            content += inflate.decompress(inflate.unconsumed_tail, entry.size + 1 - len(content))
        if not inflate.eof:
            raise ValueError("it is cut off")
        return bytes(content)

    def _read(self, at: int, size: int) -> bytes:
        """Bytes of the file; fewer at its end."""
        self._file.seek(at)
        parts = []
        while size > 0 and (part := self._file.read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _decoded(raw: bytes, flags: int) -> str:
    """A name: UTF-8 when it is or says so, else the code page of DOS (section 4.4.4 and appendix D)."""
    if flags & _UTF8:
        return raw.decode("utf-8", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp437")
