"""What a body of many images is taken apart into, whatever its form: images, and things refused by name.

A name is data and never a path: any Unicode, `..` and slashes too, in 1 to 1024 bytes of UTF-8 without a NUL.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from convnet_kafka.errors import ConvnetKafkaError
from convnet_kafka.messages import MAX_NAME_BYTES, clip
from convnet_kafka.server.outcome import Refusal, RefusalCode

# A name of this many characters cannot pass the limit, whatever they are (4 bytes of UTF-8 at most).
_SURELY_SHORT = MAX_NAME_BYTES // 4


class BodyError(ConvnetKafkaError):
    """The body is damaged, cut off, or not what it was said to be; `at_byte` says where."""

    def __init__(self, message: str, at_byte: int) -> None:
        super().__init__(f"{message} (at byte {at_byte} of the body)")
        self.at_byte = at_byte


# One image of a body: its name as it was sent, 1 to 1024 bytes of UTF-8 (bytes that are not UTF-8 are replaced), and its bytes, 1 to the
# largest image. A pair because a named tuple costs 0.15 us, as much as the checksum of a tar's header.
Image = tuple[str, bytes]


class Parser(Protocol):
    """Takes a body apart while it arrives."""

    @property
    def held(self) -> int:
        """Bytes of an image of which only a part has come."""

    def feed(self, chunk: bytes) -> Iterator[Image | Refusal]:
        """Take the next bytes, however they are cut, and give out what is complete. Must be iterated to its end.

        Raises:
            BodyError: the body is damaged.
        """

    def finish(self) -> None:
        """The body has no more bytes.

        Raises:
            BodyError: it is cut off.
        """


def refused(name: str, code: RefusalCode, detail: str) -> Refusal:
    """A refusal whose name is cut to a length that an answer may have."""
    return Refusal(clip(name, MAX_NAME_BYTES), code, detail)


def refusal(name: str, size: int, max_image_bytes: int) -> Refusal | None:
    """Why a file cannot be taken whatever is in it; None when it can."""
    if not size:
        return refused(name, RefusalCode.EMPTY, "the file has no bytes")
    if size > max_image_bytes:
        return too_large(name, size, max_image_bytes)
    return bad_name(name)


def too_large(name: str, size: int, max_image_bytes: int) -> Refusal:
    """The refusal of a file that is larger than an image may be."""
    return refused(name, RefusalCode.TOO_LARGE, f"{size} bytes; an image may have {max_image_bytes}")


def bad_name(name: str) -> Refusal | None:
    """Why an image cannot have this name; None when it can."""
    if not name or (len(name) > _SURELY_SHORT and len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES):
        return refused(name, RefusalCode.BAD_NAME, f"a name has 1 to {MAX_NAME_BYTES} bytes of UTF-8")
    if "\0" in name:
        # Whoever keeps it as a C string would keep another name.
        return refused(name, RefusalCode.BAD_NAME, "a name holds no NUL")
    return None
