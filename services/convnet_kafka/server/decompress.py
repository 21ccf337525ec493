"""Undoes gzip and zstd while a body arrives, in pieces of bounded size. What is compressed is told by its first bytes, not by its name.

A plain body passes untouched. Never gives out more than one piece before its caller has had the chance to stop: that is what ends a bomb.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from typing import Protocol

from convnet_kafka.server.members import BodyError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP, ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
# Decompressing this much takes some 0.2 ms.
PIECE = 64 * 1024
# Taken in at a time. What lies behind the end of a gzip member or a zstd frame is copied once for each, so a body of thousands of tiny
# ones would cost its square.
STEP = 8 * 1024
# RFC 8878 wants decoders to manage 8 MiB; `zstd -19` needs that much, `--long` and `--ultra` more.
ZSTD_WINDOW_LOG = 23
ZSTD_MEMORY = 1 << ZSTD_WINDOW_LOG
_MAGIC_BYTES = 4


class _Codec(Protocol):
    memory: int

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Pieces of what is in `data`, an empty one at its end."""

    def whole(self) -> bool:
        """True when nothing is missing."""


class _Plain:
    memory = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    def whole(self) -> bool:
        return True


class _Gzip:
    """Any number of members, one after the other, and zeros behind them (as tapes are filled up)."""

    memory = 0

    def __init__(self) -> None:
        self._member: zlib._Decompress | None = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._member is None:
                data = data.lstrip(b"\0")
                if not data:
                    break
                self._member = zlib.decompressobj(zlib.MAX_WBITS | 16)
            piece = self._member.decompress(data, PIECE)
            data = self._member.unconsumed_tail
            if piece:
                yield piece
            if self._member.eof:
                data = self._member.unused_data
                self._member = None
            elif not data and len(piece) < PIECE:
                break
        yield b""

    def whole(self) -> bool:
        return self._member is None


class _Zstd:
    """Any number of frames, one after the other."""

    memory = ZSTD_MEMORY

    def __init__(self) -> None:
        self._options = {int(zstd.DecompressionParameter.window_log_max): ZSTD_WINDOW_LOG}
        self._frame: zstd.ZstdDecompressor | None = zstd.ZstdDecompressor(options=self._options)

    def feed(self, data: bytes) -> Iterator[bytes]:
        while True:
            if self._frame is None:
                if not data:
                    break
                self._frame = zstd.ZstdDecompressor(options=self._options)
            piece = self._frame.decompress(data, PIECE)
            data = b""
            if piece:
                yield piece
            if self._frame.eof:
                data = self._frame.unused_data
                self._frame = None
            elif self._frame.needs_input:
                break
        yield b""

    def whole(self) -> bool:
        return self._frame is None


class Unpacking:
    """One body."""

    def __init__(self) -> None:
        self._head = b""  # until there is enough to tell what it is
        self._codec: _Codec | None = None
        self._fed = 0

    @property
    def memory(self) -> int:
        """Bytes that the decoder may hold."""
        return self._codec.memory if self._codec is not None else 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What is in the next bytes, in pieces; some are empty. Must be iterated to its end, or never be fed again.

        Raises:
            BodyError: the compressed data is damaged.
        """
        if self._codec is None:
            self._head += chunk
            if len(self._head) < _MAGIC_BYTES:
                return
            chunk, self._head = self._head, b""
            self._codec = _codec(chunk)
        if isinstance(self._codec, _Plain):
            yield chunk
            return
        try:
            for start in range(0, len(chunk), STEP):
                step = chunk[start : start + STEP]
                self._fed += len(step)
                yield from self._codec.feed(step)
        except (zlib.error, zstd.ZstdError) as error:
            detail = str(error)
            if "window" in detail.lower() or "memory" in detail.lower():
                detail += f"; a window of more than {ZSTD_MEMORY} bytes is not read: compress without --long and --ultra"
            raise BodyError(f"the compressed data is damaged: {detail}", self._fed) from error

    def finish(self) -> bytes:
        """The body has no more bytes; gives those of one that was too short to tell what it is.

        Raises:
            BodyError: the compressed data is cut off.
        """
        if self._codec is not None and not self._codec.whole():
            raise BodyError("the compressed data is cut off", self._fed)
        return self._head


def _codec(head: bytes) -> _Codec:
    if head.startswith(GZIP):
        return _Gzip()
    if head.startswith(ZSTD):
        return _Zstd()
    return _Plain()
